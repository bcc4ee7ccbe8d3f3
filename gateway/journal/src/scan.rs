//! Reading without a lane: for lists, traces and single events.

use std::{io, sync::Arc};

use crate::{
    Entry, LaneId, Lsn,
    disk::Disk,
    inner::Inner,
    reader::{Reader, Sink},
};

/// Reads what is retained, from the oldest on, whether done or not, and touches no cursor.
pub struct Scan<D: Disk> {
    reader: Reader<D>,
    lanes: u64,
    seen: u64,
}

struct Looking {
    lanes: u64,
    seen: u64,
}

impl Sink for Looking {
    fn seen(&self) -> u64 {
        self.seen
    }

    fn wants(&self, lanes: u64) -> bool {
        lanes & self.lanes != 0
    }

    fn meet(&mut self, lsn: u64) -> bool {
        let fresh = lsn > self.seen;
        self.seen = self.seen.max(lsn);
        fresh
    }

    fn lose(&mut self, lsn: u64) {
        self.meet(lsn);
    }

    fn pass(&mut self, _lsn: u64) {}

    fn enter(&mut self, _entered: &[u64; crate::LANES]) {}

    fn attempts(&self, _lsn: u64) -> u32 {
        0
    }
}

impl<D: Disk> Scan<D> {
    pub(crate) fn new(inner: Arc<Inner<D>>, lane: Option<LaneId>, from: Lsn) -> Self {
        let seen = from.0.saturating_sub(1);
        Self { reader: Reader::new(inner, seen), lanes: lane.map_or(u64::MAX, LaneId::bit), seen }
    }

    /// The next events, as [`LaneReader::read`]; empty at the end of what is durable.
    ///
    /// # Errors
    /// The operating system's, when a file cannot be read.
    pub fn read(&mut self, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let mut looking = Looking { lanes: self.lanes, seen: self.seen };
        let entries = self.reader.read(&mut looking, max_bytes)?;
        self.seen = looking.seen;
        Ok(entries)
    }
}
