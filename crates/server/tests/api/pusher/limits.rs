//! What one client of Pusher's may cost, and that it is told where that ends.

use super::support::{APPS, Client};
use crate::support::{configured, with_server};
use serde_json::{Value, json};

fn limited(limits: &str) -> String {
    APPS.replace("message_bytes = \"4KiB\"", limits)
}

fn data(message: &Value) -> Value {
    serde_json::from_str(message["data"].as_str().unwrap()).unwrap()
}

#[test]
fn client_events_that_come_too_fast_are_refused_with_4301_and_the_connection_goes_on() {
    let config = configured(&limited("operations_per_second = 1\noperations_burst = 5"));
    with_server(&config, async |server| {
        let mut client = Client::of_a(server.address()).await;
        client.subscribe("private-a", "ann").await;
        for n in 0..20 {
            client.send(&json!({ "event": "client-x", "channel": "private-a", "data": n })).await;
        }
        let refused = client.next().await;
        assert_eq!(
            (&refused["event"], &refused["channel"]),
            (&json!("pusher:error"), &json!("private-a")),
            "{refused}"
        );
        assert_eq!(data(&refused)["code"], 4301);
        // All that are behind are refused as well, and then the client is heard again.
        client.send(&json!({ "event": "pusher:ping", "data": {} })).await;
        loop {
            let answer = client.next().await;
            if answer["event"] == "pusher:pong" {
                break;
            }
            assert_eq!(data(&answer)["code"], 4301);
        }
    });
}

#[test]
fn subscriptions_beyond_the_limit_are_refused_and_cost_nothing() {
    with_server(&configured(&limited("channels = 3")), async |server| {
        let mut client = Client::of_a(server.address()).await;
        for name in ["a", "private-b", "presence-c"] {
            client.subscribe(name, "ann").await;
        }
        for n in 0..200 {
            client.send(&json!({ "event": "pusher:subscribe", "data": { "channel": format!("flood-{n}") } })).await;
            let refused = client.next().await;
            assert_eq!(refused["event"], "pusher:subscription_error", "{refused}");
            assert_eq!((&data(&refused)["type"], &data(&refused)["status"]), (&json!("LimitReached"), &json!(403)));
        }
        client.send(&json!({ "event": "pusher:unsubscribe", "data": { "channel": "a" } })).await;
        client.subscribe("flood-1", "ann").await;
    });
}
