//! Admission: the only step that keeps anything.
//!
//! A batch is kept as a whole: one append for all its journaled events, then the direct ones into their lanes' windows. Before
//! this step nothing was kept; after it nobody can cancel what was.
use super::{Batch, Item, View, batch::Claims, count};
use crate::{lanes::Direct, state::Shared};
use bytes::Bytes;
use journal::Encoded;
use schemas::{
    AckLevel, ByteStr, Death, Envelope, Event, ItemReceipt, ItemVerdict, Items, Receipt, Refusal, Verdict, Word, record,
};
use smallvec::SmallVec;
use std::{cell::RefCell, sync::Arc, time::Duration};
use transports::{Slot, Ticket, ticket::Stamp};

/// How soon a batch that met a full group looks again.
const BUSY: Duration = Duration::from_millis(2);

/// Keeps batches. One per listener and generation, cloned per stream.
#[derive(Clone)]
pub struct Admit {
    shared: Arc<Shared>,
}

/// A record to be appended: its head ends at `end` of the scratch, its data follows.
struct Place<'a> {
    end: usize,
    data: &'a Bytes,
    lanes: u64,
    unowed: bool,
    unkeyed: bool,
}

/// Most bytes of heads that a thread's scratch keeps from one batch to the next.
const SCRATCH_KEPT: usize = 1 << 20;

thread_local! {
    /// The heads of one batch's records, side by side; data is gathered from the payload. One per edge thread, so that encoding
    /// allocates nothing.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Admit {
    /// Admission into the journal and lanes of `shared`.
    pub fn new(shared: Arc<Shared>) -> Self {
        Admit { shared }
    }

    /// Keeps the batch, or refuses it; `Err` gives it back, held, when there is no room now.
    pub fn admit(&self, mut batch: Batch) -> Result<Result<Ticket, Refusal>, Box<Batch>> {
        if let Some(refusal) = refusal_of(&batch) {
            if !batch.wants.cannot_refuse {
                batch.refuse_rest(refusal.word);
                count::refused(&batch);
                self.shared.ring.message(&batch, 0, 0);
                return Ok(Err(refusal));
            }
            mark_dead(&mut batch);
        }
        if self.shared.is_volatile() {
            // No route says so, but a dead letter would: nothing in memory is durable.
            let durable = batch.items.iter_mut().filter(|item| item.level == AckLevel::Durable);
            durable.for_each(|item| item.level = AckLevel::Received);
        }
        let direct = direct_events(&batch);
        if let Err(refusal) = self.direct_room(&direct) {
            batch.hold(refusal);
            return Err(Box::new(batch));
        }
        let (stored, lsn) = match self.append(&batch) {
            Ok(kept) => kept,
            Err(NoRoom::ForLetters(refusal)) => {
                batch.hold(refusal);
                return Err(Box::new(batch));
            }
            Err(NoRoom::InJournal(journal::Closed::Busy)) => {
                batch.hold_briefly(
                    Refusal::new(Word::Overloaded, "the journal is writing a full group").retry_after(BUSY),
                );
                return Err(Box::new(batch));
            }
            Err(NoRoom::InJournal(journal::Closed::Full)) => {
                batch.hold(
                    Refusal::new(Word::StorageFull, "the journal has no room").retry_after(Duration::from_secs(1)),
                );
                return Err(Box::new(batch));
            }
            Err(NoRoom::InJournal(error)) => {
                let refusal = closed(error);
                batch.meter.refused_whole(batch.origin.version, refusal.word, batch.len());
                return Ok(Err(refusal));
            }
        };
        Ok(Ok(self.kept(batch, stored, lsn, direct)))
    }

    /// Everything after the append: nothing here can fail.
    fn kept(&self, mut batch: Batch, stored: usize, lsn: u64, direct: Vec<Event>) -> Ticket {
        let mut claims = std::mem::take(&mut batch.claims);
        if direct.is_empty() {
            let kept = |number: usize| batch.items.iter().any(|item| item.number == number && item.is_alive());
            for claim in &mut claims {
                claim.keep(lsn, &kept);
            }
        }
        count::kept(&self.shared, &batch);
        if let Some(span) = &batch.span {
            span.kept(&batch);
        }
        let stamp = Stamp { arrived: batch.arrived, note: self.shared.ring.message(&batch, lsn, stored) };
        let slot = self.send_direct(&batch, direct, (stored > 0).then_some(lsn), claims);
        let (receipt, wait_for) = receipt(&batch, lsn);
        let room = std::mem::take(&mut batch.room);
        let ticket = match slot {
            Some(slot) => Ticket::slot(slot, wait_for, receipt, room),
            None if wait_for > 0 => Ticket::durable(wait_for, receipt, room),
            None => Ticket::now(Verdict::Receipt(receipt)),
        };
        ticket.observed(batch.meter, stamp)
    }

    /// One append for all events that are stored: how many records those are, and the last one's LSN; 0 when there are none.
    fn append(&self, batch: &Batch) -> Result<(usize, u64), NoRoom> {
        // A dead letter whose sender gets no receipt may give way to others of its kind.
        let owed = batch.wants.answer;
        SCRATCH.with_borrow_mut(|heads| {
            heads.clear();
            let mut places: SmallVec<[Place<'_>; 1]> = SmallVec::with_capacity(batch.items.len());
            let mut letters = 0;
            for_each_record(batch, |parts, envelope| {
                let start = heads.len();
                record::encode_parts(heads, parts);
                if parts.death.is_some() {
                    letters += heads.len() - start + envelope.data().len();
                }
                let (unowed, unkeyed) = (parts.death.is_some() && !owed, parts.id.is_none());
                places.push(Place { end: heads.len(), data: envelope.data(), lanes: parts.lanes, unowed, unkeyed });
            });
            if places.is_empty() {
                return Ok((0, 0));
            }
            if letters > 0 {
                self.shared.lanes().letter_room(letters, owed).map_err(NoRoom::ForLetters)?;
            }
            let mut entries: SmallVec<[Encoded<'_>; 1]> = SmallVec::with_capacity(places.len());
            let mut start = 0;
            for place in places {
                let entry = Encoded::gathered(&heads[start..place.end], place.data, place.lanes);
                let entry = if place.unkeyed { entry.unkeyed() } else { entry };
                entries.push(if place.unowed { entry.unowed() } else { entry });
                start = place.end;
            }
            let appended = self.shared.journal.append(&entries).map(|lsn| (entries.len(), lsn.get()));
            drop(entries);
            if heads.capacity() > SCRATCH_KEPT {
                *heads = Vec::new();
            }
            appended.map_err(NoRoom::InJournal)
        })
    }

    fn direct_room(&self, direct: &[Event]) -> Result<(), Refusal> {
        if direct.is_empty() {
            return Ok(());
        }
        let lanes = self.shared.lanes();
        direct.iter().try_for_each(|event| lanes.direct_room(event.lanes, event.envelope.size()))
    }

    /// Hands direct events to their lanes. What was claimed for them stays open until they have ended: who resends one
    /// meanwhile is told so, and one that failed leaves nothing. `stored`: the LSN of the message's journaled events.
    fn send_direct(
        &self,
        batch: &Batch,
        direct: Vec<Event>,
        stored: Option<u64>,
        mut claims: Claims,
    ) -> Option<Arc<Slot>> {
        if direct.is_empty() {
            return None;
        }
        let deliveries = direct.iter().map(|event| event.lanes.count_ones()).sum();
        let slot = Slot::new(deliveries, stored.is_some());
        if !claims.is_empty() {
            let alive = batch.items.iter().filter(|item| item.is_alive());
            let kept: Vec<(usize, bool)> = alive.map(|item| (item.number, item.level == AckLevel::Delivered)).collect();
            slot.at_end(move |delivered| {
                let kept = |number| kept.iter().any(|(kept, direct)| *kept == number && (delivered || !direct));
                for claim in &mut claims {
                    claim.keep(stored.unwrap_or(0), &kept);
                }
            });
        }
        let lanes = self.shared.lanes();
        for event in direct {
            let direct =
                Direct { event: Arc::new(event), slot: Arc::clone(&slot), deadline: batch.deadline, again_at: None };
            lanes.send_direct(&direct);
        }
        Some(slot)
    }
}

/// Why nothing of a batch was appended.
enum NoRoom {
    /// The dead letters have reached their quota.
    ForLetters(Refusal),
    InJournal(journal::Closed),
}

fn closed(error: journal::Closed) -> Refusal {
    match error {
        journal::Closed::TooLarge => {
            Refusal::new(Word::TooLarge, "the message does not fit into one group of the journal")
        }
        journal::Closed::Stopping => Refusal::new(Word::ShuttingDown, "the gateway is stopping"),
        journal::Closed::Failed => {
            Refusal::new(Word::ShuttingDown, "the journal's disk has failed; the gateway is stopping")
        }
        journal::Closed::Full | journal::Closed::Busy => Refusal::new(Word::StorageFull, "the journal has no room"),
    }
}

/// All or nothing by default: one refused event refuses the message. With `partial`, only when none is left.
pub(crate) fn refusal_of(batch: &Batch) -> Option<Refusal> {
    let refused = batch.faults.len()
        + batch.items.iter().filter(|item| matches!(item.fate, Some(ItemVerdict::Refused(..)))).count();
    if refused == 0 || (batch.wants.partial && refused < batch.len()) {
        return None;
    }
    let (word, detail) = batch.first_refused()?;
    let single = batch.len() == 1 && !batch.many;
    let items = if single { Items::All } else { Items::Each(item_receipts(batch)) };
    let mut refusal = Refusal::new(word, detail.to_owned());
    refusal.items = items;
    Some(refusal)
}

/// Where the protocol cannot refuse, a refused event is a dead letter and the sender gets its receipt.
fn mark_dead(batch: &mut Batch) {
    for item in &mut batch.items {
        if let Some(ItemVerdict::Refused(word, detail)) = item.fate.take() {
            item.dead = Some((word, ByteStr::from(&*detail)));
            item.level = AckLevel::Durable;
            item.views.clear();
        }
    }
}

/// The records of a batch: one per view of an item that is alive and stored, or its dead letter.
fn for_each_record<'b>(batch: &'b Batch, mut take: impl FnMut(&record::Parts<'_>, &'b Envelope)) {
    let parts = |envelope: &'b Envelope, lanes, route: &'b str, level| record::Parts {
        lanes,
        envelope,
        door: &batch.door,
        headers: &batch.headers,
        received: batch.received,
        trace: batch.trace,
        route,
        level,
        key: None,
        id: None,
        death: None,
    };
    for item in batch.items.iter().filter(|item| item.is_alive()) {
        if let Some((word, detail)) = &item.dead {
            let death =
                Death { word: *word, detail: detail.clone(), backend: ByteStr::EMPTY, attempts: 0, first_lsn: 0 };
            let letter =
                record::Parts { id: item.id.as_ref(), death: Some(&death), ..parts(&item.envelope, 1, "", item.level) };
            take(&letter, &item.envelope);
            continue;
        }
        if item.level == AckLevel::Delivered {
            continue;
        }
        for view in &item.views {
            let route = batch.route(view.route).map_or("", |route| route.name.as_str());
            let record = record::Parts { id: item.id.as_ref(), ..parts(&view.envelope, view.lanes, route, item.level) };
            take(&record, &view.envelope);
        }
    }
}

/// The direct events of a batch: one per view of an item that is alive and not stored.
fn direct_events(batch: &Batch) -> Vec<Event> {
    let is_direct = |item: &&Item| item.is_alive() && item.dead.is_none() && item.level == AckLevel::Delivered;
    let items = batch.items.iter().filter(is_direct);
    items.flat_map(|item| item.views.iter().map(move |view| event_of(batch, item, view))).collect()
}

/// One view of an item as its lanes get it, without a place in the journal.
pub(crate) fn event_of(batch: &Batch, item: &Item, view: &View) -> Event {
    Event {
        lsn: 0,
        lanes: view.lanes,
        envelope: view.envelope.clone(),
        door: batch.door.clone(),
        headers: batch.headers.clone(),
        received: batch.received,
        trace: batch.trace,
        route: batch.route_name(view.route),
        level: item.level,
        key: schemas::order_key(&view.envelope),
        death: None,
    }
}

/// What the sender will be told, and the LSN that must be durable before it is true (0: nothing to wait for).
fn receipt(batch: &Batch, lsn: u64) -> (Receipt, u64) {
    let kept = |item: &&Item| item.is_alive();
    let level = batch.items.iter().filter(kept).map(|item| item.level).min().unwrap_or(AckLevel::Durable);
    let durable = batch.items.iter().filter(kept).any(|item| item.level == AckLevel::Durable);
    let copies = batch.items.iter().map(|item| item.duplicate_of).max().unwrap_or(0);
    let wait_for = if durable { lsn.max(copies) } else { copies };
    let detail = batch.wants.detail || batch.wants.partial;
    let items = if detail { Items::Each(item_receipts(batch)) } else { Items::All };
    let trace_id = if batch.wants.detail { batch.trace.trace_id_text() } else { ByteStr::EMPTY };
    (Receipt { level, trace_id, items, reply: None }, wait_for)
}

/// One answer per event, in the message's order, unreadable ones among them.
fn item_receipts(batch: &Batch) -> Box<[ItemReceipt]> {
    let mut receipts = Vec::with_capacity(batch.len());
    let mut faults = batch.faults.iter().peekable();
    let mut items = batch.items.iter();
    while receipts.len() < batch.len() {
        if let Some((_, fault)) = faults.next_if(|(index, _)| *index == receipts.len()) {
            let verdict = ItemVerdict::Refused(fault.word, fault.detail.as_ref().into());
            receipts.push(ItemReceipt { id: ByteStr::EMPTY, verdict });
            continue;
        }
        let Some(item) = items.next() else { break };
        let dead_letter = item.dead.as_ref().map(|(word, _)| *word);
        let verdict = item.fate.clone().unwrap_or(ItemVerdict::Kept { level: item.level, dead_letter });
        receipts.push(ItemReceipt { id: item.envelope.shared_id(), verdict });
    }
    receipts.into()
}
