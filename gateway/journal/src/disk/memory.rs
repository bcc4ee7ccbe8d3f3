//! Files in memory: `journal: { memory: … }` and tests. Survives as long as a clone of the disk does; syncs are free.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{Disk, DiskFile, Open};
use crate::sync::hold;

type Contents = Arc<Mutex<Vec<u8>>>;

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<PathBuf, Contents>>>,
    locked: Arc<AtomicBool>,
}

/// A file in memory.
#[derive(Debug)]
pub struct MemoryFile(Contents);

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

    /// All files with their bytes, to look at or to damage; [`MemoryDisk::put`] writes back.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        hold(&self.files).iter().map(|(path, bytes)| (path.clone(), hold(bytes).clone())).collect()
    }

    /// Sets a file's bytes.
    pub fn put(&self, path: impl Into<PathBuf>, bytes: Vec<u8>) {
        hold(&self.files).insert(path.into(), Arc::new(Mutex::new(bytes)));
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
            (Some(contents), Open::Existing | Open::Create) => Ok(MemoryFile(contents.clone())),
            (None, Open::Create) => Ok(MemoryFile(files.entry(path.to_owned()).or_default().clone())),
            (None, Open::Existing) => Err(missing(path)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = hold(&self.files);
        let contents = files.remove(from).ok_or_else(|| missing(from))?;
        files.insert(to.to_owned(), contents);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        hold(&self.files).remove(path).map(drop).ok_or_else(|| missing(path))
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
        Ok(u64::MAX)
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
        write_into(&mut hold(&self.0), bytes, at)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        Ok(read_from(&hold(&self.0), into, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn zero(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut contents = hold(&self.0);
        contents.clear();
        contents.resize(len, 0);
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut contents = hold(&self.0);
        if contents.len() < len {
            contents.resize(len, 0);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(hold(&self.0).len() as u64)
    }
}
