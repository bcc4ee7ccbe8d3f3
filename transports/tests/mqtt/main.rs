//! The MQTT listener, byte for byte, against a scripted gateway.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
mod bytes;
mod client;
mod exactly_once;
mod flow;
mod life;
mod other_codec;
mod publishing;
mod strict;
#[path = "../support/mod.rs"]
mod support;
mod verdicts;
