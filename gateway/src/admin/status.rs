//! `/api/status`: what is healthy, what is stuck, since when, why, and what to do.
mod held;
mod plain;

pub use held::{HELD_SHOWN, HeldStatus};
pub use plain::{grouped, size, spell};

use super::{
    Api,
    fault::ApiFault,
    figures::{self, Sample},
    health::Failing,
    rfc3339,
};
use crate::lanes::{Lane, bits};
use axum::{Json, extract::State};
use journal::LaneId;
use schemas::record;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

/// How long the oldest event of a lane is looked for. The scan starts at the oldest segment; beyond this it is not named.
const OLDEST_LOOK: Duration = Duration::from_millis(250);
/// Bytes read from the journal at a time.
const READ_BYTES: usize = 256 * 1024;

/// Everything that `anygate status` shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The running version.
    pub version: String,
    /// When the process was started, RFC 3339.
    pub started: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Whether messages are taken.
    pub ready: bool,
    /// What keeps it from being ready.
    pub failing: Vec<Failing>,
    /// The config in force.
    pub config: ConfigStatus,
    /// The listeners.
    pub listeners: Vec<ListenerStatus>,
    /// The routes, top to bottom.
    pub routes: Vec<RouteStatus>,
    /// The lanes.
    pub lanes: Vec<LaneStatus>,
    /// The journal.
    pub journal: JournalStatus,
    /// Dead letters that are open.
    pub dead_letters: u64,
    /// The byte budget.
    pub room: Room,
    /// Streams whose head is held: what stands behind it waits too. Those that wait longest, at most [`HELD_SHOWN`].
    #[serde(default)]
    pub held: Vec<HeldStatus>,
    /// How many there are.
    #[serde(default)]
    pub held_streams: u64,
}

/// The config in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Its file.
    pub file: String,
    /// 1 at start, one more with each reload that was applied.
    pub generation: u64,
    /// Since when it is in force, RFC 3339.
    pub applied: String,
    /// The last reload, if it was rejected.
    pub rejected: Option<RejectedStatus>,
}

/// A reload that was rejected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RejectedStatus {
    /// When, RFC 3339.
    pub at: String,
    /// How many errors.
    pub errors: u64,
    /// What `anygate check` says of it.
    pub text: String,
}

/// One listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// `http` or `mqtt`.
    pub protocol: String,
    /// Where it really listens.
    pub listen: String,
    /// Open connections.
    pub connections: u64,
    /// Events received since the start.
    pub received: u64,
    /// Of them refused.
    pub refused: u64,
    /// Connections and messages refused before they were events.
    pub turned_away: u64,
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// Its name.
    pub name: String,
    /// Its backends.
    pub to: Vec<String>,
    /// Events that it took since the start.
    pub matched: u64,
    /// Predicates that erred: such an event does not match.
    pub predicate_errors: u64,
}

/// One lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LaneStatus {
    /// The backend's name.
    pub backend: String,
    /// Its kind.
    pub kind: String,
    /// Stored events that wait.
    pub pending: u64,
    /// Direct events (`ack: delivered`) whose senders wait.
    #[serde(default)]
    pub direct: u64,
    /// Events under way to the backend.
    pub in_flight: u64,
    /// When the oldest waiting event was received, if it was found.
    pub oldest: Option<String>,
    /// Its age.
    pub oldest_seconds: Option<u64>,
    /// Events that the backend confirmed since the start.
    pub delivered: u64,
    /// Events that became dead letters since the start.
    pub dead_lettered: u64,
    /// Deliveries that had to be tried again.
    pub retries: u64,
    /// Bytes of what waits.
    #[serde(default)]
    pub pending_bytes: u64,
    /// Bytes that may wait (`backlog.max_size`); 0 for no limit.
    #[serde(default)]
    pub quota_bytes: u64,
    /// Seconds until that is reached, at the rate of the last five minutes; none while it does not fill.
    #[serde(default)]
    pub full_in_seconds: Option<u64>,
    /// Events that were acknowledged for it and lost to damage of the disk, since the start.
    #[serde(default)]
    pub lost: u64,
    /// What is wrong, if anything.
    pub trouble: Option<TroubleStatus>,
    /// What makes deliveries less safe than they could be.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What is wrong with a lane.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TroubleStatus {
    /// Since when, RFC 3339.
    pub since: String,
    /// For how long.
    pub seconds: u64,
    /// The failure word.
    pub failure: String,
    /// Why, in the backend's own terms.
    pub why: String,
    /// Whether the place itself is wrong, so that somebody must act.
    pub destination: bool,
    /// What the gateway does about it, and what you can do.
    pub what_to_do: String,
}

/// The journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Bytes of segments that some lane still needs.
    pub used_bytes: u64,
    /// Bytes that it may take.
    pub capacity_bytes: u64,
    /// No room: new events are refused or held.
    pub full: bool,
    /// Seconds until new events are refused, at the rate of the last five minutes; none while nothing fills. The first backlog to
    /// reach its quota decides, and the ring once backlogs find no room on the disk.
    #[serde(default)]
    pub full_in_seconds: Option<u64>,
    /// It is in memory: nothing in it outlives the process.
    #[serde(default)]
    pub in_memory: bool,
    /// Segment files.
    pub segments: u64,
    /// Everything up to this LSN is durable.
    pub durable_lsn: u64,
    /// Events since the start.
    pub events: u64,
    /// Groups since the start: each is one `fdatasync`.
    pub groups: u64,
    /// Half of the `fdatasync` calls took at most this long, µs (to the next power of two).
    pub fsync_p50_us: u64,
    /// 99 of 100 did.
    pub fsync_p99_us: u64,
    /// Events lost to damage on the disk.
    pub corrupt_events: u64,
}

/// The byte budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Room {
    /// Bytes of messages in memory.
    pub used_bytes: u64,
    /// Bytes at most.
    pub limit_bytes: u64,
}

/// The whole status.
pub async fn get(State(api): State<Arc<Api>>) -> Result<Json<Status>, ApiFault> {
    Status::take(&api).await.map(Json)
}

impl Status {
    /// Looks at everything now.
    ///
    /// # Errors
    /// `overloaded` when too many scans run.
    pub async fn take(api: &Arc<Api>) -> Result<Status, ApiFault> {
        api.scan(|api| Ok(Status::look(api))).await
    }

    fn look(api: &Api) -> Status {
        let shared = &api.shared;
        let samples = figures::read(&shared.render_metrics());
        let failing = api.failing();
        let (held, held_streams) = shared.held.longest(HELD_SHOWN);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: rfc3339(shared.started.0),
            uptime_seconds: shared.started.1.elapsed().as_secs(),
            ready: failing.is_empty(),
            failing,
            config: config_status(api),
            listeners: api.live.now().listeners().map(|listener| listener_status(api, &samples, &listener)).collect(),
            routes: routes(api),
            lanes: shared.lanes().iter().map(|lane| lane_status(api, &samples, lane)).collect(),
            journal: journal_status(api),
            dead_letters: shared.journal.pending(LaneId::DEAD_LETTERS),
            room: Room { used_bytes: wide(shared.budget.used()), limit_bytes: wide(shared.budget.limit()) },
            held: held.iter().map(HeldStatus::of).collect(),
            held_streams: wide(held_streams),
        }
    }
}

fn config_status(api: &Api) -> ConfigStatus {
    let now = api.live.now();
    ConfigStatus {
        file: now.config.file.clone(),
        generation: now.number,
        applied: rfc3339(now.applied),
        rejected: api.live.rejected().map(|rejected| RejectedStatus {
            at: rfc3339(rejected.at),
            errors: wide(rejected.errors),
            text: rejected.text,
        }),
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// A counter's value as the whole number that it is.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole and far below 2^53")]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

fn listener_status(
    api: &Api,
    samples: &[Sample],
    (name, protocol, listen): &(String, &'static str, String),
) -> ListenerStatus {
    let sum = |series| whole(figures::sum(samples, series, &[("anygate_listener", name)]));
    ListenerStatus {
        name: name.clone(),
        protocol: (*protocol).to_owned(),
        listen: api.shared.bound(name).map_or_else(|| listen.clone(), |address| address.to_string()),
        connections: sum("anygate_listener_connections"),
        received: sum("anygate_events_received_total"),
        refused: sum("anygate_events_refused_total"),
        turned_away: sum("anygate_listener_refused_total"),
    }
}

fn routes(api: &Api) -> Vec<RouteStatus> {
    let name = |id| api.shared.lanes().get(id).map_or_else(|| format!("lane {id}"), |lane| lane.name.to_string());
    let of = |route: &crate::router::Route| RouteStatus {
        name: route.name.to_string(),
        to: bits(route.lanes).map(name).collect(),
        matched: route.matched.get(),
        predicate_errors: route.errors.load(Ordering::Relaxed),
    };
    api.live.now().blueprint.routes.routes().iter().map(of).collect()
}

fn lane_status(api: &Api, samples: &[Sample], lane: &Arc<Lane>) -> LaneStatus {
    let stats = LaneId::new(lane.id).map(|id| api.shared.journal.lane_stats(id)).unwrap_or_default();
    let pending = stats.pending;
    let oldest = (pending > 0).then(|| oldest(api, lane)).flatten();
    let age = |time: &SystemTime| time.elapsed().unwrap_or_default().as_secs();
    LaneStatus {
        backend: lane.name.to_string(),
        kind: lane.backend.kind().to_owned(),
        pending,
        direct: wide(lane.direct_waiting()),
        warnings: lane.backend.warnings(),
        in_flight: u64::try_from(lane.meter.inflight.get()).unwrap_or(0),
        oldest_seconds: oldest.as_ref().map(age),
        oldest: oldest.map(rfc3339),
        delivered: lane.meter.delivered.get(),
        dead_lettered: lane.meter.dead_lettered.get(),
        retries: whole(figures::sum(samples, "anygate_backend_retries_total", &[("anygate_backend", &lane.name)])),
        pending_bytes: stats.pending_bytes,
        quota_bytes: stats.quota,
        full_in_seconds: lane.filling.time_to_full(stats.quota).map(|left| left.as_secs()),
        lost: stats.lost,
        trouble: trouble(lane),
    }
}

fn trouble(lane: &Lane) -> Option<TroubleStatus> {
    let found = lane.health.told()?;
    let what_to_do = if found.destination {
        "mend the destination: it is asked again every 2 s, and what waits then goes out".to_owned()
    } else {
        match lane.treatment.attempts {
            None => "it is tried again without end; nothing is lost while the journal has room".to_owned(),
            Some(most) if lane.treatment.dead_letter => {
                format!("each event is tried {most} times, then it is a dead letter")
            }
            Some(most) => format!("each event is tried {most} times, then it is dropped and counted"),
        }
    };
    Some(TroubleStatus {
        since: rfc3339(found.since),
        seconds: found.since.elapsed().unwrap_or_default().as_secs(),
        failure: found.word.as_str().to_owned(),
        why: found.why,
        destination: found.destination,
        what_to_do,
    })
}

/// When the oldest event that waits in a lane was received. Gives up after [`OLDEST_LOOK`]. Blocks on the disk.
pub(super) fn oldest(api: &Api, lane: &Lane) -> Option<SystemTime> {
    let (begin, id) = (Instant::now(), LaneId::new(lane.id)?);
    let mut scan = api.shared.journal.scan(Some(id));
    while begin.elapsed() < OLDEST_LOOK {
        let entries = scan.read(READ_BYTES).ok()?;
        if entries.is_empty() {
            return None;
        }
        if let Some(entry) = entries.iter().find(|entry| !api.shared.journal.is_done(id, entry.lsn)) {
            let body = bytes::Bytes::copy_from_slice(&entry.body);
            return record::decode_event(&body, entry.lsn.get()).ok().map(|event| event.received);
        }
    }
    None
}

fn journal_status(api: &Api) -> JournalStatus {
    let stats = api.shared.journal.stats();
    JournalStatus {
        used_bytes: stats.used_bytes,
        capacity_bytes: stats.capacity_bytes,
        full: stats.full,
        full_in_seconds: api.shared.time_to_full(&stats).map(|left| left.as_secs()),
        in_memory: api.shared.is_volatile(),
        segments: wide(stats.segments),
        durable_lsn: stats.durable.get(),
        events: stats.events,
        groups: stats.groups,
        fsync_p50_us: stats.sync_quantile(0.5),
        fsync_p99_us: stats.sync_quantile(0.99),
        corrupt_events: stats.corrupt_events,
    }
}
