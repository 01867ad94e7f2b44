//! Places for the targets that run at the same time: with more of them than cores, none would get its time.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::settings;

static TAKEN: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// A place. Dropping it frees it.
#[derive(Debug)]
pub(crate) struct Slot(());

impl Slot {
    /// Waits for one.
    pub(crate) fn take() -> Self {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut u64| *taken >= settings::threads();
        let taken = FREED.wait_while(taken, full);
        *taken.unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
