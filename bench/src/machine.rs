//! The CPU time and the memory of a process, and what the machine is. Linux only.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::sys;

/// CPU nanoseconds of a process so far: its CPU clock, which sums what /proc/PID/task/*/schedstat shows and the threads that have
/// ended.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    sys::process_cpu_ns(pid).with_context(|| format!("cannot read the CPU clock of process {pid}"))
}

/// Of these, the nanoseconds that the process spent in its own code, the rest being the kernel's: what /proc/PID/stat tells, in steps of 10 ms, and
/// as sure as the kernel's clock ticks are many. For the sum of long spans.
pub fn user_ns(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The name of the program, in parentheses, may hold spaces. `utime` is the twelfth field behind it.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 =
        fields.split_ascii_whitespace().nth(11).and_then(|field| field.parse().ok()).context("no utime")?;
    Ok(ticks * (1_000_000_000 / sys::ticks_per_second()))
}

/// Resident memory of a process in bytes (VmRSS).
pub fn rss_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most that it ever was (VmHWM), or since somebody last had that [forgotten](forget_peak).
pub fn peak_rss_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

pub fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").with_context(|| format!("cannot reset the peak of process {pid}"))
}

fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name} in /proc/PID/status"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{name} is no number"))?;
    Ok(kib * 1024)
}

/// So many of the connections that are wanted as a process may have files open, and as memory is free for, both sides of them together.
pub fn connections_that_fit(wanted: usize, files_max: u64) -> usize {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib: Option<u64> = available.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
    let by_memory = kib.map_or(u64::MAX, |kib| kib / CONNECTION_KIB);
    let fit = files_max.saturating_sub(FILES_APART).min(by_memory);
    usize::try_from(fit).unwrap_or(usize::MAX).min(wanted)
}

/// What two sides of a TLS connection may take, the kernel's part among it, generously.
const CONNECTION_KIB: u64 = 256;
/// What a server has open beside its connections.
const FILES_APART: u64 = 128;

/// What the figures were measured on.
pub fn describe() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = meminfo.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    json!({
        "cpu": model.map_or("unknown", |(_, name)| name),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": kernel.trim(),
        "tcp_congestion_control": congestion.trim(),
        "memory_gib": memory_kib / (1024 * 1024),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_clock_agrees_with_schedstat() {
        let sum = |path: &str| -> u64 {
            let tasks = fs::read_dir(path).unwrap().map(|task| task.unwrap().path().join("schedstat"));
            tasks.filter_map(|path| fs::read_to_string(path).ok()?.split(' ').next()?.parse::<u64>().ok()).sum()
        };
        // A process of one thread that has worked and now waits.
        let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; read line";
        let mut command = std::process::Command::new("sh");
        let pipes =
            command.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let clock = cpu_ns(child.id()).unwrap();
        let schedstat = sum(&format!("/proc/{}/task", child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(clock > 1_000_000 && clock == schedstat, "{clock} ns by the clock, {schedstat} by schedstat");
    }

    #[test]
    fn what_is_the_users_is_part_of_all() {
        let pid = std::process::id();
        let mut sum = 0_u64;
        while user_ns(pid).unwrap() == 0 {
            sum = std::hint::black_box((0..1_000_000_u64).fold(sum, u64::wrapping_add));
        }
        // A step of the one clock may come before the other has made it.
        let step = 1_000_000_000 / sys::ticks_per_second();
        assert!(user_ns(pid).unwrap() <= cpu_ns(pid).unwrap() + step);
    }

    #[test]
    fn no_more_connections_than_files() {
        assert_eq!(connections_that_fit(100, 1000), 100);
        assert_eq!(connections_that_fit(10_000, 1000), 872);
        assert_eq!(connections_that_fit(usize::MAX, 0), 0);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(cpu_ns(u32::MAX >> 4).unwrap_err().to_string().contains("cannot read the CPU clock"));
    }
}
