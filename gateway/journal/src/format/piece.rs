//! The names in `lanes/<id>/backlog/`. A name says all that a start wants to know of a segment of a backlog, so that a start
//! opens none of them, however many there are: the number of the ring's segment that it was copied from, that segment's
//! first and last LSN, how many events it has, the bytes of their bodies and the file's length.
//!
//! ```text
//! <number, 20 digits>-<first>-<last>-<events>-<bytes>-<file length>.seg
//! ```
//!
//! A file gets its name when all of it is durable; what has another name is a leftover of a copy that was cut off.

use std::path::PathBuf;

use crate::{LaneId, Options};

/// The name of a copy that is not complete.
pub(crate) const TEMPORARY: &str = "next.tmp";

/// One segment of a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The segment of the ring that it was copied from.
    pub number: u64,
    /// That segment's first LSN.
    pub first: u64,
    /// That segment's last LSN: everything of the lane up to here that was not done is in this piece or an earlier one.
    pub last: u64,
    pub events: u64,
    /// Of bodies.
    pub bytes: u64,
    /// The file's length.
    pub size: u64,
}

impl Piece {
    pub(crate) fn name(&self) -> String {
        let Self { number, first, last, events, bytes, size } = self;
        format!("{number:020}-{first}-{last}-{events}-{bytes}-{size}.seg")
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".seg")?.split('-').map(|part| part.parse::<u64>().ok());
        let mut next = || parts.next().flatten();
        let (number, first, last) = (next()?, next()?, next()?);
        let piece = Self { number, first, last, events: next()?, bytes: next()?, size: next()? };
        (parts.next().is_none() && first > 0 && first <= last && piece.name() == name).then_some(piece)
    }
}

/// The folder of a lane's backlog.
pub(crate) fn folder(options: &Options, lane: LaneId) -> PathBuf {
    options.dir.join("lanes").join(lane.to_string()).join("backlog")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_name_comes_back_and_nothing_else_is_one() {
        let piece = Piece { number: 7, first: 100, last: 250, events: 3, bytes: 900, size: 8192 };
        assert_eq!(piece.name(), "00000000000000000007-100-250-3-900-8192.seg");
        assert_eq!(Piece::parse(&piece.name()), Some(piece));
        for name in ["", "next.tmp", "00000000000000000007.seg", "7-100-250-3-900-8192.seg"] {
            assert_eq!(Piece::parse(name), None, "{name}");
        }
        assert_eq!(Piece::parse("00000000000000000007-100-250-3-900-8192-1.seg"), None);
        assert_eq!(Piece::parse("00000000000000000007-251-250-3-900-8192.seg"), None);
    }
}
