//! Suspects: events that were in flight when the process ended without a stop, more than once.
//!
//! One of them may be what ended it. The journal counts the exits; at the third an event is a dead letter. So that its neighbours
//! are not, a lane delivers one event at a time while suspects come or are under way: the next exit then tells them apart. A
//! suspect that came back and waits to be tried again has not ended the process this time, and slows nobody down meanwhile.
use super::run::{Job, Runner};
use crate::clock;

/// Unclean exits that an event was in flight at before the lane delivers it alone.
pub(super) const SUSPECT_EXITS: u32 = 2;
/// Unclean exits that an event was in flight at before it is a dead letter.
pub(super) const POISON_EXITS: u32 = 3;

/// What a lane makes of its suspects.
#[derive(Debug)]
pub(super) struct Suspects {
    /// There are some, or it is not known yet.
    any: bool,
    /// One event at a time, for now.
    one_by_one: bool,
    /// Stored events under way. Direct ones do not count: they come for ever, and no exit is counted against them.
    under_way: usize,
}

impl Default for Suspects {
    fn default() -> Self {
        Suspects { any: true, one_by_one: true, under_way: 0 }
    }
}

impl Suspects {
    /// Whether events are read and delivered one by one.
    pub(super) fn one_by_one(&self) -> bool {
        self.one_by_one
    }

    /// A delivery begins.
    pub(super) fn began(&mut self, jobs: &[Job]) {
        self.under_way += jobs.iter().filter(|job| job.direct.is_none()).count();
    }

    /// It ended.
    pub(super) fn ended(&mut self, jobs: &[Job]) {
        self.under_way -= jobs.iter().filter(|job| job.direct.is_none()).count();
    }
}

impl Runner {
    /// Looks for suspects, as long as there are some.
    pub(super) fn look_out(&mut self) {
        if !self.suspects.any {
            return;
        }
        let coming = self.reader.has_suspects(SUSPECT_EXITS);
        self.suspects.one_by_one = coming || self.strands.suspect_is_due(clock::now());
        self.suspects.any = coming || self.strands.has_suspects();
    }

    /// Whether a delivery of stored events may begin beside those under way.
    pub(super) fn may_add(&self) -> bool {
        !self.suspects.one_by_one || self.suspects.under_way == 0
    }
}
