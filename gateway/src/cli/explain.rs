//! `anygate explain`: what would happen to a message, step by step. Sends nothing.
use super::{Exit, run};
use crate::explain::{Explained, ExplainedEvent, Explainer};
use bytes::Bytes;
use clap::{Args, Subcommand};
use schemas::{ByteStr, ItemVerdict, Message, Refusal};
use serde_json::{Value, json};
use std::{net::SocketAddr, num::NonZeroU16, path::PathBuf};
use transports::{
    Origin, Principal,
    http::HttpSettings,
    mqtt::{
        MqttSettings,
        fields::Version,
        message,
        publish::{Publish, Said},
    },
};

/// Show what would happen to a message, with the config lines that decide it. Sends nothing.
///
/// It is the engine of `run`: the same codec, rules, pipelines, predicates and records.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  anygate explain mqtt sensors/hh/7/temperature '{\"celsius\":21.5}'\n  anygate explain http --type com.acme.order.created '{\"total\":9}'\n  anygate explain http -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-type: t' -H 'ce-source: /s' '{}'"
)]
pub struct Explain {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    /// A request: POST /events
    Http(Http),
    /// A PUBLISH
    Mqtt(Mqtt),
}

#[derive(Debug, Args)]
struct Common {
    /// The config file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The listener; by default the first of the protocol
    #[arg(short, long, value_name = "NAME")]
    listener: Option<String>,
    /// The principal that sends it
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Http {
    /// The body
    data: String,
    /// The type in the path: POST /events/TYPE
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// A header, as in 'name: value'
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Mqtt {
    /// The topic
    topic: String,
    /// The payload
    data: String,
    /// The protocol version: 5 or 3.1.1
    #[arg(long, default_value = "5", value_parser = ["5", "3.1.1"])]
    version: String,
    /// The quality of service: 0 or 1
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    qos: u8,
    /// A user property, as in 'name=value' (MQTT 5)
    #[arg(long = "prop", value_name = "NAME=VALUE")]
    properties: Vec<String>,
    /// The content type (MQTT 5)
    #[arg(long)]
    content_type: Option<String>,
    #[command(flatten)]
    common: Common,
}

impl Explain {
    /// Prints what would happen. Exit 1 when the message would be refused.
    pub fn run(self) -> Exit {
        let (common, kind) = match &self.protocol {
            Protocol::Http(http) => (&http.common, "http"),
            Protocol::Mqtt(mqtt) => (&mqtt.common, "mqtt"),
        };
        let (checked, _) = run::load(common.config.as_deref());
        let Some(config) = checked.config.clone() else {
            eprintln!("{}", checked.render(false));
            return Exit::Faults;
        };
        let explainer = match Explainer::new(config) {
            Ok(explainer) => explainer,
            Err(error) => {
                eprintln!("error: {error}");
                return Exit::Faults;
            }
        };
        let Some(listener) = common.listener.clone().or_else(|| explainer.listener_of(kind).map(str::to_owned)) else {
            eprintln!("error: the config has no {kind} listener");
            return Exit::Usage;
        };
        let message = match &self.protocol {
            Protocol::Http(http) => http.message(),
            Protocol::Mqtt(mqtt) => mqtt.message(),
        };
        let origin = origin(&listener, kind, common.principal.as_deref());
        let explained = message.and_then(|message| explainer.explain(message, origin));
        if common.json {
            println!("{}", to_json(&explained));
        } else {
            print(&explained);
        }
        match explained {
            Ok(Explained { refusal: None, .. }) => Exit::Ok,
            Ok(_) | Err(_) => Exit::Faults,
        }
    }
}

fn origin(listener: &str, kind: &'static str, principal: Option<&str>) -> Origin {
    let name = principal.map(ByteStr::from).unwrap_or_default();
    Origin {
        listener: listener.into(),
        principal: Principal { name, tenant: ByteStr::EMPTY },
        protocol: if kind == "http" { "http" } else { "mqtt" },
        version: if kind == "http" { "1.1" } else { "5" },
        peer: SocketAddr::from(([127, 0, 0, 1], 0)),
        client: ByteStr::EMPTY,
    }
}

fn usage(detail: String) -> Refusal {
    Refusal::new(schemas::Word::ProtocolError, detail)
}

impl Http {
    fn message(&self) -> Result<Message, Refusal> {
        let path = self.event_type.as_ref().map_or_else(|| "/events".to_owned(), |name| format!("/events/{name}"));
        let mut request = http::Request::post(path).header("host", "localhost");
        for header in &self.headers {
            let (name, value) =
                header.split_once(':').ok_or_else(|| usage(format!("{header:?} is no 'name: value'")))?;
            request = request.header(name.trim(), value.trim().as_bytes());
        }
        let request = request.body(Bytes::from(self.data.clone())).map_err(|error| usage(error.to_string()))?;
        transports::http::message_of(request, &HttpSettings::default())
    }
}

impl Mqtt {
    fn message(&self) -> Result<Message, Refusal> {
        let mut said = Said { content_type: self.content_type.as_deref(), ..Said::default() };
        for property in &self.properties {
            let pair = property.split_once('=').ok_or_else(|| usage(format!("{property:?} is no name=value")))?;
            said.user.push(pair);
        }
        let version = if self.version == "5" { Version::V5 } else { Version::V311 };
        let packet_id = (self.qos == 1).then_some(NonZeroU16::MIN);
        let publish = Publish { topic: &self.topic, packet_id, alias: None, said, payload: self.data.as_bytes() };
        let payload = Bytes::from(self.data.clone());
        message::of_publish(&publish, self.topic.as_str().into(), payload, version, &MqttSettings::default())
    }
}

fn print(explained: &Result<Explained, Refusal>) {
    match explained {
        Err(refusal) => println!(" result     refused ({}): {}", refusal.word, refusal.detail),
        Ok(explained) => {
            match explained.rule {
                Some(rule) => println!(" envelope   rule {rule} of the listener"),
                None => println!(" envelope   no rule of the listener matches"),
            }
            for event in &explained.events {
                print_event(event);
            }
            match &explained.refusal {
                Some(refusal) => {
                    println!(" result     refused ({}): {}; nothing is kept", refusal.word, refusal.detail);
                }
                None => println!(" result     kept"),
            }
        }
    }
    println!(" nothing was sent");
}

fn print_event(event: &ExplainedEvent) {
    let attributes: Vec<String> = event.attributes.iter().map(|(name, value)| format!("{name} {value}")).collect();
    println!(" event      {}", attributes.join(" · "));
    for route in &event.routes {
        println!(" {:<10} {:<12} line {}", route.name, route.answer, route.line);
        for step in &route.steps {
            println!("            {step}");
        }
    }
    for record in &event.records {
        let fields: Vec<String> = record.fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        println!(" to         {} ({}) {}", record.backend, record.kind, fields.join(" · "));
    }
    println!(" fate       {}", fate(event));
}

fn fate(event: &ExplainedEvent) -> String {
    match (&event.fate, event.dead_letter) {
        (Some(ItemVerdict::Refused(word, detail)), _) => format!("refused ({word}): {detail}"),
        (Some(ItemVerdict::Dropped(word)), _) => format!("dropped ({word}), acknowledged"),
        (Some(ItemVerdict::Duplicate), _) => "a duplicate, acknowledged".to_owned(),
        (None | Some(ItemVerdict::Kept { .. }), Some(word)) => {
            format!("a dead letter ({word}), acknowledged when durable")
        }
        (None | Some(ItemVerdict::Kept { .. }), None) => format!("kept, acknowledged when {}", event.level),
    }
}

fn to_json(explained: &Result<Explained, Refusal>) -> Value {
    match explained {
        Err(refusal) => {
            json!({ "verdict": "refused", "failure": refusal.word, "detail": refusal.detail, "events": [] })
        }
        Ok(explained) => {
            let events: Vec<Value> = explained.events.iter().map(event_json).collect();
            let (verdict, failure, detail) = match &explained.refusal {
                Some(refusal) => ("refused", Some(refusal.word), Some(refusal.detail.as_ref())),
                None => ("kept", None, None),
            };
            json!({ "verdict": verdict, "failure": failure, "detail": detail, "envelope_rule": explained.rule, "events": events })
        }
    }
}

fn event_json(event: &ExplainedEvent) -> Value {
    let attributes: serde_json::Map<_, _> =
        event.attributes.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let routes: Vec<Value> = event
        .routes
        .iter()
        .map(|route| json!({ "name": route.name, "line": route.line, "answer": route.answer, "steps": route.steps }))
        .collect();
    let records: Vec<Value> = event
        .records
        .iter()
        .map(|record| {
            let fields: serde_json::Map<_, _> =
                record.fields.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
            json!({ "backend": record.backend, "kind": record.kind, "record": fields })
        })
        .collect();
    json!({ "attributes": attributes, "routes": routes, "matched": event.matched, "fate": fate(event), "dead_letter": event.dead_letter,
            "ack": event.level.as_str(), "records": records })
}
