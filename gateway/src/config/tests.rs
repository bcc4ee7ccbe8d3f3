//! Golden tests over the pinned and our own configurations.
