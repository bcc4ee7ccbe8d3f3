//! The running gateway: built from a checked config, started in order, stopped in order.
//!
//! Start: the journal (recovered), backends, lanes, sockets bound, then listeners and the admin address serve. Stop: no new
//! connections, what is in flight is answered, lanes flush within `node.drain_timeout`, the journal closes.
mod build;
mod plan;
pub mod tend;

pub use build::{StartError, probe};
pub use plan::{Blueprint, Compiled, compile};

use crate::{admin, config::model::Config, state::Shared};
use journal::{AnyDisk, Journal, LaneSpec, Options, OsDisk};
use settings::Lookup;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};
use transports::net::Shutdown;

/// How long listeners may take to say good-bye, before lanes get the rest of the drain time.
const LISTENER_DRAIN: Duration = Duration::from_secs(10);

/// How long backends may take to let go, at least and at most, within what is left of the drain time.
const LANE_GOODBYE_MIN: Duration = Duration::from_millis(500);
const LANE_GOODBYE_MAX: Duration = Duration::from_secs(5);

/// One bound listener.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Its name in the config.
    pub name: String,
    /// `http` or `mqtt`.
    pub kind: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    /// Listeners with their addresses.
    pub listeners: Vec<Bound>,
    /// The admin address.
    pub admin: SocketAddr,
    edge: Runtime,
    lanes: Runtime,
    stop_listeners: watch::Sender<bool>,
    stop_lanes: watch::Sender<bool>,
    stop_rest: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    running: Vec<JoinHandle<()>>,
    drain: Duration,
}

/// How a stop went.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Events that wait in lanes for the next start.
    pub left: u64,
    /// How long it took.
    pub took: Duration,
    /// Whether the journal closed without an error.
    pub clean: bool,
}

impl Gateway {
    /// Starts everything that `config` says. What `check` passed starts, unless the system says no.
    ///
    /// # Errors
    /// What could not be opened, bound or built, and what to do about it.
    pub fn start(config: &Config, env: &Lookup<'_>) -> Result<Gateway, StartError> {
        let data_dir = PathBuf::from(&config.node.data_dir);
        let journal = open_journal(config, &data_dir)?;
        let edge = runtime("anygate-edge")?;
        let lanes = runtime("anygate-lane")?;
        let shared = build::shared(config, journal, &lanes)?;
        build::lanes(config, &shared, &data_dir, env, &lanes)?;
        let compiled = plan::compile(config, &shared, env)?;
        let bound = edge.block_on(build::bind(config))?;
        let admin_socket = edge.block_on(build::bind_admin(config))?;
        let (stop_listeners, listeners_signal) = Shutdown::channel();
        let (stop_lanes, lanes_signal) = Shutdown::channel();
        let (stop_rest, rest_signal) = Shutdown::channel();
        for dispatch in shared.journal.dispatchers() {
            edge.spawn(dispatch);
        }
        let mut running = build::run_lanes(&shared, &lanes, &lanes_signal);
        running.push(lanes.spawn(tend::tend(Arc::clone(&shared), config.dead_letters.keep.get(), rest_signal.clone())));
        let listeners = bound.iter().map(build::BoundListener::describe).collect();
        let admin = admin_socket.address();
        let api = admin::Api::new(config, Arc::clone(&shared), &compiled, env).map_err(StartError::Config)?;
        lanes.spawn(admin::serve(admin_socket, api, rest_signal));
        let serving = build::serve(bound, &compiled, &edge, &listeners_signal);
        let drain = config.node.drain_timeout.get();
        Ok(Gateway {
            shared,
            listeners,
            admin,
            edge,
            lanes,
            stop_listeners,
            stop_lanes,
            stop_rest,
            serving,
            running,
            drain,
        })
    }

    /// What all parts share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Runs a future on the edge runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.edge.block_on(future)
    }

    /// Waits until the journal's disk fails; for ever, if it does not.
    pub async fn failed(shared: Arc<Shared>) -> journal::Failure {
        std::future::poll_fn(|cx| shared.journal.poll_failed(cx)).await
    }

    /// Stops in order: no new connections, answers, lanes within the drain time, the journal.
    pub fn stop(mut self) -> Stopped {
        let begin = Instant::now();
        self.shared.stop();
        self.stop_listeners.send_replace(true);
        let serving = std::mem::take(&mut self.serving);
        let most = LISTENER_DRAIN.min(self.drain);
        self.edge.block_on(async {
            // A listener that does not end in time is cut off below, with its runtime.
            let _ended = tokio::time::timeout(most, futures_util::future::join_all(serving)).await;
        });
        while self.pending() > 0 && begin.elapsed() < self.drain && self.shared.journal.failure().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.stop_lanes.send_replace(true);
        self.stop_rest.send_replace(true);
        let running = std::mem::take(&mut self.running);
        self.lanes.block_on(async {
            let left = self.drain.saturating_sub(begin.elapsed()).clamp(LANE_GOODBYE_MIN, LANE_GOODBYE_MAX);
            let _ended = tokio::time::timeout(left, futures_util::future::join_all(running)).await;
        });
        self.lanes.block_on(self.shared.spans.shutdown());
        let left = self.pending();
        let clean = self.shared.journal.close().is_ok();
        self.edge.shutdown_timeout(Duration::from_millis(500));
        self.lanes.shutdown_timeout(Duration::from_millis(500));
        Stopped { left, took: begin.elapsed(), clean }
    }

    fn pending(&self) -> u64 {
        let stored = |lane: &Arc<crate::lanes::Lane>| {
            journal::LaneId::new(lane.id).map_or(0, |id| self.shared.journal.pending(id))
        };
        self.shared.lanes().iter().map(stored).sum()
    }
}

fn runtime(name: &'static str) -> Result<Runtime, StartError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| StartError::System(format!("threads cannot be started: {error}")))
}

fn open_journal(config: &Config, data_dir: &std::path::Path) -> Result<Journal<AnyDisk>, StartError> {
    std::fs::create_dir_all(data_dir)
        .map_err(|error| StartError::System(format!("the folder {} cannot be made: {error}", data_dir.display())))?;
    let spec = |(name, backend): &(String, crate::config::Backend)| LaneSpec {
        name: name.clone(),
        kind: backend.kind().to_owned(),
        config_hash: 0,
        renamed_from: None,
    };
    let mut options = Options::new(data_dir);
    options.lanes = config.backends.iter().map(spec).collect();
    options.segment_size = config.journal.segment_size.bytes();
    // A group never crosses a segment.
    options.group_bytes = options.group_bytes.min(usize::try_from(options.segment_size / 2).unwrap_or(usize::MAX));
    options.segments = usize::try_from(config.journal.segments).unwrap_or(usize::MAX);
    options.hook = Some(Arc::new(|notice: &journal::Notice| tend::log_notice(notice)));
    Journal::open(AnyDisk::from(OsDisk), options).map_err(StartError::Journal)
}
