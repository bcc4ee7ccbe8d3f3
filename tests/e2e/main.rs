//! The integration tests: one binary, its harness, and the rules of the repository as tests.
//!
//! What needs another program (a Kafka broker, mosquitto, Python clients) runs when `tests/run` has started it and says SKIPPED
//! otherwise; with `CI=true` a missing one is a failure.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must stop")]
#![allow(missing_docs, reason = "tests are read, not linked")]

mod architecture;
mod bad_http;
mod bad_http_slow;
mod bad_http_traffic;
mod bad_mqtt;
mod counting;
mod direct;
mod disk;
mod drain;
mod explain_run;
mod fanout;
mod faults;
mod full;
mod harness;
mod hold;
mod http_answers;
mod memory;
mod otlp;
mod pinned;
mod reload;
mod reload_lanes;
mod status;
mod systemd;
mod thread;
mod tidy;
mod words;
