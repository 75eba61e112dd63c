//! `cargo xtask sim`: the simulation of `crates/sim`, built fast and with assertions.
//!
//! Owns how it is built and started. Knows nothing of what it simulates.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::runner::Outcome;

/// Passes its arguments on to `switchboard-sim`.
///
/// # Errors
/// It does not build.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<Outcome> {
    match start(root, arguments, LONG) {
        Ok(()) => Ok(Outcome::Passed),
        Err(error) => {
            println!("{error:#}");
            Ok(Outcome::Failed)
        }
    }
}

/// The short tier: that every planted bug is found, then the seeds that once failed and 500 others.
pub(crate) fn step(root: &Path) -> Result<()> {
    start(root, &["--canaries", "--seeds", "1500"], SHORT)?;
    start(root, &["--seeds", "500"], SHORT)
}

fn start(root: &Path, arguments: &[&str], limit: Duration) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--locked", "--profile", "sim", "--package", "switchboard-sim", "--"]);
    process::run(command.args(arguments).current_dir(root), limit)
}

/// The first call builds.
const SHORT: Duration = Duration::from_secs(20 * 60);
/// Whoever asks for hours gets them.
const LONG: Duration = Duration::from_secs(24 * 3_600);
