//! The two numbers of the journal: where an event stands ([`Lsn`]) and which way it leaves ([`LaneId`]).

use std::fmt;

/// Log sequence number: bits 63..56 shard, bits 55..0 sequence. Never reused, also not after a crash; grows with every
/// event, but has gaps (a start after an unclean stop jumps ahead).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub(crate) u64);

const SEQUENCE_BITS: u32 = 56;

impl Lsn {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// From its parts; bits of `sequence` above 55 are cut off.
    #[must_use]
    pub const fn new(shard: u8, sequence: u64) -> Self {
        Self(((shard as u64) << SEQUENCE_BITS) | (sequence & ((1 << SEQUENCE_BITS) - 1)))
    }

    /// From the number that [`Lsn::get`] gave.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The whole number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Which shard of the log. Always 0 as long as there is one log per process.
    #[must_use]
    pub const fn shard(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    /// The position within the shard.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.0 & ((1 << SEQUENCE_BITS) - 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many lanes a journal has at most: one bit each in the lanes bitmap.
pub const LANES: usize = 64;

/// A lane: the way to one backend. 0 is the lane of the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub(crate) u8);

impl LaneId {
    /// The lane whose backend is nobody.
    pub const DEAD_LETTERS: Self = Self(0);

    /// `None` above 63.
    #[must_use]
    pub const fn new(id: u8) -> Option<Self> {
        if (id as usize) < LANES { Some(Self(id)) } else { None }
    }

    /// The number, 0..=63.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The lane's bit in a lanes bitmap.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self.0
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back() {
        let lsn = Lsn::new(3, 77);
        assert_eq!((lsn.shard(), lsn.sequence()), (3, 77));
        assert_eq!(Lsn::from_raw(lsn.get()), lsn);
        assert!(Lsn::new(0, 5) < Lsn::new(0, 6) && Lsn::new(0, 6) < Lsn::new(1, 0));
        assert_eq!(LaneId::new(64), None);
    }
}
