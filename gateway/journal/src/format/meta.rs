//! `meta.0` and `meta.1`: which log this is, how often it started, whether it was closed, and its lanes. Written in turns;
//! the valid one with the higher generation counts.
//!
//! ```text
//!   0  magic 8 | format u8, min_reader u8, clean u8, zero u8, len u32 (of the used bytes, crc not counted)
//!  16  generation u64 | uuid 16 | starts u64 | next lsn u64 (true if clean) | segment size u64 | lanes u32
//!      per lane: id u8, state u8, config hash u64, name (u16 len, UTF-8), kind (u16 len, UTF-8)
//! len  crc u32, seeded with the uuid
//! ```

use super::{FORMAT, MIN_READER, Parsed, Take, seed};
use crate::LaneId;

const MAGIC: &[u8; 8] = b"AnygMta\n";
/// Bytes of a slot's file, taken when it is made.
pub(crate) const SLOT: usize = 64 << 10;
/// Bytes of a name or kind at most.
pub(crate) const MAX_NAME: usize = 255;

/// Whether a lane is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    /// Its config is gone and it had nothing left; its id may be given again when all others are used up.
    Retired,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    pub id: LaneId,
    pub state: State,
    pub config_hash: u64,
    pub name: String,
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub generation: u64,
    pub uuid: [u8; 16],
    pub starts: u64,
    pub clean: bool,
    pub next: u64,
    pub segment_size: u64,
    pub lanes: Vec<Lane>,
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[FORMAT, MIN_READER, u8::from(self.clean), 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.uuid);
        for n in [self.starts, self.next, self.segment_size] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&u32::try_from(self.lanes.len()).unwrap_or(0).to_le_bytes());
        for lane in &self.lanes {
            out.push(lane.id.get());
            out.push(match lane.state {
                State::Active => 0,
                State::Retired => 1,
            });
            out.extend_from_slice(&lane.config_hash.to_le_bytes());
            for text in [&lane.name, &lane.kind] {
                out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(0).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
        let len = u32::try_from(out.len()).unwrap_or(0);
        out[12..16].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c::crc32c_append(seed(&self.uuid), &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Parsed<Self> {
        Self::checked(bytes).unwrap_or(Parsed::Bad)
    }

    fn checked(bytes: &[u8]) -> Option<Parsed<Self>> {
        let mut take = Take(bytes);
        if take.bytes(8)? != MAGIC {
            return None;
        }
        let (_format, min_reader, clean, _) = (take.u8()?, take.u8()?, take.u8()?, take.u8()?);
        let len = take.u32()? as usize;
        let (used, mut rest) = bytes.split_at_checked(len).map(|(used, rest)| (used, Take(rest)))?;
        let generation = take.u64()?;
        let uuid = take.uuid()?;
        if rest.u32()? != crc32c::crc32c_append(seed(&uuid), used) {
            return None;
        }
        if min_reader > FORMAT {
            return Some(Parsed::Newer(min_reader));
        }
        let (starts, next, segment_size) = (take.u64()?, take.u64()?, take.u64()?);
        let count = take.u32()?;
        let mut lanes = Vec::new();
        for _ in 0..count {
            lanes.push(lane(&mut take)?);
        }
        Some(Parsed::Good(Self { generation, uuid, starts, clean: clean != 0, next, segment_size, lanes }))
    }
}

fn lane(take: &mut Take<'_>) -> Option<Lane> {
    let id = LaneId::new(take.u8()?)?;
    let state = match take.u8()? {
        0 => State::Active,
        1 => State::Retired,
        _ => return None,
    };
    let config_hash = take.u64()?;
    let mut text = || {
        let len = usize::from(take.u16()?);
        String::from_utf8(take.bytes(len)?.to_vec()).ok()
    };
    Some(Lane { id, state, config_hash, name: text()?, kind: text()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn comes_back_with_64_lanes() {
        let lanes = (0..64)
            .map(|id| Lane {
                id: LaneId::new(id).unwrap(),
                state: if id % 2 == 0 { State::Active } else { State::Retired },
                config_hash: 1,
                name: "n".repeat(MAX_NAME),
                kind: "k".repeat(MAX_NAME),
            })
            .collect();
        let meta = Meta { generation: 2, uuid: [4; 16], starts: 3, clean: true, next: 9, segment_size: 5, lanes };
        let mut bytes = meta.encode();
        assert!(bytes.len() <= SLOT);
        assert_eq!(Meta::decode(&bytes), Parsed::Good(meta));
        bytes[9] = FORMAT + 1;
        assert_eq!(Meta::decode(&bytes), Parsed::Bad, "flipped without its checksum");
        let at = bytes.len() - 4;
        let crc = crc32c::crc32c_append(seed(&[4; 16]), &bytes[..at]);
        bytes[at..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Meta::decode(&bytes), Parsed::Newer(FORMAT + 1));
    }
}
