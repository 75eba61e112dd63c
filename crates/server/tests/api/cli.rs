//! The command line: what it prints where, and its exit codes.

use crate::binary::{Serving, finish, run, switchboard};
use crate::support::{SECRET, TWO_APPS};
use crate::upgrade::token;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;

fn write_config(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn connect_sends_lines_and_prints_what_arrives() {
    let serving = Serving::start(&[]);
    let connected = finish(&mut switchboard(&["connect", &serving.url("/chat")]), b"one\ntwo\n\xff\nlast");
    assert_eq!(connected.code, 0, "{}", connected.stderr);
    assert_eq!(connected.stdout, "one\ntwo\n1 bytes, base64: /w==\nlast\n");
    assert!(
        connected.stderr.contains("connected") && connected.stderr.contains("closed: 1000"),
        "{}",
        connected.stderr
    );

    let executed = run(&["connect", "-x", "a", "-x", "b", "-w", "0.5", &serving.url("/chat")]);
    assert_eq!((executed.code, executed.stdout.as_str()), (0, "a\nb\n"));

    let one = finish(&mut switchboard(&["connect", "-1", &serving.url("/chat?since=0:0")]), b"just one\nnot this\n");
    assert_eq!((one.code, one.stdout.as_str()), (0, "just one\n"));

    let json =
        finish(&mut switchboard(&["connect", "--json", "-s", "switchboard.v1.raw", &serving.url("/chat")]), b"hi\n");
    let events: Vec<Value> = json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 3, "{}", json.stdout);
    assert_eq!((&events[0]["type"], &events[0]["subprotocol"]), (&"open".into(), &"switchboard.v1.raw".into()));
    assert_eq!((&events[1]["type"], &events[1]["data"]), (&"text".into(), &"hi".into()));
    assert_eq!((&events[2]["type"], &events[2]["code"]), (&"close".into(), &1000.into()));
    serving.stop();
}

#[test]
fn connect_shows_pings_when_asked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let serve = async move {
        for _ in 0..3 {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = switchboard_ws::accept(stream).await.unwrap();
            socket.ping(b"are you there").await.unwrap();
            socket.send("hello").await.unwrap();
            socket.close(switchboard_ws::CloseCode::NORMAL, "").await.unwrap();
        }
    };
    let serving = std::thread::spawn(move || runtime.block_on(serve));
    let plain = finish(&mut switchboard(&["connect", "-n", &url]), b"");
    assert_eq!((plain.code, plain.stdout.as_str()), (0, "hello\n"), "{}", plain.stderr);
    assert!(!plain.stderr.contains("ping"), "{}", plain.stderr);
    let shown = finish(&mut switchboard(&["connect", "-n", "-P", &url]), b"");
    assert!(shown.stderr.contains("ping are you there"), "{}", shown.stderr);
    let json = finish(&mut switchboard(&["connect", "-n", "--json", &url]), b"");
    assert!(json.stdout.contains(r#"{"data":"are you there","type":"ping"}"#), "{}", json.stdout);
    serving.join().unwrap();
}

#[test]
fn connect_carries_a_great_deal_both_ways() {
    let serving = Serving::start_with(&[], |command| command.env("SWITCHBOARD_LIMITS__OPERATIONS_PER_SECOND", "0"));
    let input: String = (0..20_000).map(|i| format!("line {i} {}\n", "x".repeat(100))).collect();
    let connected = finish(&mut switchboard(&["connect", "-w", "3", &serving.url("/chat")]), input.as_bytes());
    assert_eq!(connected.code, 0, "{}", connected.stderr);
    assert_eq!(connected.stdout.lines().count(), 20_000);
    assert_eq!(connected.stdout, input);
    serving.stop();
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let config = write_config(TWO_APPS);
    let serving = Serving::start(&["--config", config.path().to_str().unwrap()]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let unused = format!("ws://{closed}/ws");
    let (url, lobby, closed_app) = (serving.url("/ws"), serving.url("/lobby"), serving.url("/ws/closed"));
    for (arguments, code, says) in [
        (&["connect", "not-a-url"][..], 2, "not a WebSocket URL"),
        (&["connect"], 2, "required"),
        (&["serve", "--nope"], 2, "--nope"),
        (&["connect", &unused], 3, "cannot connect"),
        (&["connect", &serving.url("/nope")], 3, "404"),
        (&["connect", "-H", "Authorization: Bearer x", &url], 4, "the token is malformed"),
        (&["connect", "-o", "https://evil.com", &lobby], 4, "origin"),
        (&["connect", "-o", "https://a.example.com", &lobby], 0, "connected"),
        (&["publish", "-u", &unused, "room:a", "1"], 3, "cannot connect"),
        (&["publish", "-u", &url, "private", "1"], 4, "no right to publish"),
        (&["publish", "-u", &closed_app, "room:a", "1"], 4, "the server wants a token"),
        (&["publish", "-u", &url, "a#b", "1"], 1, "reserved for patterns"),
        (&["subscribe", "-u", &url, "private"], 4, "no right to subscribe"),
        (&["subscribe", "--since", "x", "a"], 2, "EPOCH:OFFSET"),
    ] {
        let finished = run(arguments);
        assert_eq!(finished.code, code, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{arguments:?}");
    }
    serving.stop();
}

#[test]
fn publish_and_subscribe_meet() {
    let config = write_config(TWO_APPS);
    let serving = Serving::start(&["--config", config.path().to_str().unwrap()]);
    let url = serving.url("/ws/closed");
    let secret = "fedcba9876543210fedcba9876543210";
    let token = token(secret, "ann", &["subscribe", "publish", "history"]);
    let mut subscriber = switchboard(&["subscribe", "-u", &url, "-n", "4", "room:a", "room:b"]);
    let mut subscriber = subscriber.env("SWITCHBOARD_TOKEN", &token).spawn().unwrap();
    let mut notices = BufReader::new(subscriber.stderr.take().unwrap()).lines();
    for _ in 0..2 {
        assert!(notices.next().unwrap().unwrap().starts_with("subscribed to room:"));
    }
    let token_file = write_config(&format!("{token}\n"));
    let publish = |arguments: &[&str], input: &[u8]| {
        let mut all = vec!["publish", "-u", &url, "--token-file", token_file.path().to_str().unwrap()];
        all.extend(arguments);
        let finished = finish(&mut switchboard(&all), input);
        assert_eq!(finished.code, 0, "{}", finished.stderr);
        finished.stdout
    };
    let printed = publish(&["room:a", r#"{"x": 1}"#, "--event", "e"], b"");
    assert!(printed.starts_with("published to room:a at ") && printed.ends_with(":1\n"), "{printed}");
    publish(&["room:b", "plain text"], b"");
    publish(&["room:a", "--text", "42"], b"");
    let answer: Value = serde_json::from_str(&publish(&["room:a", "-", "--json"], b"from\nstdin\n")).unwrap();
    assert_eq!(answer["position"]["offset"], 3);
    let output = subscriber.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "room:a: {\"x\": 1}\nroom:b: plain text\nroom:a: 42\nroom:a: \"from\\nstdin\"\n");

    let epoch = answer["position"]["epoch"].as_str().unwrap();
    let mut since =
        switchboard(&["subscribe", "-u", &url, "-n", "2", "--json", "--since", &format!("{epoch}:1"), "room:a"]);
    let since = finish(since.env("SWITCHBOARD_TOKEN", &token), b"");
    let offsets: Vec<_> =
        since.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["offset"].clone()).collect();
    assert_eq!(offsets, [2, 3], "{}", since.stderr);
    serving.stop();
}

#[test]
fn tokens_are_signed_from_every_source() {
    let config = write_config(TWO_APPS);
    let serving = Serving::start(&["--config", config.path().to_str().unwrap()]);
    let secret = write_config(&format!("{SECRET}\n"));
    let file = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let scope = ["--user", "ann", "--channel", "room:*", "--allow", "publish", "--ttl", "1m"];
    let sources: [(&[&str], Option<&str>); 3] =
        [(&["--config", &file(&config)], None), (&["--secret-file", &file(&secret)], None), (&[], Some(SECRET))];
    for (source, variable) in sources {
        let mut arguments = vec!["token"];
        arguments.extend(scope);
        arguments.extend(source);
        let mut command = switchboard(&arguments);
        if let Some(value) = variable {
            command.env("SWITCHBOARD_SECRET", value);
        }
        let made = finish(&mut command, b"");
        assert_eq!(made.code, 0, "{source:?}: {}", made.stderr);
        let token = made.stdout.trim();
        let mut publish = switchboard(&["publish", "-u", &serving.url("/ws"), "room:a", "1"]);
        assert_eq!(finish(publish.env("SWITCHBOARD_TOKEN", token), b"").code, 0);
        let mut subscribe = switchboard(&["subscribe", "-u", &serving.url("/ws"), "room:a"]);
        assert_eq!(finish(subscribe.env("SWITCHBOARD_TOKEN", token), b"").code, 4);
    }
    serving.stop();

    let development = Serving::start(&[]);
    let server = format!("http://{}", development.admin);
    let made = run(&["token", "--user", "bob", "--server", &server, "--allow", "subscribe"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mut publish = switchboard(&["publish", "-u", &development.url("/ws"), "room:a", "1"]);
    assert_eq!(finish(publish.env("SWITCHBOARD_TOKEN", made.stdout.trim()), b"").code, 4);
    development.stop();

    for (arguments, code, says) in [
        (&["token", "--user", "ann", "--server", &server][..], 3, "no development server"),
        (&["token", "--user", "ann", "--secret-file", "/nowhere"], 2, "/nowhere"),
        (&["token", "--user", "", "--secret-file", &file(&secret)], 2, "--user"),
        (&["token", "--user", "a", "--allow", "publish,read", "--secret-file", &file(&secret)], 2, "'read'"),
        (&["token", "--user", "a", "--channel", "a/+", "--secret-file", &file(&secret)], 2, "'a/+'"),
        (&["token", "--user", "a", "--ttl", "1", "--secret-file", &file(&secret)], 2, "--ttl"),
        (&["token", "--user", "a", "--info", "[]", "--secret-file", &file(&secret)], 2, "--info"),
        (&["token"], 2, "--user"),
    ] {
        let finished = run(arguments);
        assert_eq!(finished.code, code, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{arguments:?}: {}", finished.stderr);
    }
}

#[test]
fn the_configuration_is_checked_and_shown() {
    let good = write_config(TWO_APPS);
    let checked = run(&["config", "check", good.path().to_str().unwrap()]);
    assert_eq!((checked.code, checked.stdout.contains("2 applications")), (0, true), "{}", checked.stderr);
    let shown = run(&["config", "show", good.path().to_str().unwrap()]);
    assert!(
        shown.stdout.contains("message_bytes = \"64KiB\"") && shown.stdout.contains("value = \"***\""),
        "{}",
        shown.stdout
    );
    // Every default, those of channels too.
    let channels = shown.stdout.split("\n[channels]\n").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    assert_eq!(channels.trim().lines().count(), 17, "{channels}");
    assert!(channels.contains("history_ttl = \"5m\"") && channels.contains("overflow = \"disconnect\""), "{channels}");
    assert!(!shown.stdout.contains(SECRET) && !shown.stdout.contains("api-key"), "{}", shown.stdout);

    let bad = write_config("[server]\nlissten = \"x\"");
    for arguments in [["config", "check"], ["config", "show"]] {
        let mut all = arguments.to_vec();
        all.push(bad.path().to_str().unwrap());
        let finished = run(&all);
        assert_eq!(finished.code, 2);
        assert_eq!(finished.stderr.trim(), "switchboard: server.lissten: unknown key; did you mean \"listen\"?");
    }
    let key = write_config("no key");
    let secure = format!("[tls]\ncert = {:?}\nkey = {:?}", key.path(), key.path());
    let checked = run(&["config", "check", write_config(&secure).path().to_str().unwrap()]);
    assert!(checked.code == 2 && checked.stderr.contains("tls.cert"), "{}", checked.stderr);

    let mut by_variable = switchboard(&["config", "check"]);
    let by_variable = finish(by_variable.env("SWITCHBOARD_SERVER__SHARDS", "many"), b"");
    assert!(by_variable.stderr.contains("(set by SWITCHBOARD_SERVER__SHARDS)"), "{}", by_variable.stderr);
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let file = write_config("[server]\nshards = 3\nadmin_listen = \"nonsense\"\nlisten = \"nonsense\"");
    let path = file.path().to_str().unwrap();
    let serving = Serving::start_with(&["--config", path, "--shards", "1"], |command| {
        command.env("SWITCHBOARD_SERVER__SHARDS", "2").env("SWITCHBOARD_SERVER__LISTEN", "nonsense")
    });
    let stats = crate::support::block_on(crate::support::request(serving.admin, "GET /api/console/stats", "")).json();
    assert_eq!(stats["shards"].as_array().unwrap().len(), 1);
    serving.stop();
}

#[test]
fn what_keeps_a_server_from_starting_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, code, says) in [
        (&["serve", "--listen", &address, "--admin-listen", "off"][..], 1, "choose another port with --listen"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--admin-listen", &address],
            1,
            "choose another port with --admin-listen",
        ),
        (&["serve", "--listen", "0.0.0.0:0"], 2, "Configure one: [[apps]] with id, secret and origins"),
        (&["serve", "--admin-listen", "0.0.0.0:0"], 2, "server.admin_listen"),
        (&["serve", "--listen", "192.0.2.1:1", "--config", "/nowhere"], 2, "cannot read /nowhere"),
        (&["serve", "--tls-cert", "/nowhere"], 2, "tls.key: is missing"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"],
            1,
            "tls.cert /nowhere",
        ),
        (&["serve", "--log", "a=b=c"], 2, "--log"),
        (&["serve", "--log", "info,loud"], 2, "\"loud\" is no level"),
        (&["serve", "--listen", &address, "--admin-listen", &address], 2, "is server.listen too"),
        (
            &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "off", "--data-dir", "/proc/none"],
            1,
            "/proc/none: No such file",
        ),
    ] {
        let finished = run(arguments);
        assert_eq!(finished.code, code, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{arguments:?}");
    }
}

#[test]
fn shells_are_helped() {
    for shell in ["bash", "zsh", "fish"] {
        let finished = run(&["completions", shell]);
        assert!(finished.code == 0 && finished.stdout.contains("subscribe"), "{shell}");
    }
}

#[test]
fn connect_by_tls_trusts_what_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let serving = Serving::start(&["--tls-cert", &cert, "--tls-key", &key]);
    assert!(serving.announced.contains("wss://"), "{}", serving.announced);
    let url = format!("wss://localhost:{}/chat", serving.address.port());
    for (arguments, code, output) in [
        (&["connect", "-x", "hi", &url][..], 3, ""),
        (&["connect", "-x", "hi", "-k", &url], 0, "hi\n"),
        (&["connect", "-x", "hi", "--ca", &cert, &url], 0, "hi\n"),
        (&["connect", "-x", "hi", "--ca", "/nowhere", &url], 2, ""),
    ] {
        let finished = finish(switchboard(arguments).stdout(Stdio::piped()), b"");
        assert_eq!((finished.code, finished.stdout.as_str()), (code, output), "{arguments:?}: {}", finished.stderr);
    }
    // Where it goes wrong it says what would go right.
    let plain = Serving::start(&[]);
    let (secure, insecure) = (serving.address.port(), plain.address.port());
    for (command, address, says) in [
        ("connect", format!("wss://localhost:{secure}/chat"), "--cacert FILE"),
        ("connect", format!("ws://localhost:{secure}/chat"), "begins with wss://"),
        ("connect", format!("wss://localhost:{insecure}/chat"), "begins with ws://"),
        ("channels", format!("https://localhost:{secure}"), "--cacert FILE"),
        ("channels", format!("http://localhost:{secure}"), "begins with https://"),
        ("channels", format!("https://localhost:{insecure}"), "does not speak TLS"),
    ] {
        let arguments: &[&str] =
            if command == "connect" { &[command, "-x", "hi", &address] } else { &[command, "-u", &address] };
        let finished = finish(switchboard(arguments).env("SWITCHBOARD_API_KEY", "some-key-0123456789"), b"");
        assert_eq!(finished.code, 3, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{arguments:?}: {}", finished.stderr);
    }
    plain.stop();
    serving.stop();
}

/// What a terminal shows for keys that come in bursts, as from a paste or a script.
#[test]
fn connect_on_a_terminal_keeps_the_line_being_typed() {
    let serving = Serving::start(&[]);
    let pty = nix::pty::openpty(None, None).unwrap();
    let before = nix::sys::termios::tcgetattr(&pty.slave).unwrap();
    let side = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut connect = switchboard(&["connect", "--no-history", &serving.url("/chat")]);
    let mut child = connect.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    let mut terminal = fs::File::from(pty.master);
    let mut keys = terminal.try_clone().unwrap();
    let mut shown = String::new();
    // Reads until the screen ends so. What never comes is cut off by the runner's time limit.
    let mut expect = |end: &str| {
        let mut bytes = [0; 1024];
        while !shown.ends_with(end) {
            let count = std::io::Read::read(&mut terminal, &mut bytes).unwrap();
            shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    };
    expect("shows more\r\n> \r\x1b[2C");
    keys.write_all(b"hello\r").unwrap();
    expect("\r\x1b[J< hello\r\n> \r\x1b[2C");
    keys.write_all(b"half typed").unwrap();
    expect("\r\x1b[J> half typed\r\x1b[12C");
    let elsewhere = run(&["publish", "-u", &serving.url("/ws"), "chat", "from elsewhere \u{1b}[2J"]);
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.stderr);
    // Above the line, which is still there; and an escape sequence is shown, not obeyed.
    expect("\r\x1b[J< from elsewhere \\u{1b}[2J\r\n> half typed\r\x1b[12C");
    keys.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let after = nix::sys::termios::tcgetattr(&pty.slave).unwrap();
    assert_eq!(after.local_flags, before.local_flags, "the terminal is left as it was");
    serving.stop();
}

/// A user who takes part in its own channel and in a room, and says what it was told.
fn subscriber(serving: &Serving, token: &str) -> (std::process::Child, impl Iterator<Item = String> + use<>) {
    let url = serving.url("/ws");
    let mut child = switchboard(&["subscribe", "-u", &url, "--json", "room:a", "#user"])
        .env("SWITCHBOARD_TOKEN", token)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    for _ in 0..2 {
        lines.next().unwrap();
    }
    (child, lines)
}

#[test]
fn what_the_http_api_does_the_commands_do() {
    let config = write_config(TWO_APPS);
    let serving = Serving::start(&["--config", config.path().to_str().unwrap()]);
    let url = format!("http://{}", serving.address);
    let api = |arguments: &[&str]| {
        let mut all: Vec<&str> = arguments.to_vec();
        all.extend(["-u", &url]);
        finish(switchboard(&all).env("SWITCHBOARD_API_KEY", crate::support::API_KEY), b"")
    };
    let done = |arguments: &[&str]| {
        let finished = api(arguments);
        assert_eq!(finished.code, 0, "{arguments:?}: {}", finished.stderr);
        finished.stdout
    };
    assert_eq!(done(&["channels"]), "");
    let (mut ann, _lines) = subscriber(&serving, &token(SECRET, "ann", &["*"]));
    assert_eq!(done(&["channels"]), "room:a\t1\t1\n");
    assert_eq!(done(&["channels", "other"]), "");
    assert_eq!(
        done(&["channels", "-n", "1", "--json"]),
        "{\"channel\":\"room:a\",\"connections\":1,\"subscribers\":1,\"users\":1}\n"
    );
    assert_eq!(done(&["presence", "room:a"]), "ann\t1\n");
    assert_eq!(done(&["presence", "--user", "ann"]), "ann\t1\n");
    assert!(done(&["send", "ann", "{\"price\": 1.50}", "--event", "note"]).starts_with("sent to ann at "));
    assert_eq!(done(&["history", "read", "--user", "ann"]), "{\"price\": 1.50}\n");
    assert_eq!(done(&["history", "read", "room:a"]), "");
    assert_eq!(done(&["signal", "room:a", "psst", "--user", "ann", "--event", "aside"]), "1 connection reached\n");
    assert_eq!(done(&["unsubscribe", "room:b", "--user", "ann"]), "0 subscriptions ended\n");
    assert_eq!(done(&["disconnect", "--user", "ann", "--reason", "enough", "--json"]), "{\"sessions\":1}\n");
    assert_eq!(done(&["disconnect", "--session", "0-1"]), "0 connections ended\n");
    let mut heard = String::new();
    std::io::Read::read_to_string(ann.stdout.as_mut().unwrap(), &mut heard).unwrap();
    assert!(heard.contains("\"event\":\"note\""), "{heard}");
    assert_eq!(ann.wait().unwrap().code(), Some(4));

    for (arguments, code, says) in [
        (&["disconnect"][..], 2, "--user"),
        (&["disconnect", "--user", "a", "--session", "0-1"], 2, "cannot be used"),
        (&["presence"], 2, "required"),
        (&["disconnect", "--user", "a", "--code", "1000"], 1, "\"code\""),
        (&["presence", "a#b"], 1, "reserved for patterns"),
        (&["channels", "--key-file", "/nowhere"], 2, "/nowhere"),
    ] {
        let finished = api(arguments);
        assert_eq!(finished.code, code, "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(says), "{arguments:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody =
        finish(switchboard(&["channels", "-u", &format!("http://{closed}")]).env("SWITCHBOARD_API_KEY", "x"), b"");
    assert_eq!(nobody.code, 3, "{}", nobody.stderr);
    let stranger = finish(switchboard(&["channels", "-u", &url]).env("SWITCHBOARD_API_KEY", "wrong"), b"");
    assert!(stranger.code == 4 && stranger.stderr.contains("no API key"), "{}", stranger.stderr);
    let admin = format!("http://{closed}");
    let keyless = run(&["channels", "-u", &url, "--admin", &admin]);
    assert!(keyless.code == 2 && keyless.stderr.contains("SWITCHBOARD_API_KEY"), "{}", keyless.stderr);
    serving.stop();
}

#[test]
fn a_development_server_tells_its_key() {
    let serving = Serving::start(&[]);
    let (url, admin) = (format!("http://{}", serving.address), format!("http://{}", serving.admin));
    let sent = run(&["send", "ann", "hello", "-u", &url, "--admin", &admin]);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    assert_eq!(run(&["history", "read", "--user", "ann", "-u", &url, "--admin", &admin]).stdout, "hello\n");
    serving.stop();
}
