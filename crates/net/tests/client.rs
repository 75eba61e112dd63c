//! The reconnecting client against a node: cut off, sent away, restarted under it, its token running out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "api/tls.rs"]
mod tls;

use arc_swap::ArcSwap;
use core::future::IntoFuture;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use switchboard_client::ws::Connector;
use switchboard_client::{
    Cache, Client, Config, ConnectionEvent, Ended, Events, RequestError, SubscribeError, Subscription,
    SubscriptionEvent,
};
use switchboard_core::{App, AppId, ChannelMatch, Grant, Identity, Limits, Operations, Time, UserId};
use switchboard_net::{Server, Settings};
use switchboard_testkit::FakeDirectory;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const HEARTBEAT: Duration = Duration::from_millis(400);

fn start(listen: SocketAddr, seed: u64, tokens: &[(&str, Duration)]) -> std::io::Result<Server> {
    start_with(Settings::new(listen, seed), tokens)
}

fn start_with(mut settings: Settings, tokens: &[(&str, Duration)]) -> std::io::Result<Server> {
    // The patience of the server is longer than the client's, so that the client has to notice by itself.
    let limits = Limits { heartbeat: HEARTBEAT, heartbeat_timeout: Duration::from_secs(20), ..Limits::default() };
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    let open = Arc::new(App { limits: limits.clone(), anonymous, ..App::new(AppId::new("open")) });
    let closed = Arc::new(App { limits, ..App::new(AppId::new("closed")) });
    let now = Time::default() + SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let identity = |life: &Duration| Identity {
        user: UserId::parse("ann").unwrap(),
        info: None,
        grants: vec![Grant::new(ChannelMatch::all(), Operations::ALL)],
        expires: Some(now + *life),
    };
    let tokens =
        tokens.iter().map(|(token, life)| ((closed.id.clone(), (*token).to_owned()), identity(life))).collect();
    settings.shards = 2;
    let directory = Arc::new(FakeDirectory { apps: vec![open, closed], tokens, ..FakeDirectory::default() });
    switchboard_net::bind(settings, directory)?.serve(&axum::Router::new())
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn builder(address: SocketAddr, path: &str) -> switchboard_client::Builder {
    let connector = Connector::new().timeout(Duration::from_millis(500));
    to(format!("ws://{address}{path}"), connector)
}

fn to(url: String, connector: Connector) -> switchboard_client::Builder {
    let mut config = Config::default();
    config.backoff_base = Duration::from_millis(20);
    config.backoff_max = Duration::from_millis(200);
    config.heartbeat_grace = Duration::from_millis(600);
    Client::builder(url).config(config).connector(connector)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.unwrap() })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Pass,
    /// Bytes and connections are taken and go nowhere.
    Stall,
    /// Whoever is connected is cut off.
    Cut,
}

/// A way to the server that can be obstructed.
struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, modes.clone()));
            }
        });
        Self { address, mode }
    }

    fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, mut modes: watch::Receiver<Mode>) {
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    loop {
        let mode = *modes.borrow_and_update();
        match mode {
            Mode::Cut => return,
            Mode::Stall => {
                if modes.changed().await.is_err() {
                    return;
                }
                // What was taken meanwhile is lost: a stalled connection never comes back.
                return std::future::pending().await;
            }
            Mode::Pass => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut upstream) => return,
                changed = modes.changed() => if changed.is_err() { return },
            },
        }
    }
}

/// The number that a message holds.
fn number(event: &SubscriptionEvent) -> Option<u64> {
    match event {
        SubscriptionEvent::Message(message) => Some(message.data.decode().unwrap()),
        _ => None,
    }
}

/// Takes events up to the message with this number. Every number has to come once, in order, and nothing may be lost.
async fn read_all(subscription: &mut Subscription, from: u64, to: u64) -> u64 {
    let (mut expected, mut recovered) = (from, 0);
    while expected <= to {
        let event = subscription.next().await.unwrap();
        match (&event, number(&event)) {
            (_, Some(number)) => {
                assert_eq!(number, expected);
                expected += 1;
            }
            (SubscriptionEvent::Recovered { .. }, _) => recovered += 1,
            (SubscriptionEvent::CaughtUp, _) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    recovered
}

async fn until(events: &mut Events, wanted: impl Fn(&ConnectionEvent) -> bool) -> ConnectionEvent {
    loop {
        let event = events.next().await.expect("the client goes on");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn everything_that_a_client_can_ask() {
    let server = start(any_port(), 7, &[]).unwrap();
    block_on(async {
        let ann = builder(server.local_addr(), "/ws").connect().unwrap();
        let bob = builder(server.local_addr(), "/ws").connect().unwrap();
        let mut room = ann.subscribe("room").presence().await.unwrap();
        assert_eq!(room.subscribed().users.len(), 1);
        let silent = bob.subscribe("room").await.unwrap();
        assert!(matches!(room.next().await, Some(SubscriptionEvent::Join(_))));
        assert_eq!(ann.presence("room").await.unwrap().connections, 2);
        let first = bob.publish("room", &1).event("count").await.unwrap();
        bob.publish_bytes("room", &b"\x00\xff"[..]).await.unwrap();
        ann.publish("room", &"not to me").exclude_self().await.unwrap();
        let messages: Vec<_> = [room.next().await.unwrap(), room.next().await.unwrap()].into_iter().collect();
        let [SubscriptionEvent::Message(one), SubscriptionEvent::Message(two)] = &messages[..] else {
            panic!("{messages:?}")
        };
        assert_eq!(
            (one.event.as_deref(), one.data.as_bytes(), one.position.as_ref()),
            (Some("count"), &b"1"[..], Some(&first.position))
        );
        assert!(one.publisher.as_deref().is_some_and(|user| user.starts_with("guest-")) && one.timestamp_ms > 0);
        assert_eq!(two.data.as_bytes(), b"\x00\xff");
        let page = ann.history("room").since(first.position.clone()).limit(1).await.unwrap();
        assert_eq!((page.messages[0].data.as_bytes(), page.more), (&b"\x00\xff"[..], true));
        let page = ann.history("room").before(two.position.clone()).limit(1).await.unwrap();
        assert_eq!((page.messages[0].data.as_bytes(), page.more), (&b"1"[..], false));
        let conflict = ann.publish("room", &1).if_position(first.position.clone()).await;
        let Err(RequestError::Refused(refusal)) = conflict else { panic!("{conflict:?}") };
        assert_eq!((refusal.code.as_str(), refusal.position.unwrap().offset), ("conflict", 3));
        let board = ann.history("board").await.unwrap().position;
        let once = || ann.publish("board", &"e4").idempotency_key("k").if_position(board.clone());
        let (made, again) = (once().await.unwrap(), once().await.unwrap());
        assert_eq!((made.duplicate, again.duplicate, made.position == again.position), (false, true, true));
        silent.unsubscribe();
        assert!(matches!(room.next().await, Some(SubscriptionEvent::Leave(_))));
        let refused = ann.publish("no#name", &1).await;
        assert!(matches!(refused, Err(RequestError::Refused(refusal)) if refusal.code == "bad_channel"));
        let large = "x".repeat(70_000);
        assert!(matches!(ann.publish("room", &large).await, Err(RequestError::TooLarge { bytes_max: 65_536, .. })));
        ann.close().await;
        assert!(matches!(room.next().await, Some(SubscriptionEvent::Unsubscribed(_))));
        bob.close().await;
    });
    server.stop();
}

#[test]
fn patterns_rates_and_kept_values() {
    let server = start(any_port(), 7, &[]).unwrap();
    block_on(async {
        let reader = builder(server.local_addr(), "/ws").connect().unwrap();
        let writer = builder(server.local_addr(), "/ws").connect().unwrap();
        let mut sensors = reader.subscribe_pattern("sensors/+/temp").await.unwrap();
        assert_eq!((sensors.name(), sensors.position()), ("sensors/+/temp", None));
        let refused = reader.subscribe_pattern("sensors/#/temp").await;
        assert!(matches!(refused, Err(SubscribeError::Refused(refusal)) if refusal.code == "bad_channel"));
        writer.publish("sensors/7/humidity", &60).await.unwrap();
        let published = writer.publish("sensors/7/temp", &21).await.unwrap();
        let Some(SubscriptionEvent::Message(shown)) = sensors.next().await else { panic!("not shown") };
        assert_eq!((&*shown.channel, shown.data.as_bytes()), ("sensors/7/temp", &b"21"[..]));
        assert_eq!((shown.offset, shown.position), (published.position.offset, None));

        writer.publish("lamp", &"on").cache(Cache::Keep).await.unwrap();
        let mut lamp = reader.subscribe("lamp").cached().await.unwrap();
        let Some(SubscriptionEvent::Message(kept)) = lamp.next().await else { panic!("nothing was kept") };
        assert!(kept.cached && kept.data.as_bytes() == br#""on""#, "{kept:?}");

        let mut prices = reader.subscribe("prices").rate(20).await.unwrap();
        for price in 1..=4 {
            writer.publish("prices", &price).key("ACME").await.unwrap();
        }
        let mut accounted = 0;
        while accounted < 4 {
            let Some(SubscriptionEvent::Message(message)) = prices.next().await else { panic!("no price") };
            assert_eq!(message.key.as_deref(), Some("ACME"));
            accounted += 1 + message.conflated;
            assert_eq!(message.offset, accounted, "the latest, and how many it stands for");
        }
        let nobody_listed = writer.presence("prices").limit(0).await.unwrap();
        assert_eq!((nobody_listed.users.len(), nobody_listed.total), (0, 1));
    });
    server.stop();
}

#[test]
fn what_was_published_while_the_way_was_stalled_comes_afterwards() {
    let server = start(any_port(), 7, &[]).unwrap();
    block_on(async {
        let proxy = Proxy::to(server.local_addr()).await;
        let reader = builder(proxy.address, "/ws").connect().unwrap();
        let writer = builder(server.local_addr(), "/ws").connect().unwrap();
        let mut events = reader.events();
        let mut scores = reader.subscribe("scores").await.unwrap();
        for number in 1..=5_u64 {
            writer.publish("scores", &number).await.unwrap();
        }
        assert_eq!(read_all(&mut scores, 1, 5).await, 0);
        proxy.set(Mode::Stall);
        for number in 6..=50_u64 {
            writer.publish("scores", &number).await.unwrap();
        }
        let offline = tokio::spawn(reader.publish("other", &1).into_future());
        let lost = until(&mut events, |event| matches!(event, ConnectionEvent::Disconnected { .. })).await;
        assert!(format!("{lost:?}").contains("Silent"), "{lost:?}");
        // The next attempts are stalled too.
        until(&mut events, |event| format!("{event:?}").contains("no connection within the time limit")).await;
        proxy.set(Mode::Pass);
        assert_eq!(read_all(&mut scores, 6, 50).await, 1);
        // It was on its way when the connection was lost, so nobody knows; or it was not yet.
        assert!(matches!(offline.await.unwrap(), Ok(_) | Err(RequestError::Interrupted)));
        writer.publish("scores", &51).await.unwrap();
        read_all(&mut scores, 51, 51).await;
    });
    server.stop();
}

#[test]
fn nothing_is_missing_and_nothing_comes_twice_over_connections_that_break() {
    let server = start(any_port(), 7, &[]).unwrap();
    block_on(async {
        let proxy = Proxy::to(server.local_addr()).await;
        let reader = builder(proxy.address, "/ws").connect().unwrap();
        let writer = builder(server.local_addr(), "/ws").connect().unwrap();
        let mut scores = reader.subscribe("scores").await.unwrap();
        let breaking = async {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(40)).await;
                proxy.set(Mode::Cut);
                tokio::task::yield_now().await;
                proxy.set(Mode::Pass);
            }
        };
        let writing = async {
            for number in 1..=400_u64 {
                writer.publish("scores", &number).await.unwrap();
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let (recovered, (), ()) = tokio::join!(read_all(&mut scores, 1, 400), breaking, writing);
        assert!(recovered > 3, "{recovered} reconnections");
    });
    server.stop();
}

#[test]
fn a_reader_that_falls_behind_gets_everything_from_history() {
    let server = start(any_port(), 7, &[]).unwrap();
    block_on(async {
        let mut config = Config::default();
        config.inbox_events_max = 16;
        config.batch = false;
        let reader = builder(server.local_addr(), "/ws").config(config).connect().unwrap();
        let writer = builder(server.local_addr(), "/ws").connect().unwrap();
        let mut scores = reader.subscribe("scores").await.unwrap();
        for number in 1..=300_u64 {
            writer.publish("scores", &number).await.unwrap();
        }
        assert!(read_all(&mut scores, 1, 300).await >= 10);
    });
    server.stop();
}

#[test]
fn a_server_that_restarts_without_its_history() {
    let server = start(any_port(), 7, &[]).unwrap();
    let address = server.local_addr();
    block_on(async {
        let client = builder(address, "/ws").connect().unwrap();
        let mut events = client.events();
        let mut scores = client.subscribe("scores").await.unwrap();
        client.publish("scores", &1).await.unwrap();
        read_all(&mut scores, 1, 1).await;
        server.drain(Duration::from_millis(100)).await;
        let away = until(&mut events, |event| matches!(event, ConnectionEvent::Disconnected { .. })).await;
        assert!(format!("{away:?}").contains("code: 1001"), "{away:?}");
        let waiting = tokio::spawn(client.publish("scores", &2).into_future());
        tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
        let server = loop {
            match start(address, 8, &[]) {
                Ok(server) => break server,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let Some(SubscriptionEvent::Lost { position, .. }) = scores.next().await else { panic!("nothing was lost") };
        assert_eq!(position.map(|position| position.offset), Some(0));
        assert_eq!(waiting.await.unwrap().unwrap().position.offset, 1, "what waited was sent");
        read_all(&mut scores, 2, 2).await;
        client.close().await;
        tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
    });
}

#[test]
fn tokens_are_renewed_before_they_expire() {
    let server = start(any_port(), 7, &[("T0", Duration::from_secs(2)), ("T1", Duration::from_secs(600))]).unwrap();
    block_on(async {
        let count = Arc::new(AtomicU64::new(0));
        let tokens = Arc::clone(&count);
        let client = builder(server.local_addr(), "/ws/closed").token_from(move || {
            let number = tokens.fetch_add(1, Ordering::Relaxed);
            async move { Ok(format!("T{number}")) }
        });
        let client = client.connect().unwrap();
        let mut events = client.events();
        let connected = until(&mut events, |event| matches!(event, ConnectionEvent::Connected { .. })).await;
        assert!(format!("{connected:?}").contains(r#"user: Some("ann")"#), "{connected:?}");
        let quiet = tokio::time::timeout(Duration::from_secs(3), events.next()).await;
        assert!(quiet.is_err(), "the connection outlives its first token: {quiet:?}");
        assert_eq!(count.load(Ordering::Relaxed), 2);
        client.publish("a", &1).await.unwrap();

        // One that cannot be renewed ends with its connection.
        let fixed = builder(server.local_addr(), "/ws/closed").token("wrong").connect().unwrap();
        let refused = fixed.connected().await;
        assert!(matches!(&refused, Err(Ended::Unauthorized(why)) if why.contains("malformed")), "{refused:?}");
    });
    server.stop();
}

#[test]
fn over_tls_a_client_comes_back_and_resumes_too() {
    let (config, connector) = tls::tls();
    let mut settings = Settings::new(any_port(), 7);
    settings.tls = Some(Arc::new(ArcSwap::from_pointee(config)));
    let server = start_with(settings, &[]).unwrap();
    block_on(async {
        let proxy = Proxy::to(server.local_addr()).await;
        let secure = |address: SocketAddr| to(format!("wss://{address}/ws"), connector.clone()).connect().unwrap();
        let (reader, writer) = (secure(proxy.address), secure(server.local_addr()));
        let mut events = reader.events();
        let mut scores = reader.subscribe("scores").await.unwrap();
        for round in 0..3_u64 {
            let from = round * 10 + 1;
            writer.publish("scores", &from).await.unwrap();
            assert_eq!(read_all(&mut scores, from, from).await, 0);
            proxy.set(Mode::Cut);
            until(&mut events, |event| matches!(event, ConnectionEvent::Disconnected { .. })).await;
            for number in from + 1..from + 10 {
                writer.publish("scores", &number).await.unwrap();
            }
            proxy.set(Mode::Pass);
            assert_eq!(read_all(&mut scores, from + 1, from + 9).await, 1);
        }
        reader.close().await;
        // Who speaks no TLS is not served.
        let plain = builder(server.local_addr(), "/ws").connect().unwrap();
        let mut events = plain.events();
        until(&mut events, |event| matches!(event, ConnectionEvent::Disconnected { .. })).await;
    });
    server.stop();
}
