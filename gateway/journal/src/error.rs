//! What can go wrong, as types: refused appends, a failed disk, a journal that does not open, and notices for the log.

use std::{fmt, io, path::PathBuf, sync::Arc};

use crate::{LaneId, Lsn};

/// Why an append kept nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// Every segment of the ring still holds events that a lane needs. Passes when lanes move on.
    Full,
    /// The group buffer is full, or the next segment is still being prepared. Passes by itself within milliseconds.
    Busy,
    /// The message is larger than one group may be (`Options::group_bytes`). Never passes.
    TooLarge,
    /// The disk failed; the process must end with code 74.
    Failed,
    /// The journal is being closed.
    Stopping,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the journal's ring is full: a lane has to move on first",
            Self::Busy => "the journal's group buffer is full for the moment",
            Self::TooLarge => "the message is larger than a journal group may be",
            Self::Failed => "the journal's disk failed",
            Self::Stopping => "the journal is being closed",
        })
    }
}

impl std::error::Error for Closed {}

/// The journal failed before this LSN became durable: the event may or may not be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal failed or was closed before this event was durable: it may or may not have been kept")
    }
}

impl std::error::Error for Failed {}

/// The first error of a write or sync. There is never a second attempt: after a failed sync the page cache lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being done, with the path.
    pub what: String,
    /// The operating system's words.
    pub error: String,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, error: &io::Error) -> Self {
        Self { what: what.into(), error: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the journal failed to {}: {}; it stops here and is not tried again (check the disk, then start again)",
            self.what, self.error
        )
    }
}

impl std::error::Error for Failure {}

/// Something the log, an alarm or a counter should know. Given to `Options::hook` from the journal's own threads: be quick.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// One or more groups are unreadable: header or table do not verify. `events` were in them (all lanes together).
    CorruptGroup {
        /// The segment's number.
        segment: u64,
        /// Where the damage begins, in bytes from the segment's start.
        offset: u64,
        /// How many events are lost, counted by LSN.
        events: u64,
    },
    /// One event's body does not verify.
    CorruptEvent {
        /// The segment's number.
        segment: u64,
        /// The event.
        lsn: Lsn,
    },
    /// A segment's header does not verify, but the segment was in use; it is read without it.
    CorruptSegment {
        /// The segment's number.
        segment: u64,
    },
    /// A lane's cursor could not be read: the lane begins at the oldest retained event (duplicates, no loss).
    CursorLost {
        /// The lane.
        lane: LaneId,
    },
    /// The last group before an unclean stop was only partly written. It had not been acknowledged.
    TornTail {
        /// The segment's number.
        segment: u64,
        /// Where it begins.
        offset: u64,
    },
    /// All segments hold events that a lane needs: new events are refused.
    RingFull,
    /// There is room again.
    RingRoom,
    /// No room on the file system for another segment; the ring stays as large as it is.
    NoSpace {
        /// Segments there are.
        segments: usize,
        /// The operating system's words.
        error: String,
    },
    /// A lane lags: the ring needs the room, and what the lane has open there goes to a backlog of its own from now on.
    SpillBegun {
        /// The lane.
        lane: LaneId,
    },
    /// The lane has no backlog any more.
    SpillEnded {
        /// The lane.
        lane: LaneId,
    },
    /// No room on the file system for a lane's backlog; the ring keeps the events, and fills. Tried again when there is room.
    BacklogNoSpace {
        /// The lane.
        lane: LaneId,
        /// The operating system's words.
        error: String,
    },
    /// The dedupe ids of a segment are not kept, or cannot be read: if the segment is used again, a resend of one of its events
    /// after a restart is not known as one.
    IdsLost {
        /// The segment's number.
        segment: u64,
        /// Why.
        error: String,
    },
    /// The disk failed; see [`Failure`].
    Failed(Failure),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CorruptGroup { segment, offset, events } => {
                write!(
                    f,
                    "segment {segment}: damage at offset {offset}, {events} events lost; reading goes on behind it"
                )
            }
            Self::CorruptEvent { segment, lsn } => {
                write!(f, "segment {segment}: event {lsn} does not match its checksum and is lost")
            }
            Self::CorruptSegment { segment } => {
                write!(f, "segment {segment}: the header does not verify; its groups are read nevertheless")
            }
            Self::CursorLost { lane } => {
                write!(f, "lane {lane}: no valid cursor; it begins at the oldest retained event (duplicates, no loss)")
            }
            Self::TornTail { segment, offset } => write!(
                f,
                "segment {segment}: the group at offset {offset} was cut off by the stop; it had not been acknowledged"
            ),
            Self::RingFull => f.write_str("the journal's ring is full: new events are refused until a lane moves on"),
            Self::RingRoom => f.write_str("the journal's ring has room again"),
            Self::NoSpace { segments, error } => {
                write!(f, "no space for another segment, the ring stays at {segments}: {error}")
            }
            Self::SpillBegun { lane } => {
                write!(f, "lane {lane} lags: its events are copied from the ring to a backlog of its own")
            }
            Self::SpillEnded { lane } => write!(f, "lane {lane} has caught up with its backlog"),
            Self::BacklogNoSpace { lane, error } => {
                write!(f, "no space for the backlog of lane {lane}, the ring keeps its events and fills: {error}")
            }
            Self::IdsLost { segment, error } => {
                write!(f, "segment {segment}: its dedupe ids are lost when it is used again: {error}")
            }
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

/// Receives notices.
pub type Hook = Arc<dyn Fn(&Notice) + Send + Sync>;

/// Why a journal does not open. Nothing was changed unless it is `Io` during a write.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The other process, if it could be read.
        pid: Option<u32>,
    },
    /// The config lacks lanes that still have events: (id, name, pending).
    LanesMissing {
        /// Which.
        lanes: Vec<(LaneId, String, u64)>,
    },
    /// There is no log, and none is to be begun (`Options::lanes_as_found`).
    Missing {
        /// The data directory.
        path: PathBuf,
    },
    /// Written by a version that this one must not read.
    Version {
        /// The file.
        path: PathBuf,
        /// The oldest reader that may.
        min_reader: u8,
    },
    /// The log is there, but what names it is not readable.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// More than 63 backends.
    TooManyLanes,
    /// An option that cannot be.
    Invalid(String),
    /// The operating system refused.
    Io {
        /// What was being done, with the path.
        what: String,
        /// Its words.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path, pid: Some(pid) } => write!(
                f,
                "{}: in use by process {pid}; stop it first, or choose another data directory",
                path.display()
            ),
            Self::Locked { path, pid: None } => {
                write!(
                    f,
                    "{}: in use by another process; stop it first, or choose another data directory",
                    path.display()
                )
            }
            Self::LanesMissing { lanes } => {
                f.write_str("the config lacks backends that still have events: ")?;
                for (i, (id, name, pending)) in lanes.iter().enumerate() {
                    let comma = if i == 0 { "" } else { ", " };
                    write!(f, "{comma}{name} (lane {id}, {pending} pending)")?;
                }
                f.write_str("; put them back, or say renamed_from, or use anygate lanes drain|move|discard")
            }
            Self::Version { path, min_reader } => write!(
                f,
                "{}: written by a newer version; a reader of format {min_reader} or newer is needed, this one reads {}",
                path.display(),
                crate::format::FORMAT
            ),
            Self::Missing { path } => {
                write!(f, "{}: no journal here; give the data directory of the gateway (node.data_dir)", path.display())
            }
            Self::Damaged { path, what } => write!(f, "{}: {what}", path.display()),
            Self::TooManyLanes => f.write_str("a journal has at most 63 lanes (backends)"),
            Self::Invalid(what) => f.write_str(what),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Locked { .. }
            | Self::LanesMissing { .. }
            | Self::Missing { .. }
            | Self::Version { .. }
            | Self::Damaged { .. }
            | Self::TooManyLanes
            | Self::Invalid(_) => None,
        }
    }
}
