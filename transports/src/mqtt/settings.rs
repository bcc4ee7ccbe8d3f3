//! What can be set on an MQTT listener, with its defaults. The config layer maps the listener's keys to it.
use super::fields::Version;
use schemas::{ByteStr, limits};
use std::time::Duration;

/// Settings of one MQTT listener. [`MqttSettings::default`] is what a config that says nothing gets.
#[derive(Clone, Debug)]
pub struct MqttSettings {
    /// The listener's name. Default `mqtt`.
    pub name: ByteStr,
    /// Most connections. Default 10,000.
    pub connections_max: usize,
    /// Most connections from one address. Default 1,000.
    pub per_address_max: usize,
    /// The protocol versions that are served; others get CONNACK "unsupported protocol version". Default both.
    pub versions: Vec<Version>,
    /// How long a connection may take from the accept to its complete CONNECT. Default 5 s.
    pub connect_timeout: Duration,
    /// Largest CONNECT, in bytes: all that an unknown sender can make us keep. Default 16 KiB.
    pub connect_max: usize,
    /// Largest packet in bytes, fixed header included; announced as Maximum Packet Size. Default 1 MiB.
    pub max_packet: usize,
    /// Most messages without an answer on one connection; announced as Receive Maximum. Default 100, at least 1.
    pub max_inflight: u16,
    /// Most bytes that wait behind a held message of one connection. Default 4 MiB.
    pub behind_max: usize,
    /// Longest keep alive; also the limit for clients that ask for none. Announced as Server Keep Alive when it is below
    /// what the client asked for. Default 1,200 s.
    pub keep_alive_max: u16,
    /// Topic aliases per connection; announced as Topic Alias Maximum. Default 16; 0 turns them off.
    pub topic_alias_max: u16,
    /// Longest topic name in bytes. Default 1,024.
    pub topic_max: usize,
    /// Longest client identifier in bytes. Default 128.
    pub client_id_max: usize,
    /// Most user properties of one packet. Default 64.
    pub user_properties_max: usize,
    /// User properties, and `response-topic` and `correlation-data` (the latter only if it is text), that are kept as headers;
    /// lower case. Default none.
    pub keep_headers: Vec<String>,
    /// What happens to a message that has no room now. Default: hold for 20 s.
    pub overload: Overload,
    /// What a 3.1.1 sender sees of a message that is refused for good. Default: an acknowledgement.
    pub on_reject: OnReject,
    /// Longest time between a message and its answer; after it the outcome is unknown and the connection closes. Default 30 s.
    pub answer_timeout: Duration,
    /// How long a client may leave our answers unread. Default 10 s.
    pub write_timeout: Duration,
    /// After this time, give or take a tenth, a connection ends as at a shutdown, with DISCONNECT 0xA0 (maximum
    /// connect time, MQTT 5 section 3.14.2.1). Default: never.
    pub max_connection_age: Option<Duration>,
    /// How long a stopping connection waits for the answers of what was handed over. Default 20 s.
    pub drain_timeout: Duration,
}

impl Default for MqttSettings {
    fn default() -> Self {
        MqttSettings {
            name: ByteStr::from_static("mqtt"),
            connections_max: 10_000,
            per_address_max: 1_000,
            versions: vec![Version::V311, Version::V5],
            connect_timeout: Duration::from_secs(5),
            connect_max: 16 * 1024,
            max_packet: limits::MESSAGE_BYTES_DEFAULT,
            max_inflight: 100,
            behind_max: 4 * 1024 * 1024,
            keep_alive_max: 1_200,
            topic_alias_max: 16,
            topic_max: 1_024,
            client_id_max: 128,
            user_properties_max: 64,
            keep_headers: Vec::new(),
            overload: Overload::Hold(Duration::from_secs(20)),
            on_reject: OnReject::Ack,
            answer_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            max_connection_age: None,
            drain_timeout: Duration::from_secs(20),
        }
    }
}

impl MqttSettings {
    /// The keep alive that is in force for a client that asked for `asked` seconds (0: none).
    pub fn keep_alive(&self, asked: u16) -> u16 {
        if asked == 0 || asked > self.keep_alive_max { self.keep_alive_max.max(1) } else { asked }
    }

    /// How long a message is held on a connection with this keep alive: never above half of it.
    pub fn hold(&self, keep_alive: u16) -> Duration {
        let half = Duration::from_secs(u64::from(keep_alive)) / 2;
        match self.overload {
            Overload::Hold(hold) => hold.min(half),
            Overload::Refuse => Duration::ZERO,
        }
    }
}

/// What happens to a message that has no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// It waits so long; never above half the keep alive. Then the connection closes (MQTT 5: DISCONNECT 0x97).
    Hold(Duration),
    /// The connection closes at once (MQTT 5: DISCONNECT 0x97); a QoS 0 message is dropped and counted.
    Refuse,
}

/// What a 3.1.1 sender sees of a QoS 1 message that is refused for good: the protocol has no word for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// PUBACK; the message is a dead letter, so that a device does not send it for ever.
    Ack,
    /// The connection closes without PUBACK; the device sends it again.
    Disconnect,
}
