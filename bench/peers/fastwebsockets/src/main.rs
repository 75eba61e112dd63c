//! fastwebsockets: its own echo example, with the stream taken back from hyper after the upgrade (without that, every read and
//! write would go through a boxed one).

use std::io;

use bench_peer::{Peer, Stream};
use bytes::Bytes;
use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket, WebSocketError, upgrade};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;

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

async fn answer<S: Stream>(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    tokio::spawn(tokio::task::unconstrained(async move {
        let _ = echo::<S>(upgrade).await;
    }));
    Ok(response)
}

async fn echo<S: Stream>(upgrade: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
    let upgraded: Upgraded = upgrade.await?.into_inner().into_inner();
    let parts = upgraded.downcast::<TokioIo<S>>().map_err(|_| WebSocketError::UnexpectedEOF)?;
    let mut ws = WebSocket::after_handshake(parts.io.into_inner(), Role::Server);
    ws.set_max_message_size(bench_peer::MESSAGE_BYTES_MAX);
    let mut ws = FragmentCollector::new(ws);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}
