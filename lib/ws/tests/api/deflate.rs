//! Compression over real handshakes: who agrees to what, and that messages are compressed then and only then.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use switchboard_ws::deflate::{Policy, Tuning, compress_frame};
use switchboard_ws::handshake::Rejection;
use switchboard_ws::{AcceptError, AcceptOptions, CloseCode, Connector, Opcode, WebSocket, accept_with, read_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::io::InspectReader;

use crate::support::*;

/// Counts what is read.
type Counting = Box<dyn FnMut(&[u8]) + Send>;

struct Pair {
    client: WebSocket<InspectReader<DuplexStream, Counting>>,
    server: WebSocket<DuplexStream>,
    /// What the client has read.
    count: Arc<AtomicUsize>,
    agreed: Option<String>,
}

async fn pair(client: Option<Policy>, server: Option<Policy>) -> Pair {
    let (near, far) = duplex(1 << 20);
    let count = Arc::new(AtomicUsize::new(0));
    let connector = Connector::new().deflate(client);
    let options = AcceptOptions::default().deflate(server);
    let read = count.clone();
    let counting: Counting = Box::new(move |bytes| _ = read.fetch_add(bytes.len(), Ordering::Relaxed));
    let connect = connector.connect_over("ws://a/", InspectReader::new(near, counting));
    let (connected, accepted) = soon(async { tokio::join!(connect, accept_with(far, &options)) }).await;
    let (client, response) = connected.unwrap();
    let agreed = response.deflate.map(|params| params.to_string());
    count.store(0, Ordering::Relaxed);
    Pair { client, server: accepted.unwrap(), count, agreed }
}

#[tokio::test]
async fn who_agrees_to_what() {
    let alone = Policy::default();
    let with_context = alone.context_takeover(true).peer_context_takeover(true);
    let table = [
        (None, None, None),
        (Some(alone), None, None),
        (None, Some(alone), None),
        (Some(with_context), Some(with_context), Some("permessage-deflate")),
        (
            Some(alone),
            Some(with_context),
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        ),
        (Some(with_context), Some(with_context.window_bits(10)), Some("permessage-deflate; server_max_window_bits=10")),
    ];
    for (client, server, expected) in table {
        let mut pair = pair(client, server).await;
        assert_eq!(pair.agreed.as_deref(), expected);
        assert_eq!(pair.server.deflate_window_bits().is_some(), expected.is_some());
        assert_eq!(pair.client.deflate_window_bits().is_some(), expected.is_some());
        let text = "again and again ".repeat(100);
        for _ in 0..3 {
            pair.server.send(text.clone()).await.unwrap();
            pair.client.send(text.clone()).await.unwrap();
            assert_eq!(soon(pair.client.recv()).await.unwrap().unwrap().as_text(), Some(&*text));
            assert_eq!(soon(pair.server.recv()).await.unwrap().unwrap().as_text(), Some(&*text));
        }
        let compressed = pair.count.load(Ordering::Relaxed) < text.len();
        assert_eq!(compressed, expected.is_some(), "{expected:?}");
    }
}

#[tokio::test]
async fn settings_belong_to_one_connection() {
    let (near, far) = duplex(1 << 16);
    let policy = Policy::default();
    let connector = Connector::new().deflate(Some(policy.context_takeover(true)));
    let serving = tokio::spawn(async move {
        let mut pending = read_request(far, &AcceptOptions::default()).await.unwrap();
        assert_eq!(pending.request().upgrade.extensions.len(), 1);
        pending.set_deflate(Some(policy.tuning(Tuning { message_bytes_min: 1 << 20, ..Tuning::default() })));
        pending.accept(None, &[]).await.unwrap()
    });
    let (mut client, response) = soon(connector.connect_over("ws://a/", near)).await.unwrap();
    assert!(response.deflate.is_some());
    let mut server = serving.await.unwrap();
    server.feed("x".repeat(1000)).await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap().len(), 1000);
}

#[tokio::test]
async fn one_frame_for_many() {
    let frame = compress_frame(Opcode::Text, "news ".repeat(100).as_bytes(), 9, Tuning::default());
    for takeover in [true, false] {
        let policy = Policy::default().context_takeover(takeover).peer_context_takeover(takeover);
        let mut pair = pair(Some(policy), Some(policy)).await;
        for _ in 0..3 {
            pair.server.feed_encoded(frame.clone()).await.unwrap();
            pair.server.send("news ".repeat(40)).await.unwrap();
            assert_eq!(soon(pair.client.recv()).await.unwrap().unwrap().len(), 500);
            assert_eq!(soon(pair.client.recv()).await.unwrap().unwrap().len(), 200);
        }
    }
    let mut plain = pair(None, None).await;
    assert!(plain.server.feed_encoded(frame).await.is_err());
}

#[tokio::test]
async fn a_malformed_offer_is_refused() {
    for (policy, refused) in [(Some(Policy::default()), true), (None, false)] {
        let (mut near, far) = duplex(1 << 16);
        let request = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Extensions: permessage-deflate;;\r\n\r\n";
        near.write_all(request.as_bytes()).await.unwrap();
        let serving =
            tokio::spawn(async move { accept_with(far, &AcceptOptions::default().deflate(policy)).await.map(drop) });
        let mut response = [0; 12];
        soon(near.read_exact(&mut response)).await.unwrap();
        assert_eq!(&response[..], if refused { b"HTTP/1.1 400" } else { b"HTTP/1.1 101" });
        drop(near);
        let served = soon(serving).await.unwrap();
        assert_eq!(matches!(served, Err(AcceptError::Rejected(Rejection::InvalidHeader(_)))), refused, "{served:?}");
    }
}

#[tokio::test]
async fn a_compressed_message_comes_in_pieces() {
    // A pipe of a few bytes, so that every frame is cut many times, both ways at once.
    let (near, far) = duplex(7);
    let policy = Policy::default().context_takeover(true).peer_context_takeover(true);
    let (connector, options) = (Connector::new().deflate(Some(policy)), AcceptOptions::default().deflate(Some(policy)));
    let serving = tokio::spawn(async move { echo(accept_with(far, &options).await.unwrap()).await });
    let (mut client, _) = soon(connector.connect_over("ws://a/", near)).await.unwrap();
    for round in 0..20 {
        let text: String = (0..500).map(|number| format!("{} ", number * round)).collect();
        client.send(text.clone()).await.unwrap();
        assert_eq!(soon(client.recv()).await.unwrap().unwrap().as_text(), Some(&*text));
    }
    soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
    soon(serving).await.unwrap().unwrap();
}
