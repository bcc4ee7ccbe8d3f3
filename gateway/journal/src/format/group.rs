//! A group: what one write and one sync make durable. Starts at a 4 KiB boundary, never crosses a segment, never splits a
//! message.
//!
//! ```text
//!  0  magic u32 | format u8, min_reader u8, flags u16 | segment number u64 | first lsn u64
//! 24  count u32 | body_len u32 | lanes bitmap u64 (of all events) | crc u32 | span u32 | 16 zero bytes
//! 64  bodies …
//!     table: count × (offset u32 from the group's start, len u32, body crc32c u32)
//!     if flag MIXED: count × lanes bitmap u64 (else every event has the header's)
//!     if flag SPARSE: count × u32, the event's LSN less the first
//!     zeros to 4 KiB
//! ```
//!
//! `crc` covers the header (with 0 in its place) and everything behind the bodies but the padding. In the ring LSN = first +
//! index, so it cannot be wrong in one event; a backlog has the events of one lane only, so its groups are sparse, and `span`
//! is their last LSN less the first. Bit 31 of `len` says that nobody is owed the event: its sender got no receipt.
//! A flipped body bit loses one event, a flipped header or table bit the group.
//! Offset `u32::MAX` marks a hole: an event that did not survive a torn write when recovery copied the group.

use super::{FORMAT, MIN_READER, Take, pages};

pub(crate) const HEADER: usize = 64;
pub(crate) const ROW: usize = 12;
pub(crate) const LANES_COLUMN: usize = 8;
const LSN_COLUMN: usize = 4;
/// Events in one group at most.
pub(crate) const MAX_EVENTS: usize = 1 << 16;
/// The events do not all have the same lanes.
const MIXED: u16 = 1;
/// Written by recovery: the last group of the predecessor, with its LSNs.
pub(crate) const COPY: u16 = 2;
/// The LSNs do not follow each other.
const SPARSE: u16 = 4;
/// In a row's length: the sender got no receipt.
pub(crate) const UNOWED: u32 = 1 << 31;
const MAGIC: u32 = u32::from_le_bytes(*b"AGrp");
const CRC_AT: usize = 40;
const SPAN_AT: usize = 44;
const HOLE: u32 = u32::MAX;

/// The position of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub offset: u32,
    /// The body's length, with [`UNOWED`].
    pub size: u32,
    pub crc: u32,
}

impl Row {
    pub(crate) const HOLE: Self = Self { offset: HOLE, size: 0, crc: 0 };

    /// Bytes of the body.
    pub(crate) const fn len(self) -> u32 {
        self.size & !UNOWED
    }

    /// Whether its sender got a receipt.
    pub(crate) const fn is_owed(self) -> bool {
        self.size & UNOWED == 0
    }

    pub(crate) const fn is_hole(self) -> bool {
        self.offset == HOLE
    }
}

/// The header of a group whose extent is plausible; nothing of it is proven before [`verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub flags: u16,
    pub segment: u64,
    pub first: u64,
    pub count: u32,
    pub body_len: u32,
    pub lanes: u64,
    /// The last LSN less the first.
    pub span: u32,
    crc: u32,
}

impl Header {
    pub(crate) const fn mixed(&self) -> bool {
        self.flags & MIXED != 0
    }

    pub(crate) const fn is_copy(&self) -> bool {
        self.flags & COPY != 0
    }

    pub(crate) const fn last(&self) -> u64 {
        self.first + self.span as u64
    }

    const fn sparse(&self) -> bool {
        self.flags & SPARSE != 0
    }

    /// Bytes of the table.
    const fn table_len(&self) -> usize {
        self.count as usize * (ROW + columns(self.mixed(), self.sparse()))
    }

    /// Where the table is, in bytes from the group's start.
    pub(crate) const fn table(&self) -> std::ops::Range<usize> {
        self.table_at()..self.table_at() + self.table_len()
    }

    /// Bytes on disk.
    pub(crate) const fn len(&self) -> usize {
        pages(self.table_at() + self.table_len())
    }

    const fn table_at(&self) -> usize {
        HEADER + self.body_len as usize
    }
}

/// Bytes that an event takes in the columns behind the rows.
const fn columns(mixed: bool, sparse: bool) -> usize {
    (if mixed { LANES_COLUMN } else { 0 }) + (if sparse { LSN_COLUMN } else { 0 })
}

/// Bytes on disk of a group of the ring.
pub(crate) const fn len(count: usize, body_len: usize, mixed: bool) -> usize {
    pages(HEADER + body_len + count * (ROW + columns(mixed, false)))
}

/// What a group consists of besides its bodies.
pub(crate) struct Parts<'a> {
    pub flags: u16,
    pub segment: u64,
    pub first: u64,
    pub rows: &'a [Row],
    /// Per event; looked at only if they differ.
    pub lanes: &'a [u64],
    /// Per event its LSN less `first`; `None`: they follow each other.
    pub lsns: Option<&'a [u32]>,
}

/// Turns `buf` (64 free bytes, then the bodies) into a whole group.
pub(crate) fn finish(buf: &mut Vec<u8>, parts: &Parts<'_>, seed: u32) {
    let all = parts.lanes.iter().fold(0, |all, lanes| all | lanes);
    let mixed = parts.lanes.iter().any(|lanes| *lanes != all);
    let mut flags = parts.flags | if mixed { MIXED } else { 0 };
    let body_len = u32::try_from(buf.len() - HEADER).expect("a group is smaller than 4 GiB");
    let count = u32::try_from(parts.rows.len()).expect("a group has at most MAX_EVENTS events");
    let table_at = buf.len();
    for row in parts.rows {
        buf.extend_from_slice(&row.offset.to_le_bytes());
        buf.extend_from_slice(&row.size.to_le_bytes());
        buf.extend_from_slice(&row.crc.to_le_bytes());
    }
    if mixed {
        for lanes in parts.lanes {
            buf.extend_from_slice(&lanes.to_le_bytes());
        }
    }
    if let Some(lsns) = parts.lsns {
        flags |= SPARSE;
        for lsn in lsns {
            buf.extend_from_slice(&lsn.to_le_bytes());
        }
    }
    let span = parts.lsns.and_then(|lsns| lsns.last().copied()).unwrap_or(count.saturating_sub(1));
    let mut head = Vec::with_capacity(HEADER);
    head.extend_from_slice(&MAGIC.to_le_bytes());
    head.extend_from_slice(&[FORMAT, MIN_READER]);
    head.extend_from_slice(&flags.to_le_bytes());
    head.extend_from_slice(&parts.segment.to_le_bytes());
    head.extend_from_slice(&parts.first.to_le_bytes());
    head.extend_from_slice(&count.to_le_bytes());
    head.extend_from_slice(&body_len.to_le_bytes());
    head.extend_from_slice(&all.to_le_bytes());
    head.resize(HEADER, 0);
    if parts.lsns.is_some() {
        head[SPAN_AT..SPAN_AT + 4].copy_from_slice(&span.to_le_bytes());
    }
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(seed, &head), &buf[table_at..]);
    head[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    buf[..HEADER].copy_from_slice(&head);
    buf.resize(pages(buf.len()), 0);
}

/// Reads the 64 bytes of a header. `None`: no group of this segment begins here.
pub(crate) fn peek(bytes: &[u8], segment: u64) -> Option<Header> {
    let mut take = Take(bytes.get(..HEADER)?);
    if take.u32()? != MAGIC {
        return None;
    }
    let (_format, min_reader, flags) = (take.u8()?, take.u8()?, take.u16()?);
    let (number, first) = (take.u64()?, take.u64()?);
    let (count, body_len, lanes, crc) = (take.u32()?, take.u32()?, take.u64()?, take.u32()?);
    let span = if flags & SPARSE == 0 { count.wrapping_sub(1) } else { take.u32()? };
    let plausible = min_reader <= FORMAT
        && number == segment
        && count > 0
        && count as usize <= MAX_EVENTS
        && first > 0
        && span >= count - 1
        && first.checked_add(u64::from(span) + 1).is_some();
    plausible.then_some(Header { flags, segment: number, first, count, body_len, lanes, span, crc })
}

/// A group that verifies: its extent, LSNs, lanes and table are true. Bodies are checked one by one.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub header: Header,
    bytes: &'a [u8],
}

/// Checks the header and table; `bytes` is the whole group.
pub(crate) fn verify(header: Header, bytes: &[u8], seed: u32) -> Option<Group<'_>> {
    let bytes = bytes.get(..header.len())?;
    let head = bytes.get(..HEADER)?;
    is_true(&header, head, bytes.get(header.table())?, seed).then_some(Group { header, bytes })
}

/// Whether the header's 64 bytes and the table are what was written.
pub(crate) fn is_true(header: &Header, head: &[u8], table: &[u8], seed: u32) -> bool {
    let Ok(mut head) = <[u8; HEADER]>::try_from(head) else { return false };
    head[CRC_AT..CRC_AT + 4].fill(0);
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &head), table) == header.crc
}

impl Group<'_> {
    /// The place of the event at `index` (below `count`).
    pub(crate) fn row(&self, index: usize) -> Option<Row> {
        let mut take = Take(self.bytes.get(self.header.table_at() + index * ROW..)?);
        Some(Row { offset: take.u32()?, size: take.u32()?, crc: take.u32()? })
    }

    /// The LSN of the event at `index`.
    pub(crate) fn lsn(&self, index: usize) -> u64 {
        if !self.header.sparse() {
            return self.header.first + index as u64;
        }
        let behind = ROW + columns(self.header.mixed(), false);
        let at = self.header.table_at() + self.header.count as usize * behind + index * LSN_COLUMN;
        let more = self.bytes.get(at..).and_then(|bytes| Take(bytes).u32()).unwrap_or(self.header.span);
        self.header.first + u64::from(more)
    }

    /// The lanes of the event at `index`.
    pub(crate) fn lanes(&self, index: usize) -> u64 {
        if !self.header.mixed() {
            return self.header.lanes;
        }
        let at = self.header.table_at() + self.header.count as usize * ROW + index * LANES_COLUMN;
        self.bytes.get(at..).and_then(|bytes| Take(bytes).u64()).unwrap_or(self.header.lanes)
    }

    /// The body, if it verifies.
    pub(crate) fn body(&self, row: Row) -> Option<&[u8]> {
        let start = row.offset as usize;
        let body = self.bytes.get(start..start.checked_add(row.len() as usize)?)?;
        (crc32c::crc32c(body) == row.crc).then_some(body)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn sample(lanes: &[u64]) -> Vec<u8> {
        let mut buf = vec![0; HEADER];
        let mut rows = Vec::new();
        for (i, _) in lanes.iter().enumerate() {
            let body = vec![u8::try_from(i).unwrap(); 10 + i];
            rows.push(Row {
                offset: u32::try_from(buf.len()).unwrap(),
                size: u32::try_from(body.len()).unwrap(),
                crc: crc32c::crc32c(&body),
            });
            buf.extend_from_slice(&body);
        }
        finish(&mut buf, &Parts { flags: 0, segment: 7, first: 100, rows: &rows, lanes, lsns: None }, 9);
        buf
    }

    #[test]
    fn comes_back_and_every_flipped_bit_is_seen() {
        for lanes in [&[3_u64, 3][..], &[1, 2, 4]] {
            let good = sample(lanes);
            assert_eq!(good.len(), 4096);
            let header = peek(&good, 7).unwrap();
            let group = verify(header, &good, 9).unwrap();
            assert_eq!(group.header.last(), 100 + lanes.len() as u64 - 1);
            for (i, want) in lanes.iter().enumerate() {
                assert_eq!(group.lanes(i), *want);
                assert!(group.body(group.row(i).unwrap()).is_some());
            }
            assert!(peek(&good, 8).is_none(), "another segment's number");
            assert!(verify(header, &good, 10).is_none(), "another log's seed");
            let used = HEADER + 20 + lanes.len() * 25;
            for bit in 0..used.min(300) * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let whole = peek(&bad, 7).and_then(|h| {
                    verify(h, &bad, 9).map(|g| (0..lanes.len()).all(|i| g.body(g.row(i).unwrap()).is_some()))
                });
                let body_len = usize::try_from(header.body_len).unwrap();
                let table = lanes.len() * if lanes.len() == 3 { 20 } else { 12 };
                if bit / 8 < HEADER + body_len + table {
                    assert_ne!(whole, Some(true), "bit {bit} flipped unseen");
                }
            }
        }
    }

    /// Golden: format 1, never to change. If this fails, raise FORMAT and keep reading the old one.
    #[test]
    fn golden_bytes() {
        let good = sample(&[1, 2]);
        let crc = crc32c::crc32c(&good);
        assert_eq!(&good[..24], b"AGrp\x01\x01\x01\0\x07\0\0\0\0\0\0\0\x64\0\0\0\0\0\0\0");
        assert_eq!(crc, GOLDEN);
    }
    const GOLDEN: u32 = 3_660_105_225;
}
