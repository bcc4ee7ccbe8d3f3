//! Middleware: steps over the events of one message, before and after routing.
//!
//! A middleware settles items, changes envelopes, or says that there is no room now; it never waits on the network and keeps
//! no events. A plug-in is a [`Step`] (one function) or, when it must see both ways, any Tower layer ([`Middleware::wrap`]).
//! Adding one: a module here with its config struct (which is its own constructor: [`Plugin`]), its `mod` line, and its line in
//! [`crate::config::middleware`], the registry.
pub mod dedupe;
pub mod extract;
pub mod filter;
pub mod limit;
pub mod rate_limit;
pub mod set;
pub mod validate;

use crate::{
    config::model::Config,
    stack::{Batch, Stack},
};
use schemas::Refusal;
use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tower::{Service, util::BoxCloneSyncService};

/// What a middleware is told besides its own configuration.
pub struct BuildContext<'a> {
    /// The whole config: schemas, folder.
    pub config: &'a Config,
    /// The ids of events that were kept: they outlive the generation.
    pub ids: &'a Arc<crate::ids::Ids>,
}

/// A middleware's configuration, checked: it builds the middleware.
pub trait Plugin {
    /// Builds the middleware. State that it keeps (rates, keys) begins empty.
    ///
    /// # Errors
    /// What could not be read, and why.
    fn build(&self, cx: &BuildContext<'_>) -> Result<Arc<dyn Middleware>, String>;

    /// For how long, and of how many events, the journal has to remember the ids for it; `None`: of none.
    fn remembers(&self) -> Option<(std::time::Duration, u64)> {
        None
    }
}

/// A step as a middleware.
pub fn stepped(step: impl Step) -> Arc<dyn Middleware> {
    Arc::new(Stepped(Arc::new(step)))
}

/// One step of a pipeline, as one synchronous function.
pub trait Step: Send + Sync + Debug + 'static {
    /// Its name in configs, for metrics and `explain`.
    fn name(&self) -> &'static str;

    /// Settles or changes items that are alive. To say "not now", calls [`Batch::hold`]; then it must have counted, consumed
    /// and inserted nothing, or have put a [`crate::stack::Claim`] into the batch.
    fn apply(&self, batch: &mut Batch);
}

/// Any Tower layer over the [`Stack`]. It must be ready at the first poll, and may be offered a held batch again.
pub trait Middleware: Send + Sync + 'static {
    /// Wraps what comes after it.
    fn wrap(&self, inner: Stack) -> Stack;

    /// A step, if it is no more than that: neighbouring steps share one service and one box.
    fn step(&self) -> Option<Arc<dyn Step>> {
        None
    }
}

/// A [`Step`] as a middleware.
#[derive(Clone, Debug)]
pub struct Stepped(pub Arc<dyn Step>);

impl Middleware for Stepped {
    fn wrap(&self, inner: Stack) -> Stack {
        Steps::around(vec![Arc::clone(&self.0)], inner)
    }

    fn step(&self) -> Option<Arc<dyn Step>> {
        Some(Arc::clone(&self.0))
    }
}

/// Several steps in front of a stack, as one service.
#[derive(Clone)]
pub struct Steps {
    steps: Arc<[Arc<dyn Step>]>,
    inner: Stack,
}

impl Steps {
    /// `inner` with `steps` before it; `inner` itself when there are none.
    pub fn around(steps: Vec<Arc<dyn Step>>, inner: Stack) -> Stack {
        if steps.is_empty() { inner } else { BoxCloneSyncService::new(Steps { steps: steps.into(), inner }) }
    }
}

impl Service<Batch> for Steps {
    type Response = Batch;
    type Error = Refusal;
    type Future = Pin<Box<dyn Future<Output = Result<Batch, Refusal>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut batch: Batch) -> Self::Future {
        for step in self.steps.iter() {
            step.apply(&mut batch);
            if batch.held.is_some() {
                return Box::pin(std::future::ready(Ok(batch)));
            }
        }
        self.inner.call(batch)
    }
}
