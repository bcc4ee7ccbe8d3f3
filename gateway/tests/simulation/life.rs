//! One life of the process: a journal on the disk that the last one left, lanes, the stack, streams; and its end.
//!
//! It is put together as `runtime::Gateway::start` does, without sockets and threads: the journal's steps are driven from here, at
//! times that the seed decides. A life has a runtime of its own; dropping that is the kill.
use crate::{
    far::Far,
    laws,
    plan::{CONFIG, End, LANES, LanePlan, LifePlan, rewritten},
    sender,
    world::World,
};
use gateway::{
    config::{self, Config},
    gate::{Entrances, ListenerGate},
    lanes::{Lane, Lanes, Treatment},
    random,
    runtime::{self, Live, deliveries::Deliveries},
    state::Shared,
    telemetry::{Metrics, Ring, spans::Spans},
};
use journal::{
    AnyDisk, FaultyDisk, Journal, LaneId, LaneSpec, Notice, Options,
    disk::{Disk, Loss},
};
use std::{
    future::poll_fn,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};
use transports::{Budget, Gate, net::Shutdown};

/// Everything must have come to rest so long after the last trouble, in ms of the stopped clock.
const REST_MAX: u64 = 600_000;
/// Every stream has its answers so long after the process was told to stop.
const GOODBYE_MAX: Duration = Duration::from_secs(60);

/// Bytes by which a lane may be above its quota: one message of each of four streams.
const QUOTA_SLACK: u64 = 4 * 4 * 2048;

/// How a life ended.
enum Ended {
    Clean,
    /// The machine or the process went away, and what the disk loses.
    Gone(Loss),
}

/// The config of the odd generations and of the even ones.
fn config(generation: u64) -> &'static Config {
    static CONFIGS: OnceLock<[Config; 2]> = OnceLock::new();
    let configs = CONFIGS.get_or_init(|| {
        [CONFIG.to_owned(), rewritten()].map(|text| {
            let checked = config::check_text("simulation.yaml", &text, Path::new("."), &|_| None);
            assert!(!checked.has_errors(), "{}", checked.render(false));
            checked.config.unwrap()
        })
    });
    &configs[usize::from(generation.is_multiple_of(2))]
}

/// Where a life's journal is.
pub fn options(world: &Arc<World>) -> Options {
    let state = world.lock();
    let plan = &state.plan;
    let spec = |(name, lane): (&&str, &LanePlan)| LaneSpec {
        name: (*name).to_owned(),
        kind: "null".into(),
        quota: lane.quota,
        ..LaneSpec::default()
    };
    let last = state.life + 1 >= plan.lives.len();
    let world = Arc::clone(world);
    Options {
        lanes: LANES.iter().zip(&plan.lanes).map(spec).collect(),
        segment_size: plan.segment_size,
        // In the end somebody gives it room, or dead letters could fill it for ever.
        segments: if last { 64 } else { plan.segments },
        keep: plan.keep,
        group_bytes: plan.group_bytes,
        hook: Some(Arc::new(move |notice: &Notice| world.note(&notice.to_string()))),
        threads: false,
        key_of: Some(Arc::new(runtime::key_of)),
        ids_window: Duration::from_secs(3600),
        ..Options::new("/data")
    }
}

/// Lives one life on `disk`; gives the disk as the next one finds it.
pub fn live(world: &Arc<World>, disk: &FaultyDisk) -> FaultyDisk {
    let plan = {
        let state = world.lock();
        random::seed(state.life as u64 ^ world.seed);
        state.plan.lives[state.life].clone()
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let ended = runtime.block_on(process(world, disk, &plan));
    let (loss, clean) = match ended {
        Ended::Clean => (Loss::PowerCut, true),
        Ended::Gone(loss) => (loss, false),
    };
    backlogs(world, disk, &runtime);
    // What the medium has, before anything that is dropped could add to it.
    let seed = world.lock().dice.number();
    let next = disk.crash(loss, seed);
    drop(runtime);
    world.lock().end(clean);
    next
}

/// Notes which lanes stay behind the ring, by the stopped clock.
fn backlogs(world: &Arc<World>, disk: &FaultyDisk, runtime: &Runtime) {
    let _clock = runtime.enter();
    for (index, name) in LANES.iter().enumerate() {
        let backlog = disk.list(&Path::new("/data/lanes").join((index + 1).to_string()).join("backlog"));
        if backlog.is_ok_and(|files| !files.is_empty()) {
            world.note(&format!("{name} has a backlog"));
        }
    }
}

async fn process(world: &Arc<World>, disk: &FaultyDisk, plan: &LifePlan) -> Ended {
    world.lock().begin();
    let loss = match plan.end {
        End::Crash(loss) => loss,
        End::Disk(at, fault, loss) => {
            disk.fail_at(at, fault);
            loss
        }
        End::Stop(_) | End::Rest => Loss::PowerCut,
    };
    let journal = match Journal::open(AnyDisk::from(disk.clone()), options(world)) {
        Ok(journal) => journal,
        Err(error) => {
            let mut state = world.lock();
            let line = format!("cannot start: {error}");
            match plan.end {
                End::Disk(..) => state.note(&line),
                End::Crash(_) | End::Stop(_) | End::Rest => state.broke(&line),
            }
            return Ended::Gone(loss);
        }
    };
    laws::recovered(world, &journal);
    let mut parts = Parts::start(world, journal);
    let watched = Arc::clone(&parts.shared);
    tokio::select! {
        biased;
        failure = poll_fn(|cx| watched.journal.poll_failed(cx)) => {
            world.note(&format!("the disk failed: {failure}"));
            // Those who wait are told; then the process is gone.
            sleep(Duration::from_millis(5)).await;
            Ended::Gone(loss)
        }
        ended = parts.until_the_end(plan) => ended,
    }
}

/// What the running process is made of.
struct Parts<'w> {
    world: &'w Arc<World>,
    shared: Arc<Shared>,
    stop_lanes: watch::Sender<bool>,
    /// Ends with the last lane.
    lanes: JoinHandle<()>,
    reloads: JoinHandle<()>,
    disk_work: [JoinHandle<()>; 2],
    stop_streams: watch::Sender<bool>,
    streams: Vec<JoinHandle<()>>,
}

impl<'w> Parts<'w> {
    fn start(world: &'w Arc<World>, journal: Journal<AnyDisk>) -> Self {
        let shared = shared(world, journal);
        let entrances = Arc::new(Entrances::default());
        let compiled = runtime::compile(config(1), &shared, &shared.lanes(), &entrances, None, &|_| None).unwrap();
        runtime::restore_ids(&shared);
        let live = Live::begin(config(1), compiled, Arc::clone(&entrances), &shared);
        for dispatch in shared.journal.dispatchers() {
            tokio::spawn(dispatch);
        }
        let (stop_lanes, signal) = Shutdown::channel();
        let deliveries = Deliveries::new(Arc::clone(&shared), Handle::current(), signal.clone());
        shared.lanes().iter().for_each(|lane| deliveries.run(Arc::clone(lane)));
        let lanes = tokio::spawn(Arc::clone(&deliveries).until(signal.clone()));
        tokio::spawn(runtime::tend::tend(Arc::clone(&shared), Arc::clone(&live), signal));
        let reloads = tokio::spawn(reload(Arc::clone(world), Arc::clone(&shared), live, deliveries));
        let disk_work = [
            tokio::spawn(commit(Arc::clone(world), Arc::clone(&shared))),
            tokio::spawn(help(Arc::clone(world), Arc::clone(&shared))),
        ];
        let (stop_streams, streams_signal) = watch::channel(false);
        let listeners: Vec<&str> = world.lock().plan.streams.iter().map(|stream| stream.listener).collect();
        let run = |(number, listener): (usize, &str)| {
            let protocol = if listener == "web" { "http" } else { "mqtt" };
            let gate: Arc<dyn Gate> =
                ListenerGate::new(Arc::clone(&shared), Arc::clone(&entrances), listener, protocol);
            tokio::spawn(sender::run(Arc::clone(world), number, gate, streams_signal.clone()))
        };
        let streams = listeners.into_iter().enumerate().map(run).collect();
        Parts { world, shared, stop_lanes, lanes, reloads, disk_work, stop_streams, streams }
    }

    async fn until_the_end(&mut self, plan: &LifePlan) -> Ended {
        match plan.end {
            End::Crash(loss) => {
                sleep(Duration::from_millis(plan.length)).await;
                Ended::Gone(loss)
            }
            // A fault that never came is no fault.
            End::Disk(..) => {
                sleep(Duration::from_millis(plan.length)).await;
                Ended::Gone(Loss::Kill)
            }
            End::Stop(drain) => {
                sleep(Duration::from_millis(plan.length)).await;
                self.stop(Duration::from_millis(drain)).await
            }
            End::Rest => {
                self.rest().await;
                self.stop(Duration::ZERO).await
            }
        }
    }

    /// Until every stream has sent everything and has its answers, and every lane is empty.
    async fn rest(&mut self) {
        let lost: Vec<bool> = self.world.lock().plan.lanes.iter().map(|lane| lane.lost).collect();
        let at_rest = || {
            let empty = |lane: &Arc<Lane>| lost[usize::from(lane.id) - 1] || pending(&self.shared, lane.id) == 0;
            self.streams.iter().all(JoinHandle::is_finished) && self.shared.lanes().iter().all(empty)
        };
        while !at_rest() {
            sleep(Duration::from_millis(100)).await;
            if self.world.lock().now() > REST_MAX {
                let waits: Vec<u64> = self.shared.lanes().iter().map(|lane| pending(&self.shared, lane.id)).collect();
                let open = self.streams.iter().filter(|stream| !stream.is_finished()).count();
                self.world.lock().broke(&format!("it does not come to rest: lanes {waits:?} wait, {open} streams"));
                return;
            }
        }
    }

    /// As `runtime::Gateway::stop`: no new messages, answers, lanes within their time, the journal.
    async fn stop(&mut self, drain: Duration) -> Ended {
        self.world.note("told to stop");
        self.shared.stop();
        self.stop_streams.send_replace(true);
        for stream in self.streams.drain(..) {
            if tokio::time::timeout(GOODBYE_MAX, stream).await.is_err() {
                self.world.lock().broke("a stream has no answers long after the stop");
            }
        }
        let until = tokio::time::Instant::now() + drain;
        while self.shared.lanes().iter().any(|lane| pending(&self.shared, lane.id) > 0) {
            if tokio::time::Instant::now() >= until {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.reloads.abort();
        self.stop_lanes.send_replace(true);
        if tokio::time::timeout(GOODBYE_MAX, &mut self.lanes).await.is_err() {
            self.world.lock().broke("a lane does not end");
        }
        self.disk_work.iter().for_each(JoinHandle::abort);
        if self.shared.journal.close().is_err() {
            self.world.lock().broke("the journal did not close cleanly");
        }
        laws::at_rest(self.world, &self.shared);
        Ended::Clean
    }
}

fn pending(shared: &Shared, lane: u8) -> u64 {
    LaneId::new(lane).map_or(0, |lane| shared.journal.pending(lane))
}

fn shared(world: &Arc<World>, journal: Journal<AnyDisk>) -> Arc<Shared> {
    let budget = Budget::new(1 << 20);
    let (metrics, ring) = (Arc::new(Metrics::new()), Arc::new(Ring::default()));
    let shared = Arc::new(Shared::new(journal, budget, metrics, ring, Spans::default()));
    let recovered = &shared.journal.recovered().per_lane;
    let (letters, others) = world.lock().letters();
    shared.journal.set_letter_quotas(letters, others);
    for (index, name) in LANES.iter().enumerate() {
        let lane = lane(world, &shared, index);
        assert_eq!(shared.journal.lane_id(name).map(LaneId::get), Some(lane.id), "lanes keep their ids");
        lane.meter.recovered.inc_by(recovered[index + 1]);
        shared.change_lanes(|lanes| lanes.put(lane));
    }
    let dead = shared.metrics.lane(Lanes::DEAD_LETTERS);
    dead.recovered.inc_by(recovered[0]);
    shared.change_lanes(|lanes| lanes.set_dead_meter(dead));
    shared
}

/// A lane with an instance of its backend.
fn lane(world: &Arc<World>, shared: &Shared, index: usize) -> Arc<Lane> {
    let plan = world.lock().plan.lanes[index].clone();
    let treatment = Treatment {
        attempts: plan.attempts,
        backoff: (Duration::from_millis(20), Duration::from_millis(400)),
        order: None,
        dead_letter: plan.dead_letter,
        required: true,
    };
    let (name, far) = (LANES[index], Arc::new(Far::new(world, index)));
    let id = u8::try_from(index + 1).unwrap();
    Arc::new(Lane::new(id, name, far, treatment, shared.metrics.lane(name)))
}

/// The reloads of a life, as `runtime::reload` applies them: other routes, and other instances of some backends.
async fn reload(world: Arc<World>, shared: Arc<Shared>, live: Arc<Live>, deliveries: Arc<Deliveries>) {
    let plan = world.lock().life_plan().reloads.clone();
    for (pause, changed) in plan {
        sleep(Duration::from_millis(pause)).await;
        let mut lanes = Lanes::clone(&shared.lanes());
        let begin: Vec<Arc<Lane>> = (0..LANES.len())
            .filter(|index| changed & (1 << index) != 0)
            .map(|index| lane(&world, &shared, index))
            .collect();
        begin.iter().for_each(|lane| lanes.put(Arc::clone(lane)));
        let (table, before) = (Arc::new(lanes), live.now());
        let config = config(before.number + 1);
        let compiled =
            runtime::compile(config, &shared, &table, &live.entrances, Some(before.before()), &|_| None).unwrap();
        shared.change_lanes(|now| *now = Lanes::clone(&table));
        live.swap(config.clone(), compiled, &shared);
        world.note(&format!("reload: generation {}, {} lanes changed", before.number + 1, begin.len()));
        begin.into_iter().for_each(|lane| deliveries.run(lane));
    }
}

/// Says which lanes are full, and that none has more than its quota: what was asked for and is not appended yet comes on top.
fn watch_quotas(world: &World, shared: &Shared) {
    let mut state = world.lock();
    for (index, name) in LANES.into_iter().enumerate() {
        let quota = state.plan.lanes[index].quota;
        let Some(id) = shared.journal.lane_id(name).filter(|_| quota > 0) else { continue };
        let bytes = shared.journal.pending_bytes(id);
        if !shared.journal.room(id, 1) {
            state.note(&format!("{name} has no room: {bytes} bytes wait"));
        }
        if bytes > quota + QUOTA_SLACK {
            state.broke(&format!("lane {name} may have {quota} bytes and has {bytes}"));
        }
    }
}

/// The journal's committer, at times that the seed decides. Ends when the disk fails.
async fn commit(world: Arc<World>, shared: Arc<Shared>) {
    loop {
        // A bell tells of what streams append; what lanes append (dead letters) is found soon enough.
        let _either = tokio::time::timeout(Duration::from_millis(20), world.bell.notified()).await;
        let pause = {
            let mut state = world.lock();
            let most = state.plan.commit;
            state.dice.within(0, most)
        };
        if pause > 0 {
            sleep(Duration::from_millis(pause)).await;
        }
        loop {
            match shared.journal.commit_step() {
                Ok(true) => {
                    world.note(&format!("durable up to {}", shared.journal.durable()));
                    watch_quotas(&world, &shared);
                }
                Ok(false) => break,
                Err(_) => return,
            }
            // As the committer rings for the helper: the next segment.
            if shared.journal.tend_step(false).is_err() {
                return;
            }
        }
        // Let others in even if nothing waits.
        tokio::task::yield_now().await;
    }
}

/// The journal's helper, likewise: it knows nothing of what is not committed yet.
async fn help(world: Arc<World>, shared: Arc<Shared>) {
    while shared.journal.tend_step(true).is_ok() {
        let pause = {
            let mut state = world.lock();
            let most = state.plan.cursors;
            state.dice.within(1, most)
        };
        sleep(Duration::from_millis(pause)).await;
    }
}
