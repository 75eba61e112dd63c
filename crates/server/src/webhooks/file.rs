//! The queue on disk: one file that grows by lines, and is written anew when most of it is of no use any more.
//!
//! Knows nothing of what the lines mean.

use std::io;
use std::time::{Duration, Instant};
use switchboard_store::Disk;

#[derive(Debug)]
pub(super) struct QueueFile<D> {
    disk: D,
    /// Whether what was written is made to survive a loss of power.
    syncs: bool,
    length: u64,
    /// When it failed, if it has not worked since.
    failed: Option<Instant>,
}

const NAME: &str = "queue";
/// Becomes the file at once, when it is whole.
const NEXT: &str = "queue.next";
/// What a file may have of no use before it is written anew, beside as much as what is of use.
const SLACK_BYTES: u64 = 1024 * 1024;
/// How often a disk that fails is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How much is read at once.
const READ_BYTES: usize = 8 * 1024 * 1024;

impl<D: Disk> QueueFile<D> {
    pub(super) fn new(disk: D, syncs: bool) -> Self {
        Self { disk, syncs, length: 0, failed: None }
    }

    /// All that was written; nothing if nothing was.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        if !self.disk.list()?.iter().any(|name| name == NAME) {
            return Ok(Vec::new());
        }
        let length = self.disk.length(NAME)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            let part = self.disk.read(NAME, bytes.len() as u64, READ_BYTES)?;
            if part.is_empty() {
                break;
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// Writes lines behind the others.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let written = self.disk.append(NAME, lines.as_bytes()).and_then(|()| self.sync(NAME));
        self.length += lines.len() as u64;
        self.note(written)
    }

    /// Writes everything anew.
    pub(super) fn rewrite(&mut self, snapshot: &str) -> io::Result<()> {
        let written = self.replace(snapshot);
        if written.is_err() {
            // A part of a file that nobody reads would take up what room there is.
            let _ = self.disk.remove(NEXT);
        }
        self.length = snapshot.len() as u64;
        self.note(written)
    }

    /// Whether it shall be [rewritten](Self::rewrite) instead of appended to, when so many bytes of it are of use.
    pub(super) fn wants_rewrite(&self, useful: u64) -> bool {
        match self.failed {
            // After a failure nobody knows what is there.
            Some(at) => at.elapsed() >= RETRY,
            None => self.length > SLACK_BYTES + 2 * useful,
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    fn replace(&mut self, snapshot: &str) -> io::Result<()> {
        if self.disk.list()?.iter().any(|name| name == NEXT) {
            self.disk.remove(NEXT)?;
        }
        self.disk.create(NEXT)?;
        self.disk.append(NEXT, snapshot.as_bytes())?;
        self.sync(NEXT)?;
        self.disk.rename(NEXT, NAME)?;
        if self.syncs { self.disk.sync_folder() } else { Ok(()) }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        if self.syncs { self.disk.sync(name) } else { Ok(()) }
    }

    fn note(&mut self, written: io::Result<()>) -> io::Result<()> {
        self.failed = written.is_err().then(Instant::now);
        written
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_store::FileDisk;

    #[test]
    fn what_cannot_become_the_file_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = QueueFile::new(FileDisk::open(folder.path()).unwrap(), true);
        // No file takes the place of a folder.
        std::fs::create_dir(folder.path().join(NAME)).unwrap();
        file.rewrite("lines\n").unwrap_err();
        assert!(file.has_failed() && !folder.path().join(NEXT).exists());
        std::fs::remove_dir(folder.path().join(NAME)).unwrap();
        file.rewrite("lines\n").unwrap();
        file.append("and more\n").unwrap();
        assert_eq!((file.has_failed(), file.read().unwrap()), (false, b"lines\nand more\n".to_vec()));
    }
}
