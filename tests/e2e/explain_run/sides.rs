//! The two sides: the explainer in this process, and clients of the running gateway.
use super::samples::Sample;
use crate::harness::{
    gateway::Place,
    http::Connection,
    mqtt::{Client, Said as RawSaid},
};
use bytes::Bytes;
use gateway::explain::{Explained, Explainer};
use schemas::{Message, Refusal};
use std::{collections::BTreeMap, net::SocketAddr};
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

pub fn message_of(sample: &Sample) -> Result<(Message, &'static str, &'static str), Refusal> {
    match sample {
        Sample::Http { path, headers, body } => {
            let mut request = ::http::Request::post(path.as_str()).header("host", "127.0.0.1");
            for (name, value) in headers {
                request = request.header(name.as_str(), value.as_str());
            }
            let request = request.body(Bytes::from(body.clone())).unwrap();
            transports::http::message_of(request, &HttpSettings::default()).map(|message| (message, "web", "http"))
        }
        Sample::Mqtt { version, topic, content_type, user, body } => {
            let mut said = Said { content_type: content_type.as_deref(), ..Said::default() };
            said.user.extend(user.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let publish = Publish {
                topic,
                packet_id: Some(std::num::NonZeroU16::MIN),
                alias: None,
                said,
                payload: body.as_bytes(),
            };
            let version = if *version == 5 { Version::V5 } else { Version::V311 };
            let payload = Bytes::from(body.clone());
            message::of_publish(&publish, topic.as_str().into(), payload, version, &MqttSettings::default())
                .map(|message| (message, "devices", "mqtt"))
        }
    }
}

pub fn explain(explainer: &Explainer, sample: &Sample) -> Result<Explained, Refusal> {
    let (message, listener, protocol) = message_of(sample)?;
    let version = match sample {
        Sample::Http { .. } => "1.1",
        Sample::Mqtt { version: 5, .. } => "5",
        Sample::Mqtt { .. } => "3.1.1",
    };
    let origin = Origin {
        listener: listener.into(),
        principal: Principal { name: "".into(), tenant: "".into() },
        protocol,
        version,
        peer: SocketAddr::from(([127, 0, 0, 1], 0)),
        client: "".into(),
    };
    explainer.explain(message, origin)
}

/// What a sender was told: the words of refusal, or yes.
#[derive(Debug, PartialEq, Eq)]
pub enum Told {
    Yes,
    No(String),
    /// MQTT 5 says a number that several words share.
    Code(u8),
    /// MQTT 3.1.1: the connection closed.
    Closed,
}

pub struct Senders<'a> {
    pub place: &'a Place,
    pub web: Connection,
    pub devices: BTreeMap<u8, Client>,
}

impl Senders<'_> {
    pub fn send(&mut self, sample: &Sample) -> Told {
        match sample {
            Sample::Http { path, headers, body } => {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let answer = self.web.post(path, &headers, body.as_bytes());
                if answer.status < 300 { Told::Yes } else { Told::No(answer.failure()) }
            }
            Sample::Mqtt { version, topic, content_type, user, body } => {
                let port = self.place.mqtt;
                let client = self
                    .devices
                    .entry(*version)
                    .or_insert_with(|| Client::connect(port, &format!("explain-{version}"), *version));
                let user: Vec<(&str, &str)> =
                    user.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                client.publish(topic, body.as_bytes(), &RawSaid { content_type: content_type.as_deref(), user: &user });
                let told = match client.next(10) {
                    Some(packet) if packet.is_puback() && packet.puback().1 < 0x80 => return Told::Yes,
                    Some(packet) if packet.is_puback() => return Told::Code(packet.puback().1),
                    Some(packet) => Told::Code(packet.body[0]),
                    None => Told::Closed,
                };
                self.devices.remove(version);
                told
            }
        }
    }
}

pub fn expected(sample: &Sample, explained: &Result<Explained, Refusal>) -> Told {
    let refusal = match explained {
        Err(refusal) => Some(refusal.word),
        Ok(explained) => explained.refusal.as_ref().map(|refusal| refusal.word),
    };
    match (refusal, sample) {
        (None, _) => Told::Yes,
        (Some(word), Sample::Http { .. }) => Told::No(word.as_str().to_owned()),
        (Some(word), Sample::Mqtt { version: 5, .. }) => Told::Code(word.entry().mqtt5.unwrap()),
        // It cannot say no: the message is a dead letter.
        (Some(_), Sample::Mqtt { .. }) => Told::Yes,
    }
}
