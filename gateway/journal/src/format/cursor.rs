//! `lanes/<id>/cursor`: how far a lane is. One file of two slots, taken in turns; the valid one with the higher generation
//! counts. Losing it costs duplicates, not data.
//!
//! ```text
//!   0  magic 8 | format u8, min_reader u8, lane u8, zero u8, len u32 (of the used bytes, crc not counted)
//!  16  generation u64 | low lsn u64 | passed u64 | ranges u32 | in flight u32 | state u32 | zero u32
//!      ranges × (start u64, end u64, events u32): done above low
//!      in flight × (lsn u64, unclean exits u32)
//!      state: the backend's own bytes
//!      passed bytes u64 (of bodies below low) | ranges × u64 (of bodies in each)
//! len  crc u32, seeded
//! ```

use super::{FORMAT, MIN_READER, Parsed, Take};
use crate::LaneId;

const MAGIC: &[u8; 8] = b"AnygCur\n";
/// Bytes of one slot; the file has two.
pub(crate) const SLOT: usize = 64 << 10;
/// The backend's state at most.
pub(crate) const MAX_STATE: usize = 16 << 10;
/// LSNs in flight that are remembered at most.
pub(crate) const MAX_FLIGHT: usize = 1024;
const HEAD: usize = 56;
const RANGE: usize = 20;
/// Done ranges that always fit.
pub(crate) const MAX_RANGES: usize = (SLOT - HEAD - 4 - 8 - MAX_STATE - MAX_FLIGHT * 12) / (RANGE + 8);

/// Events that are done above the low mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub start: u64,
    pub end: u64,
    /// How many of the lane's events are in it.
    pub events: u32,
    /// Of their bodies.
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub generation: u64,
    /// Everything of the lane below is done.
    pub low: u64,
    /// How many events of the lane are below `low`, since the log began.
    pub passed: u64,
    pub ranges: Vec<Range>,
    /// Handed out and not done when it was saved: (lsn, unclean exits while it was so).
    pub flight: Vec<(u64, u32)>,
    pub state: Vec<u8>,
    /// Bytes of the bodies of the lane's events below `low`, since the log began; `None` in a cursor without bytes.
    pub passed_bytes: Option<u64>,
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(0).to_le_bytes()
}

impl Cursor {
    /// Ranges, flight and state beyond what a slot holds are left out: that costs duplicates after a crash.
    pub(crate) fn encode(&self, lane: LaneId, seed: u32) -> Vec<u8> {
        let ranges = &self.ranges[..self.ranges.len().min(MAX_RANGES)];
        let flight = &self.flight[..self.flight.len().min(MAX_FLIGHT)];
        let state = &self.state[..self.state.len().min(MAX_STATE)];
        let mut out = Vec::with_capacity(HEAD + ranges.len() * RANGE + flight.len() * 12 + state.len() + 4);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[FORMAT, MIN_READER, lane.get(), 0, 0, 0, 0, 0]);
        for n in [self.generation, self.low, self.passed] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for n in [ranges.len(), flight.len(), state.len(), 0] {
            out.extend_from_slice(&length(n));
        }
        for range in ranges {
            out.extend_from_slice(&range.start.to_le_bytes());
            out.extend_from_slice(&range.end.to_le_bytes());
            out.extend_from_slice(&range.events.to_le_bytes());
        }
        for (lsn, exits) in flight {
            out.extend_from_slice(&lsn.to_le_bytes());
            out.extend_from_slice(&exits.to_le_bytes());
        }
        out.extend_from_slice(state);
        if let Some(passed) = self.passed_bytes {
            out.extend_from_slice(&passed.to_le_bytes());
            for range in ranges {
                out.extend_from_slice(&range.bytes.to_le_bytes());
            }
        }
        let len = length(out.len());
        out[12..16].copy_from_slice(&len);
        let crc = crc32c::crc32c_append(seed, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8], lane: LaneId, seed: u32) -> Parsed<Self> {
        Self::checked(bytes, lane, seed).unwrap_or(Parsed::Bad)
    }

    fn checked(bytes: &[u8], lane: LaneId, seed: u32) -> Option<Parsed<Self>> {
        let mut take = Take(bytes);
        if take.bytes(8)? != MAGIC {
            return None;
        }
        let (_format, min_reader, id, _) = (take.u8()?, take.u8()?, take.u8()?, take.u8()?);
        let len = take.u32()? as usize;
        let (used, rest) = bytes.split_at_checked(len)?;
        if Take(rest).u32()? != crc32c::crc32c_append(seed, used) || id != lane.get() {
            return None;
        }
        if min_reader > FORMAT {
            return Some(Parsed::Newer(min_reader));
        }
        let mut cursor = Self { generation: take.u64()?, low: take.u64()?, passed: take.u64()?, ..Self::default() };
        let (ranges, flight, state) = (take.u32()?, take.u32()?, take.u32()? as usize);
        take.u32()?;
        for _ in 0..ranges {
            cursor.ranges.push(Range { start: take.u64()?, end: take.u64()?, events: take.u32()?, bytes: 0 });
        }
        for _ in 0..flight {
            cursor.flight.push((take.u64()?, take.u32()?));
        }
        cursor.state = take.bytes(state)?.to_vec();
        // What a later version adds stands behind it.
        if len >= bytes.len() - take.0.len() + 8 + 8 * cursor.ranges.len() {
            cursor.passed_bytes = Some(take.u64()?);
            for range in &mut cursor.ranges {
                range.bytes = take.u64()?;
            }
        }
        Some(Parsed::Good(cursor))
    }

    /// The better of the two slots of a file.
    pub(crate) fn newest(file: &[u8], lane: LaneId, seed: u32) -> Option<Self> {
        let slots = [file.get(..SLOT).unwrap_or(file), file.get(SLOT..).unwrap_or(&[])];
        slots
            .into_iter()
            .filter_map(|slot| Self::decode(slot, lane, seed).good())
            .max_by_key(|cursor| cursor.generation)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn comes_back_also_when_too_much_is_in_it() {
        let lane = LaneId::new(5).unwrap();
        let full = Cursor {
            generation: 1,
            low: 2,
            passed: 3,
            ranges: vec![Range { start: 4, end: 5, events: 1, bytes: 3 }; MAX_RANGES + 1],
            flight: vec![(6, 7); MAX_FLIGHT + 1],
            state: vec![8; MAX_STATE + 1],
            passed_bytes: Some(9),
        };
        let bytes = full.encode(lane, 1);
        assert!(bytes.len() <= SLOT);
        let back = Cursor::decode(&bytes, lane, 1).good().unwrap();
        assert_eq!((back.ranges.len(), back.flight.len(), back.state.len()), (MAX_RANGES, MAX_FLIGHT, MAX_STATE));
        assert_eq!((back.passed_bytes, back.ranges[9].bytes), (Some(9), 3));
        assert_eq!(Cursor::decode(&bytes, LaneId::DEAD_LETTERS, 1), Parsed::Bad);
        let mut file = vec![0; 2 * SLOT];
        file[..bytes.len()].copy_from_slice(&bytes);
        let newer = Cursor { generation: 2, ..Cursor::default() }.encode(lane, 1);
        file[SLOT..SLOT + newer.len()].copy_from_slice(&newer);
        assert_eq!(Cursor::newest(&file, lane, 1).unwrap().generation, 2);
        file[SLOT + 20] ^= 1;
        assert_eq!(Cursor::newest(&file, lane, 1).unwrap().generation, 1);
    }
}
