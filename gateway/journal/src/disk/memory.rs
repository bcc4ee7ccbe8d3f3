//! Files in memory: `journal: { memory: … }` and tests. Survives as long as a clone of the disk does; syncs are free. With a
//! limit it is full like any disk: writes beyond it give ENOSPC, and a journal's ring fills.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{Disk, DiskFile, Open};
use crate::sync::hold;

type Contents = Arc<Mutex<Vec<u8>>>;

/// Bytes that all files have and may have.
#[derive(Debug)]
struct Space {
    used: AtomicU64,
    limit: u64,
}

impl Default for Space {
    fn default() -> Self {
        Self { used: AtomicU64::new(0), limit: u64::MAX }
    }
}

impl Space {
    fn grow(&self, bytes: u64) -> io::Result<()> {
        let grown = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        taken.map(drop).map_err(|_| ErrorKind::StorageFull.into())
    }

    fn shrink(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<PathBuf, Contents>>>,
    space: Arc<Space>,
    locked: Arc<AtomicBool>,
}

/// A file in memory.
#[derive(Debug)]
pub struct MemoryFile(Contents, Arc<Space>);

/// The lock; let go when dropped.
#[derive(Debug)]
pub struct MemoryLock(Arc<AtomicBool>);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl MemoryDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk whose files have at most so many bytes together.
    #[must_use]
    pub fn bounded(bytes: u64) -> Self {
        Self { space: Arc::new(Space { limit: bytes, ..Space::default() }), ..Self::default() }
    }

    /// All files with their bytes, to look at or to damage; [`MemoryDisk::put`] writes back.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        hold(&self.files).iter().map(|(path, bytes)| (path.clone(), hold(bytes).clone())).collect()
    }

    /// Sets a file's bytes.
    pub fn put(&self, path: impl Into<PathBuf>, bytes: Vec<u8>) {
        self.space.used.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let old = hold(&self.files).insert(path.into(), Arc::new(Mutex::new(bytes)));
        self.gone(old);
    }

    /// A file has no name any more. Who has it open may go on with it: its memory is not counted until then.
    fn gone(&self, contents: Option<Contents>) {
        if let Some(contents) = contents {
            self.space.shrink(hold(&contents).len());
        }
    }
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{}: no such file", path.display()))
}

impl Disk for MemoryDisk {
    type File = MemoryFile;
    type Lock = MemoryLock;

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<MemoryFile> {
        let mut files = hold(&self.files);
        match (files.get(path), how) {
            (Some(contents), Open::Existing | Open::Create) => Ok(MemoryFile(contents.clone(), self.space.clone())),
            (None, Open::Create) => {
                Ok(MemoryFile(files.entry(path.to_owned()).or_default().clone(), self.space.clone()))
            }
            (None, Open::Existing) => Err(missing(path)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = hold(&self.files);
        let contents = files.remove(from).ok_or_else(|| missing(from))?;
        let old = files.insert(to.to_owned(), contents);
        drop(files);
        self.gone(old);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let contents = hold(&self.files).remove(path).ok_or_else(|| missing(path))?;
        self.gone(Some(contents));
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let files = hold(&self.files);
        let inside = files.keys().filter(|file| file.parent() == Some(path));
        Ok(inside.filter_map(|file| file.file_name()?.to_str().map(str::to_owned)).collect())
    }

    fn lock(&self, _path: &Path) -> io::Result<Result<MemoryLock, Option<u32>>> {
        if self.locked.swap(true, Ordering::Acquire) {
            return Ok(Err(Some(std::process::id())));
        }
        Ok(Ok(MemoryLock(self.locked.clone())))
    }

    fn free(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.space.limit.saturating_sub(self.space.used.load(Ordering::Relaxed)))
    }
}

pub(super) fn write_into(contents: &mut Vec<u8>, bytes: &[u8], at: u64) -> io::Result<()> {
    let at = usize::try_from(at).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
    let end = at.checked_add(bytes.len()).ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?;
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[at..end].copy_from_slice(bytes);
    Ok(())
}

pub(super) fn read_from(contents: &[u8], into: &mut [u8], at: u64) -> usize {
    let Some(rest) = usize::try_from(at).ok().and_then(|at| contents.get(at..)) else { return 0 };
    let n = rest.len().min(into.len());
    into[..n].copy_from_slice(&rest[..n]);
    n
}

impl DiskFile for MemoryFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let mut contents = hold(&self.0);
        let end = at.saturating_add(bytes.len() as u64);
        self.1.grow(end.saturating_sub(contents.len() as u64))?;
        write_into(&mut contents, bytes, at)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(read_from(&hold(&self.0), into, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        let place = |at| usize::try_from(at).map_err(|_| io::Error::from(ErrorKind::FileTooLarge));
        let (from, to) = (place(from)?, place(to)?);
        let mut contents = hold(&self.0);
        // Bytes behind `to` stay, as on a disk.
        self.1.grow(to.saturating_sub(contents.len()) as u64)?;
        let had = contents.len().min(to);
        contents[from.min(had)..had].fill(0);
        if contents.len() < to {
            contents.resize(to, 0);
        }
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut contents = hold(&self.0);
        if contents.len() < len {
            self.1.grow((len - contents.len()) as u64)?;
            contents.resize(len, 0);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(hold(&self.0).len() as u64)
    }
}
