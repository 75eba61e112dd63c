//! The client over TCP.

use crate::server::{Server, position};
use core::future::IntoFuture;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use futures_util::{FutureExt, StreamExt};
use std::sync::Arc;
use switchboard_client::ws::CloseCode;
use switchboard_client::{
    Cause, Config, ConnectionEvent, Ended, Events, Position, RequestError, SubscribeError, SubscriptionEvent,
    TokenError, Unsubscribed,
};

/// Ends a test that hangs.
async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future.into_future()).await.expect("in time")
}

fn text(event: Option<SubscriptionEvent>) -> String {
    match event {
        Some(SubscriptionEvent::Message(message)) => String::from_utf8(message.data.as_bytes().to_vec()).unwrap(),
        other => panic!("{other:?} and no message"),
    }
}

async fn disconnected(events: &mut Events) -> Cause {
    loop {
        match soon(events.next()).await {
            Some(ConnectionEvent::Disconnected { cause, .. }) => return cause,
            Some(_) => {}
            None => panic!("the client has ended"),
        }
    }
}

#[tokio::test]
async fn subscribe_publish_ask_and_close() {
    let server = Server::bind().await;
    let client = server.client().connect().unwrap();
    let mut events = client.events();
    let peer = tokio::spawn(async move {
        let mut peer = server.welcome().await;
        assert_eq!(peer.request.target, "/ws?batch=1");
        peer.answer("subscribe", &position(3)).await;
        peer.publish("a", 4, "[1]").await;
        let published = peer.answer("publish", &position(5)).await;
        assert_eq!((&published["data"], &published["event"]), (&"x".into(), &"said".into()));
        peer.answer("presence", r#""users":[{"user":"ann","connections":1}],"connections":1"#).await;
        peer.answer("history", &format!(r#"{},"publications":[],"more":false"#, position(5))).await;
        let frame = peer.ws.recv().await.unwrap().unwrap();
        let (header, payload) = frame.as_bytes()[2..].split_at(frame.len() - 4);
        let header: serde_json::Value = serde_json::from_slice(header).unwrap();
        assert_eq!((header["type"].as_str(), payload), (Some("publish"), &b"\x00\xff"[..]));
        // Long enough for `close` to be asked for before.
        tokio::time::sleep(Duration::from_millis(100)).await;
        peer.say(&format!(r#"{{"type":"ok","id":{},"channel":"a",{}}}"#, header["id"], position(6))).await;
        peer.closed().await
    });
    let mut subscription = soon(client.subscribe("a")).await.unwrap();
    assert_eq!((subscription.name(), &subscription.subscribed().position), ("a", &Some(Position::new("e", 3))));
    assert!(client.is_connected());
    assert_eq!(text(soon(subscription.next()).await), "[1]");
    assert_eq!(subscription.position(), Some(Position::new("e", 4)));
    assert_eq!(soon(client.publish("a", "x").event("said")).await.unwrap().position.offset, 5);
    assert_eq!(soon(client.presence("a")).await.unwrap().users[0].user, "ann");
    assert!(soon(client.history("a")).await.unwrap().messages.is_empty());
    // `close` waits for what was asked before.
    let (published, ()) = tokio::join!(soon(client.publish_bytes("a", &b"\x00\xff"[..])), soon(client.close()));
    assert_eq!(published.unwrap().position.offset, 6);
    assert_eq!(soon(peer).await.unwrap(), Some(CloseCode::NORMAL));
    assert!(matches!(
        soon(subscription.next()).await,
        Some(SubscriptionEvent::Unsubscribed(Unsubscribed::Ended(Ended::Closed)))
    ));
    assert!(soon(subscription.next()).await.is_none());
    let mut told = Vec::new();
    while let Some(event) = soon(events.next()).await {
        told.push(event);
    }
    assert!(
        matches!(
            told[..],
            [ConnectionEvent::Connecting, ConnectionEvent::Connected { .. }, ConnectionEvent::Ended(Ended::Closed)]
        ),
        "{told:?}"
    );
    assert_eq!(soon(client.subscribe("b")).await.unwrap_err(), SubscribeError::Ended(Ended::Closed));
    assert_eq!(soon(client.connected()).await, Err(Ended::Closed));
}

#[tokio::test]
async fn it_comes_back_resumes_and_sends_what_waited() {
    let server = Server::bind().await;
    let client = server.client().connect().unwrap();
    let mut events = client.events();
    let subscribing = tokio::spawn(client.subscribe("a").into_future());
    let mut peer = soon(server.welcome()).await;
    soon(peer.answer("subscribe", &position(0))).await;
    peer.publish("a", 1, "1").await;
    let mut subscription = soon(subscribing).await.unwrap().unwrap();
    assert_eq!(text(soon(subscription.next()).await), "1");
    drop(peer);
    assert!(matches!(disconnected(&mut events).await, Cause::Lost(_)));
    let published = tokio::spawn(client.publish("a", "offline").into_future());
    let mut peer = soon(server.welcome()).await;
    let asked = soon(peer.answer("subscribe", &format!(r#"{},"recovered":true"#, position(2)))).await;
    assert_eq!(asked["since"]["offset"], 1);
    peer.publish("a", 2, "2").await;
    peer.say(r#"{"type":"caught_up","channel":"a"}"#).await;
    soon(peer.answer("publish", &position(3))).await;
    assert_eq!(soon(published).await.unwrap().unwrap().position.offset, 3);
    assert!(matches!(soon(subscription.next()).await, Some(SubscriptionEvent::Recovered { .. })));
    assert_eq!(text(soon(subscription.next()).await), "2");
    assert!(matches!(soon(subscription.next()).await, Some(SubscriptionEvent::CaughtUp)));
    // A publication whose answer is lost with the connection is not sent again.
    let published = tokio::spawn(client.publish("a", "unknown").into_future());
    soon(peer.hear("publish")).await;
    drop(peer);
    assert_eq!(soon(published).await.unwrap(), Err(RequestError::Interrupted));
    let mut peer = soon(server.welcome()).await;
    soon(peer.answer("subscribe", &format!(r#"{},"recovered":false"#, position(9)))).await;
    assert!(matches!(soon(subscription.next()).await, Some(SubscriptionEvent::Lost { .. })));
    // One with an idempotency key is.
    let published = tokio::spawn(client.publish("a", "once").idempotency_key("k").into_future());
    assert_eq!(soon(peer.hear("publish")).await["idempotency_key"], "k");
    drop(peer);
    let mut peer = soon(server.welcome()).await;
    soon(peer.answer("subscribe", &format!(r#"{},"recovered":true"#, position(10)))).await;
    let again = soon(peer.answer("publish", &format!(r#"{},"duplicate":true"#, position(10)))).await;
    assert_eq!((&again["idempotency_key"], &again["data"]), (&"k".into(), &"once".into()));
    let published = soon(published).await.unwrap().unwrap();
    assert_eq!((published.position.offset, published.duplicate), (10, true));
}

#[tokio::test]
async fn a_slow_reader_is_resumed_and_holds_up_nobody() {
    let server = Server::bind().await;
    let mut config = Config::default();
    config.inbox_events_max = 10;
    let client = server.client().config(config).connect().unwrap();
    let subscribing = tokio::spawn({
        let client = client.clone();
        async move { (client.subscribe("slow").await.unwrap(), client.subscribe("quick").await.unwrap()) }
    });
    let mut peer = soon(server.welcome()).await;
    soon(peer.answer("subscribe", &position(0))).await;
    soon(peer.answer("subscribe", &position(0))).await;
    let (mut slow, mut quick) = soon(subscribing).await.unwrap();
    for offset in 1..=20 {
        peer.publish("slow", offset, &offset.to_string()).await;
    }
    assert_eq!(soon(peer.hear("unsubscribe")).await["channel"], "slow");
    peer.publish("quick", 1, "1").await;
    assert_eq!(text(soon(quick.next()).await), "1");
    for expected in 1..=10 {
        assert_eq!(text(soon(slow.next()).await), expected.to_string());
    }
    let asked = soon(peer.answer("subscribe", &format!(r#"{},"recovered":true"#, position(20)))).await;
    assert_eq!(asked["since"]["offset"], 10, "behind what is in the inbox, not behind what was dropped");
    peer.publish("slow", 11, "11").await;
    assert!(matches!(soon(slow.next()).await, Some(SubscriptionEvent::Recovered { .. })));
    assert_eq!(text(soon(slow.next()).await), "11");
}

#[tokio::test]
async fn tokens_from_a_callback() {
    let server = Server::bind().await;
    let count = Arc::new(AtomicU64::new(0));
    let tokens = Arc::clone(&count);
    let client = server.client().token_from(move || {
        let number = tokens.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                0 => Err(TokenError::temporary("not yet")),
                4 => Err(TokenError::denied("logged out")),
                number => Ok(format!("T{number}")),
            }
        }
    });
    let client = client.connect().unwrap();
    let mut events = client.events();
    soon(server.refuse(401)).await;
    let mut peer = soon(server.welcome()).await;
    let header = |peer: &crate::server::Peer| peer.request.headers.get("authorization").map(<[u8]>::to_vec);
    assert_eq!(header(&peer).as_deref(), Some(&b"Bearer T2"[..]));
    peer.say(r#"{"type":"token_expiring","expires_at":1}"#).await;
    assert_eq!(soon(peer.hear("authenticate")).await["token"], "T3");
    peer.say(r#"{"type":"disconnect","code":4002,"reason":"the token expired","reconnect":false}"#).await;
    let causes: Vec<_> =
        [disconnected(&mut events).await, disconnected(&mut events).await, disconnected(&mut events).await]
            .iter()
            .map(ToString::to_string)
            .collect();
    assert_eq!(causes[0], "no token: not yet");
    assert!(causes[1].contains("401") && causes[1].contains("why"), "{causes:?}");
    assert!(causes[2].contains("4002"), "{causes:?}");
    while let Some(event) = soon(events.next()).await {
        if let ConnectionEvent::Ended(ended) = event {
            assert_eq!(ended, Ended::NoToken("logged out".into()));
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn what_cannot_be_connected_to() {
    let wrong = switchboard_client::Client::builder("http://localhost/").connect().unwrap();
    assert!(matches!(soon(wrong.connected()).await, Err(Ended::CannotConnect(_))));
    let server = Server::bind().await;
    let builder = server.client().token("SECRET");
    assert!(!format!("{builder:?}").contains("SECRET"));
    let client = builder.connect().unwrap();
    assert!(!format!("{client:?}").contains("SECRET"));
    soon(server.refuse(401)).await;
    assert!(matches!(soon(client.connected()).await, Err(Ended::Unauthorized(_))));
    let client = server.client().connect().unwrap();
    soon(server.refuse(503)).await;
    drop(soon(server.welcome()).await);
    soon(server.welcome()).await;
    drop(client);
}

#[tokio::test]
async fn futures_may_be_dropped_at_any_await() {
    let server = Server::bind().await;
    let client = server.client().connect().unwrap();
    // A subscription that nobody waits for any more is ended; one that was never asked for is not asked for.
    let _ = client.subscribe("dropped").into_future().now_or_never();
    let mut subscribing = Box::pin(client.subscribe("a").into_future());
    assert!((&mut subscribing).now_or_never().is_none());
    let mut peer = soon(server.welcome()).await;
    assert_eq!(soon(peer.hear("subscribe")).await["channel"], "a");
    drop(subscribing);
    assert_eq!(soon(peer.hear("unsubscribe")).await["channel"], "a");
    // A publication leaves even so.
    let mut publishing = Box::pin(client.publish("a", &1).into_future());
    assert!((&mut publishing).now_or_never().is_none());
    drop(publishing);
    soon(peer.answer("publish", &position(1))).await;
    // `next` loses nothing.
    let subscribing = tokio::spawn(client.subscribe("b").into_future());
    soon(peer.answer("subscribe", &position(0))).await;
    let mut subscription = soon(subscribing).await.unwrap().unwrap();
    for round in 0..200_u64 {
        peer.publish("b", round + 1, &round.to_string()).await;
        loop {
            tokio::select! {
                biased;
                event = subscription.next() => {
                    assert_eq!(text(event), round.to_string());
                    break;
                }
                () = tokio::task::yield_now() => {}
            }
        }
    }
    // `close` goes on when it is dropped.
    let _ = Box::pin(client.close()).now_or_never();
    assert_eq!(soon(peer.closed()).await, Some(CloseCode::NORMAL));
}

#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let server = Server::bind().await;
    let client = server.client().connect().unwrap();
    let subscribing = tokio::spawn(client.subscribe("a").into_future());
    let mut peer = soon(server.welcome()).await;
    soon(peer.answer("subscribe", &position(0))).await;
    let mut subscription = soon(subscribing).await.unwrap().unwrap();
    drop(client);
    peer.publish("a", 1, "1").await;
    let event = soon(StreamExt::next(&mut subscription)).await;
    assert_eq!(text(event), "1", "a subscription keeps the client");
    drop(subscription);
    assert_eq!(soon(peer.hear("unsubscribe")).await["channel"], "a");
    assert_eq!(soon(peer.closed()).await, Some(CloseCode::NORMAL));
}

#[test]
fn nobody_waits_for_a_runtime_that_is_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client =
        runtime.block_on(async { switchboard_client::Client::builder("ws://127.0.0.1:1/").connect() }).unwrap();
    let mut waiting = Box::pin(client.subscribe("a").into_future());
    assert!((&mut waiting).now_or_never().is_none());
    drop(runtime);
    assert_eq!(waiting.now_or_never().unwrap().unwrap_err(), SubscribeError::Ended(Ended::Runtime));
    assert!(client.close().now_or_never().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_client_and_none_is_forgotten() {
    let server = Server::bind().await;
    let client = server.client().connect().unwrap();
    let serving = tokio::spawn(async move {
        let mut offset = 0;
        // The connection breaks twice on the way.
        for round in 0..3 {
            let mut peer = server.welcome().await;
            let until = (round + 1) * 1_000;
            while let Some(Ok(message)) = peer.ws.recv().await {
                let asked: serde_json::Value = serde_json::from_str(message.as_text().unwrap()).unwrap();
                offset += 1;
                let answer = format!(r#"{{"type":"ok","id":{},"channel":"a",{}}}"#, asked["id"], position(offset));
                if peer.ws.feed(answer).await.is_err() || (round < 2 && offset >= until) {
                    break;
                }
            }
        }
        offset
    });
    let publishing = (0..16).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            let mut published = 0;
            for number in 0..250 {
                match client.publish("a", &(task, number)).await {
                    Ok(_) => published += 1,
                    Err(error) => assert_eq!(error, RequestError::Interrupted),
                }
            }
            published
        })
    });
    let mut published = 0;
    for task in publishing.collect::<Vec<_>>() {
        published += soon(task).await.unwrap();
    }
    soon(client.close()).await;
    let served = soon(serving).await.unwrap();
    assert!(published > 3_000 && published <= served, "{published} of {served}");
}

#[tokio::test]
async fn each_connection_is_dialled_by_the_application() {
    let server = Server::bind().await;
    let dialled = Arc::new(core::sync::atomic::AtomicUsize::new(0));
    let client = server.client_that_dials(Arc::clone(&dialled)).connect().unwrap();
    let mut events = client.events();
    assert!(matches!(disconnected(&mut events).await, Cause::Connect(why) if why.contains("not yet")));
    let peer = soon(server.welcome()).await;
    soon(client.connected()).await.unwrap();
    drop(peer);
    disconnected(&mut events).await;
    let peer = soon(server.welcome()).await;
    soon(client.connected()).await.unwrap();
    assert_eq!(dialled.load(Ordering::Relaxed), 3);
    let (closed, ()) = tokio::join!(soon(peer.closed()), soon(client.close()));
    assert_eq!(closed, Some(CloseCode::NORMAL));
}
