//! Reload: the config is read again, checked whole, and put in force as one generation, or nothing is touched.
//!
//! What can fail comes first: the check itself, what a running gateway cannot change, addresses that are taken, backends that
//! cannot be built, lanes that still have events, the lane table on the disk. Then the switch, which cannot fail: all listeners
//! get the new pipelines and routes at once, and each stream goes on with them at its next message. Then, in the background: lanes
//! whose backend changed hand back and go on with the new instance, and a lane whose backend is gone is taken away once nobody is
//! left who could append to it.
//!
//! Requests are answered one after the other; those that come while one waits for its turn share its answer.
mod apply;
mod lanes;

pub use lanes::LaneWork;

use super::{Live, deliveries::Deliveries, listeners::Listeners, live::Rejected};
use crate::{
    config::{
        Checked,
        reload::{Difference, Origin},
    },
    lanes::Lane,
    stack::epoch::Epoch,
    state::Shared,
    systemd,
};
use journal::LaneId;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, oneshot},
};
use transports::net::Shutdown;

/// Requests that wait for their turn.
const WAITING_MAX: usize = 64;

/// How often it is looked whether a lane that is gone can be taken away.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The environment, as long as the process lives.
pub type Environment = fn(&str) -> Option<String>;

/// How a reload went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The generation that is in force now.
    pub generation: u64,
    /// `applied` or `rejected`.
    pub outcome: String,
    /// What is different; empty when it was rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<Difference>,
    /// What `anygate check --json` prints: errors when it was rejected, else warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Json>,
    /// The same as `anygate check` prints it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

impl Answer {
    /// Whether the new config is in force.
    pub fn is_applied(&self) -> bool {
        self.outcome == "applied"
    }
}

/// Where reloads are asked for. Clones ask the same gateway.
#[derive(Clone, Debug)]
pub struct Reload(mpsc::Sender<Request>);

/// What is asked for, and where the answer goes.
#[derive(Debug)]
enum Request {
    Reload(oneshot::Sender<Answer>),
    Lanes(LaneWork, oneshot::Sender<Result<u64, String>>),
}

/// No reload now: the gateway is stopping, or too many ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// More than [`WAITING_MAX`] wait.
    TooMany,
    /// It is stopping.
    Stopping,
}

impl Reload {
    /// Asks for a reload and waits for how it went.
    ///
    /// # Errors
    /// [`NotNow`].
    pub async fn ask(&self) -> Result<Answer, NotNow> {
        let (sender, answer) = oneshot::channel();
        self.send(Request::Reload(sender))?;
        answer.await.map_err(|_| NotNow::Stopping)
    }

    /// Asks for a lane to be emptied; how many events went, or why not.
    ///
    /// # Errors
    /// [`NotNow`].
    pub async fn lanes(&self, work: LaneWork) -> Result<Result<u64, String>, NotNow> {
        let (sender, answer) = oneshot::channel();
        self.send(Request::Lanes(work, sender))?;
        answer.await.map_err(|_| NotNow::Stopping)
    }

    fn send(&self, request: Request) -> Result<(), NotNow> {
        self.0.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotNow::TooMany,
            mpsc::error::TrySendError::Closed(_) => NotNow::Stopping,
        })
    }
}

/// What a reload works on.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    pub(super) live: Arc<Live>,
    pub(super) listeners: Arc<Listeners>,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) edge: Handle,
}

/// A backend that has another name now.
struct Renamed {
    lane: u8,
    old: String,
    new: String,
}

/// Does the reloads.
pub(super) struct Reloader {
    parts: Parts,
    origin: Origin,
    env: Environment,
    requests: mpsc::Receiver<Request>,
    /// What came behind a reload.
    next: VecDeque<Request>,
    /// Generations that are over but not empty yet.
    over: Vec<Arc<Epoch>>,
    renamed: Vec<Renamed>,
}

impl Reloader {
    /// It, and where to ask it.
    pub(super) fn new(parts: Parts, origin: Origin, env: Environment) -> (Self, Reload) {
        let (sender, requests) = mpsc::channel(WAITING_MAX);
        parts.shared.metrics.generation.set(1);
        let reloader =
            Reloader { parts, origin, env, requests, next: VecDeque::new(), over: Vec::new(), renamed: Vec::new() };
        (reloader, Reload(sender))
    }

    /// Runs until `stop`. SIGHUP is a request too.
    pub(super) async fn run(mut self, mut stop: Shutdown) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be heard; anygate reload works");
                None
            }
        };
        loop {
            let mut asked = Vec::new();
            tokio::select! {
                biased;
                () = stop.fired() => return,
                request = request(&mut self.next, &mut self.requests) => match request {
                    Request::Reload(answer) => asked.push(answer),
                    Request::Lanes(work, answer) => {
                        let done = self.work_on(work).await;
                        // Who asked may be gone; it is done all the same.
                        let _gone = answer.send(done);
                        continue;
                    }
                },
                () = hung_up(&mut hangup) => {}
                () = tokio::time::sleep(LOOK_EVERY), if self.is_settling() => {
                    self.settle().await;
                    continue;
                }
            }
            // Whoever has asked by now gets the answer of this turn: the file is read after that.
            while let Ok(request) = self.requests.try_recv() {
                match request {
                    Request::Reload(answer) => asked.push(answer),
                    Request::Lanes(..) => self.next.push_back(request),
                }
            }
            if self.parts.shared.is_stopping() {
                return;
            }
            systemd::reloading();
            let answer = self.reload().await;
            systemd::ready();
            for request in asked {
                // Who asked may be gone; the reload is done all the same.
                let _gone = request.send(answer.clone());
            }
        }
    }

    async fn reload(&mut self) -> Answer {
        let (origin, env) = (self.origin.clone(), self.env);
        let read = tokio::task::spawn_blocking(move || origin.read(&env)).await;
        let (outcome, checked) = match read {
            Ok(reread) => self.apply(reread).await,
            // Reading does not panic; if it does, nothing was touched.
            Err(_) => (Err(()), Checked::default()),
        };
        let shared = &self.parts.shared;
        let generation = self.parts.live.now().number;
        let faults = checked.faults.iter().filter_map(|fault| serde_json::from_str(&fault.to_json()).ok()).collect();
        let text = checked.render(false);
        match outcome {
            Ok(difference) => {
                tracing::info!(generation, differences = difference.len(), "the config was reloaded");
                shared.metrics.reloaded("applied");
                shared.metrics.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
                self.parts.live.note(None);
                Answer { generation, outcome: "applied".to_owned(), difference, faults, text }
            }
            Err(()) => {
                let errors = checked.faults.iter().filter(|fault| fault.severity == settings::Severity::Error).count();
                let first = checked.faults.iter().find(|fault| fault.severity == settings::Severity::Error);
                let what =
                    first.map(|fault| format!("{}:{}:{}: {}", fault.file, fault.line, fault.column, fault.message));
                tracing::error!(
                    generation,
                    errors,
                    first = what.unwrap_or_default(),
                    "the reload was rejected; the config in force stays"
                );
                shared.metrics.reloaded("rejected");
                self.parts.live.note(Some(Rejected { at: SystemTime::now(), text: text.clone(), errors }));
                Answer { generation, outcome: "rejected".to_owned(), difference: Vec::new(), faults, text }
            }
        }
    }

    /// Whether something of earlier generations is left to be taken away.
    fn is_settling(&self) -> bool {
        !self.over.is_empty() || !self.renamed.is_empty() || self.gone().next().is_some()
    }

    /// Lanes whose backend the config has no more.
    fn gone(&self) -> impl Iterator<Item = Arc<Lane>> + use<> {
        let generation = self.parts.live.now();
        let lanes: Vec<_> = self.parts.shared.lanes().iter().cloned().collect();
        lanes.into_iter().filter(move |lane| generation.config.backends.get(&lane.name).is_none())
    }

    /// Takes away what nobody uses any more. Called again until there is nothing left.
    async fn settle(&mut self) {
        self.over.retain(|epoch| epoch.inside() > 0);
        if !self.over.is_empty() {
            return;
        }
        let Parts { shared, deliveries, .. } = &self.parts;
        self.renamed.retain(|renamed| {
            let done = deliveries.is_taken_over(renamed.lane);
            if done {
                shared.metrics.rename_lane(&renamed.old, &renamed.new);
            }
            !done
        });
        let gone: Vec<_> = self.gone().collect();
        if gone.is_empty() {
            return;
        }
        // From here on nobody can append to these lanes; what was appended counts once it is durable.
        let journal = shared.journal.clone();
        let synced = tokio::task::spawn_blocking(move || journal.sync().is_ok()).await;
        if !synced.unwrap_or(false) {
            return;
        }
        for lane in gone {
            let pending = LaneId::new(lane.id).map_or(0, |id| self.parts.shared.journal.pending(id));
            if pending == 0 && !self.renamed.iter().any(|renamed| renamed.lane == lane.id) {
                self.take_away(&lane).await;
            }
        }
    }

    async fn take_away(&self, lane: &Arc<Lane>) {
        let Parts { shared, deliveries, live, .. } = &self.parts;
        if let Some(task) = deliveries.end(lane.id) {
            // It ends within its time for handing back; one that panicked was said by its guard.
            let _ended = task.await;
        }
        let (journal, generation, name) = (shared.journal.clone(), live.now(), lane.name.clone());
        let fit = move || {
            let mut specs = apply::specs(&generation.config);
            let others = journal.lanes().into_iter().filter(|other| other.name != name.as_str());
            apply::keep_others(&mut specs, others);
            journal.set_lanes(&specs)
        };
        match tokio::task::spawn_blocking(fit).await {
            Ok(Ok(_)) => {
                shared.change_lanes(|lanes| lanes.remove(lane.id));
                shared.metrics.lane_gone(&lane.name);
                tracing::info!(backend = %lane.name, "its lane is empty and was taken away");
            }
            // It has an event after all, or the disk failed, which ends the process by itself: the loop goes on.
            Ok(Err(error)) => {
                tracing::warn!(backend = %lane.name, %error, "its lane stays");
                deliveries.run(Arc::clone(lane));
            }
            Err(_) => {}
        }
    }
}

/// The next request; never ready when nobody can ask any more.
async fn request(next: &mut VecDeque<Request>, requests: &mut mpsc::Receiver<Request>) -> Request {
    if let Some(request) = next.pop_front() {
        return request;
    }
    match requests.recv().await {
        Some(request) => request,
        None => std::future::pending().await,
    }
}

/// Ready when the process got SIGHUP; never when it cannot be heard.
async fn hung_up(hangup: &mut Option<Signal>) {
    match hangup {
        Some(hangup) => {
            // `None` means that no signal can come any more.
            if hangup.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}
