//! What the journal asks of a disk: a folder of files that are written from their beginning to their end.
//!
//! Owns the contract. Knows nothing of journals, and its callers nothing of systems.

mod file;

#[cfg(any(test, feature = "faulty"))]
pub(crate) mod faulty;

pub use file::{FileDisk, OpenError, SyncTimes};

use core::fmt::Debug;
use std::io;

/// A folder of files, used by one caller at a time. Names are plain: no separators.
///
/// What is written may be lost until [`sync`](Disk::sync) has succeeded, and a name made, changed or removed until
/// [`sync_folder`](Disk::sync_folder) has. When a sync fails nobody knows what is on the disk: the system may have dropped the bytes and report
/// success the next time, so a caller must never try again as if nothing had happened.
pub trait Disk: Debug {
    /// The names of all files, in no order.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// How long a file is, in bytes.
    fn length(&mut self, name: &str) -> io::Result<u64>;

    /// Up to `length` bytes from `offset`; fewer only at the file's end.
    fn read(&mut self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Makes an empty file.
    ///
    /// # Errors
    /// There is one of that name.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Writes at a file's end. After an error any part of the bytes may be there.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes over what a file has from `offset` on, and beyond its end. After an error any part of the bytes may be there.
    fn overwrite(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file off.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;

    /// Waits until a file's bytes and length would survive a loss of power.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Waits until names would survive a loss of power.
    fn sync_folder(&mut self) -> io::Result<()>;

    /// Gives a file another name; a file that had it is gone.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Bytes that may still be written, if that is known.
    fn free_bytes(&mut self) -> Option<u64>;
}

/// Whether an error says that there is no room: nothing that was written before is in doubt, and there may be room again later.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
