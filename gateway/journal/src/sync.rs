//! The locks and atomics of the watermark: std's, or loom's when the hand-off is model-checked (`--cfg loom`).
//!
//! Only `watermark` takes its primitives from here; everything else uses std directly and is tested by crashing it.

#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
#[cfg(not(loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use std::sync::PoisonError;

/// Locks `m`. What the journal guards by locks is never left half changed by a panic (no caller code runs inside), so a
/// poisoned lock is still good.
pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for the locks that are always std's.
pub(crate) fn hold<T>(m: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A small number per thread, so that a thread keeps to one shard of wakers.
#[cfg(not(loom))]
pub(crate) fn thread_slot() -> usize {
    use std::sync::atomic::AtomicUsize;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static SLOT: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    SLOT.with(|slot| *slot)
}

#[cfg(loom)]
pub(crate) fn thread_slot() -> usize {
    0
}
