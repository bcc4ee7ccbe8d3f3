//! Configuration of a Kafka backend.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::{Address, Named, Plain, Secret, Template};

use crate::config::BackendConfig;

/// Apache Kafka: an idempotent producer with `acks=all`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = {
    "schema": "schema registries come with a later release"
}))]
pub struct KafkaConfig {
    /// Brokers to start from.
    #[schemars(length(min = 1))]
    pub brokers: Vec<Address>,
    /// The topic. A template has to start with fixed text, or `topics_allowed` lists what it may become.
    pub topic: Template,
    /// The topics that a template may become; an event for another one is refused.
    #[serde(default)]
    pub topics_allowed: Vec<String>,
    /// True: a topic with fewer than 3 replicas, `min.insync.replicas` below 2, unclean elections or a `max.message.bytes` below what
    /// listeners take is a wrong destination, and its events are held. By default that is a warning, at the start and whenever
    /// it changes.
    #[serde(default)]
    pub strict: bool,
    /// The record's key. Not given, or with an attribute that the event lacks: `partitionkey`, else `subject`, else `source`.
    #[serde(default)]
    pub key: Option<Template>,
    /// `binary` (attributes as headers, the default) or `structured` (the JSON event format).
    #[serde(default)]
    pub mode: KafkaMode,
    /// Always `all`; written only for readers who look for it.
    #[serde(default)]
    pub acks: KafkaAcks,
    /// Compression of record batches. What the topic takes (`max.message.bytes`) is compared with a record's size without it.
    #[serde(default)]
    pub compression: KafkaCompression,
    /// User name and password.
    #[serde(default)]
    pub sasl: Option<KafkaSasl>,
    /// TLS to the brokers; `{}` trusts the system's authorities.
    #[serde(default)]
    pub tls: Option<KafkaTls>,
    /// Any other librdkafka setting, but those that the gateway sets itself.
    #[serde(default)]
    pub properties: Named<Plain>,
    /// The keys of every backend.
    #[serde(flatten)]
    pub common: BackendConfig,
}

/// How an event becomes a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaMode {
    /// Value = data, attributes = headers `ce_…`.
    #[default]
    Binary,
    /// Value = the event in JSON.
    Structured,
}

/// What a broker has to do before it confirms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaAcks {
    /// All replicas in sync have it.
    #[default]
    All,
}

/// Compression of record batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KafkaCompression {
    /// No compression.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl KafkaCompression {
    /// The word that librdkafka knows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            KafkaCompression::None => "none",
            KafkaCompression::Gzip => "gzip",
            KafkaCompression::Snappy => "snappy",
            KafkaCompression::Lz4 => "lz4",
            KafkaCompression::Zstd => "zstd",
        }
    }
}

/// User name and password.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSasl {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// The user.
    pub username: String,
    /// Where the password is.
    pub password: Secret,
}

/// How a password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SaslMechanism {
    /// In clear text: use it with `tls` only.
    #[serde(rename = "PLAIN")]
    Plain,
    /// SCRAM with SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// SCRAM with SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl SaslMechanism {
    /// The word that librdkafka knows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            SaslMechanism::Plain => "PLAIN",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// TLS to the brokers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaTls {
    /// The authorities to trust, a PEM file; by default the system's.
    #[serde(default)]
    pub ca: Option<String>,
    /// Our own certificate, a PEM file; needs `key`.
    #[serde(default)]
    pub cert: Option<String>,
    /// The key of our certificate, a PEM file; needs `cert`.
    #[serde(default)]
    pub key: Option<String>,
}

/// librdkafka settings that the gateway sets itself, with the reason. `properties` may not name them.
pub const OWNED: &[(&str, &str)] = &[
    ("acks", "it is always all: a record counts as delivered when every replica in sync has it"),
    ("request.required.acks", "it is always all: a record counts as delivered when every replica in sync has it"),
    ("enable.idempotence", "it is always true: retries must not reorder or duplicate"),
    ("enable.gapless.guarantee", "the gateway decides what happens after a fault"),
    ("message.timeout.ms", "it is always 0: the gateway retries, librdkafka never gives a record up"),
    ("delivery.timeout.ms", "it is always 0: the gateway retries, librdkafka never gives a record up"),
    ("message.send.max.retries", "the gateway retries: see retry"),
    ("retries", "the gateway retries: see retry"),
    ("partitioner", "it is always murmur2_random: the same partitions as every other client"),
    ("bootstrap.servers", "it comes from brokers"),
    ("metadata.broker.list", "it comes from brokers"),
    ("client.id", "it names this gateway"),
    ("allow.auto.create.topics", "it is always false: a topic that is missing is a fault to see"),
    ("delivery.report.only.error", "every record's report is needed: it is the acknowledgement"),
    ("max.in.flight", "it goes with idempotence"),
    ("max.in.flight.requests.per.connection", "it goes with idempotence"),
    ("transactional.id", "transactions are not used"),
    ("compression.type", "it comes from compression"),
    ("compression.codec", "it comes from compression"),
    ("security.protocol", "it comes from sasl and tls"),
    ("sasl.mechanism", "it comes from sasl"),
    ("sasl.mechanisms", "it comes from sasl"),
    ("sasl.username", "it comes from sasl"),
    ("sasl.password", "it comes from sasl, and never stands in a file that others read"),
    ("ssl.ca.location", "it comes from tls"),
    ("ssl.certificate.location", "it comes from tls"),
    ("ssl.key.location", "it comes from tls"),
    ("queuing.strategy", "order needs first in, first out"),
];
