//! The integration tests and their harness.
