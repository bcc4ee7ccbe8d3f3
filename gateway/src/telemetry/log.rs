//! Logs: one line per change of state on stderr, as text, JSON or izy's `service:context(package?query) event#action`.
use crate::config::LogFormat;

/// Starts logging to stderr.
pub fn init(_format: LogFormat) {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
}
