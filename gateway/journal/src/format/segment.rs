//! The first page of a segment. It is written when the segment goes into use, and names where every retained predecessor
//! ends, so that an old torn tail is never read as corruption later, also when a segment in between was recycled.
//!
//! ```text
//!   0  magic 8 | format u8, min_reader u8, flags u16 (1: bytes per lane are known, 2: counts are not) | rows u32 | uuid 16
//!  32  number u64 | first lsn u64 | resume lsn u64 | created u64 (µs since 1970) | segment size u64
//!  72  64 × u64: how many events each lane had before this segment, since the log began
//! 584  rows × (number u64, first lsn u64, last lsn u64, end offset u64, lanes bitmap u64)
//! 3580 64 × u64: how many bytes of bodies each lane had before this segment, since the log began
//! 4092 crc u32
//! ```
//!
//! `first` is the first LSN that may stand here; `resume` the first that a group other than recovery's copy may have.
//! A segment of a backlog has the number and the counts of the one of the ring that its events come from, and one row: itself.

use super::{FORMAT, MIN_READER, PAGE, Parsed, Take};
use crate::LANES;

const MAGIC: &[u8; 8] = b"AnygSeg\n";
const CRC_AT: usize = PAGE - 4;
const ROWS_AT: usize = 72 + LANES * 8;
const ROW: usize = 40;
const BYTES_AT: usize = CRC_AT - LANES * 8;
/// Predecessors that fit.
pub(crate) const MAX_ROWS: usize = (BYTES_AT - ROWS_AT) / ROW;
const BYTES: u16 = 1;
const UNCOUNTED: u16 = 2;

/// How many events each lane had, and bytes of bodies, since the log began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub events: [u64; LANES],
    pub bytes: [u64; LANES],
}

impl Counts {
    pub(crate) const NONE: Self = Self { events: [0; LANES], bytes: [0; LANES] };
}

/// A sealed predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub number: u64,
    pub first: u64,
    /// `first - 1` if it has no event.
    pub last: u64,
    /// The offset behind its last group.
    pub end: u64,
    /// Lanes with events in it.
    pub lanes: u64,
}

/// The header of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub uuid: [u8; 16],
    pub number: u64,
    pub first: u64,
    pub resume: u64,
    pub created: u64,
    pub size: u64,
    /// Before this segment; `None` if that is not known.
    pub entered: Option<Box<Counts>>,
    pub sealed: Vec<Sealed>,
}

impl Header {
    pub(crate) fn encode(&self, seed: u32) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&[FORMAT, MIN_READER]);
        page.extend_from_slice(&(if self.entered.is_some() { BYTES } else { UNCOUNTED }).to_le_bytes());
        let none = Counts::NONE;
        let entered = self.entered.as_deref().unwrap_or(&none);
        let rows = &self.sealed[self.sealed.len().saturating_sub(MAX_ROWS)..];
        page.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(0).to_le_bytes());
        page.extend_from_slice(&self.uuid);
        for n in [self.number, self.first, self.resume, self.created, self.size].iter().chain(&entered.events) {
            page.extend_from_slice(&n.to_le_bytes());
        }
        for row in rows {
            for n in [row.number, row.first, row.last, row.end, row.lanes] {
                page.extend_from_slice(&n.to_le_bytes());
            }
        }
        page.resize(BYTES_AT, 0);
        for n in &entered.bytes {
            page.extend_from_slice(&n.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(seed, &page);
        page.extend_from_slice(&crc.to_le_bytes());
        page
    }

    pub(crate) fn decode(page: &[u8], seed: u32) -> Parsed<Self> {
        let Some((body, crc)) = page.get(..PAGE).map(|page| page.split_at(CRC_AT)) else { return Parsed::Bad };
        if Take(crc).u32() != Some(crc32c::crc32c_append(seed, body)) || !body.starts_with(MAGIC) {
            return Parsed::Bad;
        }
        if body[9] > FORMAT {
            return Parsed::Newer(body[9]);
        }
        Self::fields(body).map_or(Parsed::Bad, Parsed::Good)
    }

    fn fields(body: &[u8]) -> Option<Self> {
        let mut take = Take(body.get(10..)?);
        let flags = take.u16()?;
        let rows = take.u32()? as usize;
        let uuid = take.uuid()?;
        let (number, first, resume, created, size) = (take.u64()?, take.u64()?, take.u64()?, take.u64()?, take.u64()?);
        let mut entered = Box::new(Counts::NONE);
        for lane in &mut entered.events {
            *lane = take.u64()?;
        }
        let mut sealed = Vec::with_capacity(rows.min(MAX_ROWS));
        for _ in 0..rows.min(MAX_ROWS) {
            sealed.push(Sealed {
                number: take.u64()?,
                first: take.u64()?,
                last: take.u64()?,
                end: take.u64()?,
                lanes: take.u64()?,
            });
        }
        if flags & BYTES != 0 {
            let mut take = Take(body.get(BYTES_AT..)?);
            for lane in &mut entered.bytes {
                *lane = take.u64()?;
            }
        }
        let entered = (flags & UNCOUNTED == 0).then_some(entered);
        Some(Self { uuid, number, first, resume, created, size, entered, sealed })
    }
}

/// `<20 digits>.seg`
pub(crate) fn name(number: u64) -> String {
    format!("{number:020}.seg")
}

/// The number in a file name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let sealed = (0..MAX_ROWS as u64).map(|n| Sealed { number: n, first: 1, last: 2, end: 3, lanes: 4 }).collect();
        let mut entered = Box::new(Counts::NONE);
        (entered.events[63], entered.bytes[62]) = (5, 6);
        let entered = Some(entered);
        let header = Header { uuid: [1; 16], number: 99, first: 5, resume: 6, created: 7, size: 8, entered, sealed };
        let page = header.encode(3);
        assert_eq!(page.len(), PAGE);
        assert_eq!(Header::decode(&page, 3), Parsed::Good(header));
        assert_eq!(Header::decode(&page, 4), Parsed::Bad);
        assert_eq!(Header::decode(&[], 4), Parsed::Bad);
        assert_eq!(number(&name(12)), Some(12));
        assert_eq!(number("12.seg"), None);
    }
}
