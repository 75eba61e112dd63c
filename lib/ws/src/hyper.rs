//! Upgrading a request of a hyper server, whatever its service does besides.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::hyper::upgrade::{OnUpgrade, Upgraded, on};
use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version, request};
use hyper_util::rt::TokioIo;
use switchboard_ws_proto::handshake::{HttpVersion, Rejection, UpgradeRequest, accept_key};
use switchboard_ws_proto::{Config, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::{AcceptOptions, WebSocket};

/// Checks a request, and makes the answer that upgrades it and the future of the WebSocket, which completes when hyper has written the
/// answer: give it to a task of its own. The server's connection has to be served `with_upgrades`.
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
    let checked = check(request.method(), request.version(), request.headers())?;
    let (response, config) = accept(&checked, options)?;
    Ok((response, UpgradeFuture::new(on(request), config)))
}

/// As [`UpgradeRequest::check`], for the parts of a request.
///
/// # Errors
/// [`Rejection`].
pub fn check_parts(parts: &request::Parts) -> Result<UpgradeRequest, Rejection> {
    check(&parts.method, parts.version, &parts.headers)
}

/// The HTTP answer to a request that is not upgraded.
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

fn check(method: &Method, version: Version, headers: &http::HeaderMap) -> Result<UpgradeRequest, Rejection> {
    let version = match version {
        Version::HTTP_11 => HttpVersion::Http11,
        Version::HTTP_2 | Version::HTTP_3 => return Err(Rejection::HttpVersionNotSupported),
        _ => HttpVersion::Http10,
    };
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    UpgradeRequest::check(method.as_str(), version, headers)
}

/// The answer that upgrades, and the configuration of the connection.
pub(crate) fn accept<R: Default>(
    request: &UpgradeRequest,
    options: &AcceptOptions,
) -> Result<(Response<R>, Config), Rejection> {
    #[cfg_attr(not(feature = "deflate"), expect(unused_mut, reason = "nothing is agreed"))]
    let (mut response, mut config) = (Response::new(R::default()), options.config.clone());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    // Base64 and tokens are header values always.
    if let Ok(accept) = HeaderValue::try_from(accept_key(&request.key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(Ok(subprotocol)) = options.choose(&request.subprotocols).map(HeaderValue::from_str) {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    #[cfg(feature = "deflate")]
    if let Some(params) = crate::accept::agree(request, options.deflate, &mut config)?
        && let Ok(params) = HeaderValue::try_from(params.to_string())
    {
        headers.insert(http::header::SEC_WEBSOCKET_EXTENSIONS, params);
    }
    Ok((response, config))
}

/// Becomes the WebSocket once the answer is written. Fails if the client is gone, or if the connection is not served `with_upgrades`.
#[derive(Debug)]
pub struct UpgradeFuture {
    upgrade: OnUpgrade,
    config: Config,
}

impl UpgradeFuture {
    pub(crate) fn new(upgrade: OnUpgrade, config: Config) -> Self {
        Self { upgrade, config }
    }
}

impl Future for UpgradeFuture {
    type Output = Result<WebSocket<UpgradedStream>, ::hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let upgraded = ready!(Pin::new(&mut self.upgrade).poll(cx))?;
        let (stream, leftover) = UpgradedStream::new(upgraded);
        Poll::Ready(Ok(WebSocket::from_upgraded(stream, leftover, Role::Server, self.config.clone())))
    }
}

/// What hyper gives back of its connection: the TCP stream itself where it was served over one, else hyper's own wrapper, which costs an
/// indirect call for each read and write.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpgradedStream {
    /// The connection was a `TokioIo<TcpStream>`.
    Tcp(TcpStream),
    /// Anything else.
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
