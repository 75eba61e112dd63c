//! What every peer shares: the arguments, the listener, one current_thread runtime, TCP_NODELAY, TLS where it is asked for. Knows no
//! WebSocket library, so that the peers differ in that alone.

mod tls;

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

/// Messages up to this size are echoed by every peer.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a peer speaks over: TCP, or TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// A server that does not ask what it speaks over. For TCP it is compiled apart, and knows nothing of TLS.
pub trait Peer: Copy + Send + 'static {
    /// Whether its library uses tokio's timers. The others are spared them.
    const TIMERS: bool = false;

    fn serve<S: Stream>(self, stream: S) -> impl Future<Output = ()> + Send;
}

/// Accepts on `--listen ADDR` (default `127.0.0.1:0`), prints `listening on ADDR`, and runs the peer for each connection: over TLS
/// if `--tls-cert FILE` and `--tls-key FILE` are given.
pub fn run(peer: impl Peer) -> io::Result<()> {
    let Some(acceptor) = tls::acceptor()? else { return listen(timers(peer), move |tcp| peer.serve(tcp)) };
    listen(timers(peer), move |tcp| {
        let handshake = acceptor.accept(tcp);
        async move {
            // A peer that goes away is no news. What is accepted gets a task of its own: one task for both would hold the room of
            // the handshake for as long as the connection lasts.
            if let Ok(stream) = handshake.await {
                tokio::spawn(tokio::task::unconstrained(peer.serve(stream)));
            }
        }
    })
}

/// As [`run`], for a server that is measured over TCP alone.
pub fn serve<F, T>(handle: F) -> io::Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    listen(false, handle)
}

fn timers<P: Peer>(_: P) -> bool {
    P::TIMERS
}

/// The tasks are exempt from tokio's cooperative budget, as in the examples of fastwebsockets and tokio-websockets.
fn listen<F, T>(timers: bool, handle: F) -> io::Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let addr = listen_address()?;
    let mut builder = Builder::new_current_thread();
    if timers {
        builder.enable_time();
    }
    let runtime = builder.enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(addr).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            tokio::spawn(tokio::task::unconstrained(handle(socket)));
        }
    })
}

/// Whether the word was given on the command line.
pub fn has_flag(flag: &str) -> bool {
    std::env::args().any(|arg| arg == flag)
}

fn listen_address() -> io::Result<SocketAddr> {
    let raw = option("--listen").unwrap_or_else(|| "127.0.0.1:0".to_owned());
    raw.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("--listen: '{raw}' is no address")))
}

/// What was given on the command line behind the name.
pub fn option(name: &str) -> Option<String> {
    let mut args = std::env::args();
    args.by_ref().any(|arg| arg == name).then(|| args.next().unwrap_or_default())
}
