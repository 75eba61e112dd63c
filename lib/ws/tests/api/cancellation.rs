//! A future that is dropped at any await loses nothing and repeats nothing: each method of which the documentation says so.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use switchboard_ws::{CloseCode, Config, Connector, Error, Message, Opcode, Received, WebSocket, accept};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use crate::support::*;

/// Polls what `start` gives at most `polls` times, drops it and starts again, until one is ready.
async fn with_drops<T>(polls: usize, mut start: impl AsyncFnMut() -> T) -> T {
    loop {
        let result = {
            let future = pin!(start());
            at_most(polls, future).await
        };
        if let Some(result) = result {
            return result;
        }
        // Whatever woke the dropped future is lost.
        tokio::task::yield_now().await;
    }
}

/// `None` if the future was not ready after so many polls.
async fn at_most<F: Future>(polls: usize, mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut left = polls;
    poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                // Polled again whether or not it has a reason.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    })
    .await
}

fn messages() -> Vec<Message> {
    let sizes = [0, 1, 125, 126, 5000, 70_000, 3, 200_000, 20];
    sizes.iter().map(|&size| Message::from("x".repeat(size))).chain([Message::from(vec![1, 2, 3])]).collect()
}

/// Everything that a peer may send, and a Close.
async fn send_all<S: AsyncRead + AsyncWrite + Unpin>(mut sender: WebSocket<S>) -> Result<(), Error> {
    for message in messages() {
        sender.send(message).await?;
        sender.ping(b"between").await?;
    }
    sender.close(CloseCode::NORMAL, "").await
}

/// Where a test takes messages from: a dropped call of whichever method gives the same as one that is not dropped.
async fn all_arrive<S>(sender: WebSocket<S>, mut receiver: WebSocket<S>, polls: usize, how: How)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let sending = tokio::spawn(send_all(sender));
    let mut found = Vec::new();
    match how {
        How::Recv => {
            while let Some(message) = soon(with_drops(polls, async || receiver.recv().await)).await {
                found.push(message.unwrap());
            }
        }
        How::Event => {
            while let Some(event) = soon(with_drops(polls, async || receiver.recv_event().await)).await {
                match event.unwrap() {
                    Received::Message(message) => found.push(message),
                    Received::Ping(payload) => assert_eq!(payload, "between"),
                    Received::Pong(_) => panic!("nobody was pinged"),
                }
            }
        }
        How::Piece => {
            let mut joined = Vec::new();
            while let Some(piece) = soon(with_drops(polls, async || receiver.recv_piece().await)).await {
                let piece = piece.unwrap();
                joined.extend_from_slice(piece.data.as_bytes());
                if piece.last {
                    let bytes = Bytes::from(std::mem::take(&mut joined));
                    found.push(match piece.data {
                        Message::Text(_) => Message::Text(bytes.try_into().unwrap()),
                        Message::Binary(_) => Message::Binary(bytes),
                    });
                }
            }
        }
        How::Half => {
            let (mut receiver, sender) = receiver.split();
            while let Some(message) = soon(with_drops(polls, async || receiver.recv().await)).await {
                found.push(message.unwrap());
            }
            drop(sender);
        }
    }
    assert!(found == messages(), "after {polls} polls: {} messages", found.len());
    soon(sending).await.unwrap().unwrap();
}

#[derive(Clone, Copy, Debug)]
enum How {
    Recv,
    Event,
    Piece,
    Half,
}

const HOW: [How; 4] = [How::Recv, How::Event, How::Piece, How::Half];

#[tokio::test]
async fn receiving_dropped_after_any_number_of_polls_over_a_pipe() {
    for (capacity, polls) in [(37, 1), (37, 2), (37, 5), (1000, 1), (1000, 3), (1000, 7), (50_000, 1), (50_000, 2)] {
        for how in HOW {
            let (client, server) = pipe(capacity);
            all_arrive(client, server, polls, how).await;
            let (client, server) = pipe(capacity);
            all_arrive(server, client, polls, how).await;
        }
    }
}

#[tokio::test]
async fn receiving_dropped_after_any_number_of_polls_over_tcp() {
    for polls in 1..4 {
        for how in HOW {
            let (client, server) = tcp(Config::default()).await;
            all_arrive(client, server, polls, how).await;
            let (client, server) = tcp(Config::default()).await;
            all_arrive(server, client, polls, how).await;
        }
    }
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn receiving_compressed_dropped_after_any_number_of_polls() {
    use switchboard_ws::deflate::Policy;
    use switchboard_ws::{AcceptOptions, Connector, accept_with};

    for takeover in [false, true] {
        let policy = Policy::default().context_takeover(takeover).peer_context_takeover(takeover);
        let (connector, options) =
            (Connector::new().deflate(Some(policy)), AcceptOptions::default().deflate(Some(policy)));
        for (polls, how) in HOW.iter().flat_map(|how| [1, 2, 5].into_iter().map(move |polls| (polls, *how))) {
            for reversed in [false, true] {
                let (near, far) = tokio::io::duplex(37);
                let (client, server) =
                    tokio::join!(connector.connect_over("ws://a/", near), accept_with(far, &options));
                let (client, server) = (client.unwrap().0, server.unwrap());
                assert!(server.deflate_window_bits().is_some() && client.deflate_window_bits().is_some());
                let (sender, receiver) = if reversed { (server, client) } else { (client, server) };
                all_arrive(sender, receiver, polls, how).await;
            }
        }
    }
}

#[tokio::test]
async fn a_reader_dropped_at_any_poll_goes_on_where_it_was() {
    for polls in 1..5 {
        let (client, mut server) = pipe(1000);
        let sending = tokio::spawn(send_all(client));
        for expected in messages() {
            let mut reader = soon(server.recv_reader()).await.unwrap().unwrap();
            let (mut found, mut buffer) = (Vec::new(), [0; 777]);
            loop {
                let count = soon(with_drops(polls, async || reader.read(&mut buffer).await)).await.unwrap();
                if count == 0 {
                    break;
                }
                found.extend_from_slice(&buffer[..count]);
            }
            assert!(found == expected.as_bytes());
        }
        assert!(soon(server.recv()).await.is_none());
        soon(sending).await.unwrap().unwrap();
    }
}

/// The server's side takes all: the sizes of the messages, and how many pings.
fn taking(mut server: WebSocket<DuplexStream>) -> tokio::task::JoinHandle<(Vec<usize>, usize)> {
    tokio::spawn(async move {
        let (mut sizes, mut pings) = (Vec::new(), 0);
        while let Some(event) = server.recv_event().await {
            match event.unwrap() {
                Received::Message(message) => sizes.push(message.len()),
                Received::Ping(_) => pings += 1,
                Received::Pong(_) => {}
            }
        }
        (sizes, pings)
    })
}

const SIZES: [usize; 6] = [10, 1000, 0, 300, 5000, 1];

#[tokio::test]
async fn feed_queues_once_however_often_it_was_dropped() {
    for polls in 1..6 {
        for half in [false, true] {
            let (mut client, server) = pipe(50);
            // So that it has to wait.
            client.set_output_bytes_max(100);
            let receiving = taking(server);
            if half {
                let (mut receiver, mut sender) = client.split();
                let closing = tokio::spawn(async move { receiver.recv().await.is_none() });
                for size in SIZES {
                    soon(with_drops(polls, async || sender.feed(vec![0; size]).await)).await.unwrap();
                }
                soon(with_drops(polls, async || sender.flush().await)).await.unwrap();
                soon(with_drops(polls, async || sender.close(CloseCode::NORMAL, "").await)).await.unwrap();
                assert!(soon(closing).await.unwrap());
            } else {
                for size in SIZES {
                    soon(with_drops(polls, async || client.feed(vec![0; size]).await)).await.unwrap();
                }
                soon(with_drops(polls, async || client.flush().await)).await.unwrap();
                soon(with_drops(polls, async || client.close(CloseCode::NORMAL, "").await)).await.unwrap();
            }
            assert_eq!(soon(receiving).await.unwrap(), (SIZES.to_vec(), 0), "{polls} polls, half: {half}");
        }
    }
}

#[tokio::test]
async fn fragments_are_queued_once_however_often_they_were_dropped() {
    for polls in 1..6 {
        let (mut client, server) = pipe(50);
        client.set_output_bytes_max(100);
        let receiving = taking(server);
        let parts = [(Opcode::Binary, false), (Opcode::Continuation, false), (Opcode::Continuation, true)];
        for (opcode, fin) in parts.into_iter().cycle().take(9) {
            let feed = async || client.feed_fragment(opcode, fin, vec![0; 200]).await;
            soon(with_drops(polls, feed)).await.unwrap();
        }
        soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
        assert_eq!(soon(receiving).await.unwrap(), (vec![600; 3], 0));
    }
}

#[tokio::test]
async fn encoded_frames_are_queued_once_however_often_they_were_dropped() {
    for polls in 1..6 {
        let (mut client, mut server) = pipe(50);
        server.set_output_bytes_max(100);
        let receiving = tokio::spawn(async move {
            let mut count = 0;
            while let Some(message) = client.recv().await {
                count += usize::from(message.unwrap().as_text() == Some("abc"));
            }
            count
        });
        for _ in 0..100 {
            let frame = Bytes::from_static(b"\x81\x03abc");
            soon(with_drops(polls, async || server.feed_encoded(frame.clone()).await)).await.unwrap();
        }
        soon(with_drops(polls, async || server.close(CloseCode::NORMAL, "").await)).await.unwrap();
        assert_eq!(soon(receiving).await.unwrap(), 100);
    }
}

#[tokio::test]
async fn send_and_ping_dropped_at_any_poll_leave_whole_or_not_at_all() {
    for polls in 1..20 {
        for half in [false, true] {
            let (client, server) = pipe(100);
            let receiving = taking(server);
            let (mut receiver, mut sender) = client.split();
            if half {
                for size in SIZES {
                    at_most(polls, pin!(sender.send(vec![0; size]))).await;
                    at_most(polls, pin!(sender.ping(b"?"))).await;
                }
                let close = async { tokio::join!(sender.close(CloseCode::NORMAL, ""), receiver.recv()) };
                assert!(soon(close).await.1.is_none());
            } else {
                let mut client = receiver.unsplit(sender).unwrap();
                for size in SIZES {
                    at_most(polls, pin!(client.send(vec![0; size]))).await;
                    at_most(polls, pin!(client.ping(b"?"))).await;
                }
                soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
            }
            // Here the queue has room for all, so each was queued by its first poll: once.
            assert_eq!(soon(receiving).await.unwrap(), (SIZES.to_vec(), SIZES.len()), "{polls} polls, half: {half}");
        }
    }
}

#[tokio::test]
async fn send_that_had_to_wait_and_was_dropped_has_sent_nothing() {
    let (mut client, server) = pipe(10);
    client.set_output_bytes_max(10);
    client.feed(vec![0; 1000]).await.unwrap();
    for polls in 1..5 {
        assert!(at_most(polls, pin!(client.send(vec![0; 77]))).await.is_none());
    }
    let receiving = taking(server);
    soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
    assert_eq!(soon(receiving).await.unwrap(), (vec![1000], 0));
}

#[tokio::test]
async fn close_dropped_and_called_again() {
    for polls in 1..5 {
        let (mut client, mut server) = pipe(100);
        let receiving = tokio::spawn(async move { server.recv().await.is_none() });
        soon(with_drops(polls, async || client.close(CloseCode::NORMAL, "bye").await)).await.unwrap();
        assert!(soon(receiving).await.unwrap());
        assert_eq!(client.close_frame().unwrap().code, CloseCode::NORMAL);
    }
}

#[tokio::test]
async fn a_writer_dropped_at_any_poll_goes_on_where_it_was() {
    for polls in 1..6 {
        let (mut client, server) = pipe(50);
        client.set_output_bytes_max(100);
        let receiving = taking(server);
        for size in SIZES {
            let mut writer = client.binary_writer();
            let mut left = size;
            while left > 0 {
                left -= soon(with_drops(polls, async || writer.write(&vec![0; left.min(70)]).await)).await.unwrap();
            }
            soon(with_drops(polls, async || writer.shutdown().await)).await.unwrap();
        }
        soon(client.close(CloseCode::NORMAL, "")).await.unwrap();
        assert_eq!(soon(receiving).await.unwrap(), (SIZES.to_vec(), 0));
    }
}

/// Not safe to be called again, and documented so: the stream goes with the future.
#[tokio::test]
async fn a_dropped_handshake_drops_its_stream() {
    let (near, mut far) = tokio::io::duplex(1000);
    assert!(at_most(3, pin!(accept(near))).await.is_none());
    assert_eq!(soon(far.read(&mut [0; 10])).await.unwrap(), 0);
    let (near, mut far) = tokio::io::duplex(1000);
    assert!(at_most(3, pin!(Connector::new().connect_over("ws://test/", near))).await.is_none());
    let mut request = Vec::new();
    soon(far.read_to_end(&mut request)).await.unwrap();
    assert!(request.starts_with(b"GET / HTTP/1.1\r\n") && request.ends_with(b"\r\n\r\n"));
}
