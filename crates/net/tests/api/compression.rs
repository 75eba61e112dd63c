//! Compression between sockets: who shares what was compressed once, who compresses alone, and what bombs come to.

use crate::client::Client;
use crate::refusals::upgrade;
use crate::{block_on, start};
use core::time::Duration;
use switchboard_core::Limits;
use switchboard_net::{Compression, Server, ShardStats};
use switchboard_ws_proto::deflate::{Policy, Tuning, compress_frame};
use switchboard_ws_proto::{Event, FrameHeader, Message, Opcode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn alone() -> Policy {
    Policy::default()
}

fn keeping() -> Policy {
    alone().context_takeover(true).peer_context_takeover(true)
}

fn compressing(contexts_max: usize) -> Server {
    start(Limits { operations_per_second: 0, ..Limits::default() }, |settings| {
        settings.shards = 1;
        settings.compression = Some(Compression { contexts_max, ..Compression::default() });
    })
}

fn stats(server: &Server) -> ShardStats {
    server.hub().stats().total
}

/// Waits until the counters, which a shard publishes at the end of its turn, say so.
async fn settle(server: &Server, expected: impl Fn(&ShardStats) -> bool) {
    for _ in 0..2_000 {
        if expected(&stats(server)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", stats(server));
}

fn agreed(client: &Client) -> String {
    client.agreed.map_or("nothing".to_owned(), |params| params.to_string())
}

/// Bytes in which nothing repeats.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

#[test]
fn subscribers_of_every_kind_get_the_same_messages() {
    let server = compressing(2);
    block_on(async {
        let path = "/raw/room:mixed";
        let mut clients = vec![Client::connect(&server, path).await, Client::connect(&server, path).await];
        for (policy, expected) in [
            (alone(), ALONE),
            (alone(), ALONE),
            (alone().peer_window_bits(10), &format!("{ALONE}; server_max_window_bits=10")),
            (keeping(), "permessage-deflate"),
            // It keeps nothing of ours: the frames of all are good for it.
            (keeping().peer_context_takeover(false), "permessage-deflate; server_no_context_takeover"),
            // The places for contexts are taken.
            (keeping(), ALONE),
        ] {
            let client = Client::connect_compressing(&server, path, policy).await;
            assert_eq!(agreed(&client), expected);
            clients.push(client);
        }
        let text = |n: u32| format!(r#"{{"n":{n},"words":"{}"}}"#, "again and again ".repeat(60));
        let mut messages: Vec<Message> = (0..20).map(|n| text(n).into()).collect();
        messages.extend([Message::from("short"), Message::from(""), noise(3000).into(), vec![7; 20_000].into()]);
        let mut sender = Client::connect_compressing(&server, "/raw/room:mixed?echo=0", alone()).await;
        for message in &messages {
            sender.send(message.clone()).await;
        }
        for client in &mut clients {
            for message in &messages {
                assert_eq!(&client.message().await, message, "{}", agreed(client));
            }
        }
        // 21 are worth it: once for the usual window, once for the small one, once for the client with a context.
        settle(&server, |stats| stats.compressed == 3 * 21).await;
        let plain = clients[0].read;
        for client in &clients {
            let expected = if client.agreed.is_some() { plain / 5 } else { plain };
            assert!(client.read <= expected, "{}: {} bytes of {plain}", agreed(client), client.read);
        }
        // What a context gives.
        assert!(clients[5].read < clients[2].read, "{} {}", clients[5].read, clients[2].read);
    });
    server.stop();
}

#[test]
fn one_compression_serves_all_subscribers_of_a_shard() {
    let server = compressing(0);
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(Client::connect_compressing(&server, "/raw/room:many", keeping()).await);
        }
        let text = "for everybody ".repeat(100);
        clients[0].send(text.clone()).await;
        for client in &mut clients {
            assert_eq!(client.text().await, text);
            assert!(client.read < 100, "{} bytes", client.read);
        }
        let read = clients[0].read as u64;
        settle(&server, |stats| (stats.messages_out, stats.compressed) == (100, 1)).await;
        settle(&server, |stats| stats.compressed_bytes_before == text.len() as u64).await;
        settle(&server, |stats| stats.compressed_bytes_after == read).await;
    });
    server.stop();
}

#[test]
fn batches_and_answers_are_compressed_too() {
    let server = compressing(1);
    block_on(async {
        for policy in [keeping(), alone()] {
            let mut client = Client::connect_compressing(&server, "/ws?batch=1", policy).await;
            assert!(client.text().await.starts_with(r#"{"type":"welcome""#));
            let publish = |n| format!(r#"{{"type":"publish","channel":"c","data":"{n} {}"}}"#, "x".repeat(500));
            let messages: Vec<String> = (0..10).map(publish).collect();
            let subscribe = r#"{"type":"subscribe","id":1,"channel":"c"}"#;
            client.send(format!(r#"{{"type":"batch","messages":[{subscribe},{}]}}"#, messages.join(","))).await;
            let mut found = 0;
            while found < 10 {
                found += client.text().await.matches("xxxx\"").count();
            }
            assert!(client.read < 1500, "{} bytes", client.read);
        }
    });
    server.stop();
}

#[test]
fn places_for_contexts_are_given_back() {
    let server = compressing(1);
    block_on(async {
        let first = Client::connect_compressing(&server, "/chat", keeping()).await;
        let second = Client::connect_compressing(&server, "/chat", keeping()).await;
        assert_eq!(agreed(&first), "permessage-deflate");
        assert_eq!(agreed(&second), ALONE);
        drop(first);
        while stats(&server).connections > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(agreed(&Client::connect_compressing(&server, "/chat", keeping()).await), "permessage-deflate");
    });
    server.stop();
}

/// A masked, compressed message of so many zeros.
fn bomb(inflated: usize) -> Vec<u8> {
    let frame = compress_frame(Opcode::Text, &vec![b' '; inflated], 15, Tuning { level: 9, ..Tuning::default() });
    let (header, length) = FrameHeader::parse(&frame).unwrap().unwrap();
    let mut masked = Vec::new();
    FrameHeader { mask: Some([0; 4]), ..header }.encode(&mut masked);
    masked.extend_from_slice(&frame[length..]);
    masked
}

async fn send_bytes(client: &mut Client, bytes: &[u8]) {
    // The server may have hung up in the midst of it.
    let _ = client.stream.write_all(bytes).await;
}

#[test]
fn a_bomb_ends_its_connection_and_nothing_else() {
    let server = compressing(1);
    let limits = Limits::default();
    block_on(async {
        let mut witness = Client::connect_compressing(&server, "/chat", alone()).await;
        for (path, max) in [("/chat", limits.message_bytes), ("/ws/closed", limits.message_bytes_unauthenticated)] {
            for policy in [alone(), keeping()] {
                for inflated in [64 << 20, max + 1] {
                    let mut client = Client::connect_compressing(&server, path, policy).await;
                    send_bytes(&mut client, &bomb(inflated)).await;
                    assert_eq!(client.close_frame().await.unwrap().code.as_u16(), 1009, "{path} {inflated}");
                }
            }
            // As large as it may be.
            let mut client = Client::connect_compressing(&server, path, alone()).await;
            send_bytes(&mut client, &bomb(max)).await;
            if path == "/chat" {
                assert_eq!(client.text().await.len(), max);
                assert_eq!(witness.text().await.len(), max);
            } else {
                // Spaces are no JSON, and that is all there is to say.
                assert!(client.text().await.contains("welcome"));
                assert!(client.text().await.contains("bad_json"));
            }
        }
        witness.send("still here").await;
        assert_eq!(witness.text().await, "still here");
    });
    server.stop();
}

#[test]
fn what_an_unauthenticated_client_sends_counts_as_it_was_inflated() {
    let server = compressing(0);
    block_on(async {
        let mut client = Client::connect_compressing(&server, "/ws/closed", alone()).await;
        client.text().await;
        let max = Limits::default().message_bytes_unauthenticated;
        for _ in 0..2 {
            send_bytes(&mut client, &bomb(max)).await;
        }
        assert_eq!(client.close_frame().await.unwrap().code.as_u16(), 4001);
    });
    server.stop();
}

#[test]
fn without_the_setting_nothing_is_agreed() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut client = Client::connect_compressing(&server, "/chat", keeping()).await;
        assert_eq!(agreed(&client), "nothing");
        client.send("x".repeat(1000)).await;
        assert_eq!(client.text().await.len(), 1000);
        send_bytes(&mut client, &bomb(1000)).await;
        assert!(matches!(client.event().await, Some(Event::Close(Some(frame))) if frame.code.as_u16() == 1002));
        // What it does not speak, it does not judge.
        assert!(head(&server, "permessage-deflate;;").await.starts_with("HTTP/1.1 101"));
    });
    server.stop();
}

#[test]
fn offers_that_cannot_be_read_are_refused_and_such_that_cannot_be_kept_declined() {
    let server = compressing(0);
    block_on(async {
        assert!(head(&server, "permessage-deflate;;").await.starts_with("HTTP/1.1 400"));
        for (offers, expected) in [
            ("permessage-deflate; server_max_window_bits=8", None),
            ("permessage-deflate; what", None),
            ("x-other", None),
            ("permessage-deflate; client_max_window_bits=7, permessage-deflate; client_max_window_bits", Some(ALONE)),
        ] {
            let head = head(&server, offers).await;
            assert!(head.starts_with("HTTP/1.1 101"), "{head}");
            let answer = head.lines().find_map(|line| line.strip_prefix("sec-websocket-extensions: "));
            assert_eq!(answer, expected, "{offers}");
        }
    });
    server.stop();
}

/// The head of the answer to these offers.
async fn head(server: &Server, offers: &str) -> String {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(&upgrade("/chat", &[("Sec-WebSocket-Extensions", offers)])).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The answer to a client that may keep no context.
const ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
