//! A layer for tower: WebSocket handshakes become WebSockets, and every other request goes on to the service below. The checks are those
//! of [`hyper`](crate::hyper).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::hyper::{UpgradedStream, rejection, upgrade};
use crate::{AcceptOptions, WebSocket};

/// Puts WebSockets before a service. Whatever asks for one is upgraded and given to the handler, with the head of its request, in a task of
/// its own; or, if its handshake is wrong, refused with the status and text of its [`Rejection`](crate::handshake::Rejection). Other
/// requests are the service's.
///
/// The server has to serve upgrades, as with [`hyper::upgrade`](crate::hyper::upgrade).
///
/// ```
/// use http::{Request, Response, request::Parts};
/// use switchboard_ws::hyper::UpgradedStream;
/// use switchboard_ws::tower::WebSocketLayer;
/// use switchboard_ws::{Config, Limits, WebSocket};
/// use tower::{ServiceBuilder, service_fn};
///
/// async fn chat(head: Parts, mut socket: WebSocket<UpgradedStream>) {
///     let _ = socket.send(format!("welcome to {}", head.uri.path())).await;
/// }
///
/// async fn page(_: Request<hyper::body::Incoming>) -> Result<Response<String>, std::convert::Infallible> {
///     Ok(Response::new("hello\n".into()))
/// }
///
/// let limits = Limits { message_bytes_max: 64 * 1024, ..Limits::default() };
/// let layer = WebSocketLayer::new(chat)
///     .options(switchboard_ws::AcceptOptions::default().config(Config::default().limits(limits)))
///     .only(|head| head.uri().path().starts_with("/chat/"));
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(page));
/// # let _ = service;
/// ```
#[derive(Clone)]
pub struct WebSocketLayer<H> {
    handler: H,
    options: AcceptOptions,
    only: fn(&Request<()>) -> bool,
}

impl<H> WebSocketLayer<H> {
    /// With `handler` for every WebSocket, on any path.
    ///
    /// ```
    /// use switchboard_ws::tower::WebSocketLayer;
    /// use switchboard_ws::{WebSocket, hyper::UpgradedStream};
    ///
    /// async fn greet(_: http::request::Parts, mut socket: WebSocket<UpgradedStream>) {
    ///     let _ = socket.send("hello").await;
    /// }
    ///
    /// let layer = WebSocketLayer::new(greet);
    /// ```
    pub fn new(handler: H) -> Self {
        Self { handler, options: AcceptOptions::default(), only: |_| true }
    }

    /// Limits, timeouts, subprotocols and compression. The time limit of the request is the server's matter here.
    ///
    /// ```
    /// use switchboard_ws::AcceptOptions;
    /// # let layer = switchboard_ws::tower::WebSocketLayer::new(());
    /// let layer = layer.options(AcceptOptions::default().subprotocols(["chat"]));
    /// ```
    #[must_use]
    pub fn options(mut self, options: AcceptOptions) -> Self {
        self.options = options;
        self
    }

    /// Leaves WebSocket handshakes of which `only` says `false` to the service: those on other paths, for instance.
    ///
    /// ```
    /// # let layer = switchboard_ws::tower::WebSocketLayer::new(());
    /// let layer = layer.only(|head| head.uri().path() == "/chat");
    /// ```
    #[must_use]
    pub fn only(mut self, only: fn(&Request<()>) -> bool) -> Self {
        self.only = only;
        self
    }
}

impl<H> fmt::Debug for WebSocketLayer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketLayer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<S, H: Clone> Layer<S> for WebSocketLayer<H> {
    type Service = WebSocketService<S, H>;

    fn layer(&self, inner: S) -> Self::Service {
        WebSocketService { inner, layer: self.clone() }
    }
}

/// The service that [`WebSocketLayer`] makes of another.
///
/// ```
/// use http::request::Parts;
/// use switchboard_ws::WebSocket;
/// use switchboard_ws::hyper::UpgradedStream;
/// use switchboard_ws::tower::{WebSocketLayer, WebSocketService};
/// use tower::Layer;
///
/// /// A service with WebSockets beside it.
/// fn with_greeting<S>(service: S) -> WebSocketService<S, impl Clone> {
///     let greet = |_: Parts, mut socket: WebSocket<UpgradedStream>| async move {
///         let _ = socket.send("welcome").await;
///     };
///     WebSocketLayer::new(greet).layer(service)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WebSocketService<S, H> {
    inner: S,
    layer: WebSocketLayer<H>,
}

impl<S, H, F, B, R> Service<Request<B>> for WebSocketService<S, H>
where
    S: Service<Request<B>, Response = Response<R>>,
    H: FnOnce(Parts, WebSocket<UpgradedStream>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !asks_for_websocket(&request) {
            return ResponseFuture::Inner { inner: self.inner.call(request) };
        }
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts, ());
        let wanted = (self.layer.only)(&head);
        let (parts, ()) = head.into_parts();
        let mut request = Request::from_parts(parts, body);
        if !wanted {
            return ResponseFuture::Inner { inner: self.inner.call(request) };
        }
        let response: Response<String> = match upgrade(&mut request, &self.layer.options) {
            Ok((response, upgraded)) => {
                let (handler, (parts, _)) = (self.layer.handler.clone(), request.into_parts());
                tokio::spawn(async move {
                    // If the client is gone there is nobody to serve.
                    if let Ok(socket) = upgraded.await {
                        handler(parts, socket).await;
                    }
                });
                response
            }
            Err(error) => rejection(&error),
        };
        ResponseFuture::Answered { response: Some(response.map(R::from)) }
    }
}

pin_project! {
    /// The future of [`WebSocketService`].
    ///
    /// ```
    /// use switchboard_ws::tower::ResponseFuture;
    ///
    /// type Answer<S, Request, Body> = ResponseFuture<<S as tower::Service<Request>>::Future, Body>;
    /// ```
    #[derive(Debug)]
    #[project = Projection]
    #[non_exhaustive]
    #[allow(missing_docs, reason = "the fields are private in spirit: the enum cannot be matched whole")]
    pub enum ResponseFuture<F, R> {
        /// Of the service below.
        Inner { #[pin] inner: F },
        /// An upgrade, or a refusal.
        Answered { response: Option<Response<R>> },
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Inner { inner } => Poll::Ready(ready!(inner.poll(cx))),
            // Polled again after its end, as no future should be.
            Projection::Answered { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}

/// Over HTTP/1.1 by `Upgrade` (RFC 6455 §4.2.1), over HTTP/2 by an extended CONNECT (RFC 8441 §4).
fn asks_for_websocket<B>(request: &Request<B>) -> bool {
    #[cfg(feature = "http2")]
    if let Some(protocol) = request.extensions().get::<::hyper::ext::Protocol>() {
        return protocol.as_str().eq_ignore_ascii_case("websocket");
    }
    names_websocket(request.headers())
}

fn names_websocket(headers: &HeaderMap) -> bool {
    let values = headers.get_all(http::header::UPGRADE).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case("websocket"))
}
