//! The lane table: which backend has which lane. A lane is known by its id; names may change (`renamed_from`). A lane that
//! the config lacks and that still has events stops the start, before anything was written.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    LANES, LaneId, LaneSpec, OpenError, Options, backlog,
    disk::{Disk, DiskFile, Open, read_up_to},
    format::{
        cursor::{Cursor, MAX_RANGES, SLOT},
        meta::{Lane, State},
        piece::Piece,
    },
    inner::{Inner, LaneState, Tally},
    options::check_lanes,
    sync::hold,
    tend::put_cursor,
    tracker::Tracker,
};

/// The name under which lane 0 stands in the table; no backend can have it (config names are identifiers).
const DEAD_LETTERS: &str = "(dead letters)";

pub(super) fn dead_letters() -> Lane {
    Lane {
        id: LaneId::DEAD_LETTERS,
        state: State::Active,
        config_hash: 0,
        name: DEAD_LETTERS.into(),
        kind: "dead_letters".into(),
    }
}

/// What becomes of the table: the new one, and which of its lanes begin now.
pub(super) struct Plan {
    pub lanes: Vec<Lane>,
    pub begins: Vec<LaneId>,
    /// The ids, in the order of the config.
    pub ids: Vec<LaneId>,
}

/// The config that leaves the table as it is.
pub(super) fn specs(table: &[Lane]) -> Vec<LaneSpec> {
    let active = table.iter().filter(|lane| lane.state == State::Active && lane.id != LaneId::DEAD_LETTERS);
    let spec = |lane: &Lane| LaneSpec {
        name: lane.name.clone(),
        kind: lane.kind.clone(),
        config_hash: lane.config_hash,
        renamed_from: None,
        quota: 0,
    };
    active.map(spec).collect()
}

/// Fits the config to the table. `pending` says how many events a lane still has.
pub(super) fn plan(table: &[Lane], specs: &[LaneSpec], pending: impl Fn(LaneId) -> u64) -> Result<Plan, OpenError> {
    check_lanes(specs)?;
    let mut lanes: Vec<Lane> = table.to_vec();
    if lanes.is_empty() {
        lanes.push(dead_letters());
    }
    let mut plan = Plan { lanes: Vec::new(), begins: Vec::new(), ids: Vec::new() };
    let mut kept = vec![LaneId::DEAD_LETTERS];
    for spec in specs {
        let named = |name: &str| {
            lanes.iter().position(|lane| lane.state == State::Active && lane.name == name && !kept.contains(&lane.id))
        };
        let at = named(&spec.name).or_else(|| spec.renamed_from.as_deref().and_then(named));
        let id = match at {
            Some(at) => {
                lanes[at].name.clone_from(&spec.name);
                lanes[at].kind.clone_from(&spec.kind);
                lanes[at].config_hash = spec.config_hash;
                lanes[at].id
            }
            None => begin(&mut lanes, spec).ok_or(OpenError::TooManyLanes)?,
        };
        if at.is_none() {
            plan.begins.push(id);
        }
        kept.push(id);
        plan.ids.push(id);
    }
    let mut missing = Vec::new();
    for lane in lanes.iter_mut().filter(|lane| lane.state == State::Active && !kept.contains(&lane.id)) {
        match pending(lane.id) {
            0 => lane.state = State::Retired,
            left => missing.push((lane.id, lane.name.clone(), left)),
        }
    }
    if !missing.is_empty() {
        return Err(OpenError::LanesMissing { lanes: missing });
    }
    plan.lanes = lanes;
    Ok(plan)
}

/// An id that was never given, else that of a lane that an earlier config retired.
fn begin(lanes: &mut Vec<Lane>, spec: &LaneSpec) -> Option<LaneId> {
    let never = (1..LANES).filter_map(|id| LaneId::new(u8::try_from(id).ok()?));
    let never = never.into_iter().find(|id| lanes.iter().all(|lane| lane.id != *id));
    let fresh = |id| Lane {
        id,
        state: State::Active,
        config_hash: spec.config_hash,
        name: spec.name.clone(),
        kind: spec.kind.clone(),
    };
    if let Some(id) = never {
        lanes.push(fresh(id));
        return Some(id);
    }
    let retired = lanes.iter_mut().find(|lane| lane.state == State::Retired)?;
    *retired = fresh(retired.id);
    Some(retired.id)
}

pub(super) fn cursor_path(options: &Options, id: LaneId) -> PathBuf {
    options.dir.join("lanes").join(id.to_string()).join("cursor")
}

/// Where a lane begins: its first LSN, and what its id had before.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub low: u64,
    pub passed: u64,
    pub bytes: u64,
}

/// A lane that begins. Its id may have been another's: the new cursor must be newer than any that is there.
pub(super) fn begin_cursor<D: Disk>(
    disk: &D,
    options: &Options,
    id: LaneId,
    begun: Begun,
    seed: u32,
) -> io::Result<(Cursor, D::File)> {
    let Begun { low, passed, bytes } = begun;
    backlog::clear(disk, options, id)?;
    let generation = read_cursor(disk, options, id, seed)?.map_or(1, |old| old.generation + 1);
    let cursor = Cursor { generation, low, passed, passed_bytes: Some(bytes), ..Cursor::default() };
    let file = open_cursor(disk, options, id, &cursor, seed, true)?;
    Ok((cursor, file))
}

/// The lane's cursor, if it has a valid one.
pub(super) fn read_cursor<D: Disk>(disk: &D, options: &Options, id: LaneId, seed: u32) -> io::Result<Option<Cursor>> {
    match disk.open(&cursor_path(options, id), Open::Existing) {
        Ok(file) => Ok(Cursor::newest(&read_up_to(&file, 0, 2 * SLOT)?, id, seed)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens the lane's cursor file and saves `cursor` in it, if that is a new one; all of it durable, names too.
pub(super) fn open_cursor<D: Disk>(
    disk: &D,
    options: &Options,
    id: LaneId,
    cursor: &Cursor,
    seed: u32,
    save: bool,
) -> io::Result<D::File> {
    let path = cursor_path(options, id);
    if !save {
        return disk.open(&path, Open::Existing);
    }
    let lanes = options.dir.join("lanes");
    let dir = lanes.join(id.to_string());
    disk.create_dir(&dir)?;
    let file = disk.open(&path, Open::Create)?;
    if file.len()? < 2 * SLOT as u64 {
        file.zero(0, 2 * SLOT as u64)?;
    }
    put_cursor(&file, id, cursor, seed)?;
    disk.sync_dir(&dir)?;
    disk.sync_dir(&lanes)?;
    disk.sync_dir(&options.dir)?;
    Ok(file)
}

/// The state of a lane that goes on from `cursor`; after an unclean exit those in flight have one more behind them.
pub(super) fn state<F>(cursor: Cursor, file: F, backlog: VecDeque<Piece>, unclean: bool) -> LaneState<F> {
    /// Reads, and tries of parked events, that are in the cursor before they are handed out.
    const CAREFUL: u32 = 64;
    let more = u32::from(unclean);
    let exits: BTreeMap<u64, u32> =
        cursor.flight.iter().map(|(lsn, exits)| (*lsn, exits.saturating_add(more))).collect();
    LaneState {
        tracker: Tracker::restore(&cursor),
        forgetful: cursor.ranges.len() >= MAX_RANGES,
        exits,
        parked: BTreeSet::new(),
        generation: cursor.generation,
        state: cursor.state,
        file: Some(Arc::new(file)),
        // What a backlog does not need is deleted after a save.
        dirty: unclean || !backlog.is_empty(),
        spilled: backlog.iter().map(|piece| piece.last).max().unwrap_or(0),
        backlog,
        careful: if unclean { CAREFUL } else { 1 },
        careful_again: if unclean { CAREFUL } else { 0 },
        tally: Tally::default(),
    }
}

/// Reload: fits the lanes to a new config. Lanes that begin have their cursor on disk before the table names them.
pub(crate) fn set<D: Disk>(inner: &Inner<D>, specs: &[LaneSpec]) -> Result<Vec<LaneId>, OpenError> {
    let mut meta = hold(&inner.meta);
    let plan = plan(&meta.lanes, specs, |id| inner.pending(id.index()))?;
    for id in &plan.begins {
        let (passed, bytes) = {
            let ring = hold(&inner.ring);
            (ring.entered.events[id.index()], ring.entered.bytes[id.index()])
        };
        let begun = Begun { low: hold(&inner.intake).next(), passed, bytes };
        let (cursor, file) = begin_cursor(&inner.disk, &inner.options, *id, begun, inner.seed)
            .map_err(OpenError::io(format!("make the cursor of lane {id}")))?;
        *hold(&inner.lanes[id.index()]) = state(cursor, file, VecDeque::new(), false);
        inner.accounts[id.index()].begin(bytes, 0);
    }
    let mut next = meta.clone();
    next.lanes.clone_from(&plan.lanes);
    inner.write_meta(&mut next).map_err(OpenError::io("write meta"))?;
    *meta = next;
    let mut bits = 0;
    for lane in &plan.lanes {
        match lane.state {
            State::Active => bits |= lane.id.bit(),
            State::Retired => hold(&inner.lanes[lane.id.index()]).file = None,
        }
    }
    for (id, spec) in plan.ids.iter().zip(specs) {
        inner.accounts[id.index()].set_quota(spec.quota);
    }
    inner.in_use.store(bits, Ordering::Release);
    Ok(plan.ids)
}
