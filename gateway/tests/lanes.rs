//! Lanes over several lives of a process that never ends cleanly: what was acknowledged stays, what ends the process is found.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use backends::{Backend, Events, Order, Outcome, Position};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use gateway::{
    lanes::{Lane, Treatment, run::Runner},
    state::Shared,
    telemetry::{Metrics, Ring, spans::Spans},
};
use journal::{AnyDisk, Encoded, Journal, LaneId, LaneSpec, Options, OsDisk};
use schemas::{AckLevel, Attributes, ByteStr, Door, Event, Headers, Kind, TraceContext, record};
use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};
use transports::{Budget, net::Shutdown};

/// Confirms everything but `poison`, at which it hangs, as a process does that is about to end.
struct Hangs {
    seen: Arc<Mutex<Vec<String>>>,
    calls: Arc<Mutex<Vec<usize>>>,
}

impl Backend for Hangs {
    fn kind(&self) -> &'static str {
        "hangs"
    }

    fn order(&self) -> Order {
        Order::Pipelined
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        self.calls.lock().unwrap().push(events.len());
        let ids: Vec<String> = events.iter().map(|event| event.envelope.id().to_owned()).collect();
        let hang = ids.iter().any(|id| id == "poison");
        self.seen.lock().unwrap().extend(ids);
        Box::pin(async move {
            if hang {
                std::future::pending::<()>().await;
            }
            events.iter().map(|_| Outcome::Done(Position::default())).collect()
        })
    }
}

fn event(id: &str) -> Event {
    let mut attributes = Attributes::default();
    for (name, value) in [("id", id), ("source", "/s"), ("type", "t")] {
        attributes.set(name, value, Kind::String).unwrap();
    }
    Event {
        lsn: 0,
        lanes: 2,
        envelope: attributes.freeze(Bytes::new()).unwrap(),
        door: Door::default(),
        headers: Headers::new(),
        received: SystemTime::now(),
        trace: TraceContext::from_random([1; 24], 0),
        route: ByteStr::EMPTY,
        level: AckLevel::Durable,
        key: id.into(),
        death: None,
    }
}

fn body(id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    record::encode_head(&mut body, &event(id));
    body
}

/// What one life of the process saw.
#[derive(Debug)]
struct Life {
    seen: Vec<String>,
    calls: Vec<usize>,
    letters: u64,
    pending: u64,
    trouble: Option<String>,
}

/// Runs the lane until `until` holds, then ends without a stop.
fn live(dir: &Path, append: &[&[u8]], until: impl Fn(&Shared, &[String]) -> bool) -> Life {
    let mut options = Options::new(dir);
    options.lanes = vec![LaneSpec { name: "far".into(), kind: "hangs".into(), ..LaneSpec::default() }];
    options.segment_size = 1 << 20;
    options.group_bytes = 1 << 19;
    options.cursor_every = Duration::from_millis(20);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let journal = Journal::open(AnyDisk::Os(OsDisk), options).unwrap();
    let config = gateway::config::check_default(&|_| None).config.unwrap();
    let metrics = Arc::new(Metrics::new());
    let meter = metrics.lane("far");
    let spans = Spans::start(&config, runtime.handle()).unwrap();
    let shared = Arc::new(Shared::new(journal, Budget::new(1 << 20), metrics, Arc::new(Ring::default()), spans));
    for body in append {
        shared.journal.append(&[Encoded::new(body, 2)]).unwrap();
    }
    shared.journal.sync().unwrap();
    let (seen, calls) = (Arc::default(), Arc::default());
    let backend = Arc::new(Hangs { seen: Arc::clone(&seen), calls: Arc::clone(&calls) });
    let backoff = (Duration::from_millis(10), Duration::from_millis(10));
    // What a backend refuses is dropped; what ends the process is a dead letter all the same.
    let treatment = Treatment { attempts: None, backoff, order: None, dead_letter: false, required: true };
    let id = shared.journal.lane_id("far").unwrap();
    let lane = Arc::new(Lane::new(id.get(), "far", backend, treatment, meter));
    shared.change_lanes(|lanes| lanes.put(Arc::clone(&lane)));
    let (_stop, signal) = Shutdown::channel();
    for dispatch in shared.journal.dispatchers() {
        runtime.spawn(dispatch);
    }
    runtime.spawn(Runner::new(Arc::clone(&lane), Arc::clone(&shared)).unwrap().run(signal));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !until(&shared, &seen.lock().unwrap()) {
        assert!(Instant::now() < deadline, "saw {:?}", seen.lock().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    shared.journal.save_cursors().unwrap();
    let life = Life {
        seen: seen.lock().unwrap().clone(),
        calls: calls.lock().unwrap().clone(),
        letters: shared.journal.pending(LaneId::DEAD_LETTERS),
        pending: shared.journal.pending(id),
        trouble: lane.health.told().map(|trouble| trouble.why),
    };
    runtime.shutdown_timeout(Duration::from_secs(1));
    life
}

#[test]
fn after_three_unclean_exits_it_is_a_dead_letter_and_its_neighbours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let met = |_: &Shared, seen: &[String]| seen.iter().any(|id| id == "poison");
    let bodies = ["a", "b", "c", "poison", "d"].map(body);
    let first = live(dir.path(), &bodies.each_ref().map(Vec::as_slice), met);
    assert_eq!(first.calls, [5], "nobody is suspected: {first:?}");
    let second = live(dir.path(), &[], met);
    assert_eq!(second.calls, [5], "in flight once is no suspicion: {second:?}");
    let third = live(dir.path(), &[], met);
    assert_eq!(third.calls, [1; 4], "each alone, so that the next exit tells them apart: {third:?}");
    assert_eq!(third.pending, 2, "the neighbours before it are delivered: {third:?}");
    let last = live(dir.path(), &[], |shared, seen| {
        seen.iter().any(|id| id == "d") && shared.journal.pending(LaneId::DEAD_LETTERS) == 1
    });
    assert!(!last.seen.iter().any(|id| id == "poison"), "it is not tried again: {last:?}");
    assert_eq!(last.letters, 1, "{last:?}");
}

#[test]
fn a_record_that_needs_a_newer_reader_stays_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut newer = body("newer");
    newer[1] = record::VERSION + 1;
    let both = |_: &Shared, seen: &[String]| seen.len() == 2;
    let first = live(dir.path(), &[&body("a"), &newer, &body("b")], both);
    assert_eq!(first.seen, ["a", "b"], "its neighbours go on");
    assert_eq!((first.letters, first.pending), (0, 1), "{first:?}");
    assert!(
        first.trouble.as_deref().is_some_and(|why| why.contains("newer Anygate")),
        "and `status` says so: {first:?}"
    );
    for _ in 0..3 {
        let again = live(dir.path(), &[], |shared, _| shared.lanes().iter().all(|lane| lane.health.told().is_some()));
        assert_eq!(
            (again.seen.len(), again.letters, again.pending),
            (0, 0, 1),
            "for a program that can read it: {again:?}"
        );
    }
}
