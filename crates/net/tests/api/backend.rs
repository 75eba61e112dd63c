//! A broker with a backend: requests and replies are carried, back pressure reaches the clients, and its end is the end.

#![allow(clippy::disallowed_types, reason = "a test lets the backend go on by permits")]

use crate::client::Client;
use crate::plain::{Http, sessions};
use crate::{bind, block_on};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{App, ChannelName, Command, Limits, Outcome, Payload, Publish};
use switchboard_hub::{MemoryBroker, Portions};
use switchboard_net::{Backed, Backend, HubHandle, Server};
use switchboard_testkit::{Ask, DeferredBroker};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// The other ends of all shards' ways.
type Ends = Vec<(mpsc::Receiver<Vec<Ask>>, mpsc::Sender<Vec<Ask>>)>;

/// So many shards whose brokers let at most so many publications wait.
fn start(shards: u16, waiting_max: usize) -> (Server, Ends) {
    let limits = Limits { operations_per_second: 0, ..Limits::default() };
    let (bound, api) = bind(limits, |settings| settings.shards = shards);
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

/// Loads every channel, and commits as far as there are permits.
fn answer(ends: Ends, permits: &Arc<Semaphore>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (mut asked, answer) in ends {
        let permits = Arc::clone(permits);
        tasks.spawn(async move {
            while let Some(asks) = asked.recv().await {
                for ask in asks {
                    if ask == Ask::Publish {
                        permits.acquire().await.unwrap().forget();
                    }
                    if answer.send(vec![ask]).await.is_err() {
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
    let (server, ends) = start(2, 8);
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

/// What is on its way when everybody is sent away is still answered, and its answers go out.
#[test]
fn a_shutdown_waits_for_answers() {
    let (server, ends) = start(1, 8);
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let _answering = answer(ends, &permits);
        let mut witness = Client::connect(&server, "/raw/elsewhere").await;
        let mut http = Http::connect(&server).await;
        http.ask("POST /client/v1/publish", r#"{"channel":"room","data":1}"#).await;
        sessions(&server, "post", 1).await;
        let draining = server.drain(Duration::ZERO);
        let mut draining = core::pin::pin!(draining);
        let closed = async { witness.close_frame().await.map(|frame| frame.code.as_u16()) };
        // Who has asked for nothing is sent away at once.
        let code = tokio::select! { code = closed => code, () = &mut draining => panic!("nobody was waited for") };
        assert_eq!(code, Some(1001));
        drop(witness);
        let early = tokio::time::timeout(Duration::from_millis(100), &mut draining).await;
        assert!(early.is_err(), "it was not waited for");
        permits.add_permits(1);
        draining.await;
        let (status, _, body) = http.answer().await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(http.rest().await, "", "the connection ends behind it");
    });
    server.stop();
}

/// The writer's shard is the channel's home.
#[test]
fn a_full_broker_holds_up_those_who_publish_and_all_arrives_in_the_end() {
    // What was read together with the last that was let in may still come.
    check_back_pressure(1, 1, 8);
}

/// Some of the writers' shards are not the channel's home: they hold their clients up at half of the bytes that they may leave unanswered.
#[test]
fn so_it_does_from_other_shards() {
    let half = Portions::default().unanswered_bytes_max / 2 / 60_000;
    // On each shard: what it may leave unanswered, what is taken at the home, and one message more of each writer.
    check_back_pressure(4, 4, 8 + half as u64 + 2 * 4);
}

fn check_back_pressure(shards: u16, writers: usize, shard_max: u64) {
    let (server, ends) = start(shards, 4);
    block_on(async {
        let permits = Arc::new(Semaphore::new(0));
        let _answering = answer(ends, &permits);
        let mut reader = Client::connect(&server, "/raw/room").await;
        let text = format!(r#"{{"type":"publish","channel":"room","data":"{}"}}"#, "x".repeat(60_000));
        let mut writing = JoinSet::new();
        for _ in 0..writers {
            let mut writer = Client::connect(&server, "/ws").await;
            let text = text.clone();
            writing.spawn(async move {
                for _ in 0..200 {
                    writer.send(text.clone()).await;
                }
                writer
            });
        }
        while server.hub().stats().total.publications < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let taken = server.hub().stats().total.messages_in;
        assert!(taken <= shard_max * u64::from(shards), "{taken} messages were read");
        // As fast as the reader takes them: its outbox is not what is looked at.
        permits.add_permits(4);
        for _ in 0..200 * writers {
            assert_eq!(reader.text().await.len(), 60_000);
            permits.add_permits(1);
        }
        writing.join_all().await;
    });
    server.stop();
}

#[test]
fn what_needs_a_channel_waits_until_it_is_loaded_in_its_order() {
    let (server, mut ends) = start(2, 64);
    block_on(async {
        let mut client = Client::connect(&server, "/ws").await;
        client.text().await;
        for request in [
            r#"{"type":"subscribe","id":1,"channel":"room"}"#,
            r#"{"type":"publish","id":2,"channel":"room","data":1}"#,
            r#"{"type":"unsubscribe","id":3,"channel":"room"}"#,
            r#"{"type":"subscribe","id":4,"channel":"room"}"#,
            r#"{"type":"presence","id":5,"channel":"room"}"#,
            r#"{"type":"publish","id":6,"channel":"other","data":1}"#,
        ] {
            client.send(request).await;
        }
        let mut asked = Vec::new();
        while asked.len() < 2 {
            for (requests, replies) in &mut ends {
                while let Ok(asks) = requests.try_recv() {
                    asked.extend(asks.into_iter().map(|ask| (ask, replies.clone())));
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Only what reads waits, and what comes behind it on the same channel.
        let at = asked.iter().position(|(ask, _)| *ask == Ask::Publish).unwrap();
        let (ask, replies) = asked.swap_remove(at);
        replies.send(vec![ask]).await.unwrap();
        assert!(client.text().await.starts_with(r#"{"type":"ok","id":6,"#));
        let (load, replies) = asked.pop().unwrap();
        assert!(matches!(&load, Ask::Load(key) if key.channel.as_str() == "room"));
        replies.send(vec![load]).await.unwrap();
        for id in [1, 3] {
            let answer = client.text().await;
            assert!(answer.starts_with(&format!(r#"{{"type":"ok","id":{id},"channel":"room""#)), "{answer}");
        }
        // It was let go in between.
        let mut asked = Vec::new();
        while asked.len() < 2 {
            for (requests, _) in &mut ends {
                asked.extend(std::iter::from_fn(|| requests.try_recv().ok()).flatten());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(matches!(&asked[..], [Ask::Publish, Ask::Load(key)] if key.channel.as_str() == "room"), "{asked:?}");
        replies.send(vec![asked.remove(1)]).await.unwrap();
        for id in [4, 5] {
            let answer = client.text().await;
            assert!(answer.starts_with(&format!(r#"{{"type":"ok","id":{id},"channel":"room""#)), "{answer}");
        }
        replies.send(vec![Ask::Publish]).await.unwrap();
        let answers = [client.text().await, client.text().await];
        assert!(answers.iter().any(|text| text.starts_with(r#"{"type":"ok","id":2,"#)), "{answers:?}");
        assert!(answers.iter().any(|text| text.starts_with(r#"{"type":"message""#)), "{answers:?}");
    });
    server.stop();
}

#[test]
fn a_channel_that_cannot_be_loaded_is_refused_and_may_be_asked_for_again() {
    let (server, ends) = start(2, 64);
    block_on(async {
        let mut answering = JoinSet::new();
        for (mut asked, answer) in ends {
            answering.spawn(async move {
                let mut first = true;
                while let Some(asks) = asked.recv().await {
                    let refuse = |ask| match ask {
                        Ask::Load(key) if std::mem::take(&mut first) => Ask::Unreadable(key),
                        other => other,
                    };
                    answer.send(asks.into_iter().map(refuse).collect()).await.unwrap();
                }
            });
        }
        let mut client = Client::connect(&server, "/ws").await;
        client.text().await;
        client.send(r#"{"type":"subscribe","id":1,"channel":"room"}"#).await;
        let refused = client.text().await;
        assert!(refused.contains(r#""id":1,"code":"unavailable""#), "{refused}");
        client.send(r#"{"type":"subscribe","id":2,"channel":"room"}"#).await;
        assert!(client.text().await.starts_with(r#"{"type":"ok","id":2,"#));
    });
    server.stop();
}

#[test]
fn a_shard_whose_backend_ends_has_failed() {
    let (server, ends) = start(2, 8);
    block_on(async {
        drop(ends);
        server.failed().await;
    });
    server.stop();
}
