//! How connections end.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use switchboard_ws::{CloseCode, Config, Error, Limits, ProtocolError, Role, SendError, WebSocket};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test]
async fn code_and_reason_arrive() {
    let (mut client, mut server) = tcp(Config::default()).await;
    let serving = async {
        assert!(soon(server.recv()).await.is_none());
        server.close_frame().cloned()
    };
    let (closed, frame) = tokio::join!(soon(client.close(CloseCode::new(4001), "enough")), serving);
    closed.unwrap();
    let frame = frame.unwrap();
    assert_eq!((frame.code, &*frame.reason), (CloseCode::new(4001), "enough"));
    assert_eq!(client.close_frame().unwrap().code, CloseCode::new(4001));
    assert!(matches!(client.send("x").await, Err(Error::Send(SendError::Closing))));
}

#[tokio::test]
async fn the_server_ends_the_stream_first() {
    let (client, mut server) = pipe(1000);
    let mut raw = client.into_inner();
    raw.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    assert!(soon(server.recv()).await.is_none());
    let mut rest = Vec::new();
    soon(raw.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"\x88\x02\x03\xe8");
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_servers_end_but_not_for_ever() {
    let (mut client, server) = pipe(1000);
    let mut raw = server.into_inner();
    raw.write_all(b"\x88\x02\x03\xe8").await.unwrap();
    let start = Instant::now();
    assert!(client.recv().await.is_none());
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close_is_given_up() {
    let config = Config::default().close_timeout(Duration::from_secs(2));
    let (client, mut server) = pipe_with(1000, config);
    let _raw = client.into_inner();
    let start = Instant::now();
    assert!(matches!(server.close(CloseCode::NORMAL, "").await, Err(Error::CloseTimedOut)));
    assert!((2.0..2.1).contains(&start.elapsed().as_secs_f64()));
    assert!(server.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_cannot_hold_up_the_end() {
    let (client, mut server) = pipe(10);
    let _raw = client.into_inner();
    server.feed(vec![0; 1000]).await.unwrap();
    let start = Instant::now();
    assert!(matches!(server.close(CloseCode::NORMAL, "").await, Err(Error::CloseTimedOut)));
    assert!(start.elapsed() < Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_reported() {
    let config = Config::default().ping_interval(Some(Duration::from_secs(20))).pong_timeout(Duration::from_secs(5));
    let (client, mut server) = pipe_with(1000, config);
    let mut raw = client.into_inner();
    let start = Instant::now();
    let found = server.recv().await;
    assert!(matches!(found, Some(Err(Error::Unresponsive))), "{found:?}");
    assert!((25.0..25.1).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    let mut ping = [0; 2];
    raw.read_exact(&mut ping).await.unwrap();
    assert_eq!(ping, [0x89, 0]);
    assert!(server.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_stays() {
    let config = Config::default().ping_interval(Some(Duration::from_secs(20))).pong_timeout(Duration::from_secs(5));
    let (mut client, mut server) = pipe_with(1000, config);
    let serving = tokio::spawn(async move { server.recv().await.unwrap().unwrap() });
    let waiting = tokio::time::timeout(Duration::from_secs(3600), client.recv());
    assert!(waiting.await.is_err(), "nothing comes for an hour");
    client.send("still here").await.unwrap();
    assert_eq!(serving.await.unwrap().as_text(), Some("still here"));
}

#[tokio::test]
async fn a_lost_connection_is_an_error() {
    let (client, mut server) = tcp(Config::default()).await;
    drop(client);
    assert!(matches!(soon(server.recv()).await, Some(Err(Error::ConnectionLost | Error::Io(_)))));
    assert!(server.recv().await.is_none());
}

#[tokio::test]
async fn a_broken_rule_is_told_to_both() {
    let (client, mut server) = tcp(Config::default()).await;
    let mut raw = client.into_inner();
    raw.write_all(b"\x81\x81\0\0\0\0o\xf1\x80\0\0\0\0").await.unwrap();
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("o"));
    let serving = tokio::spawn(async move { (server.recv().await, server.recv().await) });
    let mut rest = Vec::new();
    soon(raw.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"\x88\x21\x03\xeareserved bits are set (RSV 111)");
    drop(raw);
    let (first, second) = soon(serving).await.unwrap();
    assert!(matches!(first, Some(Err(Error::Protocol(ProtocolError::ReservedBits(7))))), "{first:?}");
    assert!(second.is_none());
}

#[tokio::test]
async fn the_close_reaches_a_peer_that_is_still_sending() {
    // To drop a socket with unread bytes would reset it, and the peer would not see why.
    let config = Config::default().limits(Limits { message_bytes_max: 1000, ..Limits::default() });
    let (client, mut server) = tcp(config).await;
    let serving = tokio::spawn(async move {
        let error = server.recv().await;
        drop(server);
        error
    });
    let mut raw = client.into_inner();
    raw.write_all(b"\x82\xfe\x40\x00\0\0\0\0").await.unwrap();
    let (mut read, mut write) = raw.split();
    let mut rest = Vec::new();
    let writing = async {
        for _ in 0..64 {
            if write.write_all(&[0; 16_384]).await.is_err() {
                break;
            }
        }
        write.shutdown().await
    };
    let (read, _) = tokio::join!(soon(read.read_to_end(&mut rest)), soon(writing));
    read.unwrap();
    assert_eq!(rest, b"\x88\x3f\x03\xf1message has at least 16384 bytes, more than the limit of 1000");
    assert!(matches!(soon(serving).await.unwrap(), Some(Err(Error::Protocol(ProtocolError::MessageTooBig { .. })))));
}

#[tokio::test]
async fn what_a_peer_sent_before_it_left_is_read() {
    let (mut client, mut server) = tcp(Config::default()).await;
    client.send("last words").await.unwrap();
    client.start_close(CloseCode::NORMAL, "").unwrap();
    client.flush().await.unwrap();
    drop(client);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // Writing fails sooner or later; reading goes on.
    let _ = server.send("too late").await;
    let _ = server.send("too late").await;
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("last words"));
    assert!(soon(server.recv()).await.is_none());
}

#[tokio::test]
async fn codes_that_must_not_be_sent() {
    let (mut client, _server) = pipe(1000);
    assert!(matches!(client.close(CloseCode::ABNORMAL, "").await, Err(Error::Send(SendError::InvalidCloseCode(1006)))));
    client.send("still open").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_has_said_all_still_hears_the_answers() {
    let (client, server) = tcp(Config::default()).await;
    let serving = tokio::spawn(echo(server));
    let mut raw = client.into_inner();
    raw.write_all(b"\x81\x81\0\0\0\0a\x82\x81\0\0\0\0b\x89\x80\0\0\0\0").await.unwrap();
    raw.shutdown().await.unwrap();
    let mut answers = Vec::new();
    soon(raw.read_to_end(&mut answers)).await.unwrap();
    assert_eq!(answers, b"\x81\x01a\x82\x01b\x8a\0");
    assert!(matches!(soon(serving).await.unwrap(), Err(Error::ConnectionLost)));
}

#[tokio::test]
async fn a_reset_is_an_error_behind_what_came_before() {
    let (client, mut server) = tcp(Config::default()).await;
    server.send("unread, so that what follows is a reset").await.unwrap();
    let mut raw = client.into_inner();
    raw.write_all(b"\x81\x81\0\0\0\0a").await.unwrap();
    assert_eq!(soon(server.recv()).await.unwrap().unwrap().as_text(), Some("a"));
    drop(raw);
    let found = soon(server.recv()).await;
    assert!(matches!(&found, Some(Err(Error::Io(error))) if error.kind() == ErrorKind::ConnectionReset), "{found:?}");
    assert!(server.recv().await.is_none() && !server.is_open());
    assert!(server.send("nobody").await.is_err());
}

/// Reads what it is told to, and takes all that is written.
struct Reads<F>(F);

impl<F: FnMut(&mut ReadBuf<'_>) -> io::Result<()> + Unpin> AsyncRead for Reads<F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // As a socket does: only so much for a task before others have their turn.
        ready!(tokio::task::coop::poll_proceed(cx)).made_progress();
        Poll::Ready((self.0)(buffer))
    }
}

impl<F: Unpin> AsyncWrite for Reads<F> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_peer_that_never_stops_sending_cannot_put_off_the_end() {
    let flood = |buffer: &mut ReadBuf<'_>| {
        // A ping of a client's, as often as it fits.
        while buffer.remaining() >= 6 {
            buffer.put_slice(b"\x89\x80\0\0\0\0");
        }
        Ok(())
    };
    let config = Config::default().close_timeout(Duration::from_millis(10));
    let mut ours = WebSocket::from_upgraded(Reads(flood), Bytes::new(), Role::Server, config.clone());
    assert!(matches!(soon(ours.close(CloseCode::NORMAL, "")).await, Err(Error::CloseTimedOut)));
    // Nor where it has broken a rule, and is ignored.
    let mut ours = WebSocket::from_upgraded(Reads(flood), Bytes::from_static(b"\xff\xff"), Role::Server, config);
    assert!(matches!(soon(ours.recv()).await, Some(Err(Error::Protocol(_)))));
}

#[tokio::test]
async fn how_a_stream_ends_behind_a_close_does_not_matter() {
    let mut said = false;
    let closes_and_resets = |buffer: &mut ReadBuf<'_>| {
        if std::mem::replace(&mut said, true) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        buffer.put_slice(b"\x88\x02\x03\xe8");
        Ok(())
    };
    let role = Role::Client { mask_seed: [1; 32] };
    let mut ours = WebSocket::from_upgraded(Reads(closes_and_resets), Bytes::new(), role, Config::default());
    assert!(soon(ours.recv()).await.is_none());
    assert_eq!(ours.close_frame().unwrap().code, CloseCode::NORMAL);
}
