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
            write_timeout: limits.write_timeout.get(),
            max_connection_age: limits.max_connection_age.map_or(defaults.max_connection_age, |age| age.get()),
            connections_max: count(limits.connections),
            per_address_max: count(limits.per_address),
            partial_default: self.common.batch == BatchMode::Each,
            // `check` has refused names that are no header names, and those of credentials.
            keep_headers: self.common.keep_headers.iter().filter_map(|name| name.parse().ok()).collect(),
            ..defaults
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_reaches_the_listener() {
        let config: HttpConfig = serde_json::from_str(
            r#"{"listen": "127.0.0.1:0", "keep_headers": ["X-Site"], "max_body": "2KiB",
                "limits": {"write_timeout": "3s", "max_connection_age": "5m"}}"#,
        )
        .unwrap();
        let settings = config.settings(SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(settings.keep_headers, ["x-site"]);
        assert_eq!(settings.max_body, 2048);
        assert_eq!(settings.write_timeout.as_secs(), 3);
        assert_eq!(settings.max_connection_age.as_secs(), 300);
    }
}
