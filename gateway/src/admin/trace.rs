//! `/api/trace/{trace or event id}`: every hop of one event.
//!
//! First the ring, which knows the last events of this process in every detail. What it does not know any more, or never knew
//! because the process was restarted, is looked up in the journal (what still waits, dead letters) and in the embedded stores.
mod look;

use super::{Api, fault::ApiFault, rfc3339};
use crate::{
    lanes::bits,
    router::{Route, view},
    telemetry::ring::{Delivered, Seen},
};
use axum::{
    Json,
    extract::{Path, State},
};
use cesql::{Outcome, Step};
use journal::{LaneId, Lsn};
use schemas::{EventView, ItemVerdict, TraceContext, Word};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Most places of one kind that an answer holds.
const FOUND_MAX: usize = 100;
/// Hex digits of a trace id that are enough to name it.
const PREFIX_MIN: usize = 8;

/// What is known of a trace or an event.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Traced {
    /// What was asked for.
    pub query: String,
    /// From the ring, oldest first.
    pub events: Vec<EventTrace>,
    /// From the journal, when the ring knows nothing.
    pub journal: Vec<JournalTrace>,
    /// From the embedded stores, when the ring knows nothing.
    pub stores: Vec<StoreTrace>,
    /// What could not be looked at, and why.
    pub notes: Vec<String>,
}

/// One event's way through this process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventTrace {
    /// The attributes.
    pub id: String,
    /// The attribute `source`.
    pub source: String,
    /// The attribute `type`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// When its message was received, RFC 3339.
    pub received: String,
    /// The listener's name.
    pub listener: String,
    /// `http`, `mqtt`.
    pub protocol: String,
    /// The protocol's version.
    pub version: String,
    /// What the protocol calls the sender; empty for nothing.
    pub client: String,
    /// Who it is; empty when nobody was asked.
    pub principal: String,
    /// Path or topic.
    pub subject: String,
    /// The number of the listener's envelope rule that fits the path or topic, from 1; it is used for bare messages only.
    pub envelope_rule: Option<usize>,
    /// Each route, top to bottom, and why it took the event or not. Empty when the event never came so far.
    pub routes: Vec<RouteTrace>,
    /// `kept`, `dead_letter`, `duplicate`, `dropped`, `refused`.
    pub outcome: String,
    /// The failure word, if there is one.
    pub failure: Option<String>,
    /// What exactly.
    pub detail: Option<String>,
    /// From received to kept or settled, µs.
    pub kept_after_us: u64,
    /// Its place in the journal; 0 for none.
    pub lsn: u64,
    /// The ack level.
    pub level: String,
    /// What the sender was told, and when.
    pub answered: Option<Answered>,
    /// Deliveries, and ends as dead letters.
    pub deliveries: Vec<DeliveryTrace>,
    /// Backends that have not confirmed it yet.
    pub waits_for: Vec<String>,
}

/// What the sender was told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answered {
    /// `durable`, `refused`, `unknown`, …
    pub verdict: String,
    /// After received, µs.
    pub after_us: u64,
}

/// One route's look at an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteTrace {
    /// Its name.
    pub name: String,
    /// `None`: nobody asked it, because one above took the event.
    pub matched: Option<bool>,
    /// The predicate that decided, with the values it saw.
    pub why: String,
    /// Every predicate.
    pub steps: Vec<String>,
}

/// One delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliveryTrace {
    /// The backend.
    pub backend: String,
    /// Where the event is now.
    pub position: Option<String>,
    /// The failure word of a dead letter.
    pub failure: Option<String>,
    /// What exactly.
    pub detail: Option<String>,
    /// Tries before this one.
    pub attempts: u32,
    /// After received, µs.
    pub after_us: u64,
}

/// A record that the journal still holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalTrace {
    /// Its place.
    pub lsn: u64,
    /// The event's id, if it has one.
    pub id: Option<String>,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// 32 hex digits.
    pub trace_id: String,
    /// When its message was received.
    pub received: String,
    /// Backends that have confirmed it.
    pub delivered_to: Vec<String>,
    /// Backends that have not.
    pub waits_for: Vec<String>,
    /// It is an open dead letter, for this reason.
    pub dead_letter: Option<String>,
}

/// A row of an embedded store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreTrace {
    /// The backend.
    pub backend: String,
    /// The event's id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// 32 hex digits.
    pub trace_id: String,
    /// When its message was received.
    pub received: String,
    /// The listener.
    pub listener: String,
    /// The first route that took it.
    pub route: String,
    /// Its place in the journal; 0 for none.
    pub lsn: u64,
}

/// Whether a record is the one asked for: by its event id, its trace id, or the beginning of that.
pub(crate) fn wanted(query: &str, trace: &TraceContext, id: Option<&str>) -> bool {
    id == Some(query) || (query.len() >= PREFIX_MIN && trace.trace_id_hex().starts_with(query))
}

/// Everything that is known.
pub async fn get(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<Json<Traced>, ApiFault> {
    let found = api.shared.ring.find(&id);
    if !found.is_empty() {
        let events =
            found.iter().rev().take(FOUND_MAX).rev().map(|(seen, hops)| event_trace(&api, seen, hops)).collect();
        return Ok(Json(Traced { query: id, events, ..Traced::default() }));
    }
    let traced = api.scan(move |api| look::look(api, id)).await?;
    if traced.journal.is_empty() && traced.stores.is_empty() {
        let detail = format!(
            "nothing is known of {:?}: neither the last events, nor the journal, nor a store has it{}",
            traced.query,
            traced.notes.iter().map(|note| format!("; {note}")).collect::<String>()
        );
        return Err(ApiFault::new(Word::NotFound, detail));
    }
    Ok(Json(traced))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn event_trace(api: &Api, seen: &Seen, hops: &[Delivered]) -> EventTrace {
    let (outcome, failure, detail) = match (&seen.fate, &seen.dead) {
        (Some(ItemVerdict::Duplicate), _) => ("duplicate", None, None),
        (Some(ItemVerdict::Dropped(word)), _) => ("dropped", Some(*word), None),
        (Some(ItemVerdict::Refused(word, detail)), _) => ("refused", Some(*word), Some(detail.to_string())),
        (Some(ItemVerdict::Kept { .. }) | None, Some(word)) => ("dead_letter", Some(*word), None),
        (Some(ItemVerdict::Kept { .. }) | None, None) => ("kept", None, None),
    };
    EventTrace {
        id: seen.envelope.id().to_owned(),
        source: seen.envelope.source().to_owned(),
        event_type: seen.envelope.event_type().to_owned(),
        trace_id: seen.trace.trace_id_hex(),
        received: rfc3339(seen.received),
        listener: seen.door.listener.to_string(),
        protocol: seen.protocol.0.to_owned(),
        version: seen.protocol.1.to_owned(),
        client: seen.client.to_string(),
        principal: seen.door.principal.to_string(),
        subject: seen.door.subject.to_string(),
        envelope_rule: api
            .live
            .now()
            .blueprint
            .rules
            .get(seen.door.listener.as_str())
            .and_then(|rules| rules.matching(&seen.door.subject)),
        routes: routes(seen, failure),
        outcome: outcome.to_owned(),
        failure: failure.map(|word| word.as_str().to_owned()),
        detail,
        kept_after_us: micros(seen.kept_after),
        lsn: seen.lsn,
        level: seen.level.as_str().to_owned(),
        answered: seen.settled.map(|(after, what)| Answered { verdict: what.to_owned(), after_us: micros(after) }),
        deliveries: hops.iter().map(delivery).collect(),
        waits_for: waiting(api, seen.lsn),
    }
}

fn delivery(hop: &Delivered) -> DeliveryTrace {
    let (position, failure, detail) = match &hop.place {
        Ok(position) => (Some(position.to_string()), None, None),
        Err((word, detail)) => (None, Some(word.as_str().to_owned()), Some(detail.to_string())),
    };
    DeliveryTrace {
        backend: hop.backend.to_string(),
        position,
        failure,
        detail,
        attempts: hop.attempts,
        after_us: micros(hop.after),
    }
}

/// Why each route took the event or not. Worked out now, over the attributes as the router saw them.
fn routes(seen: &Seen, failure: Option<Word>) -> Vec<RouteTrace> {
    let Some(plan) = &seen.plan else { return Vec::new() };
    let reached = !seen.routes.is_empty() || matches!(failure, Some(Word::NoRoute | Word::Unrouted | Word::MixedPaths));
    if !reached {
        return Vec::new();
    }
    let event = EventView { envelope: &seen.envelope, door: &seen.door };
    let mut taken = false;
    let look = |route: &Route| {
        if taken {
            let why = "not asked: a route above took the event".to_owned();
            return RouteTrace { name: route.name.to_string(), matched: None, why, steps: Vec::new() };
        }
        let traced = route_trace(route, &event);
        taken = traced.matched == Some(true) && !route.go_on;
        traced
    };
    plan.routes().iter().map(look).collect()
}

fn route_trace(route: &Route, event: &EventView<'_>) -> RouteTrace {
    let name = route.name.to_string();
    let Some(when) = &route.when else {
        return RouteTrace { name, matched: Some(true), why: "it takes everything".to_owned(), steps: Vec::new() };
    };
    let seen = view::Seen(*event);
    let steps = when.explain(&seen);
    let matched = when.matches(&seen);
    let decisive = |step: &&Step<'_>| match (&matched, &step.outcome) {
        (Err(_), Outcome::Error(_)) => true,
        (Ok(_), Outcome::Value(value)) => *value == cesql::Value::Boolean(*matched.as_ref().unwrap_or(&false)),
        (_, Outcome::Error(_) | Outcome::Value(_) | Outcome::Skipped) => false,
    };
    let why = match (&matched, steps.iter().find(decisive)) {
        (Ok(true), _) => "yes".to_owned(),
        (Err(error), None) => when.describe(error),
        (_, Some(step)) => step.to_string(),
        (Ok(false), None) => steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    };
    let steps = steps.iter().map(ToString::to_string).collect();
    RouteTrace { name, matched: Some(matched.unwrap_or(false)), why, steps }
}

/// The backends that have not confirmed the record at `lsn`. Reads one place of the journal.
fn waiting(api: &Api, lsn: u64) -> Vec<String> {
    if lsn == 0 {
        return Vec::new();
    }
    match api.shared.journal.read_at(Lsn::from_raw(lsn)) {
        Ok(Some(entry)) => split(api, entry.lanes, entry.lsn).1,
        Ok(None) | Err(_) => Vec::new(),
    }
}

/// The backends of a record: those that are done with it, and those that are not.
fn split(api: &Api, lanes: u64, lsn: Lsn) -> (Vec<String>, Vec<String>) {
    let (mut done, mut open) = (Vec::new(), Vec::new());
    for id in bits(lanes & !1) {
        let name = api.shared.lanes().get(id).map_or_else(|| format!("lane {id}"), |lane| lane.name.to_string());
        let is_done = LaneId::new(id).is_none_or(|id| api.shared.journal.is_done(id, lsn));
        if is_done { done.push(name) } else { open.push(name) }
    }
    (done, open)
}
