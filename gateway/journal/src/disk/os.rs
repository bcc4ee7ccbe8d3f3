//! The operating system's files: `pwrite`, `pread`, `fdatasync`, `fallocate`, `flock`.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read as _, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::LazyLock,
};

use super::{Disk, DiskFile, Open};

/// The real disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

/// A real file.
#[derive(Debug)]
pub struct OsFile(File);

/// The lock file, locked; let go when dropped.
#[derive(Debug)]
pub struct OsLock(#[expect(dead_code, reason = "held for its lock")] File);

/// Written at once.
const ZEROS: usize = 1 << 20;
/// What places and memory of direct writes are multiples of: enough for every disk.
const ALIGNED: usize = 4096;

impl OsDisk {
    /// Bytes of the whole file system of `path`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn total(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

impl OsFile {
    /// Whether writes go past the page cache; an error where the file system has no such thing.
    fn set_direct(&self, direct: bool) -> io::Result<()> {
        let mut flags = rustix::fs::fcntl_getfl(&self.0)?;
        flags.set(rustix::fs::OFlags::DIRECT, direct);
        Ok(rustix::fs::fcntl_setfl(&self.0, flags)?)
    }

    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        // Never written to: the system gives one page of zeros for all of it.
        static BUFFER: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; ZEROS + ALIGNED]);
        let zeros = &BUFFER[BUFFER.as_ptr().align_offset(ALIGNED)..];
        let mut at = from;
        while at < to {
            let n = usize::try_from(to - at).map_or(ZEROS, |left| left.min(ZEROS));
            self.0.write_all_at(&zeros[..n], at)?;
            at += n as u64;
        }
        Ok(())
    }
}

impl Disk for OsDisk {
    type File = OsFile;
    type Lock = OsLock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<OsFile> {
        let create = match how {
            Open::Existing => false,
            Open::Create => true,
        };
        OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path).map(OsFile)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            // Not our name if it is not UTF-8.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn lock(&self, path: &Path) -> io::Result<Result<OsLock, Option<u32>>> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                file.rewind()?;
                writeln!(file, "{}", std::process::id())?;
                Ok(Ok(OsLock(file)))
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                Ok(Err(pid))
            }
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        // write_all_at goes on after a short write at the right offset and repeats after EINTR.
        self.0.write_all_at(bytes, at)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < into.len() {
            match self.0.read_at(&mut into[got..], at + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(got)
    }

    fn sync_data(&self) -> io::Result<()> {
        // Not repeated on EINTR by hand: fdatasync does not return it on the file systems that count, and a repeated
        // sync may say yes to what the first one lost.
        self.0.sync_data()
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        // Past the page cache: a sixth of the CPU, and the log's own pages stay in it. Nobody else uses the file yet.
        let whole = from.is_multiple_of(ALIGNED as u64) && to.is_multiple_of(ALIGNED as u64);
        if !(whole && self.set_direct(true).is_ok()) {
            return self.write_zeros(from, to);
        }
        let written = self.write_zeros(from, to);
        self.set_direct(false)?;
        match written {
            // A file system that takes the flag and not the write.
            Err(e) if e.kind() == ErrorKind::InvalidInput => self.write_zeros(from, to),
            written => written,
        }
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) => Ok(()),
            // A file system without fallocate: only the length.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.0.set_len(len),
            Err(e) => Err(e.into()),
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn writes_reads_and_locks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsDisk.open(&path, Open::Create).unwrap();
        file.zero(0, 10).unwrap();
        file.reserve(8192).unwrap();
        file.zero(4096, 8192).unwrap();
        file.zero(0, 3 << 20).unwrap();
        file.write_at(b"abc", 4).unwrap();
        file.sync_data().unwrap();
        OsDisk.sync_dir(dir.path()).unwrap();
        let mut back = [1; 6];
        assert_eq!(file.read_at(&mut back, 2).unwrap(), 6);
        assert_eq!(&back, b"\0\0abc\0");
        assert_eq!(file.len().unwrap(), 3 << 20);
        let held = OsDisk.lock(&dir.path().join("LOCK")).unwrap().unwrap();
        assert_eq!(OsDisk.lock(&dir.path().join("LOCK")).unwrap().unwrap_err(), Some(std::process::id()));
        drop(held);
        OsDisk.lock(&dir.path().join("LOCK")).unwrap().unwrap();
        assert!(OsDisk.free(dir.path()).unwrap() > 0);
        assert!(OsDisk.list(&dir.path().join("none")).unwrap().is_empty());
    }
}
