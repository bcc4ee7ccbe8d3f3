//! What would happen to a message: the engine of `anygate explain`. It is the engine of `run`, with admission left out.
//!
//! The listener opens the message, its pipeline and the router decide; nothing is appended, no backend is asked anything but
//! whether it could take the event and what its record would be.
use crate::{
    config::model::Config,
    ids::Ids,
    lanes::{Lane, Lanes, Treatment, bits},
    router::{RoutePlan, view::Seen},
    runtime::{Blueprint, StartError, Surroundings},
    stack::{self, Batch, Item, admit, epoch::Epoch},
    telemetry::{Metrics, Ring},
};
use backends::{Backend, Events, Order, Outcome, Plugin, Why};
use futures_util::{FutureExt, future::BoxFuture};
use schemas::{AttributeFault, EventView, ItemVerdict, Message, Refusal, Word};
use std::{sync::Arc, time::Duration};
use tower::{Service, ServiceExt};
use transports::{Origin, Room, Submission};

/// A config compiled for `explain`.
pub struct Explainer {
    config: Arc<Config>,
    blueprint: Blueprint,
    lanes: Arc<Lanes>,
}

/// What would happen to one message.
pub struct Explained {
    /// The number of the envelope rule that matched, from 1.
    pub rule: Option<usize>,
    /// Each event.
    pub events: Vec<ExplainedEvent>,
    /// The refusal of the whole message, if it is one.
    pub refusal: Option<Refusal>,
}

/// What would happen to one event.
pub struct ExplainedEvent {
    /// Its attributes as routing saw them, with the door's.
    pub attributes: Vec<(String, String)>,
    /// Why each route took it or not, top to bottom.
    pub routes: Vec<RouteWhy>,
    /// The routes that took it.
    pub matched: Vec<String>,
    /// What became of it; `None`: it is kept.
    pub fate: Option<ItemVerdict>,
    /// Why it would be a dead letter.
    pub dead_letter: Option<Word>,
    /// The ack level.
    pub level: schemas::AckLevel,
    /// Each record, backend by backend.
    pub records: Vec<Record>,
}

/// Why a route took an event or not.
pub struct RouteWhy {
    /// Its name.
    pub name: String,
    /// The line of the config where it starts.
    pub line: u32,
    /// `yes`, `no`, or `not reached`.
    pub answer: &'static str,
    /// Each test of its predicate with its value.
    pub steps: Vec<String>,
}

/// What one backend would get.
pub struct Record {
    /// The backend.
    pub backend: String,
    /// Its kind.
    pub kind: &'static str,
    /// Topic, key, headers and so on.
    pub fields: Vec<(&'static str, String)>,
}

/// A backend that only says what it would do.
struct Preview {
    config: Arc<Config>,
    name: String,
    kind: &'static str,
}

impl Preview {
    fn plugin(&self) -> Option<&dyn Plugin> {
        self.config.backends.get(&self.name).map(|backend| backend.plugin())
    }
}

impl Backend for Preview {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn order(&self) -> Order {
        Order::Pipelined
    }

    fn accepts(&self, event: &EventView<'_>) -> Result<(), AttributeFault> {
        self.plugin().map_or(Ok(()), |plugin| plugin.accepts(event))
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let why = Why::new(Word::Internal, "explain sends nothing");
        Box::pin(std::future::ready(vec![Outcome::Retry(why); events.len()]))
    }
}

impl Explainer {
    /// Compiles the config; touches no network and no data folder.
    ///
    /// # Errors
    /// A schema that can no longer be read.
    pub fn new(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let (metrics, ring, mut lanes) = (Arc::new(Metrics::new()), Arc::new(Ring::default()), Lanes::default());
        for (id, (name, backend)) in (1u8..).zip(config.backends.iter()) {
            let preview = Preview { config: Arc::clone(&config), name: name.clone(), kind: backend.kind() };
            let treatment = Treatment {
                attempts: None,
                backoff: (Duration::ZERO, Duration::ZERO),
                order: None,
                dead_letter: true,
                required: true,
            };
            lanes.put(Arc::new(Lane::new(id, name.as_str(), Arc::new(preview), treatment, metrics.lane(name))));
        }
        let lanes = Arc::new(lanes);
        let surroundings = Surroundings { metrics: &metrics, ring: &ring, ids: &Ids::new([0; 16]) };
        let blueprint = Blueprint::new(&config, &lanes, &surroundings, &Epoch::lasting(), None)?;
        Ok(Explainer { config, blueprint, lanes })
    }

    /// The first listener of a kind: `http`, `mqtt`.
    pub fn listener_of(&self, kind: &str) -> Option<&str> {
        self.config.listeners.iter().find(|(_, listener)| listener.kind() == kind).map(|(name, _)| name.as_str())
    }

    /// What would happen to a message on the listener that `origin` names.
    ///
    /// # Errors
    /// The refusal of a message that cannot be read, or a listener that does not exist.
    pub fn explain(&self, message: Message, origin: Origin) -> Result<Explained, Refusal> {
        let none = || Refusal::new(Word::NotFound, format!("no listener named {}", origin.listener));
        let plan = self.blueprint.plans.get(origin.listener.as_str()).ok_or_else(none)?;
        let rule = plan.open.rules.matching(&message.subject);
        let submission = Submission { message, room: Room::default(), origin: Arc::new(origin) };
        let batch = plan.open.open_or_refuse(submission)?;
        let mut decide = stack::decide(plan);
        let ready = decide.ready().now_or_never();
        let decided = match ready {
            Some(Ok(service)) => service.call(batch).now_or_never(),
            Some(Err(_)) | None => None,
        };
        let batch =
            decided.unwrap_or_else(|| Err(Refusal::new(Word::Internal, "a middleware waits, which explain cannot")))?;
        let refusal = batch.held.clone().or_else(|| admit::refusal_of(&batch));
        let events = batch.items.iter().map(|item| self.event(&batch, item)).collect();
        Ok(Explained { rule, events, refusal })
    }

    fn event(&self, batch: &Batch, item: &Item) -> ExplainedEvent {
        let view = item.view(&batch.door);
        let own = item.envelope.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned()));
        let door = batch.door.attributes().map(|(name, value)| (name.to_owned(), value.text.to_owned()));
        let plan = &self.blueprint.routes;
        ExplainedEvent {
            attributes: own.chain(door).collect(),
            routes: self.routes(&view, item),
            matched: item
                .routes
                .iter()
                .filter_map(|number| plan.routes().get(*number as usize))
                .map(|route| route.name.to_string())
                .collect(),
            fate: item.fate.clone(),
            dead_letter: item.dead.as_ref().map(|(word, _)| *word),
            level: item.level,
            records: if item.is_alive() { self.records(batch, item) } else { Vec::new() },
        }
    }

    fn routes(&self, view: &EventView<'_>, item: &Item) -> Vec<RouteWhy> {
        let plan: &RoutePlan = &self.blueprint.routes;
        let mut ended = false;
        let lines = self.config.routes.iter().map(|route| route.line);
        (0u32..)
            .zip(plan.routes().iter().zip(lines))
            .map(|(number, (route, line))| {
                let took = item.routes.contains(&number);
                let answer = if ended {
                    "not reached"
                } else if took {
                    "yes"
                } else {
                    "no"
                };
                let steps = match &route.when {
                    Some(when) if !ended => when.explain(&Seen(*view)).iter().map(ToString::to_string).collect(),
                    Some(_) | None => Vec::new(),
                };
                ended |= took && !route.go_on;
                RouteWhy { name: route.name.to_string(), line, answer, steps }
            })
            .collect()
    }

    fn records(&self, batch: &Batch, item: &Item) -> Vec<Record> {
        let mut records = Vec::new();
        for view in &item.views {
            for lane in bits(view.lanes).filter_map(|id| self.lanes.get(id)) {
                let event = admit::event_of(batch, item, view);
                let fields = self
                    .config
                    .backends
                    .get(&lane.name)
                    .map(|backend| backend.plugin().preview(&event))
                    .unwrap_or_default();
                records.push(Record { backend: lane.name.to_string(), kind: lane.backend.kind(), fields });
            }
        }
        records
    }
}
