//! What the journal asks of a disk, and the three that there are: [`OsDisk`], [`MemoryDisk`] and
//! [`FaultyDisk`]; [`AnyDisk`] is one of them, chosen at run time.
//!
//! The contract is POSIX's and no more: bytes written are durable after `sync_data` of their file returned, names after
//! `sync_dir` of their directory returned. Nothing is retried above this layer; `EINTR` and short writes are handled in it.

mod any;
mod faulty;
mod memory;
mod os;

use std::{io, path::Path};

pub use any::{AnyDisk, AnyFile, AnyLock};
pub use faulty::{Fault, FaultyDisk, FaultyFile, FaultyLock, Loss};
pub use memory::{MemoryDisk, MemoryFile, MemoryLock};
pub use os::{OsDisk, OsFile, OsLock};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must be there.
    Existing,
    /// Made if it is not there.
    Create,
}

/// A place for files.
pub trait Disk: Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Held while the journal is open.
    type Lock: Send + Sync + 'static;

    /// Makes a directory with its parents; fine if it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens for reading and writing.
    fn open(&self, path: &Path, how: Open) -> io::Result<Self::File>;
    /// Renames, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory; empty if there is none.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Takes the lock and writes our process id; `Ok(Err(pid))` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Result<Self::Lock, Option<u32>>>;
    /// Bytes free for us on the file system of `path`.
    fn free(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync + 'static {
    /// Writes all of `bytes` at `at`.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Fills `into` as far as the file goes; gives how many bytes.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Returns when what was written is on the medium.
    fn sync_data(&self) -> io::Result<()>;
    /// Writes zeros from `from` to `to`, while nobody else uses the file: later writes there change no file-system metadata.
    fn zero(&self, from: u64, to: u64) -> io::Result<()>;
    /// Takes room for `len` bytes without writing them: quick, but later writes are slower.
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// The file's length.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads exactly `len` bytes at `at`, or fewer at the end of the file.
pub(crate) fn read_up_to<F: DiskFile>(file: &F, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let got = file.read_at(&mut bytes, at)?;
    bytes.truncate(got);
    Ok(bytes)
}
