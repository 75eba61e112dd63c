//! Large messages in pieces, both ways.

use std::io::ErrorKind;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use switchboard_ws::{CloseCode, Config, Error, Limits, Message, Opcode, ProtocolError, SendError, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_buf};

use crate::support::*;

/// Bytes whose place shows in them.
fn numbered(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7) as u8 ^ (at / 4096) as u8).collect()
}

fn lift<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<S>) -> WebSocket<S> {
    socket.set_limits(Limits::NONE);
    socket
}

#[tokio::test]
async fn a_file_goes_there_and_back() {
    let bytes = numbered(3_000_000);
    for capacity in [100, 10_000, 1 << 20] {
        let (client, server) =
            pipe_with(capacity, Config::default().limits(Limits { fragments_max: 9, ..Limits::NONE }));
        let (mut client, mut server) = (lift(client), lift(server));
        let echo = tokio::spawn(async move {
            let mut file = Vec::new();
            let mut reader = server.recv_reader().await.unwrap().unwrap();
            assert!(!reader.is_text());
            copy_buf(&mut reader, &mut file).await.unwrap();
            let mut writer = server.binary_writer();
            copy(&mut &file[..], &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
            assert!(server.recv().await.is_none());
        });
        let mut writer = client.binary_writer();
        copy(&mut &bytes[..], &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(writer.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut back = Vec::new();
        soon(client.recv_reader()).await.unwrap().unwrap().read_to_end(&mut back).await.unwrap();
        assert!(back == bytes, "{} bytes", back.len());
        soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
        soon(echo).await.unwrap();
    }
}

#[tokio::test]
async fn both_halves_stream_at_once() {
    let bytes = numbered(5_000_000);
    let (client, server) = tcp(Config::default().limits(Limits::NONE)).await;
    let run = |socket: WebSocket<_>, bytes: Vec<u8>| async move {
        let (mut receiver, mut sender) = socket.split();
        let expected = bytes.clone();
        let sending = tokio::spawn(async move {
            let mut writer = sender.binary_writer();
            writer.write_all(&bytes).await.unwrap();
            writer.shutdown().await.unwrap();
            SinkExt::send(&mut sender, Message::from("sent")).await.unwrap();
            sender
        });
        let mut found = Vec::new();
        let mut reader = receiver.recv_reader().await.unwrap().unwrap();
        reader.read_to_end(&mut found).await.unwrap();
        assert!(found == expected);
        assert_eq!(receiver.recv().await.unwrap().unwrap().as_text(), Some("sent"));
        receiver.unsplit(sending.await.unwrap()).unwrap()
    };
    let (one, other) = (tokio::spawn(run(client, bytes.clone())), tokio::spawn(run(server, bytes)));
    let (mut one, mut other) = (soon(one).await.unwrap(), soon(other).await.unwrap());
    let (closed, end) = tokio::join!(soon(one.close(CloseCode::NORMAL, "")), soon(other.recv_piece()));
    closed.unwrap();
    assert!(end.is_none());
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_sender() {
    let (mut client, mut server) = pipe(1000);
    server.set_limits(Limits::NONE);
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = sent.clone();
    let sending = tokio::spawn(async move {
        let mut writer = client.binary_writer();
        while writer.write_all(&[0; 1000]).await.is_ok() {
            count.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let piece = soon(server.recv_piece()).await.unwrap().unwrap();
    assert!(piece.first && !piece.last && piece.data.len() <= 1000);
    // Everything that can move without the reader moves now; a single thread runs both.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    // The pipe, what is queued for it, and a fragment.
    let taken = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!((200_000..300_000).contains(&taken), "{taken} bytes sent, {} read", piece.data.len());
    drop(server);
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn what_is_not_read_of_a_message_is_passed_over() {
    let (mut client, mut server) = pipe(1 << 20);
    client.send("a".repeat(100_000)).await.unwrap();
    client.send("next").await.unwrap();
    let mut reader = server.recv_reader().await.unwrap().unwrap();
    assert!(reader.is_text());
    let mut begin = [0; 10];
    reader.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"aaaaaaaaaa");
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("next"));
}

#[tokio::test]
async fn the_limit_is_of_the_whole_message() {
    let limits = Limits { message_bytes_max: 10_000, ..Limits::default() };
    let (mut client, mut server) = pipe_with(1 << 20, Config::default().limits(limits));
    let mut writer = client.binary_writer();
    for _ in 0..4 {
        writer.write_all(&[0; 3000]).await.unwrap();
    }
    writer.shutdown().await.unwrap();
    let mut reader = soon(server.recv_reader()).await.unwrap().unwrap();
    let mut found = Vec::new();
    let error = soon(reader.read_to_end(&mut found)).await.unwrap_err();
    assert_eq!(found.len(), 9000);
    let error = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert!(matches!(error, Error::Protocol(ProtocolError::MessageTooBig { bytes: 12_000, max: 10_000 })), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_ends_inside_of_a_message_is_an_error() {
    let (mut client, mut server) = pipe(1 << 20);
    client.feed_fragment(Opcode::Binary, false, Bytes::from_static(b"half")).await.unwrap();
    client.flush().await.unwrap();
    drop(client);
    let mut reader = server.recv_reader().await.unwrap().unwrap();
    let error = soon(reader.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::ConnectionLost)), "{error:?}");
    // A Close is no end of a message either.
    let (mut client, mut server) = pipe(1 << 20);
    client.feed_fragment(Opcode::Binary, false, Bytes::from_static(b"half")).await.unwrap();
    client.start_close(CloseCode::NORMAL, "").unwrap();
    client.flush().await.unwrap();
    let mut reader = server.recv_reader().await.unwrap().unwrap();
    let error = soon(reader.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn half_a_message_cannot_be_taken_back() {
    let (mut client, mut server) = pipe(1000);
    client.text_writer().write_all("é".as_bytes()).await.unwrap();
    assert!(matches!(client.send("x").await, Err(Error::Send(SendError::InsideFragments))));
    let mut writer = client.text_writer();
    let error = writer.write_all(b"x").await.unwrap_err();
    assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Send(SendError::InsideFragments))));
    client.feed_fragment(Opcode::Continuation, true, Bytes::new()).await.unwrap();
    client.send("whole").await.unwrap();
    for expected in ["é", "whole"] {
        assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some(expected));
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_where_it_is_written() {
    let (mut client, _server) = pipe(1000);
    let mut writer = client.text_writer();
    // A character may be cut by a write, and must be whole at the end.
    writer.write_all(b"\xc3").await.unwrap();
    writer.write_all(b"\xa9\xf0").await.unwrap();
    let error = writer.shutdown().await.unwrap_err();
    assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(Error::Send(SendError::InvalidUtf8))), "{error:?}");
    assert!(client.text_writer().write_all(b"\xff").now_or_never().unwrap().is_err());
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compressed_messages_stream_too() {
    use switchboard_ws::deflate::Policy;
    use switchboard_ws::{AcceptOptions, Connector, accept_with};

    let policy = Policy::default().context_takeover(true).peer_context_takeover(true);
    let (client, server) = tokio::io::duplex(10_000);
    let connector = Connector::new().deflate(Some(policy));
    let options = AcceptOptions::default().deflate(Some(policy));
    let (client, server) = tokio::join!(connector.connect_over("ws://test/", client), accept_with(server, &options));
    let (mut client, mut server) = (lift(client.unwrap().0), lift(server.unwrap()));
    // A bomb of a hundred times what may be held of a message.
    let sending = tokio::spawn(async move {
        let mut writer = client.binary_writer();
        for _ in 0..1000 {
            writer.write_all(&[7; 60_000]).await.unwrap();
        }
        writer.shutdown().await.unwrap();
        client
    });
    let mut bytes = 0;
    loop {
        let piece = soon(server.recv_piece()).await.unwrap().unwrap();
        assert!(piece.data.len() <= 12 * 1024 && piece.data.as_bytes().iter().all(|&byte| byte == 7));
        bytes += piece.data.len();
        if piece.last {
            break;
        }
    }
    assert_eq!(bytes, 60_000_000);
    drop(soon(sending).await.unwrap());
}
