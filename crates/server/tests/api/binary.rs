//! The built binary as a child process: its server, and its other commands.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Instant;

pub const SWITCHBOARD: &str = env!("CARGO_BIN_EXE_switchboard");

/// A command without what the environment of the test might say.
pub fn switchboard(arguments: &[&str]) -> Command {
    let mut command = Command::new(SWITCHBOARD);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SWITCHBOARD_")) {
        command.env_remove(name);
    }
    command.args(arguments).env_remove("RUST_LOG").env("NO_COLOR", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command that ends by itself wrote, and its exit code.
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn finish(command: &mut Command, input: &[u8]) -> Finished {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let Output { status, stdout, stderr } = std::thread::scope(|scope| {
        // Beside reading the output: a command may wait for that. One that does not read its input may have ended.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Finished { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
}

pub fn run(arguments: &[&str]) -> Finished {
    finish(&mut switchboard(arguments), b"")
}

/// `switchboard serve` with ports that the system chose. Killed when dropped.
pub struct Serving {
    pub child: Child,
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// What was printed until the server ran.
    pub announced: String,
    stdout: BufReader<ChildStdout>,
}

impl Serving {
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, |command| command)
    }

    pub fn start_with(arguments: &[&str], prepare: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        all.extend(arguments);
        let mut command = switchboard(&all);
        let mut child = prepare(&mut command).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (mut announced, mut address, mut admin) = (String::new(), None, None);
        while address.is_none() || admin.is_none() {
            let mut line = String::new();
            if stdout.read_line(&mut line).unwrap() == 0 {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
                panic!("the server did not start: {announced}{stderr}");
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let host = |url: &str| url.split("://").nth(1)?.split('/').next()?.parse().ok();
            match words[..] {
                ["WebSocket", url, ..] => address = host(url),
                ["console", url, ..] => admin = host(url),
                _ => {}
            }
            announced.push_str(&line);
        }
        let (address, admin) = (address.unwrap(), admin.unwrap());
        Self { child, address, admin, announced, stdout }
    }

    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }

    pub fn signal(&self, name: &str) {
        // By its own id: nothing else may be hit.
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end. Returns the exit code and all that was written.
    pub fn wait(mut self) -> (Option<i32>, String, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut stderr = self.child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("the server did not stop"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let mut written = std::mem::take(&mut self.announced);
        self.stdout.read_to_string(&mut written).unwrap();
        (status.code(), written, errors.join().unwrap())
    }

    pub fn stop(self) {
        self.signal("TERM");
        assert_eq!(self.wait().0, Some(0));
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already where the test waited for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
