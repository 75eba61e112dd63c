//! `switchboard history`

use super::exit::Failure;
use crate::history::progress;
use clap::Subcommand;
use std::path::PathBuf;
use switchboard_store::{FileDisk, Report, verify};

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
}

impl History {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (folder, json) = match self {
            Self::Read(read) => return read.run(),
            Self::Verify { folder, json } => (folder, json),
        };
        if !folder.is_dir() {
            return Err(Failure::usage(format!("{} is no folder", folder.display())));
        }
        let mut disk = FileDisk::open(&folder).map_err(|error| Failure::other(error.to_string()))?;
        let report = verify(&mut disk, &mut progress()).map_err(|error| Failure::other(error.to_string()))?;
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

fn print(report: &Report) {
    let Report { segments, bytes, channels, publications, cached, .. } = report;
    println!(
        "{publications} publications and {cached} cached values on {channels} channels, in {segments} files with {bytes} bytes"
    );
    println!("the last process ended {}", if report.clean { "in order" } else { "without closing the history" });
    if report.torn > 0 {
        println!("{} bytes at the end are of a write that was interrupted", report.torn);
    }
    if report.skipped > 0 {
        println!("{} channels would skip offsets", report.skipped);
    }
    for damage in &report.damage {
        println!("damaged: {damage}");
    }
    if report.new_epochs > 0 {
        println!("{} channels would begin a new epoch", report.new_epochs);
    }
}

fn print_json(report: &Report) {
    let damage: Vec<String> = report.damage.iter().map(ToString::to_string).collect();
    let shown = serde_json::json!({
        "publications": report.publications, "cached": report.cached, "channels": report.channels, "segments": report.segments, "bytes": report.bytes,
        "clean": report.clean, "torn": report.torn, "skipped": report.skipped, "new_epochs": report.new_epochs, "damage": damage,
    });
    println!("{shown}");
}
