//! The examples, as a reader runs them: each is started and talked to.

use std::path::PathBuf;
use std::process::Stdio;

use switchboard_ws::{CloseCode, Message, connect};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::*;

/// Built beside this test, by the same command.
fn example(name: &str) -> Command {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    let mut command = Command::new(path.join("examples").join(name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

struct Started {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Started {
    fn new(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    async fn line(&mut self) -> String {
        soon(self.lines.next_line()).await.unwrap().expect("it ended")
    }

    /// A server, and its address.
    async fn server(command: &mut Command) -> (Self, String) {
        let mut started = Self::new(command);
        let line = started.line().await;
        let address = line.strip_prefix("listening on ").expect("an address").to_owned();
        (started, address)
    }
}

const ANYWHERE: &str = "127.0.0.1:0";

async fn echoes(url: &str) {
    let mut socket = soon(connect(url)).await.unwrap();
    for size in [0, 5, 70_000] {
        socket.send(vec![7; size]).await.unwrap();
        assert_eq!(soon(socket.recv()).await.unwrap().unwrap(), Message::from(vec![7; size]));
    }
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
}

#[tokio::test]
async fn echo_servers() {
    let (_server, address) = Started::server(example("echo_server").args(["--listen", ANYWHERE])).await;
    echoes(&format!("ws://{address}/")).await;
    for name in ["hyper", "axum", "tower"] {
        let (_server, address) = Started::server(example(name).arg(ANYWHERE)).await;
        echoes(&format!("ws://{address}/echo")).await;
    }
}

#[tokio::test]
async fn a_chat_between_two_terminals() {
    let (_server, address) = Started::server(example("chat").arg(ANYWHERE)).await;
    let mut rooms: Vec<Started> = ["lobby", "lobby", "attic"]
        .map(|room| Started::new(example("connect").arg(format!("ws://{address}/{room}")).stderr(Stdio::piped())))
        .into();
    for terminal in &mut rooms {
        // It says so when it is connected; the server has entered it into the room by then or does so before it reads from it.
        let mut said = BufReader::new(terminal.child.stderr.take().unwrap()).lines();
        assert!(soon(said.next_line()).await.unwrap().unwrap().starts_with("connected"));
    }
    let [first, second, attic] = &mut rooms[..] else { panic!() };
    attic.child.stdin.as_mut().unwrap().write_all(b"anybody?\n").await.unwrap();
    assert_eq!(attic.line().await, "anybody?");
    second.child.stdin.as_mut().unwrap().write_all(b"hello\n").await.unwrap();
    assert_eq!(second.line().await, "hello");
    // Whoever heard itself was in the room, and the other one is asked until it is.
    let input = first.child.stdin.as_mut().unwrap();
    input.write_all(b"hi\n").await.unwrap();
    let mut heard = vec![first.line().await];
    while heard.last().unwrap() != "hi" {
        heard.push(first.line().await);
    }
    assert!(heard == ["hello", "hi"] || heard == ["hi"], "{heard:?}");
    assert_eq!(second.line().await, "hi");
    // The end of its input closes.
    for mut terminal in rooms {
        drop(terminal.child.stdin.take());
        assert!(soon(terminal.child.wait()).await.unwrap().success());
    }
}

#[tokio::test]
async fn a_slow_reader_in_the_chat_is_told_what_it_misses() {
    let (_server, address) = Started::server(example("chat").arg(ANYWHERE)).await;
    let url = format!("ws://{address}/room");
    let (mut slow, mut loud) = (soon(connect(&url)).await.unwrap(), soon(connect(&url)).await.unwrap());
    slow.send("here").await.unwrap();
    assert_eq!(soon(slow.recv()).await.unwrap().unwrap().as_text(), Some("here"));
    // More than any socket's buffers hold. The loud one reads all of it.
    let line = "x".repeat(4096);
    let mut heard = 0;
    while heard < 6000 {
        loud.send(line.clone()).await.unwrap();
        while !soon(loud.recv()).await.unwrap().unwrap().as_text().unwrap().starts_with('x') {}
        heard += 1;
    }
    let mut missing = false;
    while !missing {
        missing = soon(slow.recv()).await.unwrap().unwrap().as_text().unwrap().ends_with("messages are missing)");
    }
}

#[tokio::test]
async fn a_file_is_put_and_got() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("streaming-example");
    std::fs::create_dir_all(&folder).unwrap();
    let (file, back) = (folder.join("file"), folder.join("back"));
    let bytes: Vec<u8> = (0..20_000_000u32).map(|at| (at / 1000) as u8).collect();
    std::fs::write(&file, &bytes).unwrap();
    let mut serve = example("streaming");
    let (_server, address) = Started::server(serve.args(["serve", ANYWHERE]).arg(&folder)).await;
    let url = format!("ws://{address}/stored");
    let mut put = Started::new(example("streaming").arg("put").arg(&file).arg(&url));
    assert_eq!(put.line().await, "20000000 bytes are in stored");
    assert!(soon(put.child.wait()).await.unwrap().success());
    let mut get = Started::new(example("streaming").args(["get", &url]).arg(&back));
    assert_eq!(get.line().await, "20000000 bytes");
    assert!(soon(get.child.wait()).await.unwrap().success());
    assert!(std::fs::read(&back).unwrap() == bytes);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn certificates_of_ones_own() {
    let mut run = Started::new(&mut example("custom_tls"));
    assert_eq!(run.line().await, "with a certificate: hello, you showed 1 certificate");
    assert_eq!(run.line().await, "without: refused");
    assert!(soon(run.child.wait()).await.unwrap().success());
}
