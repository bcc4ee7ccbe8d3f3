//! Contract suites for plug-ins: [`codec::check_codec`] and [`backend::check_backend`] ask any implementation of a trait for
//! what the trait's documentation promises, and list everything that is broken.
//!
//! `tests/builtin.rs` runs them over every codec and backend that exists, and over fakes that each break one promise: a suite
//! that cannot go red proves nothing.
//!
//! Wire suites for endpoints: [`suite`] lists them. They know only sockets, so that they can be run against anything that
//! speaks the protocol; `anygate conform` runs them.
//!
//! **What it does not do.** It does not know the gateway, so that anything built on the trait crates can be checked. It asks for
//! no speed.
pub mod backend;
pub mod codec;
pub mod cut;
pub mod http;
pub mod mqtt;
mod mutate;
pub mod suite;

use std::fmt;

/// What a plug-in breaks of its contract; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(Vec<String>);

impl Broken {
    /// One line per broken promise, in the order of the checks.
    pub fn promises(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Broken {}

/// Collects what is broken, so that one run says all of it.
#[derive(Debug, Default)]
struct Found(Vec<String>);

impl Found {
    /// Most lines that are kept: a codec that breaks a promise once breaks it for every changed byte.
    const MAX: usize = 50;

    /// Notes `what` unless `kept`.
    fn expect(&mut self, kept: bool, what: impl FnOnce() -> String) {
        if !kept && self.0.len() < Self::MAX {
            self.0.push(what());
        }
    }

    fn verdict(self) -> Result<(), Broken> {
        if self.0.is_empty() { Ok(()) } else { Err(Broken(self.0)) }
    }
}
