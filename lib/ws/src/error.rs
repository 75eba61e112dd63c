//! How a connection fails after its opening handshake.

use std::io;

use switchboard_ws_proto::{ProtocolError, SendError};

/// Why a connection ended other than by a clean close, or why something was not sent.
///
/// ```
/// # async fn run(mut socket: switchboard_ws::WebSocket<tokio::net::TcpStream>) -> Result<(), switchboard_ws::Error> {
/// use switchboard_ws::Error;
///
/// match socket.recv().await {
///     Some(Err(Error::Protocol(why))) => println!("it was told {}", why.close_code()),
///     Some(Err(Error::ConnectionLost | Error::Unresponsive)) => println!("gone"),
///     _ => {}
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer broke the protocol; it was told so by a Close.
    #[error("the peer broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The stream ended without a Close.
    #[error("the connection was lost without a close")]
    ConnectionLost,
    /// Nothing came within `ping_interval` and `pong_timeout`.
    #[error("the peer does not respond")]
    Unresponsive,
    /// The peer did not answer our Close within `close_timeout`.
    #[error("the peer did not answer the close in time")]
    CloseTimedOut,
    /// Not sent: the connection is closing or closed, or the call was wrong.
    #[error(transparent)]
    Send(#[from] SendError),
}

/// For code that speaks of streams only: what is no failure of one is in the [`io::Error`], of the kind [`Other`](io::ErrorKind::Other).
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) => error,
            other => Self::other(other),
        }
    }
}
