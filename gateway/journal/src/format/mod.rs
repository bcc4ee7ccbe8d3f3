//! The bytes on disk, each kind in its module. All numbers little-endian, all checksums CRC-32C.
//!
//! ```text
//! LOCK                      flock + pid
//! meta.0, meta.1            two slots (`meta`): log uuid, start count, lane table
//! journal/<20 digits>.seg   segments (`segment` header page, then `group`s)
//! lanes/<id>/cursor         two slots (`cursor`)
//! lanes/<id>/backlog/*.seg  what the lane had open in segments that were recycled: same format, sparse LSNs (`piece`)
//! ids/<20 digits>.ids       dedupe ids of a sealed segment (`ids`)
//! ```
//!
//! Every checksum of a header starts from a seed made of the log's random uuid. So bytes of another log never verify, and
//! nobody can send a payload that looks like a group of this log when a torn write bares it at a 4 KiB boundary.

pub(crate) mod cursor;
pub(crate) mod group;
pub(crate) mod ids;
pub(crate) mod meta;
pub(crate) mod piece;
pub(crate) mod segment;

/// The format that this version writes.
pub const FORMAT: u8 = 1;
/// The oldest reader that understands what this version writes.
pub const MIN_READER: u8 = 1;
/// Groups begin at multiples of this; a segment's header is one.
pub(crate) const PAGE: usize = 4096;
pub(crate) const PAGE64: u64 = 4096;

/// `n` rounded up to whole pages.
pub(crate) const fn pages(n: usize) -> usize {
    n.div_ceil(PAGE) * PAGE
}

/// Where checksums of a log start.
pub(crate) fn seed(uuid: &[u8; 16]) -> u32 {
    crc32c::crc32c(uuid)
}

/// Takes numbers and bytes off the front of a slice; `None` when it ends too early.
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(front)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Option<[u8; 16]> {
        self.array()
    }
}

/// What a slot or header said about itself before it was believed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// It verifies.
    Good(T),
    /// It verifies, but asks for a newer reader.
    Newer(u8),
    /// It does not verify.
    Bad,
}

impl<T> Parsed<T> {
    pub(crate) fn good(self) -> Option<T> {
        match self {
            Self::Good(t) => Some(t),
            Self::Newer(_) | Self::Bad => None,
        }
    }
}

/// Golden: what format 1 once wrote is read, and written the same again. If this fails, raise [`FORMAT`] and keep reading
/// the old one; `tests/golden.rs` opens the whole directory.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::LaneId;

    const META: [&[u8]; 2] =
        [include_bytes!("../../tests/golden/v1/meta.0"), include_bytes!("../../tests/golden/v1/meta.1")];
    const CURSOR: &[u8] = include_bytes!("../../tests/golden/v1/lanes/1/cursor");
    const SEGMENT: &[u8] = include_bytes!("../../tests/golden/v1/journal/00000000000000000011.seg");
    const BACKLOG: &[u8] =
        include_bytes!("../../tests/golden/v1/lanes/1/backlog/00000000000000000003-15-21-6-7500-12288.seg");
    const IDS: &[u8] = include_bytes!("../../tests/golden/v1/ids/00000000000000000004.ids");

    /// The bytes again that end at a file's last one that is not 0.
    fn same(again: &[u8], file: &[u8]) {
        let used = again.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        assert!(file.get(..used) == Some(&again[..used]));
    }

    fn uuid() -> [u8; 16] {
        let metas = META.map(|bytes| meta::Meta::decode(bytes).good().unwrap());
        for (meta, file) in metas.iter().zip(META) {
            same(&meta.encode(), file);
        }
        metas[0].uuid
    }

    #[test]
    fn golden_bytes_are_written_again() {
        let seed = seed(&uuid());
        let lane = LaneId::new(1).unwrap();
        let slots = [&CURSOR[..cursor::SLOT], &CURSOR[cursor::SLOT..]];
        for slot in slots {
            let found = cursor::Cursor::decode(slot, lane, seed).good().unwrap();
            same(&found.encode(lane, seed), slot);
        }
        for file in [SEGMENT, BACKLOG] {
            let header = segment::Header::decode(file, seed).good().unwrap();
            assert_eq!(header.encode(seed), &file[..PAGE]);
            let mut padded = file[PAGE..].to_vec();
            padded.resize(pages(padded.len()), 0);
            let found = group::peek(&padded, header.number).unwrap();
            let group = group::verify(found, &padded, seed).unwrap();
            let rows: Vec<_> = (0..found.count as usize).map(|at| group.row(at).unwrap()).collect();
            let lanes: Vec<_> = (0..rows.len()).map(|at| group.lanes(at)).collect();
            let lsns: Vec<_> = (0..rows.len()).map(|at| u32::try_from(group.lsn(at) - found.first).unwrap()).collect();
            let mut again = padded[..group::HEADER + found.body_len as usize].to_vec();
            let parts = group::Parts {
                flags: 0,
                segment: header.number,
                first: found.first,
                rows: &rows,
                lanes: &lanes,
                lsns: (file == BACKLOG).then_some(&lsns),
            };
            group::finish(&mut again, &parts, seed);
            assert!(again == padded[..again.len()] && rows.iter().all(|row| group.body(*row).is_some()));
        }
        let rows = ids::rows(IDS, 4, seed).unwrap();
        let mut bytes = Vec::new();
        for (key, lsn, time) in &rows {
            ids::row(&mut bytes, key, *lsn, *time);
        }
        let head = ids::Head::decode(IDS).unwrap();
        let tail = head.tail(crc32c::crc32c_append(seed, &bytes));
        assert_eq!([&head.encode()[..], &bytes, &tail].concat(), IDS);
    }
}
