//! Connecting, and a stream that tells which frames go over it. Owns sockets; decides nothing.

use super::conversation::Agreed;
use super::frames::{Direction, FrameWatch};
use bytes::Bytes;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::{self, IoSlice};
use switchboard_ws::deflate;
use switchboard_ws::handshake::ClientResponse;
use switchboard_ws::{ConnectError, Connector, Role, WebSocket};
use switchboard_ws_proto::{Config, FrameHeader};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct Route {
    /// ws:// or wss://
    pub url: String,
    /// How the connection is made.
    pub connector: Connector,
    /// How compression is done, if the connector offers it.
    pub tuning: deflate::Tuning,
    /// Over HTTP/2 (RFC 8441).
    pub http2: bool,
}

/// A frame that went over the connection.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) direction: Direction,
    pub(crate) header: FrameHeader,
    /// How many before it could not be told.
    pub(crate) missed: u64,
}

/// Frames that are told before somebody looks.
const FRAMES_AHEAD: usize = 4096;

pub(crate) type Frames = mpsc::Receiver<Seen>;

impl Route {
    /// Makes a connection. Its frames are told if `watch` says so.
    pub(crate) async fn open(&self, watch: bool) -> Result<(WebSocket<Tap>, Agreed, Option<Frames>), ConnectError> {
        let (told, frames) = mpsc::channel(FRAMES_AHEAD);
        let watching = watch.then_some(told);
        let (socket, response) =
            if self.http2 { self.open_http2(watching).await? } else { self.open_http1(watching).await? };
        let agreed = Agreed {
            subprotocol: response.subprotocol,
            compression: response.deflate.map(|params| params.to_string()),
            http2: self.http2,
        };
        Ok((socket, agreed, watch.then_some(frames)))
    }

    async fn open_http1(
        &self,
        watching: Option<mpsc::Sender<Seen>>,
    ) -> Result<(WebSocket<Tap>, ClientResponse), ConnectError> {
        let dial = async |host: &str, port: u16| {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let tap = |stream| Tap::new(Box::new(stream), watching, true);
        self.connector.connect_wrapped(&self.url, dial, tap).await
    }

    /// A stream of HTTP/2 begins with the first frame: what was agreed was said in headers.
    async fn open_http2(
        &self,
        watching: Option<mpsc::Sender<Seen>>,
    ) -> Result<(WebSocket<Tap>, ClientResponse), ConnectError> {
        let connection = self.connector.connect_http2(&self.url).await?;
        let uri: http::Uri = self.url.parse().map_err(|_| ConnectError::Url("it cannot be parsed"))?;
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let (socket, response) = connection.open(path).await?;
        // Nothing was read of it yet, and nothing written.
        let tap = Tap::new(Box::new(socket.into_inner()), watching, false);
        let agreed = response.deflate.map(|params| deflate::Agreed { params, tuning: self.tuning });
        let config = Config::default().deflate(agreed);
        let mut mask_seed = [0; 32];
        getrandom::fill(&mut mask_seed).map_err(|error| ConnectError::Random(error.to_string()))?;
        Ok((WebSocket::from_upgraded(tap, Bytes::new(), Role::Client { mask_seed }, config), response))
    }
}

/// Any connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A stream, and who watches it.
pub(crate) struct Tap {
    stream: Box<dyn Stream>,
    watch: Option<Watch>,
}

struct Watch {
    incoming: FrameWatch,
    outgoing: FrameWatch,
    told: mpsc::Sender<Seen>,
    missed: u64,
}

impl core::fmt::Debug for Tap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tap").field("watched", &self.watch.is_some()).finish_non_exhaustive()
    }
}

impl Tap {
    fn new(stream: Box<dyn Stream>, told: Option<mpsc::Sender<Seen>>, head: bool) -> Self {
        let watch = told.map(|told| Watch {
            incoming: FrameWatch::new(head),
            outgoing: FrameWatch::new(head),
            told,
            missed: 0,
        });
        Self { stream, watch }
    }
}

impl Watch {
    fn see(&mut self, direction: Direction, bytes: &[u8]) {
        let Self { incoming, outgoing, told, missed } = self;
        let watch = if direction == Direction::In { incoming } else { outgoing };
        watch.receive(bytes, |header| {
            match told.try_send(Seen { direction, header, missed: *missed }) {
                Ok(()) => *missed = 0,
                // Nobody looks fast enough: the connection does not wait for that.
                Err(_) => *missed += 1,
            }
        });
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        if let Some(watch) = &mut this.watch {
            watch.see(Direction::In, buffer.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        if let Some(watch) = &mut this.watch {
            let mut left = count;
            for slice in slices {
                let here = left.min(slice.len());
                watch.see(Direction::Out, slice.get(..here).unwrap_or_default());
                left -= here;
            }
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
