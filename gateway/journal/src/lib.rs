//! The write-ahead log: group commit, watermark, recovery. std threads, no tokio.
//!
//! **What it promises.** [`Journal::append`] takes all events of a message or none, without waiting. When
//! [`Journal::poll_durable`] says yes, the events survive a kill and a power cut, on a disk whose sync tells the truth.
//! Lanes read only what is durable, in order, each event at least once until it is called done. LSNs are never reused.
//! Damage loses what it hit and nothing else, and is counted. The first error of a write or sync ends the journal. A lane
//! that lags holds nobody up: what it has open in a segment of the ring is copied to a backlog of its own before the segment
//! is used again; its reader takes both as one stream.
//!
//! **What it does not do.** It looks into no event. It enforces no quota: whoever routes asks [`Journal::room`] first. When
//! the disk has no room for a backlog, the ring keeps the events, and when it is full appends are refused with
//! [`Closed::Full`].
//!
//! Where to read on: `format` has the bytes, `recovery` what a start does, `committer` the one thread that writes,
//! `watermark` how waiters wake, `tend` how segments are used again, `grow` how they are made, `spill` how a backlog is written, `reader` how it is read,
//! `disk` what is asked of a disk.

mod account;
mod backlog;
mod committer;
mod damage;
pub mod disk;
mod error;
mod format;
mod grow;
mod ids;
mod inner;
mod intake;
mod journal;
mod lane;
mod lsn;
mod manage;
mod options;
mod reader;
mod recovery;
mod ring;
mod scan;
mod spill;
mod stats;
mod sync;
mod tend;
mod tracker;
mod walk;
pub mod watermark;

pub use disk::{AnyDisk, Disk, DiskFile, FaultyDisk, MemoryDisk, OsDisk};
pub use error::{Closed, Failed, Failure, Hook, Notice, OpenError};
pub use ids::{Key, KeyOf, RecentId};
pub use journal::Journal;
pub use lane::LaneReader;
pub use lsn::{LANES, LaneId, Lsn};
pub use manage::{Evicted, MoveError};
pub use options::{Body, Encoded, Entry, LaneInfo, LaneSpec, Options};
pub use scan::Scan;
pub use stats::{LaneStats, Recovered, SYNC_BUCKETS, Stats};
pub use watermark::{Dispatch, Waiter, Watch};
