//! Reads the groups of one segment in order, from any offset, and steps over damage in 4 KiB steps. Of a large group that
//! nobody wants only header and table are read: they verify without the bodies.

use std::{io, sync::Arc};

use crate::{
    disk::{DiskFile, read_up_to},
    format::{
        PAGE, PAGE64,
        group::{self, Group, Header},
    },
};

/// Read ahead at once.
const CHUNK: usize = 256 << 10;
/// From this size on, the bodies of a group that is not wanted are not read.
const LARGE: usize = 32 << 10;

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub header: Header,
    pub offset: u64,
    /// Where damage began that was stepped over to get here.
    pub damage: Option<u64>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Walk {
    pub segment: u64,
    pub offset: u64,
    /// LSNs up to here have been seen: a group must be above.
    pub seen: u64,
    seed: u32,
    chunk: Arc<Vec<u8>>,
    chunk_at: u64,
    damage: Option<u64>,
    /// How much the next header is read with: a page only while bodies are being left out.
    ahead: usize,
}

impl Walk {
    pub(crate) fn new(seed: u32, segment: u64, seen: u64) -> Self {
        Self { segment, offset: PAGE64, seen, seed, chunk: Arc::default(), chunk_at: 0, damage: None, ahead: CHUNK }
    }

    /// Where stepped-over damage began, if nothing valid was found behind it yet.
    pub(crate) const fn damage(&self) -> Option<u64> {
        self.damage
    }

    /// Bytes `len` from `at`, from the chunk if they are in it.
    fn load<F: DiskFile>(&mut self, file: &F, at: u64, len: usize, end: u64) -> io::Result<Option<usize>> {
        if let Some(start) = self.inside(at, len) {
            return Ok(Some(start));
        }
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        self.chunk = Arc::new(read_up_to(file, at, len.max(self.ahead).min(left))?);
        self.chunk_at = at;
        Ok(self.inside(at, len))
    }

    fn inside(&self, at: u64, len: usize) -> Option<usize> {
        let start = usize::try_from(at.checked_sub(self.chunk_at)?).ok()?;
        (start.checked_add(len)? <= self.chunk.len()).then_some(start)
    }

    fn at<F: DiskFile>(&mut self, file: &F, end: u64, wants: &impl Fn(u64) -> bool) -> io::Result<Option<Header>> {
        let Some(start) = self.load(file, self.offset, PAGE, end)? else { return Ok(None) };
        let Some(header) = group::peek(&self.chunk[start..], self.segment) else { return Ok(None) };
        if self.offset + header.len() as u64 > end || header.first <= self.seen {
            return Ok(None);
        }
        let is_here = self.inside(self.offset, header.len()).is_some();
        if !is_here && header.len() >= LARGE && !wants(header.lanes) {
            self.ahead = PAGE;
            let head = self.chunk[start..start + group::HEADER].to_vec();
            let at = header.table();
            let table = read_up_to(file, self.offset + at.start as u64, at.len())?;
            return Ok(group::is_true(&header, &head, &table, self.seed).then_some(header));
        }
        self.ahead = CHUNK;
        let Some(start) = self.load(file, self.offset, header.len(), end)? else { return Ok(None) };
        Ok(group::verify(header, &self.chunk[start..], self.seed).map(|group| group.header))
    }

    /// The next group that verifies, below `end`; [`Walk::leave`] goes behind it. `wants` is asked for the lanes of a group:
    /// one that is not wanted may come without its bodies.
    pub(crate) fn next<F: DiskFile>(
        &mut self,
        file: &F,
        end: u64,
        wants: impl Fn(u64) -> bool,
    ) -> io::Result<Option<Found>> {
        while self.offset + PAGE64 <= end {
            if let Some(header) = self.at(file, end, &wants)? {
                return Ok(Some(Found { header, offset: self.offset, damage: self.damage.take() }));
            }
            self.damage.get_or_insert(self.offset);
            self.offset += PAGE64;
        }
        Ok(None)
    }

    /// The found group, with the chunk that its bodies are in and its start there.
    pub(crate) fn group(&self, found: &Found) -> Option<(Group<'_>, &Arc<Vec<u8>>, usize)> {
        let start = usize::try_from(found.offset.checked_sub(self.chunk_at)?).ok()?;
        let group = group::verify(found.header, self.chunk.get(start..)?, self.seed)?;
        Some((group, &self.chunk, start))
    }

    pub(crate) fn leave(&mut self, found: &Found) {
        self.offset = found.offset + found.header.len() as u64;
        self.seen = found.header.last();
    }

    /// Behind groups that nobody wants.
    pub(crate) fn skip_to(&mut self, offset: u64, seen: u64) {
        self.offset = self.offset.max(offset);
        self.seen = self.seen.max(seen);
    }

    /// To the beginning of another segment.
    pub(crate) fn enter(&mut self, segment: u64) {
        let (seed, seen) = (self.seed, self.seen);
        *self = Self::new(seed, segment, seen);
    }
}
