//! Real files in a real folder.
//!
//! Owns the lock that keeps two processes out of one folder, and the only calls to the file system of this crate.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is where the system is")]

use super::Disk;
use core::sync::atomic::{AtomicU64, Ordering};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A folder of the file system, locked for this process.
#[derive(Debug)]
pub struct FileDisk {
    folder: PathBuf,
    /// Open for [`Disk::sync_folder`].
    handle: File,
    /// The file that grows, kept open.
    current: Option<(String, File)>,
    times: Arc<SyncTimes>,
    /// Released by the system when the process ends, however it ends. None where there was nothing to lock, and nothing is written.
    _lock: Option<Flock<File>>,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process: stop it, or choose another folder")]
    InUse(String),
    /// The system refuses.
    #[error("cannot use the folder {0}")]
    Io(String, #[source] io::Error),
}

/// The name of the lock file. It stays: removing it would let two processes lock two files of the same name.
const LOCK: &str = "LOCK";

/// How long syncs took: bounds in microseconds and how many stayed within each, the last without a bound.
#[derive(Debug, Default)]
pub struct SyncTimes {
    counts: [AtomicU64; SyncTimes::BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl SyncTimes {
    /// The bounds, in microseconds.
    pub const BOUNDS: [u64; 9] = [100, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000];

    fn add(&self, micros: u64) {
        let place = Self::BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many syncs took up to each bound and no less than the one before it; the last entry counts those beyond all.
    pub fn counts(&self) -> [u64; Self::BOUNDS.len() + 1] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// All syncs together, in microseconds.
    pub fn micros(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }
}

impl FileDisk {
    /// Makes the folder if there is none, readable by its owner only, and locks it.
    ///
    /// # Errors
    /// Another process has it, or the system refuses.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let shown = folder.display().to_string();
        let failed = |error| OpenError::Io(shown.clone(), error);
        let made = missing(folder);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let handle = File::open(folder).map_err(failed)?;
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(folder.join(LOCK)).map_err(failed)?;
        let lock = lock_of(lock, &shown)?;
        // The folder itself may be new, and those above it: each has to last in the one that it is in.
        for within in folder.canonicalize().map_err(failed)?.ancestors().skip(1).take(made.max(1)) {
            match File::open(within).and_then(|within| within.sync_all()) {
                // Who made the folder for us need not let us read what it is in.
                Err(error) if made == 0 && error.kind() == io::ErrorKind::PermissionDenied => {}
                synced => synced.map_err(failed)?,
            }
        }
        Ok(Self::with(folder, handle, Some(lock)))
    }

    /// To read only: the folder is left as it is, and may be one that cannot be written. A folder without a lock file is in nobody's use.
    ///
    /// # Errors
    /// Another process has it, or the system refuses.
    pub fn look_into(folder: &Path) -> Result<Self, OpenError> {
        let shown = folder.display().to_string();
        let failed = |error| OpenError::Io(shown.clone(), error);
        let handle = File::open(folder).map_err(failed)?;
        let lock = match File::open(folder.join(LOCK)) {
            Ok(lock) => Some(lock_of(lock, &shown)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self::with(folder, handle, lock))
    }

    fn with(folder: &Path, handle: File, lock: Option<Flock<File>>) -> Self {
        Self { folder: folder.to_owned(), handle, current: None, times: Arc::default(), _lock: lock }
    }

    /// How long syncs of files take.
    pub fn sync_times(&self) -> Arc<SyncTimes> {
        Arc::clone(&self.times)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let path = self.path(name);
        if self.current.as_ref().is_none_or(|(open, _)| open != name) {
            let file = OpenOptions::new().write(true).open(path)?;
            self.current = Some((name.to_owned(), file));
        }
        self.current.as_mut().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn forget(&mut self, name: &str) {
        self.current.take_if(|(open, _)| open == name);
    }
}

impl Disk for FileDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn length(&mut self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn read(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path(name))?;
        let left = file.metadata()?.len().saturating_sub(offset);
        let mut bytes = vec![0; length.min(usize::try_from(left).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path(name))?;
        self.current = Some((name.to_owned(), file));
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.file(name)?;
        file.write_all_at(bytes, file.metadata()?.len())
    }

    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.file(name)?.set_len(length)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let begin = Instant::now();
        self.file(name)?.sync_data()?;
        self.times.add(u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX));
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.path(name))
    }

    #[allow(clippy::useless_conversion, reason = "a smaller number on some systems")]
    fn free_bytes(&mut self) -> Option<u64> {
        let about = nix::sys::statvfs::fstatvfs(&self.handle).ok()?;
        Some(u64::from(about.blocks_available()).saturating_mul(about.fragment_size()))
    }
}

fn lock_of(file: File, folder: &str) -> Result<Flock<File>, OpenError> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => OpenError::InUse(folder.to_owned()),
        error => OpenError::Io(folder.to_owned(), error.into()),
    })
}

/// How many folders, this one and those above it, have to be made.
fn missing(folder: &Path) -> usize {
    folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_folder_is_locked() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        assert_eq!((missing(&folder), missing(parent.path()), missing(Path::new("nowhere"))), (2, 0, 1));
        let mut disk = FileDisk::open(&folder).unwrap();
        assert!(matches!(FileDisk::open(&folder), Err(OpenError::InUse(_))));
        disk.create("one").unwrap();
        assert!(disk.create("one").is_err());
        disk.append("one", b"hello ").unwrap();
        disk.append("one", b"world").unwrap();
        disk.sync("one").unwrap();
        assert_eq!(disk.sync_times().counts().iter().sum::<u64>(), 1);
        assert_eq!((disk.length("one").unwrap(), disk.read("one", 6, 99).unwrap()), (11, b"world".to_vec()));
        disk.truncate("one", 5).unwrap();
        disk.append("one", b"?").unwrap();
        disk.overwrite("one", 5, b"!").unwrap();
        disk.rename("one", "two").unwrap();
        disk.sync_folder().unwrap();
        assert_eq!(
            (disk.list().unwrap(), disk.read("two", 0, 99).unwrap()),
            (vec!["two".to_owned()], b"hello!".to_vec())
        );
        assert!(disk.read("two", 99, 1).unwrap().is_empty());
        assert!(disk.free_bytes().is_some_and(|bytes| bytes > 0));
        disk.remove("two").unwrap();
        assert!(disk.list().unwrap().is_empty());
        drop(disk);
        FileDisk::open(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_only_looked_into_stays_as_it_is_and_nobody_else_has_it_meanwhile() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path();
        fs::write(folder.join("one"), b"hello").unwrap();
        let mut disk = FileDisk::look_into(folder).unwrap();
        assert_eq!(
            (disk.read("one", 0, 9).unwrap(), disk.list().unwrap()),
            (b"hello".to_vec(), vec!["one".to_owned()])
        );
        assert_eq!(fs::read_dir(folder).unwrap().count(), 1);
        let server = FileDisk::open(folder).unwrap();
        assert!(matches!(FileDisk::look_into(folder), Err(OpenError::InUse(_))));
        drop(server);
        let _looking = FileDisk::look_into(folder).unwrap();
        assert!(matches!(FileDisk::open(folder), Err(OpenError::InUse(_))));
        assert!(FileDisk::look_into(&folder.join("nowhere")).is_err());
    }

    #[test]
    fn a_folder_that_cannot_be_is_named() {
        let error = FileDisk::open(Path::new("/proc/nowhere")).unwrap_err().to_string();
        assert!(error.contains("/proc/nowhere"), "{error}");
    }

    #[test]
    fn sync_times_fall_between_their_bounds() {
        let times = SyncTimes::default();
        [1, 100, 101, 2_000_000].into_iter().for_each(|micros| times.add(micros));
        let counts = times.counts();
        assert_eq!(
            (counts.first(), counts.get(1), counts.last(), times.micros()),
            (Some(&2), Some(&1), Some(&1), 2_000_202)
        );
    }
}
