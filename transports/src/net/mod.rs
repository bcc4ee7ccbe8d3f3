//! What all listeners share: the accept loop with its limits, deadlines, and the graceful end.
pub mod accept;
pub mod config;
mod shutdown;

pub use accept::{Acceptor, Current, Limits, Listening};
pub use shutdown::{Cause, Shutdown, jittered};
