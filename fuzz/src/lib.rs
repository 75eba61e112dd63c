//! What the targets share: an input's bytes as options and payload, streams of frames, a driver that cuts them anywhere, a memory meter.
//!
//! Knows no target. A broken promise is a panic, which is what a fuzzer looks for.

pub mod connection;
mod drive;
mod stream;

pub use drive::{CLIENT, Outcome, decoded_by, drive, drop_all, send_all, written};
pub use stream::{Input, frames};

/// The most bytes that this thread holds at once while `run` runs, beyond what it held before.
pub fn bytes_held<T>(run: impl FnOnce() -> T) -> (usize, T) {
    let mut result = None;
    let info = allocation_counter::measure(|| result = Some(run()));
    (info.bytes_max as usize, result.expect("`measure` runs its closure"))
}
