//! Configuration of an MQTT listener.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::{ByteSize, Period};

use crate::net::config::{ListenerConfig, ListenerPlugin, Problem};

/// An MQTT 3.1.1 and 5 listener.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = {
    "websocket": "MQTT over WebSocket comes with the WebSocket listener",
    "tls": "TLS on listeners comes with a later release"
}))]
pub struct MqttConfig {
    /// The keys of every listener.
    #[serde(flatten)]
    pub common: ListenerConfig,
    /// The protocol versions that are taken; others get CONNACK "unsupported protocol version".
    #[serde(default = "versions")]
    #[schemars(length(min = 1))]
    pub versions: Vec<MqttVersion>,
    /// The most QoS 1 messages of one client without their PUBACK (MQTT 5: Receive Maximum).
    #[serde(default = "max_inflight")]
    #[schemars(range(min = 1))]
    pub max_inflight: u16,
    /// The largest packet, header included. A larger one closes the connection (MQTT 5: 0x95).
    #[serde(default = "max_packet")]
    pub max_packet: ByteSize,
    /// The longest keep-alive that a client may have; MQTT 5 clients are told, others with a longer one or none are held to it.
    #[serde(default = "keep_alive_max")]
    pub keep_alive_max: Period,
    /// MQTT 3.1.1 cannot refuse a message: `ack` it and keep it as a dead letter (the default), or `disconnect`.
    #[serde(default)]
    pub on_reject: OnReject,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum MqttVersion {
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
    /// MQTT 5.
    #[serde(rename = "5")]
    V5,
}

/// What a refused MQTT 3.1.1 message leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    /// PUBACK; the message is a dead letter.
    #[default]
    Ack,
    /// The connection is closed; the client sends it again.
    Disconnect,
}

fn versions() -> Vec<MqttVersion> {
    vec![MqttVersion::V311, MqttVersion::V5]
}

fn max_inflight() -> u16 {
    64
}

fn max_packet() -> ByteSize {
    ByteSize::mib(1)
}

fn keep_alive_max() -> Period {
    Period::secs(300)
}

/// The largest packet that MQTT can write.
const MAX_PACKET: ByteSize = ByteSize::new(268_435_455);
/// The longest keep-alive that MQTT can write.
const MAX_KEEP_ALIVE: Period = Period::secs(65_535);

impl ListenerPlugin for MqttConfig {
    fn common(&self) -> &ListenerConfig {
        &self.common
    }

    fn max_message(&self) -> (&'static str, ByteSize, ByteSize) {
        ("max_packet", self.max_packet, MAX_PACKET)
    }

    fn pattern_key(&self) -> &'static str {
        "topic"
    }

    fn can_hold(&self) -> bool {
        true
    }

    fn problems(&self) -> Vec<Problem> {
        if self.keep_alive_max >= Period::secs(1) && self.keep_alive_max <= MAX_KEEP_ALIVE {
            return Vec::new();
        }
        let message = format!("keep_alive_max: {} is out of range", self.keep_alive_max);
        vec![Problem {
            key: "keep_alive_max",
            message,
            label: "from 1s to 65535s: MQTT writes it in 16 bits".to_owned(),
        }]
    }
}
