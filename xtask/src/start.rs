//! The README's first command, as a person meets it: it compiles, starts, answers, and ends when it is told to.
//!
//! Knows nothing of the server but what it prints and its health.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Starts the server by `cargo switchboard serve`, on ports of the system's choice, and sees it through.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["switchboard", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    println!("$ {}", crate::process::describe(&command));
    command.current_dir(root).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().context("cargo did not start")?;
    let result = see_through(&mut child);
    if result.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

fn see_through(child: &mut Child) -> Result<()> {
    let lines = lines_of(child)?;
    let console = address_of(&lines, "console")?;
    println!("the console is at {console}");
    let health = get(&console, "/healthz")?;
    if !health.starts_with("HTTP/1.1 200 ") {
        bail!("/healthz answers {health:?}");
    }
    if !get(&console, "/")?.contains("<!doctype html") {
        bail!("the console is no page");
    }
    // cargo has become the server: the process is the one that was started.
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                return Ok(());
            }
            bail!("after SIGTERM the server ended with {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("the server did not end within 30 s of SIGTERM")
}

/// What the child prints, line by line, read by a thread so that waiting for it can end.
fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let stdout = child.stdout.take().context("the child's output is piped")?;
    let (sender, receiver) = sync_channel(256);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// The `HOST:PORT` in the line that begins with `label`.
fn address_of(lines: &Receiver<String>, label: &str) -> Result<String> {
    let deadline = Instant::now() + BUILD_LIMIT;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(address) = address_in(&line, label) {
                    return Ok(address.to_owned());
                }
            }
            Err(RecvTimeoutError::Timeout) => bail!("no {label} after {} s", BUILD_LIMIT.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the server ended before it told where its {label} is"),
        }
    }
}

fn address_in<'a>(line: &'a str, label: &str) -> Option<&'a str> {
    let url = line.trim_start().strip_prefix(label)?.split_whitespace().next()?;
    url.strip_prefix("http://")?.split('/').next()
}

fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The build for release is part of the command.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_address_is_found_in_what_the_server_prints() {
        assert_eq!(address_in("  console    http://127.0.0.1:8081/", "console"), Some("127.0.0.1:8081"));
        assert_eq!(address_in("Open the console in a browser", "console"), None);
        assert_eq!(address_in("  WebSocket  ws://127.0.0.1:8080/ws", "console"), None);
    }

    #[test]
    fn a_server_that_ends_early_is_told_from_one_that_is_slow() {
        let mut child = Command::new("echo").arg("hello").stdout(Stdio::piped()).spawn().unwrap();
        let error = address_of(&lines_of(&mut child).unwrap(), "console").unwrap_err();
        assert!(error.to_string().contains("ended before"), "{error}");
        child.wait().unwrap();
    }
}
