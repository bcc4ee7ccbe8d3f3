//! The life of a message, top to bottom. **Read this file first.**
//!
//! ```text
//! Message ─▶ open: trace · deadline · door attributes · decode ─▶ Batch ─▶ listener pipeline ─▶ router ─▶ route pipelines
//!         ◀─ Ticket ◀─ admit: store (one append) | direct ◀────────────── settled items with their lanes ◀─┘
//! ```
//!
//! Everything here is synchronous in effect: middleware never waits on the network, and the only wait is [`hold`]'s, when
//! there is no room now. So dropping a message's future before the append kept nothing, and after it everything.
pub mod admit;
pub mod batch;
pub mod count;
pub mod epoch;
pub mod held;
pub mod hold;
pub mod open;
pub mod rules;

pub use batch::{Batch, Claim, Item, View};

use epoch::Way;

use crate::{
    middleware::{Middleware, Step, Steps},
    router::{BatchFuture, RoutePlan, Router},
    state::Shared,
};
use schemas::Refusal;
use std::{
    future::Ready,
    sync::Arc,
    task::{Context, Poll},
};
use tower::{Service, util::BoxCloneSyncService};

/// Listener pipeline, router, route pipelines: items come back settled, with their lanes. Ready at the first poll.
pub type Stack = BoxCloneSyncService<Batch, Batch, Refusal>;

/// Everything that one listener's messages go through, of one generation of the config.
pub struct Plan {
    /// How the listener opens a message.
    pub open: open::Open,
    /// The listener's pipeline.
    pub pipeline: Vec<Arc<dyn Middleware>>,
    /// The routes of this generation.
    pub routes: Arc<RoutePlan>,
    /// What the listener does when there is no room.
    pub hold: hold::Policy,
}

/// Composes the way in of one listener. The order of these lines is the order of a message's life, from the inside out.
pub fn compose(plan: &Plan, shared: &Arc<Shared>) -> Way {
    let pipeline = Course::of(plan);
    // Admission is the only step that keeps anything: one append, or the direct windows.
    let admit = admit::Admit::new(Arc::clone(shared));
    // Outermost but one: a batch that finds no room is offered again, from the pipeline on, until its hold time ends.
    let held = hold::Hold::new(pipeline, admit, plan.hold, Arc::clone(&plan.open.epoch), Arc::clone(shared));
    // Outermost: reads the message and starts its trace, so that refusals are counted and traced too.
    let open = open::OpenService::new(plan.open.clone(), held.clone(), Arc::clone(shared));
    Way { door: BoxCloneSyncService::new(open), hold: held }
}

/// The part of the way that decides and keeps nothing: what `explain` shows.
pub fn decide(plan: &Plan) -> Stack {
    // Routing decides lanes, asks them for room, and runs the pipelines of the routes that matched.
    let router: Stack = BoxCloneSyncService::new(Router::new(Arc::clone(&plan.routes)));
    // The listener's pipeline sees every event before a route does: what it sets, routes can ask for.
    wrap(&plan.pipeline, router)
}

/// The deciding part as a listener runs it. It is [`decide`], but without a box or a future where only built-in steps and the
/// router are on the way: one function call, and the batch stays where it is.
#[derive(Clone)]
pub enum Course {
    /// Steps, then the router.
    Plain(Arc<[Arc<dyn Step>]>, Router),
    /// A plug-in layer is among them.
    Layers(Stack),
}

impl Course {
    /// The course of one listener.
    pub fn of(plan: &Plan) -> Self {
        let steps: Option<Vec<_>> = plan.pipeline.iter().map(|middleware| middleware.step()).collect();
        match steps {
            Some(steps) => Course::Plain(steps.into(), Router::new(Arc::clone(&plan.routes))),
            None => Course::Layers(decide(plan)),
        }
    }

    /// Runs what needs no wait; what is left of it, if anything.
    pub fn go(&mut self, mut batch: Batch) -> Gone {
        match self {
            Course::Plain(steps, router) => {
                for step in steps.iter() {
                    step.apply(&mut batch);
                    if batch.held.is_some() {
                        return Gone::There(batch);
                    }
                }
                match router.route(&mut batch) {
                    None => Gone::There(batch),
                    Some(pipelines) => Gone::OnTheWay(router.run_pipelines(pipelines, batch)),
                }
            }
            Course::Layers(stack) => Gone::OnTheWay(stack.call(batch)),
        }
    }
}

/// How far a batch came at once.
#[allow(clippy::large_enum_variant, reason = "the large one is the common one, and a box is what it is there to avoid")]
pub enum Gone {
    /// Settled or held.
    There(Batch),
    /// The rest of the way.
    OnTheWay(BatchFuture),
}

/// Wraps `inner` in the middleware of a pipeline, the first one outermost. Neighbouring built-in steps become one service.
pub fn wrap(pipeline: &[Arc<dyn Middleware>], inner: Stack) -> Stack {
    let mut stack = inner;
    let mut steps = Vec::new();
    for middleware in pipeline.iter().rev() {
        match middleware.step() {
            Some(step) => steps.insert(0, step),
            None => {
                stack = middleware.wrap(Steps::around(std::mem::take(&mut steps), stack));
            }
        }
    }
    Steps::around(steps, stack)
}

/// The end of a route's pipeline: gives the batch back.
#[derive(Clone, Copy, Debug)]
pub struct End;

impl Service<Batch> for End {
    type Response = Batch;
    type Error = Refusal;
    type Future = Ready<Result<Batch, Refusal>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, batch: Batch) -> Self::Future {
        std::future::ready(Ok(batch))
    }
}
