//! Starts a server pinned to its CPUs, learns its address from what it prints, and ends it by its process id.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};

use crate::sys;

const START_MAX: Duration = Duration::from_secs(20);

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Running {
    pub addr: SocketAddr,
    child: Child,
}

impl Running {
    /// `log` receives the server's standard error.
    pub fn start(program: &Path, args: &[String], cpus: &[usize], batch: bool, log: &Path) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
        // The product may be watched by variables of the caller; a measurement starts from its defaults.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SWITCHBOARD_")) {
            command.env_remove(name);
        }
        let cpus = cpus.to_vec();
        // SAFETY: between fork and exec only system calls are made, no allocation.
        unsafe { command.pre_exec(move || sys::prepare_child(&cpus, batch)) };
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take();
        let mut running = Self { addr: SocketAddr::from(([127, 0, 0, 1], 0)), child };
        let stdout = stdout.context("the server has no standard output")?;
        running.addr = address(stdout)
            .with_context(|| format!("{} did not start; what it said is in {}", program.display(), log.display()))?;
        Ok(running)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address printed; the rest of the output is read and dropped, so that the server never waits for us.
fn address(stdout: ChildStdout) -> Result<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            if let Some(addr) = find_address(&line) {
                // Only the first one is waited for.
                let _ = sender.send(addr);
            }
        }
    });
    match receiver.recv_timeout(START_MAX) {
        Ok(addr) => Ok(addr),
        Err(mpsc::RecvTimeoutError::Timeout) => bail!("no address within {} s", START_MAX.as_secs()),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(anyhow!("it ended without naming its address")),
    }
}

/// `listening on 127.0.0.1:1234`, or any `ws://127.0.0.1:1234/…` or `wss://…`.
fn find_address(line: &str) -> Option<SocketAddr> {
    let in_url = |word: &str| {
        word.strip_prefix("ws://").or_else(|| word.strip_prefix("wss://"))?.split('/').next()?.parse().ok()
    };
    match line.strip_prefix("listening on ") {
        Some(addr) => addr.trim().parse().ok(),
        None => line.split(|c: char| c.is_whitespace() || c == '"' || c == '\'').find_map(in_url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_what_servers_print() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(find_address(line).map(|a| a.to_string()).as_deref(), expected);
        };
        check("listening on 127.0.0.1:4000", Some("127.0.0.1:4000"));
        check("  clients   ws://127.0.0.1:8080/ws", Some("127.0.0.1:8080"));
        check("  clients   wss://127.0.0.1:8080/ws", Some("127.0.0.1:8080"));
        check("  console   http://127.0.0.1:8081/", None);
        check("Switchboard 0.1.0", None);
    }

    #[test]
    fn a_server_that_cannot_start_is_named() {
        let log = std::env::temp_dir().join(format!("switchboard-bench-test-{}", std::process::id()));
        let cpus = sys::cpus().unwrap();
        let error = Running::start(Path::new("/bin/true"), &[], &cpus, true, &log).unwrap_err();
        assert!(format!("{error:#}").contains("/bin/true did not start"), "{error:#}");
        std::fs::remove_file(log).unwrap();
    }
}
