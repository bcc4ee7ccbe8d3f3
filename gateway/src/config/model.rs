//! The configuration as types: what the rest of the gateway reads. Lists keep the order of the file.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::{Address, ByteSize, Name, Named, Period, Predicate, Secret};
use transports::net::config::AuthMethod;

use super::middleware::Middleware;
pub use super::registry::{Backend, Listener};

/// A configuration that passed `check`: every name resolves, every expression and template is parsed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Anygate configuration", extend("x-later" = {
    "tls": "TLS on listeners comes with a later release",
    "tests": "tests in the configuration come with a later release",
    "include": "configurations of several files come with a later release"
}))]
pub struct Config {
    /// The version of this grammar; always 1.
    #[schemars(range(min = 1))]
    pub version: u32,
    /// This process: its folder, its memory, its end.
    #[serde(default)]
    pub node: Node,
    /// The address that people, probes and tools ask.
    #[serde(default)]
    pub admin: Admin,
    /// What the gateway tells about itself.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// The write-ahead log.
    #[serde(default)]
    pub journal: Journal,
    /// Methods by which senders are known, for listeners to name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub auth: Named<AuthMethod>,
    /// Schemas of payloads, for `validate` to name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub schemas: Named<PayloadSchema>,
    /// Where messages come in.
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub listeners: Named<Listener>,
    /// Ordered lists of middleware, for listeners and routes to name.
    #[serde(default)]
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub pipelines: Named<Vec<Middleware>>,
    /// Where events go: top to bottom, the first match wins unless it says `continue: true`.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// What becomes of an event that no route matches.
    #[serde(default)]
    pub unrouted: Unrouted,
    /// What makes events durable elsewhere, or acts on them. At most 63.
    #[schemars(extend("propertyNames" = {"format": "name"}))]
    pub backends: Named<Backend>,
    /// How long dead letters are kept.
    #[serde(default)]
    pub dead_letters: DeadLetters,
    /// The folder of the file: relative paths in it start here.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The file's name as the user gave it; for messages.
    #[serde(skip)]
    pub file: String,
}

/// This process.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// The folder of journal, embedded store and dead letters, relative to the working directory.
    pub data_dir: String,
    /// On SIGTERM: for so long the gateway says that it is not ready but still takes messages, so that load balancers see it in
    /// time. By default not at all.
    pub drain_delay: Period,
    /// On SIGTERM, after `drain_delay`: the time to answer what is in flight and to flush.
    pub drain_timeout: Period,
    /// The bytes of messages that may be in memory at once, before they are in the journal; shared by all listeners.
    pub room: ByteSize,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data_dir: "./anygate-data".to_owned(),
            drain_delay: Period::secs(0),
            drain_timeout: Period::secs(25),
            room: ByteSize::mib(64),
        }
    }
}

/// The admin address: health, metrics, and the API behind the commands.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where to listen. Off loopback it needs `token`.
    pub listen: Address,
    /// The token that `anygate … --admin` sends.
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8700".parse().expect("the default admin address is one"), token: None }
    }
}

/// What the gateway tells about itself.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The OpenTelemetry collector that gets traces, such as `http://127.0.0.1:4318`. Not given: none are sent.
    pub otlp: Option<String>,
    /// How OTLP is sent; by default `grpc` when the port is 4317, else `http`.
    pub protocol: Option<OtlpProtocol>,
    /// The share of messages traced when they arrive without `traceparent`: 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample: f64,
    /// The format of log lines on stderr.
    pub logs: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp: None, protocol: None, sample: 0.05, logs: LogFormat::default() }
    }
}

/// How OTLP is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    /// Over gRPC, usually port 4317.
    Grpc,
    /// Protobuf over HTTP, usually port 4318.
    Http,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// `service:context(package?query) event#action`.
    Izy,
}

/// The write-ahead log's hot ring. Its disk is `segments` × `segment_size` at most, unless it is kept in memory.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// The stateless form: the log is kept in this much memory and on no disk, and is gone with the process. Then no route may say
    /// `ack: durable`: `received` may lose events with the process, `delivered` loses none.
    pub memory: Option<ByteSize>,
    /// The size of one file; the largest message is smaller.
    pub segment_size: ByteSize,
    /// How many files the ring grows to before new events are held or refused.
    #[schemars(range(min = 3, max = 1024))]
    pub segments: u32,
}

impl Default for Journal {
    fn default() -> Self {
        Self { memory: None, segment_size: ByteSize::mib(64), segments: 16 }
    }
}

impl Journal {
    /// The least memory that a log in memory can work with.
    pub const MEMORY_MIN: ByteSize = ByteSize::mib(32);

    /// The size of a segment and how many there are. In memory: the ring is half of it, in segments of a sixteenth, never more than
    /// `segment_size`; the other half is for what lags and for dead letters.
    #[must_use]
    pub fn ring(&self) -> (ByteSize, usize) {
        let segments = usize::try_from(self.segments).unwrap_or(usize::MAX);
        let Some(memory) = self.memory else { return (self.segment_size, segments) };
        let size = (memory.bytes() / 16).min(self.segment_size.bytes()).max(1 << 20);
        // Whole pages: groups begin at page boundaries.
        let size = size / 4096 * 4096;
        (ByteSize::new(size), usize::try_from(memory.bytes() / 2 / size).unwrap_or(usize::MAX).clamp(3, 64))
    }
}

/// The schema of a payload.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = {
    "message": "Protocol Buffers schemas come with a later release",
    "confluent": "schema registries come with a later release"
}))]
pub struct PayloadSchema {
    /// A JSON Schema (`.json`), relative to the configuration's folder. It may refer to files beside it, not to the network.
    pub file: String,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-later" = { "call": "replies through a service backend come with a later release" }))]
pub struct Route {
    /// Its name, in `explain`, traces and metrics.
    pub name: Name,
    /// Which events it takes: CloudEvents SQL over their attributes. Not given, or `true`: all. An expression that errs, for
    /// instance because an attribute is missing, does not match.
    #[serde(default = "Predicate::always")]
    pub when: Predicate,
    /// Pipelines that its events pass, in order; each matched route works on its own view.
    #[serde(default)]
    pub pipeline: Vec<Name>,
    /// The backends that get its events.
    #[schemars(length(min = 1))]
    pub to: Vec<Name>,
    /// What is true when the sender is told yes.
    #[serde(default)]
    pub ack: Ack,
    /// True: routes below are asked too.
    #[serde(default, rename = "continue")]
    pub goes_on: bool,
    /// The line of the file where it starts.
    #[serde(skip)]
    pub line: u32,
}

/// What is true when a sender is told yes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// It is validated and in memory; a crash may lose it.
    Received,
    /// It is in the journal and its fdatasync returned.
    #[default]
    Durable,
    /// Every backend of the route has confirmed it; it is never journaled.
    Delivered,
}

impl Ack {
    /// The word, as in the file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Ack::Received => "received",
            Ack::Durable => "durable",
            Ack::Delivered => "delivered",
        }
    }
}

/// What becomes of an event that no route matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unrouted {
    /// It is acknowledged and kept as a dead letter.
    #[default]
    DeadLetter,
    /// The sender is told `no_route`.
    Reject,
    /// It is acknowledged, dropped and counted.
    Drop,
}

/// How long dead letters are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetters {
    /// How long one is kept.
    pub keep: Period,
    /// The disk that dead letters whose sender got a receipt may take: they are never thrown away to make room; when it is full, what
    /// would become one more is held or refused. By default 256MiB, or less where the file system is smaller.
    pub max_size: Option<ByteSize>,
    /// The disk that dead letters whose sender got no receipt may take (QoS 0): the oldest go first. By default 64MiB, or less
    /// where the file system is smaller.
    pub max_size_unconfirmed: Option<ByteSize>,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { keep: Period::secs(14 * 86_400), max_size: None, max_size_unconfirmed: None }
    }
}
