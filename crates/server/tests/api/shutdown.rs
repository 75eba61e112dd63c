//! The end of a server: clients are told, nobody new comes in, the exit code says that all went well.

use crate::binary::Serving;
use crate::support::{ask, block_on, connect, native, receive, request, within};
use core::time::Duration;
use serde_json::json;
use std::time::Instant;
use switchboard_ws::Connector;

#[test]
fn sigterm_sends_everybody_away_and_ends_well() {
    let serving = Serving::start_with(&[], |command| command.env("SWITCHBOARD_SERVER__DRAIN_WINDOW", "3s"));
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(native(serving.address).await);
        }
        let mut raw = connect(&serving.url("/chat")).await;
        ask(&mut clients[0], &json!({ "type": "subscribe", "id": 1, "channel": "c" })).await;
        assert_eq!(request(serving.admin, "GET /readyz", "").await.status, 200);

        serving.signal("TERM");
        let begin = Instant::now();
        // Readiness goes off while clients are still served.
        let unready = async {
            while request(serving.admin, "GET /readyz", "").await.status == 200 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(2, unready).await;
        // And then nobody new comes in.
        let refused = async { while Connector::new().connect(&serving.url("/ws")).await.is_ok() {} };
        within(1, refused).await;

        for client in &mut clients {
            let message = receive(client).await;
            assert_eq!((&message["type"], &message["code"]), (&json!("disconnect"), &json!(1001)), "{message}");
            assert_eq!(message["reconnect"], true);
            assert!(message["after_ms"].is_u64(), "{message}");
            assert!(within(10, client.recv()).await.is_none());
            assert_eq!(u16::from(client.close_frame().unwrap().code), 1001);
        }
        assert!(within(10, raw.recv()).await.is_none());
        assert_eq!(u16::from(raw.close_frame().unwrap().code), 1001);
        assert!(begin.elapsed() < Duration::from_secs(5));
    });
    let (code, _, log) = serving.wait();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("shutting down") && log.contains("has stopped"), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let serving = Serving::start_with(&[], |command| command.env("SWITCHBOARD_SERVER__DRAIN_WINDOW", "1h"));
    let begin = Instant::now();
    block_on(async {
        let _clients = [native(serving.address).await, native(serving.address).await, native(serving.address).await];
        serving.signal("TERM");
        tokio::time::sleep(Duration::from_millis(300)).await;
        serving.signal("TERM");
        let (code, _, log) = serving.wait();
        assert_eq!(code, Some(143), "{log}");
    });
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn without_clients_it_ends_without_waiting() {
    let serving = Serving::start_with(&[], |command| command.env("SWITCHBOARD_SERVER__DRAIN_WINDOW", "1h"));
    let begin = Instant::now();
    serving.signal("INT");
    assert_eq!(serving.wait().0, Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_supervisor_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let supervisor = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let serving = Serving::start_with(&[], |command| command.env("NOTIFY_SOCKET", &path));
    let mut buffer = [0; 64];
    let mut told = || {
        let length = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(told(), "READY=1");
    serving.signal("TERM");
    assert_eq!(told(), "STOPPING=1");
    assert_eq!(serving.wait().0, Some(0));
}
