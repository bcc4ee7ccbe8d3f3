//! Configuration as a tree with spans: every fault of a file in one run.
