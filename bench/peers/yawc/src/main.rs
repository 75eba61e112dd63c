//! yawc: echo, with the stream taken back from hyper after the upgrade (without that, every read and write would go through a
//! boxed one).

use std::io;

use bench_peer::{Peer, Stream};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{
    Request, Response, body::Incoming, header::SEC_WEBSOCKET_EXTENSIONS, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use yawc::{Options, Role, WebSocket, frame::OpCode};

fn main() -> io::Result<()> {
    bench_peer::run(Echo)
}

#[derive(Clone, Copy)]
struct Echo;

impl Peer for Echo {
    async fn serve<S: Stream>(self, stream: S) {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer::<S>));
        // A peer that goes away is no news, here and below.
        let _ = connection.with_upgrades().await;
    }
}

async fn answer<S: Stream>(mut request: Request<Incoming>) -> yawc::Result<Response<Empty<Bytes>>> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    // Its own upgrade future would keep the boxed stream; only its response is used.
    let (response, _) = WebSocket::upgrade_with_options(&mut request, options())?;
    let agreed =
        response.headers().get(SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok().map(str::to_owned));
    tokio::spawn(tokio::task::unconstrained(async move {
        let Ok(upgraded) = on_upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<S>>() else { return };
        let _ = echo(parts.io.into_inner(), agreed.as_deref()).await;
    }));
    Ok(response)
}

fn options() -> Options {
    let limits = bench_peer::MESSAGE_BYTES_MAX;
    let options = Options::default().with_limits(limits, 2 * limits);
    if bench_peer::has_flag("--deflate") {
        // Level 1 and context takeover, as the other side of the comparison, which checks text too.
        options.with_low_latency_compression().with_utf8()
    } else if bench_peer::has_flag("--utf8") {
        // Off by default, and in the other scenarios. The conformance testsuite asks for it.
        options.without_compression().with_utf8()
    } else {
        options.without_compression()
    }
}

async fn echo<S: Stream>(stream: S, agreed: Option<&str>) -> yawc::Result<()> {
    let mut ws = WebSocket::from_stream_with_extensions(stream, Role::Server, agreed, options())?;
    if bench_peer::has_flag("--batch") {
        return echo_in_batches(ws).await;
    }
    while let Some(frame) = ws.next().await {
        if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
            ws.send(frame).await?;
        }
    }
    Ok(())
}

/// As an application may that knows better than its library: it answers while there is more to read, and only then writes.
async fn echo_in_batches<S: Stream>(mut ws: WebSocket<S>) -> yawc::Result<()> {
    while let Some(frame) = ws.next().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                ws.feed(frame).await?;
            }
            next = ws.next().now_or_never().flatten();
        }
        ws.flush().await?;
    }
    Ok(())
}
