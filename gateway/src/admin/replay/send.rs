//! One letter on its way: through a door, into a lane, or back into the dead letters with a new reason.
use super::{Outcome, Run, Sent};
use crate::{admin::letters::Letter, gate::durable_wait, lanes::dead, router::Unrouted};
use journal::{Closed, Encoded};
use schemas::{
    ByteStr, Death, Event, ItemVerdict, Items, Message, Mode, Receipt, Record, Verdict, Wants, Word,
    record::{self, DoorLetter},
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tower::ServiceExt;
use transports::{Origin, Principal, Room, Submission, Ticket};

/// How often an append is tried that the journal is too busy for.
const BUSY_TRIES: u32 = 50;
/// How long an `ack: delivered` route may take for a replayed event.
const DEADLINE: Duration = Duration::from_secs(30);

impl Run<'_> {
    /// Sends one letter where it belongs. What was appended is not durable yet.
    pub(super) async fn send(&self, letter: &Letter) -> Sent {
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
        let routes = Arc::clone(&self.api.live.now().blueprint.routes);
        let unrouted = routes.unrouted() == Unrouted::DeadLetter && routes.matching(&event.view()).is_empty();
        unrouted.then(|| (Word::NoRoute, "no route took the event".to_owned()))
    }

    async fn through(&self, door: &schemas::Door, message: Message, from_routing: bool) -> Sent {
        let generation = self.api.live.now();
        let Some(way) = generation.again.way(&door.listener) else {
            return Sent::Not(Outcome::Left(Word::Internal, "the config has no listener".to_owned()));
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
            Ok(ticket) => Sent::Door(ticket),
            Err(refusal) => Sent::Door(Ticket::now(Verdict::Refusal(refusal))),
        }
    }

    async fn to_lane(&self, event: &Event, death: &Death) -> Sent {
        let lanes = self.api.shared.lanes();
        let Some(lane) = lanes.by_name(&death.backend) else {
            let detail = format!(
                "the config has no backend {:?} any more: name one so again, or discard the letter",
                death.backend.as_str()
            );
            return Sent::Not(Outcome::Left(Word::NotFound, detail));
        };
        let bit = 1u64 << lane.id;
        let again = Event { lanes: bit, death: None, ..event.clone() };
        match patiently(|| dead::append_to(&self.api.shared, &again, bit)).await {
            Ok(_) => {
                // One more target for an event that was kept long ago: `Σ entered` counts it, so this does.
                self.api.shared.metrics.targeted.inc();
                Sent::Appended(Outcome::Replayed(format!("to backend {}", lane.name)))
            }
            Err(error) => Sent::Not(closed(error)),
        }
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
                record::encode_letter_head(&mut head, &DoorLetter { death: death(&old.death), ..old.clone() });
            }
            Err(error) => return Sent::Not(Outcome::Left(Word::Internal, error.to_string())),
        }
        let entry = Encoded::gathered(&head, &payload, 1);
        match patiently(|| self.api.shared.journal.append(&[entry])).await {
            Ok(_) => {
                self.api.shared.lanes().entered(1);
                Sent::Appended(Outcome::DeadAgain(word, detail))
            }
            Err(error) => Sent::Not(closed(error)),
        }
    }

    /// Waits for a ticket and reads its verdict.
    pub(super) async fn landed(&self, letter: &Letter, ticket: Ticket) -> Outcome {
        let mut waits = durable_wait(&self.api.shared);
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
}

/// Tries an append again while the journal is only busy, which passes within milliseconds.
async fn patiently<T>(mut append: impl FnMut() -> Result<T, Closed>) -> Result<T, Closed> {
    for _ in 1..BUSY_TRIES {
        match append() {
            Err(Closed::Busy) => tokio::time::sleep(Duration::from_millis(2)).await,
            ended => return ended,
        }
    }
    append()
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
