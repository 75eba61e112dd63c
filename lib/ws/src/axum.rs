//! An extractor for axum handlers, over HTTP/1.1 and, with the feature `http2` and axum's own, over HTTP/2.

use std::fmt;
use std::future::Future;

use ::axum::extract::FromRequestParts;
use ::axum::http::StatusCode;
use ::axum::http::request::Parts;
use ::axum::response::{IntoResponse, Response};
use ::hyper::upgrade::OnUpgrade;
use switchboard_ws_proto::Config;
use switchboard_ws_proto::handshake::{Rejection, UpgradeRequest};

use crate::hyper::{Accepted, UpgradeFuture, UpgradedStream, accept, check_parts, rejection};
use crate::{AcceptOptions, WebSocket};

/// A request that can be upgraded. Route it with `any`: over HTTP/1.1 it is a GET, over HTTP/2 a CONNECT.
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use switchboard_ws::axum::WebSocketUpgrade;
///
/// async fn echo(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.protocols(["echo"]).on_upgrade(|mut socket| async move {
///         while let Some(Ok(message)) = socket.recv().await {
///             if socket.feed(message).await.is_err() {
///                 break;
///             }
///         }
///     })
/// }
///
/// let app: Router = Router::new().route("/echo", any(echo));
/// ```
///
/// A request that is no WebSocket handshake, or a wrong one, is answered with the status and text of its [`Rejection`].
#[must_use]
pub struct WebSocketUpgrade {
    request: UpgradeRequest,
    upgrade: OnUpgrade,
    options: AcceptOptions,
    failed: Option<Box<dyn FnOnce(::hyper::Error) + Send>>,
}

impl WebSocketUpgrade {
    /// What the client asks for, its origin for instance.
    ///
    /// ```
    /// use switchboard_ws::axum::WebSocketUpgrade;
    ///
    /// fn origin(upgrade: &WebSocketUpgrade) -> Option<&str> {
    ///     upgrade.request().origin.as_deref()
    /// }
    /// ```
    pub fn request(&self) -> &UpgradeRequest {
        &self.request
    }

    /// What the server speaks; the client's favourite among it is chosen.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// upgrade.protocols(["chat.v2", "chat.v1"]).on_upgrade(|_socket| async {})
    /// # }
    /// ```
    pub fn protocols<T: Into<String>>(mut self, subprotocols: impl IntoIterator<Item = T>) -> Self {
        self.options = self.options.subprotocols(subprotocols);
        self
    }

    /// Limits and timeouts of the connection.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// use switchboard_ws::{Config, Limits};
    ///
    /// let limits = Limits { message_bytes_max: 4096, ..Limits::default() };
    /// upgrade.config(Config::default().limits(limits)).on_upgrade(|_socket| async {})
    /// # }
    /// ```
    pub fn config(mut self, config: Config) -> Self {
        self.options = self.options.config(config);
        self
    }

    /// Which compression is agreed to if the client offers it. Default: none.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// use switchboard_ws::deflate::Policy;
    ///
    /// upgrade.deflate(Some(Policy::default())).on_upgrade(|_socket| async {})
    /// # }
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, policy: Option<crate::deflate::Policy>) -> Self {
        self.options = self.options.deflate(policy);
        self
    }

    /// All options at once, for instance those that several handlers share. The time limit of the request is the server's matter here.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// use switchboard_ws::AcceptOptions;
    ///
    /// upgrade.options(AcceptOptions::default().subprotocols(["chat"])).on_upgrade(|_socket| async {})
    /// # }
    /// ```
    pub fn options(mut self, options: AcceptOptions) -> Self {
        self.options = options;
        self
    }

    /// What is called instead of the handler if the client goes away before the answer is written, to count or log it.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// upgrade.on_failed_upgrade(|error| eprintln!("no WebSocket: {error}")).on_upgrade(|_socket| async {})
    /// # }
    /// ```
    pub fn on_failed_upgrade(mut self, failed: impl FnOnce(::hyper::Error) + Send + 'static) -> Self {
        self.failed = Some(Box::new(failed));
        self
    }

    /// The subprotocol that is chosen.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// let upgrade = upgrade.protocols(["chat.v2", "chat.v1"]);
    /// let old = upgrade.chosen_protocol() == Some("chat.v1");
    /// upgrade.on_upgrade(move |_socket| async move { println!("an old client: {old}") })
    /// # }
    /// ```
    pub fn chosen_protocol(&self) -> Option<&str> {
        self.options.choose(&self.request.subprotocols)
    }

    /// The answer; and in a task of its own, `handler` with the WebSocket once the answer is written. If the client goes away before that,
    /// `handler` is not called, but what was given to [`on_failed_upgrade`](Self::on_failed_upgrade). Nor is it if the client's offer of compression is malformed, which the answer says then.
    ///
    /// ```
    /// # fn answer(upgrade: switchboard_ws::axum::WebSocketUpgrade) -> axum::response::Response {
    /// upgrade.on_upgrade(|mut socket| async move {
    ///     let _ = socket.send("welcome").await;
    /// })
    /// # }
    /// ```
    pub fn on_upgrade<F>(self, handler: impl FnOnce(WebSocket<UpgradedStream>) -> F + Send + 'static) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Accepted { response, config, subprotocol } = match accept(&self.request, &self.options) {
            Ok(accepted) => accepted,
            Err(error) => return rejection(&error).into_response(),
        };
        let upgraded = UpgradeFuture::new(self.upgrade, config, subprotocol);
        tokio::spawn(async move {
            match upgraded.await {
                Ok(socket) => handler(socket).await,
                Err(error) => {
                    if let Some(failed) = self.failed {
                        failed(error);
                    }
                }
            }
        });
        response
    }
}

impl fmt::Debug for WebSocketUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, options, .. } = self;
        f.debug_struct("WebSocketUpgrade").field("request", request).field("options", options).finish_non_exhaustive()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade {
    type Rejection = WebSocketRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WebSocketRejection> {
        let request = check_parts(parts)?;
        let upgrade = parts.extensions.remove::<OnUpgrade>().ok_or(WebSocketRejection::NotUpgradable)?;
        Ok(Self { request, upgrade, options: AcceptOptions::default(), failed: None })
    }
}

/// Why a request is not upgraded.
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use switchboard_ws::axum::{WebSocketRejection, WebSocketUpgrade};
///
/// async fn page(upgrade: Result<WebSocketUpgrade, WebSocketRejection>) -> Response {
///     match upgrade {
///         Ok(upgrade) => upgrade.on_upgrade(|_socket| async {}),
///         Err(why) => format!("this is a page, not a WebSocket: {why}").into_response(),
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketRejection {
    /// By the rules of the protocol.
    #[error(transparent)]
    Handshake(#[from] Rejection),
    /// The server does not serve upgrades.
    #[error("this connection cannot be upgraded")]
    NotUpgradable,
}

impl IntoResponse for WebSocketRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Handshake(error) => rejection(&error).into_response(),
            Self::NotUpgradable => (StatusCode::INTERNAL_SERVER_ERROR, format!("{self}\n")).into_response(),
        }
    }
}
