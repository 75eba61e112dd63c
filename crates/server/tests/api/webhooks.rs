//! Webhooks, as a receiver sees them: signed, in order, again after a failure, and kept across an end of the process.

mod receiver;

use crate::binary::Serving;
use crate::support::{Socket, ask, block_on, configured, native, request, with_server, within};
use core::net::SocketAddr;
use core::time::Duration;
use receiver::{FAILS, NOTHING, OK, Receiver};
use serde_json::json;
use std::path::Path;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn config(url: &str, more: &str) -> String {
    format!(
        r#"
        [webhooks]
        allow = ["127.0.0.1/32"]
        batch_wait = "1ms"
        retry_first = "10ms"
        retry_max = "20ms"
        breaker_wait = "20ms"
        breaker_wait_max = "40ms"
        vacated_grace = "20ms"
        count_interval = "1ms"
        [[apps]]
        id = "shop"
        key = "shop-key"
        secret = "{SECRET}"
        secrets = [{{ kid = "next", value = "fedcba9876543210fedcba9876543210" }}]
        anonymous = [{{ match = "*", allow = ["*"] }}]
        [[apps.webhooks]]
        url = "{url}"
        {more}
        "#
    )
}

fn url(receiver: &Receiver) -> String {
    format!("http://{}/hook?token=CANARY", receiver.address)
}

const EVERYTHING: &str = r#"events = ["channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss", "subscription_count"]"#;
const LIFE: &str = r#"events = ["channel_occupied", "channel_vacated"]"#;

async fn subscribe(socket: &mut Socket, channel: &str) {
    let answer = ask(socket, &json!({ "type": "subscribe", "id": 1, "channel": channel })).await;
    assert_eq!(answer["type"], "ok", "{answer}");
}

async fn metric(admin: SocketAddr, name: &str) -> u64 {
    let metrics = request(admin, "GET /metrics", "").await.body;
    assert!(!metrics.contains("CANARY"));
    let line = metrics.lines().find(|line| line.starts_with(&format!("switchboard_webhook_{name}")));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

async fn metric_becomes(admin: SocketAddr, name: &str, value: u64) {
    within(20, async {
        while metric(admin, name).await != value {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[test]
fn what_happens_to_a_channel_is_told_signed_and_in_order() {
    block_on(async {
        let receiver = Receiver::start(&[]).await;
        let more = format!("{EVERYTHING}\nchannel_prefixes = [\"room\"]\nheaders = {{ X-Own = \"mine\" }}");
        let config = configured(&config(&url(&receiver), &more));
        let (told, address) = (receiver.clone(), receiver.address);
        tokio::task::spawn_blocking(move || {
            with_server(&config, async |running| {
                let mut socket = native(running.address()).await;
                subscribe(&mut socket, "hall").await;
                subscribe(&mut socket, "room").await;
                receiver.hears("subscription_count room 1").await;
                let publish =
                    json!({ "type": "publish", "id": 2, "channel": "room", "event": "say", "data": { "a": 1 } });
                ask(&mut socket, &publish).await;
                receiver.hears("client_event room say").await;
                drop(socket);
                receiver.hears("channel_vacated room").await;
            });
        })
        .await
        .unwrap();
        let all = told.taken();
        assert_eq!(
            all.iter().filter(|event| !event.starts_with("subscription_count")).collect::<Vec<_>>(),
            ["channel_occupied room", "client_event room say", "channel_vacated room"]
        );
        assert_eq!(all.last().unwrap(), "channel_vacated room");
        for one in told.told() {
            one.assert_signed("shop-key", SECRET);
            assert!(one.head.starts_with("post /hook?token=canary http/1.1"), "{}", one.head);
            for line in [format!("host: {address}"), "x-own: mine".to_owned()] {
                assert!(one.head.lines().any(|known| known == line), "{}", one.head);
            }
            assert!(!one.head.contains("x-switchboard-lost"));
        }
    });
}

#[test]
fn a_failure_is_tried_again_and_a_refusal_is_not() {
    block_on(async {
        let planned = [
            "500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
            "503 Service Unavailable\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n",
            "429 Too Many Requests\r\nRetry-After: Thu, 31 Dec 2099 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
            "408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
            FAILS,
            FAILS,
            FAILS,
            OK,
            "404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
        ];
        let receiver = Receiver::start(&planned).await;
        let config = configured(&config(&url(&receiver), LIFE));
        tokio::task::spawn_blocking(move || {
            with_server(&config, async |running| {
                let admin = running.admin_address().unwrap();
                let mut socket = native(running.address()).await;
                subscribe(&mut socket, "a").await;
                let told = receiver.times(8).await;
                assert!(told.iter().all(|one| one.body == told[0].body), "{told:?}");
                metric_becomes(admin, "events_delivered", 1).await;
                assert_eq!(metric(admin, "requests_failed").await, 7);
                assert_eq!(metric(admin, "breaker").await, 0);
                for (count, channel) in [(9, "b"), (10, "c"), (11, "d")] {
                    subscribe(&mut socket, channel).await;
                    receiver.times(count).await;
                }
                metric_becomes(admin, "events_delivered", 2).await;
                assert_eq!(metric(admin, "events_refused").await, 2);
                assert_eq!(receiver.taken(), ["channel_occupied a", "channel_occupied d"]);
            });
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_receiver_inside_is_not_told_unless_it_is_allowed() {
    block_on(async {
        let receiver = Receiver::start(&[]).await;
        let text = config(&url(&receiver), LIFE).replace("127.0.0.1/32", "127.0.0.2/32");
        let config = configured(
            &text
                .replace("breaker_wait_max = \"40ms\"", "breaker_wait_max = \"1h\"")
                .replace("breaker_wait = \"20ms\"", "breaker_failures = 3\nbreaker_wait = \"1h\""),
        );
        tokio::task::spawn_blocking(move || {
            with_server(&config, async |running| {
                let admin = running.admin_address().unwrap();
                let mut socket = native(running.address()).await;
                subscribe(&mut socket, "a").await;
                metric_becomes(admin, "breaker", 2).await;
                assert_eq!(metric(admin, "queue_events").await, 1);
                assert!(receiver.told().is_empty());
            });
        })
        .await
        .unwrap();
    });
}

/// A reconnect within the grace, on whichever shard, is no coming and going.
#[test]
fn a_quick_reconnect_vacates_nothing() {
    block_on(async {
        let receiver = Receiver::start(&[]).await;
        let text = config(&url(&receiver), LIFE).replace("vacated_grace = \"20ms\"", "vacated_grace = \"1h\"");
        let config = configured(&text);
        tokio::task::spawn_blocking(move || {
            with_server(&config, async |running| {
                for _ in 0..5 {
                    let mut socket = native(running.address()).await;
                    subscribe(&mut socket, "a").await;
                    drop(socket);
                }
                let mut socket = native(running.address()).await;
                subscribe(&mut socket, "b").await;
                receiver.hears("channel_occupied b").await;
                assert_eq!(receiver.taken(), ["channel_occupied a", "channel_occupied b"]);
            });
        })
        .await
        .unwrap();
    });
}

/// Has a client subscribe to each of the channels, the next once the receiver has taken that the one before is occupied.
async fn occupy(socket: &mut Socket, receiver: &Receiver, channels: &[&str]) {
    for channel in channels {
        subscribe(socket, channel).await;
        receiver.hears(&format!("channel_occupied {channel}")).await;
    }
}

/// With a receiver that answers as planned, and a configuration.
fn told(
    planned: &'static [&'static str],
    settings: &str,
    test: impl AsyncFnOnce(Socket, Receiver, SocketAddr) + Send + 'static,
) {
    let settings = format!("[webhooks]\n{settings}");
    block_on(async move {
        let receiver = Receiver::start(planned).await;
        let config = configured(&config(&url(&receiver), LIFE).replace("[webhooks]", &settings));
        tokio::task::spawn_blocking(move || {
            with_server(&config, async |running| {
                let admin = running.admin_address().unwrap();
                test(native(running.address()).await, receiver, admin).await;
            });
        })
        .await
        .unwrap();
    });
}

#[test]
fn one_connection_serves_for_many_requests_and_no_longer_than_it_is_kept() {
    told(&[], "keep_alive = \"1h\"", async |mut socket, receiver, _| {
        occupy(&mut socket, &receiver, &["a", "b", "c", "d", "e"]).await;
        assert_eq!((receiver.connections(), receiver.told().len()), ((1, 0), 5));
        assert!(!receiver.told()[0].head.contains("connection: close"));
    });
    told(&[], "keep_alive = \"1ms\"", async |mut socket, receiver, _| {
        for (count, channel) in [(1, "a"), (2, "b")] {
            occupy(&mut socket, &receiver, &[channel]).await;
            receiver.has_connections((count, count)).await;
        }
    });
    told(&[], "keep_alive = \"0s\"", async |mut socket, receiver, _| {
        for (count, channel) in [(1, "a"), (2, "b")] {
            occupy(&mut socket, &receiver, &[channel]).await;
            receiver.has_connections((count, count)).await;
        }
        assert!(receiver.told()[0].head.contains("connection: close"));
    });
}

/// A receiver that ends a connection while nobody asks, or as the next request comes, has neither failed nor missed anything.
#[test]
fn what_meets_the_end_of_a_kept_connection_is_sent_over_another() {
    const IDLE_END: &str = "200 OK\r\nContent-Length: 0\r\nX-Plan: hang up\r\n\r\n";
    const SAID: &str = "200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    told(&[IDLE_END, OK, NOTHING, OK, SAID], "keep_alive = \"1h\"", async |mut socket, receiver, admin| {
        occupy(&mut socket, &receiver, &["a", "b", "c", "d", "e"]).await;
        let bodies: Vec<_> = receiver.told().into_iter().map(|told| (told.taken, told.events())).collect();
        let occupied = |taken, channel| (taken, vec![format!("channel_occupied {channel}")]);
        // What the receiver had read and not answered comes a second time: it cannot be known that it was not taken.
        let twice = [(true, "a"), (true, "b"), (false, "c"), (true, "c"), (true, "d"), (true, "e")];
        assert_eq!(bodies, twice.map(|(taken, channel)| occupied(taken, channel)));
        metric_becomes(admin, "events_delivered", 5).await;
        assert_eq!(metric(admin, "requests_failed").await, 0);
        receiver.has_connections((4, 1)).await;
    });
    // What is no HTTP is an answer all the same, and that of a receiver that fails.
    told(&[OK, "what?\r\n\r\n"], "keep_alive = \"1h\"", async |mut socket, receiver, admin| {
        occupy(&mut socket, &receiver, &["a", "b"]).await;
        metric_becomes(admin, "requests_failed", 1).await;
        assert_eq!(receiver.told().len(), 3);
    });
    // Over a connection of its own it has failed.
    told(&[NOTHING], "keep_alive = \"1h\"", async |mut socket, receiver, admin| {
        occupy(&mut socket, &receiver, &["a"]).await;
        metric_becomes(admin, "requests_failed", 1).await;
    });
}

/// The status counts, whether or not the rest of the answer comes.
#[test]
fn an_answer_that_does_not_end_takes_the_events_and_the_connection() {
    const HALF: &str = "200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    told(&[HALF], "keep_alive = \"1h\"\ntimeout = \"20s\"", async |mut socket, receiver, admin| {
        occupy(&mut socket, &receiver, &["a", "b"]).await;
        metric_becomes(admin, "events_delivered", 2).await;
        assert_eq!((metric(admin, "requests_failed").await, receiver.told().len()), (0, 2));
        receiver.has_connections((2, 1)).await;
    });
}

#[test]
fn the_connection_of_a_webhook_that_is_configured_no_more_ends() {
    block_on(async {
        let (receiver, other) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
        let text =
            |receiver: &Receiver| config(&url(receiver), LIFE).replace("[webhooks]", "[webhooks]\nkeep_alive = \"1h\"");
        let (before, after) = (configured(&text(&receiver)), configured(&text(&other)));
        tokio::task::spawn_blocking(move || {
            with_server(&before, async |running| {
                let mut socket = native(running.address()).await;
                occupy(&mut socket, &receiver, &["a"]).await;
                running.reconfigure(&after).await.unwrap();
                occupy(&mut socket, &other, &["b"]).await;
                receiver.has_connections((1, 1)).await;
                assert_eq!(other.connections(), (1, 0));
            });
        })
        .await
        .unwrap();
    });
}

/// Whatever was written down is told by the next process, whether the one before ended in order or not.
#[test]
fn what_waits_survives_kill_9_and_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("switchboard.toml");
    block_on(async {
        // Nobody listens yet, and nobody else gets the port: it is bound all the time.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = socket.local_addr().unwrap();
        // Many in one file, so that it is written anew too.
        let text = config(&format!("http://{target}/"), r#"events = ["client_event"]"#);
        std::fs::write(&file, text).unwrap();
        let data = folder.path().join("data");
        let arguments = ["--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()];
        let mut sent = Vec::new();
        for round in 0..4 {
            let mut serving = Serving::start(&arguments);
            metric_becomes(serving.admin, "queue_events", sent.len() as u64).await;
            let mut socket = native(serving.address).await;
            for count in 0..50 {
                let event = format!("e{round}-{count}");
                let answer = ask(
                    &mut socket,
                    &json!({ "type": "publish", "id": 1, "channel": "c", "event": event, "data": "x".repeat(1_000) }),
                )
                .await;
                assert_eq!(answer["type"], "ok", "{answer}");
                sent.push(format!("client_event c {event}"));
            }
            // Accepted is what was written down: the gauge counts it no earlier.
            metric_becomes(serving.admin, "queue_events", sent.len() as u64).await;
            assert_eq!(metric(serving.admin, "queue_writable").await, 1);
            drop(socket);
            if round % 2 == 0 {
                serving.child.kill().unwrap();
                serving.child.wait().unwrap();
            } else {
                serving.stop();
            }
        }
        // Damage costs what it hits.
        let queue = data.join("webhooks/queue");
        let mut bytes = std::fs::read(&queue).unwrap();
        bytes.extend_from_slice(b"0123456789abcdef event 0 9");
        std::fs::write(&queue, bytes).unwrap();

        let receiver = Receiver::start_on(socket.listen(16).unwrap(), &[FAILS]);
        let serving = Serving::start(&arguments);
        receiver.hears(sent.last().unwrap()).await;
        assert_eq!(receiver.taken(), sent);
        metric_becomes(serving.admin, "queue_events", 0).await;
        serving.stop();
        let serving = Serving::start(&arguments);
        assert_eq!(metric(serving.admin, "queue_events").await, 0);
        serving.stop();
        assert_eq!(receiver.taken(), sent);
    });
}

/// A restart is no coming and going: who is back in time is not told again, who is not is told as gone. In the second process everybody would be in time,
/// in the third nobody is; which of several are is told by the ledger's own test.
#[test]
fn what_was_told_stays_so_across_an_end_of_the_process() {
    for in_order in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        block_on(async {
            let receiver = Receiver::start(&[]).await;
            let (mut serving, mut socket) = begin_again(folder.path(), &receiver, "1h").await;
            for channel in ["kept", "left"] {
                subscribe(&mut socket, channel).await;
                receiver.hears(&format!("channel_occupied {channel}")).await;
            }
            // What it has heard is noted.
            metric_becomes(serving.admin, "events_delivered", 2).await;
            end(serving, socket, in_order).await;
            (serving, socket) = begin_again(folder.path(), &receiver, "1h").await;
            for channel in ["kept", "new"] {
                subscribe(&mut socket, channel).await;
            }
            receiver.hears("channel_occupied new").await;
            metric_becomes(serving.admin, "events_delivered", 1).await;
            end(serving, socket, in_order).await;
            (serving, socket) = begin_again(folder.path(), &receiver, "1ms").await;
            for channel in ["kept", "left", "new"] {
                receiver.hears(&format!("channel_vacated {channel}")).await;
            }
            end(serving, socket, true).await;
            let mut taken = receiver.taken();
            taken[3..].sort();
            let expected =
                ["occupied kept", "occupied left", "occupied new", "vacated kept", "vacated left", "vacated new"];
            assert_eq!(taken, expected.map(|event| format!("channel_{event}")));
        });
    }
}

/// A server on the same folder as the one before, and a client of it.
async fn begin_again(folder: &Path, receiver: &Receiver, grace: &str) -> (Serving, Socket) {
    let (file, data) = (folder.join("switchboard.toml"), folder.join("data"));
    let more = format!("[server]\ndrain_window = \"1ms\"\n[webhooks]\nrestart_grace = \"{grace}\"");
    std::fs::write(&file, config(&url(receiver), LIFE).replace("[webhooks]", &more)).unwrap();
    let serving = Serving::start(&["--config", file.to_str().unwrap(), "--data-dir", data.to_str().unwrap()]);
    let socket = native(serving.address).await;
    (serving, socket)
}

async fn end(mut serving: Serving, mut socket: Socket, in_order: bool) {
    if !in_order {
        serving.child.kill().unwrap();
        serving.child.wait().unwrap();
        return;
    }
    serving.signal("TERM");
    // The server waits for the client's Close.
    within(20, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    assert_eq!(serving.wait().0, Some(0));
}

#[test]
fn what_can_be_told_at_the_end_is_told() {
    block_on(async {
        let receiver = Receiver::start(&[FAILS]).await;
        let config = configured(&config(&url(&receiver), LIFE).replace("batch_wait = \"1ms\"", "batch_wait = \"1h\""));
        let told = receiver.clone();
        tokio::task::spawn_blocking(move || {
            with_server(&config, async |running| {
                let mut socket = native(running.address()).await;
                subscribe(&mut socket, "a").await;
                assert!(receiver.told().is_empty());
            });
        })
        .await
        .unwrap();
        assert!(told.taken().is_empty(), "a receiver that fails is not waited for at the end");
        assert_eq!(told.told().len(), 1);
    });
}
