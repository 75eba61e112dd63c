//! Reads /proc: the CPU time and the memory of a process, and what the machine is. Linux only.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// CPU nanoseconds of all threads of a process so far (the first field of /proc/PID/task/*/schedstat). A thread that has ended
/// no longer counts.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    let mut sum = 0;
    for task in tasks {
        let path = task?.path().join("schedstat");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let ns = text.split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
        sum += ns.with_context(|| format!("{} has no CPU time", path.display()))?;
    }
    Ok(sum)
}

/// Resident memory of a process in bytes (VmRSS).
pub fn rss_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/PID/status")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1024)
}

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
