//! From a config to a generation: pipelines, routes, and one door per listener.
use super::StartError;
use crate::{
    auth::Auth,
    config::{
        Middleware as Configured,
        middleware::Per as ConfiguredPer,
        model::{Ack, Config, Unrouted as ConfiguredUnrouted},
    },
    gate::ListenerGate,
    lanes::Lanes,
    middleware::{Middleware, Step, Stepped, dedupe::Dedupe, extract::Extract, filter::Filter, limit::Limit, rate_limit, set::Set, validate::Validate},
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
    pub fn new(config: &Config, lanes: &Arc<Lanes>, metrics: &Arc<Metrics>, ring: &Arc<Ring>) -> Result<Self, StartError> {
        let mut pipelines = HashMap::new();
        for (name, steps) in config.pipelines.iter() {
            let built: Result<Vec<_>, _> = steps.iter().map(|step| middleware(config, step)).collect();
            pipelines.insert(name.clone(), built?);
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
                },
                pipeline: named(&pipelines, common.pipeline.iter().map(settings::Name::as_str)),
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
    let blueprint = Blueprint::new(config, &shared.lanes, &shared.metrics, &shared.ring)?;
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

fn named<'n>(pipelines: &HashMap<String, Vec<Arc<dyn Middleware>>>, names: impl Iterator<Item = &'n str>) -> Vec<Arc<dyn Middleware>> {
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

/// The middleware of one entry of a pipeline. The registry is [`Configured`] itself: its variants, and their lines here.
fn middleware(config: &Config, configured: &Configured) -> Result<Arc<dyn Middleware>, StartError> {
    let step: Arc<dyn Step> = match configured {
        Configured::Limit(limit) => Arc::new(Limit { size: limit.size.as_usize() }),
        Configured::RateLimit(limit) => {
            let per = match limit.per {
                ConfiguredPer::Source => rate_limit::Per::Source,
                ConfiguredPer::Principal => rate_limit::Per::Principal,
                ConfiguredPer::Type => rate_limit::Per::Type,
                ConfiguredPer::Subject => rate_limit::Per::Subject,
                ConfiguredPer::Listener => rate_limit::Per::Listener,
                ConfiguredPer::All => rate_limit::Per::All,
            };
            let burst = limit.burst.unwrap_or_else(|| per_second(limit.rate));
            let keys = usize::try_from(limit.max_keys).unwrap_or(usize::MAX);
            Arc::new(rate_limit::RateLimit::new(per, limit.rate.count, limit.rate.per, burst, keys))
        }
        Configured::Dedupe(dedupe) => {
            let by = dedupe.by.iter().map(|name| name.as_str().to_owned()).collect();
            let keys = usize::try_from(dedupe.max_keys).unwrap_or(usize::MAX);
            Arc::new(Dedupe::new(by, dedupe.window.get(), keys))
        }
        Configured::Validate(validate) => Arc::new(schema(config, validate.schema.as_str())?),
        Configured::Extract(members) => {
            let members = members.iter().map(|(name, pointer)| (name.clone(), pointer.as_str().to_owned())).collect();
            Arc::new(Extract { members })
        }
        Configured::Set(attributes) => Arc::new(Set { attributes: attributes.iter().cloned().collect() }),
        Configured::Filter(filter) => Arc::new(Filter { keep: Arc::clone(filter.keep.expression()) }),
    };
    Ok(Arc::new(Stepped(step)))
}

fn per_second(rate: settings::Rate) -> u64 {
    let seconds = rate.per.as_secs().max(1);
    (rate.count / seconds).max(1)
}

fn schema(config: &Config, name: &str) -> Result<Validate, StartError> {
    let fault = |what: String| StartError::Config(format!("schema {name:?}: {what}"));
    let schema = config.schemas.get(name).ok_or_else(|| fault("there is none of this name".to_owned()))?;
    // The same function that `check` compiles it with.
    let validator = crate::config::compile_schema(&config.folder.join(&schema.file)).map_err(fault)?;
    Ok(Validate { name: name.to_owned(), schema: Arc::new(validator) })
}
