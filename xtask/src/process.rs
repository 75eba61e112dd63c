//! Starting other programs: with a time limit, no standard input, and their whole family ended when the time is up.
//!
//! Knows nothing of what is run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Runs `command` to its end; what it prints passes through.
///
/// # Errors
/// When it does not start, ends with a failure, or is not done after `limit`; then it is ended with all its descendants.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<()> {
    let shown = describe(command);
    println!("$ {shown}");
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("`{shown}` did not start"))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            bail!("`{shown}`: {status}");
        }
        if Instant::now() >= deadline {
            end_family(&mut child);
            bail!("`{shown}` was not done after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `command` and returns what it printed on standard output, or nothing when it fails in any way.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()
}

/// The program `name` as the shell would find it.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// A command as a person would type it.
pub(crate) fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Ends a child and what it has started. Descendants are found by their parents' ids before anything is ended, because
/// an orphan no longer tells whose it was.
fn end_family(child: &mut Child) {
    let listed = output_of(Command::new("ps").args(["-A", "-o", "pid=,ppid="])).unwrap_or_default();
    for id in descendants(&listed, child.id()) {
        let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn descendants(listed: &str, ancestor: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for line in listed.lines() {
        let mut words = line.split_whitespace().filter_map(|word| word.parse().ok());
        if let (Some(id), Some(parent)) = (words.next(), words.next()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = Vec::new();
    let mut waiting = vec![ancestor];
    while let Some(id) = waiting.pop() {
        for child in children.remove(&id).unwrap_or_default() {
            found.push(child);
            waiting.push(child);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn descendants_are_found_through_generations_and_strangers_are_not() {
        let listed = " 10 1\n 20 10\n 30 20\n 40 1\n 50 40\n";
        let mut found = descendants(listed, 10);
        found.sort_unstable();
        assert_eq!(found, [20, 30]);
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_and_named() {
        let started = Instant::now();
        let error =
            run(Command::new("sh").args(["-c", "sleep 30 & sleep 30"]), Duration::from_millis(100)).unwrap_err();
        assert!(error.to_string().contains("was not done after"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_failure_is_an_error_with_its_status() {
        let error = run(Command::new("sh").args(["-c", "exit 7"]), Duration::from_secs(10)).unwrap_err();
        assert!(error.to_string().contains("exit status: 7"), "{error}");
    }
}
