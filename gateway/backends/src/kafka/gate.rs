//! Keeps order when something fails: while callers have not yet seen a failure that means "again", nothing later is taken.
//!
//! A lane hands over calls one after the other without waiting. When an event of an early call could not be taken, a later
//! event of the same strand must not get ahead of it; and the lane learns of the failure only when it polls that call's
//! future. So a failure holds the gate until its future was polled to the end (or dropped), and calls that come meanwhile fail
//! alike and hold it too.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Open unless somebody holds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<AtomicUsize>);

/// Holds the gate while it lives.
#[derive(Debug)]
pub(crate) struct Hold(Arc<AtomicUsize>);

impl Gate {
    pub(crate) fn hold(&self) -> Hold {
        self.0.fetch_add(1, Ordering::AcqRel);
        Hold(Arc::clone(&self.0))
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
