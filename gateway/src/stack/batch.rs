//! What travels through the stack: the events of one message, together.
//!
//! Middleware *settles* items, it never removes them: at the end every item has a fate, so that every event is counted and
//! the sender gets one answer per event, in the message's order.
use super::epoch::Inside;
use crate::{
    router::{Route, RoutePlan},
    telemetry::{Meter, spans::MessageSpan},
};
use schemas::{
    AckLevel, AttributeFault, ByteStr, Door, Envelope, EventView, Headers, ItemVerdict, Message, Refusal, TraceContext,
    Wants, Word,
};
use smallvec::SmallVec;
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};
use transports::{Origin, Room};

/// The events of one message. It travels through Tower as a whole.
#[derive(Debug)]
pub struct Batch {
    /// Where the message came from.
    pub origin: Arc<Origin>,
    /// The `anygate…` attributes, the same for all items.
    pub door: Door,
    /// The events that could be read.
    pub items: SmallVec<[Item; 1]>,
    /// The events that could not, by their place in the message.
    pub faults: Vec<(usize, AttributeFault)>,
    /// Whether the message's format holds several events, even if this one holds one: the answer is a list then.
    pub many: bool,
    /// Kept headers, the same for all items.
    pub headers: Headers,
    /// The gateway's own span for this message; its trace id is the one that the sender is told.
    pub trace: TraceContext,
    /// What the sender said is the parent of that span; `None` when the trace starts here.
    pub parent: Option<TraceContext>,
    /// The span while it is open, if it is recorded.
    pub span: Option<Arc<MessageSpan>>,
    /// The message, for a dead letter where the protocol cannot refuse; `None` otherwise.
    pub message: Option<Box<Message>>,
    /// What the sender asked for.
    pub wants: Wants,
    /// Counts for the listener.
    pub meter: Arc<Meter>,
    /// When it was received.
    pub received: SystemTime,
    /// The same on the monotonic clock.
    pub arrived: Instant,
    /// When the answer is due.
    pub deadline: Instant,
    /// The room that the message takes.
    pub room: Room,
    /// The message's dedupe id, where the protocol has one (HTTP `Idempotency-Key`).
    pub dedupe_id: Option<ByteStr>,
    /// The generation's routes, set by the router.
    pub plan: Option<Arc<RoutePlan>>,
    /// Its place in the generation that routes it; kept until it is kept or refused.
    pub inside: Option<Inside>,
    /// Set by whoever has no room for it now: the message is offered again, or refused with this. Whoever sets it has
    /// counted, consumed and inserted nothing, or did so with a [`Claim`].
    pub held: Option<Refusal>,
    /// Whether what it is held for passes by itself within moments: then it waits even where the listener refuses.
    pub brief: bool,
    /// What was taken on the way and must be given back unless the batch is kept.
    pub claims: Claims,
}

/// What was taken on the way.
pub type Claims = SmallVec<[Box<dyn Claim>; 1]>;

/// One event on its way through the stack.
#[derive(Debug)]
pub struct Item {
    /// Its place in the message, from 0.
    pub number: usize,
    /// The event as it is now.
    pub envelope: Envelope,
    /// The event before middleware changed it, so that a held batch can be offered again from the start.
    original: Option<Envelope>,
    /// What became of it; `None` while it is alive.
    pub fate: Option<ItemVerdict>,
    /// The LSN of the first copy, for a duplicate whose first copy may not be durable yet; else 0.
    pub duplicate_of: u64,
    /// The lanes that are full and not required: the event goes on without them.
    pub left_out: u64,
    /// What the journal keeps to know a resend by, set by `dedupe`.
    pub id: Option<crate::ids::Key>,
    /// Where it goes, decided by the router: one view for each distinct content.
    pub views: SmallVec<[View; 1]>,
    /// Bit n = the n-th route matched.
    pub routes: SmallVec<[u32; 2]>,
    /// The ack level of its path.
    pub level: AckLevel,
    /// Why it is a dead letter, if it is one.
    pub dead: Option<(Word, ByteStr)>,
}

/// One content of an event and the lanes that get it. Routes without a pipeline share the event's own content.
#[derive(Clone, Debug)]
pub struct View {
    /// The event as these lanes get it.
    pub envelope: Envelope,
    /// Bit n = lane n.
    pub lanes: u64,
    /// The first route that sends it there: its number in [`Batch::plan`].
    pub route: u32,
}

/// Something that a middleware took for a batch: a rate, a place in a dedupe table. Dropped without [`Claim::keep`] it gives
/// it back.
pub trait Claim: Send + Sync + std::fmt::Debug {
    /// The batch is kept; `lsn` is its last record's, or 0 when it was not journaled. `kept` says of an event, by its
    /// [`Item::number`], whether it is among what was kept: in a partial answer not all are.
    fn keep(&mut self, lsn: u64, kept: &dyn Fn(usize) -> bool);
}

impl Item {
    /// An event as the codec made it.
    pub fn new(number: usize, envelope: Envelope) -> Self {
        Item {
            number,
            envelope,
            original: None,
            fate: None,
            duplicate_of: 0,
            left_out: 0,
            id: None,
            views: SmallVec::new(),
            routes: SmallVec::new(),
            level: AckLevel::Durable,
            dead: None,
        }
    }

    /// Whether nobody has settled it.
    pub fn is_alive(&self) -> bool {
        self.fate.is_none()
    }

    /// Puts a changed event in its place.
    pub fn change(&mut self, envelope: Envelope) {
        let before = std::mem::replace(&mut self.envelope, envelope);
        self.original.get_or_insert(before);
    }

    /// Settles it as refused.
    pub fn refuse(&mut self, word: Word, detail: impl Into<Box<str>>) {
        self.fate = Some(ItemVerdict::Refused(word, detail.into()));
    }

    /// Settles it as dropped, as configured.
    pub fn drop_as(&mut self, word: Word) {
        self.fate = Some(ItemVerdict::Dropped(word));
    }
}

impl Batch {
    /// Says that there is no room now; the first one to say so counts.
    pub fn hold(&mut self, refusal: Refusal) {
        self.held.get_or_insert(refusal);
    }

    /// Says that there is no room for a moment: the journal's group is being written, the same id is being kept.
    pub fn hold_briefly(&mut self, refusal: Refusal) {
        self.brief = self.held.is_none();
        self.hold(refusal);
    }

    /// The items that are alive, with the view that predicates and templates look at.
    pub fn alive(&mut self) -> impl Iterator<Item = (&mut Item, &Door)> {
        let door = &self.door;
        self.items.iter_mut().filter(|item| item.fate.is_none()).map(move |item| (item, door))
    }

    /// Nothing of the batch is kept: its good events are refused with the bad one.
    pub fn refuse_rest(&mut self, word: Word) {
        for item in &mut self.items {
            item.fate.get_or_insert_with(|| ItemVerdict::Refused(word, "refused with its batch".into()));
        }
    }

    /// A batch of other items with the same surroundings: what a route's pipeline sees. It takes no room of its own.
    #[must_use]
    pub fn part(&self, items: SmallVec<[Item; 1]>) -> Batch {
        Batch {
            origin: Arc::clone(&self.origin),
            door: self.door.clone(),
            items,
            faults: Vec::new(),
            many: self.many,
            headers: Headers::new(),
            trace: self.trace,
            parent: self.parent,
            span: None,
            message: None,
            wants: self.wants,
            meter: Arc::clone(&self.meter),
            received: self.received,
            arrived: self.arrived,
            deadline: self.deadline,
            room: Room::default(),
            dedupe_id: self.dedupe_id.clone(),
            plan: None,
            inside: None,
            held: None,
            brief: false,
            claims: SmallVec::new(),
        }
    }

    /// Makes the batch as it was before the stack saw it, to be offered again.
    pub fn rewind(&mut self) {
        self.held = None;
        self.brief = false;
        self.claims.clear();
        for item in &mut self.items {
            if let Some(original) = item.original.take() {
                item.envelope = original;
            }
            item.fate = None;
            item.duplicate_of = 0;
            item.left_out = 0;
            item.id = None;
            item.views.clear();
            item.routes.clear();
            item.dead = None;
        }
    }

    /// The name of a route of the generation that routed the batch.
    pub fn route_name(&self, number: u32) -> ByteStr {
        self.route(number).map(|route| route.name.clone()).unwrap_or_default()
    }

    /// A route of the generation that routed the batch.
    pub fn route(&self, number: u32) -> Option<&Route> {
        self.plan.as_ref()?.routes().get(number as usize)
    }

    /// Events of the message, unreadable ones among them.
    pub fn len(&self) -> usize {
        self.items.len() + self.faults.len()
    }

    /// Whether the message held no event at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first event that could not be read or was refused, if any.
    pub fn first_refused(&self) -> Option<(Word, &str)> {
        if let Some((_, fault)) = self.faults.first() {
            return Some((fault.word, fault.detail.as_ref()));
        }
        self.items.iter().find_map(|item| match &item.fate {
            Some(ItemVerdict::Refused(word, detail)) => Some((*word, detail.as_ref())),
            Some(ItemVerdict::Kept { .. } | ItemVerdict::Duplicate | ItemVerdict::Dropped(_)) | None => None,
        })
    }

    /// Bytes of all events.
    pub fn size(&self) -> usize {
        self.items.iter().map(|item| item.envelope.size()).sum()
    }
}

impl Item {
    /// The event with its door.
    pub fn view<'a>(&'a self, door: &'a Door) -> EventView<'a> {
        EventView { envelope: &self.envelope, door }
    }
}
