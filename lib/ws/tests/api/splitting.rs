//! Two halves in two tasks.

use std::time::Duration;

use switchboard_ws::{AcceptOptions, CloseCode, Config, Connector, Error, Limits, Message, Received, accept_with};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_directions_at_once() {
    for round in 0..5 {
        let (client, server) = tcp(Config::default()).await;
        let server = tokio::spawn(echo(server));
        let (mut receiver, mut sender) = client.split();
        let sending = tokio::spawn(async move {
            for number in 0..200u32 {
                sender.send(vec![number as u8; (number as usize * 997) % 70_000]).await.unwrap();
            }
            sender
        });
        for number in 0..200u32 {
            let message = soon(receiver.recv()).await.unwrap().unwrap();
            let expected = Message::from(vec![number as u8; (number as usize * 997) % 70_000]);
            assert!(message == expected, "round {round}, message {number}");
        }
        let mut sender = soon(sending).await.unwrap();
        let (closed, end) = tokio::join!(soon(sender.close(CloseCode::NORMAL, "")), soon(receiver.recv()));
        closed.unwrap();
        assert!(end.is_none());
        assert_eq!(receiver.close_frame().unwrap().code, CloseCode::NORMAL);
        soon(server).await.unwrap().unwrap();
        assert!(sender.send("x").await.is_err());
    }
}

#[tokio::test]
async fn a_sender_that_waits_is_woken_by_the_receiver_that_writes() {
    let (client, server) = pipe(50);
    let (mut receiver, mut sender) = server.split();
    let sending = tokio::spawn(async move {
        for _ in 0..100 {
            sender.send(vec![0; 500]).await.unwrap();
        }
    });
    let receiving = tokio::spawn(async move {
        let mut count = 0;
        while let Some(Ok(_)) = receiver.recv().await {
            count += 1;
        }
        count
    });
    let (mut from_server, mut to_server) = client.split();
    let pinging = tokio::spawn(async move {
        for _ in 0..100 {
            to_server.send("from the other side").await.unwrap();
        }
        to_server
    });
    for _ in 0..100 {
        assert_eq!(soon(from_server.recv()).await.unwrap().unwrap().len(), 500);
    }
    let mut to_server = soon(pinging).await.unwrap();
    soon(sending).await.unwrap();
    let (closed, end) = tokio::join!(to_server.close(CloseCode::NORMAL, ""), soon(from_server.recv()));
    closed.unwrap();
    assert!(end.is_none());
    assert_eq!(soon(receiving).await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_that_the_peer_was_given_up() {
    let config = Config::default().ping_interval(Some(Duration::from_secs(20)));
    let (client, server) = pipe_with(10, config);
    let _raw = client.into_inner();
    let (mut receiver, mut sender) = server.split();
    let sending = tokio::spawn(async move { sender.send(vec![0; 1000]).await });
    assert!(matches!(receiver.recv().await, Some(Err(Error::Unresponsive))));
    let sent = sending.await.unwrap();
    assert!(matches!(&sent, Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut), "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_that_its_close_was_not_taken() {
    let (client, server) = pipe(10);
    let _raw = client.into_inner();
    let (mut receiver, mut sender) = server.split();
    sender.feed(vec![0; 1000]).await.unwrap();
    let closing = tokio::spawn(async move { sender.close(CloseCode::NORMAL, "").await });
    assert!(matches!(receiver.recv().await, Some(Err(Error::CloseTimedOut))));
    assert!(closing.await.unwrap().is_err());
}

#[tokio::test]
async fn halves_are_dropped_in_either_order() {
    // The sender first: the receiver goes on, answers pings and finishes the closing handshake.
    let (mut client, server) = pipe(1000);
    let (mut receiver, sender) = server.split();
    drop(sender);
    let receiving = tokio::spawn(async move {
        let first = receiver.recv().await.unwrap().unwrap();
        assert!(receiver.recv().await.is_none());
        first
    });
    client.send("to the one that is left").await.unwrap();
    client.ping(b"?").await.unwrap();
    assert!(matches!(soon(client.recv_event()).await, Some(Ok(Received::Pong(_)))));
    soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_eq!(soon(receiving).await.unwrap().as_text(), Some("to the one that is left"));

    // The receiver first: the sender still sends, and with it goes the stream.
    let (mut client, server) = pipe(1000);
    let (receiver, mut sender) = server.split();
    drop(receiver);
    sender.send("still").await.unwrap();
    assert_eq!(soon(client.recv()).await.unwrap().unwrap().as_text(), Some("still"));
    drop(sender);
    assert!(matches!(soon(client.recv()).await, Some(Err(Error::ConnectionLost))));
}

#[tokio::test]
async fn halves_come_together_again() {
    let (client, mut server) = pipe(1000);
    let (receiver, mut sender) = client.split();
    sender.send("by half").await.unwrap();
    let mut whole = receiver.unsplit(sender).unwrap();
    whole.send("by whole").await.unwrap();
    assert_eq!(server.recv().await.unwrap().unwrap().as_text(), Some("by half"));
    assert_eq!(server.recv().await.unwrap().unwrap().as_text(), Some("by whole"));
    let (receiver, _) = whole.split();
    assert!(receiver.unsplit(server.split().1).is_none());
}

#[tokio::test]
async fn halves_know_what_the_whole_knows() {
    let (near, far) = tokio::io::duplex(10_000);
    let connector = Connector::new().subprotocols(["chat"]);
    let options = AcceptOptions::default().subprotocols(["chat"]);
    let (client, server) = tokio::join!(connector.connect_over("ws://test/", near), accept_with(far, &options));
    let (mut client, server) = (client.unwrap().0, server.unwrap());
    let (mut receiver, sender) = server.split();
    assert_eq!(receiver.subprotocol().as_deref(), Some("chat"));
    assert!(receiver.is_open() && sender.is_open());
    receiver.set_limits(Limits { message_bytes_max: 3, ..Limits::default() });
    client.send("four").await.unwrap();
    let (found, _) = tokio::join!(receiver.recv(), client.recv());
    assert!(matches!(found, Some(Err(Error::Protocol(_)))), "{found:?}");
    assert!(!receiver.is_open() && !sender.is_open());
}
