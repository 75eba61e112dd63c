//! What commands print: as it was written, and where it cannot be printed.

use crate::binary::{Serving, run, switchboard};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn what_was_published_is_printed_as_it_was_written() {
    let serving = Serving::start(&[]);
    let (url, api) = (serving.url("/ws"), format!("http://{}", serving.address));
    let admin = format!("http://{}", serving.admin);
    let first = run(&["publish", "-u", &url, "--json", "room:a", "first"]);
    let first: Value = serde_json::from_str(&first.stdout).unwrap();
    let since = format!("{}:1", first["position"]["epoch"].as_str().unwrap());
    let written = ["123456789012345678901234567890", "1.10", "1e999", "{\"b\":1,\"a\":2}", "\"a text\"", "[1,\n2]"];
    for data in written {
        let published = run(&["publish", "-u", &url, "room:a", data]);
        assert_eq!(published.code, 0, "{}", published.stderr);
    }
    let printed = "123456789012345678901234567890\n1.10\n1e999\n{\"b\":1,\"a\":2}\na text\n[1, 2]\n";
    let subscribed = run(&["subscribe", "-u", &url, "-n", "6", "--since", &since, "room:a"]);
    assert_eq!(subscribed.stdout, printed, "{}", subscribed.stderr);
    let read = run(&["history", "read", "-u", &api, "--admin", &admin, "--since", &since, "room:a"]);
    assert_eq!(read.stdout, printed, "{}", read.stderr);
    let whole = run(&["subscribe", "-u", &url, "-n", "6", "--json", "--since", &since, "room:a"]);
    assert!(whole.stdout.contains("\"data\":1.10,") && whole.stdout.lines().count() == 6, "{}", whole.stdout);
    let sent = run(&["send", "ann", "1.10", "-u", &api, "--admin", &admin]);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    assert_eq!(run(&["history", "read", "--user", "ann", "-u", &api, "--admin", &admin]).stdout, "1.10\n");
    serving.stop();
}

#[test]
fn nobody_has_to_read_what_is_printed() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for arguments in [&["completions", "bash"][..], &["config", "show"], &["config", "check"], &["check", "--list"]] {
        let failed = switchboard(arguments).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&failed.stderr);
        assert!(failed.status.code() == Some(1) && stderr.contains("cannot print: "), "{arguments:?}: {stderr}");
        // Closed before anything is written, as by `| head`.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let failed = switchboard(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8_lossy(&failed.stderr);
        assert!(failed.status.code() == Some(1) && stderr.contains("nobody reads"), "{arguments:?}: {stderr}");
    }
    // A server goes on.
    let mut serve = switchboard(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    let mut child = serve.stdout(full()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("cannot say on stdout")));
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_off_is_not_recommended() {
    let mut serving = switchboard(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"]);
    let mut child = serving.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<String> = lines.take_while(|line| line != "Ctrl-C stops it.").collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said.iter().any(|line| line == "In another terminal try:"), "{said:?}");
    assert!(!said.iter().any(|line| line.contains("browser")), "{said:?}");
}

#[test]
fn an_address_that_says_nothing_is_named() {
    let serving = Serving::start(&[]);
    let finished = run(&["publish", "-u", &serving.url("/chat"), "--timeout", "1", "room:a", "1"]);
    assert_eq!(finished.code, 3);
    assert!(finished.stderr.contains("/chat: ") && finished.stderr.contains("at /ws"), "{}", finished.stderr);
    serving.stop();
}
