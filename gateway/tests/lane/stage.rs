//! A lane, its backend, and events for it.
use backends::{Backend, Events, Order, Outcome, Position, Why};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{
    lanes::{Direct, Lane, Treatment, run::Runner},
    state::Shared,
    telemetry::{Metrics, Ring, spans::Spans},
    vital::guard,
};
use journal::{AnyDisk, Encoded, Journal, LaneSpec, MemoryDisk, Options};
use schemas::{AckLevel, Attributes, Door, Event, Headers, Items, Kind, Receipt, TraceContext, Verdict, Word, record};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::{oneshot, watch};
use transports::{Budget, DurableWait, Lost, Room, Slot, Ticket, net::Shutdown};

/// A call of the backend, to be answered by the test.
pub type Call = (Events, oneshot::Sender<Vec<Outcome>>);

/// A backend that does what the test says.
#[derive(Default)]
pub struct Scripted {
    /// What probes say; the last one stays.
    pub probes: Mutex<VecDeque<Result<(), Why>>>,
    /// Calls that wait for the test.
    pub calls: Mutex<VecDeque<Call>>,
    /// What it has noticed by itself.
    pub unreachable: Mutex<Option<Why>>,
    /// Every call panics.
    pub panics: bool,
    /// Most attempts of an event in the lane.
    pub attempts: Option<u32>,
    /// How often the lane's loop came by: it asks for the order then.
    pub turns: AtomicUsize,
}

impl Backend for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn order(&self) -> Order {
        self.turns.fetch_add(1, Ordering::Relaxed);
        Order::Pipelined
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        assert!(!self.panics, "a fault of this backend");
        let (answer, answered) = oneshot::channel();
        self.calls.lock().unwrap().push_back((events, answer));
        Box::pin(async move { answered.await.unwrap_or_default() })
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Why>> {
        let mut probes = self.probes.lock().unwrap();
        let answer = if probes.len() > 1 { probes.pop_front() } else { probes.front().cloned() };
        Box::pin(async move { answer.unwrap_or(Ok(())) })
    }

    fn unreachable(&self) -> Option<Why> {
        self.unreachable.lock().unwrap().clone()
    }
}

impl Scripted {
    /// The next call, waited for.
    pub async fn call(&self) -> Call {
        for _ in 0..2000 {
            if let Some(call) = self.calls.lock().unwrap().pop_front() {
                return call;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the backend was not called")
    }
}

pub fn away() -> Why {
    Why::new(Word::BackendUnavailable, "nobody is there")
}

pub fn done(events: &Events) -> Vec<Outcome> {
    vec![Outcome::Done(Position::default()); events.len()]
}

/// What may wait in the lane, in bytes.
pub const QUOTA: u64 = 64 << 20;

/// A running lane.
pub struct Stage {
    pub shared: Arc<Shared>,
    pub backend: Arc<Scripted>,
    pub stop: watch::Sender<bool>,
    pub running: tokio::task::JoinHandle<()>,
}

impl Stage {
    pub fn start(backend: Scripted) -> Stage {
        Self::start_on(journal(&MemoryDisk::new()), backend)
    }

    pub fn start_on(journal: Journal<AnyDisk>, backend: Scripted) -> Stage {
        let metrics = Arc::new(Metrics::new());
        let id = journal.lane_id("bus").unwrap().get();
        let shared = Shared::new(
            journal,
            Budget::new(1 << 26),
            Arc::clone(&metrics),
            Arc::new(Ring::default()),
            Spans::default(),
        );
        let shared = Arc::new(shared);
        let treatment = treatment(backend.attempts);
        let backend = Arc::new(backend);
        let lane = Lane::new(id, "bus", Arc::clone(&backend) as Arc<dyn Backend>, treatment, metrics.lane("bus"));
        shared.change_lanes(|lanes| lanes.put(Arc::new(lane)));
        let (stop, signal) = Shutdown::channel();
        let lane = Arc::clone(shared.lanes().by_name("bus").unwrap());
        let work = Runner::new(lane, Arc::clone(&shared)).unwrap().run(signal);
        let running = tokio::spawn(guard(Arc::clone(&shared), "lane bus".to_owned(), work));
        Stage { shared, backend, stop, running }
    }

    pub fn lane(&self) -> Arc<Lane> {
        Arc::clone(self.shared.lanes().by_name("bus").unwrap())
    }

    /// Puts another instance of the lane in its place, which nobody runs yet.
    pub fn replace(&self) -> Arc<Lane> {
        let (backend, meter) = (Arc::clone(&self.backend) as Arc<dyn Backend>, Metrics::new().lane("bus"));
        let lane = Arc::new(Lane::new(self.lane().id, "bus", backend, treatment(self.backend.attempts), meter));
        self.shared.change_lanes(|lanes| lanes.put(Arc::clone(&lane)));
        lane
    }

    /// Waits until the first probe has said what it says.
    pub async fn probed(&self) {
        // A lane delivers nothing before; a delivery that is answered shows that it is ready.
        let ready = self.send("first", Duration::from_secs(30), 1);
        let (events, answer) = self.backend.call().await;
        answer.send(done(&events)).unwrap();
        assert!(matches!(ready.verdict().await, Verdict::Receipt(_)));
    }

    /// Sends one direct event of `bytes` bytes, as admission does.
    pub fn send(&self, id: &str, patience: Duration, bytes: usize) -> Sent {
        let slot = Slot::new(1, false);
        let event = Arc::new(event(id, AckLevel::Delivered, bytes));
        let deadline = Instant::now() + patience;
        let lanes = event.lanes;
        let direct = Direct { event, slot: Arc::clone(&slot), deadline, again_at: None };
        if let Err(refusal) = self.shared.lanes().direct_room(lanes, bytes) {
            return Sent(Ticket::now(refusal.into()));
        }
        self.shared.lanes().send_direct(&direct);
        let receipt = Receipt { level: AckLevel::Delivered, trace_id: "".into(), items: Items::All, reply: None };
        Sent(Ticket::slot(slot, 0, receipt, Room::default()))
    }

    /// Appends one stored event.
    pub fn store(&self, id: &str) {
        store(&self.shared.journal, id);
    }
}

/// Appends one stored event.
pub fn store(journal: &Journal<AnyDisk>, id: &str) {
    let event = event(id, AckLevel::Durable, 1);
    let mut head = Vec::new();
    record::encode_head(&mut head, &event);
    let entry = Encoded::gathered(&head, event.envelope.data(), event.lanes);
    journal.append(&[entry]).unwrap();
}

/// A journal with one lane.
pub fn journal(disk: &MemoryDisk) -> Journal<AnyDisk> {
    let mut options = Options::new("/scripted");
    options.segment_size = 4 << 20;
    options.group_bytes = 1 << 20;
    let spec = LaneSpec { name: "bus".into(), kind: "scripted".into(), quota: QUOTA, ..LaneSpec::default() };
    options.lanes = vec![spec];
    Journal::open(AnyDisk::from(disk.clone()), options).unwrap()
}

fn treatment(attempts: Option<u32>) -> Treatment {
    Treatment {
        attempts,
        backoff: (Duration::from_millis(10), Duration::from_millis(20)),
        order: None,
        dead_letter: true,
        required: true,
    }
}

/// A sender that waits.
pub struct Sent(Ticket);

impl Sent {
    pub async fn verdict(self) -> Verdict {
        tokio::time::timeout(Duration::from_secs(40), self.0.verdict(&mut Never)).await.unwrap()
    }
}

/// Direct tickets wait for no LSN.
struct Never;

impl DurableWait for Never {
    fn poll_durable(&mut self, _: &mut Context<'_>, _: u64) -> Poll<Result<(), Lost>> {
        Poll::Ready(Ok(()))
    }
}

pub fn event(id: &str, level: AckLevel, bytes: usize) -> Event {
    let mut all = Attributes::default();
    for (name, value) in [("id", id), ("source", "/test"), ("type", "t")] {
        all.set(name, value, Kind::String).unwrap();
    }
    let envelope = all.freeze(Bytes::from(vec![b'x'; bytes])).unwrap();
    Event {
        lsn: 0,
        lanes: 2,
        key: schemas::order_key(&envelope),
        envelope,
        door: Door::default(),
        headers: Headers::new(),
        received: SystemTime::now(),
        trace: TraceContext::from_random([7; 24], 1),
        route: "all".into(),
        level,
        death: None,
    }
}
