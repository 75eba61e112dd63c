//! `switchboard history`

use super::exit::Failure;
use crate::history::{journal_options, progress};
use crate::serve::random_seed;
use clap::Subcommand;
use std::path::{Path, PathBuf};
use switchboard_store::{FileDisk, OpenError, RenewError, Report, renew, verify};

#[derive(Debug, Subcommand)]
pub(super) enum History {
    /// Print what was published on a channel, one line a message
    Read(Box<super::api::Read>),
    /// Read all of a history that no server uses, change nothing, and say what is damaged
    Verify {
        /// The folder, as in --data-dir
        folder: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Have all channels of a history that no server uses begin a new epoch, after it was restored from a backup: who comes back with a position from before is told
    /// that it cannot resume
    NewEpoch {
        /// The folder, as in --data-dir
        folder: PathBuf,
    },
}

impl History {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (folder, json) = match self {
            Self::Read(read) => return read.run(),
            Self::Verify { folder, json } => (folder, json),
            Self::NewEpoch { folder } => return begin_epochs(&folder),
        };
        let mut disk = open(&folder, FileDisk::look_into)?;
        let report = verify(&mut disk, &mut progress()).map_err(|error| Failure::other(error.to_string()))?;
        if report.segments == 0 {
            return Err(nothing(&folder));
        }
        if json {
            print_json(&report);
        } else {
            print(&report);
        }
        match report.damage.len() {
            0 => Ok(()),
            damaged => Err(Failure::other(format!("{damaged} damaged places"))),
        }
    }
}

fn open(folder: &Path, how: fn(&Path) -> Result<FileDisk, OpenError>) -> Result<FileDisk, Failure> {
    if !folder.is_dir() {
        return Err(Failure::usage(format!("{} is no folder", folder.display())));
    }
    how(folder).map_err(|error| Failure::other(format!("{:#}", anyhow::Error::from(error))))
}

fn nothing(folder: &Path) -> Failure {
    Failure::usage(format!("there is no history in {}", folder.display()))
}

fn begin_epochs(folder: &Path) -> Result<(), Failure> {
    let disk = open(folder, FileDisk::open)?;
    let seed = random_seed().map_err(|error| Failure::other(error.to_string()))?;
    let report = renew(disk, journal_options(seed), &mut progress()).map_err(|error| match error {
        RenewError::Nothing => nothing(folder),
        error => Failure::other(error.to_string()),
    })?;
    for damage in &report.damage {
        say!("damaged: {damage}");
    }
    say!(
        "{} channels begin a new epoch, with the {} publications that they have",
        report.channels,
        report.publications
    );
    Ok(())
}

fn print(report: &Report) {
    let Report { segments, bytes, channels, publications, cached, .. } = report;
    say!(
        "{publications} publications and {cached} cached values on {channels} channels, in {segments} files with {bytes} bytes"
    );
    say!("the last process ended {}", if report.clean { "in order" } else { "without closing the history" });
    if report.torn > 0 {
        say!("{} bytes at the end are of a write that was interrupted", report.torn);
    }
    if report.skipped > 0 {
        say!("{} channels would skip offsets", report.skipped);
    }
    for damage in &report.damage {
        say!("damaged: {damage}");
    }
    if report.new_epochs > 0 {
        say!("{} channels would begin a new epoch", report.new_epochs);
    }
}

fn print_json(report: &Report) {
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    let shown = serde_json::json!({
        "publications": report.publications, "cached": report.cached, "channels": report.channels, "segments": report.segments, "bytes": report.bytes,
        "clean": report.clean, "torn": report.torn, "skipped": report.skipped, "new_epochs": report.new_epochs, "damage": damage,
    });
    say!("{shown}");
}
