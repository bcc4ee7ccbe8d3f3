//! From a config to a generation: pipelines, routes, and one door per listener.
use super::StartError;
use crate::{
    auth::Auth,
    config::{
        Middleware as ConfiguredStep,
        model::{Ack, Config, Unrouted as ConfiguredUnrouted},
    },
    gate::{Entrance, Entrances},
    ids::Ids,
    lanes::Lanes,
    middleware::{BuildContext, Middleware, dedupe::Dedupe, stepped},
    router::{Route, RoutePlan, Unrouted},
    stack::{
        self, End, Plan,
        epoch::{Epoch, Next},
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
    sync::{Arc, Weak, atomic::AtomicU64},
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
    /// What each listener's messages go through, by name.
    pub entrances: HashMap<String, Entrance>,
    /// Who is inside, and whether it is over.
    pub epoch: Arc<Epoch>,
}

/// What a generation is compiled into, besides its lanes.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// All metrics.
    pub metrics: &'a Arc<Metrics>,
    /// The last events and deliveries.
    pub ring: &'a Arc<Ring>,
    /// The ids of events that were kept.
    pub ids: &'a Arc<Ids>,
}

/// The generation before, for what outlives it.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// Its config.
    pub config: &'a Config,
    /// What was made of it.
    pub blueprint: &'a Blueprint,
}

impl Before<'_> {
    /// The middleware of a step that keeps state and is written the same as before in the pipeline of the same name: a rate limit
    /// goes on counting. One whose settings changed begins anew, with a full burst for every key.
    fn same(&self, pipeline: &str, steps: &[ConfiguredStep], place: usize) -> Option<Arc<dyn Middleware>> {
        let step = steps.get(place).filter(|step| matches!(step, ConfiguredStep::RateLimit(_)))?;
        // Of several equal steps the n-th stays the n-th.
        let nth = steps.get(..place)?.iter().filter(|other| *other == step).count();
        let (old, _) =
            self.config.pipelines.get(pipeline)?.iter().enumerate().filter(|(_, other)| *other == step).nth(nth)?;
        self.blueprint.pipelines.get(pipeline)?.get(old).cloned()
    }
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
        around: &Surroundings<'_>,
        epoch: &Arc<Epoch>,
        before: Option<Before<'_>>,
    ) -> Result<Self, StartError> {
        let Surroundings { metrics, ring, ids } = *around;
        let mut pipelines = HashMap::new();
        for (name, steps) in config.pipelines.iter() {
            let context = BuildContext { config, ids };
            let build = |(place, step): (usize, &ConfiguredStep)| match before.and_then(|b| b.same(name, steps, place))
            {
                Some(same) => Ok(same),
                None => step.plugin().build(&context),
            };
            let built: Result<Vec<_>, _> = steps.iter().enumerate().map(build).collect();
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
                    epoch: Arc::clone(epoch),
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

/// Compiles a config against these lanes and composes its ways in. `entrances` is where a message finds the next generation.
///
/// # Errors
/// A schema or secret that can no longer be read.
pub fn compile(
    config: &Config,
    shared: &Arc<Shared>,
    lanes: &Arc<Lanes>,
    entrances: &Arc<Entrances>,
    before: Option<Before<'_>>,
    env: &Lookup<'_>,
) -> Result<Compiled, StartError> {
    let next: Weak<Entrances> = Arc::downgrade(entrances);
    let epoch = Epoch::new(next as Weak<dyn Next>);
    let around = Surroundings { metrics: &shared.metrics, ring: &shared.ring, ids: &shared.ids };
    let blueprint = Blueprint::new(config, lanes, &around, &epoch, before)?;
    let mut behind = HashMap::new();
    for (name, listener) in config.listeners.iter() {
        let Some(plan) = blueprint.plans.get(name) else { continue };
        let auth = Auth::build(config, listener.common().auth.as_ref(), env)
            .map_err(|what| StartError::Config(format!("listener {name}: {what}")))?;
        behind.insert(name.clone(), Entrance { way: stack::compose(plan, shared), auth });
    }
    Ok(Compiled { blueprint, entrances: behind, epoch })
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
