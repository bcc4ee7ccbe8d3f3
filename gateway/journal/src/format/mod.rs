//! The bytes on disk, each kind in its module. All numbers little-endian, all checksums CRC-32C.
//!
//! ```text
//! LOCK                      flock + pid
//! meta.0, meta.1            two slots (`meta`): log uuid, start count, lane table
//! journal/<20 digits>.seg   segments (`segment` header page, then `group`s)
//! lanes/<id>/cursor         two slots (`cursor`)
//! lanes/<id>/backlog/*.seg  what the lane had open in segments that were recycled: same format, sparse LSNs (`piece`)
//! ```
//!
//! Every checksum of a header starts from a seed made of the log's random uuid. So bytes of another log never verify, and
//! nobody can send a payload that looks like a group of this log when a torn write bares it at a 4 KiB boundary.

pub(crate) mod cursor;
pub(crate) mod group;
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
