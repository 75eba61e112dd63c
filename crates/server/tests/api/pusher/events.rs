//! What is published, one by one and in batches.

use super::support::{APPS, Client, NEXT_SECRET, Signing, post, post_as};
use crate::support::{ask, configured, native, receive, with_server};
use serde_json::{Value, json};

fn event(name: &str, data: &str) -> (String, String) {
    (name.to_owned(), data.to_owned())
}

#[test]
fn an_event_reaches_all_its_channels_in_every_protocol() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut pusher = Client::of_a(address).await;
        for channel in ["news", "private-a", "presence-a", "private-encrypted-a"] {
            pusher.subscribe(channel, "ann").await;
        }
        let mut other = native(address).await;
        ask(&mut other, &json!({ "type": "subscribe", "id": 1, "channel": "news" })).await;
        let body = json!({ "name": "told", "data": "{\"a\": 1.50}", "channels": ["news", "private-a", "presence-a"] });
        let answer = post(address, "/apps/100/events", &body.to_string()).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
        for _ in 0..3 {
            assert_eq!(pusher.event().await, event("told", "{\"a\": 1.50}"));
        }
        let message = receive(&mut other).await;
        assert_eq!((&message["event"], &message["data"]), (&json!("told"), &json!({ "a": 1.5 })));

        // A text that is no JSON, the older form with one channel, and another secret of the same key.
        let signing = Signing { secret: NEXT_SECRET, ..Signing::of_a() };
        let body = json!({ "name": "told", "data": "a \"text\"", "channel": "news" });
        assert_eq!(post_as(&signing, address, "/apps/100/events", &body.to_string()).await.status, 200);
        assert_eq!(pusher.event().await, event("told", "a \"text\""));
        assert_eq!(receive(&mut other).await["data"], "a \"text\"");

        // What is sealed goes through as it is.
        let sealed = "{\"nonce\":\"AAAA\",\"ciphertext\":\"////\"}";
        let body = json!({ "name": "told", "data": sealed, "channels": ["private-encrypted-a"] });
        assert_eq!(post(address, "/apps/100/events", &body.to_string()).await.status, 200);
        assert_eq!(pusher.event().await, event("told", sealed));
    });
}

#[test]
fn a_batch_is_published_in_its_order() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut pusher = Client::of_a(address).await;
        pusher.subscribe("a", "ann").await;
        pusher.subscribe("b", "ann").await;
        let mut batch: Vec<Value> =
            (0..9).map(|n| json!({ "name": format!("e{n}"), "data": n.to_string(), "channel": "a" })).collect();
        batch.push(json!({ "name": "last", "data": "x", "channel": "b" }));
        let answer = post(address, "/apps/100/batch_events", &json!({ "batch": batch }).to_string()).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
        let mut on_a = Vec::new();
        for _ in 0..10 {
            let (name, data) = pusher.event().await;
            if name != "last" {
                on_a.push((name, data));
            }
        }
        assert_eq!(on_a, (0..9).map(|n| event(&format!("e{n}"), &n.to_string())).collect::<Vec<_>>());

        // Nothing of a batch with a fault is published.
        let batch = json!({ "batch": [{ "name": "x", "data": "1", "channel": "a" }, { "name": "", "data": "1", "channel": "a" }] });
        let refused = post(address, "/apps/100/batch_events", &batch.to_string()).await;
        assert_eq!(
            (refused.status, super::support::text(&refused)),
            (400, "batch[1]: \"name\" has 0 bytes, not 1 to 200")
        );
        assert!(pusher.has_nothing().await);
    });
}

#[test]
fn a_socket_is_left_out_and_a_cache_channel_keeps_the_last() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let [mut ann, mut bob] = [Client::of_a(address).await, Client::of_a(address).await];
        for client in [&mut ann, &mut bob] {
            client.subscribe("news", "x").await;
        }
        let body = json!({ "name": "told", "data": "1", "channels": ["news"], "socket_id": ann.id });
        assert_eq!(post(address, "/apps/100/events", &body.to_string()).await.status, 200);
        let batch = json!({ "batch": [{ "name": "told", "data": "2", "channel": "news", "socket_id": ann.id }] });
        assert_eq!(post(address, "/apps/100/batch_events", &batch.to_string()).await.status, 200);
        for data in ["1", "2"] {
            assert_eq!(bob.event().await, event("told", data));
        }
        assert!(ann.has_nothing().await);

        ann.subscribe("cache-price", "x").await;
        assert_eq!(ann.next().await["event"], "pusher:cache_miss");
        for data in ["1", "2"] {
            let body = json!({ "name": "price", "data": data, "channels": ["cache-price"] });
            assert_eq!(post(address, "/apps/100/events", &body.to_string()).await.status, 200);
        }
        bob.subscribe("cache-price", "x").await;
        assert_eq!(bob.event().await, event("price", "2"));
        // Whoever was left out gets it when it comes later: it was its own.
        assert!(bob.has_nothing().await);
    });
}

#[test]
fn the_same_channel_of_another_application_is_another_channel() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let [mut ann, mut stranger] = [Client::of_a(address).await, Client::of_b(address).await];
        for client in [&mut ann, &mut stranger] {
            client.subscribe("presence-cache-a", "ann").await;
            assert_eq!(client.next().await["event"], "pusher:cache_miss");
        }
        for (signing, path) in [(Signing::of_a(), "/apps/100/events"), (Signing::of_b(), "/apps/200/events")] {
            let body = json!({ "name": path, "data": "1", "channels": ["presence-cache-a"], "socket_id": ann.id });
            assert_eq!(post_as(&signing, address, path, &body.to_string()).await.status, 200);
        }
        assert!(ann.has_nothing().await);
        assert_eq!(stranger.event().await, event("/apps/200/events", "1"));
        assert!(stranger.has_nothing().await);
    });
}
