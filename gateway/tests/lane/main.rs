//! One lane with a scripted backend over a journal in memory: what direct senders are told and when, and what a panic does.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

mod attempts;
mod direct;
mod full;
mod pace;
mod panics;
mod stage;
