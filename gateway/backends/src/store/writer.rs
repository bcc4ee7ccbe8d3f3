//! The one writer: takes calls from the queue, writes those that wait in one transaction, and keeps house in between.
use super::{
    Command, Counts, StoreSettings,
    fault::{Fault, classify},
    keep::Keeper,
    row, schema,
};
use crate::{Events, Outcome, Position, Why, fault::hash};
use rusqlite::{Connection, OptionalExtension as _, params};
use schemas::Event;
use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::Instant,
};
use tokio::sync::oneshot;

/// Most events of one transaction; a call that is larger is written alone.
const EVENTS_PER_TRANSACTION: usize = 4096;
/// Most bytes of one transaction: it bounds the WAL file and the time until the first of the callers has its answer.
const BYTES_PER_TRANSACTION: usize = 16 << 20;

/// The table's name, as positions tell it.
const PLACE: Cow<'static, str> = Cow::Borrowed("events");

struct Call {
    events: Events,
    answer: oneshot::Sender<Vec<Outcome>>,
}

/// The writer's state.
pub(crate) struct Writer {
    settings: StoreSettings,
    counts: Arc<Counts>,
    keeper: Keeper,
    connection: Option<Connection>,
    /// Set by the first sync that failed: nothing is written any more until the process starts again.
    stopped: Option<Fault>,
}

impl Writer {
    pub(crate) fn new(settings: StoreSettings, counts: Arc<Counts>) -> Writer {
        let keeper = Keeper::new(&settings, Instant::now());
        Writer { settings, counts, keeper, connection: None, stopped: None }
    }

    /// Works until the queue is closed or a close is asked for.
    pub(crate) fn run(mut self, queue: &Receiver<Command>) {
        if let Err(fault) = self.open() {
            self.report(&fault);
        }
        loop {
            let wait = self.keeper.due.saturating_duration_since(Instant::now());
            let next = match queue.recv_timeout(wait) {
                Ok(Command::Write(events, answer)) => self.write_all(Call { events, answer }, queue),
                Ok(other) => Some(other),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match next {
                Some(Command::Probe(answer)) => {
                    let _ = answer.send(self.open().map_err(|fault| match fault {
                        Fault::Place(_) | Fault::Sync(_) => self.report(&fault).wrong_place(),
                        Fault::Wait(_) | Fault::Event(_) => self.report(&fault),
                    }));
                }
                Some(Command::Close(answer)) => {
                    // Closing the last connection writes the WAL back into the file.
                    self.connection = None;
                    let _ = answer.send(());
                    return;
                }
                Some(Command::Write(events, answer)) => {
                    self.write_calls(vec![Call { events, answer }]);
                }
                None => {}
            }
            self.keep_house();
        }
    }

    /// Opens the file, unless it is open.
    fn open(&mut self) -> Result<(), Fault> {
        if let Some(fault) = &self.stopped {
            return Err(fault.clone());
        }
        if self.connection.is_none() {
            self.connection = Some(schema::open_writer(&self.settings.path)?);
        }
        Ok(())
    }

    /// Writes this call and those that wait behind it, up to the bounds. Gives back a command that is not for it.
    fn write_all(&mut self, first: Call, queue: &Receiver<Command>) -> Option<Command> {
        let mut bytes = size(&first.events);
        let mut count = first.events.len();
        let mut calls = vec![first];
        let mut next = None;
        while count < EVENTS_PER_TRANSACTION && bytes < BYTES_PER_TRANSACTION {
            match queue.try_recv() {
                Ok(Command::Write(events, answer)) => {
                    bytes += size(&events);
                    count += events.len();
                    calls.push(Call { events, answer });
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        self.write_calls(calls);
        next
    }

    fn write_calls(&mut self, calls: Vec<Call>) {
        let count = calls.iter().map(|call| call.events.len()).sum();
        let written = self.open().and_then(|()| self.transaction(&calls, count));
        let mut outcomes = match written {
            Ok(outcomes) => outcomes,
            Err(fault) => {
                self.after(&fault);
                vec![fault.outcome(); count]
            }
        };
        for call in calls.into_iter().rev() {
            let own = outcomes.split_off(outcomes.len() - call.events.len());
            // A caller that left is no reason to do anything: the rows are there, and an event offered again is the same row.
            let _ = call.answer.send(own);
        }
    }

    /// All rows and the commit, or none.
    fn transaction(&mut self, calls: &[Call], count: usize) -> Result<Vec<Outcome>, Fault> {
        let Some(connection) = &mut self.connection else { return Ok(Vec::new()) };
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(|error| classify(&error))?;
        let mut tally = Tally::default();
        let mut outcomes = Vec::with_capacity(count);
        for event in calls.iter().flat_map(|call| &call.events) {
            match put(&transaction, event, &mut tally) {
                Ok(seq) => outcomes.push(Outcome::Done(Position { place: PLACE, partition: -1, offset: seq })),
                Err(error) => match classify(&error) {
                    fault @ Fault::Event(_) => outcomes.push(fault.outcome()),
                    fault @ (Fault::Wait(_) | Fault::Place(_) | Fault::Sync(_)) => return Err(fault),
                },
            }
        }
        transaction.commit().map_err(|error| classify(&error))?;
        tally.add_to(&self.counts);
        self.keeper.wrote(tally.bytes, Instant::now());
        Ok(outcomes)
    }

    fn keep_house(&mut self) {
        let now = Instant::now();
        let Some(connection) = &mut self.connection else {
            self.keeper.later(now);
            return;
        };
        if now < self.keeper.due {
            return;
        }
        if let Err(error) = self.keeper.step(connection, &self.counts, now) {
            let fault = classify(&error);
            self.keeper.later(now);
            self.after(&fault);
        }
    }

    /// What a failed transaction means for the connection.
    fn after(&mut self, fault: &Fault) {
        self.counts.failed_transactions.fetch_add(1, Ordering::Relaxed);
        self.report(fault);
        match fault {
            // The connection stays: the next transaction overwrites what this one left in the WAL file. A new connection
            // would read it there and take it for committed.
            Fault::Wait(_) | Fault::Event(_) => {}
            // People may mend or replace the file; the next call or probe looks again.
            Fault::Place(_) => self.connection = None,
            Fault::Sync(_) => {
                self.connection = None;
                self.stopped = Some(fault.clone());
            }
        }
    }

    fn report(&self, fault: &Fault) -> Why {
        let (Fault::Wait(why) | Fault::Event(why) | Fault::Place(why) | Fault::Sync(why)) = fault;
        tracing::debug!(file = %self.settings.path.display(), %why, "the store cannot write");
        Why::new(why.word, format!("{}: {}", self.settings.path.display(), why.detail))
    }
}

fn size(events: &Events) -> usize {
    events.iter().map(|event| event.envelope.size()).sum()
}

/// What one transaction did; added to the counts after its commit.
#[derive(Default)]
struct Tally {
    written: u64,
    same: u64,
    id_reused: u64,
    lsn_reused: u64,
    bytes: u64,
}

impl Tally {
    fn add_to(&self, counts: &Counts) {
        counts.written.fetch_add(self.written, Ordering::Relaxed);
        counts.same.fetch_add(self.same, Ordering::Relaxed);
        counts.id_reused.fetch_add(self.id_reused, Ordering::Relaxed);
        counts.lsn_reused.fetch_add(self.lsn_reused, Ordering::Relaxed);
        counts.transactions.fetch_add(1, Ordering::Relaxed);
    }
}

/// Finds or makes the event's row.
fn put(connection: &Connection, event: &Event, tally: &mut Tally) -> rusqlite::Result<i64> {
    let (id, source) = (event.envelope.id(), event.envelope.source());
    let data = event.envelope.data().as_ref();
    let data_hash = hash(data).cast_signed();
    let known: Option<i64> = connection
        .prepare_cached("SELECT seq FROM events WHERE id = ?1 AND source = ?2 LIMIT 1")?
        .query_row(params![id, source], |row| row.get(0))
        .optional()?;
    if known.is_some() {
        // The hash finds the candidates, the bytes decide: nobody can make an event vanish by a hash collision.
        let same = connection
            .prepare_cached("SELECT seq FROM events WHERE id = ?1 AND source = ?2 AND data_hash = ?3 AND data = ?4 ORDER BY seq LIMIT 1")?
            .query_row(params![id, source, data_hash, data], |row| row.get(0))
            .optional()?;
        if let Some(seq) = same {
            tally.same += 1;
            return Ok(seq);
        }
    }
    let lsn = (event.lsn != 0).then(|| event.lsn.cast_signed());
    let seq = match row::insert(connection, event, lsn, data_hash)? {
        Some(seq) => seq,
        None => {
            // Another event has this LSN: the journal began anew while the store was kept. The place of the old row is the
            // older one; this event is kept without a place rather than lost.
            tally.lsn_reused += 1;
            row::insert(connection, event, None, data_hash)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?
        }
    };
    tally.written += 1;
    tally.bytes += u64::try_from(event.envelope.size()).unwrap_or(u64::MAX);
    tally.id_reused += u64::from(known.is_some());
    Ok(seq)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use schemas::{AckLevel, Attributes, Door, Headers, Kind, TraceContext, Word};
    use std::time::SystemTime;

    fn event(lsn: u64, bytes: usize) -> Arc<Event> {
        let mut attributes = Attributes::default();
        for (name, value) in [("id", format!("e{lsn}").as_str()), ("source", "/s"), ("type", "t")] {
            attributes.set(name, value, Kind::String).unwrap();
        }
        let envelope = attributes.freeze(vec![b'x'; bytes].into()).unwrap();
        Arc::new(Event {
            lsn,
            lanes: 2,
            key: schemas::order_key(&envelope),
            envelope,
            door: Door::default(),
            headers: Headers::new(),
            received: SystemTime::now(),
            trace: TraceContext::from_random([1; 24], 0),
            route: "".into(),
            level: AckLevel::Durable,
            death: None,
        })
    }

    fn write(writer: &mut Writer, events: Events) -> Vec<Outcome> {
        let (answer, mut answered) = oneshot::channel();
        writer.write_calls(vec![Call { events, answer }]);
        answered.try_recv().unwrap()
    }

    #[test]
    fn a_full_disk_keeps_nothing_of_the_call_and_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(StoreSettings::new(folder.path().join("s.db")), Arc::default());
        writer.open().unwrap();
        let limit = |writer: &Writer, pages: u32| {
            writer.connection.as_ref().unwrap().execute_batch(&format!("PRAGMA max_page_count = {pages}")).unwrap();
        };
        assert!(matches!(write(&mut writer, vec![event(1, 10)])[..], [Outcome::Done(_)]));
        limit(&writer, 40);
        let outcomes = write(&mut writer, vec![event(2, 10), event(3, 500_000)]);
        assert!(
            outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry(why) if why.word == Word::StorageFull)),
            "{outcomes:?}"
        );
        limit(&writer, 1_000_000);
        let outcomes = write(&mut writer, vec![event(2, 10), event(3, 500_000)]);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done(_))), "{outcomes:?}");
        let connection = writer.connection.as_ref().unwrap();
        let rows: i64 = connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 3);
        assert_eq!(writer.counts.failed_transactions.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_sync_that_failed_stops_the_writer_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::new(StoreSettings::new(folder.path().join("s.db")), Arc::default());
        writer.after(&Fault::Sync(Why::new(Word::BackendUnavailable, "fsync: EIO")));
        assert!(matches!(write(&mut writer, vec![event(1, 10)])[..], [Outcome::Destination(_)]));
        assert!(writer.open().is_err());
    }
}
