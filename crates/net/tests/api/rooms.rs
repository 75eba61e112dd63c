//! Many clients in one room.

use crate::client::Client;
use crate::{block_on, open_app, start};
use core::time::Duration;
use switchboard_core::{ChannelName, Command, Limits, Outcome, Payload, Publish};
use switchboard_ws_proto::{Event, Message};
use tokio::task::JoinSet;

#[test]
fn what_one_sends_everyone_in_the_room_receives() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(Client::connect(&server, "/chat").await);
        }
        clients[0].send("hello").await;
        for client in &mut clients {
            assert_eq!(client.text().await, "hello");
        }
        clients[1].send(vec![0, 255, 1]).await;
        for client in &mut clients {
            assert_eq!(client.message().await, Message::from(vec![0, 255, 1]));
        }
        let mut native = Client::connect(&server, "/ws").await;
        assert!(native.text().await.starts_with(r#"{"type":"welcome""#));
        native.send(r#"{"type":"publish","channel":"chat","data":"from afar"}"#).await;
        for client in &mut clients {
            assert_eq!(client.text().await, "from afar");
        }
    });
    server.stop();
}

#[test]
fn a_raw_connection_that_is_open_is_subscribed_wherever_its_channel_lives() {
    let server = start(Limits { operations_per_second: 0, ..Limits::default() }, |settings| settings.shards = 4);
    block_on(async {
        for n in 0..200 {
            let path = format!("/raw/room-{n}");
            let mut first = Client::connect(&server, &path).await;
            let mut second = Client::connect(&server, &path).await;
            first.send("at once").await;
            assert_eq!(second.text().await, "at once");
        }
    });
    server.stop();
}

/// Waits until so many subscriptions stand.
async fn settle(server: &switchboard_net::Server, subscriptions: u64) {
    for _ in 0..2_000 {
        if server.hub().stats().total.subscriptions == subscriptions {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{:?}", server.hub().stats());
}

#[test]
fn a_thousand_clients_see_a_hundred_messages_in_order() {
    let server = start(Limits { operations_per_second: 0, ..Limits::default() }, |_| {});
    block_on(async {
        let mut readers = JoinSet::new();
        for _ in 0..1_000 {
            let mut client = Client::connect(&server, "/raw/room:big").await;
            readers.spawn(async move {
                for n in 0..100 {
                    assert_eq!(client.text().await, n.to_string());
                }
            });
        }
        settle(&server, 1_000).await;
        let mut writer = Client::connect(&server, "/ws").await;
        for n in 0..100 {
            writer.send(format!(r#"{{"type":"publish","channel":"room:big","data":"{n}"}}"#)).await;
        }
        while let Some(read) = readers.join_next().await {
            read.unwrap();
        }
    });
    server.stop();
}

#[test]
fn one_of_a_thousand_readers_stops_and_the_others_miss_nothing() {
    let limits = Limits { operations_per_second: 0, outbox_bytes: 128 * 1024, ..Limits::default() };
    let server = start(limits, |_| {});
    let filler = "x".repeat(32 * 1024);
    block_on(async {
        // What fills its outbox comes on a channel that it has for itself: a thousand readers need not carry it.
        let mut stalled = Client::connect_narrow(&server, "/ws").await;
        stalled.text().await;
        for channel in ["room:big", "flood"] {
            stalled.send(format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#)).await;
            stalled.text().await;
        }
        let mut readers = JoinSet::new();
        for _ in 0..999 {
            let mut client = Client::connect(&server, "/raw/room:big").await;
            readers.spawn(async move {
                for expected in 0.. {
                    match client.text().await.as_str() {
                        "end" => return expected,
                        number => assert_eq!(number, expected.to_string()),
                    }
                }
                unreachable!()
            });
        }
        settle(&server, 1_001).await;
        let mut writer = Client::connect(&server, "/ws").await;
        writer.text().await;
        let mut count = 0;
        // What the kernel takes for the stalled reader differs; it ends all the same.
        while server.hub().stats().total.slow_consumers == 0 {
            assert!(count < 1_000, "the stalled reader is never sent away");
            for (channel, data) in [("room:big", count.to_string()), ("flood", filler.clone())] {
                writer.send(format!(r#"{{"type":"publish","id":1,"channel":"{channel}","data":"{data}"}}"#)).await;
                writer.text().await;
            }
            count += 1;
        }
        writer.send(r#"{"type":"publish","channel":"room:big","data":"end"}"#).await;
        while let Some(read) = readers.join_next().await {
            assert_eq!(read.unwrap(), count);
        }
        assert_eq!(server.hub().stats().total.slow_consumers, 1);
        drop(stalled);
    });
    server.stop();
}

#[test]
fn commands_from_outside_reach_every_shard() {
    let server = start(Limits::default(), |_| {});
    let app = open_app(Limits::default());
    block_on(async {
        let mut clients = Vec::new();
        for n in 0..16 {
            clients.push(Client::connect(&server, &format!("/raw/c{}", n % 4)).await);
        }
        settle(&server, 16).await;
        for n in 0..4 {
            let channel = ChannelName::parse(&format!("c{n}")).unwrap();
            let publish = Publish::new(Payload::Text(format!("to {n}").into()));
            let command = Command::Publish { channel, publish, exclude_self: false };
            let outcome = server.hub().submit(app.clone(), command).await;
            assert!(matches!(outcome, Outcome::Published { .. }), "{outcome:?}");
        }
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.text().await, format!("to {}", n % 4));
        }
    });
    server.stop();
}

#[test]
fn a_large_message_and_a_small_one_behind_it_arrive_whole() {
    let limits = Limits { message_bytes: 4 << 20, outbox_bytes: 16 << 20, ..Limits::default() };
    let server = start(limits, |_| {});
    block_on(async {
        let mut client = Client::connect(&server, "/chat").await;
        let large = "ä".repeat(1 << 20);
        client.send(large.clone()).await;
        client.send("small").await;
        assert_eq!(client.text().await, large);
        assert_eq!(client.text().await, "small");
        client.ws.ping(b"are you there").unwrap();
        client.flush().await;
        assert!(matches!(client.event().await, Some(Event::Pong(payload)) if payload == "are you there"));
    });
    server.stop();
}
