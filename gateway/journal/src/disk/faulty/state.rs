//! What a faulty disk holds: files and names, each as a process sees it and as the medium has it, and the fault to come.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use super::{super::memory::write_into, Fault};

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) cached: Vec<u8>,
    pub(super) synced: Vec<u8>,
    /// In order: what was written since the last sync.
    pub(super) unsynced: Vec<(u64, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub(super) enum Name {
    Created(PathBuf, usize),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
}

impl Name {
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        match self {
            Self::Created(path, _) | Self::Removed(path) => path.parent() == Some(dir),
            Self::Renamed(from, to) => from.parent() == Some(dir) || to.parent() == Some(dir),
        }
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Created(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Removed(path) => {
                names.remove(path);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) pending: Vec<Name>,
    pub(super) ops: u64,
    pub(super) fault: Option<(u64, Fault)>,
    pub(super) crashed: bool,
    pub(super) locked: bool,
    /// Bytes that all files together may have.
    pub(super) capacity: Option<u64>,
}

/// What an operation is to do.
pub(super) enum Go {
    On,
    /// Say yes and do nothing.
    Lie,
    /// Do the first part of it, then give the error.
    Part(u64, io::Error),
}

pub(super) fn gone() -> io::Error {
    io::Error::other("the machine has stopped")
}

impl State {
    /// A copy without the bytes of files that have no name any more, which may be many.
    pub(super) fn survivors(&self) -> Self {
        let mut named: Vec<usize> = self.names.values().chain(self.durable_names.values()).copied().collect();
        named.extend(self.pending.iter().filter_map(|name| match name {
            Name::Created(_, inode) => Some(*inode),
            Name::Renamed(..) | Name::Removed(_) => None,
        }));
        let keep = |(at, inode): (usize, &Inode)| if named.contains(&at) { inode.clone() } else { Inode::default() };
        Self {
            inodes: self.inodes.iter().enumerate().map(keep).collect(),
            names: self.names.clone(),
            durable_names: self.durable_names.clone(),
            pending: self.pending.clone(),
            ..Self::default()
        }
    }

    /// Counts an operation that changes something.
    pub(super) fn op(&mut self) -> io::Result<Go> {
        if self.crashed {
            return Err(gone());
        }
        self.ops += 1;
        match self.fault.filter(|(at, _)| *at == self.ops).map(|(_, fault)| fault) {
            None => Ok(Go::On),
            Some(Fault::Lie) => Ok(Go::Lie),
            Some(Fault::Eio) => Err(io::Error::from_raw_os_error(5)),
            Some(Fault::NoSpace) => Err(io::Error::from_raw_os_error(28)),
            Some(Fault::ShortWrite) => Ok(Go::Part(50, io::Error::from_raw_os_error(5))),
            Some(Fault::Crash) => {
                self.crashed = true;
                Ok(Go::Part(mix(self.ops) % 101, gone()))
            }
        }
    }

    /// For operations that cannot be done in part; `false`: lie.
    pub(super) fn whole(&mut self) -> io::Result<bool> {
        match self.op()? {
            Go::On => Ok(true),
            Go::Lie => Ok(false),
            Go::Part(_, e) => Err(e),
        }
    }

    pub(super) fn name(&mut self, name: Name) {
        name.apply(&mut self.names);
        self.pending.push(name);
    }

    pub(super) fn free(&self) -> u64 {
        let used: u64 = self.names.values().map(|inode| self.inodes[*inode].cached.len() as u64).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }

    pub(super) fn write(&mut self, inode: usize, bytes: &[u8], at: u64) -> io::Result<()> {
        let grows = (at + bytes.len() as u64).saturating_sub(self.inodes[inode].cached.len() as u64);
        if self.capacity.is_some() && grows > self.free() {
            return Err(io::Error::from_raw_os_error(28));
        }
        let inode = &mut self.inodes[inode];
        inode.unsynced.push((at, bytes.to_vec()));
        write_into(&mut inode.cached, bytes, at)
    }
}

/// A well mixed number.
pub(super) fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
