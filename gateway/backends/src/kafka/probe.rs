//! A look at the brokers without sending: does anybody answer, is the topic there, what does it take, how safe is it.
use super::{
    context::{Alarm, Known},
    fault,
    line::{Line, Producer},
    settings::BATCH_BYTES,
};
use crate::{Outcome, Why};
use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    client::DefaultClientContext,
    metadata::{Metadata, MetadataTopic},
    producer::Producer as _,
    types::RDKafkaErrorCode as Code,
};
use schemas::Word;
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// How long each question may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The smallest limit that is believed; less could not take a record at all.
const LIMIT_MIN: usize = 1024;

/// What the brokers say about a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Partitions.
    pub partitions: usize,
    /// Replicas of the partition that has the fewest.
    pub replicas: usize,
    /// `min.insync.replicas`, if it may be read.
    pub min_insync: Option<usize>,
    /// `max.message.bytes`, if it may be read.
    pub max_message_bytes: Option<usize>,
    /// `unclean.leader.election.enable`, if it may be read.
    pub unclean_election: Option<bool>,
}

impl Facts {
    /// Why a record that was confirmed could still be lost, or why one that a listener takes could not be delivered, in words for
    /// people. `largest`: the largest message that a listener takes, 0 when it is not known.
    pub fn warnings(&self, largest: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.replicas < 3 {
            warnings
                .push(format!("the topic has {} replica(s): fewer than 3 survive no second failure", self.replicas));
        }
        if self.min_insync.is_some_and(|least| least < 2) {
            warnings.push(
                "min.insync.replicas is 1: a record may be confirmed by one broker alone and lost with it".to_owned(),
            );
        }
        if self.unclean_election == Some(true) {
            warnings.push(
                "unclean.leader.election.enable is true: confirmed records may be lost at an election".to_owned(),
            );
        }
        if let Some(limit) = self.max_message_bytes.filter(|limit| *limit < largest) {
            warnings.push(format!(
                "max.message.bytes is {limit}, and listeners take messages of up to {largest}: larger ones are refused at the door"
            ));
        }
        warnings
    }
}

/// Looks. Blocks for at most three times [`PATIENCE`]: never on an async worker. When it succeeds, the producer makes no batch
/// that the topic does not take.
pub(crate) fn look(line: &Line, runtime: &tokio::runtime::Handle) -> Result<Option<Facts>, Why> {
    let producer = line.producer()?;
    let topic = line.recipe.topic.fixed();
    let metadata = producer.client().fetch_metadata(topic, PATIENCE).map_err(|error| {
        line.known.stall.begin_anew();
        let code = fault::code(&error);
        unreachable_why(line, code)
    })?;
    line.known.answered();
    let Some(topic) = topic else {
        look_for_stall(line, &metadata);
        return Ok(None);
    };
    let mut facts = of_topic(topic, &metadata)?;
    look_for_stall(line, &metadata);
    describe(line, topic, runtime, &mut facts);
    learn(&line.known, facts.max_message_bytes, &producer);
    drop(producer);
    if !line.fits_topic(PATIENCE) {
        return Err(Why::new(
            Word::BackendUnavailable,
            "the producer is being replaced: the topic takes smaller batches",
        ));
    }
    Ok(Some(facts))
}

/// Brokers have answered: then what is under way has to come to an end, unless it waits for a partition's leader.
///
/// `metadata` is of the fixed topic, or of all topics that the user may see where a template makes their names.
fn look_for_stall(line: &Line, metadata: &Metadata) {
    let mut topics = metadata.topics().iter().filter(|topic| line.recipe.topic.may_be(topic.name()));
    if !topics.all(is_led) {
        line.known.stall.begin_anew();
        return;
    }
    let waiting = line.reports.waiting() > 0;
    if let Some(silence) = line.known.stall.look(waiting, line.settings.stall, Instant::now()) {
        line.known.raise(Alarm::Stalled(silence));
    }
}

/// Whether every partition can take records now, as far as the brokers say.
fn is_led(topic: &MetadataTopic) -> bool {
    topic.error().is_none()
        && topic.partitions().iter().all(|partition| partition.error().is_none() && partition.leader() >= 0)
}

fn unreachable_why(line: &Line, code: Code) -> Why {
    // The reason stands in the client's own error: an address that cannot be resolved, a refused password, a certificate.
    let last = line.known.last_error();
    let word = if last.contains("uthentication") { Word::Unauthenticated } else { Word::BackendUnavailable };
    let reason = if last.is_empty() { code.to_string() } else { last };
    let why = Why::new(word, format!("no answer from {}: {reason}", line.settings.brokers.join(", ")));
    if word == Word::Unauthenticated { why.wrong_place() } else { why }
}

fn of_topic(topic: &str, metadata: &Metadata) -> Result<Facts, Why> {
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
        return Err(
            Why::new(Word::BackendUnavailable, format!("the brokers know no topic {topic:?}: create it")).wrong_place()
        );
    };
    if let Some(error) = found.error() {
        let code = Code::from(error);
        return match fault::outcome(code, "") {
            Outcome::Destination(why) if why.word == Word::BackendUnavailable => Err(Why::new(
                why.word,
                format!("the topic {topic:?} is not there ({code}); topics are never made by the gateway: create it"),
            )
            .wrong_place()),
            Outcome::Destination(why) => Err(Why::new(why.word, format!("the topic {topic:?}: {code}")).wrong_place()),
            Outcome::Record(why) | Outcome::Retry(why) => {
                Err(Why::new(why.word, format!("the topic {topic:?}: {code}")))
            }
            Outcome::Done(_) => Ok(Facts::default()),
        };
    }
    let partitions = found.partitions();
    Ok(Facts {
        partitions: partitions.len(),
        replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
        ..Facts::default()
    })
}

/// Reads the topic's configuration; without the right to, nothing is learned and defaults stay.
fn describe(line: &Line, topic: &str, runtime: &tokio::runtime::Handle, facts: &mut Facts) {
    let mut config = line.settings.client(BATCH_BYTES);
    // Settings of producers only make an admin client warn.
    for name in ["statistics.interval.ms", "linger.ms"] {
        config.remove(name);
    }
    let Ok(admin) = config.create::<AdminClient<DefaultClientContext>>() else { return };
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let topics = [ResourceSpecifier::Topic(topic)];
    let asked = tokio::time::timeout(PATIENCE, admin.describe_configs(&topics, &options));
    let found = runtime.block_on(async move { asked.await.ok().and_then(Result::ok) });
    let entries = found.into_iter().flatten().filter_map(Result::ok).flat_map(|resource| resource.entries);
    for entry in entries {
        let Some(value) = entry.value else { continue };
        match entry.name.as_str() {
            "max.message.bytes" => facts.max_message_bytes = value.parse().ok(),
            "min.insync.replicas" => facts.min_insync = value.parse().ok(),
            "unclean.leader.election.enable" => facts.unclean_election = value.parse().ok(),
            _ => {}
        }
    }
}

fn learn(known: &Known, limit: Option<usize>, producer: &Producer) {
    let Some(limit) = limit else { return };
    let limit = limit.max(LIMIT_MIN);
    known.limit.store(limit, Ordering::Relaxed);
    if limit < producer.context().batch_bytes {
        known.raise(Alarm::SmallerBatches);
    }
}
