//! Upgrading a request of a hyper server, whatever its service does besides: over HTTP/1.1, and over HTTP/2 by an extended CONNECT (RFC
//! 8441) with the feature `http2`, where the server is told to `enable_connect_protocol`.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::upgrade::{OnUpgrade, Upgraded, on};
use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, Uri, Version, request};
use hyper_util::rt::TokioIo;
use switchboard_ws_proto::handshake::{HttpVersion, Rejection, UpgradeRequest};
use switchboard_ws_proto::{Config, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::{AcceptOptions, WebSocket};

/// Checks a request, and makes the answer that upgrades it and the future of the WebSocket, which completes when hyper has written the
/// answer: give it to a task of its own. A server's connection of HTTP/1.1 has to be served `with_upgrades`, one of HTTP/2 with
/// `enable_connect_protocol`; the request may be of either.
///
/// ```
/// use http_body_util::Full;
/// use hyper::body::{Bytes, Incoming};
/// use hyper::{Request, Response};
/// use switchboard_ws::{AcceptOptions, hyper::{rejection, upgrade}};
///
/// async fn service(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
///     let (response, upgraded) = match upgrade(&mut request, &AcceptOptions::default()) {
///         Ok(upgrade) => upgrade,
///         Err(error) => return Ok(rejection(&error).map(Full::from)),
///     };
///     tokio::spawn(async move {
///         let Ok(mut socket) = upgraded.await else { return };
///         while let Some(Ok(message)) = socket.recv().await {
///             if socket.feed(message).await.is_err() {
///                 break;
///             }
///         }
///     });
///     Ok(response)
/// }
/// ```
///
/// The response has the subprotocol that the client prefers among those of `options`. Add headers to it as you like.
///
/// # Errors
/// [`Rejection`] if the request is no WebSocket handshake or a wrong one; [`rejection`] is the answer that says so.
pub fn upgrade<B, R: Default>(
    request: &mut Request<B>,
    options: &AcceptOptions,
) -> Result<(Response<R>, UpgradeFuture), Rejection> {
    let head = Head {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
        extensions: request.extensions(),
    };
    let checked = head.check()?;
    let Accepted { response, config, subprotocol } = accept(&checked, options)?;
    Ok((response, UpgradeFuture::new(on(request), config, subprotocol)))
}

/// As [`UpgradeRequest::check`] or, over HTTP/2, [`UpgradeRequest::check_connect`], for the parts of a request.
///
/// ```
/// fn subprotocols(parts: &http::request::Parts) -> Vec<String> {
///     switchboard_ws::hyper::check_parts(parts).map(|request| request.subprotocols).unwrap_or_default()
/// }
/// ```
///
/// # Errors
/// [`Rejection`].
pub fn check_parts(parts: &request::Parts) -> Result<UpgradeRequest, Rejection> {
    let request::Parts { method, uri, version, headers, extensions, .. } = parts;
    Head { method, uri, version: *version, headers, extensions }.check()
}

/// The HTTP answer to a request that is not upgraded.
///
/// ```
/// use switchboard_ws::handshake::Rejection;
///
/// let response = switchboard_ws::hyper::rejection(&Rejection::HttpVersionNotSupported);
/// assert_eq!(response.status(), 505);
/// ```
pub fn rejection(error: &Rejection) -> Response<String> {
    let mut response = Response::new(format!("{error}\n"));
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    for (name, value) in error.headers() {
        response.headers_mut().insert(*name, HeaderValue::from_static(value));
    }
    if response.headers().contains_key(UPGRADE) {
        // RFC 9110 §7.8: who sends Upgrade names it in Connection.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    }
    response
}

/// What of a request decides.
struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    #[cfg_attr(not(feature = "http2"), expect(dead_code, reason = "says something over HTTP/2 only"))]
    extensions: &'a Extensions,
}

impl Head<'_> {
    fn check(&self) -> Result<UpgradeRequest, Rejection> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let version = match self.version {
            #[cfg(feature = "http2")]
            Version::HTTP_2 => {
                let protocol = self.extensions.get::<::hyper::ext::Protocol>().map(::hyper::ext::Protocol::as_str);
                let authority = self.uri.authority().map(http::uri::Authority::as_str);
                return UpgradeRequest::check_connect(self.method.as_str(), protocol, authority, headers);
            }
            #[cfg(not(feature = "http2"))]
            Version::HTTP_2 => return Err(Rejection::HttpVersionNotSupported),
            Version::HTTP_3 => return Err(Rejection::HttpVersionNotSupported),
            Version::HTTP_11 => HttpVersion::Http11,
            _ => HttpVersion::Http10,
        };
        let mut request = UpgradeRequest::check(self.method.as_str(), version, headers)?;
        if let Some(authority) = self.uri.authority() {
            // RFC 9112 §3.2.2: it stands above the Host header.
            request.host = authority.as_str().into();
        }
        Ok(request)
    }
}

/// The answer that upgrades, and what it says of the connection.
pub(crate) struct Accepted<R> {
    pub(crate) response: Response<R>,
    pub(crate) config: Config,
    pub(crate) subprotocol: Option<String>,
}

pub(crate) fn accept<R: Default>(request: &UpgradeRequest, options: &AcceptOptions) -> Result<Accepted<R>, Rejection> {
    #[cfg_attr(not(feature = "deflate"), expect(unused_mut, reason = "nothing is agreed"))]
    let (mut response, mut config) = (Response::new(R::default()), options.config.clone());
    let subprotocol = options.choose(&request.subprotocols);
    #[cfg(feature = "deflate")]
    let answer = {
        let params = crate::accept::agree(request, options.deflate, &mut config)?;
        request.answer_with(subprotocol, params.as_ref())
    };
    #[cfg(not(feature = "deflate"))]
    let answer = request.answer(subprotocol);
    // The subprotocol is one of those offered, which is all that an answer is refused for.
    let answer = answer.map_err(|_| Rejection::InvalidHeader("Sec-WebSocket-Protocol"))?;
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in answer.headers {
        // Base64, tokens and parameters are header values always.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    for (name, value) in options.headers() {
        // They were checked when they were given.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(Accepted { response, config, subprotocol: subprotocol.map(String::from) })
}

/// Becomes the WebSocket once the answer is written. Fails if the client is gone, or if a connection of HTTP/1.1 is not served
/// `with_upgrades`.
///
/// ```
/// use switchboard_ws::hyper::UpgradeFuture;
///
/// async fn greet(upgraded: UpgradeFuture) -> Result<(), Box<dyn std::error::Error>> {
///     upgraded.await?.send("hello").await?;
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct UpgradeFuture {
    upgrade: OnUpgrade,
    config: Config,
    subprotocol: Option<String>,
}

impl UpgradeFuture {
    pub(crate) fn new(upgrade: OnUpgrade, config: Config, subprotocol: Option<String>) -> Self {
        Self { upgrade, config, subprotocol }
    }
}

impl Future for UpgradeFuture {
    type Output = Result<WebSocket<UpgradedStream>, ::hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let upgraded = ready!(Pin::new(&mut self.upgrade).poll(cx))?;
        let (stream, leftover) = UpgradedStream::new(upgraded);
        let mut socket = WebSocket::from_upgraded(stream, leftover, Role::Server, self.config.clone());
        socket.set_subprotocol(self.subprotocol.as_deref());
        Poll::Ready(Ok(socket))
    }
}

/// What hyper gives back of its connection: the TCP stream itself where it was served over one, else hyper's own wrapper, which costs an
/// indirect call for each read and write.
///
/// ```
/// use switchboard_ws::WebSocket;
/// use switchboard_ws::hyper::UpgradedStream;
///
/// fn peer(socket: &WebSocket<UpgradedStream>) -> Option<std::net::SocketAddr> {
///     match socket.get_ref() {
///         UpgradedStream::Tcp(stream) => stream.peer_addr().ok(),
///         _ => None,
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum UpgradedStream {
    /// The connection was a `TokioIo<TcpStream>`.
    Tcp(TcpStream),
    /// Anything else: TLS, a stream of HTTP/2.
    Other(TokioIo<Upgraded>),
}

impl UpgradedStream {
    /// The stream, and what was read behind the request.
    fn new(upgraded: Upgraded) -> (Self, Bytes) {
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Self::Tcp(parts.io.into_inner()), parts.read_buf),
            // The wrapper gives what was read first by itself.
            Err(upgraded) => (Self::Other(TokioIo::new(upgraded)), Bytes::new()),
        }
    }
}

impl AsyncRead for UpgradedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Other(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
