//! The client: from a URL to a WebSocket. What a URL says is in `target`.

mod target;

use std::fmt;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest, ClientResponse, HandshakeError, InvalidHeader};
use switchboard_ws_proto::{Config, Role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

#[cfg(feature = "deflate")]
use crate::deflate::{Agreed, Policy};
use crate::phase::{Phase, Timeouts};
use crate::proxy::{self, ProxyUrl};
use crate::{MaybeTls, WebSocket};
pub(crate) use target::Target;

/// Why there is no connection.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use switchboard_ws::handshake::HandshakeError;
/// use switchboard_ws::{ConnectError, connect};
///
/// match connect("ws://localhost:9001/").await {
///     Ok(_socket) => {}
///     Err(ConnectError::Handshake(HandshakeError::Refused { status: 401, .. })) => println!("log in first"),
///     Err(error) => println!("later, perhaps: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not a ws:// or wss:// URL.
    #[error("not a WebSocket URL: {0}")]
    Url(&'static str),
    /// wss:// without a way to do it.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server's answer.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The proxy's answer, which opens no tunnel.
    #[error("the proxy {}", proxy::said(.0))]
    Proxy(#[source] Box<HandshakeError>),
    /// A header, subprotocol or URL that cannot be written into a request.
    #[error(transparent)]
    InvalidHeader(#[from] InvalidHeader),
    /// A part of connecting took longer than it may.
    #[error("no connection within the time limit: {0} took too long")]
    Timeout(Phase),
    /// The server hung up before it answered.
    #[error("the connection ended before the response was whole")]
    Eof,
    /// The server does not do WebSockets over HTTP/2; it may over HTTP/1.1.
    #[cfg(feature = "http2")]
    #[error("the server does not do WebSockets over HTTP/2: {0}")]
    Http2NotSupported(&'static str),
    /// The operating system gave no random bytes for keys.
    #[error("no randomness: {0}")]
    Random(String),
    /// Connecting, reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Connects to a ws:// URL, or with the feature `tls` a wss:// one.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut socket = switchboard_ws::connect("ws://localhost:8080/chat").await?;
/// socket.send("hello").await?;
/// println!("{:?}", socket.recv().await);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ConnectError`].
///
/// # Cancel safety
/// Dropping the future drops the connection.
pub async fn connect(url: &str) -> Result<WebSocket<MaybeTls<TcpStream>>, ConnectError> {
    Ok(Connector::new().connect(url).await?.0)
}

/// How a client connects.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let (socket, response) = switchboard_ws::Connector::new()
///     .subprotocols(["chat.v2", "chat.v1"])
///     .header("Authorization", "Bearer secret")
///     .origin("https://example.org")
///     .connect("ws://localhost:8080/chat")
///     .await?;
/// println!("we speak {:?}", response.subprotocol);
/// # Ok(())
/// # }
/// ```
///
/// Redirects are not followed: they are [`HandshakeError::Refused`], with the headers of the answer.
#[derive(Clone)]
#[must_use]
pub struct Connector {
    config: Config,
    subprotocols: Vec<String>,
    origin: Option<String>,
    headers: Vec<(String, String)>,
    pub(crate) timeouts: Timeouts,
    pub(crate) proxy: Option<ProxyUrl>,
    #[cfg(feature = "deflate")]
    deflate: Option<Policy>,
    #[cfg(feature = "tls")]
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Connector {
    /// Without subprotocols or headers of its own; 10 s for all of TCP, TLS and the handshake.
    ///
    /// ```
    /// let connector = switchboard_ws::Connector::new();
    /// ```
    pub fn new() -> Self {
        Self {
            config: Config::default(),
            subprotocols: Vec::new(),
            origin: None,
            headers: Vec::new(),
            timeouts: Timeouts::default(),
            proxy: None,
            #[cfg(feature = "deflate")]
            deflate: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Limits and timeouts of the connection.
    ///
    /// ```
    /// use switchboard_ws::{Config, Connector, Limits};
    ///
    /// let limits = Limits { message_bytes_max: 1 << 20, ..Limits::default() };
    /// let connector = Connector::new().config(Config::default().limits(limits));
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Subprotocols to offer, the preferred one first.
    ///
    /// ```
    /// let connector = switchboard_ws::Connector::new().subprotocols(["chat.v2", "chat.v1"]);
    /// ```
    pub fn subprotocols<T: Into<String>>(mut self, subprotocols: impl IntoIterator<Item = T>) -> Self {
        self.subprotocols = subprotocols.into_iter().map(Into::into).collect();
        self
    }

    /// The `Origin` header, which servers for browsers check.
    ///
    /// ```
    /// let connector = switchboard_ws::Connector::new().origin("https://example.org");
    /// ```
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// One more header.
    ///
    /// ```
    /// let connector = switchboard_ws::Connector::new().header("X-Device", "thermometer");
    /// ```
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The header `Authorization` with a token (RFC 6750 §2.1).
    ///
    /// ```
    /// switchboard_ws::Connector::new().bearer_token("eyJhbGciOi…");
    /// ```
    pub fn bearer_token(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// The header `Authorization` with a name, in which no colon may be, and a password (RFC 7617). Over ws:// everybody on the way can read it.
    ///
    /// ```
    /// switchboard_ws::Connector::new().basic_auth("Aladdin", "open sesame");
    /// ```
    pub fn basic_auth(self, name: &str, password: &str) -> Self {
        let credentials = STANDARD.encode(format!("{name}:{password}"));
        self.header("Authorization", format!("Basic {credentials}"))
    }

    /// For all of connecting: name lookup, TCP, TLS, handshake. Default 10 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let connector = switchboard_ws::Connector::new().timeout(Duration::from_secs(3));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.all = timeout;
        self
    }

    /// For the name lookup and TCP, or for what is given to [`connect_through`](Self::connect_through). Default: only the
    /// [`timeout`](Self::timeout) of all phases, which is never exceeded.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let connector = switchboard_ws::Connector::new().dial_timeout(Some(Duration::from_secs(1)));
    /// ```
    pub fn dial_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.dial = timeout;
        self
    }

    /// For the handshake of TLS. Default: only the [`timeout`](Self::timeout) of all phases.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let connector = switchboard_ws::Connector::new().tls_timeout(Some(Duration::from_secs(2)));
    /// ```
    pub fn tls_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.tls = timeout;
        self
    }

    /// For the request and its answer. Default: only the [`timeout`](Self::timeout) of all phases.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let connector = switchboard_ws::Connector::new().handshake_timeout(Some(Duration::from_secs(2)));
    /// ```
    pub fn handshake_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeouts.handshake = timeout;
        self
    }

    /// Offers compression; what the server made of it is in [`ClientResponse::deflate`]. Default: none.
    ///
    /// ```
    /// use switchboard_ws::{Connector, deflate::Policy};
    ///
    /// let connector = Connector::new().deflate(Some(Policy::default()));
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, policy: Option<Policy>) -> Self {
        self.deflate = policy;
        self
    }

    /// For wss://. Without it, the system's certificates are used if the feature `native-roots` is on, and there is an error if not.
    ///
    /// ```
    /// fn connector(tls: rustls::ClientConfig) -> switchboard_ws::Connector {
    ///     switchboard_ws::Connector::new().tls(std::sync::Arc::new(tls))
    /// }
    /// ```
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Connects by TCP to the URL's host.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let (socket, response) = switchboard_ws::Connector::new().connect("ws://localhost:9001/").await?;
    /// println!("{:?}", response.headers.get("server"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect(&self, url: &str) -> Result<(WebSocket<MaybeTls<TcpStream>>, ClientResponse), ConnectError> {
        self.connect_through(url, dial).await
    }

    /// Over a stream of the caller's making: through a proxy, over a Unix socket, within a test. `dial` is given the URL's host (an IPv6 address
    /// without its brackets) and port; TLS is put over its stream if the URL is wss://.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::net::UnixStream;
    ///
    /// let connector = switchboard_ws::Connector::new();
    /// let dial = async |_: &str, _: u16| UnixStream::connect("/run/chat.sock").await;
    /// let (mut socket, _) = connector.connect_through("ws://localhost/chat", dial).await?;
    /// socket.send("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]; an error of `dial` is [`ConnectError::Io`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_through<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        url: &str,
        dial: impl AsyncFnOnce(&str, u16) -> io::Result<S>,
    ) -> Result<(WebSocket<MaybeTls<S>>, ClientResponse), ConnectError> {
        self.connect_wrapped(url, dial, |stream| stream).await
    }

    /// As [`connect_through`](Self::connect_through), over what `wrap` makes of the stream, TLS included, before anything is said on it: something that
    /// watches what goes over it, or slows it down.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use tokio::io::BufStream;
    /// use tokio::net::TcpStream;
    ///
    /// let connector = switchboard_ws::Connector::new();
    /// let dial = async |host: &str, port: u16| TcpStream::connect((host, port)).await;
    /// let (mut socket, _) = connector.connect_wrapped("wss://example.org/", dial, BufStream::new).await?;
    /// socket.send("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`]; an error of `dial` is [`ConnectError::Io`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect_wrapped<S: AsyncRead + AsyncWrite + Unpin, T: AsyncRead + AsyncWrite + Unpin>(
        &self,
        url: &str,
        dial: impl AsyncFnOnce(&str, u16) -> io::Result<S>,
        wrap: impl FnOnce(MaybeTls<S>) -> T,
    ) -> Result<(WebSocket<T>, ClientResponse), ConnectError> {
        let target = Target::parse(url)?;
        let deadline = self.timeouts.start();
        let stream = deadline.within(Phase::Dial, self.dial(&target, dial)).await?;
        let stream = if target.tls {
            deadline.within(Phase::Tls, self.wrap(stream, &target)).await?
        } else {
            MaybeTls::Plain(stream)
        };
        deadline.within(Phase::Handshake, self.handshake(wrap(stream), &target)).await
    }

    /// Over a stream that the caller has connected, and for wss:// encrypted: TLS is not put over it.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let (near, _far) = tokio::io::duplex(4096);
    /// let (socket, _) = switchboard_ws::Connector::new().connect_over("ws://test/", near).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the stream.
    pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        url: &str,
        stream: S,
    ) -> Result<(WebSocket<S>, ClientResponse), ConnectError> {
        let target = Target::parse(url)?;
        self.timeouts.start().within(Phase::Handshake, self.handshake(stream, &target)).await
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        target: &Target,
    ) -> Result<(WebSocket<S>, ClientResponse), ConnectError> {
        let request = self.request(target.authority.clone(), target.path.clone());
        let mut handshake = ClientHandshake::new(request, random()?)?;
        stream.write_all(&handshake.request()).await?;
        stream.flush().await?;
        let mut buffer = BytesMut::with_capacity(RESPONSE_BYTES);
        let response = loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(ConnectError::Eof);
            }
            if let Some(response) = handshake.receive(&mut buffer)? {
                break response;
            }
        };
        Ok((self.socket(stream, buffer.freeze(), &response)?, response))
    }

    /// What is asked for, over whichever version of HTTP.
    pub(crate) fn request(&self, host: String, target: String) -> ClientRequest {
        ClientRequest {
            host,
            target,
            origin: self.origin.clone(),
            subprotocols: self.subprotocols.clone(),
            headers: self.headers.clone(),
            #[cfg(feature = "deflate")]
            deflate: self.deflate.map(|policy| policy.offer()),
        }
    }

    /// What the server has agreed to, over `stream`.
    pub(crate) fn socket<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        leftover: Bytes,
        response: &ClientResponse,
    ) -> Result<WebSocket<S>, ConnectError> {
        let role = Role::Client { mask_seed: random()? };
        #[cfg(feature = "deflate")]
        let config = {
            let tuning = self.deflate.unwrap_or_default().tuning;
            self.config.clone().deflate(response.deflate.map(|params| Agreed { params, tuning }))
        };
        #[cfg(not(feature = "deflate"))]
        let config = self.config.clone();
        let mut socket = WebSocket::from_upgraded(stream, leftover, role, config);
        socket.set_subprotocol(response.subprotocol.as_deref());
        Ok(socket)
    }

    #[cfg(not(feature = "tls"))]
    pub(crate) async fn wrap<S>(&self, _: S, _: &Target) -> Result<MaybeTls<S>, ConnectError> {
        Err(ConnectError::Tls("wss:// needs the feature `tls` of switchboard-ws".into()))
    }

    #[cfg(feature = "tls")]
    async fn wrap<S>(&self, stream: S, target: &Target) -> Result<MaybeTls<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut config = self.tls_config()?;
        if config.alpn_protocols.iter().any(|protocol| protocol == b"h2") {
            // One that is shared with a client of HTTP/2: what follows here is HTTP/1.1.
            let mut own = rustls::ClientConfig::clone(&config);
            own.alpn_protocols = vec![b"http/1.1".to_vec()];
            config = own.into();
        }
        encrypt(config, stream, target).await
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_config(&self) -> Result<std::sync::Arc<rustls::ClientConfig>, ConnectError> {
        match &self.tls {
            Some(config) => Ok(config.clone()),
            None => system_tls(),
        }
    }
}

#[cfg(feature = "tls")]
pub(crate) async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
    config: std::sync::Arc<rustls::ClientConfig>,
    stream: S,
    target: &Target,
) -> Result<MaybeTls<S>, ConnectError> {
    let name = rustls::pki_types::ServerName::try_from(target.dial_host().to_owned())
        .map_err(|_| ConnectError::Url("the host is not a name for TLS"))?;
    let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
    Ok(MaybeTls::Tls(Box::new(stream)))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values of headers are secrets, some of them, and so are subprotocols.
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let Self { config, origin, timeouts, proxy, .. } = self;
        let mut shown = f.debug_struct("Connector");
        shown.field("config", config).field("subprotocols", &self.subprotocols.len()).field("origin", origin);
        shown.field("headers", &headers).field("timeouts", timeouts);
        shown.field("proxy", proxy).finish_non_exhaustive()
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(feature = "tls", not(feature = "native-roots")))]
fn system_tls() -> Result<std::sync::Arc<rustls::ClientConfig>, ConnectError> {
    let hint = "no configuration was given: call `Connector::tls`, or turn on the feature `native-roots`";
    Err(ConnectError::Tls(hint.into()))
}

/// The system's certificates, and the provider that the application has installed.
#[cfg(feature = "native-roots")]
#[allow(clippy::disallowed_types, reason = "read once in the life of the process")]
fn system_tls() -> Result<std::sync::Arc<rustls::ClientConfig>, ConnectError> {
    use std::sync::{Arc, OnceLock};

    // Reading the certificates takes milliseconds.
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let provider = rustls::crypto::CryptoProvider::get_default().cloned().ok_or_else(|| {
        let hint = "no provider is installed: call for instance \
                    `rustls::crypto::aws_lc_rs::default_provider().install_default()` first, or give a `Connector::tls`";
        ConnectError::Tls(hint.into())
    })?;
    let mut roots = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ConnectError::Tls("the system has no root certificates".into()));
    }
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConnectError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}

/// By TCP.
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    // Messages are whole writes already; waiting for more only delays them.
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn random<const N: usize>() -> Result<[u8; N], ConnectError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| ConnectError::Random(error.to_string()))?;
    Ok(bytes)
}

const RESPONSE_BYTES: usize = 4096;
