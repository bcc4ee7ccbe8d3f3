//! Parts that the process cannot do without: a gateway that has lost one, or in which one stands still, must not go on as if it
//! were well.
//!
//! * A task that panics is caught ([`guard`]) and said ([`Vital::broke`]); the process then stops in order and ends with exit code
//!   70, so that what watches it starts it again. A panic in a connection's own task ends that connection only.
//! * A panic on a thread of its own (a backend's) is heard by a hook ([`watch_panics`]). The journal's threads need none: there
//!   a panic is a failure of the journal.
//! * What stands still is found by [`stuck`]: `/livez` and systemd's watchdog ask it. Backends are no part of it: one that is
//!   away is no reason to start again.
//!
//! Nothing here restarts a part inside the process: what it had under way is only known to the journal, which a new start reads.
use crate::state::Shared;
use futures_util::FutureExt;
use journal::Lsn;
use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, PanicHookInfo},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use transports::net::Shutdown;

/// A part that has not moved for so long stands still, unless the one who asks says otherwise. Longer than any sync of a disk
/// that will still answer.
pub const STILL: Duration = Duration::from_secs(60);

/// How often parts that may have nothing to do come by all the same.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Threads whose panics tokio catches: they end one task, not the thread.
const RUNTIMES: [&str; 2] = ["anygate-edge", "anygate-lane"];

/// Where beats are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// When a part last came by. One atomic store per beat.
#[derive(Debug)]
pub struct Beat(AtomicU64);

impl Default for Beat {
    fn default() -> Self {
        Beat(AtomicU64::new(millis()))
    }
}

fn millis() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Beat {
    /// Comes by.
    pub fn beat(&self) {
        self.0.store(millis(), Ordering::Relaxed);
    }

    /// How long ago that was.
    pub fn age(&self) -> Duration {
        Duration::from_millis(millis().saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

/// What is known of the parts.
#[derive(Debug, Default)]
pub struct Vital {
    broken: Mutex<Option<String>>,
    said: Notify,
    /// The runtime of connections.
    pub edge: Beat,
    /// The runtime of lanes, admin and housekeeping.
    pub housekeeping: Beat,
    /// The watermark when it was last looked at, and since when it has been there while something waited.
    durable: AtomicU64,
    committed: Beat,
}

impl Vital {
    /// A part is lost. The first one counts: the others follow from it.
    pub fn broke(&self, what: &str) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.is_none() {
            tracing::error!("{what}: a fault of the gateway itself; it stops, so that it can be started again");
            *broken = Some(what.to_owned());
        }
        drop(broken);
        self.said.notify_waiters();
    }

    /// What is lost, if anything.
    pub fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until a part is lost; for ever, if none is.
    pub async fn wait_broken(&self) -> String {
        loop {
            let said = self.said.notified();
            tokio::pin!(said);
            // Listening begins before the look, so that nothing is missed in between.
            said.as_mut().enable();
            if let Some(what) = self.broken() {
                return what;
            }
            said.await;
        }
    }
}

/// Runs a part that the process cannot do without: a panic in it is said, and ends the process in order.
pub async fn guard<F: Future<Output = ()>>(shared: Arc<Shared>, part: String, work: F) {
    if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
        shared.vital.broke(&format!("{part} panicked: {}", text_of(panic.as_ref())));
    }
}

/// Shows that the runtime it is spawned on still runs tasks.
pub async fn pulse(shared: Arc<Shared>, mut stop: Shutdown) {
    loop {
        shared.vital.edge.beat();
        tokio::select! {
            () = stop.fired() => return,
            () = tokio::time::sleep(BEAT_EVERY) => {}
        }
    }
}

/// The first part that has made no progress for `limit`, in words; also a part that is lost. While the gateway stops, its own
/// deadlines hold and nothing is looked for.
pub fn stuck(shared: &Shared, limit: Duration) -> Option<String> {
    let vital = &shared.vital;
    if let Some(what) = vital.broken() {
        return Some(what);
    }
    // A disk that failed is said by the journal, which also ends the process.
    if shared.is_stopping() || shared.journal.failure().is_some() {
        return None;
    }
    let durable = shared.journal.durable();
    if vital.durable.swap(durable.get(), Ordering::Relaxed) != durable.get() || shared.journal.last() <= durable {
        vital.committed.beat();
    }
    let still = |what: &str, beat: &Beat| {
        let age = beat.age();
        (age > limit).then(|| format!("{what} for {} s", age.as_secs()))
    };
    let lane = |lane: &Arc<crate::lanes::Lane>| still(&format!("lane {} has not moved", lane.name), &lane.beat);
    still(&format!("nothing was synced to the journal behind lsn {}", Lsn::get(durable)), &vital.committed)
        .or_else(|| still("connections have not been served", &vital.edge))
        .or_else(|| still("housekeeping has not run", &vital.housekeeping))
        .or_else(|| shared.lanes().iter().find_map(lane))
}

/// From here on panics are one log line each and are counted; one on a thread that does not come back ends the process.
pub fn watch_panics(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let what = describe(info);
        tracing::error!("{what}");
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            before(info);
        }
        let Some(shared) = weak.upgrade() else { return };
        shared.metrics.panics.inc();
        let current = thread::current();
        if current.name().is_some_and(|name| !RUNTIMES.contains(&name)) {
            shared.vital.broke(&what);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
    let current = thread::current();
    format!("panic in thread {}{place}: {}", current.name().unwrap_or("without a name"), text_of(info.payload()))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}
