//! Kafka backends: topics that no sender chooses, settings that the gateway owns.

use backends::kafka::config::{KafkaConfig, OWNED, SaslMechanism};
use settings::{Node, codes};

use super::Found;
use super::templates::attributes_only;
use crate::config::draft::Draft;
use crate::config::model::Backend;

/// A password in clear text.
const CLEAR_TEXT: &str = "W404";

pub(super) fn check(draft: &Draft<'_>, found: &mut Found<'_>) {
    for piece in &draft.backends {
        let Some(inner) = piece.inner() else { continue };
        let is_kafka = piece.node.entries().first().is_some_and(|entry| entry.key == "kafka");
        if is_kafka {
            properties(inner, found);
        }
        if let Some(Backend::Kafka(kafka)) = &piece.value {
            topic(kafka, inner, found);
            key(kafka, inner, found);
            tls(kafka, inner, found);
            clear_text(kafka, inner, found);
        }
    }
}

fn legal(topic: &str) -> bool {
    topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) && topic.len() <= 249
}

fn topic(kafka: &KafkaConfig, inner: &Node, found: &mut Found<'_>) {
    let Some(at) = inner.get("topic") else { return };
    attributes_only(&kafka.topic, at, found);
    let constant = kafka.topic.as_constant();
    if constant.is_none() && kafka.topic.fixed_prefix().is_empty() && kafka.topics_allowed.is_empty() {
        let fault =
            found.error(at.span, codes::PREFIX, "topic has no fixed prefix, so a sender could choose any topic");
        found.push(fault.label("starts with a value taken from the message").help(format!(
            "start with fixed text: events.{}; or list what it may become: topics_allowed: [...]",
            kafka.topic
        )));
    } else if !legal(kafka.topic.fixed_prefix()) || constant.is_some_and(|topic| matches!(topic, "." | "..")) {
        let fault = found.error(at.span, codes::VALUE, format!("\"{}\" is no name of a Kafka topic", kafka.topic));
        found.push(fault.label("letters, digits, . _ and -, at most 249"));
    }
    let allowed = inner.get("topics_allowed").map(Node::items).unwrap_or_default();
    for item in allowed {
        if let Some(name) = item.text().filter(|name| !item.faulty && !legal(name)) {
            let fault = found.error(item.span, codes::VALUE, format!("\"{name}\" is no name of a Kafka topic"));
            found.push(fault.label("letters, digits, . _ and -, at most 249"));
        }
    }
}

fn key(kafka: &KafkaConfig, inner: &Node, found: &mut Found<'_>) {
    if let Some((key, at)) = kafka.key.as_ref().zip(inner.get("key")) {
        attributes_only(key, at, found);
    }
}

fn tls(kafka: &KafkaConfig, inner: &Node, found: &mut Found<'_>) {
    let Some((tls, node)) = kafka.tls.as_ref().zip(inner.get("tls")) else { return };
    for (one, other, is_half) in [("cert", "key", tls.key.is_none()), ("key", "cert", tls.cert.is_none())] {
        if let (Some(entry), true, None) = (node.entry(one), is_half, node.get(other)) {
            let fault = found.error(entry.key_span, codes::MISSING, format!("{one} without {other}"));
            found.push(fault.label("a client certificate needs both").help(format!("add {other}: PATH")));
        }
    }
}

/// A password that everybody on the way can read.
fn clear_text(kafka: &KafkaConfig, inner: &Node, found: &mut Found<'_>) {
    let plain = kafka.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == SaslMechanism::Plain);
    let away = kafka.brokers.iter().any(|broker| !broker.is_loopback());
    let at = inner.get("sasl").and_then(|node| node.get("mechanism"));
    if let (true, true, None, Some(at)) = (plain, away, &kafka.tls, at) {
        let fault = found.warning(at.span, CLEAR_TEXT, "the password is sent in clear text");
        found.push(fault.label("PLAIN without tls").help("add tls: {}, or use SCRAM-SHA-512"));
    }
}

fn properties(inner: &Node, found: &mut Found<'_>) {
    for entry in inner.get("properties").map(Node::entries).unwrap_or_default() {
        let key = entry.key.trim().to_lowercase();
        if let Some((_, why)) = OWNED.iter().find(|(owned, _)| *owned == key) {
            let fault = found.error(entry.key_span, codes::OWNED, format!("properties cannot set {key}"));
            found.push(fault.label(*why).help("remove it"));
        }
    }
}
