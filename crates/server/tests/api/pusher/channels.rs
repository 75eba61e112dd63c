//! Who and how many are where.

use super::support::{APPS, Client, Signing, get, get_as, post, text};
use crate::support::{ask, configured, native, request, with_server};
use serde_json::json;

#[test]
fn occupied_channels_are_listed_with_what_is_asked_of_them() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let channels = "/apps/100/channels";
        assert_eq!(get(address, channels, &[]).await.json(), json!({ "channels": {} }));
        let mut clients = Vec::new();
        for (user, names) in [
            ("ann", ["presence-a", "presence-b", "news"]),
            ("ann", ["presence-a", "private-x", "news"]),
            ("bob", ["presence-a", "presence-cache-c", "cache-d"]),
        ] {
            let mut client = Client::of_a(address).await;
            for name in names {
                client.subscribe(name, user).await;
                if name.contains("cache") {
                    client.next().await;
                }
            }
            clients.push(client);
        }
        // A user's own channel is nobody's business.
        let mut user = Client::of_a(address).await;
        user.sign_in("ann").await;
        user.subscribe("#server-to-user-ann", "ann").await;
        // What another protocol calls by a name that Pusher's alphabet lacks, and what another application has.
        let mut other = native(address).await;
        ask(&mut other, &json!({ "type": "subscribe", "id": 1, "channel": "room:1" })).await;
        let mut eve = Client::of_b(address).await;
        eve.subscribe("presence-a", "eve").await;

        let all = get(address, channels, &[]).await.json();
        let names = ["cache-d", "news", "presence-a", "presence-b", "presence-cache-c", "private-x", "room=3A1"];
        let none: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        assert_eq!(all, json!({ "channels": none }));
        let counted =
            get(address, channels, &[("filter_by_prefix", "presence-"), ("info", "user_count,subscription_count")])
                .await;
        let expected = json!({ "channels": {
            "presence-a": { "user_count": 2, "subscription_count": 3 },
            "presence-b": { "user_count": 1, "subscription_count": 1 },
            "presence-cache-c": { "user_count": 1, "subscription_count": 1 },
        } });
        assert_eq!(counted.json(), expected);
        let escaped = get(address, channels, &[("filter_by_prefix", "room=3A"), ("info", "subscription_count")]).await;
        assert_eq!(escaped.json(), json!({ "channels": { "room=3A1": { "subscription_count": 1 } } }));
        assert_eq!(get(address, channels, &[("filter_by_prefix", "nothing")]).await.json(), json!({ "channels": {} }));
        let theirs = get_as(&Signing::of_b(), address, "/apps/200/channels", &[]).await;
        assert_eq!(theirs.json(), json!({ "channels": { "presence-a": {} } }));
        for (parameters, says) in [
            (&[("info", "user_count")][..], "user_count is for presence channels"),
            (&[("info", "user_count"), ("filter_by_prefix", "presence")], "user_count is for presence channels"),
            (&[("info", "subscription_count,members")], "\"info\" has \"members\""),
            (&[("info", "cache")], "cache is told of one channel at a time"),
        ] {
            let refused = get(address, channels, parameters).await;
            assert_eq!(refused.status, 400, "{refused:?}");
            assert!(text(&refused).contains(says), "{refused:?}");
        }

        let info = [("info", "user_count,subscription_count")];
        let one = get(address, "/apps/100/channels/presence-a", &info).await.json();
        assert_eq!(one, json!({ "occupied": true, "user_count": 2, "subscription_count": 3 }));
        let empty = get(address, "/apps/100/channels/presence-z", &info).await.json();
        assert_eq!(empty, json!({ "occupied": false, "user_count": 0, "subscription_count": 0 }));
        assert_eq!(get(address, "/apps/100/channels/room=3A1", &[]).await.json(), json!({ "occupied": true }));
        let refused = get(address, "/apps/100/channels/news", &info).await;
        assert_eq!((refused.status, text(&refused)), (400, "user_count is for presence channels: this is none"));

        let users = get(address, "/apps/100/channels/presence-a/users", &[]).await.json();
        let mut users: Vec<&str> =
            users["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
        users.sort_unstable();
        assert_eq!(users, ["ann", "bob"]);
        assert_eq!(get(address, "/apps/100/channels/presence-z/users", &[]).await.json(), json!({ "users": [] }));
        assert_eq!(get(address, "/apps/100/channels/news/users", &[]).await.status, 400);
        assert_eq!(get(address, "/apps/100/channels/a:b/users", &[]).await.status, 400);
        assert_eq!(
            get(address, "/apps/100/channels/a%2Fb", &[]).await.status,
            400,
            "a separator that is escaped is a part of a name, and of no channel's"
        );
    });
}

#[test]
fn what_is_published_is_answered_with_the_counts_that_were_asked_for() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut client = Client::of_a(address).await;
        client.subscribe("presence-a", "ann").await;
        let info = "subscription_count,user_count";
        let body = json!({ "name": "told", "data": "1", "channels": ["presence-a", "news"], "info": info });
        let told = post(address, "/apps/100/events", &body.to_string()).await.json();
        let expected =
            json!({ "presence-a": { "user_count": 1, "subscription_count": 1 }, "news": { "subscription_count": 0 } });
        assert_eq!(told, json!({ "channels": expected }));
        let batch = json!({ "batch": [
            { "name": "told", "data": "1", "channel": "news" },
            { "name": "told", "data": "1", "channel": "presence-a", "info": "user_count" },
        ] });
        let told = post(address, "/apps/100/batch_events", &batch.to_string()).await.json();
        assert_eq!(told, json!({ "batch": [{}, { "user_count": 1 }] }));
        let body = json!({ "name": "told", "data": "1", "channels": ["news"], "info": "members" });
        assert_eq!(post(address, "/apps/100/events", &body.to_string()).await.status, 400);
    });
}

/// Whatever the server keeps of a channel, whoever has published it.
#[test]
fn the_cached_value_of_a_channel_is_told() {
    let settings = "[channels]\ncache_ttl = \"100s\"\n";
    with_server(&configured(&format!("{settings}{APPS}")), async |server| {
        let address = server.address();
        let info = [("info", "cache,subscription_count")];
        let cached = async |channel: &str| {
            let mut told = get(address, &format!("/apps/100/channels/{channel}"), &info).await.json();
            assert_eq!((&told["occupied"], &told["subscription_count"]), (&json!(false), &json!(0)));
            if let Some(ttl) = told["cache"].as_object_mut().and_then(|kept| kept.remove("ttl")) {
                assert!(ttl.as_u64().unwrap() <= 100, "{ttl}");
            }
            told["cache"].clone()
        };
        assert_eq!(cached("cache-price").await, json!(null));
        for (name, data) in [("price", "{\"usd\":6}"), ("price", "{\"usd\":7}")] {
            let event = json!({ "name": name, "data": data, "channels": ["cache-price", "news"] }).to_string();
            assert_eq!(post(address, "/apps/100/events", &event).await.json(), json!({}));
        }
        assert_eq!(cached("cache-price").await, json!({ "event": "price", "data": "{\"usd\":7}" }));
        assert_eq!(cached("news").await, json!(null));

        for (data, encoding) in [("17", None), ("AP8=", Some("base64"))] {
            let head = "POST /api/v1/publish\nAuthorization: Bearer api-key-of-application-a";
            let body = json!({ "channel": "room:1", "data": data, "encoding": encoding, "cache": "keep" });
            assert_eq!(request(address, head, &body.to_string()).await.status, 200);
            let expected = match encoding {
                None => json!({ "event": "message", "data": "\"17\"" }),
                Some(encoding) => json!({ "event": "message", "data": "AP8=", "encoding": encoding }),
            };
            assert_eq!(cached("room=3A1").await, expected);
        }

        let event = json!({ "name": "price", "data": "8", "channels": ["cache-price", "news"], "info": "cache" });
        let told = post(address, "/apps/100/events", &event.to_string()).await.json();
        let channels = &told["channels"];
        assert_eq!(
            (&channels["cache-price"]["cache"]["data"], &channels["news"]["cache"]),
            (&json!("8"), &json!(null))
        );
    });
}
