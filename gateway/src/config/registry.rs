//! The registries of listeners and backends: one line per kind. A kind is a module with its config struct, its `mod` line
//! there, and its line here; everything else follows from the traits.

use backends::Plugin;
use backends::config::BackendConfig;
use backends::kafka::config::KafkaConfig;
use backends::null::config::NullConfig;
use backends::store::config::StoreConfig;
use schemars::JsonSchema;
use serde::Deserialize;
use transports::http::config::HttpConfig;
use transports::mqtt::config::MqttConfig;
use transports::net::config::{ListenerConfig, ListenerPlugin};

/// An enum that is a one-key map in the file, its kinds' words, and what all its kinds have.
macro_rules! registry {
    ($(#[$meta:meta])* $name:ident: $plugin:ident { $common:ty }, $($rest:tt)+) => {
        registry! { $(#[$meta])* $name: $plugin, $($rest)+ }

        impl $name {
            /// The keys of every kind.
            #[must_use]
            pub fn common(&self) -> &$common {
                self.plugin().common()
            }
        }
    };
    ($(#[$meta:meta])* $name:ident: $plugin:ident, $($(#[$doc:meta])* $word:literal => $variant:ident($(#[$field:meta])* $config:ty),)+) => {
        #[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
        $(#[$meta])*
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant($(#[$field])* $config),)+
        }

        impl $name {
            /// The words of all kinds.
            pub const KINDS: &'static [&'static str] = &[$($word),+];

            /// The word of its kind, as in the file.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $word,)+
                }
            }

            /// Its settings, by what all kinds can do.
            #[must_use]
            pub fn plugin(&self) -> &dyn $plugin {
                match self {
                    $(Self::$variant(config) => config,)+
                }
            }
        }
    };
}
pub(super) use registry;

registry! {
    /// A transport with a name.
    #[schemars(extend("x-later" = {
        "websocket": "WebSocket listeners come with a later release",
        "amqp": "AMQP listeners come with a later release",
        "tcp": "TCP listeners come with a later release",
        "udp": "UDP listeners come with a later release",
        "kafka_client": "pull listeners come with a later release",
        "mqtt_client": "pull listeners come with a later release",
        "amqp_client": "pull listeners come with a later release"
    }))]
    Listener: ListenerPlugin { ListenerConfig },
    /// HTTP/1.1 and HTTP/2.
    "http" => Http(HttpConfig),
    /// MQTT 3.1.1 and 5.
    "mqtt" => Mqtt(MqttConfig),
}

registry! {
    /// What makes events durable elsewhere, or acts on them.
    #[allow(clippy::large_enum_variant, reason = "at most 63 of them, made at start")]
    #[schemars(extend("x-later" = {
        "files": "file and object storage backends come with a later release",
        "postgres": "PostgreSQL backends come with a later release",
        "clickhouse": "ClickHouse backends come with a later release",
        "http": "HTTP backends come with a later release",
        "webhook": "webhook backends come with a later release",
        "alert": "alert backends come with a later release",
        "mqtt": "MQTT backends come with a later release",
        "amqp": "AMQP backends come with a later release",
        "aggregate": "aggregation comes with a later release",
        "service": "service backends come with a later release"
    }))]
    Backend: Plugin { BackendConfig },
    /// Apache Kafka.
    "kafka" => Kafka(KafkaConfig),
    /// The embedded store.
    "store" => Store(StoreConfig),
    /// Nothing: takes all, keeps none.
    "null" => Null(NullConfig),
}
