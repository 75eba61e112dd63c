//! Applications that come, change and go under a running server.

use crate::binary::Serving;
use crate::pusher::support::{Client, Signing, post, post_as};
use crate::support::{
    Socket, ask, block_on, configured, connect, native, receive, receive_text, request, with_server, within,
};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::mpsc;
use std::time::Duration;
use switchboard_ws::Connector;

/// The application "100" with the secret and the API key given, and what else is written.
fn one_app(secret: &str, api_key: &str, more: &str) -> String {
    format!(
        "[[apps]]\nid = \"100\"\nkey = \"key-a\"\nsecret = {secret:?}\napi_keys = [{api_key:?}]\n\
         anonymous = [{{ match = \"*\", allow = [\"*\"] }}]\n{more}\n"
    )
}

const FIRST: &str = "0123456789abcdef0123456789abcdef";
const SECOND: &str = "fedcba9876543210fedcba9876543210";

async fn publish(address: std::net::SocketAddr, key: &str, channel: &str) -> u16 {
    let head = format!("POST /api/v1/publish\nAuthorization: Bearer {key}");
    request(address, &head, &json!({ "channel": channel, "data": "told" }).to_string()).await.status
}

async fn closed_with(socket: &mut Socket) -> u16 {
    while within(10, socket.recv()).await.is_some_and(|message| message.is_ok()) {}
    socket.close_frame().unwrap().code.into()
}

#[test]
fn keys_and_limits_change_without_a_connection_noticing() {
    let before = configured(&one_app(FIRST, "api-key-of-the-first-time", ""));
    with_server(&before, async |server| {
        let address = server.address();
        let mut old = native(address).await;
        ask(&mut old, &json!({ "type": "subscribe", "id": 1, "channel": "news" })).await;
        let mut pusher = Client::of_a(address).await;
        pusher.subscribe("private-a", "ann").await;

        let more = "[limits]\nmessage_bytes = \"1KiB\"\n[channels]\nhistory_size = 0";
        let after = configured(&one_app(SECOND, "api-key-of-the-second-time", more));
        server.reconfigure(&after).await.unwrap();

        assert_eq!(publish(address, "api-key-of-the-first-time", "news").await, 401);
        assert_eq!(publish(address, "api-key-of-the-second-time", "news").await, 200);
        assert_eq!(receive(&mut old).await["data"], "told");
        let event = json!({ "name": "told", "data": "1", "channels": ["private-a"] }).to_string();
        assert_eq!(post(address, "/apps/100/events", &event).await.status, 401);
        let signing = Signing { secret: SECOND, ..Signing::of_a() };
        assert_eq!(post_as(&signing, address, "/apps/100/events", &event).await.status, 200);
        assert_eq!(pusher.event().await.0, "told");

        // Whoever is connected keeps its limits, whoever comes has the new ones.
        let large = json!({ "type": "publish", "id": 2, "channel": "other", "data": "x".repeat(2_000) });
        assert_eq!(ask(&mut old, &large).await["type"], "ok");
        let mut new = connect(&format!("ws://{address}/ws")).await;
        assert_eq!(receive(&mut new).await["limits"]["message_bytes"], 1_024);
        new.send(large.to_string()).await.unwrap();
        assert_eq!(closed_with(&mut new).await, 1009);
    });
}

#[test]
fn an_application_that_is_gone_ends_its_sessions_and_no_others() {
    let other = "[[apps]]\nid = \"200\"\nkey = \"key-b\"\nsecret = \"aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb\"\nanonymous = [{ match = \"*\", allow = [\"*\"] }]\ndefault = true";
    let both = configured(&one_app(FIRST, "api-key-of-the-first-time", other));
    with_server(&both, async |server| {
        let address = server.address();
        let mut stays = native(address).await;
        let mut stays_too = Client::of_b(address).await;
        let mut by_native = connect(&format!("ws://{address}/ws/key-a")).await;
        assert_eq!(receive(&mut by_native).await["type"], "welcome");
        let mut by_raw = connect(&format!("ws://{address}/raw/a?app=key-a")).await;
        let mut by_pusher = Client::of_a(address).await;

        server.reconfigure(&configured(other)).await.unwrap();

        let told = receive(&mut by_native).await;
        assert_eq!(
            (&told["type"], &told["code"], &told["reconnect"]),
            (&json!("disconnect"), &json!(4005), &json!(false))
        );
        assert_eq!(closed_with(&mut by_native).await, 4005);
        assert_eq!(closed_with(&mut by_raw).await, 4005);
        let told = by_pusher.next().await;
        let data: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
        assert_eq!((&told["event"], &data["code"]), (&json!("pusher:error"), &json!(4001)));
        assert_eq!(closed_with(&mut by_pusher.socket).await, 4001);
        assert!(Connector::new().connect(&format!("ws://{address}/ws/key-a")).await.is_err());
        assert_eq!(publish(address, "api-key-of-the-first-time", "a").await, 401);
        assert_eq!(post(address, "/apps/100/events", "{}").await.status, 404);

        assert_eq!(ask(&mut stays, &json!({ "type": "ping" })).await["type"], "pong");
        assert!(stays_too.has_nothing().await);
        // It may come back.
        server.reconfigure(&both).await.unwrap();
        Client::of_a(address).await.subscribe("private-a", "ann").await;
        assert_eq!(ask(&mut stays, &json!({ "type": "ping" })).await["type"], "pong");
    });
}

#[test]
fn the_development_application_keeps_its_keys() {
    with_server(&configured(""), async |server| {
        let key = |server: &switchboard_server::Running| {
            let all = server.apps().all();
            (all[0].key.clone(), all[0].api_keys[0].reveal().to_owned())
        };
        let before = key(server);
        let mut raw = connect(&format!("ws://{}/chat", server.address())).await;
        server.reconfigure(&configured("[limits]\nmessage_bytes = \"1KiB\"")).await.unwrap();
        assert_eq!(key(server), before);
        raw.send("still here").await.unwrap();
        assert_eq!(receive_text(&mut raw).await, "still here");
    });
}

/// The lines of a log, as they come.
fn lines(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn wait_for(lines: &mpsc::Receiver<String>, text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let line = lines.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("no {text:?} in {seen:#?}"));
        seen.push(line);
        if seen.last().is_some_and(|line| line.contains(text)) {
            return seen;
        }
    }
}

#[test]
fn sighup_reads_the_configuration_again_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchboard.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(&one_app(FIRST, "api-key-of-the-first-time", ""));
    let mut serving = Serving::start(&["--config", file.to_str().unwrap()]);
    let log = lines(serving.child.stderr.take().unwrap());
    let address = serving.address;
    // The server is another process: waiting for its log holds nobody up.
    block_on(async {
        let mut old = native(address).await;

        let bad = one_app("CANARY", "api-key-of-the-second-time", "[limts]\nchannels = 1");
        for (text, says) in [(bad.as_str(), "limts: unknown key"), ("[[apps]", "is not TOML")] {
            write(text);
            serving.signal("HUP");
            let seen = wait_for(&log, "the old one stays in use");
            assert!(seen.iter().any(|line| line.contains(says)), "{seen:#?}");
            assert!(!seen.iter().any(|line| line.contains("CANARY")), "{seen:#?}");
            assert_eq!(publish(address, "api-key-of-the-first-time", "a").await, 200);
        }

        let more = "[server]\nlisten = \"127.0.0.1:1\"\nshards = 7\n[history]\ntotal_bytes = \"1MiB\"";
        write(&one_app(SECOND, "api-key-of-the-second-time", more));
        serving.signal("HUP");
        let seen = wait_for(&log, "the configuration was read again");
        // A flag won over the file at the start, and wins again.
        let named = seen.iter().find(|line| line.contains("taken only by a restart")).expect("a warning");
        assert!(named.contains("server.shards, history.total_bytes") && !named.contains("listen"), "{named}");
        assert_eq!(publish(address, "api-key-of-the-first-time", "a").await, 401);
        assert_eq!(publish(address, "api-key-of-the-second-time", "a").await, 200);
        assert_eq!(ask(&mut old, &json!({ "type": "ping" })).await["type"], "pong");
    });
    serving.signal("TERM");
    assert!(serving.child.wait().unwrap().success());
}
