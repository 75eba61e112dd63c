//! How connections end: by the client, by its faults, by silence, by shutdown.

use crate::client::Client;
use crate::plain::Http;
use crate::{bind, block_on, start};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::Limits;
use switchboard_ws_proto::CloseCode;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

#[test]
fn a_close_is_echoed_and_the_server_closes_first() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut client = Client::connect(&server, "/chat").await;
        client.ws.close(CloseCode::NORMAL, "bye").unwrap();
        assert_eq!(client.close_frame().await.map(|frame| frame.code), Some(CloseCode::NORMAL));
    });
    server.stop();
}

#[test]
fn broken_frames_end_one_connection_and_no_other() {
    let server = start(Limits::default(), |_| {});
    let faults: [(&[u8], u16); 6] = [
        (&[0x81, 0x01, b'x'], 1002),                                  // not masked
        (&[0xc1, 0x80, 0, 0, 0, 0], 1002),                            // RSV1
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),                            // a reserved opcode
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),                      // not UTF-8
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], 1009),    // 64 KiB and more
        (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002), // the top bit
    ];
    block_on(async {
        let mut innocent = Client::connect(&server, "/chat").await;
        for (frame, code) in faults {
            let mut client = Client::connect(&server, "/chat").await;
            client.stream.write_all(frame).await.unwrap();
            assert_eq!(client.close_frame().await.map(|frame| frame.code.as_u16()), Some(code), "{frame:x?}");
            innocent.send("still here").await;
            assert_eq!(innocent.text().await, "still here");
        }
        assert_eq!(server.hub().stats().total.protocol_errors, 6);
    });
    server.stop();
}

#[test]
fn a_silent_peer_is_dropped_in_bounded_time_and_a_living_one_is_not() {
    let limits = Limits {
        heartbeat: Duration::from_millis(300),
        heartbeat_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let server = start(limits, |_| {});
    block_on(async {
        // This one never answers pings, since nobody drives it.
        let silent = Client::connect(&server, "/chat").await;
        let mut living = Client::connect(&server, "/chat").await;
        let living = tokio::spawn(async move { living.event().await.map(|event| format!("{event:?}")) });
        for _ in 0..1_000 {
            if server.hub().stats().total.unresponsive == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let stats = server.hub().stats().total;
        assert_eq!(stats.unresponsive, 1, "{stats:?}");
        let first = living.await.unwrap();
        assert!(first.as_deref().is_some_and(|event| event.starts_with("Ping")), "{first:?}");
        drop(silent);
    });
    server.stop();
}

#[test]
fn a_shutdown_tells_everybody_and_waits_for_them() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(&server, "/ws").await;
            client.text().await;
            clients.push(client);
        }
        let readers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                tokio::spawn(async move {
                    let last_words = client.text().await;
                    (last_words, client.close_frame().await.unwrap())
                })
            })
            .collect();
        server.drain(Duration::from_millis(200)).await;
        for reader in readers {
            let (last_words, close) = reader.await.unwrap();
            assert!(last_words.starts_with(r#"{"type":"disconnect","code":1001"#), "{last_words}");
            assert_eq!(close.code, CloseCode::GOING_AWAY);
        }
        assert_eq!(server.hub().stats().total.connections, 0);
        assert!(tokio::net::TcpStream::connect(server.local_addr()).await.is_err());
    });
    server.stop();
}

#[test]
fn a_shutdown_waits_for_requests_and_for_no_idle_connection() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (bound, _) = bind(Limits::default(), |settings| settings.header_timeout = Duration::from_secs(3_600));
    let slow = {
        let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
        async move || {
            entered.notify_one();
            release.notified().await;
            "at last"
        }
    };
    let server = bound.serve(&axum::Router::new().route("/slow", axum::routing::get(slow))).unwrap();
    block_on(async {
        let [mut asking, mut idle, silent] =
            [Http::connect(&server).await, Http::connect(&server).await, Http::connect(&server).await];
        idle.ask("GET /sse", "").await;
        assert_eq!(idle.answer().await.0, 400);
        asking.ask("GET /slow", "").await;
        entered.notified().await;
        let mut draining = core::pin::pin!(server.drain(Duration::ZERO));
        tokio::select! { rest = idle.rest() => assert_eq!(rest, ""), () = &mut draining => panic!("not waited for") }
        let early = tokio::time::timeout(Duration::from_millis(100), &mut draining).await;
        assert!(early.is_err(), "the request was not waited for");
        release.notify_one();
        draining.await;
        assert!(asking.rest().await.ends_with("at last"));
        drop(silent);
    });
    server.stop();
}

#[test]
fn a_bug_that_one_client_meets_ends_its_connection_and_no_other() {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    block_on(async {
        let mut innocent = Client::connect(&server, "/chat").await;
        for _ in 0..3 {
            let mut unlucky = Client::connect(&server, "/ws").await;
            unlucky.text().await;
            unlucky.send(r#"{"type":"subscribe","channel":"chat"}"#).await;
            unlucky.text().await;
            unlucky.send(r#"{"type":"authenticate","token":"PANIC"}"#).await;
            assert!(unlucky.event().await.is_none_or(|event| matches!(event, switchboard_ws_proto::Event::Eof { .. })));
            innocent.send("still here").await;
            assert_eq!(innocent.text().await, "still here");
        }
        assert_eq!(server.hub().stats().total.connections, 1);
    });
    server.stop();
}

#[test]
fn a_connection_that_ends_late_does_not_take_the_place_of_the_next() {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    block_on(async {
        // Its session ends with the fault, its socket only when the client lets go.
        let mut failed = Client::connect(&server, "/chat").await;
        failed.stream.write_all(&[0x81, 0x01, b'x']).await.unwrap();
        while !matches!(failed.event().await, Some(switchboard_ws_proto::Event::Close(_))) {}
        let mut next = Client::connect(&server, "/chat").await;
        drop(failed);
        for _ in 0..50 {
            next.send("still here").await;
            assert_eq!(next.text().await, "still here");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    server.stop();
}
