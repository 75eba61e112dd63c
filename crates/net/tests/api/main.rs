//! The whole of a node but its binary: sockets, shards, sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod backend;
mod client;
mod compression;
mod end;
mod http2;
mod plain;
mod refusals;
mod rooms;
mod tls;
mod transports;

use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, Grant, Identity, Limits, Operations, UserId};
use switchboard_net::{Bound, Server, Settings};
use switchboard_testkit::FakeDirectory;

/// An application where everybody may do everything.
fn open_app(limits: Limits) -> Arc<App> {
    let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
    Arc::new(App { limits, anonymous, ..App::new(AppId::new("open")) })
}

/// A server with an open application, the default, and one that wants tokens.
fn start(limits: Limits, change: impl FnOnce(&mut Settings)) -> Server {
    let (bound, api) = bind(limits, change);
    bound.serve(&api).unwrap()
}

fn bind(limits: Limits, change: impl FnOnce(&mut Settings)) -> (Bound, axum::Router) {
    let open = open_app(limits);
    let closed = Arc::new(App::new(AppId::new("closed")));
    let ann = Identity {
        user: UserId::parse("ann").unwrap(),
        info: None,
        grants: vec![Grant::new(ChannelMatch::parse("room:*"), Operations::ALL)],
        expires: None,
    };
    let tokens = [((closed.id.clone(), "ANN".to_owned()), ann)].into_iter().collect();
    let mut settings = Settings::new("127.0.0.1:0".parse().unwrap(), 7);
    settings.shards = 2;
    change(&mut settings);
    let directory = Arc::new(FakeDirectory { apps: vec![open, closed], tokens, ..FakeDirectory::default() });
    let api = axum::Router::new().route("/hello", axum::routing::get(|| async { "hello" }));
    (switchboard_net::bind(settings, directory).unwrap(), api)
}

/// Runs a test's client side.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(core::time::Duration::from_secs(60), future).await.unwrap() })
}
