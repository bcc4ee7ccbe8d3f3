//! The HTTP listener over real sockets, in front of a scripted gateway; answers are compared byte by byte (without `date`).
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
mod answers;
mod bodies;
mod client;
mod http2;
mod lifecycle;
mod messages;
mod slow;
mod strict;
#[path = "../support/mod.rs"]
mod support;
