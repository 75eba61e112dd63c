//! Who is not let in, and how that is said.

use crate::client::Client;
use crate::{block_on, start};
use switchboard_core::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends bytes and returns all that comes back before the server hangs up.
async fn exchange(server: &switchboard_net::Server, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    // The server may hang up before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn upgrade(path: &str, change: &[(&str, &str)]) -> Vec<u8> {
    let mut headers = vec![
        ("Host", "127.0.0.1"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    for (name, value) in change {
        headers.retain(|(known, _)| known != name);
        if !value.is_empty() {
            headers.push((name, value));
        }
    }
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\n{headers}\r\n").into_bytes()
}

#[test]
fn each_fault_of_a_handshake_has_its_status() {
    let server = start(Limits::default(), |_| {});
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let huge = format!("GET /ws HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (upgrade("/ws", &[("Sec-WebSocket-Version", "8")]), "HTTP/1.1 426"),
        (upgrade("/ws", &[("Sec-WebSocket-Key", "short")]), "HTTP/1.1 400"),
        (upgrade("/ws", &[("Sec-WebSocket-Key", "")]), "HTTP/1.1 400"),
        (upgrade("/ws", &[("Origin", "https://evil.example")]), "HTTP/1.1 403"),
        (upgrade("/ws/nobody", &[]), "HTTP/1.1 404"),
        (upgrade("/raw/a%23b", &[]), "HTTP/1.1 400"),
        (upgrade("/raw/a?app=closed", &[]), "HTTP/1.1 401"),
        (upgrade("/ws/closed", &[("Authorization", "Bearer wrong")]), "HTTP/1.1 401"),
        (upgrade("/raw/other?app=closed", &[("Authorization", "Bearer ANN")]), "HTTP/1.1 403"),
        (b"nonsense\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (format!("GET /ws HTTP/1.1\r\nHost: a\r\n{many}\r\n").into_bytes(), "HTTP/1.1 431"),
        (huge.into_bytes(), "HTTP/1.1 431"),
    ];
    block_on(async {
        for (request, status) in cases {
            let answer = exchange(&server, &request).await;
            assert!(
                answer.starts_with(status),
                "{status} for {}: {answer}",
                String::from_utf8_lossy(&request[..60.min(request.len())])
            );
            assert!(!answer.contains("wrong"), "{answer}");
        }
        // And the next one is served.
        Client::connect_with(&server, "/ws/closed", &[("Authorization", "Bearer ANN")]).await.unwrap();
    });
    server.stop();
}

#[test]
fn a_good_handshake_is_answered_with_the_accept_of_its_key_and_not_with_the_token() {
    let server = start(Limits::default(), |_| {});
    let protocols = [("Sec-WebSocket-Protocol", "switchboard.v1.json, switchboard.token.ANN")];
    block_on(async {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(&upgrade("/ws/closed", &protocols)).await.unwrap();
        let mut answer = vec![0; 4_096];
        let count = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).to_lowercase();
        assert!(answer.starts_with("http/1.1 101"), "{answer}");
        assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
        assert!(answer.contains("sec-websocket-protocol: switchboard.v1.json\r\n"), "{answer}");
    });
    server.stop();
}

#[test]
fn frames_sent_together_with_the_request_are_not_lost() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let mut bytes = upgrade("/chat", &[]);
        bytes.extend_from_slice(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(&[0x81, 2, b'h', b'i']) {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{answer:?}");
        }
    });
    server.stop();
}

#[test]
fn too_many_connections_are_turned_away() {
    let server = start(Limits::default(), |settings| settings.connections_per_address = 2);
    block_on(async {
        let first = Client::connect(&server, "/chat").await;
        let _second = Client::connect(&server, "/chat").await;
        let answer = exchange(&server, &upgrade("/chat", &[])).await;
        assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("Retry-After"), "{answer}");
        drop(first);
        for _ in 0..500 {
            if Client::connect_with(&server, "/chat", &[]).await.is_ok() {
                return;
            }
            tokio::time::sleep(core::time::Duration::from_millis(10)).await;
        }
        panic!("the place is not given back");
    });
    server.stop();
}

#[test]
fn a_client_that_does_not_finish_its_request_is_cut_off() {
    let server = start(Limits::default(), |settings| settings.header_timeout = core::time::Duration::from_millis(300));
    block_on(async {
        let answer = exchange(&server, b"GET /ws HTTP/1.1\r\nHost").await;
        assert!(!answer.contains("101"), "{answer}");
    });
    server.stop();
}

/// What could have become HTTP/2 is no reason to wait for more: a client that has ended sends nothing else.
#[test]
fn a_client_that_ends_within_its_first_bytes_is_let_go_at_once() {
    let server = start(Limits::default(), |settings| settings.header_timeout = core::time::Duration::from_secs(3_600));
    block_on(async {
        for beginning in ["P", "PR", "G", ""] {
            let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
            stream.write_all(beginning.as_bytes()).await.unwrap();
            // In some of the runs the bytes are looked at before the end comes.
            tokio::task::yield_now().await;
            stream.shutdown().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
        }
    });
    server.stop();
}

#[test]
fn other_requests_go_to_the_api() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let answer = exchange(&server, b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    });
    server.stop();
}
