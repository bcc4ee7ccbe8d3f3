//! Finding dead letters: what lane 0 of the journal holds and nobody has replayed or discarded.
//!
//! A scan reads what the journal retains from the oldest on; memory is bounded by one read. It blocks on the disk.
use crate::state::Shared;
use bytes::Bytes;
use journal::{AnyDisk, Entry, LaneId, Lsn, Scan};
use schemas::{Death, Record, RecordError, Word, record};
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::Arc,
    time::SystemTime,
};

/// Bytes read from the journal at a time.
const READ_BYTES: usize = 256 * 1024;

/// One dead letter.
#[derive(Debug)]
pub struct Letter {
    /// Its place in the journal.
    pub lsn: u64,
    /// What it is, or why it cannot be read.
    pub record: Result<Record, RecordError>,
}

impl Letter {
    /// Why it is a dead letter.
    pub fn death(&self) -> Option<&Death> {
        match self.record.as_ref().ok()? {
            Record::Event(event) => event.death.as_deref(),
            Record::Letter(letter) => Some(&letter.death),
        }
    }

    /// The failure word; `internal` for one that cannot be read.
    pub fn word(&self) -> Word {
        self.death().map_or(Word::Internal, |death| death.word)
    }

    /// When its message was received.
    pub fn received(&self) -> Option<SystemTime> {
        Some(match self.record.as_ref().ok()? {
            Record::Event(event) => event.received,
            Record::Letter(letter) => letter.received,
        })
    }

    /// Bytes of its payload.
    pub fn size(&self) -> usize {
        match &self.record {
            Ok(Record::Event(event)) => event.envelope.size(),
            Ok(Record::Letter(letter)) => letter.payload.len(),
            Err(_) => 0,
        }
    }

    /// The line of `dlq list`; `whole` adds what it held.
    pub fn write(&self, out: &mut Vec<u8>, whole: bool) {
        match &self.record {
            Ok(found) => record::write_dead_letter(out, found, None, whole),
            Err(error) => {
                let none = serde_json::Value::Null;
                let line = serde_json::json!({
                    "lsn": self.lsn, "id": none, "source": none, "type": none, "failure": Word::Internal, "detail": error.to_string(),
                    "stage": none, "route": none, "backend": none, "attempts": none, "first": none, "last": none,
                });
                out.extend_from_slice(line.to_string().as_bytes());
            }
        }
    }
}

/// Which dead letters; everything that is set must fit.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These only.
    pub lsns: Option<BTreeSet<u64>>,
    /// With this failure word.
    pub failure: Option<Word>,
    /// Of this backend.
    pub backend: Option<String>,
    /// Received at this time or later.
    pub since: Option<SystemTime>,
}

impl Selection {
    /// Whether it takes this letter.
    pub fn takes(&self, letter: &Letter) -> bool {
        let backend = || letter.death().map_or("", |death| death.backend.as_str());
        self.lsns.as_ref().is_none_or(|lsns| lsns.contains(&letter.lsn))
            && self.failure.is_none_or(|word| letter.word() == word)
            && self.backend.as_deref().is_none_or(|name| backend() == name)
            && self.since.is_none_or(|since| letter.received().is_some_and(|received| received >= since))
    }
}

/// The dead letters that are open, oldest first: those that were there when the scan began.
pub struct Letters {
    shared: Arc<Shared>,
    scan: Scan<AnyDisk>,
    read: VecDeque<Entry>,
    last: u64,
}

impl Letters {
    /// A scan from the oldest one on.
    pub fn new(shared: &Arc<Shared>) -> Self {
        Letters {
            scan: shared.journal.scan(Some(LaneId::DEAD_LETTERS)),
            last: shared.journal.durable().get(),
            read: VecDeque::new(),
            shared: Arc::clone(shared),
        }
    }

    /// The next one; blocks on the disk.
    ///
    /// # Errors
    /// The operating system's.
    pub fn next_open(&mut self) -> io::Result<Option<Letter>> {
        loop {
            while let Some(entry) = self.read.pop_front() {
                let lsn = entry.lsn.get();
                if lsn > self.last {
                    return Ok(None);
                }
                if !self.shared.journal.is_done(LaneId::DEAD_LETTERS, entry.lsn) {
                    return Ok(Some(read(lsn, &entry)));
                }
            }
            self.read = self.scan.read(READ_BYTES)?.into();
            if self.read.is_empty() {
                return Ok(None);
            }
        }
    }
}

/// One dead letter by its place, if it is open.
///
/// # Errors
/// The operating system's.
pub fn one(shared: &Shared, lsn: u64) -> io::Result<Option<Letter>> {
    let entry = shared.journal.read_at(Lsn::from_raw(lsn))?;
    let open = entry.filter(|entry| entry.lanes & 1 == 1 && !shared.journal.is_done(LaneId::DEAD_LETTERS, entry.lsn));
    Ok(open.map(|entry| read(lsn, &entry)))
}

fn read(lsn: u64, entry: &Entry) -> Letter {
    // A copy of its own: the entry's bytes keep a whole read alive.
    let body = Bytes::copy_from_slice(&entry.body);
    Letter { lsn, record: record::decode(&body, lsn) }
}
