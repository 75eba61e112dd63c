//! A future that is dropped at any await loses nothing.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use switchboard_ws::{CloseCode, Config, Error, Message, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::*;

/// Polls a new `recv` at most `polls` times, drops it, and starts again, until one is ready.
async fn recv_dropped_after<S>(socket: &mut WebSocket<S>, polls: usize) -> Option<Result<Message, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut left = polls;
        let mut future = pin!(socket.recv());
        let result = poll_fn(|cx| {
            if left == 0 {
                // Come back at once: whatever woke the dropped future is lost.
                return Poll::Ready(None);
            }
            left -= 1;
            match future.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        if let Some(result) = result {
            return result;
        }
        tokio::task::yield_now().await;
    }
}

fn messages() -> Vec<Message> {
    let sizes = [0, 1, 125, 126, 5000, 70_000, 3, 200_000, 20];
    sizes.iter().map(|&size| Message::from("x".repeat(size))).chain([Message::from(vec![1, 2, 3])]).collect()
}

async fn all_arrive<S>(mut sender: WebSocket<S>, mut receiver: WebSocket<S>, polls: usize)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sending = tokio::spawn(async move {
        for message in messages() {
            sender.send(message).await.unwrap();
            sender.ping(b"between").await.unwrap();
        }
        sender.close(CloseCode::NORMAL, "").await
    });
    let mut found = Vec::new();
    while let Some(message) = soon(recv_dropped_after(&mut receiver, polls)).await {
        found.push(message.unwrap());
    }
    assert!(found == messages(), "after {polls} polls: {} messages", found.len());
    soon(sending).await.unwrap().unwrap();
}

#[tokio::test]
async fn recv_dropped_after_any_number_of_polls_over_a_pipe() {
    for capacity in [37, 1000, 50_000] {
        for polls in 1..8 {
            let (client, server) = pipe(capacity);
            all_arrive(client, server, polls).await;
            let (client, server) = pipe(capacity);
            all_arrive(server, client, polls).await;
        }
    }
}

#[tokio::test]
async fn recv_dropped_after_any_number_of_polls_over_tcp() {
    for polls in 1..6 {
        let (client, server) = tcp(Config::default()).await;
        all_arrive(client, server, polls).await;
        let (client, server) = tcp(Config::default()).await;
        all_arrive(server, client, polls).await;
    }
}

#[tokio::test]
async fn send_dropped_at_any_poll_sends_whole_messages_or_none() {
    for polls in 1..20 {
        let (mut client, mut server) = pipe(100);
        let receiving = tokio::spawn(async move {
            let mut sizes = Vec::new();
            while let Some(message) = server.recv().await {
                sizes.push(message.unwrap().len());
            }
            sizes
        });
        for size in [10, 1000, 0, 300] {
            let mut left = polls;
            let mut future = pin!(client.send(vec![0; size]));
            poll_fn(|cx| {
                left -= 1;
                match future.as_mut().poll(cx) {
                    Poll::Pending if left > 0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            })
            .await;
        }
        soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
        // Here the queue has room for all, so each was queued by its first poll.
        assert_eq!(soon(receiving).await.unwrap(), [10, 1000, 0, 300]);
    }
}

#[tokio::test]
async fn close_dropped_and_called_again() {
    let (mut client, mut server) = pipe(100);
    let receiving = tokio::spawn(async move { server.recv().await.is_none() });
    while futures_util::FutureExt::now_or_never(client.close(CloseCode::NORMAL, "")).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(soon(receiving).await.unwrap());
    assert_eq!(client.close_frame().unwrap().code, CloseCode::NORMAL);
}
