//! Two applications whose channels, users, keys of idempotency and tokens have the same names: nothing of one reaches the other, by any way.

use crate::pusher::support::{APPS, Client, Signing, get_as, post_as};
use crate::support::{Answer, Socket, ask, configured, connect, receive, request, with_server};
use core::net::SocketAddr;
use core::time::Duration;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use switchboard_core::{Time, UserId};
use switchboard_server::{NewToken, Running, sign};

const A: (&str, &str) = ("key-a", "api-key-of-application-a");
const B: (&str, &str) = ("key-b", "api-key-of-application-b");

async fn post(address: SocketAddr, app: (&str, &str), what: &str, body: &Value) -> Answer {
    request(address, &format!("POST /api/v1/{what}\nAuthorization: Bearer {}", app.1), &body.to_string()).await
}

/// A token for everything, of the application in the place.
fn token(server: &Running, place: usize, user: &str) -> String {
    let apps = server.apps().all();
    let user = UserId::parse(user).unwrap();
    let channels = [("*".to_owned(), vec!["*".to_owned()])];
    let new = NewToken { user: &user, channels: &channels, ttl: Duration::from_secs(60), info: None, app: None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    sign(&apps[place].token_keys[0], &new, Time::default() + now).unwrap().0
}

/// A native client of an application, with a token.
async fn native(server: &Running, app: (&str, &str), place: usize, user: &str) -> Socket {
    let mut socket = connect(&format!("ws://{}/ws/{}", server.address(), app.0)).await;
    assert_eq!(receive(&mut socket).await["type"], "welcome");
    let answer =
        ask(&mut socket, &json!({ "type": "authenticate", "id": 1, "token": token(server, place, user) })).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    socket
}

async fn subscribe(socket: &mut Socket, what: &Value) -> Value {
    let mut request = json!({ "type": "subscribe", "id": 2 });
    for (name, value) in what.as_object().unwrap() {
        request[name] = value.clone();
    }
    let answer = ask(socket, &request).await;
    assert_eq!(answer["type"], "ok", "{answer}");
    answer
}

async fn has_nothing(socket: &mut Socket) -> bool {
    ask(socket, &json!({ "type": "ping" })).await["type"] == "pong"
}

#[test]
fn publications_history_and_patterns_stay_with_their_application() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut hers = native(server, A, 0, "ann").await;
        let mut theirs = native(server, B, 1, "ann").await;
        for socket in [&mut hers, &mut theirs] {
            subscribe(socket, &json!({ "channel": "room/1" })).await;
            subscribe(socket, &json!({ "pattern": "other/+" })).await;
        }
        let mut pusher = Client::of_b(address).await;
        pusher.subscribe("room=2F1", "ann").await;
        // The same key of idempotency, in the native API; then by the native protocol, by Pusher's and by its HTTP API.
        let same = json!({ "channel": "room/1", "data": 1, "idempotency_key": "k" });
        let [first, second] = [post(address, A, "publish", &same).await, post(address, B, "publish", &same).await];
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(second.json().get("duplicate"), None, "{second:?}");
        assert_eq!(receive(&mut hers).await["data"], 1);
        assert_eq!(receive(&mut theirs).await["data"], 1);
        assert_eq!(pusher.event().await.1, "1");
        for channel in ["room/1", "other/1"] {
            let told = json!({ "type": "publish", "id": 3, "channel": channel, "data": "b", "exclude_self": true });
            assert_eq!(ask(&mut theirs, &told).await["type"], "ok");
        }
        let body = json!({ "name": "told", "data": "b", "channels": ["room=2F1"] }).to_string();
        assert_eq!(post_as(&Signing::of_b(), address, "/apps/200/events", &body).await.status, 200);
        assert!(has_nothing(&mut hers).await);
        let kept = |answer: &Answer| answer.json()["publications"].as_array().unwrap().len();
        let question = json!({ "channel": "room/1" });
        assert_eq!(kept(&post(address, A, "history", &question).await), 1);
        assert_eq!(kept(&post(address, B, "history", &question).await), 3);
        // A position of one application says nothing in the other.
        let position = post(address, B, "history", &question).await.json()["position"].clone();
        let mut returns = native(server, A, 0, "ann").await;
        let answer = subscribe(&mut returns, &json!({ "channel": "room/1", "since": position })).await;
        assert_ne!(answer["recovered"], true, "{answer}");
    });
}

#[test]
fn users_presence_and_control_stay_with_their_application() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut hers = native(server, A, 0, "ann").await;
        let mut theirs = native(server, B, 1, "ann").await;
        let mut signed_in = Client::of_a(address).await;
        signed_in.sign_in("ann").await;
        signed_in.subscribe("presence-a", "ann").await;
        for socket in [&mut hers, &mut theirs] {
            subscribe(socket, &json!({ "channel": "presence-a", "presence": true })).await;
        }
        let counted = async |app, total: u64, connections: u64| {
            let presence = post(address, app, "presence", &json!({ "channel": "presence-a" })).await.json();
            assert_eq!(
                (&presence["total"], &presence["connections"]),
                (&json!(total), &json!(connections)),
                "{presence}"
            );
        };
        counted(A, 1, 2).await;
        counted(B, 1, 1).await;
        let users =
            get_as(&Signing::of_b(), address, "/apps/200/channels/presence-a", &[("info", "subscription_count")]).await;
        assert_eq!(users.json()["subscription_count"], 1);
        // Sent to ann of B, and then she is sent away.
        let body = json!({ "name": "note", "data": "1", "channels": ["#server-to-user-ann"] }).to_string();
        assert_eq!(post_as(&Signing::of_b(), address, "/apps/200/events", &body).await.status, 200);
        let ended = post_as(&Signing::of_b(), address, "/apps/200/users/ann/terminate_connections", "{}").await;
        assert_eq!(ended.status, 200);
        loop {
            let told = receive(&mut theirs).await;
            if told["type"] == "disconnect" {
                assert_eq!(told["code"], 4003);
                break;
            }
        }
        counted(A, 1, 2).await;
        assert!(signed_in.has_nothing().await);
        assert_eq!(
            ask(&mut hers, &json!({ "type": "publish", "id": 9, "channel": "x", "data": 1 })).await["type"],
            "ok"
        );
    });
}

#[test]
fn a_secret_of_one_application_vouches_for_nothing_in_the_other() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let mut socket = connect(&format!("ws://{address}/ws/{}", B.0)).await;
        receive(&mut socket).await;
        let refused =
            ask(&mut socket, &json!({ "type": "authenticate", "id": 1, "token": token(server, 0, "ann") })).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("bad_token")), "{refused}");
        // A signature of A for a socket of B, under either key.
        let mut client = Client::of_b(address).await;
        let signature =
            crate::pusher::support::sign(crate::pusher::support::SECRET, &format!("{}:private-a", client.id));
        for key in ["key-a", "key-b"] {
            let data = json!({ "channel": "private-a", "auth": format!("{key}:{signature}") });
            client.send(&json!({ "event": "pusher:subscribe", "data": data })).await;
            let told = client.next().await;
            assert_eq!(told["event"], "pusher:subscription_error");
            // Whoever signs is told what ought to have been signed.
            let wanted = format!("the HMAC-SHA256 of \"{}:private-a\"", client.id);
            let error: Value = serde_json::from_str(told["data"].as_str().unwrap()).unwrap();
            let error = error["error"].as_str().unwrap();
            assert!(error.contains("the signature is not good") && error.contains(&wanted), "{error}");
        }
        let body = json!({ "name": "told", "data": "1", "channels": ["news"] }).to_string();
        let signing = Signing { secret: crate::pusher::support::SECRET, ..Signing::of_b() };
        assert_eq!(post_as(&signing, address, "/apps/200/events", &body).await.status, 401);
    });
}
