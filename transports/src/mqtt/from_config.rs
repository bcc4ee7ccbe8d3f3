//! The settings of an MQTT listener from its configuration.
use super::{
    MqttSettings,
    config::{MqttConfig, MqttVersion, OnReject as ConfiguredReject},
    fields::Version,
    settings::{OnReject, Overload},
};
use crate::net::config::Overload as ConfiguredOverload;

impl MqttConfig {
    /// The settings of the listener with this name.
    pub fn settings(&self, name: &str) -> MqttSettings {
        let defaults = MqttSettings::default();
        let limits = &self.common.limits;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let version = |version: &MqttVersion| match version {
            MqttVersion::V311 => Version::V311,
            MqttVersion::V5 => Version::V5,
        };
        MqttSettings {
            name: name.into(),
            connections_max: count(limits.connections),
            per_address_max: count(limits.per_address),
            versions: self.versions.iter().map(version).collect(),
            connect_timeout: limits.header_timeout.get(),
            write_timeout: limits.write_timeout.get(),
            max_connection_age: limits.max_connection_age.map(|age| age.get()),
            max_packet: self.max_packet.as_usize(),
            max_inflight: self.max_inflight,
            keep_alive_max: u16::try_from(self.keep_alive_max.get().as_secs()).unwrap_or(u16::MAX),
            keep_headers: self.common.keep_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            overload: match self.common.overload {
                None => defaults.overload,
                Some(ConfiguredOverload::Refuse) => Overload::Refuse,
                Some(ConfiguredOverload::Hold(time)) => Overload::Hold(time.get()),
            },
            on_reject: match self.on_reject {
                ConfiguredReject::Ack => OnReject::Ack,
                ConfiguredReject::Disconnect => OnReject::Disconnect,
            },
            ..defaults
        }
    }
}
