//! Replay: dead letters are sent again through the *current* config.
//!
//! * Bytes that nobody could read enter at decode, through their listener's pipeline.
//! * An event that no route took enters at routing: its listener's pipeline has seen it.
//! * An event that was refused but kept (MQTT 3.1.1) enters its listener's pipeline again.
//! * An event that a backend could not take goes to that backend's lane only.
//!
//! `dedupe` of the listener is left out: its table knows the event already, as the dead letter itself. A letter is done only
//! when what stands for it is durable; until then it stays where it is. What fails again for good is a new dead letter with the
//! new reason and one attempt more. Whatever is not sure to be kept again leaves the letter as it was.
use super::{
    Api,
    dlq::{Changed, Settled, Summary, save},
    letters::{Letter, Letters, Selection},
    lines::{Lines, json_line},
};
use crate::{
    config::model::Config,
    lanes::dead,
    router::Unrouted,
    runtime::Compiled,
    stack::{self, Plan, hold::Policy},
    state::Shared,
};
use journal::{Closed, Encoded};
use schemas::{
    ByteStr, Death, Event, ItemVerdict, Items, Message, Mode, Receipt, Record, Verdict, Wants, Word,
    record::{self, DoorLetter},
};
use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tower::ServiceExt;
use transports::{Gate, Origin, Principal, Room, Submission, Ticket, gate::Door};

/// Letters that are under way together: one group commit serves them.
const TOGETHER: usize = 64;
/// Bytes of letters that are under way together; the one that crosses it is the last.
const TOGETHER_BYTES: usize = 8 * 1024 * 1024;
/// How often an append is tried that the journal is too busy for.
const BUSY_TRIES: u32 = 50;
/// How long the config's deadline for a replayed event is.
const DEADLINE: Duration = Duration::from_secs(30);

/// A listener's ways in for replays.
struct WayIn {
    name: String,
    kind: &'static str,
    /// From decode on, with the listener's pipeline.
    whole: Door,
    /// From routing on.
    routing: Door,
}

/// What replays need of a generation of the config.
pub struct Again {
    /// In the config's order; the first one stands in for listeners that are gone.
    ways: Vec<WayIn>,
    gates: HashMap<String, Arc<crate::gate::ListenerGate>>,
}

impl Again {
    /// The ways in of this generation.
    pub fn new(config: &Config, compiled: &Compiled, shared: &Arc<Shared>) -> Self {
        let way = |(name, listener): &(String, crate::config::Listener)| {
            let plan = compiled.blueprint.plans.get(name)?;
            let without_dedupe =
                |step: &&Arc<dyn crate::middleware::Middleware>| step.step().is_none_or(|step| step.name() != "dedupe");
            let open = stack::open::Open { partial: false, ..plan.open.clone() };
            let pipeline = plan.pipeline.iter().filter(without_dedupe).cloned().collect();
            let door = |pipeline| {
                let plan =
                    Plan { open: open.clone(), pipeline, routes: Arc::clone(&plan.routes), hold: Policy::Refuse };
                stack::compose(&plan, shared)
            };
            Some(WayIn { name: name.clone(), kind: listener.kind(), whole: door(pipeline), routing: door(Vec::new()) })
        };
        Again { ways: config.listeners.iter().filter_map(way).collect(), gates: compiled.gates.clone() }
    }

    fn way(&self, listener: &str) -> Option<&WayIn> {
        self.ways.iter().find(|way| way.name == listener).or_else(|| self.ways.first())
    }
}

/// A letter on its way.
enum Sent {
    /// Through a door: its ticket, and the gate whose journal it waits for.
    Door(Ticket, Arc<crate::gate::ListenerGate>),
    /// Appended for a lane, or as a new dead letter: true once everything appended so far is durable.
    Appended(Outcome),
    /// Nothing was sent.
    Not(Outcome),
}

/// What became of a letter.
#[derive(Clone, Debug)]
enum Outcome {
    /// Kept again.
    Replayed(String),
    /// The stack itself kept it as a dead letter: counted at the door like any kept event.
    KeptDead(Word, String),
    /// Refused, and written anew by us.
    DeadAgain(Word, String),
    /// Nothing stands for it.
    Left(Word, String),
}

/// One replay.
pub(super) struct Run<'a> {
    pub(super) api: &'a Arc<Api>,
    pub(super) lines: &'a Lines,
    pub(super) selection: &'a Selection,
    pub(super) dry_run: bool,
    /// The time between two letters.
    pub(super) pause: Duration,
}

impl Run<'_> {
    /// Replays what is selected; also gives the LSNs that were named and met.
    pub(super) async fn go(&self) -> (Summary, BTreeSet<u64>) {
        let (mut summary, mut met) = (Summary::default(), BTreeSet::new());
        let mut letters = Letters::new(&self.api.shared);
        while summary.stopped.is_none() {
            let chunk;
            (letters, chunk) = match self.chunk(letters).await {
                Ok(next) => next,
                Err(error) => {
                    summary.stopped = Some(format!("the journal cannot be read: {error}"));
                    break;
                }
            };
            if chunk.is_empty() {
                break;
            }
            if self.selection.lsns.is_some() {
                met.extend(chunk.iter().map(|letter| letter.lsn));
            }
            let changed = if self.dry_run {
                chunk.iter().map(|letter| self.would(letter)).collect()
            } else {
                self.send_all(chunk).await
            };
            for changed in changed {
                let retryable =
                    changed.failure.as_deref().and_then(|word| word.parse::<Word>().ok()).is_some_and(Word::retryable);
                if changed.outcome == "left" && retryable {
                    summary.stopped =
                        Some(format!("{}: the letters after LSN {} were not looked at", changed.detail, changed.lsn));
                }
                summary.count(&changed);
                if self.lines.send(json_line(&changed)).await.is_err() {
                    summary.stopped = Some("nobody listens any more".to_owned());
                }
            }
        }
        let api = Arc::clone(self.api);
        let _saved = tokio::task::spawn_blocking(move || save(&api)).await;
        (summary, met)
    }

    /// The next letters that are selected.
    async fn chunk(&self, mut letters: Letters) -> std::io::Result<(Letters, Vec<Letter>)> {
        let selection = self.selection.clone();
        // With a rate, letters leave one by one.
        let most = if self.pause.is_zero() { TOGETHER } else { 1 };
        let work = move || {
            let (mut chunk, mut bytes) = (Vec::new(), 0);
            while chunk.len() < most && bytes < TOGETHER_BYTES {
                let Some(letter) = letters.next()? else { break };
                if selection.takes(&letter) {
                    bytes += letter.size();
                    chunk.push(letter);
                }
            }
            Ok((letters, chunk))
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    async fn send_all(&self, chunk: Vec<Letter>) -> Vec<Changed> {
        let mut sent = Vec::with_capacity(chunk.len());
        for letter in chunk {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            let attempt = self.send(&letter).await;
            let stop = matches!(&attempt, Sent::Not(Outcome::Left(word, _)) if word.retryable());
            sent.push((letter, attempt));
            if stop {
                break;
            }
        }
        let mut outcomes = Vec::with_capacity(sent.len());
        for (letter, attempt) in sent {
            let outcome = match attempt {
                Sent::Door(ticket, gate) => self.landed(&letter, ticket, &gate).await,
                Sent::Appended(outcome) | Sent::Not(outcome) => outcome,
            };
            outcomes.push((letter.lsn, outcome));
        }
        let api = Arc::clone(self.api);
        let settled = tokio::task::spawn_blocking(move || settle(&api, outcomes)).await;
        settled.unwrap_or_default()
    }

    async fn send(&self, letter: &Letter) -> Sent {
        match &letter.record {
            Err(error) => Sent::Not(Outcome::Left(Word::Internal, format!("{error}; it can only be discarded"))),
            Ok(Record::Letter(door)) => self.through(&door.door, door.clone().into_message(), false).await,
            Ok(Record::Event(event)) => match &event.death {
                Some(death) if !death.backend.is_empty() => self.to_lane(event, death).await,
                Some(death) if death.word == Word::NoRoute => match self.still_unrouted(event) {
                    Some(outcome) => self.dead_again(letter, outcome).await,
                    None => self.through(&event.door, message_of(event), true).await,
                },
                Some(_) | None => self.through(&event.door, message_of(event), false).await,
            },
        }
    }

    /// What the router would say, if no route takes the event now either.
    fn still_unrouted(&self, event: &Event) -> Option<(Word, String)> {
        let routes = &self.api.routes;
        let unrouted = routes.unrouted() == Unrouted::DeadLetter && routes.matching(&event.view()).is_empty();
        unrouted.then(|| (Word::NoRoute, "no route took the event".to_owned()))
    }

    async fn through(&self, door: &schemas::Door, message: Message, from_routing: bool) -> Sent {
        let Some(way) = self.api.again.way(&door.listener) else {
            return Sent::Not(Outcome::Left(Word::Internal, "the config has no listener".to_owned()));
        };
        let Some(gate) = self.api.again.gates.get(&way.name).cloned() else {
            return Sent::Not(Outcome::Left(Word::Internal, format!("listener {} has no gate", way.name)));
        };
        let origin = Origin {
            listener: door.listener.clone(),
            principal: Principal { name: door.principal.clone(), tenant: door.tenant.clone() },
            protocol: way.kind,
            version: "",
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            client: ByteStr::EMPTY,
        };
        let wants = Wants { detail: true, answer: false, deadline: DEADLINE, ..Wants::default() };
        let submission =
            Submission { message: Message { wants, ..message }, room: Room::default(), origin: Arc::new(origin) };
        let entry = if from_routing { way.routing.clone() } else { way.whole.clone() };
        match entry.oneshot(submission).await {
            Ok(ticket) => Sent::Door(ticket, gate),
            Err(refusal) => Sent::Door(Ticket::now(Verdict::Refusal(refusal)), gate),
        }
    }

    async fn to_lane(&self, event: &Event, death: &Death) -> Sent {
        let Some(lane) = self.api.shared.lanes.by_name(&death.backend) else {
            let detail = format!(
                "the config has no backend {:?} any more: name one so again, or discard the letter",
                death.backend.as_str()
            );
            return Sent::Not(Outcome::Left(Word::NotFound, detail));
        };
        let bit = 1u64 << lane.id;
        let again = Event { lanes: bit, death: None, ..event.clone() };
        for _ in 0..BUSY_TRIES {
            match dead::append_to(&self.api.shared, &again, bit) {
                Ok(_) => {
                    // One more target for an event that was kept long ago: `Σ entered` counts it, so this does.
                    self.api.shared.metrics.targeted.inc();
                    self.api.shared.spans.replayed(event, death);
                    return Sent::Appended(Outcome::Replayed(format!("to backend {}", lane.name)));
                }
                Err(Closed::Busy) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => return Sent::Not(closed(error)),
            }
        }
        Sent::Not(closed(Closed::Busy))
    }

    /// Writes the letter anew with a new reason and one attempt more.
    async fn dead_again(&self, letter: &Letter, (word, detail): (Word, String)) -> Sent {
        let (mut head, payload) = (Vec::with_capacity(256), payload_of(letter));
        let death = |old: &Death| Death {
            word,
            detail: detail.as_str().into(),
            attempts: old.attempts.saturating_add(1),
            first_lsn: if old.first_lsn == 0 { letter.lsn } else { old.first_lsn },
            backend: old.backend.clone(),
        };
        match &letter.record {
            Ok(Record::Event(event)) => {
                let death = event.death.as_deref().map(|old| Box::new(death(old)));
                record::encode_head(&mut head, &Event { death, ..event.clone() });
            }
            Ok(Record::Letter(old)) => {
                record::encode_letter_head(&mut head, &DoorLetter { death: death(&old.death), ..old.clone() })
            }
            Err(error) => return Sent::Not(Outcome::Left(Word::Internal, error.to_string())),
        }
        for _ in 0..BUSY_TRIES {
            match self.api.shared.journal.append(&[Encoded::gathered(&head, &payload, 1)]) {
                Ok(_) => {
                    self.api.shared.lanes.entered(1);
                    return Sent::Appended(Outcome::DeadAgain(word, detail));
                }
                Err(Closed::Busy) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => return Sent::Not(closed(error)),
            }
        }
        Sent::Not(closed(Closed::Busy))
    }

    /// Waits for a ticket and reads its verdict.
    async fn landed(&self, letter: &Letter, ticket: Ticket, gate: &Arc<crate::gate::ListenerGate>) -> Outcome {
        let mut waits = gate.durable_wait();
        match ticket.verdict(&mut *waits).await {
            Verdict::Receipt(receipt) => receipt_outcome(&receipt),
            Verdict::Unknown(unknown) => Outcome::Left(
                unknown.word,
                "it may have been kept: nobody knows. Replayed again it may be there twice".to_owned(),
            ),
            Verdict::Refusal(refusal) if refusal.word.retryable() => {
                Outcome::Left(refusal.word, refusal.detail.into_owned())
            }
            Verdict::Refusal(refusal) => {
                match self.dead_again(letter, (refusal.word, refusal.detail.into_owned())).await {
                    Sent::Appended(outcome) | Sent::Not(outcome) => outcome,
                    Sent::Door(..) => Outcome::Left(Word::Internal, "a dead letter went through a door".to_owned()),
                }
            }
        }
    }

    /// What a replay would do with a letter, as far as can be said without doing it.
    fn would(&self, letter: &Letter) -> Changed {
        let detail = match &letter.record {
            Err(error) => format!("{error}; it can only be discarded"),
            Ok(Record::Letter(door)) => {
                format!("its bytes would be read again by listener {}", self.listener_of(&door.door.listener))
            }
            Ok(Record::Event(event)) => match &event.death {
                Some(death) if !death.backend.is_empty() && self.api.shared.lanes.by_name(&death.backend).is_none() => {
                    format!("the config has no backend {:?} any more", death.backend.as_str())
                }
                Some(death) if !death.backend.is_empty() => format!("to backend {}", death.backend),
                Some(_) | None => self.would_route(event),
            },
        };
        Changed { lsn: letter.lsn, outcome: "would_replay".to_owned(), detail, failure: None }
    }

    fn would_route(&self, event: &Event) -> String {
        let numbers = self.api.routes.matching(&event.view());
        let names: Vec<&str> = numbers
            .iter()
            .filter_map(|number| self.api.routes.routes().get(*number as usize))
            .map(|route| route.name.as_str())
            .collect();
        if names.is_empty() {
            "no route takes it now either".to_owned()
        } else {
            format!("to route {}", names.join(", "))
        }
    }

    fn listener_of<'n>(&'n self, name: &'n str) -> &'n str {
        self.api.again.way(name).map_or(name, |way| way.name.as_str())
    }
}

/// Makes what was appended durable, then marks the letters done for which something stands. Blocks.
fn settle(api: &Api, outcomes: Vec<(u64, Outcome)>) -> Vec<Changed> {
    let appended = outcomes.iter().any(|(_, outcome)| !matches!(outcome, Outcome::Left(..)));
    let durable = !appended || api.shared.journal.sync().is_ok();
    let changed = |(lsn, outcome): (u64, Outcome)| {
        let how = match outcome {
            Outcome::Replayed(_) | Outcome::KeptDead(..) => Some(Settled::Replayed),
            Outcome::DeadAgain(..) => Some(Settled::DeadAgain),
            Outcome::Left(..) => None,
        };
        let outcome = match how {
            Some(_) if !durable => {
                Outcome::Left(Word::Internal, "the journal's disk failed: it may have been kept".to_owned())
            }
            Some(how) => match api.settle(lsn, how) {
                Ok(()) => outcome,
                Err(error) => {
                    Outcome::Left(Word::Internal, format!("it was sent, but the journal cannot be read: {error}"))
                }
            },
            None => outcome,
        };
        line(lsn, outcome)
    };
    outcomes.into_iter().map(changed).collect()
}

fn line(lsn: u64, outcome: Outcome) -> Changed {
    let (name, failure, detail) = match outcome {
        Outcome::Replayed(detail) => ("replayed", None, detail),
        Outcome::KeptDead(word, detail) | Outcome::DeadAgain(word, detail) => ("dead_again", Some(word), detail),
        Outcome::Left(word, detail) => ("left", Some(word), detail),
    };
    Changed { lsn, outcome: name.to_owned(), detail, failure: failure.map(|word| word.as_str().to_owned()) }
}

fn closed(error: Closed) -> Outcome {
    let word = match error {
        Closed::Full | Closed::Busy => Word::StorageFull,
        Closed::TooLarge => Word::TooLarge,
        Closed::Failed => Word::Internal,
        Closed::Stopping => Word::ShuttingDown,
    };
    Outcome::Left(word, error.to_string())
}

/// What a receipt says of the letter's events. Kept is kept; what was only dropped or taken for a duplicate is not, and somebody
/// who asked for a replay wants to know.
fn receipt_outcome(receipt: &Receipt) -> Outcome {
    let Items::Each(items) = &receipt.items else { return Outcome::Replayed(receipt.level.to_string()) };
    let dead = items.iter().find_map(|item| match &item.verdict {
        ItemVerdict::Kept { dead_letter, .. } => *dead_letter,
        ItemVerdict::Duplicate | ItemVerdict::Dropped(_) | ItemVerdict::Refused(..) => None,
    });
    if let Some(word) = dead {
        return Outcome::KeptDead(word, word.entry().title.to_owned());
    }
    if items.iter().any(|item| matches!(item.verdict, ItemVerdict::Kept { .. })) {
        return Outcome::Replayed(receipt.level.to_string());
    }
    match items.first().map(|item| &item.verdict) {
        Some(ItemVerdict::Dropped(word)) => {
            Outcome::Left(*word, "the current config drops it; discard it if that is what you want".to_owned())
        }
        Some(ItemVerdict::Duplicate) => Outcome::Left(
            Word::Duplicate,
            "a route's dedupe takes it for one that was kept; wait for the end of its window".to_owned(),
        ),
        Some(ItemVerdict::Refused(word, detail)) => Outcome::Left(*word, detail.to_string()),
        Some(ItemVerdict::Kept { .. }) | None => Outcome::Left(Word::Malformed, "it held no event".to_owned()),
    }
}

/// An event as the message that it would have been in binary mode: all its attributes, its data, its headers, its trace.
fn message_of(event: &Event) -> Message {
    Message {
        payload: event.envelope.data().clone(),
        attributes: event.envelope.edit(),
        headers: event.headers.clone(),
        subject: event.door.subject.clone(),
        content_type: event.envelope.content_type().map(ByteStr::from),
        mode: Mode::Binary,
        trace: Some(event.trace),
        ..Message::default()
    }
}

fn payload_of(letter: &Letter) -> bytes::Bytes {
    match &letter.record {
        Ok(Record::Event(event)) => event.envelope.data().clone(),
        Ok(Record::Letter(letter)) => letter.payload.clone(),
        Err(_) => bytes::Bytes::new(),
    }
}
