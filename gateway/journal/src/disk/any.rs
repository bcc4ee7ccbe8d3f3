//! One type for every disk: what the config chose at run time, and what a simulation puts in its place.
//!
//! An enum instead of a type parameter all the way up, because a gateway holds one journal and its users do not care which. The
//! price is one `match` per system call.

use std::{io, path::Path};

use super::{Disk, DiskFile, FaultyDisk, FaultyFile, FaultyLock, MemoryDisk, MemoryFile, MemoryLock, Open};
use super::{OsDisk, OsFile, OsLock};

/// A disk of any kind.
#[derive(Clone, Debug)]
pub enum AnyDisk {
    /// The operating system's files.
    Os(OsDisk),
    /// Files in memory.
    Memory(MemoryDisk),
    /// Files in memory that fail on request: for simulations.
    Faulty(FaultyDisk),
}

/// A file of it.
#[derive(Debug)]
pub enum AnyFile {
    /// On [`AnyDisk::Os`].
    Os(OsFile),
    /// On [`AnyDisk::Memory`].
    Memory(MemoryFile),
    /// On [`AnyDisk::Faulty`].
    Faulty(FaultyFile),
}

/// Its lock.
#[derive(Debug)]
pub enum AnyLock {
    /// On [`AnyDisk::Os`].
    Os(OsLock),
    /// On [`AnyDisk::Memory`].
    Memory(MemoryLock),
    /// On [`AnyDisk::Faulty`].
    Faulty(FaultyLock),
}

impl From<OsDisk> for AnyDisk {
    fn from(disk: OsDisk) -> Self {
        Self::Os(disk)
    }
}

impl From<MemoryDisk> for AnyDisk {
    fn from(disk: MemoryDisk) -> Self {
        Self::Memory(disk)
    }
}

impl From<FaultyDisk> for AnyDisk {
    fn from(disk: FaultyDisk) -> Self {
        Self::Faulty(disk)
    }
}

/// The same call on whichever disk or file it is.
macro_rules! each {
    ($kind:ident, $this:expr, $inner:ident => $call:expr) => {
        match $this {
            $kind::Os($inner) => $call,
            $kind::Memory($inner) => $call,
            $kind::Faulty($inner) => $call,
        }
    };
}

impl Disk for AnyDisk {
    type File = AnyFile;
    type Lock = AnyLock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        each!(Self, self, disk => disk.create_dir(path))
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<AnyFile> {
        match self {
            Self::Os(disk) => disk.open(path, how).map(AnyFile::Os),
            Self::Memory(disk) => disk.open(path, how).map(AnyFile::Memory),
            Self::Faulty(disk) => disk.open(path, how).map(AnyFile::Faulty),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        each!(Self, self, disk => disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        each!(Self, self, disk => disk.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        each!(Self, self, disk => disk.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        each!(Self, self, disk => disk.list(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Result<AnyLock, Option<u32>>> {
        Ok(match self {
            Self::Os(disk) => disk.lock(path)?.map(AnyLock::Os),
            Self::Memory(disk) => disk.lock(path)?.map(AnyLock::Memory),
            Self::Faulty(disk) => disk.lock(path)?.map(AnyLock::Faulty),
        })
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        each!(Self, self, disk => disk.free(path))
    }
}

impl DiskFile for AnyFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        each!(Self, self, file => file.write_at(bytes, at))
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        each!(Self, self, file => file.read_at(into, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        each!(Self, self, file => file.sync_data())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        each!(Self, self, file => file.zero(from, to))
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        each!(Self, self, file => file.reserve(len))
    }

    fn len(&self) -> io::Result<u64> {
        each!(Self, self, file => file.len())
    }
}
