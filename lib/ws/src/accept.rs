//! The server's opening handshake over any stream of bytes.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
#[cfg(feature = "deflate")]
use switchboard_ws_proto::handshake::UpgradeRequest;
use switchboard_ws_proto::handshake::{
    InvalidHeader, Rejection, ServerHandshake, ServerRequest, check_header, error_response,
};
use switchboard_ws_proto::{Config, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::WebSocket;
#[cfg(feature = "deflate")]
use crate::deflate::{Agreed, Params, Policy};

/// How a server accepts.
///
/// ```
/// use switchboard_ws::{AcceptOptions, Limits, Config};
///
/// let options = AcceptOptions::default()
///     .subprotocols(["chat.v2", "chat.v1"])
///     .config(Config::default().limits(Limits { message_bytes_max: 1 << 20, ..Limits::default() }));
/// ```
#[derive(Clone)]
#[non_exhaustive]
#[must_use]
pub struct AcceptOptions {
    /// Of the connection.
    pub config: Config,
    /// What the server speaks. Of these, the one that the client prefers is chosen; none if they have none in common.
    pub subprotocols: Vec<String>,
    /// How long the request may take. Default 10 s.
    pub request_timeout: Duration,
    /// Which compression is agreed to if the client offers it. Default: none.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Policy>,
    /// Checked.
    headers: Vec<(String, String)>,
}

impl AcceptOptions {
    /// Sets [`config`](Self#structfield.config).
    ///
    /// ```
    /// use switchboard_ws::{AcceptOptions, Config};
    ///
    /// let options = AcceptOptions::default().config(Config::default());
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets [`subprotocols`](Self#structfield.subprotocols).
    ///
    /// ```
    /// let options = switchboard_ws::AcceptOptions::default().subprotocols(["chat.v2", "chat.v1"]);
    /// ```
    pub fn subprotocols<T: Into<String>>(mut self, subprotocols: impl IntoIterator<Item = T>) -> Self {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`request_timeout`](Self#structfield.request_timeout).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let options = switchboard_ws::AcceptOptions::default().request_timeout(Duration::from_secs(3));
    /// ```
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets [`deflate`](Self#structfield.deflate).
    ///
    /// ```
    /// use switchboard_ws::AcceptOptions;
    /// use switchboard_ws::deflate::Policy;
    ///
    /// // The clients' context is kept (47 KiB a connection), our own (274 KiB) is not.
    /// let options = AcceptOptions::default().deflate(Some(Policy::default().peer_context_takeover(true)));
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, policy: Option<Policy>) -> Self {
        self.deflate = policy;
        self
    }

    /// One more header in the answer that upgrades, whatever the request. For headers that depend on it there are [`read_request`], and the
    /// response that hyper's `upgrade` and axum's extractor give.
    ///
    /// ```
    /// let options = switchboard_ws::AcceptOptions::default().header("X-Node", "1")?;
    /// # Ok::<(), switchboard_ws::InvalidHeader>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidHeader`] for what is no header, or one that the handshake writes itself.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self, InvalidHeader> {
        let (name, value) = (name.into(), value.into());
        check_header(&name, &value)?;
        self.headers.push((name, value));
        Ok(self)
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The client's favourite of those that the server speaks.
    pub(crate) fn choose<'a>(&self, offered: &'a [String]) -> Option<&'a str> {
        offered.iter().find(|offer| self.subprotocols.contains(offer)).map(String::as_str)
    }
}

impl fmt::Debug for AcceptOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of headers the names only: a cookie is a secret.
        let headers: Vec<&str> = self.headers().map(|(name, _)| name).collect();
        let Self { config, subprotocols, request_timeout, .. } = self;
        let mut shown = f.debug_struct("AcceptOptions");
        shown.field("config", config).field("subprotocols", subprotocols).field("headers", &headers);
        shown.field("request_timeout", request_timeout).finish_non_exhaustive()
    }
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self {
            config: Config::default(),
            subprotocols: Vec::new(),
            request_timeout: Duration::from_secs(10),
            #[cfg(feature = "deflate")]
            deflate: None,
            headers: Vec::new(),
        }
    }
}

/// Why there is no WebSocket. Where the client could be told by HTTP, it was, and its stream was ended.
///
/// ```
/// # async fn run(stream: tokio::net::TcpStream) {
/// use switchboard_ws::{AcceptError, accept};
///
/// match accept(stream).await {
///     Ok(_socket) => {}
///     Err(AcceptError::Rejected(why)) => println!("no WebSocket: {why}"),
///     Err(error) => println!("the client went away: {error}"),
/// }
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request was refused by the rules of the protocol.
    #[error("the handshake was refused: {0}")]
    Rejected(#[from] Rejection),
    /// The request did not come in time.
    #[error("the request took too long")]
    Timeout,
    /// The stream ended before the request did.
    #[error("the connection ended before the request was whole")]
    Eof,
    /// Our answer has a header that cannot be written, or a subprotocol that was not offered.
    #[error(transparent)]
    InvalidHeader(#[from] InvalidHeader),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Accepts a WebSocket from a stream that a client has just opened.
///
/// ```
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// let mut socket = switchboard_ws::accept(stream).await?;
/// socket.send("hello").await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`AcceptError`].
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<WebSocket<S>, AcceptError> {
    accept_with(stream, &AcceptOptions::default()).await
}

/// As [`accept`], with limits, timeouts and subprotocols. To decide by the request, see [`read_request`].
///
/// ```
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
/// use switchboard_ws::{AcceptOptions, accept_with};
///
/// let socket = accept_with(stream, &AcceptOptions::default().subprotocols(["chat"])).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`AcceptError`].
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn accept_with<S>(stream: S, options: &AcceptOptions) -> Result<WebSocket<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Boxed: a task keeps room for the largest state that it ever has, and would hold the handshake's beside the connection for life.
    Box::pin(async {
        let pending = read_request(stream, options).await?;
        let subprotocol = options.choose(&pending.request.upgrade.subprotocols).map(String::from);
        let headers: Vec<_> = options.headers().collect();
        pending.accept(subprotocol.as_deref(), &headers).await
    })
    .await
}

/// Reads a request and leaves the decision to the caller.
///
/// ```
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use switchboard_ws::{AcceptOptions, read_request};
///
/// let pending = read_request(stream, &AcceptOptions::default()).await?;
/// if pending.request().headers.get("authorization") != Some(b"Bearer secret") {
///     pending.reject(401, &[("WWW-Authenticate", "Bearer")], b"who are you?\n").await?;
///     return Ok(());
/// }
/// let mut socket = pending.accept(None, &[("X-Node", "1")]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`AcceptError`].
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn read_request<S>(mut stream: S, options: &AcceptOptions) -> Result<PendingUpgrade<S>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut handshake = ServerHandshake::new();
    let read = timeout(options.request_timeout, read_head(&mut stream, &mut handshake)).await;
    match read.unwrap_or(Err(AcceptError::Timeout)) {
        Ok(request) => {
            let (leftover, config) = (handshake.into_leftover(), options.config.clone());
            Ok(PendingUpgrade {
                stream,
                request,
                leftover,
                config,
                #[cfg(feature = "deflate")]
                deflate: options.deflate,
            })
        }
        Err(error) => {
            if let Some(response) = answer(&error) {
                // The client may be gone, or not listen. It is refused all the same.
                let _ = timeout(REJECT_TIMEOUT, end_with(&mut stream, &response)).await;
            }
            Err(error)
        }
    }
}

/// A request that waits for its answer.
///
/// ```
/// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
/// # let pending = switchboard_ws::read_request(stream, &Default::default()).await?;
/// println!("{} is asked for", pending.request().target);
/// pending.accept(None, &[]).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "the client waits for an answer"]
pub struct PendingUpgrade<S> {
    stream: S,
    request: ServerRequest,
    leftover: BytesMut,
    config: Config,
    #[cfg(feature = "deflate")]
    deflate: Option<Policy>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> PendingUpgrade<S> {
    /// What the client asks for.
    ///
    /// ```
    /// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
    /// # let pending = switchboard_ws::read_request(stream, &Default::default()).await?;
    /// let origin = pending.request().headers.get("origin");
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(&self) -> &ServerRequest {
        &self.request
    }

    /// Limits and timeouts for this connection, instead of those of the options.
    ///
    /// ```
    /// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
    /// # let pending = switchboard_ws::read_request(stream, &Default::default()).await?;
    /// # let mut pending = pending;
    /// use switchboard_ws::{Config, Limits};
    ///
    /// // It is somebody whom we trust.
    /// pending.set_config(Config::default().limits(Limits::NONE));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
    }

    /// Compression for this connection, instead of that of the options.
    ///
    /// ```
    /// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
    /// # let pending = switchboard_ws::read_request(stream, &Default::default()).await?;
    /// # let mut pending = pending;
    /// pending.set_deflate(None);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "deflate")]
    pub fn set_deflate(&mut self, policy: Option<Policy>) {
        self.deflate = policy;
    }

    /// Upgrades, with one of the client's subprotocols and with more headers. If compression is allowed, and the client's offer of it is no
    /// list of extensions, the client is told so by an HTTP answer.
    ///
    /// ```
    /// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
    /// # let pending = switchboard_ws::read_request(stream, &Default::default()).await?;
    /// let socket = pending.accept(Some("chat.v1"), &[("X-Node", "1")]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AcceptError::InvalidHeader`], [`AcceptError::Io`] and [`AcceptError::Rejected`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn accept(
        mut self,
        subprotocol: Option<&str>,
        headers: &[(&str, &str)],
    ) -> Result<WebSocket<S>, AcceptError> {
        #[cfg(feature = "deflate")]
        let response = {
            let params = match agree(&self.request.upgrade, self.deflate, &mut self.config) {
                Ok(params) => params,
                Err(rejection) => {
                    let _ = timeout(REJECT_TIMEOUT, end_with(&mut self.stream, &rejection.response())).await;
                    return Err(rejection.into());
                }
            };
            self.request.accept_with(subprotocol, params.as_ref(), headers)?
        };
        #[cfg(not(feature = "deflate"))]
        let response = self.request.accept(subprotocol, headers)?;
        self.stream.write_all(&response).await?;
        self.stream.flush().await?;
        let mut socket = WebSocket::from_upgraded(self.stream, self.leftover.freeze(), Role::Server, self.config);
        socket.set_subprotocol(subprotocol);
        Ok(socket)
    }

    /// Refuses by an HTTP answer, and ends the stream.
    ///
    /// ```
    /// # async fn run(stream: tokio::net::TcpStream) -> Result<(), switchboard_ws::AcceptError> {
    /// # let pending = switchboard_ws::read_request(stream, &Default::default()).await?;
    /// pending.reject(403, &[], b"not from this origin\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`AcceptError::InvalidHeader`], [`AcceptError::Io`], and [`AcceptError::Timeout`] if the client does not take the answer.
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn reject(mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Result<(), AcceptError> {
        let response = error_response(status, headers, body)?;
        let ended = timeout(REJECT_TIMEOUT, end_with(&mut self.stream, &response)).await;
        Ok(ended.map_err(|_| AcceptError::Timeout)??)
    }
}

impl<S: fmt::Debug> fmt::Debug for PendingUpgrade<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, request, leftover, config, .. } = self;
        let mut shown = f.debug_struct("PendingUpgrade");
        shown.field("stream", stream).field("request", request).field("leftover", &leftover.len());
        shown.field("config", config).finish_non_exhaustive()
    }
}

/// What the server agrees to of the client's offers, and the connection's configuration for it.
#[cfg(feature = "deflate")]
pub(crate) fn agree(
    request: &UpgradeRequest,
    policy: Option<Policy>,
    config: &mut Config,
) -> Result<Option<Params>, Rejection> {
    let params = policy.map(|policy| request.deflate(&policy)).transpose()?.flatten();
    let tuning = policy.unwrap_or_default().tuning;
    config.deflate = params.map(|params| Agreed { params, tuning });
    Ok(params)
}

async fn read_head<S>(stream: &mut S, handshake: &mut ServerHandshake) -> Result<ServerRequest, AcceptError>
where
    S: AsyncRead + Unpin,
{
    let mut buffer = BytesMut::with_capacity(REQUEST_BYTES);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(AcceptError::Eof);
        }
        if let Some(request) = handshake.receive(&buffer)? {
            return Ok(request);
        }
        buffer.clear();
    }
}

fn answer(error: &AcceptError) -> Option<Bytes> {
    match error {
        AcceptError::Rejected(rejection) => Some(rejection.response()),
        AcceptError::Timeout => error_response(408, &[], b"the request took too long\n").ok(),
        AcceptError::Eof | AcceptError::InvalidHeader(_) | AcceptError::Io(_) => None,
    }
}

async fn end_with<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, response: &[u8]) -> io::Result<()> {
    stream.write_all(response).await?;
    stream.shutdown().await?;
    // To drop a socket with unread bytes resets it, and the answer could be lost.
    let mut rest = BytesMut::with_capacity(REQUEST_BYTES);
    let mut drained = 0;
    while drained < DRAIN_BYTES_MAX {
        let count = stream.read_buf(&mut rest).await?;
        if count == 0 {
            break;
        }
        drained += count;
        rest.clear();
    }
    Ok(())
}

const REQUEST_BYTES: usize = 4096;
const DRAIN_BYTES_MAX: usize = 256 * 1024;
const REJECT_TIMEOUT: Duration = Duration::from_secs(1);
