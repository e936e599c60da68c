//! Turns a panic inside somebody else's decoder into a value.
//!
//! Decoders are written for files that make sense, and an archive holds some that do not. One that
//! panics costs its own image alone; what it says belongs in the table, not on the terminal.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics that decoding catches off standard error; other panics are reported as before.
///
/// Sets the process's panic hook, so it is for `main` to call, once, before decoding begins.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                report(info);
            }
        }));
    });
}

/// What `work` returns, or the message of the panic that ended it.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHING.replace(true);
    // A decoder and its buffers are dropped with the panic; nothing of them is seen again.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    outcome.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert_eq!(catch(|| 7), Ok(7));
        assert_eq!(catch(|| panic!("plain")), Err::<(), _>("plain".to_owned()));
        let index = 3;
        assert_eq!(
            catch(|| panic!("row {index}")),
            Err::<(), _>("row 3".to_owned())
        );
        assert!(!CATCHING.get());
    }

    #[test]
    fn only_caught_panics_are_quiet() {
        static REPORTED: AtomicUsize = AtomicUsize::new(0);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() == Some("told apart") {
                REPORTED.fetch_add(1, Ordering::SeqCst);
            } else {
                before(info);
            }
        }));
        quiet_panics();
        assert!(catch(|| panic!("told apart")).is_err());
        assert_eq!(REPORTED.load(Ordering::SeqCst), 0);
        assert!(thread::spawn(|| panic!("told apart")).join().is_err());
        assert_eq!(REPORTED.load(Ordering::SeqCst), 1);
    }
}
