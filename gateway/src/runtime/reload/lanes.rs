//! Lanes emptied without their backend: events handed to another lane, or thrown away and counted.
use super::{Parts, Reloader};
use crate::{
    lanes::{Lane, Lanes},
    runtime::{build, plan},
};
use journal::{LaneId, MoveError};
use std::sync::Arc;

/// How moved and discarded events are counted in the lane that they left: neither is a failure of a message.
const MOVED: &str = "moved";
const DISCARDED: &str = "discarded";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneWork {
    /// All that waits in one lane goes to another.
    Move {
        /// The backend whose events go.
        from: String,
        /// The backend that gets them.
        to: String,
    },
    /// All that waits in a lane is thrown away.
    Discard {
        /// The backend whose events go.
        lane: String,
    },
}

/// A lane whose loop has ended.
struct AtRest {
    lane: Arc<Lane>,
    id: LaneId,
}

impl Reloader {
    /// Does it; how many events went, or why none did.
    pub(super) async fn work_on(&mut self, work: LaneWork) -> Result<u64, String> {
        match work {
            LaneWork::Move { from, to } => self.hand_over(&from, &to).await,
            LaneWork::Discard { lane } => self.discard(&lane).await,
        }
    }

    fn lane(&self, name: &str) -> Result<(Arc<Lane>, LaneId), String> {
        let lanes = self.parts.shared.lanes();
        let known = || lanes.iter().map(|lane| lane.name.as_str()).collect::<Vec<_>>().join(", ");
        let lane = lanes.by_name(name).ok_or_else(|| format!("there is no lane {name:?}; there are {}", known()))?;
        let id = LaneId::new(lane.id).ok_or_else(|| format!("lane {name:?} has no place"))?;
        Ok((Arc::clone(lane), id))
    }

    /// Ends a lane's loop: what is under way is confirmed, or stays where it is.
    async fn rest(&self, name: &str) -> Result<AtRest, String> {
        let (lane, id) = self.lane(name)?;
        if let Some(task) = self.parts.deliveries.end(lane.id) {
            // It ends within its time for handing back; one that panicked was said by its guard.
            let _ended = task.await;
        }
        Ok(AtRest { lane, id })
    }

    /// A loop again, with a new instance of the backend: the old one was closed. The generation that comes with it is the same config,
    /// and knows the new instance.
    fn go_on(&mut self, at_rest: &AtRest) {
        let Parts { shared, live, deliveries, .. } = &self.parts;
        let now = live.now();
        let name = at_rest.lane.name.as_str();
        // A lane that is about to go has nobody to deliver to.
        let Some(configured) = now.config.backends.get(name) else { return };
        let built = build::backend(&now.config, name, configured, &self.env).and_then(|backend| {
            let lane = build::lane(shared, at_rest.id, name, configured, backend);
            let mut lanes = Lanes::clone(&shared.lanes());
            lanes.put(Arc::clone(&lane));
            let lanes = Arc::new(lanes);
            let compiled = plan::compile(&now.config, shared, &lanes, &live.entrances, Some(now.before()), &self.env);
            Ok((lane, lanes, compiled.map_err(|error| error.to_string())?))
        });
        match built {
            Ok((lane, lanes, compiled)) => {
                shared.change_lanes(|now| *now = Lanes::clone(&lanes));
                let old = live.swap(now.config.clone(), compiled, shared);
                shared.metrics.generation.set(i64::try_from(live.now().number).unwrap_or(i64::MAX));
                deliveries.run(lane);
                self.over.push(Arc::clone(&old.epoch));
            }
            Err(error) => tracing::error!(backend = %name, error, "its lane does not go on: reload, or restart"),
        }
    }

    async fn hand_over(&mut self, from: &str, to: &str) -> Result<u64, String> {
        let (target, to_id) = self.lane(to)?;
        if from == to {
            return Err("a lane's events are in it already: name another one".to_owned());
        }
        if self.parts.live.now().config.backends.get(to).is_none() {
            return Err(format!("backend {to:?} is about to go: name one that stays"));
        }
        let at_rest = self.rest(from).await?;
        let (journal, id) = (self.parts.shared.journal.clone(), at_rest.id);
        let moved = tokio::task::spawn_blocking(move || {
            let before = journal.pending(id);
            let done = journal.move_lane(id, to_id, |_| None);
            // Also when it broke off: what has gone has gone.
            (before.saturating_sub(journal.pending(id)), done)
        });
        let (_, done) = moved.await.unwrap_or((0, Err(MoveError::Failed)));
        let moved = done.map_err(|error| format!("not all of its events went: {error}"));
        if let Ok(moved) = &moved {
            at_rest.lane.meter.dropped_as(MOVED, *moved);
            target.meter.recovered.inc_by(*moved);
            tracing::warn!(from, to, events = *moved, "a lane's events were handed to another one");
        }
        self.go_on(&at_rest);
        moved
    }

    async fn discard(&mut self, name: &str) -> Result<u64, String> {
        let at_rest = self.rest(name).await?;
        let (journal, id) = (self.parts.shared.journal.clone(), at_rest.id);
        let done = tokio::task::spawn_blocking(move || journal.discard(id)).await;
        let discarded = match done {
            Ok(Ok(events)) => {
                at_rest.lane.meter.dropped_as(DISCARDED, events);
                tracing::warn!(backend = name, events, "a lane's events were thrown away");
                Ok(events)
            }
            Ok(Err(_)) | Err(_) => Err("the journal's disk failed".to_owned()),
        };
        self.go_on(&at_rest);
        discarded
    }
}
