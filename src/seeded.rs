//! For tests: libtorch has one generator of random numbers for the whole process.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Has libtorch draw the same numbers each time, and no other test beside: the next one that calls this
/// waits until what is returned is dropped.
pub fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    // A test that has failed harms no other.
    let alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    alone
}
