//! The `kafka` backend: every event is one record, confirmed by all replicas in sync.
//!
//! It promises:
//! * [`Outcome::Done`] comes from the record's own delivery report of an idempotent producer with `acks=all`, and carries its
//!   partition and offset;
//! * records keep the order of the calls, also across failures: while the caller has not seen that something must be offered
//!   again, nothing later is taken;
//! * no record is given up because time passed (`message.timeout.ms=0`): while brokers are away, the futures wait. A call ends
//!   early only when the producer must be replaced (a fatal error of the idempotent producer, a refused password) or is closed,
//!   and then with a retry or a destination fault;
//! * a record that is too large for the topic is found out before it is sent ([`size`]);
//! * a producer that gets no report for 120 s although brokers answer and every partition has a leader is replaced: what was
//!   under way comes back as a retry that does not count as an attempt. It is logged with librdkafka's last words ([`stall`]);
//! * the same key goes to the same partition as with Java's client (`murmur2_random`);
//! * topics are never made: a missing one is a destination fault within about ten seconds.
//!
//! The hop's `traceparent` header is the span of the delivery ([`schemas::Event::delivery_span`]), which the lane reports. The
//! event's own `ce_traceparent` is not touched.
//!
//! Replacing a producer costs its idempotence for what was under way: what of it had arrived is there twice, and a request that
//! is still on the wire then may be written after what the new producer sends. A key whose records A1 A2 were under way may
//! read A1 A2 A1 A2, or A1 A2 A1. Consumers find copies by the event's `id` and `source`.
//!
//! It deliberately has no transactions and no schema registry, and makes no second attempt of its own beside librdkafka's:
//! what comes back as a retry is the lane's to offer again. All blocking calls are made on the producer's own thread or on
//! tokio's blocking pool.
mod build;
pub mod config;
mod context;
mod fault;
mod gate;
mod line;
mod probe;
mod record;
mod reports;
mod said;
mod settings;
mod size;
mod stall;
mod topic;

pub use self::{
    probe::Facts,
    settings::{KafkaSettings, Mode, Sasl, Tls, check_property},
};
pub use config::OWNED;

use crate::{Backend, Events, Order, Outcome, Why};
use context::Known;
use futures_util::future::BoxFuture;
use line::Line;
use record::Recipe;
use schemas::{AttributeFault, EventView, Word};
use std::{
    future::ready,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use topic::TopicRule;

/// What a topic takes unless it says otherwise: Kafka's default `max.message.bytes`.
const RECORD_BYTES_DEFAULT: usize = 1_048_588;

/// The backend. See the module's documentation.
pub struct Kafka {
    line: Arc<Line>,
    facts: Arc<Mutex<Option<Facts>>>,
    closed: Arc<AtomicBool>,
}

impl Kafka {
    /// Makes the producer and its thread. Connects in the background: brokers that are away are no error here.
    ///
    /// # Errors
    /// In words: a setting that librdkafka does not take, an illegal topic name, a file that cannot be read, no thread.
    pub fn start(settings: KafkaSettings) -> Result<Kafka, String> {
        let topic = TopicRule::new(&settings.topic, &settings.topics_allowed);
        if let Some(name) = topic.fixed().filter(|name| !topic::is_legal(name)) {
            return Err(format!("{name:?} is no topic name: at most 249 letters, digits, '.', '_' and '-'"));
        }
        for (name, value) in &settings.properties {
            check_property(name, value).map_err(|fault| format!("properties: {fault}"))?;
        }
        let recipe = Recipe {
            topic,
            key: settings.key.clone(),
            mode: settings.mode,
            backend: crate::fault::hash(settings.name.as_bytes()),
        };
        let known = Arc::new(Known::new(RECORD_BYTES_DEFAULT));
        let line = Arc::new(Line::new(settings, recipe, known).map_err(|error| error.to_string())?);
        let served = Arc::clone(&line);
        let thread = std::thread::Builder::new().name("kafka".into()).spawn(move || served.serve());
        thread.map_err(|error| format!("no thread for the producer: {error}"))?;
        Ok(Kafka { line, facts: Arc::default(), closed: Arc::default() })
    }

    /// What the last probe learned about a fixed topic.
    pub fn facts(&self) -> Option<Facts> {
        *self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Kafka {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn order(&self) -> Order {
        Order::Pipelined
    }

    fn accepts(&self, event: &EventView<'_>) -> Result<(), AttributeFault> {
        self.line.recipe.check(event, self.line.known.limit.load(Ordering::Relaxed))
    }

    fn deliver(&self, events: Events) -> BoxFuture<'static, Vec<Outcome>> {
        let count = events.len();
        if count == 0 {
            return Box::pin(ready(Vec::new()));
        }
        let gate = self.line.reports.gate();
        if gate.is_held() || count > reports::PLACES_MAX {
            let hold = gate.hold();
            let why = Why::new(Word::BackendUnavailable, "waits until an earlier failure was seen, to keep the order")
                .untaken()
                .waited();
            return Box::pin(async move {
                drop(hold);
                vec![Outcome::Retry(why); count]
            });
        }
        let (call, answer) = self.line.reports.open(count);
        self.line.send(call, &events);
        Box::pin(async move {
            match answer.await {
                Ok((outcomes, hold)) => {
                    // From here on the caller knows; only now may later calls go on.
                    drop(hold);
                    outcomes
                }
                Err(_) => vec![Outcome::Retry(Why::new(Word::BackendUnavailable, "the producer is gone")); count],
            }
        })
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Why>> {
        let (line, facts) = (Arc::clone(&self.line), Arc::clone(&self.facts));
        let settings = self.line.settings.clone();
        Box::pin(async move {
            let runtime = tokio::runtime::Handle::current();
            let looked = tokio::task::spawn_blocking(move || probe::look(&line, &runtime)).await;
            let found = looked.map_err(|_| Why::new(Word::Internal, "the probe broke off"))??;
            let before = {
                let mut known = facts.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *known, found)
            };
            judge(&settings, before, found)
        })
    }

    fn unreachable(&self) -> Option<Why> {
        let down = self.line.known.is_down().then(|| self.line.known.last_error())?;
        let reason = if down.is_empty() { "all brokers are down".to_owned() } else { down };
        Some(Why::new(
            Word::BackendUnavailable,
            format!("no broker of {}: {reason}", self.line.settings.brokers.join(", ")),
        ))
    }

    fn warnings(&self) -> Vec<String> {
        self.facts().map(|facts| facts.warnings(self.line.settings.message_max)).unwrap_or_default()
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        let mut figures = vec![
            ("kafka_calls_waiting", as_figure(self.line.reports.waiting())),
            ("kafka_producers_replaced_total", as_figure(self.line.replaced.load(Ordering::Relaxed))),
            ("kafka_warnings", as_figure(self.warnings().len())),
            ("kafka_max_message_bytes", as_figure(self.line.known.limit.load(Ordering::Relaxed))),
        ];
        if let Some(found) = self.line.known.figures() {
            figures.extend([
                ("kafka_queue_records", as_figure(found.queue_records)),
                ("kafka_queue_bytes", as_figure(found.queue_bytes)),
                ("kafka_requests_total", as_figure(found.requests)),
                ("kafka_sent_bytes_total", as_figure(found.sent_bytes)),
                ("kafka_sent_records_total", as_figure(found.sent_records)),
                ("kafka_request_retries_total", as_figure(found.retries)),
                ("kafka_brokers_up", f64::from(found.brokers_up)),
                ("kafka_round_trip_seconds", as_figure(found.round_trip_us) / 1e6),
            ]);
        }
        figures
    }

    /// Waits for the reports of what is under way; when the future is dropped, what is left gets a retry as its outcome.
    fn close(&self) -> BoxFuture<'static, ()> {
        self.closed.store(true, Ordering::Relaxed);
        let closed = self.line.close(false);
        let abandon = Abandon(Arc::clone(&self.line));
        Box::pin(async move {
            let _ = closed.await;
            drop(abandon);
        })
    }
}

/// Says what has changed, one line each; with `strict` a warning is a place that is wrong.
fn judge(settings: &KafkaSettings, before: Option<Facts>, now: Option<Facts>) -> Result<(), Why> {
    let warnings = |facts: Option<Facts>| facts.map(|facts| facts.warnings(settings.message_max)).unwrap_or_default();
    let (old, new) = (warnings(before), warnings(now));
    let (backend, topic) = (&settings.name, settings.topic.text());
    for warning in new.iter().filter(|warning| !old.contains(warning)) {
        tracing::warn!(backend, topic, "{warning}");
    }
    for warning in old.iter().filter(|warning| !new.contains(warning)) {
        tracing::info!(backend, topic, "no longer: {warning}");
    }
    if settings.strict && !new.is_empty() {
        let detail = format!("strict, and {}", new.join("; "));
        return Err(Why::new(Word::BackendUnavailable, detail).wrong_place());
    }
    Ok(())
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Relaxed) {
            drop(self.line.close(true));
        }
    }
}

/// Ends the producer at once when nobody waits for it any more.
struct Abandon(Arc<Line>);

impl Drop for Abandon {
    fn drop(&mut self) {
        drop(self.0.close(true));
    }
}

/// Counts as the float that figures are; counts of this size fit.
fn as_figure(count: impl TryInto<i64>) -> f64 {
    let count = count.try_into().unwrap_or(i64::MAX).max(0).cast_unsigned();
    let low = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    f64::from(u32::try_from(count >> 32).unwrap_or(u32::MAX)) * 4_294_967_296.0 + f64::from(low)
}
