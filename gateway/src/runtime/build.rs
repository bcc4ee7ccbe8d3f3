//! The parts of a start, one function each.
use super::quotas::Quotas;
use crate::{
    config::{Backend, model::Config},
    lanes::{Lane, Lanes, Treatment},
    state::Shared,
    telemetry::{Metrics, Ring, spans::Spans},
};
use backends::BuildContext;
use journal::{AnyDisk, Journal, LaneSpec, OpenError};
use settings::{Address, Lookup};
use std::{
    fmt,
    io::{self, ErrorKind},
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::runtime::Runtime;
use transports::{Budget, net::Listening};

/// Why the gateway cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The journal cannot be opened.
    Journal(OpenError),
    /// Something that the config names cannot be read or built.
    Config(String),
    /// An address cannot be bound.
    Address {
        /// `listeners.web.http.listen`.
        key: String,
        /// The address.
        address: String,
        /// The system's word.
        error: io::Error,
    },
    /// `node.data_dir` cannot be used.
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The system says no: threads.
    System(String),
}

impl StartError {
    /// Whether it is the disk that failed, and not what it was asked for: exit code 74.
    pub fn is_disk(&self) -> bool {
        let of = |error: &io::Error| {
            !matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotADirectory | ErrorKind::AlreadyExists)
        };
        match self {
            StartError::Journal(OpenError::Io { source, .. }) => of(source),
            StartError::Folder { error, .. } => of(error),
            StartError::Journal(_) | StartError::Config(_) | StartError::Address { .. } | StartError::System(_) => {
                false
            }
        }
    }
}

/// What to do about an error of the file system.
fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "the user that runs anygate must own node.data_dir and may write in it (mode 0700)"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "it is mounted read-only, often after an error: look at the kernel's log (dmesg), mend it, mount it for writing"
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "make room where node.data_dir is, or ask for less: journal.segments times journal.segment_size"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => "node.data_dir must be a folder: name another one",
        _ => "look at the disk (dmesg) before you start again; what was acknowledged is still in node.data_dir",
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Journal(error @ OpenError::Io { source, .. }) => {
                write!(f, "the journal cannot be opened: {error}\n  = help: {}", help(source))
            }
            StartError::Folder { path, error } => {
                write!(f, "the folder {} cannot be used: {error}\n  = help: {}", path.display(), help(error))
            }
            StartError::Journal(error) => write!(f, "the journal cannot be opened: {error}"),
            StartError::Config(what) | StartError::System(what) => f.write_str(what),
            StartError::Address { key, address, error } if error.kind() == ErrorKind::AddrInUse => {
                write!(f, "{address} is taken by another program\n  = help: stop it, or change {key}")
            }
            StartError::Address { key, address, error } => {
                write!(f, "{address} cannot be listened on: {error}\n  = help: change {key}")
            }
        }
    }
}

impl std::error::Error for StartError {}

/// What outlives a generation.
pub(super) fn shared(config: &Config, journal: Journal<AnyDisk>, lanes: &Runtime) -> Result<Arc<Shared>, StartError> {
    let metrics = Arc::new(Metrics::new());
    let spans = Spans::start(config, lanes.handle()).map_err(StartError::Config)?;
    let budget = Budget::new(config.node.room.as_usize());
    Ok(Arc::new(Shared::new(journal, budget, metrics, Arc::new(Ring::default()), spans)))
}

/// The largest message that a listener takes.
fn message_max(config: &Config) -> usize {
    config.listeners.iter().map(|(_, listener)| listener.plugin().max_message().1.as_usize()).max().unwrap_or(0)
}

/// Builds one backend.
///
/// # Errors
/// What could not be acquired, and why.
pub(super) fn backend(
    config: &Config,
    name: &str,
    configured: &Backend,
    env: &Lookup<'_>,
) -> Result<Arc<dyn backends::Backend>, String> {
    let data_dir = Path::new(&config.node.data_dir);
    let context = BuildContext { name, data_dir, folder: &config.folder, message_max: message_max(config), env };
    configured.plugin().build(&context).map_err(|what| format!("backend {name}: {what}"))
}

/// The lane of a backend.
pub(super) fn lane(
    shared: &Arc<Shared>,
    id: journal::LaneId,
    name: &str,
    configured: &Backend,
    backend: Arc<dyn backends::Backend>,
) -> Arc<Lane> {
    let common = configured.common();
    let treatment = Treatment {
        attempts: common.retry.attempts,
        backoff: (common.retry.backoff.low.get(), common.retry.backoff.high.get()),
        order: common.order.as_ref().map(|name| name.as_str().to_owned()),
        dead_letter: common.on_failure == backends::config::OnFailure::DeadLetter,
        required: common.required,
    };
    Arc::new(Lane::new(id.get(), name, backend, treatment, shared.metrics.lane(name)))
}

/// The backends of a config, as the journal knows them.
pub(super) fn specs(config: &Config, quotas: &Quotas) -> Vec<LaneSpec> {
    let spec = |((name, backend), quota): (&(String, Backend), &u64)| LaneSpec {
        name: name.clone(),
        kind: backend.kind().to_owned(),
        config_hash: 0,
        renamed_from: backend.common().renamed_from.as_ref().map(|name| name.as_str().to_owned()),
        quota: *quota,
    };
    config.backends.iter().zip(&quotas.backlogs).map(spec).collect()
}

/// Builds every backend and its lane.
pub(super) fn lanes(
    config: &Config,
    shared: &Arc<Shared>,
    env: &Lookup<'_>,
    runtime: &Runtime,
) -> Result<(), StartError> {
    let _context = runtime.enter();
    for (name, configured) in config.backends.iter() {
        let backend = backend(config, name, configured, env).map_err(StartError::Config)?;
        let Some(id) = shared.journal.lane_id(name) else {
            return Err(StartError::Config(format!("backend {name} has no lane in the journal")));
        };
        let lane = lane(shared, id, name, configured, backend);
        lane.meter.recovered.inc_by(shared.journal.recovered().per_lane[usize::from(id.get())]);
        shared.change_lanes(|lanes| lanes.put(lane));
    }
    let dead = shared.metrics.lane(Lanes::DEAD_LETTERS);
    dead.recovered.inc_by(shared.journal.recovered().per_lane[0]);
    dead.up.set(1);
    shared.change_lanes(|lanes| lanes.set_dead_meter(dead));
    Ok(())
}

/// A backend's name, and whether it could be reached.
pub type Probed = (String, Result<(), String>);

/// Asks every backend whether it can be reached and its destination exists. Builds nothing that lasts but a store's file.
pub fn probe(config: &Config, env: &Lookup<'_>) -> Vec<Probed> {
    let data_dir = Path::new(&config.node.data_dir);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![(String::new(), Err(error.to_string()))],
    };
    let _context = runtime.enter();
    let ask = |(name, configured): &(String, crate::config::Backend)| {
        let context = BuildContext { name, data_dir, folder: &config.folder, message_max: message_max(config), env };
        let answer = configured.plugin().build(&context).and_then(|backend| {
            let answer = runtime.block_on(backend.probe()).map_err(|why| why.to_string());
            runtime.block_on(backend.close());
            answer
        });
        (name.clone(), answer)
    };
    // A store's probe would need its file, which belongs to a running gateway: only far ends are asked.
    config.backends.iter().filter(|(_, configured)| configured.kind() != "store").map(ask).collect()
}

/// An address that cannot be listened on.
pub(super) fn address_fault(key: &str, address: &Address, error: io::Error) -> StartError {
    StartError::Address { key: key.to_owned(), address: address.to_string(), error }
}

/// The socket address that a configured one stands for.
pub(super) fn resolve(key: &str, address: &Address) -> Result<SocketAddr, StartError> {
    let fault = |error| address_fault(key, address, error);
    let none = || io::Error::new(ErrorKind::NotFound, "the name has no address");
    address.to_string().to_socket_addrs().map_err(fault)?.next().ok_or_else(|| fault(none()))
}

/// Binds the admin address.
pub(super) async fn bind_admin(config: &Config) -> Result<Listening, StartError> {
    let key = "admin.listen";
    let address = resolve(key, &config.admin.listen)?;
    Listening::bind(address).await.map_err(|error| StartError::Address {
        key: key.to_owned(),
        address: address.to_string(),
        error,
    })
}
