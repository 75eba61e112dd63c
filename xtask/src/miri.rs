//! `cargo xtask miri`: the protocol's tests of what `unsafe` relies on, under Miri, which sees undefined behaviour.
//!
//! Owns which tests are run, and how few cases of each property.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{self, output_of};
use crate::runner::Outcome;

/// Every list of tests, one after another.
///
/// # Errors
/// An argument, or a missing tool.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<Outcome> {
    if !arguments.is_empty() {
        bail!("miri takes no arguments");
    }
    if output_of(Command::new("cargo").args(["+nightly", "miri", "--version"])).is_none() {
        bail!("Miri is missing; get it with: rustup toolchain install nightly --component miri,rust-src");
    }
    let mut failed = false;
    for (target, filters) in TESTS {
        let mut command = Command::new("cargo");
        // The compiler that runs this command must not choose the one that interprets.
        command.args([
            "+nightly",
            "miri",
            "test",
            "--locked",
            "--package",
            "switchboard-ws-proto",
            "--features",
            "deflate",
        ]);
        command.args(*target).arg("--").args(*filters);
        command.current_dir(root).env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC");
        // Apart, since cargo would build everything anew after each change of the compiler.
        command.env("CARGO_TARGET_DIR", root.join("target/miri"));
        // proptest looks at its folder; and it is some thousand times slower than the processor.
        command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
        command.env("PROPTEST_CASES", "4").env("PROPTEST_FAILURE_PERSISTENCE", "off");
        if let Err(error) = process::run(&mut command, LIMIT) {
            println!("{error:#}");
            failed = true;
        }
    }
    Ok(if failed { Outcome::Failed } else { Outcome::Passed })
}

/// Masking, text as it is checked and as it is used unchecked, close frames, and what is sent. The rest is free of `unsafe`.
const TESTS: &[(&[&str], &[&str])] = &[
    (&["--lib"], &["mask", "utf8", "reason"]),
    (&["--test", "api"], &["texts::", "closing::", "sending::", "--skip", "deflate"]),
];

const LIMIT: Duration = Duration::from_secs(3600);
