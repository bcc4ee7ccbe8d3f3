//! Lanes: the ways to the backends, one each.
//!
//! A lane reads what is durable, gives it to its backend in order, and marks it done when the backend confirmed it. What fails
//! is one of three faults (design rule 9): *retry* parks its strand, *record* makes a dead letter, *destination* holds the lane
//! and raises an alarm. The direct path (`ack: delivered`) shares the lane's backend but not the journal. Lane 0 holds the dead
//! letters; its backend is nobody.
pub mod dead;
mod direct;
mod hand_back;
pub mod health;
mod outcome;
mod pace;
pub mod run;
pub mod strands;
mod suspects;
mod window;

use crate::{
    telemetry::{Filling, LaneMeter},
    vital::Beat,
};
use backends::Backend;
use health::Health;
use journal::{AnyDisk, Journal, LaneId};
use schemas::{AckLevel, AttributeFault, ByteStr, Event, EventView, Refusal, Word};
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use transports::Slot;
use window::Window;

/// Lanes in all: 63 backends and the dead letters.
pub const LANES_MAX: usize = 64;

/// One event of the direct path: never journaled; its sender waits for it.
#[derive(Clone, Debug)]
pub struct Direct {
    /// The event.
    pub event: Arc<Event>,
    /// Where its outcome goes.
    pub slot: Arc<Slot>,
    /// When the sender is told *unknown*.
    pub deadline: Instant,
    /// Set when it was offered once and the backend took nothing: not before then is it offered again.
    pub again_at: Option<Instant>,
}

/// How a lane treats what fails.
#[derive(Clone, Debug)]
pub struct Treatment {
    /// Tries before an event is given up; `None`: it never is.
    pub attempts: Option<u32>,
    /// The shortest and the longest pause between tries.
    pub backoff: (Duration, Duration),
    /// The attribute whose equal values keep their order; `None`: as the backend says.
    pub order: Option<String>,
    /// Whether what is given up becomes a dead letter, or is dropped and counted.
    pub dead_letter: bool,
    /// Whether events wait for this lane when its backlog is full; otherwise they go on without it, counted.
    pub required: bool,
}

/// One lane, seen from the door and from `status`.
pub struct Lane {
    /// Its place in the journal: 1 to 63.
    pub id: u8,
    /// The backend's name in the config.
    pub name: ByteStr,
    /// The far end.
    pub backend: Arc<dyn Backend>,
    /// How faults are treated.
    pub treatment: Treatment,
    /// Counts.
    pub meter: LaneMeter,
    /// What is wrong, if anything.
    pub health: Health,
    /// Its loop came by.
    pub beat: Beat,
    /// How fast its backlog fills.
    pub filling: Filling,
    direct: Window,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Lane {
    /// A lane that nobody runs yet.
    pub fn new(
        id: u8,
        name: impl Into<ByteStr>,
        backend: Arc<dyn Backend>,
        treatment: Treatment,
        meter: LaneMeter,
    ) -> Self {
        meter.up.set(1);
        let (name, health) = (name.into(), Health::default());
        let (beat, filling) = (Beat::default(), Filling::default());
        Lane { id, name, backend, treatment, meter, health, beat, filling, direct: Window::default() }
    }

    /// Whether an event of this path has room: a stored one in the lane's quota, a direct one when the backend is well.
    fn room(&self, level: AckLevel, bytes: usize, journal: Option<&Journal<AnyDisk>>) -> Result<(), Refusal> {
        match level {
            AckLevel::Received | AckLevel::Durable => {
                let (Some(journal), Some(id)) = (journal, LaneId::new(self.id)) else { return Ok(()) };
                if journal.room(id, u64::try_from(bytes).unwrap_or(u64::MAX)) {
                    return Ok(());
                }
                let waiting = journal.pending_bytes(id);
                let detail = format!("{waiting} bytes wait for backend {}, as many as its backlog may hold", self.name);
                Err(Refusal::new(Word::StorageFull, detail).retry_after(Duration::from_secs(1)))
            }
            AckLevel::Delivered => match self.health.trouble() {
                None => Ok(()),
                Some(trouble) => {
                    Err(Refusal::new(Word::BackendUnavailable, format!("backend {}: {}", self.name, trouble.why))
                        .retry_after(Duration::from_secs(1)))
                }
            },
        }
    }

    /// The strand of an event: what has the same one keeps its order.
    pub fn strand(&self, event: &Event) -> u64 {
        match &self.treatment.order {
            None => self.backend.strand(event),
            Some(name) => {
                let value = event.view().get(name);
                backends::fault::hash(value.map(|value| value.text).unwrap_or_default().as_bytes())
            }
        }
    }

    fn direct_room(&self, bytes: usize) -> Result<(), Refusal> {
        if self.direct.has_room(bytes) { Ok(()) } else { Err(window::full(&self.name)) }
    }

    /// Direct events that wait for their verdict.
    pub fn direct_waiting(&self) -> usize {
        self.direct.events()
    }

    fn send(&self, direct: Direct) {
        if let Err(direct) = self.direct.send(direct) {
            self.meter.dropped(Word::Overloaded);
            direct.slot.settle(Some(window::full(&self.name).into()));
        }
    }

    /// A direct event left the lane, whatever became of it.
    pub(crate) fn direct_left(&self, direct: &Direct) {
        self.direct.left(direct);
    }

    /// The receiving end of the direct window, for the one who runs the lane.
    pub(crate) fn take_direct(&self) -> Option<mpsc::Receiver<Direct>> {
        self.direct.take()
    }
}

/// The lanes of one generation, by their place in the journal. It never changes: a reload makes another one, which shares the
/// lanes that stay.
#[derive(Clone)]
pub struct Lanes {
    by_id: [Option<Arc<Lane>>; LANES_MAX],
    dead: Option<Arc<LaneMeter>>,
    /// Who knows what waits in each lane; `None` where nothing is kept (`explain`).
    journal: Option<Journal<AnyDisk>>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes { by_id: [const { None }; LANES_MAX], dead: None, journal: None }
    }
}

impl Lanes {
    /// The name of lane 0 in metrics.
    pub const DEAD_LETTERS: &'static str = "dead_letters";

    /// Puts a lane in its place, instead of the one that was there.
    pub fn put(&mut self, lane: Arc<Lane>) {
        if let Some(place) = self.by_id.get_mut(usize::from(lane.id)) {
            *place = Some(lane);
        }
    }

    /// Takes a lane away.
    pub fn remove(&mut self, id: u8) {
        if let Some(place) = self.by_id.get_mut(usize::from(id)) {
            *place = None;
        }
    }

    /// From now on [`Lanes::room`] asks this journal.
    pub fn set_journal(&mut self, journal: Journal<AnyDisk>) {
        self.journal = Some(journal);
    }

    /// The handles of lane 0.
    pub fn set_dead_meter(&mut self, meter: LaneMeter) {
        self.dead = Some(Arc::new(meter));
    }

    /// The handles of lane 0.
    pub fn dead_meter(&self) -> Option<&LaneMeter> {
        self.dead.as_deref()
    }

    /// The lane with this id.
    pub fn get(&self, id: u8) -> Option<&Arc<Lane>> {
        self.by_id.get(usize::from(id))?.as_ref()
    }

    /// All lanes with a backend.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.by_id.iter().flatten()
    }

    /// Brings the gauges of what waits up to date.
    pub fn refresh(&self, journal: &Journal<AnyDisk>) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        for lane in self.iter() {
            let stored = LaneId::new(lane.id).map_or(0, |id| {
                count_lost(journal, id, &lane.name, &lane.meter);
                journal.pending(id)
            });
            let direct = u64::try_from(lane.direct_waiting()).unwrap_or(u64::MAX);
            lane.meter.pending.set(number(stored.saturating_add(direct)));
        }
        if let Some(dead) = self.dead_meter() {
            count_lost(journal, LaneId::DEAD_LETTERS, Self::DEAD_LETTERS, dead);
            dead.pending.set(number(journal.pending(LaneId::DEAD_LETTERS)));
        }
    }

    /// The lane of the backend with this name.
    pub fn by_name(&self, name: &str) -> Option<&Arc<Lane>> {
        self.iter().find(|lane| lane.name.as_str() == name)
    }

    fn of(&self, lanes: u64) -> impl Iterator<Item = &Arc<Lane>> {
        bits(lanes).filter_map(|id| self.get(id))
    }

    /// Whether all these lanes have room for an event of this path and size: a few atomic loads a lane.
    ///
    /// # Errors
    /// A retryable refusal that names the lane.
    pub fn room(&self, lanes: u64, level: AckLevel, bytes: usize) -> Result<(), Refusal> {
        self.of(lanes).try_for_each(|lane| lane.room(level, bytes, self.journal.as_ref()))
    }

    /// Whether a dead letter of this size has room. The oldest of those whose senders got no receipt give way to others of
    /// their kind (`owed` is false); those whose senders got one never do.
    ///
    /// # Errors
    /// A retryable refusal.
    pub fn letter_room(&self, bytes: usize, owed: bool) -> Result<(), Refusal> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if !owed && !journal.room_unowed(bytes) {
            let evicted = journal.evict_unowed(bytes);
            if let Some(meter) = self.dead_meter() {
                (0..evicted.events).for_each(|_| meter.dropped(Word::StorageFull));
            }
        }
        let full = if owed { !journal.room(LaneId::DEAD_LETTERS, bytes) } else { !journal.room_unowed(bytes) };
        if full {
            let detail = "the dead letters have reached dead_letters.max_size: replay or discard some";
            return Err(Refusal::new(Word::StorageFull, detail).retry_after(Duration::from_secs(1)));
        }
        Ok(())
    }

    /// Whether the backends of all these lanes can take the event at all.
    ///
    /// # Errors
    /// What the event lacks, or that it is too large.
    pub fn accepts(&self, lanes: u64, event: &EventView<'_>) -> Result<(), AttributeFault> {
        self.of(lanes).try_for_each(|lane| lane.backend.accepts(event))
    }

    /// Whether the direct windows of all these lanes have room.
    ///
    /// # Errors
    /// `overloaded`.
    pub fn direct_room(&self, lanes: u64, bytes: usize) -> Result<(), Refusal> {
        self.of(lanes).try_for_each(|lane| lane.direct_room(bytes))
    }

    /// Hands a direct event to all its lanes.
    pub fn send_direct(&self, direct: &Direct) {
        for lane in self.of(direct.event.lanes) {
            lane.send(direct.clone());
        }
    }

    /// Those of `lanes` that have no room for a stored event of this size.
    pub fn full(&self, lanes: u64, bytes: usize) -> u64 {
        let full = |lane: &&Arc<Lane>| lane.room(AckLevel::Durable, bytes, self.journal.as_ref()).is_err();
        self.of(lanes).filter(full).fold(0, |full, lane| full | 1 << lane.id)
    }

    /// Counts an event into lanes that it goes on without: there it is dropped. How many they are.
    pub fn left_out(&self, lanes: u64) -> u64 {
        for lane in self.of(lanes) {
            lane.meter.entered.inc();
            lane.meter.dropped(Word::StorageFull);
        }
        u64::from(lanes.count_ones())
    }

    /// Counts an event into these lanes.
    pub fn entered(&self, lanes: u64) {
        for lane in self.of(lanes) {
            lane.meter.entered.inc();
        }
        if lanes & 1 == 1
            && let Some(meter) = self.dead_meter()
        {
            meter.entered.inc();
        }
    }
}

/// What a lane's reader found lost does not wait any more, and is counted once for the lane.
fn count_lost(journal: &Journal<AnyDisk>, id: LaneId, name: &str, meter: &LaneMeter) {
    let events = journal.take_lost(id);
    if events > 0 {
        meter.dropped_as("lost", events);
        tracing::error!(
            backend = name,
            events,
            "the disk damaged or never wrote them: what was acknowledged for this backend is gone (look at the disk)"
        );
    }
}

/// The numbers of the bits that are set.
pub fn bits(mut lanes: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        if lanes == 0 {
            return None;
        }
        let lowest = lanes.trailing_zeros();
        lanes &= lanes - 1;
        u8::try_from(lowest).ok()
    })
}
