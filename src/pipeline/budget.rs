//! Bounds the bytes that threads hold together which read and decode pictures.
//!
//! Each picture alone is within the limits, but a machine of many cores has many of them in hand. A
//! thread waits until its picture fits beside those of the others. One that would never fit goes alone,
//! so nothing waits for ever.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// See the [module](self).
pub struct Budget {
    bytes: u64,
    held: Mutex<Held>,
    freed: Condvar,
}

#[derive(Default)]
struct Held {
    bytes: u64,
    /// Who holds a share, once for each.
    by: Vec<ThreadId>,
}

/// Bytes of a [`Budget`], until it is dropped.
pub struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
    holder: ThreadId,
}

impl Budget {
    /// So many bytes for all threads together.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes,
            held: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits until there is room for `bytes`, which are free again once the share is dropped.
    pub fn share(&self, bytes: u64) -> Share<'_> {
        let (bytes, holder) = (bytes.min(self.bytes), thread::current().id());
        let mut held = self.lock();
        // Who holds a share may not wait for others, who may wait for it: such as a thread of a pool
        // that is given the next picture while its last one waits for work of other threads.
        while held.bytes > self.bytes - bytes && !held.by.contains(&holder) {
            held = self
                .freed
                .wait(held)
                .unwrap_or_else(PoisonError::into_inner);
        }
        held.bytes += bytes;
        held.by.push(holder);
        Share {
            budget: self,
            bytes,
            holder,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Nothing is left half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut held = self.budget.lock();
        held.bytes -= self.bytes;
        if let Some(at) = held.by.iter().position(|holder| *holder == self.holder) {
            held.by.swap_remove(at);
        }
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn threads_hold_no_more_than_there_is() {
        let budget = Budget::new(100);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, held, most) = (&budget, &held, &most);
                scope.spawn(move || {
                    for round in 0..50 {
                        // Some need more than there is for all.
                        let share = budget.share((thread * 31 + round * 17) % 130);
                        let now = held.fetch_add(share.bytes, Ordering::SeqCst) + share.bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        held.fetch_sub(share.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((1..=100).contains(&most), "{most}");
        assert_eq!(budget.lock().bytes, 0);
        assert_eq!(budget.lock().by, []);
    }

    #[test]
    fn who_holds_a_share_does_not_wait() {
        let budget = Budget::new(10);
        let first = budget.share(10);
        let second = budget.share(10);
        assert_eq!(budget.lock().bytes, 20);
        drop((first, second));
        assert_eq!(budget.lock().bytes, 0);
    }
}
