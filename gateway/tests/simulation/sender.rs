//! Senders: each is one ordered stream, as a transport would run it; it notes what it sent and what it was told.
//!
//! What was *unknown*, or unanswered when the process ended, is sent again with the same ids, in order and before anything new;
//! what was refused is not.
use crate::{
    dice::Dice,
    plan::{Fate, KINDS, StreamPlan},
    world::{Sent, State, World, data_of, id_of, number_of},
};
use bytes::Bytes;
use schemas::{
    AckLevel, Attributes, ItemReceipt, ItemVerdict, Items, Kind as ValueKind, Message, Mode, Receipt, Verdict, Wants,
    json::BATCH_TYPE,
};
use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use transports::{Answers, Gate, Intake, Origin, Principal, Ticket};

/// A sender gives up on a message after so many copies.
const COPIES_MAX: usize = 8;

/// One stream over all lives.
#[derive(Debug)]
pub struct Stream {
    pub left: u64,
    /// To be sent again.
    again: VecDeque<Vec<usize>>,
    /// Sent and not answered, in order.
    open: VecDeque<Vec<usize>>,
}

impl Stream {
    pub fn new(plan: &StreamPlan) -> Self {
        Stream { left: plan.messages, again: VecDeque::new(), open: VecDeque::new() }
    }

    fn has_more(&self) -> bool {
        self.left > 0 || !self.again.is_empty()
    }

    /// Nobody knows what became of what is open.
    pub fn end_life(&mut self, dice: &mut Dice) {
        let mut again: VecDeque<Vec<usize>> = std::mem::take(&mut self.open);
        again.append(&mut self.again);
        if dice.chance(15) {
            again.truncate(dice.index(again.len() + 1));
        }
        self.again = again;
    }
}

impl State {
    /// The next message of a stream: its events, and itself.
    fn next_message(&mut self, number: usize) -> (Vec<usize>, Message) {
        let again = self.streams[number].again.pop_front();
        let events = again.unwrap_or_else(|| {
            self.streams[number].left -= 1;
            let many = if self.dice.chance(25) { self.dice.within(2, 4) } else { 1 };
            let events: Vec<usize> = (0..many).map(|_| self.new_event(number)).collect();
            // A client that sends twice without waiting.
            if self.dice.chance(4) {
                self.streams[number].again.push_back(events.clone());
            }
            events
        });
        for event in &events {
            self.events[*event].copies.push(self.life);
        }
        self.streams[number].open.push_back(events.clone());
        self.note(&format!("stream {number} sends {events:?}"));
        let message = self.message(number, &events);
        (events, message)
    }

    fn new_event(&mut self, stream: usize) -> usize {
        let number = self.events.len();
        let kind = self.dice.pick(&KINDS);
        let size = match kind.fate {
            Fate::Refused => 3000,
            Fate::Kept | Fate::Dropped => self.dice.pick(&[0, 10, 100, 1500]),
        };
        let key = self.dice.below(self.plan.keys);
        self.events.push(Sent {
            kind,
            stream,
            key,
            data: data_of(number, size),
            cannot_refuse: self.plan.streams[stream].cannot_refuse,
            copies: Vec::new(),
            acked: None,
            dropped: false,
            refused: 0,
        });
        number
    }

    fn message(&self, stream: usize, events: &[usize]) -> Message {
        let plan = &self.plan.streams[stream];
        let wants = Wants {
            partial: plan.partial,
            cannot_refuse: plan.cannot_refuse,
            deadline: Duration::from_secs(2),
            ..Wants::default()
        };
        let subject = "from/a/stream".into();
        let [single] = events else {
            let items: Vec<String> = events.iter().map(|event| structured(*event, &self.events[*event])).collect();
            let payload = Bytes::from(format!("[{}]", items.join(", ")));
            return Message { payload, subject, content_type: Some(BATCH_TYPE.into()), wants, ..Message::default() };
        };
        let sent = &self.events[*single];
        let mut attributes = Attributes::default();
        let (id, key) = (id_of(*single), format!("k{}", sent.key));
        let values = [
            ("specversion", "1.0"),
            ("id", &id),
            ("source", "/simulation"),
            ("type", sent.kind.name),
            ("partitionkey", &key),
        ];
        for (name, value) in values {
            attributes.set_from_sender(name, value, ValueKind::String).unwrap();
        }
        Message {
            payload: Bytes::from(sent.data.clone().into_bytes()),
            attributes,
            subject,
            content_type: Some("application/json".into()),
            mode: Mode::Binary,
            wants,
            ..Message::default()
        }
    }

    /// The answer to the oldest open message of a stream.
    fn settle(&mut self, stream: usize, events: &[usize], verdict: &Verdict) {
        self.note(&format!("stream {stream} hears of {events:?}: {}", said(verdict)));
        let oldest = self.streams[stream].open.pop_front();
        if oldest.as_deref() != Some(events) {
            self.broke(&format!("stream {stream}: an answer out of order"));
        }
        match verdict {
            Verdict::Receipt(receipt) => self.receipt(events, receipt),
            Verdict::Refusal(_) => {
                for event in events {
                    self.refused(*event);
                }
            }
            Verdict::Unknown(_) => {
                let copies = events.iter().map(|event| self.events[*event].copies.len()).max();
                if copies < Some(COPIES_MAX) && self.dice.chance(85) {
                    self.streams[stream].again.push_back(events.to_vec());
                }
            }
        }
    }

    fn receipt(&mut self, events: &[usize], receipt: &Receipt) {
        match &receipt.items {
            Items::All => {
                for event in events {
                    self.acked(*event, None);
                }
            }
            Items::Each(items) if items.len() == events.len() => {
                for (event, item) in events.iter().zip(items) {
                    self.item(*event, item);
                }
            }
            Items::Each(items) => self.broke(&format!("{} events, {} answers", events.len(), items.len())),
        }
    }

    fn item(&mut self, event: usize, item: &ItemReceipt) {
        if number_of(&item.id) != Some(event) {
            self.broke(&format!("the answer to e{event} names {:?}", item.id.as_str()));
        }
        match &item.verdict {
            ItemVerdict::Refused(..) => self.refused(event),
            ItemVerdict::Kept { level, .. } => self.acked(event, Some(*level)),
            ItemVerdict::Duplicate => {
                // Its first copy in this life: what is known of it was known before.
                if self.events[event].copies.iter().filter(|life| **life == self.life).count() == 1 {
                    self.note(&format!("e{event}: a resend of what an earlier life kept"));
                }
                self.acked(event, None);
            }
            ItemVerdict::Dropped(_) => self.acked(event, None),
        }
    }

    fn refused(&mut self, event: usize) {
        self.events[event].refused += 1;
        let sent = &self.events[event];
        if sent.is_refused() && self.far.iter().any(|far| far.has(event)) {
            self.broke(&format!("e{event} was refused, and has been delivered"));
        }
    }

    fn acked(&mut self, event: usize, level: Option<AckLevel>) {
        let life = self.life;
        let sent = &mut self.events[event];
        sent.acked.get_or_insert(life);
        sent.dropped = sent.kind.fate == Fate::Dropped;
        let sent = &self.events[event];
        let lanes = sent.lanes();
        let lacks = |lane: usize| lanes & (2 << lane) != 0 && !self.far[lane].has(event);
        let wrong = if sent.kind.fate == Fate::Refused && !sent.cannot_refuse {
            format!("e{event} is too large, and was acknowledged")
        } else if sent.kind.fate == Fate::Kept && level.is_some_and(|level| level != sent.kind.level) {
            format!("e{event} was acknowledged at another level: {level:?}")
        } else if sent.is_direct() && (0..self.far.len()).any(lacks) {
            format!("e{event} was called delivered, and is not there")
        } else {
            return;
        };
        self.broke(&wrong);
    }
}

fn structured(number: usize, sent: &Sent) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{}","source":"/simulation","type":"{}","partitionkey":"k{}","datacontenttype":"application/json","data":{}}}"#,
        id_of(number),
        sent.kind.name,
        sent.key,
        sent.data
    )
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Receipt(receipt) => format!("receipt {}", receipt.level.as_str()),
        Verdict::Refusal(refusal) => format!("refused {}", refusal.word),
        Verdict::Unknown(unknown) => format!("unknown {}", unknown.word),
    }
}

fn origin(plan: &StreamPlan, number: usize) -> Origin {
    let (protocol, version) = if plan.listener == "web" { ("http", "1.1") } else { ("mqtt", "5") };
    Origin {
        listener: plan.listener.into(),
        principal: Principal::default(),
        protocol,
        version,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        client: format!("stream-{number}").into(),
    }
}

/// Runs one stream until everything has been sent and answered, or, once `stop` says so, everything answered.
pub async fn run(world: Arc<World>, number: usize, gate: Arc<dyn Gate>, mut stop: watch::Receiver<bool>) {
    let plan = world.lock().plan.streams[number].clone();
    let mut intake = Intake::new(gate, origin(&plan, number), Duration::from_secs(3));
    let mut answers: Answers<Vec<usize>> = Answers::new(intake.durable_wait());
    loop {
        let stopping = *stop.borrow();
        let more = !stopping && world.lock().streams[number].has_more();
        if !more && answers.is_empty() {
            return;
        }
        let pause = Duration::from_millis(world.lock().dice.within(0, plan.pace));
        tokio::select! {
            biased;
            (events, verdict) = answers.next() => settle(&world, number, &events, &verdict),
            _ = stop.changed(), if more => {}
            () = sleep(pause), if more && answers.len() < plan.window => {
                let (events, message) = world.lock().next_message(number);
                let ticket = submit(&world, number, &mut intake, &mut answers, message).await;
                answers.push(events, ticket);
            }
        }
    }
}

fn settle(world: &World, number: usize, events: &[usize], verdict: &Verdict) {
    world.lock().settle(number, events, verdict);
}

/// Answers go on while a message waits for room.
async fn submit(
    world: &World,
    number: usize,
    intake: &mut Intake,
    answers: &mut Answers<Vec<usize>>,
    message: Message,
) -> Ticket {
    let submit = async {
        match intake.reserve(message.payload.len()).await {
            Ok(permit) => permit.submit(message).await,
            Err(refusal) => Ticket::now(Verdict::from(refusal)),
        }
    };
    tokio::pin!(submit);
    loop {
        tokio::select! {
            biased;
            ticket = &mut submit => {
                world.bell.notify_one();
                return ticket;
            }
            (events, verdict) = answers.next() => settle(world, number, &events, &verdict),
        }
    }
}
