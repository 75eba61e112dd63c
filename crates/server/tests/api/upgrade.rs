//! Who may not connect is told before 101, with a status and a reason; who may, gets what the token says.

use crate::support::{SECRET, TWO_APPS, ask, configured, receive, request, with_server};
use core::net::SocketAddr;
use core::time::Duration;
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use switchboard_core::{Time, UserId};
use switchboard_server::{NewToken, Secret, TokenKey, sign};
use switchboard_ws::Connector;

pub fn token(secret: &str, user: &str, allow: &[&str]) -> String {
    let key = TokenKey { kid: None, secret: Secret::new(secret) };
    let user = UserId::parse(user).unwrap();
    let channels = [("room:*".to_owned(), allow.iter().map(|name| (*name).to_owned()).collect())];
    let new = NewToken { user: &user, channels: &channels, ttl: Duration::from_secs(60), info: None, app: None };
    let now = Time::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    sign(&key, &new, now).unwrap().0
}

async fn upgrade(address: SocketAddr, path: &str, headers: &str) -> crate::support::Answer {
    let head = format!(
        "GET {path}\nConnection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n{headers}"
    );
    request(address, &head, "").await
}

#[test]
fn every_refusal_has_its_status() {
    with_server(&configured(TWO_APPS), async |server| {
        let address = server.address();
        for (path, headers, status, code) in [
            ("/ws/none", "", 404, "unknown_app"),
            ("/ws", "Origin: https://evil.com", 403, "origin_not_allowed"),
            ("/ws", "Origin: null", 403, "origin_not_allowed"),
            ("/ws", "Authorization: Bearer not-a-token", 401, "bad_token"),
            ("/ws", "Sec-WebSocket-Protocol: switchboard.v1.json, switchboard.token.x", 401, "bad_token"),
            ("/ws?token=x", "", 401, "unauthenticated"),
            ("/raw/room:a?app=closed", "", 401, "unauthenticated"),
            ("/raw/private", "", 403, "permission_denied"),
            ("/raw/a%23b", "", 400, "bad_channel"),
            ("/lobby?since=x", "", 400, "bad_request"),
        ] {
            let answer = upgrade(address, path, headers).await;
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path} {headers}: {answer:?}");
            assert_eq!(answer.has_header("www-authenticate: bearer"), status == 401, "{path} {headers}: {answer:?}");
        }
        // No upgrade was asked for.
        for path in ["/ws", "/lobby", "/raw/room:a"] {
            let answer = request(address, &format!("GET {path}"), "").await;
            assert_eq!(answer.status, 426, "{path}: {answer:?}");
            assert!(answer.has_header("upgrade: websocket"), "{path}: {answer:?}");
        }
    });
}

#[test]
fn a_token_is_taken_at_every_place_and_is_never_echoed() {
    with_server(&configured(TWO_APPS), async |server| {
        let url = format!("ws://{}/ws", server.address());
        let token = token(SECRET, "ann", &["subscribe"]);

        let by_header = Connector::new().header("Authorization", format!("Bearer {token}"));
        let by_subprotocol =
            Connector::new().subprotocols(["switchboard.v1.json".to_owned(), format!("switchboard.token.{token}")]);
        for (connector, subprotocol) in [(by_header, None), (by_subprotocol, Some("switchboard.v1.json"))] {
            let (mut socket, response) = connector.connect(&url).await.unwrap();
            assert_eq!(response.subprotocol.as_deref(), subprotocol);
            assert_eq!(receive(&mut socket).await["user"], "ann");
            let subscribed = ask(&mut socket, &json!({ "type": "subscribe", "id": 1, "channel": "room:a" })).await;
            assert_eq!(subscribed["type"], "ok");
            let refused =
                ask(&mut socket, &json!({ "type": "publish", "id": 2, "channel": "room:a", "data": 1 })).await;
            assert_eq!(refused["code"], "permission_denied");
        }

        let (mut socket, _) = Connector::new().connect(&url).await.unwrap();
        assert!(receive(&mut socket).await["user"].as_str().unwrap().starts_with("guest-"));
        let answer = ask(&mut socket, &json!({ "type": "authenticate", "id": 1, "token": token })).await;
        assert_eq!((&answer["type"], &answer["user"]), (&json!("ok"), &json!("ann")));
    });
}

#[test]
fn a_raw_page_with_a_token_gets_a_subprotocol() {
    with_server(&configured(TWO_APPS), async |server| {
        let url = format!("ws://{}/lobby", server.address());
        let token = format!("switchboard.token.{}", token(SECRET, "ann", &["*"]));
        let (_, response) =
            Connector::new().subprotocols(["switchboard.v1.raw".to_owned(), token]).connect(&url).await.unwrap();
        assert_eq!(response.subprotocol.as_deref(), Some("switchboard.v1.raw"));
    });
}

#[test]
fn a_page_of_an_allowed_origin_connects() {
    with_server(&configured(TWO_APPS), async |server| {
        let url = format!("ws://{}/ws", server.address());
        let (mut socket, _) = Connector::new().origin("https://app.example.com").connect(&url).await.unwrap();
        assert_eq!(receive(&mut socket).await["type"], "welcome");
    });
}

#[test]
fn the_development_application_takes_its_own_pages_only() {
    with_server(&configured(""), async |server| {
        let url = format!("ws://{}/chat", server.address());
        let ports = [server.address().port(), server.admin_address().unwrap().port()];
        for origin in
            ports.iter().flat_map(|port| [format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}")])
        {
            Connector::new().origin(&origin).connect(&url).await.unwrap_or_else(|error| panic!("{origin}: {error}"));
        }
        for origin in ["http://localhost:3000", "http://localhost", "null", "https://localhost"] {
            assert!(Connector::new().origin(origin).connect(&url).await.is_err(), "{origin}");
        }
    });
}
