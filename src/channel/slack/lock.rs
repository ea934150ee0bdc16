//! Locks of what is whole between any two statements, so that a poisoned one is as good as any.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after somebody has panicked in there.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
