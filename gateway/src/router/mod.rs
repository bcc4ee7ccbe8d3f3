//! The router: which routes take an event, which lanes it goes to, and whether they have room.
//!
//! All predicates of a generation are one table; the first match wins unless a route says `continue`. A predicate that errs
//! does not match, and is counted per route. Matched routes of one event must be of one path (`mixed_paths`). Each matched
//! route's pipeline works on its own view of the event: a refusal in one refuses the event everywhere, a drop removes that
//! route's lanes only, views with equal content are one record, and a lane named twice is one target.
pub mod index;
pub mod view;

use crate::{
    lanes::Lanes,
    stack::{Batch, Item, Stack, View},
    telemetry::metrics::Count,
};
use cesql::Expression;
use index::Index;
use schemas::{AckLevel, ByteStr, Door, EventView, ItemVerdict, Refusal, Word};
use smallvec::SmallVec;
use std::{
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tower::{Service, ServiceExt};
use view::Seen;

/// What becomes of an event that no route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// It is a dead letter, and the sender gets a receipt that says so.
    DeadLetter,
    /// It is refused with `no_route`.
    Reject,
    /// It is dropped and counted.
    Drop,
}

/// One route of a generation.
pub struct Route {
    /// Its name.
    pub name: ByteStr,
    /// `None`: everything matches.
    pub when: Option<Expression>,
    /// Its pipeline, `None` when it has none.
    pub pipeline: Option<Stack>,
    /// Bit n = lane n.
    pub lanes: u64,
    /// When the sender is told yes.
    pub level: AckLevel,
    /// Whether routes below are looked at, too.
    pub go_on: bool,
    /// Events that it took.
    pub matched: Count,
    /// Predicates that erred, for `status`.
    pub errors: AtomicU64,
}

/// The routes of one generation with their index.
pub struct RoutePlan {
    routes: Vec<Route>,
    index: Index,
    unrouted: Unrouted,
    lanes: Arc<Lanes>,
    /// Bits of the lanes that are not required.
    optional: u64,
}

impl std::fmt::Debug for RoutePlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoutePlan").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

/// The routes that took one event.
pub type Matched = SmallVec<[u32; 2]>;

impl RoutePlan {
    /// Compiles the index. Route numbers are places in `routes`.
    pub fn new(routes: Vec<Route>, unrouted: Unrouted, lanes: Arc<Lanes>) -> Self {
        let mut index = Index::default();
        for (number, route) in (0u32..).zip(&routes) {
            index.add(number, route.when.as_ref());
        }
        let optional = lanes.iter().filter(|lane| !lane.treatment.required).fold(0, |bits, lane| bits | 1 << lane.id);
        RoutePlan { routes, index, unrouted, lanes, optional }
    }

    /// The routes, top to bottom.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The lanes of the same generation.
    pub fn lanes(&self) -> &Arc<Lanes> {
        &self.lanes
    }

    /// What becomes of an event that no route takes.
    pub fn unrouted(&self) -> Unrouted {
        self.unrouted
    }

    /// The routes that take an event, in order: through the index.
    pub fn matching(&self, event: &EventView<'_>) -> Matched {
        let candidates = self.index.candidates(event);
        self.first_matches(candidates.iter().copied(), event)
    }

    /// The same without the index: what it must agree with.
    pub fn matching_linear(&self, event: &EventView<'_>) -> Matched {
        self.first_matches((0u32..).take(self.routes.len()), event)
    }

    fn first_matches(&self, candidates: impl Iterator<Item = u32>, event: &EventView<'_>) -> Matched {
        let mut matched = Matched::new();
        for number in candidates {
            let Some(route) = self.routes.get(number as usize) else { continue };
            if route.takes(event) {
                matched.push(number);
                if !route.go_on {
                    break;
                }
            }
        }
        matched
    }

    fn route_item(&self, item: &mut Item, door: &Door) {
        if is_expired(item) {
            item.drop_as(Word::Expired);
            return;
        }
        let matched = self.matching(&item.view(door));
        let mut levels = matched.iter().filter_map(|number| self.routes.get(*number as usize)).map(|route| route.level);
        let direct = levels.clone().any(|level| level == AckLevel::Delivered);
        if direct && levels.any(|level| level != AckLevel::Delivered) {
            item.refuse(Word::MixedPaths, "matched routes say `ack: delivered` and another level");
            return;
        }
        // Several stored routes: the stronger level wins.
        item.level = matched
            .iter()
            .filter_map(|number| self.routes.get(*number as usize))
            .map(|route| route.level)
            .max()
            .unwrap_or_default();
        if matched.is_empty() {
            self.unrouted_item(item);
        }
        item.routes = matched;
    }

    fn unrouted_item(&self, item: &mut Item) {
        match self.unrouted {
            Unrouted::DeadLetter => item.dead = Some((Word::NoRoute, ByteStr::from_static("no route took the event"))),
            Unrouted::Reject => item.refuse(Word::NoRoute, "no route took the event"),
            Unrouted::Drop => item.drop_as(Word::Unrouted),
        }
    }

    /// Views of the routes that have no pipeline: the event as it is.
    fn plain_views(&self, item: &mut Item) {
        let (mut lanes, mut first) = (0, 0);
        for number in &item.routes {
            let Some(route) = self.routes.get(*number as usize).filter(|route| route.pipeline.is_none()) else {
                continue;
            };
            if lanes == 0 {
                first = *number;
            }
            lanes |= route.lanes;
        }
        if lanes != 0 {
            item.views.push(View { envelope: item.envelope.clone(), lanes, route: first });
        }
    }

    /// Takes those lanes from an event that are full and not required; without any left it is dropped.
    fn leave_out(&self, item: &mut Item) {
        if item.level == AckLevel::Delivered || self.optional == 0 {
            return;
        }
        for view in &mut item.views {
            let full = self.lanes.full(view.lanes & self.optional, view.envelope.size());
            view.lanes &= !full;
            item.left_out |= full;
        }
        if item.left_out != 0 {
            item.views.retain(|view| view.lanes != 0);
            if item.views.is_empty() {
                item.drop_as(Word::StorageFull);
            }
        }
    }

    /// Asks every lane for room, and its backend whether it can take the event at all.
    fn ask_lanes(&self, batch: &mut Batch) {
        let mut held = None;
        // Whether dead letters have room is asked at admission, which knows the size of their records.
        for (item, door) in batch.alive().filter(|(item, _)| item.dead.is_none()) {
            self.leave_out(item);
            let refused = item.views.iter().find_map(|view| {
                let event = EventView { envelope: &view.envelope, door };
                if let Err(refusal) = self.lanes.room(view.lanes, item.level, view.envelope.size()) {
                    held.get_or_insert(refusal);
                }
                self.lanes.accepts(view.lanes, &event).err()
            });
            if let Some(fault) = refused {
                item.refuse(fault.word, fault.detail.as_ref());
            }
        }
        if let Some(refusal) = held {
            batch.hold(refusal);
        }
    }
}

impl Route {
    /// Whether the predicate is true. An error is not.
    pub fn takes(&self, event: &EventView<'_>) -> bool {
        match self.when.as_ref().map(|when| when.matches(&Seen(*event))) {
            None | Some(Ok(true)) => true,
            Some(Ok(false)) => false,
            Some(Err(_)) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }
}

/// Whether the event's `expirytime` (CloudEvents extension "expirytime", an RFC 3339 timestamp) has passed. One that cannot be
/// read is only an attribute.
fn is_expired(item: &Item) -> bool {
    let Some(expiry) = item.envelope.get("expirytime") else { return false };
    expiry.text.parse::<jiff::Timestamp>().is_ok_and(|expiry| expiry < jiff::Timestamp::now())
}

/// The router as a service: the end of the listener's pipeline.
#[derive(Clone)]
pub struct Router {
    plan: Arc<RoutePlan>,
}

impl Router {
    /// A router over a generation's routes.
    pub fn new(plan: Arc<RoutePlan>) -> Self {
        Router { plan }
    }
}

/// What a pipeline makes of a batch.
pub type BatchFuture = Pin<Box<dyn Future<Output = Result<Batch, Refusal>> + Send>>;

impl Service<Batch> for Router {
    type Response = Batch;
    type Error = Refusal;
    type Future = BatchFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut batch: Batch) -> BatchFuture {
        match self.route(&mut batch) {
            Some(pipelines) => self.run_pipelines(pipelines, batch),
            None => Box::pin(ready(Ok(batch))),
        }
    }
}

/// Routes whose pipelines have still to run, ascending.
pub type Pipelines = SmallVec<[u32; 4]>;

impl Router {
    /// Routes all events that are alive. `None`: that was all; else the pipelines that must run ([`Router::run_pipelines`]).
    pub fn route(&self, batch: &mut Batch) -> Option<Pipelines> {
        batch.plan = Some(Arc::clone(&self.plan));
        for (item, door) in batch.alive() {
            self.plan.route_item(item, door);
        }
        let mut pipelines = Pipelines::new();
        for (item, _) in batch.alive() {
            self.plan.plain_views(item);
            let with_pipeline =
                |number: &&u32| self.plan.routes.get(**number as usize).is_some_and(|route| route.pipeline.is_some());
            pipelines.extend(item.routes.iter().filter(with_pipeline).copied());
        }
        if pipelines.is_empty() {
            self.plan.ask_lanes(batch);
            return None;
        }
        pipelines.sort_unstable();
        pipelines.dedup();
        Some(pipelines)
    }

    /// Runs the pipelines of routes, and ends the routing.
    pub fn run_pipelines(&self, pipelines: Pipelines, mut batch: Batch) -> BatchFuture {
        let plan = Arc::clone(&self.plan);
        Box::pin(async move {
            for number in pipelines {
                batch = run_pipeline(&plan, number, batch).await?;
                if batch.held.is_some() {
                    return Ok(batch);
                }
            }
            settle_without_views(&mut batch);
            plan.ask_lanes(&mut batch);
            Ok(batch)
        })
    }
}

/// Runs one route's pipeline over its own view of the events that the route took, and merges what came of it.
async fn run_pipeline(plan: &RoutePlan, number: u32, mut batch: Batch) -> Result<Batch, Refusal> {
    let Some(route) = plan.routes.get(number as usize) else { return Ok(batch) };
    let Some(pipeline) = route.pipeline.clone() else { return Ok(batch) };
    let places: Vec<usize> = batch
        .items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.is_alive() && item.routes.contains(&number))
        .map(|(place, _)| place)
        .collect();
    let views = places
        .iter()
        .filter_map(|place| batch.items.get(*place))
        .map(|item| Item::new(item.number, item.envelope.clone()))
        .collect();
    let mut through = pipeline.oneshot(batch.part(views)).await?;
    batch.claims.append(&mut through.claims);
    if let Some(refusal) = through.held.take() {
        batch.hold(refusal);
        return Ok(batch);
    }
    for (place, view) in places.into_iter().zip(through.items) {
        let Some(item) = batch.items.get_mut(place) else { continue };
        match view.fate {
            None => merge_view(item, View { envelope: view.envelope, lanes: route.lanes, route: number }),
            Some(ItemVerdict::Refused(word, detail)) => item.fate = Some(ItemVerdict::Refused(word, detail)),
            // A drop, or a duplicate of this route only, removes this route's lanes only.
            Some(ItemVerdict::Dropped(_) | ItemVerdict::Duplicate | ItemVerdict::Kept { .. }) => {}
        }
    }
    Ok(batch)
}

fn merge_view(item: &mut Item, view: View) {
    match item.views.iter_mut().find(|other| other.envelope == view.envelope) {
        Some(same) => same.lanes |= view.lanes,
        None => item.views.push(view),
    }
}

/// An event of which every route's pipeline dropped its part is dropped as a whole.
fn settle_without_views(batch: &mut Batch) {
    for (item, _) in batch.alive() {
        if item.views.is_empty() && item.dead.is_none() {
            item.drop_as(Word::Filtered);
        }
    }
}
