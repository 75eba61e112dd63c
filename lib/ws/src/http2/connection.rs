//! A client's HTTP/2 connection, on which WebSockets are opened.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, Connection, SendRequest};
use h2::ext::Protocol;
use h2::{Ping, RecvStream};
use http::{Method, Request, Uri, Version};
use switchboard_ws_proto::handshake::{
    ClientResponse, ConnectHandshake, HEAD_BYTES_MAX, HandshakeError, InvalidHeader,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::stream::{Http2Stream, to_io};
use crate::connect::{Target, dial};
use crate::phase::Phase;
use crate::{ConnectError, Connector, MaybeTls, WebSocket};

/// One connection of HTTP/2 to a server, on which any number of WebSockets can be opened, as many at once as the server allows. Clones are
/// the same connection. It ends when the last clone and the last WebSocket are dropped.
///
/// A task of its own drives it, so that a WebSocket that is not read does not hold up the others: each may leave 256 KiB unread, all
/// together 16 MiB.
///
/// ```no_run
/// # async fn run() -> Result<(), switchboard_ws::ConnectError> {
/// let connection = switchboard_ws::Connector::new().connect_http2("wss://example.org/").await?;
/// let (first, _) = connection.open("/news").await?;
/// let (second, _) = connection.open("/chat").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Http2Connection {
    requests: SendRequest<Bytes>,
    connector: Connector,
    tls: bool,
    authority: String,
}

impl Connector {
    /// Opens a connection of HTTP/2 to the URL's host, for WebSockets over it (RFC 8441): for wss:// by ALPN, for ws:// with prior
    /// knowledge. The URL's path is not used, and the configuration for TLS may say whatever it likes about ALPN.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let connection = switchboard_ws::Connector::new().connect_http2("wss://example.org").await?;
    /// let (mut chat, _) = connection.open("/chat").await?;
    /// let (mut news, _) = connection.open("/news").await?;
    /// chat.send("hello").await?;
    /// println!("{:?}", news.recv().await);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]; [`ConnectError::Http2NotSupported`] if the server has no HTTP/2, or no WebSockets over it.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_http2(&self, url: &str) -> Result<Http2Connection, ConnectError> {
        let target = Target::parse(url)?;
        let deadline = self.timeouts.start();
        let stream = deadline.within(Phase::Dial, self.dial(&target, dial)).await?;
        let stream = if target.tls {
            deadline.within(Phase::Tls, self.wrap_http2(stream, &target)).await?
        } else {
            MaybeTls::Plain(stream)
        };
        deadline.within(Phase::Handshake, self.begin_http2(stream, &target)).await
    }

    /// As [`connect_http2`](Self::connect_http2), over a stream that the caller has connected, and encrypted for wss://, with `h2` chosen
    /// by ALPN.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use switchboard_ws::Connector;
    ///
    /// let stream = tokio::net::UnixStream::connect("/run/server.sock").await?;
    /// let connection = Connector::new().connect_http2_over("ws://localhost/", stream).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn connect_http2_over<S>(&self, url: &str, stream: S) -> Result<Http2Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let target = Target::parse(url)?;
        self.timeouts.start().within(Phase::Handshake, self.begin_http2(stream, &target)).await
    }

    async fn begin_http2<S>(&self, stream: S, target: &Target) -> Result<Http2Connection, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (requests, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .handshake(stream)
            .await
            .map_err(to_io)?;
        if !settings(&requests, &mut connection).await? {
            return Err(ConnectError::Http2NotSupported("its settings do not allow extended CONNECT (RFC 8441 §3)"));
        }
        // Its error reaches each stream.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Http2Connection { requests, connector: self.clone(), tls: target.tls, authority: target.authority.clone() })
    }

    #[cfg(not(feature = "tls"))]
    async fn wrap_http2(&self, stream: TcpStream, target: &Target) -> Result<MaybeTls<TcpStream>, ConnectError> {
        self.wrap(stream, target).await
    }

    #[cfg(feature = "tls")]
    async fn wrap_http2(&self, stream: TcpStream, target: &Target) -> Result<MaybeTls<TcpStream>, ConnectError> {
        let mut config = rustls::ClientConfig::clone(&*self.tls_config()?);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = crate::connect::encrypt(config.into(), stream, target).await?;
        if let MaybeTls::Tls(stream) = &stream
            && stream.get_ref().1.alpn_protocol() != Some(b"h2")
        {
            return Err(ConnectError::Http2NotSupported("it did not choose h2 by ALPN"));
        }
        Ok(stream)
    }
}

/// Waits for the server's settings, and answers whether they allow extended CONNECT. They come before anything else (RFC 9113 §3.4), so
/// with the answer to a PING they have come.
async fn settings<S>(requests: &SendRequest<Bytes>, connection: &mut Connection<S, Bytes>) -> Result<bool, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pings = connection.ping_pong().ok_or(ConnectError::Eof)?;
    pings.send_ping(Ping::opaque()).map_err(to_io)?;
    poll_fn(|cx| {
        let ended = Pin::new(&mut *connection).poll(cx);
        if requests.is_extended_connect_protocol_enabled() {
            return Poll::Ready(Ok(true));
        }
        if let Poll::Ready(ended) = ended {
            return Poll::Ready(Err(ended.map_or_else(|error| to_io(error).into(), |()| ConnectError::Eof)));
        }
        match pings.poll_pong(cx) {
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(false)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(to_io(error).into())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

impl Http2Connection {
    /// Opens a WebSocket at a path, which may have a query, with the subprotocols, headers and limits of the connection's [`Connector`].
    /// Where the server allows no more at once, waits for one that ends, up to the connector's timeout.
    ///
    /// ```no_run
    /// # async fn run(connection: switchboard_ws::http2::Http2Connection) -> Result<(), switchboard_ws::ConnectError> {
    /// let (socket, response) = connection.open("/chat?room=lobby").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]. The other WebSockets are not affected. After a GOAWAY, when the server takes no more, it is
    /// [`ConnectError::Io`] of the kind [`ConnectionAborted`](std::io::ErrorKind::ConnectionAborted).
    ///
    /// # Cancel safety
    /// Dropping the future resets the stream, and nothing else.
    pub async fn open(&self, target: &str) -> Result<(WebSocket<Http2Stream>, ClientResponse), ConnectError> {
        self.open_with(&self.connector, target).await
    }

    /// As [`open`](Self::open), with the options of another connector.
    ///
    /// ```no_run
    /// # async fn run(connection: switchboard_ws::http2::Http2Connection) -> Result<(), switchboard_ws::ConnectError> {
    /// use switchboard_ws::Connector;
    ///
    /// let connector = Connector::new().subprotocols(["chat.v2"]);
    /// let (socket, response) = connection.open_with(&connector, "/chat").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    /// As [`open`](Self::open).
    pub async fn open_with(
        &self,
        connector: &Connector,
        target: &str,
    ) -> Result<(WebSocket<Http2Stream>, ClientResponse), ConnectError> {
        let opening = self.handshake(connector, target);
        connector.timeouts.start().within(Phase::Handshake, opening).await
    }

    async fn handshake(
        &self,
        connector: &Connector,
        target: &str,
    ) -> Result<(WebSocket<Http2Stream>, ClientResponse), ConnectError> {
        let handshake = ConnectHandshake::new(connector.request(self.authority.clone(), target.to_owned()))?;
        let request = self.request(target, &handshake)?;
        let mut requests = self.requests.clone().ready().await.map_err(to_io)?;
        let (response, send) = requests.send_request(request, false).map_err(to_io)?;
        // What `ready` may wait for is this stream, which has begun.
        drop(requests);
        let (head, mut recv) = response.await.map_err(to_io)?.into_parts();
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let response = match handshake.check(head.status.as_u16(), headers) {
            Ok(response) => response,
            Err(HandshakeError::Refused { status, reason, headers, .. }) => {
                let body = read_body(&mut recv).await;
                return Err(HandshakeError::Refused { status, reason, headers, body }.into());
            }
            Err(error) => return Err(error.into()),
        };
        let socket = connector.socket(Http2Stream::new(send, recv), Bytes::new(), &response)?;
        Ok((socket, response))
    }

    fn request(&self, target: &str, handshake: &ConnectHandshake) -> Result<Request<()>, ConnectError> {
        let uri = Uri::builder()
            .scheme(if self.tls { "https" } else { "http" })
            .authority(self.authority.as_str())
            .path_and_query(target)
            .build()
            .map_err(|_| ConnectError::Url("the path cannot be sent"))?;
        let mut request = Request::builder().method(Method::CONNECT).uri(uri).version(Version::HTTP_2);
        for (name, value) in handshake.headers() {
            request = request.header(name, value);
        }
        request
            .extension(Protocol::from_static("websocket"))
            .body(())
            .map_err(|_| InvalidHeader("(request)".into()).into())
    }
}

/// The beginning of the body that explains a refusal, as far as it comes at once.
async fn read_body(recv: &mut RecvStream) -> Bytes {
    let mut body = BytesMut::new();
    let read = async {
        while let Some(Ok(data)) = recv.data().await {
            // An error is a stream that has ended.
            let _ = recv.flow_control().release_capacity(data.len());
            let room = BODY_BYTES_MAX - body.len();
            body.extend_from_slice(data.get(..room).unwrap_or(&data));
            if body.len() == BODY_BYTES_MAX {
                break;
            }
        }
    };
    // What has not come by then is not waited for.
    let _ = timeout(BODY_TIMEOUT, read).await;
    body.freeze()
}

/// What a WebSocket that is not read may hold.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Of all WebSockets: many may stand unread before the others wait.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// What waits for the connection, for each WebSocket.
const SEND_BUFFER: usize = 64 * 1024;
const BODY_BYTES_MAX: usize = 16 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
