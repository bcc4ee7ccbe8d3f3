//! `anygate send mqtt`: MQTT 5 by the client library rumqttc, 3.1.1 by [`Link`].
use super::{
    Common,
    link::{Link, LinkFault},
    own_trace,
    said::{Outcome, Said},
    target::Target,
    wire::{Hello, Publish, Version},
};
use clap::Args;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Outgoing, PubAck, PublishOptions,
    PublishProperties, QoS, StateError,
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// The longest topic, user name, or user property: MQTT writes lengths in 16 bits.
const TEXT_MAX: usize = 65_535;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate send mqtt sensors/hh/7/temperature '{\"celsius\":21.5}'\n  anygate send mqtt sensors/hh/7/temperature 21.5 --version 3.1.1 --qos 0\n  anygate send mqtt t '{}' --prop specversion=1.0 --prop id=1 --prop type=t --prop source=/s"
)]
pub(super) struct Mqtt {
    /// The topic
    topic: String,
    /// The payload; - reads standard input
    data: String,
    /// The listener
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    url: String,
    /// The listener's host, instead of the URL's
    #[arg(long)]
    host: Option<String>,
    /// The listener's port, instead of the URL's
    #[arg(long)]
    port: Option<u16>,
    /// The quality of service: 0 or 1; with 0 there is no answer
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// The protocol version: 5 or 3.1.1
    #[arg(long, default_value = "5", value_parser = ["5", "3.1.1"])]
    version: String,
    /// A user property, as in 'name=value' (MQTT 5); a traceparent is used instead of a new one
    #[arg(long = "prop", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// The content type (MQTT 5)
    #[arg(long)]
    content_type: Option<String>,
    /// The user name; needs --password-file
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// A file that holds the password
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Everything that is needed, checked.
struct Prepared {
    target: Target,
    version: Version,
    properties: Vec<(String, String)>,
    trace: Option<String>,
    payload: bytes::Bytes,
    user: Option<(String, Vec<u8>)>,
}

impl Mqtt {
    pub(super) async fn send(&self) -> Said {
        let prepared = match self.prepare() {
            Ok(prepared) => prepared,
            Err(what) => return Said::of(Outcome::Usage(what)),
        };
        let said = match prepared.version {
            Version::V5 => self.modern(&prepared).await,
            Version::V311 => self.old(&prepared).await,
        };
        Said { trace: prepared.trace, ..said }
    }

    fn prepare(&self) -> Result<Prepared, String> {
        let mut target = Target::parse(&self.url, "mqtt", 1883)?;
        target.host = self.host.clone().unwrap_or(target.host);
        target.port = self.port.unwrap_or(target.port);
        let version = Version::parse(&self.version).unwrap_or(Version::V5);
        if version == Version::V311 && (!self.properties.is_empty() || self.content_type.is_some()) {
            return Err(
                "MQTT 3.1.1 has no user properties and no content type; leave --prop and --content-type out".to_owned()
            );
        }
        let mut properties = Vec::new();
        for property in &self.properties {
            let (name, value) = property
                .split_once('=')
                .ok_or_else(|| format!("the property {property:?} has no '=': 'name=value'"))?;
            properties.push((name.to_owned(), value.to_owned()));
        }
        let fits = |text: &str| text.len() <= TEXT_MAX;
        if !fits(&self.topic) || !properties.iter().all(|(name, value)| fits(name) && fits(value)) {
            return Err(format!("a topic and a property have at most {TEXT_MAX} bytes"));
        }
        let trace = self.trace(version, &mut properties);
        let user = match (&self.user, &self.password_file) {
            (Some(user), Some(file)) => {
                let mut password = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
                // As the gateway reads its own secrets: one line end after it is none of it.
                password.truncate(password.trim_ascii_end().len());
                Some((user.clone(), password))
            }
            _ => None,
        };
        Ok(Prepared { target, version, properties, trace, payload: super::data(&self.data)?, user })
    }

    /// The trace id that will be known: of the own trace, or of the one that was given. 3.1.1 has no place for it.
    fn trace(&self, version: Version, properties: &mut Vec<(String, String)>) -> Option<String> {
        let given = properties.iter().find(|(name, _)| name == "traceparent");
        match (version, given) {
            (Version::V311, _) => None,
            (Version::V5, Some((_, value))) => schemas::TraceContext::parse(value).map(|trace| trace.trace_id_hex()),
            (Version::V5, None) => {
                let trace = own_trace();
                properties.push(("traceparent".to_owned(), trace.to_string()));
                Some(trace.trace_id_hex())
            }
        }
    }

    async fn old(&self, prepared: &Prepared) -> Said {
        let client_id = client_id();
        let user = prepared.user.as_ref().map(|(user, password)| (user.as_str(), password.as_slice()));
        let hello = Hello { version: Version::V311, client_id: &client_id, user };
        let begin = Instant::now();
        let address = match prepared.target.resolve() {
            Ok(address) => address,
            Err(what) => return Said::of(Outcome::Unreachable(what)),
        };
        let mut link = match Link::open(address, &hello).await {
            Ok(link) => link,
            Err(LinkFault::Said(packet, said)) => return refused(packet, said.code, &said.reason),
            Err(fault) => return Said::of(Outcome::Unreachable(format!("{}: {fault}", prepared.target.address()))),
        };
        let connected = Instant::now();
        let message = Publish {
            topic: &self.topic,
            qos: self.qos,
            content_type: None,
            properties: &[],
            payload: &prepared.payload,
        };
        let said = match link.publish(&message, self.common.patience()).await {
            Ok(_) if self.qos == 0 => sent(),
            Ok(said) => acked(said.code, &said.reason),
            Err(LinkFault::Said(packet, said)) => refused(packet, said.code, &said.reason),
            Err(fault) => Said::of(Outcome::Unknown(fault.to_string())),
        };
        let after = connected.elapsed();
        link.close().await;
        Said { after, connected_after: connected - begin, ..said }
    }

    async fn modern(&self, prepared: &Prepared) -> Said {
        let mut options = MqttOptions::new(client_id(), (prepared.target.host.clone(), prepared.target.port));
        if let Some((user, password)) = &prepared.user {
            options.set_credentials(user.clone(), password.clone());
        }
        let (client, mut events) = AsyncClient::builder(options).capacity(2).build();
        let begin = Instant::now();
        let address = prepared.target.address();
        match timeout(Duration::from_secs(10), connack(&mut events)).await {
            Ok(Ok(())) => {}
            Ok(Err(ConnectionError::ConnectionRefused(code))) => return refused("connack", 0x80, &format!("{code:?}")),
            Ok(Err(error)) => return Said::of(Outcome::Unreachable(format!("{address}: {error}"))),
            Err(_) => return Said::of(Outcome::Unreachable(format!("{address}: it does not answer"))),
        }
        let connected = Instant::now();
        let properties = PublishProperties {
            user_properties: prepared.properties.clone(),
            content_type: self.content_type.clone(),
            ..PublishProperties::default()
        };
        let qos = if self.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
        let options = PublishOptions::new(qos).properties(properties);
        if let Err(error) = client.publish(self.topic.clone(), prepared.payload.clone(), options).await {
            return Said::of(Outcome::Usage(format!("the topic {:?} cannot be published to: {error}", self.topic)));
        }
        let answered = timeout(self.common.patience(), puback(&mut events, self.qos)).await;
        let after = connected.elapsed();
        let said = match answered {
            Err(_) => Said::of(Outcome::Unknown(format!("no answer within {} s", self.common.timeout))),
            Ok(Ok(None)) => sent(),
            Ok(Ok(Some(puback))) => {
                let reason = puback.properties.and_then(|properties| properties.reason_string).unwrap_or_default();
                acked(puback.reason as u8, &reason)
            }
            Ok(Err(ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }))) => {
                refused("disconnect", reason_code as u8, &reason_string.unwrap_or_default())
            }
            Ok(Err(error)) => Said::of(Outcome::Unknown(error.to_string())),
        };
        if client.disconnect().await.is_ok() {
            // What has to be written is written; how the connection ends matters to nobody.
            let _ended = timeout(Duration::from_secs(1), async { while events.poll().await.is_ok() {} }).await;
        }
        Said { after, connected_after: connected - begin, ..said }
    }
}

fn client_id() -> String {
    format!("anygate-send-{:08x}", crate::random::u32())
}

async fn connack(events: &mut EventLoop) -> Result<(), ConnectionError> {
    loop {
        if let Event::Incoming(Incoming::ConnAck(_)) = events.poll().await? {
            return Ok(());
        }
    }
}

/// The PUBACK; `None` when a message of QoS 0 is written.
async fn puback(events: &mut EventLoop, qos: u8) -> Result<Option<PubAck>, ConnectionError> {
    loop {
        match events.poll().await? {
            Event::Incoming(Incoming::PubAck(puback)) => return Ok(Some(puback)),
            Event::Outgoing(Outgoing::Publish(_)) if qos == 0 => return Ok(None),
            _ => {}
        }
    }
}

fn sent() -> Said {
    let outcome = Outcome::Receipt { level: "sent".to_owned(), ids: Vec::new(), word: None };
    Said { answer: "without an answer, as qos 0 asks for,".to_owned(), ..Said::of(outcome) }
}

fn acked(code: u8, reason: &str) -> Said {
    if code >= 0x80 {
        return refused("puback", code, reason);
    }
    let outcome = Outcome::Receipt { level: "acked".to_owned(), ids: Vec::new(), word: None };
    Said { answer: format!("puback 0x{code:02x}"), ..Said::of(outcome) }
}

/// The gateway's reason string is `word: detail`.
fn refused(packet: &str, code: u8, reason: &str) -> Said {
    let (word, detail) = reason.split_once(": ").unwrap_or((reason, ""));
    let word = if word.is_empty() { format!("{packet} 0x{code:02x}") } else { word.to_owned() };
    let detail = if detail.is_empty() { Vec::new() } else { vec![detail.to_owned()] };
    Said { answer: format!("{packet} 0x{code:02x}"), ..Said::of(Outcome::Refused { word, detail }) }
}
