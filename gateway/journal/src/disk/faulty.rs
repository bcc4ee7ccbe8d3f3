//! A disk that fails on request, to prove what the journal does then. Keeps apart what a process sees (the page cache) and
//! what the medium has: data reaches the medium by `sync_data` of its file, names by `sync_dir` of their directory.
//!
//! [`FaultyDisk::crash`] gives the disk that a new process finds after a kill or a power cut.

mod state;

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, Mutex},
};

use super::{
    Disk, DiskFile, Open,
    memory::{read_from, write_into},
};
use crate::sync::hold;
use state::{Go, Inode, Name, State, gone, mix};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: this operation is done in part or not at all, and every later one fails.
    Crash,
    /// The operation does nothing and gives EIO; later ones work. As on Linux, no later sync writes what
    /// a failed one did not: its pages count as clean.
    Eio,
    /// The operation does nothing and gives ENOSPC; later ones work.
    NoSpace,
    /// A write writes its first half, then gives EIO. Other operations: as `Eio`.
    ShortWrite,
    /// The operation does nothing and says that it did.
    Lie,
}

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The process was killed: the page cache stays.
    Kill,
    /// The power was cut: everything that was not synced is gone.
    PowerCut,
    /// The power was cut while the device was writing: of what was not synced any 512-byte or 4 KiB piece may have
    /// survived, and of names a first part.
    Torn,
}

/// See the module. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk(Arc<Mutex<State>>);

/// A file of it.
#[derive(Debug)]
pub struct FaultyFile(Arc<Mutex<State>>, usize);

/// Its lock.
#[derive(Debug)]
pub struct FaultyLock(Arc<Mutex<State>>);

impl Drop for FaultyLock {
    fn drop(&mut self) {
        hold(&self.0).locked = false;
    }
}

impl FaultyDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the operation with this number (from 1) meet a fault.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        hold(&self.0).fault = Some((operation, fault));
    }

    /// From now on all files together may have so many bytes; `None`: any number. Beyond that writes give ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        hold(&self.0).capacity = bytes;
    }

    /// Bytes that all files together have.
    #[must_use]
    pub fn used(&self) -> u64 {
        let state = hold(&self.0);
        state.names.values().map(|inode| state.inodes[*inode].cached.len() as u64).sum()
    }

    /// Operations so far that change something.
    #[must_use]
    pub fn operations(&self) -> u64 {
        hold(&self.0).ops
    }

    /// Whether [`Fault::Crash`] was met.
    #[must_use]
    pub fn crashed(&self) -> bool {
        hold(&self.0).crashed
    }

    /// The disk as the next process finds it. This one is not changed.
    #[must_use]
    pub fn crash(&self, loss: Loss, seed: u64) -> Self {
        let mut state = hold(&self.0).survivors();
        let mut dice = seed;
        let mut roll = || {
            dice = dice.wrapping_add(1);
            mix(dice)
        };
        match loss {
            Loss::Kill => {
                state.durable_names.clone_from(&state.names);
            }
            Loss::PowerCut => {}
            Loss::Torn => {
                let survive = usize::try_from(roll()).unwrap_or(0) % (state.pending.len() + 1);
                for name in &state.pending[..survive] {
                    name.apply(&mut state.durable_names);
                }
            }
        }
        for inode in &mut state.inodes {
            let unsynced = std::mem::take(&mut inode.unsynced);
            match loss {
                Loss::Kill => inode.synced.clone_from(&inode.cached),
                Loss::PowerCut => {}
                Loss::Torn => {
                    let piece = if roll() % 2 == 0 { 512 } else { 4096 };
                    for (at, bytes) in unsynced {
                        for (i, part) in bytes.chunks(piece).enumerate() {
                            if roll() % 2 == 0 {
                                let _ = write_into(&mut inode.synced, part, at + (i * piece) as u64);
                            }
                        }
                    }
                }
            }
            inode.cached.clone_from(&inode.synced);
        }
        state.names.clone_from(&state.durable_names);
        state.pending.clear();
        (state.ops, state.fault, state.crashed, state.locked) = (0, None, false, false);
        Self(Arc::new(Mutex::new(state)))
    }

    /// A file's bytes as a process sees them.
    #[must_use]
    pub fn get(&self, path: &Path) -> Option<Vec<u8>> {
        let state = hold(&self.0);
        state.names.get(path).map(|inode| state.inodes[*inode].cached.clone())
    }

    /// Changes a file's bytes behind everybody's back, on the medium and in the cache.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = hold(&self.0);
        if let Some(inode) = state.names.get(path).copied() {
            let inode = &mut state.inodes[inode];
            change(&mut inode.cached);
            inode.synced.clone_from(&inode.cached);
            inode.unsynced.clear();
        }
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;
    type Lock = FaultyLock;

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        if hold(&self.0).crashed { Err(gone()) } else { Ok(()) }
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<FaultyFile> {
        let mut state = hold(&self.0);
        if state.crashed {
            return Err(gone());
        }
        if let Some(inode) = state.names.get(path) {
            return Ok(FaultyFile(self.0.clone(), *inode));
        }
        match how {
            Open::Existing => Err(ErrorKind::NotFound.into()),
            Open::Create => {
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                if state.whole()? {
                    state.name(Name::Created(path.to_owned(), inode));
                }
                Ok(FaultyFile(self.0.clone(), inode))
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = hold(&self.0);
        if state.whole()? {
            if !state.names.contains_key(from) {
                return Err(ErrorKind::NotFound.into());
            }
            state.name(Name::Renamed(from.to_owned(), to.to_owned()));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = hold(&self.0);
        if !state.names.contains_key(path) {
            return Err(if state.crashed { gone() } else { ErrorKind::NotFound.into() });
        }
        if state.whole()? {
            state.name(Name::Removed(path.to_owned()));
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = hold(&self.0);
        if state.whole()? {
            let (settled, pending) = std::mem::take(&mut state.pending).into_iter().partition(|name| name.is_in(path));
            state.pending = pending;
            let settled: Vec<Name> = settled;
            for name in settled {
                name.apply(&mut state.durable_names);
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = hold(&self.0);
        let inside = state.names.keys().filter(|file| file.parent() == Some(path));
        Ok(inside.filter_map(|file| file.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn lock(&self, _path: &Path) -> io::Result<Result<FaultyLock, Option<u32>>> {
        let mut state = hold(&self.0);
        if std::mem::replace(&mut state.locked, true) {
            return Ok(Err(None));
        }
        Ok(Ok(FaultyLock(self.0.clone())))
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        Ok(hold(&self.0).free())
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut state = hold(&self.0);
        match state.op()? {
            Go::On => state.write(self.1, bytes, at),
            Go::Lie => Ok(()),
            Go::Part(percent, e) => {
                let n = bytes.len() * usize::try_from(percent).unwrap_or(0) / 100;
                state.write(self.1, &bytes[..n], at)?;
                Err(e)
            }
        }
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let state = hold(&self.0);
        if state.crashed { Err(gone()) } else { Ok(read_from(&state.inodes[self.1].cached, into, at)) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = hold(&self.0);
        let (done, crashed) = (state.whole(), state.crashed);
        let Inode { synced, unsynced, .. } = &mut state.inodes[self.1];
        let clean = if crashed || matches!(done, Ok(false)) { Vec::new() } else { std::mem::take(unsynced) };
        done?;
        clean.into_iter().try_for_each(|(at, bytes)| write_into(synced, &bytes, at))
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let len = usize::try_from(to.saturating_sub(from)).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        self.write_at(&vec![0; len], from)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut state = hold(&self.0);
        if state.whole()? {
            let have = state.inodes[self.1].cached.len();
            if have < len {
                let zeros = vec![0; len - have];
                state.write(self.1, &zeros, have as u64)?;
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(hold(&self.0).inodes[self.1].cached.len() as u64)
    }
}
