//! Opening a message: its trace starts, the door's attributes are set, the codec reads it.
//!
//! Outermost, so that a message that cannot be read is counted and traced like any other.
use super::{
    batch::{Batch, Item},
    epoch::Epoch,
    hold::{Answer, Hold},
    rules::Rules,
};
use crate::{
    clock, random,
    state::Shared,
    telemetry::{Meter, spans::Arrival},
};
use codecs::{BareRules, Context as CodecContext, DecodeError};
use schemas::{
    AttributeFault, Attributes, ByteStr, Death, Door, Kind, Message, Mode, Receipt, Refusal, TraceContext, Verdict,
    Word,
    json::BATCH_TYPE,
    record::{self, DoorLetter},
    trace::SAMPLED,
};
use smallvec::SmallVec;
use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tower::{Service, ServiceExt};
use transports::{Origin, Room, Submission, Ticket};
use uuid::Builder;

/// How one listener opens messages.
#[derive(Clone)]
pub struct Open {
    /// The listener's envelope rules.
    pub rules: Arc<Rules>,
    /// Counts for the listener.
    pub meter: Arc<Meter>,
    /// The part of untraced messages that are sampled: 0 to 1.
    pub sample: f64,
    /// Whether a batch is answered per event unless the sender says otherwise.
    pub partial: bool,
    /// The codec of bare messages; `None`: by content type.
    pub codec: Option<&'static dyn codecs::Codec>,
    /// Most events of one message.
    pub events_max: usize,
    /// The generation that it belongs to.
    pub epoch: Arc<Epoch>,
}

/// The listener's rules as the codec asks them, for one message.
struct Bare<'a> {
    rules: &'a Rules,
    origin: &'a Origin,
}

impl BareRules for Bare<'_> {
    fn apply(&self, message: &Message, attributes: &mut Attributes) -> Result<(), AttributeFault> {
        self.rules.apply(message, self.origin, attributes)?;
        // MQTT: the topic is the subject of a bare message, unless a rule says otherwise.
        if self.origin.protocol == "mqtt" && attributes.get("subject").is_none() {
            attributes.set("subject", &message.subject, Kind::String)?;
        }
        Ok(())
    }
}

/// Events that could be read, and the faults of the others by their place.
type Read = (SmallVec<[Item; 1]>, Vec<(usize, AttributeFault)>);

/// A message that could not be read.
struct Unreadable {
    message: Box<Message>,
    error: DecodeError,
    trace: TraceContext,
    parent: Option<TraceContext>,
    door: Door,
    received: SystemTime,
}

impl Open {
    /// The trace that the sender's header gives, or a new one; and whether it is new.
    fn start_trace(&self, header: Option<TraceContext>) -> (TraceContext, bool) {
        match header {
            Some(parent) => (parent, false),
            None => {
                let flags = if random::unit() < self.sample { SAMPLED } else { 0 };
                (TraceContext::from_random(random::bytes(), flags), true)
            }
        }
    }

    /// Opens a message for `explain`: what cannot be read is a refusal.
    pub(crate) fn open_or_refuse(&self, submission: Submission) -> Result<Batch, Refusal> {
        self.open(submission).map_err(|unreadable| Refusal::new(unreadable.error.word, unreadable.error.detail))
    }

    /// The message's events, and the faults of those that could not be read, by their place.
    fn read(
        &self,
        message: &Message,
        origin: &Origin,
        received: SystemTime,
        parent: TraceContext,
    ) -> Result<Read, DecodeError> {
        let traceparent = parent.header();
        let new_id = || event_id(received);
        let bare = Bare { rules: &self.rules, origin };
        let context = CodecContext {
            listener: &origin.listener,
            received,
            traceparent: traceparent.as_str(),
            rules: Some(&bare as &dyn BareRules),
            new_id: &new_id,
        };
        let chosen = codecs::choose(message);
        // A CloudEvent is read as one, whatever the listener says of bare messages.
        let codec = self.codec.filter(|_| chosen.name() != "cloudevents").unwrap_or(chosen);
        let decoded = codec.decode(message, &context)?;
        if decoded.len() > self.events_max {
            let detail =
                format!("the message holds {} events, the listener takes {} at once", decoded.len(), self.events_max);
            return Err(DecodeError { word: Word::TooLarge, offset: None, detail: detail.into() });
        }
        let (mut items, mut faults) = (SmallVec::with_capacity(decoded.len()), Vec::new());
        for (index, event) in decoded.into_iter().enumerate() {
            match event {
                Ok(envelope) => items.push(Item::new(index, envelope)),
                // Where the protocol cannot refuse, the whole message becomes a dead letter as it came.
                Err(fault) if message.wants.cannot_refuse => return Err(fault.into()),
                Err(fault) => faults.push((index, fault)),
            }
        }
        Ok((items, faults))
    }

    fn open(&self, submission: Submission) -> Result<Batch, Box<Unreadable>> {
        let Submission { mut message, room, origin } = submission;
        let (received, arrived) = (SystemTime::now(), clock::now());
        let (parent, fresh) = self.start_trace(message.trace);
        let door = Door {
            listener: origin.listener.clone(),
            principal: origin.principal.name.clone(),
            tenant: origin.principal.tenant.clone(),
            subject: message.subject.clone(),
        };
        let (items, faults) = match self.read(&message, &origin, received, parent) {
            Ok(read) => read,
            Err(error) => {
                let sent = (!fresh).then_some(parent);
                let trace = sent.map_or(parent, span_of);
                return Err(Box::new(Unreadable {
                    message: Box::new(message),
                    error,
                    trace,
                    parent: sent,
                    door,
                    received,
                }));
            }
        };
        // Without a header the event's own trace is the parent. What the codec added itself says `parent`: then nobody sent
        // one, and the span that the event names is ours.
        let sent = if fresh { items.first().and_then(|item| own_trace(item, parent)) } else { Some(parent) };
        let trace = sent.map_or(parent, span_of);
        let many = holds_many(&message);
        let headers = std::mem::take(&mut message.headers);
        let mut wants = message.wants;
        wants.partial |= self.partial;
        let dedupe_id = message.dedupe_id.take();
        let message = wants.cannot_refuse.then(|| Box::new(message));
        Ok(Batch {
            origin,
            door,
            items,
            faults,
            many,
            headers,
            trace,
            parent: sent,
            span: None,
            message,
            wants,
            meter: Arc::clone(&self.meter),
            received,
            arrived,
            deadline: arrived + wants.deadline.min(DEADLINE_MAX),
            room,
            dedupe_id,
            plan: None,
            inside: None,
            held: None,
            brief: false,
            claims: SmallVec::new(),
        })
    }
}

/// A UUIDv7 for a bare event, without asking the system for random numbers each time.
fn event_id(received: SystemTime) -> String {
    let millis = received.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let uuid =
        Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or_default(), &random::bytes()).into_uuid();
    uuid.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
}

/// The trace that an event came with, unless it is `ours`.
fn own_trace(item: &Item, ours: TraceContext) -> Option<TraceContext> {
    let own = item.envelope.get("traceparent")?.text;
    if own == ours.header().as_str() { None } else { TraceContext::parse(own).filter(|own| *own != ours) }
}

/// Whether the message's format is a list of events.
fn holds_many(message: &Message) -> bool {
    let content_type = message.content_type.as_deref().unwrap_or_default();
    if message.mode == Mode::Binary || content_type == "application/json" {
        return false;
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    [BATCH_TYPE, "application/x-ndjson"].iter().any(|many| essence.eq_ignore_ascii_case(many))
}

/// Nobody waits longer than this for an answer.
const DEADLINE_MAX: Duration = Duration::from_secs(300);

/// The gateway's own span below `parent`.
fn span_of(parent: TraceContext) -> TraceContext {
    TraceContext { span_id: (random::u64() | 1).to_be_bytes(), ..parent }
}

/// The outermost service of a listener.
#[derive(Clone)]
pub struct OpenService {
    open: Open,
    inner: Hold,
    shared: Arc<Shared>,
}

impl OpenService {
    /// Opens messages in front of `inner`.
    pub fn new(open: Open, inner: Hold, shared: Arc<Shared>) -> Self {
        OpenService { open, inner, shared }
    }

    /// The generation is over: the message goes to the one that is in force.
    fn hand_on(&self, submission: Submission) -> Answer {
        match self.open.epoch.next(&submission.origin.listener) {
            Some(way) => Answer::Later(Box::pin(way.door.oneshot(submission))),
            None => {
                self.open.meter.listener_refused(Word::ShuttingDown);
                let refusal = Refusal::new(Word::ShuttingDown, "the configuration has changed; send it again");
                Answer::Now(Some(Err(refusal)))
            }
        }
    }

    fn arrival<'a>(&'a self, batch: &'a Batch) -> Arrival<'a> {
        Arrival {
            origin: &batch.origin,
            door: &batch.door,
            parent: batch.parent,
            received: batch.received,
            events: batch.items.iter().map(|item| &item.envelope).collect(),
            size: batch.items.iter().map(|item| item.envelope.data().len()).sum(),
            template: self.open.rules.pattern(&batch.door.subject),
        }
    }

    fn arrival_of_unreadable<'a>(&'a self, origin: &'a Origin, unreadable: &'a Unreadable) -> Arrival<'a> {
        Arrival {
            origin,
            door: &unreadable.door,
            parent: unreadable.parent,
            received: unreadable.received,
            events: Vec::new(),
            size: unreadable.message.payload.len(),
            template: self.open.rules.pattern(&unreadable.door.subject),
        }
    }

    /// A message that nobody could read: refused, or, where the protocol cannot refuse, a dead letter of the door.
    fn unreadable(&self, origin: &Origin, unreadable: Unreadable) -> Result<Ticket, Refusal> {
        let Unreadable { message, error, trace, parent: _, door, received } = unreadable;
        let detail = error.detail.into_owned();
        if !message.wants.cannot_refuse {
            self.open.meter.refused_whole(origin.version, error.word, 1);
            return Err(Refusal::new(error.word, detail));
        }
        let death =
            Death { word: error.word, detail: detail.into(), backend: ByteStr::EMPTY, attempts: 0, first_lsn: 0 };
        let letter = DoorLetter {
            lsn: 0,
            payload: message.payload,
            content_type: message.content_type,
            mode: message.mode,
            attributes: message.attributes,
            headers: message.headers,
            door,
            received,
            trace,
            tracestate: message.tracestate,
            dedupe_id: message.dedupe_id,
            death,
        };
        let mut head = Vec::with_capacity(256);
        record::encode_letter_head(&mut head, &letter);
        let entry = journal::Encoded::gathered(&head, &letter.payload, 1);
        let owed = message.wants.answer;
        let entry = if owed { entry } else { entry.unowed() };
        let kept = self.shared.lanes().letter_room(head.len() + letter.payload.len(), owed).and_then(|()| {
            let full = |_| Refusal::new(Word::StorageFull, "the journal has no room for the dead letter");
            self.shared.journal.append(&[entry]).map_err(full)
        });
        let lsn = match kept {
            Ok(lsn) => lsn.get(),
            Err(refusal) => {
                self.open.meter.refused_whole(origin.version, refusal.word, 1);
                return Err(refusal);
            }
        };
        self.open.meter.received(origin.version, 1);
        self.open.meter.kept(schemas::AckLevel::Durable, 1);
        self.shared.metrics.targeted.inc();
        self.shared.lanes().entered(1);
        let receipt = Receipt {
            level: schemas::AckLevel::Durable,
            trace_id: ByteStr::EMPTY,
            items: schemas::Items::All,
            reply: None,
        };
        Ok(Ticket::durable(lsn, receipt, Room::default()))
    }
}

impl Service<Submission> for OpenService {
    type Response = Ticket;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, submission: Submission) -> Self::Future {
        let Some(inside) = self.open.epoch.enter() else { return self.hand_on(submission) };
        let origin = Arc::clone(&submission.origin);
        match self.open.open(submission) {
            Ok(batch) if batch.is_empty() => Answer::Now(Some(Ok(Ticket::now(Verdict::Receipt(Receipt {
                level: schemas::AckLevel::Received,
                trace_id: batch.trace.trace_id_text(),
                items: schemas::Items::Each(Box::default()),
                reply: None,
            }))))),
            Ok(mut batch) => {
                batch.inside = Some(inside);
                let Some(span) = self.shared.spans.open(batch.trace, || self.arrival(&batch)) else {
                    return self.inner.submit(batch);
                };
                batch.span = Some(Arc::clone(&span));
                match self.inner.submit(batch) {
                    Answer::Now(answer) => Answer::Now(answer.map(|answer| span.answered(answer))),
                    Answer::Later(answer) => Answer::Later(Box::pin(async move { span.answered(answer.await) })),
                }
            }
            Err(unreadable) => {
                let span =
                    self.shared.spans.open(unreadable.trace, || self.arrival_of_unreadable(&origin, &unreadable));
                let answer = self.unreadable(&origin, *unreadable);
                Answer::Now(Some(match span {
                    Some(span) => span.answered(answer),
                    None => answer,
                }))
            }
        }
    }
}
