//! A new epoch for all channels of a store that nobody serves: what a history needs that has gone back in time.
//!
//! Owns that, and nothing of how it is written: each channel's record says which epoch the new one continues, as after damage.

use crate::disk::Disk;
use crate::frame::segment_sequence;
use crate::journal::{Journal, JournalOptions, Refusal};
use crate::recovery::{Epochs, RecoverError, Report, STORE};

/// Why channels have not all begun a new epoch. Those that have are whole, and so are the others: it may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// There is no store on this disk.
    #[error("there is no history")]
    Nothing,
    /// The store cannot be read.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// It cannot be written.
    #[error("the new epochs could not be written: {0}")]
    Refused(#[from] Refusal),
}

/// Has every channel begin a new epoch: what it keeps can be read as before, and no position of before is taken for one of now. When this returns, that is
/// on the disk, and the store has ended in order. Reports what was found; `options.epoch` must not be near any that was drawn before.
///
/// # Errors
/// The store cannot be read or written.
pub fn renew<D: Disk>(
    mut disk: D,
    options: JournalOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, RenewError> {
    let names = disk.list().map_err(RecoverError::Io)?;
    if !names.iter().any(|name| name == STORE || segment_sequence(name).is_some()) {
        return Err(RenewError::Nothing);
    }
    let (mut journal, _, report) = Journal::open(disk, options, Epochs::New, progress)?;
    journal.close()?;
    Ok(report)
}
