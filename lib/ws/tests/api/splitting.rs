//! Two halves in two tasks.

use switchboard_ws::{CloseCode, Config, Message};

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
