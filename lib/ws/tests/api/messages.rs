//! Messages of all sizes, through pipes of all sizes.

use bytes::Bytes;
use futures_util::stream::FusedStream;
use futures_util::{SinkExt, StreamExt};
use switchboard_ws::{CloseCode, Config, Error, Limits, Message, Opcode, ProtocolError, Received};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

const SIZES: &[usize] = &[0, 1, 20, 125, 126, 4095, 4096, 16_384, 65_535, 65_536, 70_000, 300_000, 1 << 20];

#[tokio::test]
async fn every_size_comes_back_over_tcp() {
    let (mut client, server) = tcp(Config::default()).await;
    let server = tokio::spawn(echo(server));
    for &size in SIZES {
        let message = Message::from(vec![b'x'; size]);
        soon(client.send(message.clone())).await.unwrap();
        assert!(soon(client.recv()).await.unwrap().unwrap() == message, "{size}");
        let text = Message::from("é".repeat(size / 2));
        soon(client.send(text.clone())).await.unwrap();
        assert!(soon(client.recv()).await.unwrap().unwrap() == text, "{size}");
    }
    soon(client.close(CloseCode::NORMAL, "done")).await.unwrap();
    assert!(client.recv().await.is_none());
    soon(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn every_size_comes_back_through_a_narrow_pipe() {
    for capacity in [1, 7, 1000, 100_000] {
        let (mut client, server) = pipe(capacity);
        let server = tokio::spawn(echo(server));
        for &size in SIZES.iter().filter(|&&size| size / capacity < 20_000) {
            let message = Message::from(vec![7; size]);
            soon(client.send(message.clone())).await.unwrap();
            assert!(soon(client.recv()).await.unwrap().unwrap() == message, "{size} through {capacity}");
        }
        soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
        soon(server).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn many_at_once_come_back_in_order() {
    let (mut client, server) = tcp(Config::default()).await;
    let server = tokio::spawn(echo(server));
    for number in 0..1000 {
        client.feed(number.to_string()).await.unwrap();
    }
    soon(client.flush()).await.unwrap();
    for number in 0..1000 {
        assert_eq!(soon(client.recv()).await.unwrap().unwrap().as_text(), Some(&*number.to_string()));
    }
    drop(client);
    assert!(matches!(soon(server).await.unwrap(), Err(Error::ConnectionLost | Error::Io(_))));
}

#[tokio::test]
async fn fed_answers_leave_in_one_write_before_recv_waits() {
    let (client, mut server) = pipe(1 << 16);
    let mut raw = client.into_inner();
    raw.write_all(b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b\x81\x81\0\0\0\0c").await.unwrap();
    for _ in 0..3 {
        let message = server.recv().await.unwrap().unwrap();
        server.feed(message).await.unwrap();
    }
    let mut bytes = [0; 9];
    // Nothing is written until `recv` has nothing more to give.
    assert!(futures_util::FutureExt::now_or_never(raw.read(&mut bytes)).is_none());
    assert!(futures_util::FutureExt::now_or_never(server.recv()).is_none());
    assert_eq!(soon(raw.read(&mut bytes)).await.unwrap(), 9);
    assert_eq!(&bytes, b"\x81\x01a\x81\x01b\x81\x01c");
}

#[tokio::test]
async fn fragments_both_ways() {
    let (mut client, mut server) = pipe(100);
    let sending = async {
        client.feed_fragment(Opcode::Text, false, Bytes::from_static(b"one ")).await.unwrap();
        client.ping(b"between").await.unwrap();
        client.feed_fragment(Opcode::Continuation, true, Bytes::from_static(b"two")).await.unwrap();
        client.flush().await.unwrap();
    };
    let (message, ()) = tokio::join!(soon(server.recv()), soon(sending));
    assert_eq!(message.unwrap().unwrap().as_text(), Some("one two"));
}

#[tokio::test]
async fn stream_and_sink() {
    let (mut client, server) = pipe(1000);
    let (mut sink, mut stream) = StreamExt::split(server);
    let server = tokio::spawn(async move {
        while let Some(message) = stream.next().await {
            SinkExt::send(&mut sink, message.unwrap()).await.unwrap();
        }
    });
    for text in ["a", "b", "c"] {
        client.feed(text).await.unwrap();
    }
    SinkExt::<Message>::flush(&mut client).await.unwrap();
    for text in ["a", "b", "c"] {
        assert_eq!(soon(client.next()).await.unwrap().unwrap().as_text(), Some(text));
    }
    soon(SinkExt::<Message>::close(&mut client)).await.unwrap();
    assert!(soon(client.next()).await.is_none());
    soon(server).await.unwrap();
}

#[tokio::test]
async fn limits_are_the_callers() {
    let config = Config::default().limits(Limits { message_bytes_max: 10, ..Limits::default() });
    let (mut client, mut server) = pipe_with(1000, config);
    client.send("0123456789").await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap().len(), 10);
    client.send("0123456789a").await.unwrap();
    let (at_server, at_client) = tokio::join!(soon(server.recv()), soon(client.recv()));
    assert!(matches!(at_server, Some(Err(Error::Protocol(ProtocolError::MessageTooBig { bytes: 11, max: 10 })))));
    assert!(at_client.is_none());
    assert_eq!(client.close_frame().unwrap().code, CloseCode::MESSAGE_TOO_BIG);
    assert!(server.recv().await.is_none(), "an error is told once");
    assert!(server.send("x").await.is_err());
}

#[tokio::test]
async fn pings_and_pongs_are_told_to_whoever_asks_and_are_answered_all_the_same() {
    let (mut client, mut server) = tcp(Config::default()).await;
    server.ping(b"there?").await.unwrap();
    server.send("hello").await.unwrap();
    assert_eq!(soon(client.recv_event()).await.unwrap().unwrap(), Received::Ping(Bytes::from_static(b"there?")));
    assert_eq!(soon(client.recv_event()).await.unwrap().unwrap(), Received::Message(Message::from("hello")));
    client.send("answer").await.unwrap();
    assert_eq!(soon(server.recv_event()).await.unwrap().unwrap(), Received::Pong(Bytes::from_static(b"there?")));
    let (mut receiver, _sender) = server.split();
    assert_eq!(soon(receiver.recv_event()).await.unwrap().unwrap(), Received::Message(Message::from("answer")));
}

/// As a proxy has it, which leaves the answer to the other end.
#[tokio::test]
async fn pings_may_be_left_to_the_caller() {
    let (mut client, mut server) = pipe_with(1000, Config::default().answer_pings(false));
    client.ping(b"there?").await.unwrap();
    client.send("next").await.unwrap();
    let Some(Ok(Received::Ping(asked))) = soon(server.recv_event()).await else { panic!() };
    server.send("before the answer").await.unwrap();
    server.pong(&asked).await.unwrap();
    assert!(matches!(soon(client.recv_event()).await, Some(Ok(Received::Message(_)))));
    assert_eq!(soon(client.recv_event()).await.unwrap().unwrap(), Received::Pong(Bytes::from_static(b"there?")));
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("next"));
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_is_told_and_not_answered() {
    let (mut client, server) = pipe(1000);
    client.pong(b"alive").await.unwrap();
    let (mut receiver, mut sender) = server.split();
    sender.pong(b"so am I").await.unwrap();
    assert_eq!(soon(receiver.recv_event()).await.unwrap().unwrap(), Received::Pong(Bytes::from_static(b"alive")));
    assert_eq!(soon(client.recv_event()).await.unwrap().unwrap(), Received::Pong(Bytes::from_static(b"so am I")));
    assert!(matches!(client.pong(&[0; 126]).await, Err(Error::Send(_))));
    sender.send("the next").await.unwrap();
    assert_eq!(soon(client.recv_event()).await.unwrap().unwrap(), Received::Message("the next".into()));
}

#[tokio::test]
async fn a_stream_knows_when_it_has_ended() {
    for fails in [false, true] {
        let (mut client, server) = pipe(1000);
        assert!(client.is_open() && !client.is_terminated());
        let mut server = Some(server);
        if fails {
            // Without a Close.
            server = None;
        }
        let ending = async {
            if let Some(server) = &mut server {
                server.close(CloseCode::NORMAL, "").await.unwrap();
            }
        };
        let told = async {
            let first = client.next().await;
            assert_eq!(first.is_some(), fails, "the error, and nothing else");
            assert!(!client.is_open());
            if fails {
                assert!(client.next().await.is_none());
            }
            client.is_terminated()
        };
        let ((), ended) = soon(async { tokio::join!(ending, told) }).await;
        assert!(ended);
    }
}

#[tokio::test]
async fn what_is_borrowed_may_be_sent_too() {
    let (client, mut server) = pipe(100_000);
    let (mut receiver, mut sender) = client.split();
    let text = "line\n".repeat(2000);
    let bytes = [7; 10_000];
    sender.send_text(&text).await.unwrap();
    sender.feed_binary(&bytes[1..]).await.unwrap();
    sender.feed_text(&text[..4]).await.unwrap();
    sender.send_binary(&[]).await.unwrap();
    let expected = [Message::from(text.clone()), bytes[1..].to_vec().into(), "line".into(), Vec::new().into()];
    for expected in &expected {
        assert!(soon(server.recv()).await.unwrap().unwrap() == *expected);
    }
    server.feed_text(&text).await.unwrap();
    server.send_binary(&bytes[1..]).await.unwrap();
    server.feed_binary(&[]).await.unwrap();
    server.send_text(&text[..4]).await.unwrap();
    for index in [0, 1, 3, 2] {
        assert!(soon(receiver.recv()).await.unwrap().unwrap() == expected[index], "{index}");
    }
    server.start_close(CloseCode::NORMAL, "").unwrap();
    assert!(matches!(server.send_text("x").await, Err(Error::Send(_))));
    assert!(matches!(server.send_binary(b"x").await, Err(Error::Send(_))));
}
