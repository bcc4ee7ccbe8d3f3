//! How a journal is opened: where, how large, with which lanes; and the types that its users hand in and get back.

use std::{fmt, ops::Deref, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    Hook, KeyOf, LANES, LaneId, Lsn, OpenError,
    format::{PAGE64, group, meta, segment},
};

/// A backend of the config, as the journal knows it. Lane 0 (dead letters) is always there and not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneSpec {
    /// The backend's name: what the lane's id hangs on. At most 255 bytes.
    pub name: String,
    /// The backend's kind. At most 255 bytes.
    pub kind: String,
    /// Hash of its config, kept for reports.
    pub config_hash: u64,
    /// The name that it had before: the lane and its events are taken over.
    pub renamed_from: Option<String>,
    /// Bytes of bodies that may wait in the lane before [`crate::Journal::room`] says no; 0: no limit.
    pub quota: u64,
}

/// A lane as the lane table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneInfo {
    /// Stable for the life of the log.
    pub id: LaneId,
    /// The backend's name.
    pub name: String,
    /// The backend's kind.
    pub kind: String,
    /// Hash of its config.
    pub config_hash: u64,
}

/// How to open a journal.
#[derive(Clone)]
pub struct Options {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    /// The backends of the config; their ids come from [`crate::Journal::lane_id`].
    pub lanes: Vec<LaneSpec>,
    /// Bytes of a segment, a multiple of 4 KiB. Default 64 MiB. A log keeps the size that it began with.
    pub segment_size: u64,
    /// Segments of the ring at most. Default 16, at most 64.
    pub segments: usize,
    /// From this many segments on a segment that nobody needs is used again rather than a new one made. Default 4.
    pub keep: usize,
    /// Bytes of a group at most, and so of one message; at most a segment less 4 KiB. Default 8 MiB. There are two buffers.
    pub group_bytes: usize,
    /// Lists of waiters: as many as there are edge threads. Default 2.
    pub shards: usize,
    /// How often cursors are saved. Default 1 s.
    pub cursor_every: Duration,
    /// Bytes of dead letters that may wait whose senders got a receipt; 0: no limit. They are never evicted.
    pub letters_quota: u64,
    /// Bytes of dead letters that may wait whose senders got none ([`Encoded::unowed`]); 0: no limit.
    pub unowed_quota: u64,
    /// Take the lanes as the log has them and not from `lanes`: for tools. The log must be there.
    pub lanes_as_found: bool,
    /// Gives the dedupe id of a body. Default: none, and no ids are kept.
    pub key_of: Option<KeyOf>,
    /// How long an id is kept. Default 10 min.
    pub ids_window: Duration,
    /// How many ids are kept at most. Default 1,000,000.
    pub ids_count: u64,
    /// Told of damage, a full ring, failure.
    pub hook: Option<Hook>,
    /// Start the committer and the helper thread. `false`: the caller drives [`crate::Journal::commit_step`] and
    /// [`crate::Journal::tend_step`] itself (deterministic tests).
    pub threads: bool,
}

impl Options {
    /// The defaults, in `dir`, without backends.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            lanes: Vec::new(),
            segment_size: 64 << 20,
            segments: 16,
            keep: 4,
            group_bytes: 8 << 20,
            shards: 2,
            cursor_every: Duration::from_secs(1),
            letters_quota: 0,
            unowed_quota: 0,
            lanes_as_found: false,
            key_of: None,
            ids_window: Duration::from_secs(600),
            ids_count: 1_000_000,
            hook: None,
            threads: true,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let wrong = |what: String| Err(OpenError::Invalid(what));
        if !self.segment_size.is_multiple_of(PAGE64) || self.segment_size < 2 * PAGE64 || self.segment_size > 1 << 31 {
            return wrong(format!("segment size {}: want a multiple of 4 KiB, 8 KiB to 2 GiB", self.segment_size));
        }
        if self.segments < 2 || self.segments > segment::MAX_ROWS.min(64) {
            return wrong(format!("{} segments: want 2 to 64", self.segments));
        }
        if self.group_bytes as u64 > self.segment_size - PAGE64 || self.group_bytes < 4096 {
            return wrong(format!(
                "group size {}: want 4 KiB up to a segment less 4 KiB ({})",
                self.group_bytes,
                self.segment_size - PAGE64
            ));
        }
        check_lanes(&self.lanes)
    }
}

pub(crate) fn check_lanes(lanes: &[LaneSpec]) -> Result<(), OpenError> {
    if lanes.len() >= LANES {
        return Err(OpenError::TooManyLanes);
    }
    for (i, lane) in lanes.iter().enumerate() {
        if lane.name.is_empty() || lane.name.len() > meta::MAX_NAME || lane.kind.len() > meta::MAX_NAME {
            return Err(OpenError::Invalid(format!("backend name {:?}: want 1 to 255 bytes", lane.name)));
        }
        if lanes[..i].iter().any(|other| other.name == lane.name) {
            return Err(OpenError::Invalid(format!("backend {:?} is there twice", lane.name)));
        }
    }
    Ok(())
}

/// One event, ready to be copied into a group: the body in one or two slices, and its checksum, computed outside the lock.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// The body's first part.
    pub head: &'a [u8],
    /// The rest.
    pub payload: &'a [u8],
    /// CRC-32C of `head` and `payload` together. If it is wrong the event is lost as corrupt when read.
    pub crc: u32,
    /// Bits of the lanes that want it. Bits of lanes that do not exist hold nothing back.
    pub lanes: u64,
    /// See [`Encoded::unowed`].
    pub(crate) unowed: u32,
    /// See [`Encoded::unkeyed`].
    pub(crate) keyed: bool,
}

impl<'a> Encoded<'a> {
    /// A body in one slice.
    #[must_use]
    pub fn new(body: &'a [u8], lanes: u64) -> Self {
        Self { head: body, payload: &[], crc: crc32c::crc32c(body), lanes, unowed: 0, keyed: true }
    }

    /// A body in two slices.
    #[must_use]
    pub fn gathered(head: &'a [u8], payload: &'a [u8], lanes: u64) -> Self {
        let crc = crc32c::crc32c_append(crc32c::crc32c(head), payload);
        Self { head, payload, crc, lanes, unowed: 0, keyed: true }
    }

    /// The same for a dead letter whose sender got no receipt (QoS 0, no confirms, UDP): it counts for
    /// `Options::unowed_quota`, and [`crate::Journal::evict_unowed`] may drop it for room.
    #[must_use]
    pub const fn unowed(mut self) -> Self {
        self.unowed = group::UNOWED;
        self
    }

    /// The same for a body that `Options::key_of` would find no dedupe id in. A segment that has no others is not read again
    /// for ids. Without this it is.
    #[must_use]
    pub const fn unkeyed(mut self) -> Self {
        self.keyed = false;
        self
    }

    pub(crate) const fn len(&self) -> usize {
        self.head.len() + self.payload.len()
    }
}

/// What a row of the table takes at most.
pub(crate) const ROW: usize = group::ROW + group::LANES_COLUMN;

/// An event's bytes: a shared slice of what was read, alive as long as any of its neighbours is (up to 256 KiB, or the
/// group). Keep `to_vec()` instead where one event waits for long.
#[derive(Clone)]
pub struct Body {
    chunk: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Body {
    pub(crate) const fn new(chunk: Arc<Vec<u8>>, range: Range<usize>) -> Self {
        Self { chunk, range }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.chunk[self.range.clone()]
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// An event as a lane reads it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place.
    pub lsn: Lsn,
    /// The lanes that wanted it.
    pub lanes: u64,
    /// In how many unclean exits it was in flight.
    pub attempts: u32,
    /// Its sender got a receipt: not one of [`Encoded::unowed`].
    pub owed: bool,
    /// Its bytes.
    pub body: Body,
}
