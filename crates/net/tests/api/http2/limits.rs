//! What a connection of HTTP/2 may cost, and who ends it.

use super::{GOAWAY, PREFACE, SETTINGS, connect, frame, open, raw, read_frame, text};
use crate::{block_on, start};
use core::time::Duration;
use switchboard_core::Limits;
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::{ConnectError, Error};
use tokio::io::AsyncWriteExt;

#[test]
fn each_websocket_takes_a_place_and_gives_it_back() {
    let server = start(Limits::default(), |settings| settings.connections_per_address = 3);
    block_on(async {
        let connection = connect(&server).await;
        let first = open(&connection, "/chat").await;
        let _second = open(&connection, "/chat").await;
        let error = connection.open("/chat").await.unwrap_err();
        assert!(matches!(error, ConnectError::Handshake(HandshakeError::Refused { status: 503, .. })), "{error}");
        drop(first);
        while server.hub().stats().total.connections > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        open(&connection, "/chat").await;
    });
    server.stop();
}

#[test]
fn streams_beyond_the_limit_wait_for_room() {
    let server = start(Limits::default(), |settings| settings.http2.streams_max = 2);
    block_on(async {
        let connection = connect(&server).await;
        let _first = open(&connection, "/chat").await;
        let mut second = open(&connection, "/chat").await;
        let ((), mut third) = tokio::join!(
            async {
                second.close(switchboard_ws::CloseCode::NORMAL, "").await.unwrap();
                drop(second);
            },
            open(&connection, "/chat")
        );
        third.send("at last").await.unwrap();
        assert_eq!(text(&mut third).await, "at last");
    });
    server.stop();
}

/// A client that reads no more of one WebSocket meets its policy there. The others on the connection, and on the server, notice nothing.
#[test]
fn a_slow_reader_is_given_up_alone() {
    let limits = Limits { outbox_bytes: 128 * 1024, ..Limits::default() };
    let server = start(limits, |settings| settings.shards = 1);
    block_on(async {
        let connection = connect(&server).await;
        let mut slow = open(&connection, "/chat").await;
        let mut reader = open(&connection, "/chat").await;
        let mut writer = open(&connect(&server).await, "/chat").await;
        let message = "x".repeat(10_000);
        let mut sent = 0;
        while server.hub().stats().total.slow_consumers == 0 {
            writer.send(message.clone()).await.unwrap();
            sent += 1;
            assert!(sent < 200, "the slow one takes more than 2 MB");
            assert_eq!(text(&mut reader).await.len(), message.len());
            text(&mut writer).await;
        }
        assert_eq!(server.hub().stats().total.slow_consumers, 1);
        writer.send("and on").await.unwrap();
        assert_eq!(text(&mut reader).await, "and on");
        // It is not held for long: the server forgets what it did not take.
        while server.hub().stats().total.connections > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let end = loop {
            match slow.recv().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(matches!(end, None | Some(Error::Io(_) | Error::ConnectionLost)), "{end:?}");
        writer.send("and on again").await.unwrap();
        assert_eq!(text(&mut reader).await, "and on again");
    });
    server.stop();
}

/// Reads to the end, and returns whether a GOAWAY came.
async fn goes_away(stream: &mut tokio::net::TcpStream) -> bool {
    let mut told = false;
    while let Some((kind, ..)) = read_frame(stream).await {
        told |= kind == GOAWAY;
    }
    told
}

#[test]
fn connections_that_ask_nothing_end() {
    let short = Duration::from_millis(200);
    let server = start(Limits::default(), |settings| settings.header_timeout = short);
    block_on(async {
        // Nothing at all, half a preface, a whole one, and half a head.
        let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        let half_a_head = [&settings[..], &frame(super::HEADERS, 0, 1, &super::head("/chat"))].concat();
        for (bytes, told) in
            [(&b""[..], false), (b"PR", false), (&PREFACE[..20], false), (&settings, true), (&half_a_head, true)]
        {
            let mut stream = raw(&server).await;
            stream.write_all(bytes).await.unwrap();
            assert_eq!(goes_away(&mut stream).await, told, "{}", bytes.escape_ascii());
        }
    });
    server.stop();
}

#[test]
fn a_peer_that_answers_no_ping_is_gone() {
    let server = start(Limits::default(), |settings| {
        settings.http2.ping_interval = Duration::from_millis(200);
        settings.http2.ping_timeout = Duration::from_millis(200);
    });
    block_on(async {
        let connection = connect(&server).await;
        let mut answers = open(&connection, "/chat").await;
        let mut silent = raw(&server).await;
        let request = frame(super::HEADERS, super::END_HEADERS, 1, &super::head("/chat"));
        let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &request].concat();
        silent.write_all(&bytes).await.unwrap();
        while read_frame(&mut silent).await.is_some() {}
        answers.send("still here").await.unwrap();
        assert_eq!(text(&mut answers).await, "still here");
        assert_eq!(server.hub().stats().total.connections, 1);
    });
    server.stop();
}

/// One that opens no window at all is cut off too: what is held for it is forgotten, and its place on the connection free.
#[test]
fn a_window_that_never_opens_holds_nothing_for_long() {
    let limits = Limits { outbox_bytes: 64 * 1024, ..Limits::default() };
    let server = start(limits, |settings| {
        settings.shards = 1;
        settings.http2.streams_max = 1;
    });
    block_on(async {
        let mut stream = raw(&server).await;
        // SETTINGS_INITIAL_WINDOW_SIZE 1000.
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 3, 0xe8]);
        let request = |id| frame(super::HEADERS, super::END_HEADERS, id, &super::head("/chat"));
        stream.write_all(&[PREFACE, &settings, &request(1)].concat()).await.unwrap();
        while read_frame(&mut stream).await.unwrap().0 != super::HEADERS {}
        let mut writer = open(&connect(&server).await, "/chat").await;
        while server.hub().stats().total.slow_consumers == 0 {
            writer.send("x".repeat(10_000)).await.unwrap();
            text(&mut writer).await;
        }
        let reason = loop {
            let (kind, _, id, payload) = read_frame(&mut stream).await.unwrap();
            if kind == super::RST_STREAM && id == 1 {
                break payload;
            }
        };
        assert_eq!(reason, 8_u32.to_be_bytes(), "CANCEL");
        stream.write_all(&request(3)).await.unwrap();
        while read_frame(&mut stream).await.unwrap().0 != super::HEADERS {}
    });
    server.stop();
}
