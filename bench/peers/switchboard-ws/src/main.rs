//! switchboard-ws: echo, with `--deflate` compressed for clients that offer it. `feed` queues, and `recv` writes what is queued before it
//! waits.

use std::io;
use std::sync::LazyLock;

use bench_peer::{Peer, Stream};
use switchboard_ws::deflate::Policy;
use switchboard_ws::{AcceptOptions, Config, Limits, accept_with};

fn main() -> io::Result<()> {
    bench_peer::run(Echo)
}

#[derive(Clone, Copy)]
struct Echo;

impl Peer for Echo {
    const TIMERS: bool = true;

    async fn serve<S: Stream>(self, stream: S) {
        // A peer that goes away is no news, here and below.
        let Ok(mut ws) = accept_with(stream, &OPTIONS).await else { return };
        while let Some(Ok(message)) = ws.recv().await {
            if ws.feed(message).await.is_err() {
                return;
            }
        }
    }
}

/// The same for all: in a task they would be part of each idle connection.
static OPTIONS: LazyLock<AcceptOptions> = LazyLock::new(|| {
    let limits = Limits { message_bytes_max: bench_peer::MESSAGE_BYTES_MAX, ..Limits::default() };
    // Where the client lets it, with context takeover.
    let compress = Policy::default().context_takeover(true).peer_context_takeover(true);
    let deflate = bench_peer::has_flag("--deflate").then_some(compress);
    AcceptOptions::default().config(Config::default().limits(limits)).deflate(deflate)
});
