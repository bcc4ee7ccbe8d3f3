//! The simulated senders: real sockets, one message at a time each, each message in the ledger with its answer.
use super::{
    ledger::{Answer, Entry, Ledger},
    world::{DEVICES, Device, Parcel, Protocol, RATE, SERVICES, Service},
};
use crate::{
    cli::send::{
        http::{HttpClient, HttpReply, PostFault},
        link::{Link, LinkFault},
        wire::{Hello, Publish, Said, Version},
    },
    random,
};
use bytes::Bytes;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout_at},
};

/// How long a sender waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every sender has.
#[derive(Clone)]
pub struct Common {
    /// Where it writes down what happened.
    pub ledger: Arc<Ledger>,
    /// Who shows it. A slow one misses lines; the ledger misses nothing.
    pub show: mpsc::Sender<Entry>,
    /// True when the demo ends. A message that is under way is still waited for.
    pub stop: watch::Receiver<bool>,
}

impl Common {
    /// Waits for the sender's next turn; false when the demo is over.
    async fn turn(&mut self) -> bool {
        // Uniform between half and one and a half of the mean gap: lively, and the rate is kept.
        let gap = (0.5 + random::unit()) / RATE;
        let due = Instant::now() + Duration::from_secs_f64(gap);
        // Late is a yes: nobody said stop until the turn came.
        timeout_at(due, self.stop.wait_for(|stop| *stop)).await.is_err()
    }

    fn note(&self, protocol: Protocol, parcel: &Parcel, answer: Answer, begin: Instant) {
        let entry = self.ledger.note(protocol, parcel, answer, begin.elapsed());
        // Full: the screen is slow.
        let _shown = self.show.try_send(entry);
    }
}

/// Starts every sender.
pub fn start(http: SocketAddr, mqtt: SocketAddr, common: &Common) -> JoinSet<()> {
    let mut senders = JoinSet::new();
    for name in SERVICES {
        senders.spawn(service(name, http, common.clone()));
    }
    for device in DEVICES {
        senders.spawn(device_life(Device::new(device), device.2, mqtt, common.clone()));
    }
    senders
}

async fn service(name: &'static str, address: SocketAddr, mut common: Common) {
    let mut service = Service::new(name);
    let mut open = None;
    while common.turn().await {
        let parcel = service.send();
        let begin = Instant::now();
        let client = match open.take() {
            Some(client) => Ok(client),
            None => HttpClient::connect(&address.to_string()).await,
        };
        let answer = match client {
            Err(error) => Answer::Lost(error.to_string()),
            Ok(mut client) => {
                let reply =
                    client.post(&parcel.to, &parcel.fields, Bytes::from(parcel.payload.clone()), PATIENCE).await;
                if reply.is_ok() {
                    open = Some(client);
                }
                http_answer(reply)
            }
        };
        common.note(Protocol::Http, &parcel, answer, begin);
    }
}

fn http_answer(reply: Result<HttpReply, PostFault>) -> Answer {
    let reply = match reply {
        Ok(reply) => reply,
        Err(PostFault::NoAnswer(what) | PostFault::Request(what)) => return Answer::Lost(what),
    };
    if reply.is_unknown() {
        return Answer::Unknown;
    }
    if reply.status.is_success() {
        // A batch is answered per event; in the demo its events share one fate.
        let first = reply.body.pointer("/results/0").unwrap_or(&reply.body);
        let text = |name: &str| first.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
        return Answer::Acked {
            level: text("ack").unwrap_or_else(|| "dropped".to_owned()),
            dead_letter: text("dead_letter"),
        };
    }
    let detail =
        reply.body.pointer("/errors/0/detail").and_then(serde_json::Value::as_str).or_else(|| reply.text("detail"));
    let word = reply.text("failure").map_or_else(|| format!("http_{}", reply.status.as_u16()), str::to_owned);
    Answer::Refused { word, detail: detail.unwrap_or_default().to_owned() }
}

async fn device_life(mut device: Device, protocol: Protocol, address: SocketAddr, mut common: Common) {
    let version = if protocol == Protocol::Mqtt311 { Version::V311 } else { Version::V5 };
    let client_id = device.client_id();
    let hello = Hello { version, client_id: &client_id, user: None };
    let mut open = None;
    while common.turn().await {
        let parcel = device.send();
        let begin = Instant::now();
        let link = match open.take() {
            Some(link) => Ok(link),
            None => Link::open(address, &hello).await,
        };
        let answer = match link {
            Err(fault) => Answer::Lost(fault.to_string()),
            Ok(mut link) => {
                let message = Publish {
                    topic: &parcel.to,
                    qos: 1,
                    content_type: parcel.content_type,
                    properties: &parcel.fields,
                    payload: &parcel.payload,
                };
                let said = link.publish(&message, PATIENCE).await;
                if said.is_ok() {
                    open = Some(link);
                }
                mqtt_answer(said)
            }
        };
        common.note(protocol, &parcel, answer, begin);
    }
    if let Some(link) = open {
        link.close().await;
    }
}

/// A PUBACK below 0x80 says that the ack level of the route is reached: `durable`, in the demo.
fn mqtt_answer(said: Result<Said, LinkFault>) -> Answer {
    match said {
        Ok(said) if said.code < 0x80 => Answer::Acked { level: "durable".to_owned(), dead_letter: None },
        Ok(said) | Err(LinkFault::Said(_, said)) => {
            let (word, detail) = said.reason.split_once(": ").unwrap_or((&said.reason, ""));
            let word = if word.is_empty() { format!("0x{:02x}", said.code) } else { word.to_owned() };
            Answer::Refused { word, detail: detail.to_owned() }
        }
        Err(LinkFault::Unreachable(error)) => Answer::Lost(error.to_string()),
        Err(LinkFault::NoAnswer(what)) => Answer::Lost(what),
    }
}
