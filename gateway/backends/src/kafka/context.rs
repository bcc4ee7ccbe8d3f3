//! What librdkafka tells us, on the producer's own thread: delivery reports, errors of the client, statistics, log lines.
use super::{fault, reports::Reports, said::Said, stall::Stall, topic};
use crate::{Outcome, Position};
use rdkafka::{
    ClientContext, Message as _, Statistics,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode as Code,
};
use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Why a producer must be replaced by a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The idempotent producer cannot go on.
    Fatal,
    /// A broker refused the user or the password. librdkafka would try for ever.
    Authentication(String),
    /// The topic takes less than one of our record batches.
    SmallerBatches,
    /// Brokers answer, records are under way, and for this long there was no report.
    Stalled(Duration),
}

impl Alarm {
    /// Whether the next producer may come at once: brokers are there and have nothing against us.
    pub(crate) fn is_at_once(&self) -> bool {
        match self {
            Alarm::SmallerBatches | Alarm::Stalled(_) => true,
            Alarm::Fatal | Alarm::Authentication(_) => false,
        }
    }
}

/// A `batch.size` that no second record fits into.
pub(crate) const ALONE: usize = 1;
/// How long records go alone after a batch was refused whose limit is not known.
const ALONE_FOR: Duration = Duration::from_secs(60);

/// What is known of one backend's far end; outlives its producers.
pub(crate) struct Known {
    /// The largest record batch that the topic takes.
    pub(crate) limit: AtomicUsize,
    /// The largest batch that is made now, whatever the limit.
    pub(crate) cap: AtomicUsize,
    /// librdkafka said that no broker is connected, and none has answered since.
    down: AtomicBool,
    alone_since: Mutex<Option<Instant>>,
    alarm: Mutex<Option<Alarm>>,
    last_error: Mutex<String>,
    statistics: Mutex<Option<Figures>>,
    /// Whether the producer stands still.
    pub(crate) stall: Stall,
    /// librdkafka's last words.
    pub(crate) said: Said,
}

/// The part of the statistics that is exported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) queue_records: u64,
    pub(crate) queue_bytes: u64,
    pub(crate) requests: i64,
    pub(crate) sent_bytes: i64,
    pub(crate) sent_records: i64,
    pub(crate) retries: u64,
    pub(crate) brokers_up: u32,
    /// The slowest broker's mean round trip, in microseconds.
    pub(crate) round_trip_us: i64,
}

impl Known {
    pub(crate) fn new(limit: usize) -> Known {
        Known {
            limit: AtomicUsize::new(limit),
            cap: AtomicUsize::new(usize::MAX),
            down: AtomicBool::new(false),
            alone_since: Mutex::default(),
            alarm: Mutex::default(),
            last_error: Mutex::default(),
            statistics: Mutex::default(),
            stall: Stall::default(),
            said: Said::default(),
        }
    }

    /// The topic refused a batch of a producer that makes them up to `batch_bytes`. When the topic's limit explains it, the next
    /// producer keeps to that; else every record goes alone for a while, so that only the one that is too large is refused.
    pub(crate) fn batch_refused(&self, batch_bytes: usize) {
        if self.limit.load(Ordering::Relaxed) >= batch_bytes {
            self.cap.store(ALONE, Ordering::Relaxed);
            *self.alone_since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        self.raise(Alarm::SmallerBatches);
    }

    /// Whether records went alone for long enough: then batches are tried again.
    pub(crate) fn batch_again(&self) -> bool {
        let mut since = self.alone_since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none_or(|since| since.elapsed() < ALONE_FOR) {
            return false;
        }
        *since = None;
        self.cap.store(usize::MAX, Ordering::Relaxed);
        true
    }

    pub(crate) fn raise(&self, alarm: Alarm) {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(alarm);
    }

    pub(crate) fn take_alarm(&self) -> Option<Alarm> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether no broker is connected, as far as librdkafka has said.
    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Somebody answered.
    pub(crate) fn answered(&self) {
        // Most often it says so already, and every confirmation comes by here.
        if self.is_down() {
            self.down.store(false, Ordering::Relaxed);
        }
    }

    /// The client's last error, in librdkafka's words; empty for none.
    pub(crate) fn last_error(&self) -> String {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_error(&self, text: &str) {
        text.clone_into(&mut self.last_error.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn figures(&self) -> Option<Figures> {
        *self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The context of one producer.
pub(crate) struct Context {
    pub(crate) reports: Arc<Reports>,
    pub(crate) known: Arc<Known>,
    /// The one topic, if there is one.
    pub(crate) place: Option<&'static str>,
    /// The `batch.size` of this producer.
    pub(crate) batch_bytes: usize,
    /// What records that are thrown out when this producer ends get as their outcome.
    pub(crate) ending: Mutex<Option<Outcome>>,
}

impl Context {
    /// The outcome of a record that failed; `None` when it is the producer that failed, whose replacement tells it.
    fn failed(&self, code: Code, bytes: usize) -> Option<Outcome> {
        Some(match code {
            code if says_nothing(code) => {
                let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if ending.is_none() {
                    self.known.raise(Alarm::Fatal);
                }
                return ending;
            }
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => {
                let limit = self.known.limit.load(Ordering::Relaxed);
                if bytes < limit && self.batch_bytes > ALONE {
                    // The record may be small enough: it was the batch that was not.
                    self.known.batch_refused(self.batch_bytes);
                    fault::outcome(Code::Retry, "the topic takes smaller batches than were sent")
                } else {
                    fault::outcome(code, &format!("{bytes} bytes; the topic takes {limit}"))
                }
            }
            other => fault::outcome(other, &self.place.map(|topic| format!("topic {topic}")).unwrap_or_default()),
        })
    }
}

/// Whether a report with this code comes of our own giving up and shows nothing of the brokers.
fn says_nothing(code: Code) -> bool {
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal)
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, fac: &str, text: &str) {
        // The lane logs changes of state once; librdkafka's repeats are for those who look for them, and for the moment when a
        // producer is given up.
        tracing::debug!(target: "librdkafka", fac, "{text}");
        self.known.said.note(fac, text);
    }

    fn stats(&self, statistics: Statistics) {
        let brokers = || statistics.brokers.values();
        let figures = Figures {
            queue_records: statistics.msg_cnt,
            queue_bytes: statistics.msg_size,
            requests: statistics.tx,
            sent_bytes: statistics.txmsg_bytes,
            sent_records: statistics.txmsgs,
            retries: brokers().map(|broker| broker.txretries).sum(),
            brokers_up: u32::try_from(brokers().filter(|broker| broker.nodeid >= 0 && broker.state == "UP").count())
                .unwrap_or(u32::MAX),
            round_trip_us: brokers().filter_map(|broker| broker.rtt.as_ref()).map(|rtt| rtt.avg).max().unwrap_or(0),
        };
        if figures.brokers_up > 0 {
            self.known.answered();
        }
        *self.known.statistics.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        self.known.said.note("ERROR", reason);
        let code = fault::code(&error);
        // That all brokers are down comes after what happened to each of them and says less.
        if code == Code::AllBrokersDown {
            self.known.down.store(true, Ordering::Relaxed);
        } else {
            self.known.note_error(reason);
        }
        if code == Code::Fatal {
            self.known.raise(Alarm::Fatal);
        } else if code == Code::Authentication {
            self.known.raise(Alarm::Authentication(reason.to_owned()));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: usize) {
        let outcome = match result {
            Ok(record) => {
                self.known.answered();
                let place = match self.place {
                    Some(place) => Cow::Borrowed(place),
                    None => topic::place(record.topic()),
                };
                Some(Outcome::Done(Position { place, partition: record.partition(), offset: record.offset() }))
            }
            Err((error, record)) => self.failed(fault::code(error), record.payload_len() + record.key_len()),
        };
        if result.as_ref().err().is_none_or(|(error, _)| !says_nothing(fault::code(error))) {
            self.known.stall.reported();
        }
        if let Some(outcome) = outcome {
            self.reports.settle(ticket, outcome);
        }
    }
}
