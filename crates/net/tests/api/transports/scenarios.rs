//! What is promised over every transport.

use super::{Ability, Listener, Refusal, Transport, Wish};
use crate::plain::sessions;
use crate::{block_on, open_app, start};
use core::time::Duration;
use serde_json::{Value, json};
use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelName, Command, Limits, Outcome, Payload, Publish};
use switchboard_net::{Server, Settings};

fn has<T: Transport>(ability: Ability) -> bool {
    T::ABILITIES.contains(&ability)
}

/// Runs a scenario against a server of its own, which in the end has no sessions.
fn on<T: Transport>(limits: Limits, change: impl FnOnce(&mut Settings), scenario: impl AsyncFnOnce(&Server, &mut T)) {
    let mut transport = None;
    let server = start(limits, |settings| {
        transport = Some(T::new(settings));
        change(settings);
    });
    block_on(async {
        let transport = transport.as_mut().unwrap();
        transport.reach(&server).await;
        scenario(&server, transport).await;
        sessions(&server, T::DIALECT, 0).await;
    });
    server.stop();
}

fn usual(_: &mut Settings) {}

/// Publishes as the application does, which needs no transport, and returns where.
async fn publish(server: &Server, app: Arc<App>, channel: &str, text: &str) -> String {
    let publish = Publish::new(Payload::Text(text.into()));
    let command = Command::Publish { channel: ChannelName::parse(channel).unwrap(), publish, exclude_self: false };
    match server.hub().submit(app, command).await {
        Outcome::Published { position, .. } => format!("{}:{}", position.epoch, position.offset),
        other => panic!("{other:?}"),
    }
}

fn open() -> Arc<App> {
    open_app(Limits::default())
}

async fn assert_hears(client: &mut impl Listener, text: &str) {
    let told = client.hear().await;
    assert_eq!((&told["type"], &told["data"]), (&json!("message"), &json!(text)), "{told}");
}

pub(super) fn order<T: Transport>() {
    on::<T>(Limits::default(), usual, async |server, transport| {
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(transport.open(&Wish::channel("room:a")).await.unwrap());
        }
        for n in 0..50 {
            publish(server, open(), "room:a", &n.to_string()).await;
        }
        for client in &mut clients {
            for n in 0..50 {
                assert_hears(client, &n.to_string()).await;
            }
        }
        if has::<T>(Ability::Publish) {
            clients[0].publish("room:a", "from one of them").await;
            for client in &mut clients {
                assert_hears(client, "from one of them").await;
            }
        }
    });
}

pub(super) fn refusals<T: Transport>() {
    on::<T>(Limits::default(), usual, async |server, transport| {
        let refused = |code: &str, status| match has::<T>(Ability::Later) {
            true => Refusal::Answer(code.to_owned()),
            false => Refusal::Status(status),
        };
        for (wish, expected) in [
            (Wish::closed("room:a", "WRONG"), Refusal::Status(401)),
            (Wish { origin: Some("https://evil.example"), ..Wish::channel("room:a") }, Refusal::Status(403)),
            (Wish { app: Some("nobody"), ..Wish::channel("room:a") }, Refusal::Status(404)),
            (Wish::closed("other", "ANN"), refused("permission_denied", 403)),
        ] {
            let refusal = transport.open(&wish).await.map(|_| ()).unwrap_err();
            assert_eq!(refusal, expected, "{wish:?}");
        }
        sessions(server, T::DIALECT, 0).await;
        let good = Wish { origin: Some("https://good.example"), ..Wish::closed("room:a", "ANN") };
        transport.open(&good).await.unwrap();
    });
}

pub(super) fn applications<T: Transport>() {
    on::<T>(Limits::default(), usual, async |server, transport| {
        let mut ours = transport.open(&Wish::channel("room:a")).await.unwrap();
        let mut theirs = transport.open(&Wish::closed("room:a", "ANN")).await.unwrap();
        let closed = Arc::new(App::new(AppId::new("closed")));
        for n in 0..3 {
            publish(server, open(), "room:a", &format!("ours {n}")).await;
            publish(server, Arc::clone(&closed), "room:a", &format!("theirs {n}")).await;
        }
        for n in 0..3 {
            assert_hears(&mut ours, &format!("ours {n}")).await;
            assert_hears(&mut theirs, &format!("theirs {n}")).await;
        }
    });
}

pub(super) fn resume<T: Transport>() {
    on::<T>(Limits::default(), usual, async |server, transport| {
        let mut client = transport.open(&Wish::channel("room:a")).await.unwrap();
        let position = publish(server, open(), "room:a", "heard").await;
        assert_hears(&mut client, "heard").await;
        drop(client);
        sessions(server, T::DIALECT, 0).await;
        for missed in ["missed", "missed too"] {
            publish(server, open(), "room:a", missed).await;
        }
        let back = |since: &str| Wish { since: Some(since.to_owned()), ..Wish::channel("room:a") };
        let mut client = transport.open(&back(&position)).await.unwrap();
        assert_eq!(client.subscribed()["recovered"], true);
        publish(server, open(), "room:a", "live").await;
        let mut heard = Vec::new();
        while heard.len() < 3 {
            // Some tell where the past ends.
            let told = client.hear().await;
            assert!(told["type"] == "message" || told["type"] == "caught_up", "{told}");
            heard.extend(told.get("data").cloned());
        }
        assert_eq!(Value::from(heard), json!(["missed", "missed too", "live"]));
        let lost = transport.open(&back("1:1")).await.unwrap();
        assert_eq!(lost.subscribed()["recovered"], false);
    });
}

pub(super) fn disappearance<T: Transport>() {
    on::<T>(Limits::default(), usual, async |server, transport| {
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(transport.open(&Wish::channel("room:a")).await.unwrap());
        }
        sessions(server, T::DIALECT, 5).await;
        clients.truncate(1);
        sessions(server, T::DIALECT, 1).await;
        publish(server, open(), "room:a", "still here").await;
        assert_hears(&mut clients[0], "still here").await;
    });
}

pub(super) fn places<T: Transport>() {
    let few = |settings: &mut Settings| settings.connections_per_address = 4;
    on::<T>(Limits::default(), few, async |server, transport| {
        let (room, status) = if has::<T>(Ability::Shares) { (3, 503) } else { (4, 429) };
        let full = if has::<T>(Ability::Overload) { Refusal::Status(status) } else { Refusal::HungUp };
        let mut clients = Vec::new();
        for count in 1..=room {
            clients.push(transport.open(&Wish::channel("room:a")).await.unwrap());
            sessions(server, T::DIALECT, count).await;
        }
        let refusal = transport.open(&Wish::channel("room:a")).await.map(|_| ()).unwrap_err();
        assert_eq!(refusal, full);
        clients.pop();
        sessions(server, T::DIALECT, room - 1).await;
        // The session is gone before its place is given back.
        let mut again = loop {
            match transport.open(&Wish::channel("room:a")).await {
                Ok(client) => break client,
                Err(refusal) => assert_eq!(refusal, full),
            }
        };
        publish(server, open(), "room:a", "at last").await;
        assert_hears(&mut again, "at last").await;
    });
}

pub(super) fn slow_reader<T: Transport>() {
    if !has::<T>(Ability::GoesOn) {
        return;
    }
    let limits = Limits { outbox_bytes: 64 * 1024, ..Limits::default() };
    let one_shard = |settings: &mut Settings| settings.shards = 1;
    on::<T>(limits.clone(), one_shard, async |server, transport| {
        let slow = transport.open(&Wish::channel("room:a")).await.unwrap();
        let mut healthy = transport.open(&Wish::channel("room:a")).await.unwrap();
        let app = open_app(limits);
        let text = "x".repeat(16 * 1024);
        // What the kernel takes for the slow one differs; it ends all the same.
        let mut count = 0;
        while server.hub().stats().total.slow_consumers == 0 {
            assert!(count < 2_000, "the reader that stopped was never given up");
            publish(server, Arc::clone(&app), "room:a", &text).await;
            assert_hears(&mut healthy, &text).await;
            count += 1;
        }
        sessions(server, T::DIALECT, 1).await;
        publish(server, app, "room:a", "still here").await;
        assert_hears(&mut healthy, "still here").await;
        assert_eq!(server.hub().stats().total.slow_consumers, 1);
        drop(slow);
    });
}

pub(super) fn large_message<T: Transport>() {
    if !has::<T>(Ability::Publish) {
        return;
    }
    on::<T>(Limits { message_bytes: 1_000, ..Limits::default() }, usual, async |server, transport| {
        let mut innocent = transport.open(&Wish::channel("room:a")).await.unwrap();
        let mut client = transport.open(&Wish::channel("room:a")).await.unwrap();
        client.publish("room:a", &"x".repeat(100_000)).await;
        let close = loop {
            let told = client.hear().await;
            match told["type"].as_str() {
                Some("close") => break told,
                Some("disconnect") => {}
                _ => panic!("{told}"),
            }
        };
        assert_eq!(close["code"], 1009, "{close}");
        sessions(server, T::DIALECT, 1).await;
        innocent.publish("room:a", "small").await;
        assert_hears(&mut innocent, "small").await;
    });
}

pub(super) fn drain<T: Transport>() {
    on::<T>(Limits::default(), usual, async |server, transport| {
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(transport.open(&Wish::channel("room:a")).await.unwrap());
        }
        sessions(server, T::DIALECT, 3).await;
        let told = async {
            for mut client in clients {
                let told = client.hear().await;
                if has::<T>(Ability::GoesOn) {
                    assert_eq!((&told["type"], &told["code"]), (&json!("disconnect"), &json!(1001)), "{told}");
                    assert_eq!(told["reconnect"], true, "{told}");
                } else {
                    assert_eq!(told["type"], "nothing", "{told}");
                }
            }
        };
        tokio::join!(server.drain(Duration::from_millis(50)), told);
    });
}
