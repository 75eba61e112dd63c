//! What recovery tells: the channels that were found, what is damaged, and why a store cannot be read at all.

use super::STORE;
use core::fmt;
use core::ops::Range;
use std::io;
use std::sync::Arc;
use switchboard_core::{Epoch, Publication, Time};
use switchboard_hub::ChannelKey;

/// A channel as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredChannel {
    /// Which.
    pub key: ChannelKey,
    /// Its run of offsets.
    pub epoch: Epoch,
    /// The latest offset that was given away, or may have been.
    pub head: u64,
    /// No publication through this offset is kept.
    pub dropped: u64,
    /// From which offset on nothing is missing.
    pub complete_after: u64,
    /// How long publications are kept, in microseconds.
    pub ttl: u64,
    /// What is kept, in order.
    pub publications: Vec<Arc<Publication>>,
    /// The names under which publications are remembered, with their offsets, and until when.
    pub ids: Vec<(Arc<str>, u64, Time)>,
    /// The cached value, and until when it is kept.
    pub cached: Option<(Arc<Publication>, Time)>,
}

/// Bytes that were on the disk and are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub range: Range<u64>,
    /// What it is.
    pub kind: DamageKind,
}

/// What is wrong with damaged bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A segment's header.
    Header,
    /// One record or several.
    Records,
    /// The checksum is good, but no version known here writes this.
    Unknown,
    /// The file ends too soon.
    Short,
    /// There is no such file, though there was.
    Missing,
    /// It belongs to another store.
    Foreign,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DamageKind::Header => "its header is damaged",
            DamageKind::Records => "records are damaged",
            DamageKind::Unknown => "records are of a kind that is unknown here",
            DamageKind::Short => "its end is missing",
            DamageKind::Missing => "the file is missing",
            DamageKind::Foreign => "the file belongs to another store",
        };
        write!(f, "{}: {what}", self.file)?;
        if !self.range.is_empty() {
            write!(f, " (bytes {} to {})", self.range.start, self.range.end)?;
        }
        Ok(())
    }
}

/// What was found, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Segments.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Channels.
    pub channels: usize,
    /// Publications that are still kept.
    pub publications: usize,
    /// Channels with a cached value.
    pub cached: usize,
    /// Whether the last process ended in order.
    pub clean: bool,
    /// Bytes of a write that was interrupted.
    pub torn: u64,
    /// Channels that skip offsets: some may have been given to publications that were not written yet.
    pub skipped: usize,
    /// Channels that begin a new epoch because of damage.
    pub new_epochs: usize,
    /// All damage.
    pub damage: Vec<Damage>,
}

/// Why a store cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk refuses.
    #[error("cannot read the history: {0}")]
    Io(#[from] io::Error),
    /// It was written by another version.
    #[error(
        "the history was written in format {0}, which this version does not know: use the version that wrote it, or another folder"
    )]
    Version(u32),
    /// There are segments, but the number that their checksums depend on is gone from all of them.
    #[error(
        "the history cannot be read: {STORE} and the beginning of every segment are damaged; move the folder away to begin anew"
    )]
    Unreadable,
}
