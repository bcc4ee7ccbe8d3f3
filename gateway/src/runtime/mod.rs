//! The running gateway: built from a checked config, started in order, stopped in order.
//!
//! Start: the journal (recovered), backends, lanes, sockets bound, then listeners and the admin address serve. Its end is in
//! `stop`.
mod build;
pub mod deliveries;
mod listeners;
pub mod live;
mod plan;
pub mod quotas;
pub mod reload;
mod stop;
pub mod tend;

pub use build::{StartError, probe};
pub use live::{Generation, Live};
pub use plan::{Before, Blueprint, Compiled, Surroundings, compile};
pub use stop::{Fatal, Stopped};

use crate::{
    admin,
    config::{model::Config, reload::Origin},
    gate::{Entrances, ListenerGate},
    state::Shared,
    vital::{guard, pulse},
};
use deliveries::Deliveries;
use journal::{AnyDisk, Journal, MemoryDisk, Options, OsDisk};
use listeners::Listeners;
use quotas::Quotas;
use reload::{Environment, Parts, Reloader};
use settings::Lookup;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};
use transports::net::Shutdown;

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
    live: Arc<Live>,
    /// Listeners with their addresses, as they were at start.
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
    /// A part is lost: the stop is a short one.
    hurried: bool,
}

impl Gateway {
    /// Starts everything that `config` says. What `check` passed starts, unless the system says no.
    ///
    /// # Errors
    /// What could not be opened, bound or built, and what to do about it.
    pub fn start(config: &Config, env: &Lookup<'_>) -> Result<Gateway, StartError> {
        Self::begin(config, env, None)
    }

    /// As [`Gateway::start`], for a config that can be read again from where it came: on SIGHUP, and when the admin API is asked.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn start_from(origin: Origin, config: &Config, env: Environment) -> Result<Gateway, StartError> {
        Self::begin(config, &env, Some((origin, env)))
    }

    fn begin(config: &Config, env: &Lookup<'_>, again: Option<(Origin, Environment)>) -> Result<Gateway, StartError> {
        let data_dir = PathBuf::from(&config.node.data_dir);
        let journal = open_journal(config, &data_dir)?;
        let edge = runtime("anygate-edge")?;
        let lanes = runtime("anygate-lane")?;
        let shared = build::shared(config, journal, &lanes)?;
        shared.set_volatile(config.journal.memory.is_some());
        build::lanes(config, &shared, env, &lanes)?;
        let entrances = Arc::new(Entrances::default());
        let compiled = plan::compile(config, &shared, &shared.lanes(), &entrances, None, env)?;
        restore_ids(&shared);
        let listeners = Listeners::new(Arc::clone(&shared), Arc::clone(&entrances), edge.handle().clone());
        let prepared = edge.block_on(listeners.prepare(config)).map_err(|(_, error)| error)?;
        let admin_socket = edge.block_on(build::bind_admin(config))?;
        let (stop_listeners, listeners_signal) = Shutdown::channel();
        let (stop_lanes, lanes_signal) = Shutdown::channel();
        let (stop_rest, rest_signal) = Shutdown::channel();
        for dispatch in shared.journal.dispatchers() {
            edge.spawn(guard(Arc::clone(&shared), "the waking of senders".to_owned(), dispatch));
        }
        let live = Live::begin(config, compiled, entrances, &shared);
        let deliveries = Deliveries::new(Arc::clone(&shared), lanes.handle().clone(), lanes_signal.clone());
        shared.lanes().iter().for_each(|lane| deliveries.run(Arc::clone(lane)));
        let mut running = vec![lanes.spawn(Arc::clone(&deliveries).until(lanes_signal))];
        edge.spawn(pulse(Arc::clone(&shared), rest_signal.clone()));
        let tend = tend::tend(Arc::clone(&shared), Arc::clone(&live), rest_signal.clone());
        running.push(lanes.spawn(guard(Arc::clone(&shared), "housekeeping".to_owned(), tend)));
        let parts = Parts {
            shared: Arc::clone(&shared),
            live: Arc::clone(&live),
            listeners: Arc::clone(&listeners),
            deliveries,
            edge: edge.handle().clone(),
        };
        let (reloader, reload) = again.map(|(origin, env)| Reloader::new(parts, origin, env)).unzip();
        let admin = admin_socket.address();
        let api =
            admin::Api::new(config, Arc::clone(&shared), Arc::clone(&live), reload, env).map_err(StartError::Config)?;
        let serve_admin = admin::serve(admin_socket, api, rest_signal.clone());
        lanes.spawn(guard(Arc::clone(&shared), "the admin address".to_owned(), serve_admin));
        listeners.commit(prepared);
        if let Some(reloader) = reloader {
            running.push(lanes.spawn(guard(Arc::clone(&shared), "reload".to_owned(), reloader.run(rest_signal))));
        }
        let bound = listeners.bound();
        let serving = vec![edge.spawn(listeners.until(listeners_signal))];
        Ok(Gateway {
            shared,
            live,
            listeners: bound,
            admin,
            edge,
            lanes,
            stop_listeners,
            stop_lanes,
            stop_rest,
            serving,
            running,
            hurried: false,
        })
    }

    /// What all parts share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The gate of a listener, for a caller in the same process.
    pub fn gate(&self, listener: &str, protocol: &'static str) -> Arc<dyn transports::Gate> {
        ListenerGate::new(Arc::clone(&self.shared), Arc::clone(&self.live.entrances), listener, protocol)
    }

    /// Runs a future on the edge runtime.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.edge.block_on(future)
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

/// What a resend of the event in this record is known by, and when it was received, in µs since 1970.
pub fn key_of(body: &[u8]) -> Option<([u8; 16], u64)> {
    let (key, received) = schemas::record::id_of(body)?;
    let since = received.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some((key, u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
}

/// Fills the table of ids from the journal: a resend of what was kept before this start costs nothing.
pub fn restore_ids(shared: &Shared) {
    match shared.journal.recent_ids() {
        Ok(known) => {
            for known in known {
                let received = SystemTime::UNIX_EPOCH + Duration::from_micros(known.time);
                shared.ids.restore(known.key, known.lsn.get(), received);
            }
        }
        Err(error) => tracing::warn!(%error, "the ids of recent events cannot be read: a resend of one is kept again"),
    }
}

fn open_journal(config: &Config, data_dir: &std::path::Path) -> Result<Journal<AnyDisk>, StartError> {
    let disk = match config.journal.memory {
        Some(_) => AnyDisk::from(MemoryDisk::new()),
        None => {
            let fault = |error| StartError::Folder { path: data_dir.to_owned(), error };
            std::fs::create_dir_all(data_dir).map_err(fault)?;
            AnyDisk::from(OsDisk)
        }
    };
    let (segment_size, segments) = config.journal.ring();
    let mut options = Options::new(data_dir);
    let quotas = Quotas::of(config).map_err(StartError::Config)?;
    options.lanes = build::specs(config, &quotas);
    options.segment_size = segment_size.bytes();
    // A group never crosses a segment.
    options.group_bytes = options.group_bytes.min(usize::try_from(options.segment_size / 2).unwrap_or(usize::MAX));
    options.segments = segments;
    options.key_of = Some(Arc::new(key_of));
    for (window, most) in
        config.pipelines.iter().flat_map(|(_, steps)| steps).filter_map(|step| step.plugin().remembers())
    {
        options.ids_window = options.ids_window.max(window);
        options.ids_count = options.ids_count.max(most);
    }
    options.hook = Some(Arc::new(|notice: &journal::Notice| tend::log_notice(notice)));
    let journal = Journal::open(disk, options).map_err(StartError::Journal)?;
    journal.set_letter_quotas(quotas.letters, quotas.letters_unconfirmed);
    Ok(journal)
}
