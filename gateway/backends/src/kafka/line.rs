//! The way to the brokers: the producer of the moment, the thread that serves it, and its replacement when it cannot go on.
use super::{
    context::{Alarm, Context, Known},
    fault,
    record::{Recipe, Scratch},
    reports::Reports,
    settings::{BATCH_BYTES, KafkaSettings},
};
use crate::{Events, Outcome, Why};
use rdkafka::{
    config::FromClientConfigAndContext as _,
    error::KafkaError,
    producer::{BaseProducer, Producer as _, PurgeConfig},
    types::RDKafkaErrorCode as Code,
};
use schemas::Word;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How long the thread waits for events of the client before it looks for something else to do.
const POLL: Duration = Duration::from_millis(100);
/// Pause before a producer that failed is replaced; doubles up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a probe looks whether the producer was replaced.
const REPLACED_LOOK: Duration = Duration::from_millis(5);
/// How long reports of records that were thrown out may take.
const LAST_REPORTS: Duration = Duration::from_secs(1);

pub(crate) type Producer = BaseProducer<Context>;

/// What the lock guards: who may send now.
struct State {
    producer: Option<Arc<Producer>>,
    /// What calls get while there is no producer.
    instead: Outcome,
    closing: bool,
    abandon: bool,
    ended: bool,
    closers: Vec<oneshot::Sender<()>>,
}

/// See the module's documentation.
pub(crate) struct Line {
    pub(crate) settings: KafkaSettings,
    pub(crate) recipe: Recipe,
    pub(crate) known: Arc<Known>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) replaced: AtomicU64,
    state: Mutex<State>,
}

impl Line {
    /// Makes the first producer, which checks the settings and connects in the background.
    pub(crate) fn new(settings: KafkaSettings, recipe: Recipe, known: Arc<Known>) -> Result<Line, KafkaError> {
        let instead = Outcome::Retry(Why::new(Word::BackendUnavailable, "the producer is being made"));
        let state =
            State { producer: None, instead, closing: false, abandon: false, ended: false, closers: Vec::new() };
        let line = Line {
            settings,
            recipe,
            known,
            reports: Arc::default(),
            replaced: AtomicU64::new(0),
            state: Mutex::new(state),
        };
        line.lock().producer = Some(Arc::new(line.make()?));
        Ok(line)
    }

    /// The size of record batches that the topic takes, as far as is known.
    pub(crate) fn batch_bytes(&self) -> usize {
        let cap = self.known.cap.load(Ordering::Relaxed);
        self.known.limit.load(Ordering::Relaxed).min(BATCH_BYTES).min(cap)
    }

    /// Waits until the producer of the moment makes no larger batches than the topic takes: what was handed to the one before
    /// would be refused, while smaller batches behind it are taken, and keys would lose their order. `false` when it takes longer
    /// than `patience`, or the line is being closed. Blocks.
    pub(crate) fn fits_topic(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            {
                let state = self.lock();
                let limit = self.known.limit.load(Ordering::Relaxed);
                if state.producer.as_ref().is_some_and(|producer| producer.context().batch_bytes <= limit) {
                    return true;
                }
                if state.closing || Instant::now() >= until {
                    return false;
                }
            }
            std::thread::sleep(REPLACED_LOOK);
        }
    }

    fn make(&self) -> Result<Producer, KafkaError> {
        let batch_bytes = self.batch_bytes();
        let context = Context {
            reports: Arc::clone(&self.reports),
            known: Arc::clone(&self.known),
            place: self.recipe.topic.fixed(),
            batch_bytes,
            ending: Mutex::default(),
        };
        BaseProducer::from_config_and_context(&self.settings.client(batch_bytes), context)
    }

    /// The producer of the moment, or why there is none.
    pub(crate) fn producer(&self) -> Result<Arc<Producer>, Why> {
        let state = self.lock();
        match (&state.producer, &state.instead) {
            (Some(producer), _) => Ok(Arc::clone(producer)),
            (None, Outcome::Retry(why) | Outcome::Destination(why) | Outcome::Record(why)) => Err(why.clone()),
            (None, Outcome::Done(_)) => Err(Why::new(Word::BackendUnavailable, "no producer")),
        }
    }

    /// Puts the events in line, all of them in order up to the first that must wait. Outcomes come through the reports.
    pub(crate) fn send(&self, call: usize, events: &Events) {
        // Held while sending: two calls never mix, and the producer is not replaced under one.
        let state = self.lock();
        let mut refused = match &state.producer {
            _ if state.closing => {
                Some(Outcome::Retry(Why::new(Word::ShuttingDown, "the producer is being closed").untaken()))
            }
            None => Some(state.instead.clone()),
            Some(_) => None,
        };
        let mut scratch = Scratch::default();
        for (place, event) in events.iter().enumerate() {
            let ticket = Reports::ticket(call, place);
            if let (None, Some(producer)) = (&refused, &state.producer) {
                match self.send_one(producer, event, ticket, &mut scratch) {
                    Ok(()) => continue,
                    Err(outcome @ (Outcome::Record(_) | Outcome::Done(_))) => {
                        self.reports.settle(ticket, outcome);
                        continue;
                    }
                    // Nothing may overtake the one that could not be sent.
                    Err(outcome @ (Outcome::Retry(_) | Outcome::Destination(_))) => refused = Some(outcome),
                }
            }
            if let Some(outcome) = &refused {
                self.reports.settle(ticket, outcome.clone());
            }
        }
    }

    fn send_one(
        &self,
        producer: &Producer,
        event: &schemas::Event,
        ticket: usize,
        scratch: &mut Scratch,
    ) -> Result<(), Outcome> {
        let topic =
            self.recipe.topic.of(&event.view()).map_err(|fault| Outcome::Record(Why::new(fault.word, fault.detail)))?;
        let key = self.recipe.key(event);
        let (record, bytes) = self.recipe.record(event, &topic, &key, ticket, scratch);
        let limit = self.known.limit.load(Ordering::Relaxed);
        if bytes > limit {
            // The broker would refuse it, and with it the producer's sequence and whatever shares its batch.
            let detail =
                format!("the record takes {bytes} bytes in a batch of its own; the topic takes at most {limit}");
            return Err(Outcome::Record(Why::new(Word::TooLarge, detail)));
        }
        producer.send(record).map_err(|(error, _)| match fault::code(&error) {
            Code::QueueFull => Outcome::Retry(Why::new(Word::Overloaded, "the producer's queue is full").untaken()),
            code => fault::outcome(code, &topic),
        })
    }

    /// Serves the producer until the line is closed. The body of its thread.
    pub(crate) fn serve(&self) {
        let mut pause = PAUSE;
        let mut again = Instant::now();
        loop {
            let producer = self.lock().producer.clone();
            match &producer {
                Some(producer) => producer.poll(POLL),
                None => std::thread::sleep(POLL),
            }
            if self.is_over(producer.as_deref()) {
                self.end(producer);
                return;
            }
            // The error event of a fatal error does not always come before records fail of it.
            if producer.as_ref().is_some_and(|producer| producer.client().fatal_error().is_some()) {
                self.known.raise(Alarm::Fatal);
            }
            if self.known.batch_again() {
                self.known.raise(Alarm::SmallerBatches);
            }
            if let Some(alarm) = self.alarm() {
                let calm = again.elapsed() > PAUSE_MAX;
                pause = if calm { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
                again = Instant::now() + if alarm.is_at_once() { Duration::ZERO } else { pause };
                self.take_out(producer, &alarm);
            } else if producer.is_none() && Instant::now() >= again {
                self.put_in();
            }
        }
    }

    /// What is wrong with the producer of the moment. A stall that has ended since it was seen is none.
    fn alarm(&self) -> Option<Alarm> {
        let ended = |alarm: &Alarm| matches!(alarm, Alarm::Stalled(_)) && self.known.stall.is_over();
        self.known.take_alarm().filter(|alarm| !ended(alarm))
    }

    fn is_over(&self, producer: Option<&Producer>) -> bool {
        let state = self.lock();
        let idle = self.reports.waiting() == 0 || producer.is_none();
        state.closing && (state.abandon || idle)
    }

    /// Ends a producer: whatever it still had gets an outcome.
    fn take_out(&self, producer: Option<Arc<Producer>>, alarm: &Alarm) {
        let Some(producer) = producer else { return };
        let outcome = match alarm {
            Alarm::Fatal => match producer.client().fatal_error() {
                Some((code, text)) => fault::outcome(code, &text),
                None => fault::outcome(Code::Fatal, ""),
            },
            Alarm::Authentication(text) => Outcome::Destination(Why::new(Word::Unauthenticated, text.clone())),
            Alarm::SmallerBatches => Outcome::Retry(Why::new(
                Word::BackendUnavailable,
                "the producer is replaced: the topic takes smaller batches",
            )),
            Alarm::Stalled(silence) => {
                let detail = format!(
                    "the producer is replaced: brokers answer, but confirmed nothing for {} s; what was under way is sent again, \
                     and what of it had arrived is there twice",
                    silence.as_secs()
                );
                Outcome::Retry(Why::new(Word::BackendUnavailable, detail).waited())
            }
        };
        tracing::warn!(backend = %self.settings.name, ?alarm, ?outcome, "the Kafka producer is replaced");
        if !matches!(alarm, Alarm::SmallerBatches) {
            self.tell();
        }
        self.replaced.fetch_add(1, Ordering::Relaxed);
        self.known.stall.begin_anew();
        {
            let mut state = self.lock();
            state.producer = None;
            state.instead = outcome.clone();
        }
        self.throw_out(&producer, &outcome);
    }

    /// What is known of a producer that is given up, in librdkafka's own words, so that somebody can find out why.
    fn tell(&self) {
        let backend = &self.settings.name;
        let (records, error) = (self.reports.under_way(), self.known.last_error());
        tracing::warn!(backend, records, error, figures = ?self.known.figures(), "what was under way, and what librdkafka said:");
        for (age, line) in self.known.said.take() {
            tracing::warn!(backend, seconds_ago = age.as_secs(), "librdkafka: {line}");
        }
    }

    fn throw_out(&self, producer: &Producer, outcome: &Outcome) {
        *producer.context().ending.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome.clone());
        producer.purge(PurgeConfig::default().queue().inflight());
        let _ = producer.flush(LAST_REPORTS);
        self.reports.fail_all(outcome);
    }

    fn put_in(&self) {
        match self.make() {
            Ok(producer) => self.lock().producer = Some(Arc::new(producer)),
            Err(error) => {
                self.lock().instead = Outcome::Destination(Why::new(Word::BackendUnavailable, error.to_string()));
            }
        }
    }

    fn end(&self, producer: Option<Arc<Producer>>) {
        let outcome =
            Outcome::Retry(Why::new(Word::ShuttingDown, "the producer was closed before the record was confirmed"));
        self.lock().producer = None;
        if let Some(producer) = producer {
            self.throw_out(&producer, &outcome);
        }
        let closers = {
            let mut state = self.lock();
            state.ended = true;
            state.instead = outcome;
            std::mem::take(&mut state.closers)
        };
        for closer in closers {
            let _ = closer.send(());
        }
    }

    /// Takes no more; the answer comes when everything under way has its report. With `abandon`, at once.
    pub(crate) fn close(&self, abandon: bool) -> oneshot::Receiver<()> {
        let (closer, closed) = oneshot::channel();
        let mut state = self.lock();
        state.closing = true;
        state.abandon |= abandon;
        if !state.ended {
            state.closers.push(closer);
        }
        closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
