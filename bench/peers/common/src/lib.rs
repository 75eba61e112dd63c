//! What every peer shares: the arguments, the listener, one current_thread runtime, TCP_NODELAY. Knows no WebSocket library, so
//! that the peers differ in that alone.

use std::{io, net::SocketAddr};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

/// Messages up to this size are echoed by every peer.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Accepts on `--listen ADDR` (default `127.0.0.1:0`), prints `listening on ADDR`, and runs `handle` for each connection.
///
/// The tasks are exempt from tokio's cooperative budget, as in the examples of fastwebsockets and tokio-websockets.
pub fn serve<F, T>(handle: F) -> io::Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    run(&mut Builder::new_current_thread(), handle)
}

/// As [`serve`], for a library that uses tokio's timers. The others are spared them.
pub fn serve_with_timers<F, T>(handle: F) -> io::Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    run(Builder::new_current_thread().enable_time(), handle)
}

fn run<F, T>(builder: &mut Builder, handle: F) -> io::Result<()>
where
    F: Fn(TcpStream) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let addr = listen_address()?;
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
    let mut args = std::env::args();
    let given = args.by_ref().any(|arg| arg == "--listen").then(|| args.next().unwrap_or_default());
    let raw = given.as_deref().unwrap_or("127.0.0.1:0");
    raw.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("--listen: '{raw}' is no address")))
}
