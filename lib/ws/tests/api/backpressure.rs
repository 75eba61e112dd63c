//! A peer that does not read costs a bounded number of bytes.

use futures_util::FutureExt;
use switchboard_ws::{CloseCode, Config, Message, WebSocket};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::*;

#[tokio::test]
async fn feeding_waits_for_a_peer_that_does_not_read() {
    let (_client, mut server) = pipe(1000);
    server.set_output_bytes_max(10_000);
    let mut fed = 0;
    while server.feed(Message::from(vec![0; 100])).now_or_never().is_some() {
        fed += 100;
        assert!(fed < 20_000);
    }
    assert!(fed > 9_000, "{fed}");
}

#[tokio::test]
async fn an_echo_server_stops_reading_from_a_peer_that_does_not_read() {
    let (client, server) = pipe(1000);
    let mut raw = client.into_inner();
    let server = tokio::spawn(echo(server));
    let frame = [&b"\x82\xfe\x03\xe8\0\0\0\0"[..], &[0; 1000]].concat();
    let mut taken = 0;
    // Bounded: the queue, one message, and what the pipe holds.
    while tokio::time::timeout(std::time::Duration::from_millis(200), raw.write_all(&frame)).await.is_ok() {
        taken += frame.len();
        assert!(taken < 2 << 20);
    }
    assert!(taken > 256 * 1024, "{taken}");
    drop(raw);
    assert!(soon(server).await.unwrap().is_err());
}

/// Neither reads only after the other has read: that would be for ever.
#[tokio::test]
async fn two_that_send_at_once_get_all() {
    let (client, server) = tcp(Config::default()).await;
    let run = |socket: WebSocket<TcpStream>| async move {
        let (mut receiver, mut sender) = socket.split();
        let sending = tokio::spawn(async move {
            for _ in 0..400 {
                sender.send(vec![1; 50_000]).await.unwrap();
            }
            sender
        });
        for _ in 0..400 {
            assert_eq!(receiver.recv().await.unwrap().unwrap().len(), 50_000);
        }
        let sender = sending.await.unwrap();
        receiver.unsplit(sender).unwrap()
    };
    let (client, server) = (tokio::spawn(run(client)), tokio::spawn(run(server)));
    let (mut client, mut server) = (soon(client).await.unwrap(), soon(server).await.unwrap());
    let (closed, end) = tokio::join!(soon(client.close(CloseCode::NORMAL, "")), soon(server.recv()));
    closed.unwrap();
    assert!(end.is_none());
}

#[tokio::test]
async fn feeding_goes_on_as_soon_as_the_queue_is_below_its_bound() {
    let (_client, mut server) = pipe(1000);
    server.set_output_bytes_max(1000);
    server.feed(vec![0; 1500]).await.unwrap();
    // A thousand bytes go into the pipe, and nobody reads them.
    assert!(server.feed(vec![0; 600]).now_or_never().unwrap().is_ok());
    assert!(server.feed("x").now_or_never().is_none(), "1110 bytes wait");
}
