//! What a process has used, as the kernel tells. Linux only: elsewhere nothing is known.

use core::time::Duration;

/// CPU time of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In programs and the kernel together.
    pub cpu: Duration,
}

/// The CPU time of a process so far, all its threads together, those that have ended too.
pub fn process_cpu(pid: u32) -> Option<Usage> {
    let clock = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(i32::try_from(pid).ok()?)).ok()?;
    let time = clock.now().ok()?;
    Some(Usage { cpu: Duration::from(time) })
}

/// The resident memory of a process in bytes.
pub fn process_rss(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}
