//! A node without its binary: one open application, no limits on speed, nothing to configure. For measuring the message path alone.
#![allow(clippy::print_stdout, clippy::expect_used)]

use std::sync::Arc;
use switchboard_core::{App, AppId, ChannelMatch, Grant, Limits, Operations};
use switchboard_net::Settings;
use switchboard_testkit::FakeDirectory;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let shards = arguments.next().map_or(1, |count| count.parse().expect("a number of shards"));
    let app = App {
        anonymous: Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]),
        limits: Limits { operations_per_second: 0, ..Limits::default() },
        ..App::new(AppId::new("open"))
    };
    let directory = FakeDirectory { apps: vec![Arc::new(app)], ..FakeDirectory::default() };
    let settings = Settings { shards, ..Settings::new(address.parse().expect("an address"), 1) };
    let bound = switchboard_net::bind(settings, Arc::new(directory)).expect("a free address");
    println!("listening on {}", bound.local_addr());
    let server = bound.serve(&axum::Router::new()).expect("threads");
    loop {
        std::thread::park();
        drop(server.hub());
    }
}
