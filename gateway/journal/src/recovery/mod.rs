//! What a start does with what it finds. First only reading (`survey`), then the lane table is checked against the config
//! (`lanes`), and only then is anything written (`establish`).
//!
//! 1. Lock, read meta, read the header of every segment.
//! 2. The newest segment with a good header names where all older ones end. Files that it does not name are scrap: ready
//!    segments that were never used, and ones that an earlier recovery replaced. But a file behind it whose header does
//!    not verify and that holds a group of its own number was in use (headers are synced before the first group): damage.
//! 3. Only the last segment is scanned, in 4 KiB steps, to its last valid group. Something bad *before* a valid group is
//!    corruption, because group N+1 is written after the sync of group N; only what is behind the last one is a torn tail.
//! 4. After an unclean stop the last group is copied, with its LSNs, into a fresh segment: the page cache may show what the
//!    disk lacks. Of a torn group every event that verifies is kept; the others become holes. The copy is synced **before**
//!    the fresh header, which names the old segment's end *before* that group: until the header is durable the old
//!    segment still has it, afterwards the new one does. Then the LSN jumps, so that none is ever given twice.
//! 5. After a clean stop nothing of that is needed: the last segment is written on.

mod establish;
mod lanes;
mod progress;
mod survey;

pub(crate) use establish::open;
pub(crate) use lanes::set as set_lanes;

/// How far the LSN jumps after an unclean stop: more than two group buffers can hold.
pub(crate) const JUMP: u64 = 1 << 20;
