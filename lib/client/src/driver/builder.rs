//! How a client is made.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use switchboard_ws::Connector;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::client::Client;
use super::task::Driver;
use super::{Handle, Shared, State};
use crate::Config;
use crate::core::{Core, TokenFailure, Tokens};

pub(super) type TokenFuture = Pin<Box<dyn Future<Output = Result<String, TokenFailure>> + Send>>;
pub(super) type Io = Box<dyn Stream + Send>;
pub(super) type DialFuture = Pin<Box<dyn Future<Output = io::Result<Io>> + Send>>;
pub(super) type Dial = Arc<dyn Fn(String, u16) -> DialFuture + Send + Sync>;
pub(super) type TokenCallback = Arc<dyn Fn() -> TokenFuture + Send + Sync>;

/// What a WebSocket runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// Makes a [`Client`].
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// # async fn fetch_token() -> Result<String, std::io::Error> { Ok(String::new()) }
/// use switchboard_client::{Client, TokenError};
///
/// let client = Client::builder("wss://live.example.org/ws")
///     .token_from(|| async { fetch_token().await.map_err(TokenError::temporary) })
///     .connect()?;
/// # Ok(())
/// # }
/// ```
pub struct Builder {
    url: String,
    config: Config,
    connector: Connector,
    dial: Dial,
    tokens: Tokens,
    callback: Option<TokenCallback>,
}

/// Why a client cannot start.
///
/// ```
/// let started = switchboard_client::Client::builder("ws://localhost/ws").connect();
/// assert!(matches!(started, Err(switchboard_client::StartError::NoRuntime)));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// It was called outside of a tokio runtime.
    #[error("there is no tokio runtime here")]
    NoRuntime,
    /// The operating system gave no random bytes.
    #[error("no randomness: {0}")]
    Random(String),
}

/// Why a callback has no token.
///
/// ```
/// use switchboard_client::TokenError;
///
/// fn from_status(status: u16) -> TokenError {
///     match status {
///         401 | 403 => TokenError::denied("the user has logged out"),
///         status => TokenError::temporary(format!("the backend answered {status}")),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError(TokenFailure);

impl TokenError {
    /// It may be had later: the client tries again with backoff.
    ///
    /// ```
    /// switchboard_client::TokenError::temporary("the backend does not answer");
    /// ```
    #[allow(clippy::needless_pass_by_value)] // `map_err(TokenError::temporary)` reads well.
    pub fn temporary(why: impl ToString) -> Self {
        Self(TokenFailure::Temporary(why.to_string()))
    }

    /// It will not be had: the client ends with [`NoToken`](crate::Ended::NoToken).
    ///
    /// ```
    /// switchboard_client::TokenError::denied("the user has logged out");
    /// ```
    #[allow(clippy::needless_pass_by_value)]
    pub fn denied(why: impl ToString) -> Self {
        Self(TokenFailure::Final(why.to_string()))
    }
}

impl Builder {
    pub(super) fn new(url: String) -> Self {
        let (config, connector) = (Config::default(), Connector::new());
        let dial = |host, port| -> DialFuture { Box::pin(dial_tcp(host, port)) };
        Self { url, config, connector, dial: Arc::new(dial), tokens: Tokens::None, callback: None }
    }

    /// A token that does not change. When it expires the client ends.
    ///
    /// ```
    /// switchboard_client::Client::builder("ws://localhost/ws").token("TOKEN");
    /// ```
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.tokens = Tokens::Fixed(token.into());
        self.callback = None;
        self
    }

    /// Tokens from your backend: asked for before each connection, and for a connection that stands when its token is about to expire. It runs
    /// in the client's task; it may take [`token_timeout`](Config::token_timeout), and may be dropped when its answer is not needed any more.
    ///
    /// ```
    /// switchboard_client::Client::builder("ws://localhost/ws").token_from(|| async { Ok("TOKEN".into()) });
    /// ```
    #[must_use]
    pub fn token_from<F>(mut self, callback: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        self.tokens = Tokens::Fresh;
        self.callback = Some(Arc::new(move || {
            let token = callback();
            Box::pin(async move { token.await.map_err(|error| error.0) })
        }));
        self
    }

    /// Times and bounds.
    ///
    /// ```
    /// let mut config = switchboard_client::Config::default();
    /// config.queue_requests_max = 10;
    /// switchboard_client::Client::builder("ws://localhost/ws").config(config);
    /// ```
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// How to open WebSockets: TLS, headers, limits, the time limit. The header `Authorization` and the subprotocol are the client's.
    ///
    /// ```
    /// use switchboard_client::ws::Connector;
    ///
    /// let connector = Connector::new().origin("https://example.org");
    /// switchboard_client::Client::builder("ws://localhost/ws").connector(connector);
    /// ```
    #[must_use]
    pub fn connector(mut self, connector: Connector) -> Self {
        self.connector = connector;
        self
    }

    /// How to get a stream to the URL's host and port, each time that the client connects: through a proxy, over a Unix socket, within a test. TLS
    /// is put over it if the URL is wss://. Default: TCP. It may take the connector's time limits, and an error is tried again with backoff.
    ///
    /// ```
    /// use tokio::net::UnixStream;
    ///
    /// switchboard_client::Client::builder("ws://localhost/ws").dial(|_host, _port| UnixStream::connect("/run/live.sock"));
    /// ```
    #[must_use]
    pub fn dial<F, S>(mut self, dial: impl Fn(String, u16) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.dial = Arc::new(move |host, port| {
            let stream = dial(host, port);
            Box::pin(async move { Ok(Box::new(stream.await?) as Io) })
        });
        self
    }

    /// Starts a task that connects and stays connected until [`Client::close`], or until the last `Client` and
    /// [`Subscription`](crate::Subscription) are dropped. Does not wait for the connection: see [`Client::connected`].
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = switchboard_client::Client::builder("ws://localhost:8080/ws").connect()?;
    /// client.connected().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`]. Wrong URLs show as [`Ended::CannotConnect`](crate::Ended::CannotConnect).
    pub fn connect(self) -> Result<Client, StartError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| StartError::Random(error.to_string()))?;
        let mut url = self.url;
        if self.config.batch {
            url.push_str(if url.contains('?') { "&batch=1" } else { "?batch=1" });
        }
        let (finish, finished) = watch::channel(false);
        let core = Core::new(self.config.clone(), self.tokens, u64::from_ne_bytes(seed));
        let shared = Arc::new(Shared { state: Mutex::new(State::new(core)), start: Instant::now(), finished });
        shared.change(|state, now| state.core.connect(now));
        let connector = self.connector.subprotocols(["switchboard.v1.json"]);
        runtime.spawn(Driver::new(Arc::clone(&shared), url, connector, self.dial, self.callback, finish));
        Ok(Client::new(Arc::new(Handle(shared)), Arc::new(self.config)))
    }
}

async fn dial_tcp(host: String, port: u16) -> io::Result<Io> {
    let stream = TcpStream::connect((host, port)).await?;
    // Messages are whole writes already; waiting for more only delays them.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Tokens are secrets, and a query may have one.
        let url = self.url.split_once('?').map_or(&*self.url, |(url, _)| url);
        formatter.debug_struct("Builder").field("url", &url).field("config", &self.config).finish_non_exhaustive()
    }
}
