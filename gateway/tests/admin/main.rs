//! The admin API and the commands that ask a running gateway, against a gateway in this process: real sockets, a real journal,
//! a real store; senders are written by hand here, so that no code of ours reads what code of ours wrote.
#![allow(clippy::unwrap_used, missing_docs)]
mod harness;
mod letters;
mod surface;
