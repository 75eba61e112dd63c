//! Pairs of connected WebSockets.

use std::future::Future;
use std::time::Duration;

use switchboard_ws::{AcceptOptions, Config, Connector, Error, Role, WebSocket, accept_with};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// The client's side and the server's, over a pipe that holds `capacity` bytes each way.
pub(crate) fn pipe(capacity: usize) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    pipe_with(capacity, Config::default())
}

pub(crate) fn pipe_with(capacity: usize, config: Config) -> (WebSocket<DuplexStream>, WebSocket<DuplexStream>) {
    let (client, server) = duplex(capacity);
    (
        WebSocket::from_upgraded(client, Default::default(), Role::Client { mask_seed: [3; 32] }, config.clone()),
        WebSocket::from_upgraded(server, Default::default(), Role::Server, config),
    )
}

/// Over TCP, with both handshakes.
pub(crate) async fn tcp(config: Config) -> (WebSocket<TcpStream>, WebSocket<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = Connector::new().config(config.clone());
    let connect = async {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect_over(&format!("ws://{address}/"), stream).await.unwrap().0
    };
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        accept_with(stream, &AcceptOptions::default().config(config)).await.unwrap()
    };
    tokio::join!(connect, accept)
}

pub(crate) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocket<S>) -> Result<(), Error> {
    while let Some(message) = socket.recv().await {
        socket.feed(message?).await?;
    }
    Ok(())
}

/// Nothing here waits longer than a test may.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(20), future).await.expect("it hangs")
}
