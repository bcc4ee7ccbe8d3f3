//! The clock that waits go by: tokio's, so that a simulation can stop it and let it leap.
//!
//! Outside a simulation it is the system's monotonic clock and costs the same. Wall time (when an event was received) is not
//! read here: nothing may wait on it.
use std::time::{Duration, Instant};

/// Now, as every deadline, pause and retry of a gateway sees it.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// How long ago `then` was.
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}
