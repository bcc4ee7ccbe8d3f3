//! From a config to a generation: pipelines, routes, and one door per listener.
use super::StartError;
use crate::{
    auth::Auth,
    config::model::{Ack, Config, Unrouted as ConfiguredUnrouted},
    gate::ListenerGate,
    ids::Ids,
    lanes::Lanes,
    middleware::{BuildContext, Middleware, dedupe::Dedupe, stepped},
    router::{Route, RoutePlan, Unrouted},
    stack::{
        self, End, Plan,
        hold::Policy,
        open::Open,
        rules::{Rule, Rules},
    },
    state::Shared,
    telemetry::{Metrics, Ring},
};
use schemas::AckLevel;
use settings::Lookup;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};
use tower::util::BoxCloneSyncService;
use transports::net::config::{BatchMode, ListenerConfig, Overload};

/// How long MQTT messages are held unless the listener says otherwise.
pub const MQTT_HOLD: Duration = Duration::from_secs(20);

/// One generation of the config, compiled, and what stands behind each listener.
pub struct Compiled {
    /// Routes, pipelines and rules.
    pub blueprint: Blueprint,
    /// What stands behind each listener, by name.
    pub gates: HashMap<String, Arc<ListenerGate>>,
    /// A way in for replays, by listener: with the listener's rules and pipeline.
    pub doors: HashMap<String, transports::gate::Door>,
}

/// One generation of the config, compiled, without anything that keeps events: `explain` works on it too.
pub struct Blueprint {
    /// The routes with their index.
    pub routes: Arc<RoutePlan>,
    /// Each listener's envelope rules, by name.
    pub rules: HashMap<String, Arc<Rules>>,
    /// Each pipeline's middleware, by name.
    pub pipelines: HashMap<String, Vec<Arc<dyn Middleware>>>,
    /// What each listener's messages go through, by name.
    pub plans: HashMap<String, Plan>,
}

impl Blueprint {
    /// Compiles routes, pipelines and rules against these lanes.
    ///
    /// # Errors
    /// A schema that can no longer be read.
    pub fn new(
        config: &Config,
        lanes: &Arc<Lanes>,
        metrics: &Arc<Metrics>,
        ring: &Arc<Ring>,
        ids: &Arc<Ids>,
    ) -> Result<Self, StartError> {
        let mut pipelines = HashMap::new();
        for (name, steps) in config.pipelines.iter() {
            let context = BuildContext { config, ids };
            let built: Result<Vec<_>, _> = steps.iter().map(|step| step.plugin().build(&context)).collect();
            pipelines
                .insert(name.clone(), built.map_err(|what| StartError::Config(format!("pipeline {name}: {what}")))?);
        }
        let routes = routes(config, lanes, metrics, &pipelines);
        let (mut plans, mut all_rules) = (HashMap::new(), HashMap::new());
        for (name, listener) in config.listeners.iter() {
            let common = listener.common();
            let rules = Arc::new(rules(common));
            all_rules.insert(name.clone(), Arc::clone(&rules));
            let plan = Plan {
                open: Open {
                    rules,
                    meter: Arc::new(metrics.meter(name, listener.kind(), Arc::clone(ring))),
                    sample: config.telemetry.sample,
                    partial: common.batch == BatchMode::Each,
                    codec: common.codec.as_ref().and_then(|name| codecs::by_name(name.as_str())),
                    events_max: listener.plugin().max_events(),
                },
                pipeline: std::iter::once(stepped(Dedupe::idempotency_key(Arc::clone(ids))))
                    .chain(named(&pipelines, common.pipeline.iter().map(settings::Name::as_str)))
                    .collect(),
                routes: Arc::clone(&routes),
                hold: hold(listener.kind(), common.overload),
            };
            plans.insert(name.clone(), plan);
        }
        Ok(Blueprint { routes, rules: all_rules, pipelines, plans })
    }
}

/// Compiles a config and composes its doors.
///
/// # Errors
/// A schema or secret that can no longer be read.
pub fn compile(config: &Config, shared: &Arc<Shared>, env: &Lookup<'_>) -> Result<Compiled, StartError> {
    let blueprint = Blueprint::new(config, &shared.lanes(), &shared.metrics, &shared.ring, &shared.ids)?;
    let (mut gates, mut doors) = (HashMap::new(), HashMap::new());
    for (name, listener) in config.listeners.iter() {
        let Some(plan) = blueprint.plans.get(name) else { continue };
        let door = stack::compose(plan, shared);
        let auth = Auth::build(config, listener.common().auth.as_ref(), env).map_err(StartError::Config)?;
        doors.insert(name.clone(), door.clone());
        let meter = Arc::clone(&plan.open.meter);
        gates.insert(name.clone(), Arc::new(ListenerGate::new(Arc::clone(shared), auth, meter, door)));
    }
    Ok(Compiled { blueprint, gates, doors })
}

fn routes(
    config: &Config,
    lanes: &Arc<Lanes>,
    metrics: &Arc<Metrics>,
    pipelines: &HashMap<String, Vec<Arc<dyn Middleware>>>,
) -> Arc<RoutePlan> {
    let lane = |name: &settings::Name| lanes.by_name(name.as_str()).map_or(0, |lane| 1u64 << lane.id);
    let routes = config
        .routes
        .iter()
        .map(|route| Route {
            name: route.name.as_str().into(),
            when: (!route.when.is_always()).then(|| cesql::Expression::clone(route.when.expression())),
            pipeline: (!route.pipeline.is_empty()).then(|| {
                let steps = named(pipelines, route.pipeline.iter().map(settings::Name::as_str));
                stack::wrap(&steps, BoxCloneSyncService::new(End))
            }),
            lanes: route.to.iter().map(lane).fold(0, |lanes, lane| lanes | lane),
            level: match route.ack {
                Ack::Received => AckLevel::Received,
                Ack::Durable => AckLevel::Durable,
                Ack::Delivered => AckLevel::Delivered,
            },
            go_on: route.goes_on,
            matched: metrics.route(route.name.as_str()),
            errors: AtomicU64::new(0),
        })
        .collect();
    let unrouted = match config.unrouted {
        ConfiguredUnrouted::DeadLetter => Unrouted::DeadLetter,
        ConfiguredUnrouted::Reject => Unrouted::Reject,
        ConfiguredUnrouted::Drop => Unrouted::Drop,
    };
    Arc::new(RoutePlan::new(routes, unrouted, Arc::clone(lanes)))
}

fn named<'n>(
    pipelines: &HashMap<String, Vec<Arc<dyn Middleware>>>,
    names: impl Iterator<Item = &'n str>,
) -> Vec<Arc<dyn Middleware>> {
    names.filter_map(|name| pipelines.get(name)).flatten().cloned().collect()
}

fn rules(common: &ListenerConfig) -> Rules {
    let rule = |rule: &transports::net::config::EnvelopeRule| {
        let pattern = rule.topic.as_ref().or(rule.path.as_ref()).or(rule.routing_key.as_ref()).cloned();
        Rule::new(pattern, rule.set.iter().cloned().collect())
    };
    Rules::new(common.envelope.iter().map(rule).collect())
}

fn hold(kind: &str, overload: Option<Overload>) -> Policy {
    match overload {
        Some(Overload::Refuse) => Policy::Refuse,
        Some(Overload::Hold(time)) => Policy::Hold(time.get()),
        None if kind == "mqtt" => Policy::Hold(MQTT_HOLD),
        None => Policy::Refuse,
    }
}
