//! Recovery's reading half for the lanes: how far each is, what its backlog has, how much waits. Writes nothing.

use std::{collections::VecDeque, io, sync::Mutex};

use super::{lanes, survey::Survey};
use crate::{
    LANES, LaneId, OpenError, Options,
    account::Account,
    backlog,
    disk::{Disk, Open, read_up_to},
    format::{
        PAGE,
        cursor::Cursor,
        meta::{Meta, State},
        piece::{self, Piece},
        segment::{self, Counts},
    },
    inner::LaneState,
    sync::hold,
};

/// The segments of every lane's backlog, by their names.
pub(super) fn read_backlogs<D: Disk>(
    disk: &D,
    options: &Options,
    meta: &Meta,
) -> Result<Vec<VecDeque<Piece>>, OpenError> {
    let mut backlogs = vec![VecDeque::new(); LANES];
    for lane in meta.lanes.iter().filter(|lane| lane.state == State::Active) {
        let path = piece::folder(options, lane.id);
        backlogs[lane.id.index()] =
            backlog::list(disk, options, lane.id).map_err(OpenError::io(format!("list {}", path.display())))?;
    }
    Ok(backlogs)
}

pub(super) type Cursors = (Vec<Option<Cursor>>, Vec<LaneId>);

/// What the cursors are read with.
pub(super) struct Reading<'a, D: Disk> {
    pub disk: &'a D,
    pub options: &'a Options,
    pub meta: &'a Meta,
    pub survey: &'a Survey<D::File>,
    pub backlogs: &'a [VecDeque<Piece>],
    pub seed: u32,
}

impl<D: Disk> Reading<'_, D> {
    /// The cursors of the table's lanes; a lost one stands at the oldest retained event.
    pub(super) fn cursors(&self) -> Result<Cursors, OpenError> {
        let mut cursors: Vec<Option<Cursor>> = vec![None; LANES];
        let mut lost = Vec::new();
        for lane in self.meta.lanes.iter().filter(|lane| lane.state == State::Active) {
            let id = lane.id;
            let path = lanes::cursor_path(self.options, id);
            let reading = || OpenError::io(format!("read {}", path.display()));
            let read = lanes::read_cursor(self.disk, self.options, id, self.seed).map_err(reading())?;
            cursors[id.index()] = Some(match read {
                Some(cursor) => cursor,
                None => {
                    lost.push(id);
                    self.oldest(id).map_err(reading())?
                }
            });
        }
        Ok((cursors, lost))
    }

    /// Before the oldest event of the lane that is there.
    fn oldest(&self, id: LaneId) -> io::Result<Cursor> {
        let lane = id.index();
        let in_ring = self.survey.segments.first();
        let (low, before) = match (self.backlogs[lane].front(), in_ring) {
            (Some(piece), ring) if ring.is_none_or(|ring| piece.first <= ring.about.first) => {
                let file = self.disk.open(&piece::folder(self.options, id).join(piece.name()), Open::Existing)?;
                let header = segment::Header::decode(&read_up_to(&file, 0, PAGE)?, self.seed).good();
                (piece.first, header.and_then(|header| header.entered).unwrap_or(Box::new(Counts::NONE)))
            }
            (_, Some(ring)) => (ring.about.first, ring.entered.clone().unwrap_or(Box::new(Counts::NONE))),
            (_, None) => (self.survey.next, Box::new(self.survey.entered.clone())),
        };
        let (passed, passed_bytes) = (before.events[lane], Some(before.bytes[lane]));
        Ok(Cursor { generation: 1, low, passed, passed_bytes, ..Cursor::default() })
    }
}

/// Per lane what waits, and how much may.
pub(super) fn accounts<F>(
    meta: &Meta,
    options: &Options,
    entered: &Counts,
    states: &[Mutex<LaneState<F>>],
) -> Box<[Account]> {
    let quota = |index: usize| {
        let lane = meta.lanes.iter().find(|lane| lane.id.index() == index && lane.state == State::Active)?;
        options.lanes.iter().find(|spec| spec.name == lane.name).map(|spec| spec.quota)
    };
    let account = |(index, state): (usize, &Mutex<LaneState<F>>)| {
        let quota = if index == 0 { options.letters_quota } else { quota(index).unwrap_or(0) };
        Account::new(entered.bytes[index], hold(state).tracker.settled_bytes(), quota)
    };
    states.iter().enumerate().map(account).collect()
}
