//! Configuration that every listener has: address, protection, overload, envelope rules, limits.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use settings::{Address, ByteSize, Name, Named, Network, Period, Secret, Template};

/// The keys that stand in every listener, beside those of its protocol.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
pub struct ListenerConfig {
    /// Where to listen. Off loopback `auth` has to be given too.
    pub listen: Address,
    /// Who may send: `none`, the name of an entry of the top-level `auth`, or a method written here. Off loopback it must be
    /// given; on loopback it is `none` by default.
    #[serde(default)]
    pub auth: Option<ListenerAuth>,
    /// Pipelines that each message passes before routing, in order.
    #[serde(default)]
    pub pipeline: Vec<Name>,
    /// What happens to a message that would be taken later: `refuse`, or `hold` it for a time. HTTP refuses (503 and
    /// `Retry-After`); MQTT holds for 20 s by default.
    #[serde(default)]
    pub overload: Option<Overload>,
    /// A batch with a bad event: `all` (the default) refuses the whole batch, `each` answers per event.
    #[serde(default)]
    pub batch: BatchMode,
    /// The codec of bare messages: `json` (one JSON text), or `raw` (bytes as they come). By default by content type. A CloudEvent
    /// is always read as one.
    #[serde(default)]
    pub codec: Option<Name>,
    /// How a bare message becomes an event. The first rule that matches wins.
    #[serde(default)]
    pub envelope: Vec<EnvelopeRule>,
    /// Names of HTTP headers or MQTT user properties that are kept beside the event's attributes. Never `authorization`,
    /// `cookie`, `proxy-authorization`.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub keep_headers: Vec<String>,
    /// Connections and waits.
    #[serde(default)]
    pub limits: ListenerLimits,
}

/// What the checks of a configuration ask of a listener's kind.
pub trait ListenerPlugin {
    /// The keys of every listener.
    fn common(&self) -> &ListenerConfig;

    /// The key that limits one message, its value, and the most that the protocol can carry.
    fn max_message(&self) -> (&'static str, ByteSize, ByteSize);

    /// The key by which envelope rules match: `path`, `topic`, `routing_key`.
    fn pattern_key(&self) -> &'static str;

    /// The most events in one message.
    fn max_events(&self) -> usize {
        schemas::limits::EVENTS_PER_MESSAGE_MAX
    }

    /// Whether `overload: { hold: … }` is possible.
    fn can_hold(&self) -> bool;

    /// What is wrong with the keys of this kind, beyond what their types say.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

/// One thing wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key.
    pub key: &'static str,
    /// What is wrong, one line.
    pub message: String,
    /// What is allowed, or why.
    pub label: String,
}

/// Who may send to a listener.
#[derive(Clone, Debug, PartialEq)]
pub enum ListenerAuth {
    /// Everybody who reaches the address; written `none`, so that it is meant.
    None,
    /// An entry of the top-level `auth`.
    Named(Name),
    /// A method of this listener's own.
    Inline(AuthMethod),
}

impl<'de> Deserialize<'de> for ListenerAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Name(Name),
            Method(AuthMethod),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Name(name) if name.as_str() == "none" => ListenerAuth::None,
            Written::Name(name) => ListenerAuth::Named(name),
            Written::Method(method) => ListenerAuth::Inline(method),
        })
    }
}

impl JsonSchema for ListenerAuth {
    fn schema_name() -> Cow<'static, str> {
        "ListenerAuth".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, method) = (generator.subschema_for::<Name>(), generator.subschema_for::<AuthMethod>());
        json_schema!({ "anyOf": [name, method] })
    }
}

/// How senders are known.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-later" = {
    "mtls": "client certificates come with TLS on listeners",
    "jwt": "JSON web tokens come with a later release"
}))]
pub enum AuthMethod {
    /// By the network that they come from.
    Network(NetworkAuth),
    /// By one token that all of them share: `Authorization: Bearer`, or the MQTT password.
    Token(TokenAuth),
    /// By name and password: HTTP Basic, or the MQTT user name and password.
    Users(UsersAuth),
}

/// Senders from some networks.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkAuth {
    /// The networks that may send.
    #[schemars(length(min = 1))]
    pub allow: Vec<Network>,
    /// The principal that such senders are; by default their address.
    #[serde(default)]
    pub principal: Option<Name>,
}

/// Senders with one shared token.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAuth {
    /// Where the token is.
    pub secret: Secret,
    /// The principal that its bearers are; by default `token`.
    #[serde(default)]
    pub principal: Option<Name>,
}

/// Senders with a name and a password.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsersAuth {
    /// A file with one `name:password` per line, relative to the configuration's folder. The name is the principal. Empty lines
    /// and lines that start with `#` are left out.
    pub file: String,
}

/// What happens to a message that would be taken later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overload {
    /// Refuse at once (HTTP), or close at once with the same codes (MQTT).
    Refuse,
    /// Hold the answer for so long, then close. Never above half the keep-alive.
    Hold(Period),
}

/// What a bad event does to its batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BatchMode {
    /// The whole batch is refused.
    #[default]
    All,
    /// The good events are kept, each has an answer of its own.
    Each,
}

/// How a bare message becomes an event.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeRule {
    /// MQTT: the topic, with `{name}` for one level, `+` and `#` as in a filter.
    #[serde(default)]
    pub topic: Option<Template>,
    /// HTTP: the path, with `{name}` for one segment.
    #[serde(default)]
    pub path: Option<Template>,
    /// AMQP: the routing key, with `{name}` for one word.
    #[serde(default)]
    pub routing_key: Option<Template>,
    /// The attributes to set. `{name}` is what the pattern above matched, or one of `peer_ip`, `listener`, `principal`,
    /// `subject` (the whole path, topic or routing key) and `client_id` (MQTT).
    #[schemars(extend("propertyNames" = {"format": "attribute"}, "minProperties" = 1))]
    pub set: Named<Template>,
}

/// What an envelope rule's `set` may use besides the names of its pattern.
pub const ENVELOPE_NAMES: [&str; 5] = ["peer_ip", "listener", "principal", "subject", "client_id"];

/// Connections and waits of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Connections in all.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Connections from one address.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub per_address: u32,
    /// A connection that is silent for so long between messages is closed. MQTT: the client's keep-alive decides instead.
    pub idle_timeout: Period,
    /// The time for a request's headers, or for the MQTT CONNECT.
    pub header_timeout: Period,
    /// The time for the body of one message, from its headers on.
    pub body_timeout: Period,
    /// How long a peer may leave its answers unread before its connection is closed.
    pub write_timeout: Period,
    /// After this time, give or take a tenth, a connection is ended so that its peer can come back, to another process perhaps.
    /// HTTP: the next answer says `Connection: close` (HTTP/2: GOAWAY); 1 h by default. MQTT: what was
    /// read is answered, then DISCONNECT 0xA0 (3.1.1: the connection closes); by default connections grow as old as they like.
    pub max_connection_age: Option<Period>,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_address: 1_000,
            idle_timeout: Period::secs(75),
            header_timeout: Period::secs(10),
            body_timeout: Period::secs(30),
            write_timeout: Period::secs(10),
            max_connection_age: None,
        }
    }
}
