//! The ways in for replays: each listener's doors, without `dedupe`, and without a wait when there is no room.
use crate::{
    config::model::Config,
    runtime::Blueprint,
    stack::{self, Plan, hold::Policy},
    state::Shared,
};
use std::sync::Arc;
use transports::gate::Door;

/// A listener's ways in for replays.
pub(super) struct WayIn {
    pub(super) name: String,
    pub(super) kind: &'static str,
    /// From decode on, with the listener's pipeline.
    pub(super) whole: Door,
    /// From routing on.
    pub(super) routing: Door,
}

/// What replays need of a generation of the config.
pub struct Again {
    /// In the config's order; the first one stands in for listeners that are gone.
    ways: Vec<WayIn>,
}

impl Again {
    /// The ways in of this generation.
    pub fn new(config: &Config, blueprint: &Blueprint, shared: &Arc<Shared>) -> Self {
        let way = |(name, listener): &(String, crate::config::Listener)| {
            let plan = blueprint.plans.get(name)?;
            let without_dedupe = |step: &&Arc<dyn crate::middleware::Middleware>| {
                step.step().is_none_or(|step| !["dedupe", "idempotency_key"].contains(&step.name()))
            };
            let open = stack::open::Open { partial: false, ..plan.open.clone() };
            let pipeline = plan.pipeline.iter().filter(without_dedupe).cloned().collect();
            let door = |pipeline| {
                let plan =
                    Plan { open: open.clone(), pipeline, routes: Arc::clone(&plan.routes), hold: Policy::Refuse };
                stack::compose(&plan, shared).door
            };
            Some(WayIn { name: name.clone(), kind: listener.kind(), whole: door(pipeline), routing: door(Vec::new()) })
        };
        Again { ways: config.listeners.iter().filter_map(way).collect() }
    }

    /// The way in of a listener, or of the first one when it is gone.
    pub(super) fn way(&self, listener: &str) -> Option<&WayIn> {
        self.ways.iter().find(|way| way.name == listener).or_else(|| self.ways.first())
    }
}
