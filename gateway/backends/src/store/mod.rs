//! The `store` backend: every event is a row of one SQLite file that people and programs can query.
//!
//! It promises:
//! * [`Outcome::Done`] comes after the commit: WAL mode, `synchronous=FULL`, so the row survives a crash of the machine;
//! * an event that is offered again is the same row. An event with the same `source`, `id` and data as a row that is there
//!   is that row; the same `source` and `id` with other data is a row of its own, counted as `id_reused`;
//! * it keeps at most `max_size` bytes of rows and nothing older than `keep`; the oldest rows go first;
//! * readers ([`StoreReader`], or any SQLite client) never block the writer, and the writer never blocks them.
//!
//! It deliberately does not filter, aggregate or keep anything for ever: it shows what arrived. One thread does all writing;
//! calls that wait while a transaction is being written are written together in the next one.
//!
//! # The table, for readers outside
//!
//! The file is `DATA_DIR/store/<name>.db`; `sqlite3 -readonly FILE` or Python's `sqlite3` with `mode=ro` read it at any time.
//! `PRAGMA user_version` is 1; a later version only adds columns. The table `events`, one row per event:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `seq` | INTEGER, primary key | order of storing; never used twice |
//! | `lsn` | INTEGER or NULL | place in the journal; NULL for events that were never journaled (`ack: delivered`) |
//! | `id`, `source`, `type` | TEXT | the required CloudEvents attributes |
//! | `subject`, `time`, `datacontenttype`, `dataschema` | TEXT or NULL | the optional ones, as they came |
//! | `received_ns` | INTEGER | when the gateway received it, nanoseconds since 1970 |
//! | `trace_id`, `span_id` | TEXT | lower-case hex, 32 and 16 digits: the gateway's own span of the message |
//! | `trace_flags` | INTEGER | W3C trace flags; 1 = sampled |
//! | `listener`, `principal`, `tenant`, `door_subject` | TEXT | `anygatelistener`, `anygateprincipal`, `anygatetenant`, `anygatesubject`; empty when not set |
//! | `route` | TEXT | the first route that matched; empty for none |
//! | `ack` | TEXT | `received`, `durable` or `delivered` |
//! | `attributes` | TEXT | JSON object of all extension attributes; Integer and Boolean ones are JSON numbers and booleans, all others strings |
//! | `headers` | TEXT | JSON array of `[name, value]` |
//! | `data` | BLOB | the event's data, byte for byte; empty when there is none |
//! | `data_hash` | INTEGER | FNV-1a of `data`, 64 bits as a signed number: only to find equal data fast |
//!
//! Indexed: `lsn` (unique), `(id, source, data_hash)`, `source`, `type`, `trace_id`, `received_ns`.
mod build;
pub mod config;
mod fault;
mod keep;
mod reader;
mod row;
mod schema;
mod writer;

pub use reader::{Filter, StoreFault, StoreReader};

use crate::{Backend, Events, Order, Outcome, Why};
use futures_util::future::BoxFuture;
use schemas::Word;
use std::{
    future::ready,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// Where a store is and how much it keeps.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The SQLite file; its folder is made when it is missing.
    pub path: PathBuf,
    /// Rows received longer ago than this are deleted. Default: 24 hours.
    pub keep: Duration,
    /// Most bytes that rows and indexes may take in the file; above it the oldest rows are deleted. Default: 1 GiB.
    pub max_size: u64,
    /// Most `deliver` calls that may wait for the writer; more are answered with a retry. Default: 256.
    pub queue: usize,
}

impl StoreSettings {
    /// The defaults for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        StoreSettings { path: path.into(), keep: Duration::from_secs(24 * 3600), max_size: 1 << 30, queue: 256 }
    }
}

/// What the writer counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) written: AtomicU64,
    pub(crate) same: AtomicU64,
    pub(crate) id_reused: AtomicU64,
    pub(crate) lsn_reused: AtomicU64,
    pub(crate) deleted_by_age: AtomicU64,
    pub(crate) deleted_by_size: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) failed_transactions: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// What the writer's thread is asked to do.
pub(crate) enum Command {
    /// Write these and tell the outcomes.
    Write(Events, oneshot::Sender<Vec<Outcome>>),
    /// Open the file if it is not open, and say whether it can be written.
    Probe(oneshot::Sender<Result<(), Why>>),
    /// Write what was queued before, close the file, end.
    Close(oneshot::Sender<()>),
}

/// The backend. See the module's documentation.
pub struct Store {
    commands: SyncSender<Command>,
    counts: Arc<Counts>,
}

impl Store {
    /// Starts the writer, which opens or makes the file. Faults of the file show in [`Backend::probe`] and in outcomes, so that
    /// a gateway whose store is broken still takes events for others.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn start(settings: StoreSettings) -> io::Result<Store> {
        let (commands, queue) = sync_channel(settings.queue.max(1));
        let counts = Arc::new(Counts::default());
        let writer = writer::Writer::new(settings, Arc::clone(&counts));
        thread::Builder::new().name("store".into()).spawn(move || writer.run(&queue))?;
        Ok(Store { commands, counts })
    }

    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
        refused: impl FnOnce(Why) -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (answer, answered) = oneshot::channel();
        match self.commands.try_send(command(answer)) {
            Ok(()) => Box::pin(async move { answered.await.unwrap_or_else(|_| refused(closed())) }),
            Err(TrySendError::Full(_)) => {
                Box::pin(ready(refused(Why::new(Word::Overloaded, "the store's writer is behind: its queue is full"))))
            }
            Err(TrySendError::Disconnected(_)) => Box::pin(ready(refused(closed()))),
        }
    }
}

fn closed() -> Why {
    Why::new(Word::ShuttingDown, "the store is closed")
}

impl Backend for Store {
    fn kind(&self) -> &'static str {
        "store"
    }

    /// One call per strand: a transaction that failed is offered again before anything later of its strands.
    fn order(&self) -> Order {
        Order::OnePerStrand
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let count = events.len();
        self.ask(|answer| Command::Write(events, answer), move |why| vec![Outcome::Retry(why); count])
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Why>> {
        self.ask(Command::Probe, Err)
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        let counts = &self.counts;
        [
            ("store_rows_written_total", &counts.written),
            ("store_rows_same_total", &counts.same),
            ("store_id_reused_total", &counts.id_reused),
            ("store_lsn_reused_total", &counts.lsn_reused),
            ("store_rows_deleted_by_age_total", &counts.deleted_by_age),
            ("store_rows_deleted_by_size_total", &counts.deleted_by_size),
            ("store_transactions_total", &counts.transactions),
            ("store_failed_transactions_total", &counts.failed_transactions),
            ("store_bytes", &counts.bytes),
        ]
        .map(|(name, count)| (name, as_figure(count.load(Ordering::Relaxed))))
        .to_vec()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let commands = self.commands.clone();
        Box::pin(async move {
            // The queue may be full, and waiting for room must not hold up an async worker.
            let (answer, closed) = oneshot::channel();
            let asked = tokio::task::spawn_blocking(move || commands.send(Command::Close(answer)).is_ok());
            if asked.await.unwrap_or(false) {
                let _ = closed.await;
            }
        })
    }
}

/// Counters as the float that figures are; exact below 2^53.
fn as_figure(count: u64) -> f64 {
    let high = u32::try_from(count >> 32).unwrap_or(u32::MAX);
    let low = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
