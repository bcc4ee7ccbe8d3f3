//! What a Kafka backend is told, and how that becomes librdkafka's configuration.
use super::config::OWNED;
use rdkafka::{ClientConfig, error::KafkaError};
use settings::{SecretText, Template};
use std::time::Duration;

/// Largest record that librdkafka may be given; the topic's own limit is learned and is what counts.
const RECORD_BYTES_MAX: usize = 100_000_000;
/// librdkafka's own default for the size of a record batch.
pub(crate) const BATCH_BYTES: usize = 1_000_000;

/// Keys that nobody may set, beside [`OWNED`].
const NEVER: [(&str, &str); 8] = [
    ("plugin.library.paths", "it loads foreign code into the gateway"),
    ("queue.buffering.max.messages", "the gateway bounds what is under way"),
    ("queue.buffering.max.kbytes", "the gateway bounds what is under way"),
    ("statistics.interval.ms", "the gateway exports the statistics"),
    ("topic.metadata.propagation.max.ms", "a missing topic must be reported soon"),
    ("ssl.ca.pem", "it comes from tls"),
    ("ssl.certificate.pem", "it comes from tls"),
    ("ssl.key.pem", "it comes from tls, and never stands in a file that others read"),
];

/// How an event becomes a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Value = data, attributes = headers `ce_…`. The default.
    #[default]
    Binary,
    /// Value = the event in the JSON event format.
    Structured,
}

/// User name and password.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: &'static str,
    /// The user.
    pub username: String,
    /// The password itself, already read from its file or variable. Never printed.
    pub password: SecretText,
}

/// TLS to the brokers. All empty: the system's authorities, no certificate of our own.
#[derive(Clone, Debug)]
pub struct Tls {
    /// PEM file of the authorities to trust.
    pub ca: Option<String>,
    /// PEM file of our certificate.
    pub cert: Option<String>,
    /// PEM file of its key.
    pub key: Option<String>,
    /// Whether the certificate must name the host. Default: yes.
    pub check_hostname: bool,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { ca: None, cert: None, key: None, check_hostname: true }
    }
}

/// Everything that a Kafka backend is told.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// The backend's name in the config: part of what makes the spans of an event's deliveries differ. Default: `kafka`.
    pub name: String,
    /// `host:port` of brokers to start from.
    pub brokers: Vec<String>,
    /// The topic, or a template of it.
    pub topic: Template,
    /// When not empty: the topics that a template may become. Default: empty.
    pub topics_allowed: Vec<String>,
    /// The record's key; without it, or when the event lacks an attribute of it: the event's order key. Default: none.
    pub key: Option<Template>,
    /// Default: binary.
    pub mode: Mode,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`. Default: `none`.
    pub compression: &'static str,
    /// How long librdkafka waits for more records before it sends a batch. Default: 0.5 ms. Calls already bring many events; for
    /// single ones, 64 under way, half a millisecond carries more records than none (which sends them one by one, at twice the
    /// CPU) and three times as many as librdkafka's own 5 ms. `linger.ms` among the properties overrides it.
    pub linger: Duration,
    /// Default: `anygate`.
    pub client_id: String,
    /// Most records in the producer, sent and unsent. Default: 100,000.
    pub queue_records: u32,
    /// Most bytes of them. Default: 64 MiB.
    pub queue_bytes: u64,
    /// How often the statistics are taken; zero: never. Default: 10 s.
    pub statistics: Duration,
    /// How long brokers may answer and confirm nothing of what is under way before the producer is replaced by a new one. Doubles
    /// up to sixteen-fold while that does not help. Default: 120 s. A healthy cluster may take 45 s: a follower that is gone holds
    /// confirmations for `replica.lag.time.max.ms` (30 s) and up to half of that until it is noticed.
    pub stall: Duration,
    /// Default: none.
    pub sasl: Option<Sasl>,
    /// Default: none, which is clear text.
    pub tls: Option<Tls>,
    /// The largest message that a listener takes, for a warning when the topic takes less. Default: 0, not known.
    pub message_max: usize,
    /// Whether a topic that is less safe than it could be is a wrong destination. Default: no, it is a warning.
    pub strict: bool,
    /// Any other librdkafka setting; see [`check_property`].
    pub properties: Vec<(String, String)>,
}

impl KafkaSettings {
    /// The defaults.
    pub fn new(brokers: Vec<String>, topic: Template) -> Self {
        KafkaSettings {
            name: "kafka".to_owned(),
            brokers,
            topic,
            topics_allowed: Vec::new(),
            key: None,
            mode: Mode::default(),
            compression: "none",
            linger: Duration::from_micros(500),
            client_id: "anygate".to_owned(),
            queue_records: 100_000,
            queue_bytes: 64 << 20,
            statistics: Duration::from_secs(10),
            stall: Duration::from_secs(120),
            sasl: None,
            tls: None,
            message_max: 0,
            strict: false,
            properties: Vec::new(),
        }
    }

    /// The configuration of a client. Our defaults first, then the given properties, then what is ours alone.
    pub(crate) fn client(&self, batch_bytes: usize) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("linger.ms", format!("{:.3}", self.linger.as_secs_f64() * 1000.0))
            .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
            .set("socket.keepalive.enable", "true")
            // A broker that restarts is used again within two seconds, not ten.
            .set("reconnect.backoff.max.ms", "2000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("message.timeout.ms", "0")
            .set("partitioner", "murmur2_random")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.propagation.max.ms", "5000")
            .set("queue.buffering.max.messages", self.queue_records.to_string())
            .set("queue.buffering.max.kbytes", (self.queue_bytes / 1024).max(1).to_string())
            .set("statistics.interval.ms", self.statistics.as_millis().to_string())
            .set("compression.type", self.compression);
        let batch_given = self.properties.iter().any(|(name, _)| name == "batch.size");
        if !batch_given || batch_bytes < BATCH_BYTES {
            config.set("batch.size", batch_bytes.to_string());
        }
        self.secure(&mut config);
        config
    }

    fn secure(&self, config: &mut ClientConfig) {
        let protocol = match (&self.sasl, &self.tls) {
            (None, None) => "plaintext",
            (Some(_), None) => "sasl_plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanism", sasl.mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", sasl.password.expose());
        }
        if let Some(tls) = &self.tls {
            let files =
                [("ssl.ca.location", &tls.ca), ("ssl.certificate.location", &tls.cert), ("ssl.key.location", &tls.key)];
            for (name, file) in files {
                if let Some(file) = file {
                    config.set(name, file);
                }
            }
            config.set("ssl.endpoint.identification.algorithm", if tls.check_hostname { "https" } else { "none" });
        }
    }
}

/// Checks one of the `properties`.
///
/// # Errors
/// What is wrong with it: a setting of the gateway's own, a name or value that librdkafka does not know.
pub fn check_property(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, reason)) = OWNED.iter().chain(&NEVER).find(|(owned, _)| *owned == name) {
        return Err(format!("{name} is set by the gateway: {reason}"));
    }
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, text, ..)) => Err(text),
        Err(other) => Err(other.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_checked() {
        assert_eq!(check_property("socket.timeout.ms", "1000"), Ok(()));
        assert_eq!(check_property("linger.ms", "5"), Ok(()));
        for (name, value) in
            [("acks", "1"), ("partitioner", "random"), ("plugin.library.paths", "x"), ("no.such.key", "1")]
        {
            assert!(check_property(name, value).unwrap_err().contains(name), "{name}");
        }
        assert!(check_property("socket.timeout.ms", "soon").is_err());
    }

    #[test]
    fn what_is_ours_cannot_be_changed() {
        let mut settings = KafkaSettings::new(vec!["a:1".into(), "b:2".into()], Template::constant("t"));
        settings.properties = vec![("message.timeout.ms".into(), "5".into()), ("linger.ms".into(), "7".into())];
        settings.tls = Some(Tls::default());
        let config = settings.client(BATCH_BYTES);
        assert_eq!(config.get("message.timeout.ms"), Some("0"));
        assert_eq!(config.get("linger.ms"), Some("7"));
        assert_eq!(config.get("bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(config.get("ssl.endpoint.identification.algorithm"), Some("https"));
        config.create_native_config().unwrap();
    }
}
