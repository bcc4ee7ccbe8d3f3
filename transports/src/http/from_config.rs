//! The settings of an HTTP listener from its configuration.
use super::{HttpSettings, config::HttpConfig};
use crate::net::config::{BatchMode, Overload};
use std::net::SocketAddr;

impl HttpConfig {
    /// The settings, with the address that `listen` resolved to.
    pub fn settings(&self, listen: SocketAddr) -> HttpSettings {
        let defaults = HttpSettings::default();
        let limits = &self.common.limits;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        HttpSettings {
            listen,
            max_body: self.max_body.as_usize(),
            hold: match self.common.overload {
                Some(Overload::Hold(time)) => time.get(),
                Some(Overload::Refuse) | None => defaults.hold,
            },
            header_timeout: limits.header_timeout.get(),
            first_byte_timeout: limits.header_timeout.get(),
            body_timeout: limits.body_timeout.get(),
            idle_timeout: limits.idle_timeout.get(),
            connections_max: count(limits.connections),
            per_address_max: count(limits.per_address),
            partial_default: self.common.batch == BatchMode::Each,
            ..defaults
        }
    }
}
