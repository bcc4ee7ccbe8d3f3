//! Logs: one line per change of state on stderr, as text, JSON or izy's `service:context(package?query) event#action`.
