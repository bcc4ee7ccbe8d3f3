//! The segments: which there are, which is being written, which are ready, which may be used again.
//!
//! Everything here is what is *durable*: a group is added after its sync. One short mutex; no I/O under it.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    LANES,
    format::{
        PAGE64,
        group::Header as GroupHeader,
        segment::{Counts, Sealed},
    },
};

/// A segment in use.
#[derive(Debug)]
pub(crate) struct Segment<F> {
    pub file: Arc<F>,
    pub about: Sealed,
    /// The first LSN that a group other than a copy may have.
    pub resume: u64,
    /// What each lane had before this segment; `None` if its header is lost.
    pub entered: Option<Box<Counts>>,
    /// When it went into use, µs since 1970; 0 if its header is lost.
    pub created: u64,
    /// Nothing more is written to it.
    pub sealed: bool,
    /// Events in it may have dedupe ids: not known of what was there at the start, so that is read.
    pub keyed: bool,
}

impl<F> Clone for Segment<F> {
    fn clone(&self) -> Self {
        Self {
            file: self.file.clone(),
            about: self.about,
            resume: self.resume,
            entered: self.entered.clone(),
            created: self.created,
            sealed: self.sealed,
            keyed: self.keyed,
        }
    }
}

/// A file that is ready to become a segment, or could be made so.
#[derive(Debug)]
pub(crate) struct Blank<F> {
    pub number: u64,
    pub file: F,
}

/// See the module.
pub(crate) struct Ring<F> {
    /// By number; the last is the active one.
    pub segments: VecDeque<Segment<F>>,
    /// Ready: named, allocated, the directory synced.
    pub spares: VecDeque<Blank<F>>,
    /// Files that are no segments any more, by their old number.
    pub scrap: Vec<Blank<F>>,
    /// Being made ready right now.
    pub in_hand: usize,
    pub next_number: u64,
    /// What each lane had since the log began.
    pub entered: Counts,
    /// Per lane the last LSN that it has.
    pub latest: [u64; LANES],
}

impl<F> Ring<F> {
    /// Files on disk.
    pub(crate) fn files(&self) -> usize {
        self.segments.len() + self.spares.len() + self.scrap.len() + self.in_hand
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Segment<F>> {
        self.segments.binary_search_by_key(&number, |s| s.about.number).ok().and_then(|at| self.segments.get(at))
    }

    /// The segment that `lsn` would be in.
    pub(crate) fn holding(&self, lsn: u64) -> Option<&Segment<F>> {
        let at = self.segments.partition_point(|s| s.about.last < lsn);
        self.segments.get(at).filter(|s| s.about.first <= lsn)
    }

    /// The table for the header of the next segment.
    pub(crate) fn sealed(&self) -> Vec<Sealed> {
        self.segments.iter().map(|s| s.about).collect()
    }

    /// A group of the active segment is durable.
    pub(crate) fn publish(&mut self, header: &GroupHeader, counts: &[Share], keyed: bool) {
        if let Some(active) = self.segments.back_mut() {
            active.about.end += header.len() as u64;
            active.about.last = header.last();
            active.about.lanes |= header.lanes;
            active.keyed |= keyed;
        }
        for share in counts {
            self.entered.events[share.lane] += share.events;
            self.entered.bytes[share.lane] += share.bytes;
            self.latest[share.lane] = header.last();
        }
    }

    /// The next segment goes into use.
    pub(crate) fn push(&mut self, file: Arc<F>, number: u64, first: u64, created: u64) {
        if let Some(active) = self.segments.back_mut() {
            active.sealed = true;
        }
        self.segments.push_back(Segment {
            file,
            about: Sealed { number, first, last: first - 1, end: PAGE64, lanes: 0 },
            resume: first,
            entered: Some(Box::new(self.entered.clone())),
            created,
            sealed: false,
            keyed: false,
        });
    }
}

/// What a lane has in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub lane: usize,
    pub events: u64,
    /// Of bodies.
    pub bytes: u64,
}

/// What each lane has in a group whose events have these lanes and lengths.
pub(crate) fn count(events: impl Iterator<Item = (u64, u32)>) -> Vec<Share> {
    let mut kinds: Vec<(u64, u64, u64)> = Vec::new();
    for (lanes, len) in events {
        match kinds.iter_mut().find(|(kind, ..)| *kind == lanes) {
            Some((_, n, bytes)) => (*n, *bytes) = (*n + 1, *bytes + u64::from(len)),
            None => kinds.push((lanes, 1, u64::from(len))),
        }
    }
    let mut counts = Counts::NONE;
    for (mut lanes, n, bytes) in kinds {
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            counts.events[lane] += n;
            counts.bytes[lane] += bytes;
            lanes &= lanes - 1;
        }
    }
    let shares = counts.events.into_iter().zip(counts.bytes).enumerate();
    shares.filter(|(_, (n, _))| *n > 0).map(|(lane, (events, bytes))| Share { lane, events, bytes }).collect()
}
