//! A broker with a backend: requests and replies are carried, back pressure reaches the clients, and its end is the end.

use crate::client::Client;
use crate::{bind, block_on};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Command, Limits, Outcome, Payload, Publish};
use switchboard_hub::MemoryBroker;
use switchboard_net::{Backed, Backend, HubHandle, Server};
use switchboard_testkit::{DeferredBroker, Note};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// The other ends of all shards' ways.
type Ends = Vec<(mpsc::Receiver<Vec<Note>>, mpsc::Sender<Vec<Note>>)>;

/// Two shards whose brokers let at most so many publications wait.
fn start(waiting_max: usize) -> (Server, Ends) {
    let (bound, api) = bind(Limits { operations_per_second: 0, ..Limits::default() }, |_| {});
    let mut ends = Vec::new();
    let server = bound.serve_with(&api, |shard| {
        let (requests, asked) = mpsc::channel(2);
        let (answer, replies) = mpsc::channel(2);
        ends.push((asked, answer));
        let broker = DeferredBroker::new(MemoryBroker::new(1 + u64::from(shard.0), 1 << 26), waiting_max);
        Backed { broker, backend: Some(Backend { requests, replies }) }
    });
    (server.unwrap(), ends)
}

/// Answers everything as far as there are permits.
fn answer(ends: Ends, permits: &Arc<Semaphore>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (mut asked, answer) in ends {
        let permits = Arc::clone(permits);
        tasks.spawn(async move {
            while let Some(notes) = asked.recv().await {
                for note in notes {
                    permits.acquire().await.unwrap().forget();
                    if answer.send(vec![note]).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
    tasks
}

async fn publish(hub: HubHandle, app: Arc<App>, n: usize) -> u64 {
    let channel = ChannelName::parse("room").unwrap();
    let publish = Publish::new(Payload::Text(format!("application {n}").into()));
    match hub.submit(app, Command::Publish { channel, publish, exclude_self: false }).await {
        Outcome::Published { position, .. } => position.offset,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_told_before_the_backend_has_it() {
    let (server, ends) = start(8);
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let _answering = answer(ends, &permits);
        let mut reader = Client::connect(&server, "/raw/room").await;
        let mut writer = Client::connect(&server, "/ws").await;
        writer.text().await;
        for n in 1..=100 {
            writer.send(format!(r#"{{"type":"publish","id":{n},"channel":"room","data":"client {n}"}}"#)).await;
        }
        let app = crate::open_app(Limits::default());
        let mut asking = JoinSet::new();
        for n in 0..20 {
            asking.spawn(publish(server.hub(), Arc::clone(&app), n));
        }
        let early = tokio::time::timeout(Duration::from_millis(100), async {
            tokio::select! { text = reader.text() => text, text = writer.text() => text }
        });
        assert!(early.await.is_err(), "told before it was committed");
        permits.add_permits(120);
        let mut from_client = Vec::new();
        for _ in 0..120 {
            from_client.extend(reader.text().await.strip_prefix("client ").map(|n| n.parse::<usize>().unwrap()));
        }
        assert_eq!(from_client, (1..=100).collect::<Vec<_>>());
        for n in 1..=100 {
            assert!(writer.text().await.starts_with(&format!(r#"{{"type":"ok","id":{n},"#)));
        }
        let mut offsets = asking.join_all().await;
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), 20);
    });
    server.stop();
}

#[test]
fn a_full_broker_holds_up_those_who_publish_and_all_arrives_in_the_end() {
    let (server, ends) = start(4);
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let _answering = answer(ends, &permits);
        let mut reader = Client::connect(&server, "/raw/room").await;
        let mut writer = Client::connect(&server, "/ws").await;
        let text = format!(r#"{{"type":"publish","channel":"room","data":"{}"}}"#, "x".repeat(60_000));
        let writing = tokio::spawn(async move {
            for _ in 0..200 {
                writer.send(text.clone()).await;
            }
            writer
        });
        while server.hub().stats().total.publications < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        // What was read together with the last that was let in may still come.
        let taken = server.hub().stats().total.messages_in;
        assert!(taken <= 8, "{taken} messages were read");
        permits.add_permits(200);
        for _ in 0..200 {
            assert_eq!(reader.text().await.len(), 60_000);
        }
        drop(writing);
    });
    server.stop();
}

#[test]
fn a_shard_whose_backend_ends_has_failed() {
    let (server, ends) = start(8);
    block_on(async {
        drop(ends);
        server.failed().await;
    });
    server.stop();
}
