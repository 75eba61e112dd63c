//! The switchboard binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: with two providers linked and none chosen, rustls panics when it is used.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    switchboard_server::cli::main()
}
