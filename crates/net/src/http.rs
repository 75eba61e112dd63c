//! HTTP on a shard: a request is admitted as a client's, or it goes to the API. Drives HTTP/1.1; HTTP/2 is `http2`'s.

use crate::backend::ShardBroker;
use crate::compression::Output;
use crate::connection::{Connection, ConnectionTask, limits};
use crate::exchange::{add_headers, exchange};
use crate::framing::IDENTITY;
use crate::io::{Io, Watched};
use crate::limits::{Full, Permit};
use crate::shard_loop::Shared;
use crate::state::{Answering, Attached, State};
use crate::stream::{Stream, StreamTask};
use axum::Router;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Poll;
use core::time::Duration;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use switchboard_core::FramingId;
use switchboard_hub::SubscriberId;
use switchboard_session::Client;
use switchboard_session::admission::{self, Admission, Carrier, Refusal, RequestHead};
use switchboard_ws_proto as proto;
use switchboard_ws_proto::deflate::Agreed;
use switchboard_ws_proto::handshake::{HttpVersion, InvalidHeader, Rejection};
use tokio::task::spawn_local;
use tower::ServiceExt;

/// A head may not be larger, and nothing else is kept of a client before it is admitted.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 124;

/// Serves one connection until it ends, becomes a WebSocket or is given to a stream.
pub(crate) async fn serve<B: ShardBroker>(io: Io, peer: SocketAddr, permit: Permit, shared: Rc<Shared<B>>) {
    let secure = matches!(io, Io::Tls(_));
    let permit = Rc::new(RefCell::new(Some(permit)));
    let header_timeout = shared.settings.header_timeout;
    let handed_over: Rc<RefCell<Option<Box<Opening<B>>>>> = Rc::default();
    let place = Rc::clone(&handed_over);
    let blocked = Arc::new(AtomicBool::new(false));
    let mut deserted = shared.deserted.subscribe();
    // From the first request on, until its connection ends or goes elsewhere.
    let answering = OnceCell::new();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, permit, place) = (Rc::clone(&shared), Rc::clone(&permit), Rc::clone(&place));
        answering.get_or_init(|| Answering::new(&shared.state));
        async move {
            match respond(request, peer.ip(), secure, &permit, &shared).await {
                Ok(response) => Ok::<_, core::convert::Infallible>(response),
                Err(opening) => {
                    place.replace(Some(opening));
                    // Whoever drives the connection takes it from here.
                    core::future::pending().await
                }
            }
        }
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(Watched::new(io, &blocked)), service)
        .with_upgrades();
    let mut deserted = pin!(deserted.wait_for(|deserted| *deserted));
    let mut ends = false;
    let served = poll_fn(|cx| {
        let mut polled = Pin::new(&mut connection).poll(cx);
        if polled.is_pending() && !ends && deserted.as_mut().poll(cx).is_ready() {
            // What has come is answered, and nothing else is taken.
            ends = true;
            Pin::new(&mut connection).graceful_shutdown();
            polled = Pin::new(&mut connection).poll(cx);
        }
        match polled {
            // What was answered before on the same connection has to go out first.
            Poll::Pending if handed_over.borrow().is_some() && !blocked.load(Ordering::Relaxed) => Poll::Ready(None),
            served => served.map(Some),
        }
    });
    match served.await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(%error, peer = %peer.ip(), "an HTTP connection failed"),
        None => {
            let parts = connection.into_parts();
            if let (Some(parts), Some(opening)) = (parts, handed_over.take()) {
                // In a task of its own: what hyper read into, and the room that this task has for it, would otherwise live as long as the stream.
                spawn_local(begin_stream(parts.io.into_inner(), *opening));
            }
        }
    }
}

/// The answer, or a stream for which the connection is to be taken from hyper.
async fn respond<B: ShardBroker>(
    mut request: Request<Incoming>,
    peer: IpAddr,
    secure: bool,
    permit: &RefCell<Option<Permit>>,
    shared: &Rc<Shared<B>>,
) -> Result<Response<Body>, Box<Opening<B>>> {
    let take = || permit.borrow_mut().take().ok_or(Full::Total);
    Ok(match decide(&request, || check_handshake(&request), take, peer, secure, shared).await {
        Decision::Api => call_api(request.map(Body::new), peer, &shared.api).await,
        Decision::Refuse(mut response) => {
            // What follows a refused upgrade may be frames: nothing behind it is taken for a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
        Decision::Answer(mut response) => {
            if permit.borrow().is_none() {
                // Refused for its client's address, and its place went with that. A proxy would send others' requests after it.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        Decision::Exchange(admission) => {
            // Behind a proxy the connection is not the client's own.
            let place = (admission.client != peer).then(|| take_place(&admission, shared));
            exchange(*admission, Body::new(request.into_body()), place, shared).await
        }
        Decision::Stream(opening) => return Err(opening),
        Decision::Open(opening) => {
            let Opening { response, opened, permit } = *opening;
            let upgraded = hyper::upgrade::on(&mut request);
            spawn_local(async move {
                match upgraded.await {
                    Ok(upgraded) => begin(upgraded, opened, permit),
                    Err(error) => tracing::debug!(%error, "an upgrade failed"),
                }
            });
            response
        }
    })
}

/// What becomes of a request, whichever version of HTTP it came by.
pub(crate) enum Decision<B: ShardBroker> {
    /// It is no client's.
    Api,
    Refuse(Response<Body>),
    Answer(Response<Body>),
    /// It is answered by a session that needs its body.
    Exchange(Box<Admission>),
    /// A response that goes on.
    Stream(Box<Opening<B>>),
    /// A WebSocket.
    Open(Box<Opening<B>>),
}

/// A session that gets its connection when `response` has gone.
pub(crate) struct Opening<B: ShardBroker> {
    pub(crate) response: Response<Body>,
    pub(crate) opened: Opened<B>,
    pub(crate) permit: Permit,
}

/// Admits a request of a client. `check` is a WebSocket's handshake, `take` takes a place among the connections.
pub(crate) async fn decide<T, B: ShardBroker>(
    request: &Request<T>,
    check: impl FnOnce() -> Result<proto::handshake::UpgradeRequest, Rejection>,
    take: impl FnOnce() -> Result<Permit, Full>,
    peer: IpAddr,
    secure: bool,
    shared: &Rc<Shared<B>>,
) -> Decision<B> {
    let now = shared.state.clock.now();
    shared.state.clock.end_turn();
    let uri = request.uri();
    let (method, headers) = (request.method(), request.headers());
    let head = RequestHead { method, path: uri.path(), query: uri.query(), headers, peer, secure };
    if let Some(allowed) = admission::preflight(&head, &*shared.directory) {
        return match allowed {
            Ok(headers) => Decision::Answer(preflight(headers)),
            Err(refusal) => Decision::Answer(refuse(refusal, uri.path(), peer, shared)),
        };
    }
    let admission = match admission::admit(&head, &*shared.directory, &shared.settings.proxies, now) {
        Ok(Some(admission)) => admission,
        Ok(None) => return Decision::Api,
        Err(refusal) if is_websocket(&refusal) => return Decision::Refuse(refuse(refusal, uri.path(), peer, shared)),
        Err(refusal) => return Decision::Answer(refuse(refusal, uri.path(), peer, shared)),
    };
    match admission.carrier {
        Carrier::WebSocket => open_websocket(admission, check, take, shared).await,
        Carrier::Stream(content_type) => open_stream(admission, content_type, take, shared).await,
        Carrier::Answer { .. } => Decision::Exchange(Box::new(admission)),
    }
}

async fn open_websocket<B: ShardBroker>(
    admission: Admission,
    check: impl FnOnce() -> Result<proto::handshake::UpgradeRequest, Rejection>,
    take: impl FnOnce() -> Result<Permit, Full>,
    shared: &Rc<Shared<B>>,
) -> Decision<B> {
    let upgrade = match check() {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Decision::Refuse(reject(&rejection, shared)),
    };
    let Some(mut permit) = place(&admission, take, shared) else { return Decision::Refuse(overloaded()) };
    let compression = shared.settings.compression;
    let deflate = match compression.map(|compression| compression.agree(&upgrade, &mut permit)).transpose() {
        Ok(agreed) => agreed.flatten(),
        Err(rejection) => return Decision::Refuse(reject(&rejection, shared)),
    };
    let subprotocol = admission.subprotocol;
    let framing = Output::of(deflate.as_ref()).framing();
    let opened = Opened::new(admission, framing, deflate, &shared.state);
    // Whoever sees the connection open may rely on being subscribed where that is all that it is for.
    shared.state.ready(opened.id).await;
    if let Some(refusal) = refusal_before_opening(opened.id, shared) {
        return Decision::Refuse(refusal);
    }
    match upgrading(&upgrade, subprotocol, deflate) {
        Ok(response) => Decision::Open(Box::new(Opening { response, opened, permit })),
        // Admission chooses among what the client offers.
        Err(error) => Decision::Refuse(json_error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string())),
    }
}

async fn open_stream<B: ShardBroker>(
    admission: Admission,
    content_type: &'static str,
    take: impl FnOnce() -> Result<Permit, Full>,
    shared: &Rc<Shared<B>>,
) -> Decision<B> {
    let more = admission.headers.clone();
    let Some(permit) = place(&admission, take, shared) else {
        let mut response = overloaded();
        add_headers(&mut response, more);
        return Decision::Answer(response);
    };
    let opened = Opened::new(admission, IDENTITY, None, &shared.state);
    shared.state.ready(opened.id).await;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // nginx, and what follows it, would wait for more.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    add_headers(&mut response, more);
    Decision::Stream(Box::new(Opening { response, opened, permit }))
}

/// A place for a client among the connections.
fn place<B: ShardBroker>(
    admission: &Admission,
    take: impl FnOnce() -> Result<Permit, Full>,
    shared: &Rc<Shared<B>>,
) -> Option<Permit> {
    match take().and_then(|mut permit| permit.assign(admission.client).map(|()| permit)) {
        Ok(permit) => Some(permit),
        Err(full) => {
            tracing::info!(client = %admission.client, ?full, "a client was refused: too many connections");
            shared.state.count(|stats| stats.refused_full += 1);
            None
        }
    }
}

/// A place beside the one of the connection that the request came on.
pub(crate) fn take_place<B: ShardBroker>(admission: &Admission, shared: &Rc<Shared<B>>) -> Result<Permit, Full> {
    let mut permit = shared.limits.take(None)?;
    permit.assign(admission.client)?;
    Ok(permit)
}

fn preflight(headers: http::HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response
}

/// A session without a connection yet. It ends if it never gets one.
pub(crate) struct Opened<B: ShardBroker> {
    id: SubscriberId,
    heartbeat: (Duration, Duration),
    deflate: Option<Agreed>,
    state: Rc<State<B>>,
    attached: bool,
}

impl<B: ShardBroker> Opened<B> {
    fn new(admission: Admission, framing: FramingId, deflate: Option<Agreed>, state: &Rc<State<B>>) -> Self {
        let Admission { app, opening, identity, .. } = admission;
        let heartbeat = (app.limits.heartbeat, app.limits.heartbeat_timeout);
        let client = Client { app, opening, identity, framing };
        let id = state.sessions.borrow_mut().open(state.clock.now(), client);
        state.want_turn();
        Self { id, heartbeat, deflate, state: Rc::clone(state), attached: false }
    }
}

impl<B: ShardBroker> Drop for Opened<B> {
    fn drop(&mut self) {
        if !self.attached {
            self.state.sessions.borrow_mut().close(self.state.clock.now(), self.id);
            self.state.want_turn();
        }
    }
}

fn check_handshake(request: &Request<Incoming>) -> Result<proto::handshake::UpgradeRequest, Rejection> {
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let version = match request.version() >= http::Version::HTTP_11 {
        true => HttpVersion::Http11,
        false => HttpVersion::Http10,
    };
    proto::handshake::UpgradeRequest::check(request.method().as_str(), version, headers)
}

pub(crate) fn reject<B: ShardBroker>(rejection: &Rejection, shared: &Shared<B>) -> Response<Body> {
    shared.state.count(|stats| stats.refused_upgrades += 1);
    let mut response = json_error(
        StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::BAD_REQUEST),
        "bad_request",
        &rejection.to_string(),
    );
    for (name, value) in rejection.headers() {
        // The protocol crate writes names as people do, with capitals.
        if let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) {
            response.headers_mut().append(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// The answer that upgrades, as the version of HTTP wants it.
fn upgrading(
    upgrade: &proto::handshake::UpgradeRequest,
    subprotocol: Option<&'static str>,
    deflate: Option<Agreed>,
) -> Result<Response<Body>, InvalidHeader> {
    let params = deflate.map(|agreed| agreed.params);
    let answer = upgrade.answer_with(subprotocol, params.as_ref())?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::SWITCHING_PROTOCOLS);
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name.as_bytes()), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The answer to a session that has ended before it has a connection, unless its dialect has put that into words of its own.
fn refusal_before_opening<B: ShardBroker>(id: SubscriberId, shared: &Shared<B>) -> Option<Response<Body>> {
    let reason = {
        let mut sessions = shared.state.sessions.borrow_mut();
        let silent = sessions.outbox(id).is_none_or(|outbox| outbox.is_empty());
        sessions.closing(id).filter(|_| silent)?.reason.clone()
    };
    shared.state.count(|stats| stats.refused_upgrades += 1);
    Some(json_error(StatusCode::FORBIDDEN, "permission_denied", &reason))
}

fn begin<B: ShardBroker>(upgraded: hyper::upgrade::Upgraded, opened: Opened<B>, permit: Permit) {
    let Ok(parts) = upgraded.downcast::<TokioIo<Watched>>() else { return };
    // In a task of its own: what hyper read into, and the room that this task has for the upgrade, would otherwise live as long as the connection.
    spawn_local(attach(parts.io.into_inner().io, &parts.read_buf, opened, permit));
}

/// Gives a session its connection.
pub(crate) fn attach<B: ShardBroker>(io: Io, early: &[u8], mut opened: Opened<B>, permit: Permit) -> ConnectionTask<B> {
    let (id, state) = (opened.id, Rc::clone(&opened.state));
    let message_bytes = state.sessions.borrow().message_bytes(id);
    let config = proto::Config::default()
        .limits(limits(message_bytes))
        .ping_interval(Some(opened.heartbeat.0))
        .pong_timeout(opened.heartbeat.1)
        .close_timeout(CLOSE_TIMEOUT)
        .deflate(opened.deflate);
    let ws = proto::Connection::new(proto::Role::Server, config);
    let connection = Rc::new(Connection::new(id, io, ws, Output::of(opened.deflate.as_ref()), permit));
    state.attach(id, Attached::WebSocket(Rc::clone(&connection)));
    {
        let mut stats = state.stats.borrow_mut();
        stats.connections += 1;
        stats.connections_http2 += u64::from(connection.socket.is_http2());
    }
    opened.attached = true;
    // What was queued for the session before it had a connection.
    connection.flush(&state);
    let mut task = ConnectionTask::new(connection, Rc::clone(&state), message_bytes);
    task.receive_early(BytesMut::from(early));
    state.want_turn();
    task
}

/// Writes the head and goes on with the body. What came behind the request is of no interest.
async fn begin_stream<B: ShardBroker>(watched: Watched, opening: Opening<B>) {
    let Opening { response, opened, permit } = opening;
    let head = head_of(&response);
    attach_stream(watched.io, Some(head), opened, permit).await;
}

/// A head of HTTP/1.1 for a body that ends with the connection (RFC 9112 §6.3): each message is the same bytes as over HTTP/2, and the same for all.
fn head_of(response: &Response<Body>) -> Bytes {
    let mut head = BytesMut::with_capacity(512);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\nconnection: close\r\ndate: ");
    head.extend_from_slice(httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
    for (name, value) in response.headers() {
        for part in [b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n\r\n");
    head.freeze()
}

/// Gives a session the rest of its response.
pub(crate) fn attach_stream<B: ShardBroker>(
    io: Io,
    head: Option<Bytes>,
    mut opened: Opened<B>,
    permit: Permit,
) -> StreamTask<B> {
    let (id, state) = (opened.id, Rc::clone(&opened.state));
    let (interval, timeout) = opened.heartbeat;
    io.give_up_after(interval * 2 + timeout);
    let stream = Rc::new(Stream::new(id, io, head, permit));
    state.attach(id, Attached::Stream(Rc::clone(&stream)));
    state.stats.borrow_mut().streams += 1;
    opened.attached = true;
    stream.flush(&state);
    state.want_turn();
    StreamTask::new(stream, state)
}

/// How long the peer may take to close after we have.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn call_api(mut request: Request<Body>, peer: IpAddr, api: &Router) -> Response<Body> {
    request.extensions_mut().insert(axum::extract::ConnectInfo(SocketAddr::new(peer, 0)));
    match api.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Whether what is refused came to a WebSocket's address, behind which frames may follow at once.
fn is_websocket(refusal: &Refusal) -> bool {
    refusal.headers.is_none()
}

fn refuse<B: ShardBroker>(refusal: Refusal, path: &str, peer: IpAddr, shared: &Shared<B>) -> Response<Body> {
    shared.state.count(|stats| stats.refused_upgrades += 1);
    // The path only: the query may hold a token.
    tracing::info!(status = refusal.status.as_u16(), reason = %refusal.message, %path, %peer, "a client was refused");
    let mut response = json_error(refusal.status, refusal.code.as_str(), &refusal.message);
    if refusal.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(headers) = refusal.headers {
        add_headers(&mut response, *headers);
    }
    response
}

pub(crate) fn overloaded() -> Response<Body> {
    let mut response =
        json_error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too many connections, please come back later");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// What a client gets that found no place even before its request was read.
pub(crate) fn refused_early(full: Full) -> &'static [u8] {
    match full {
        Full::Total => {
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
        Full::Address => {
            b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        }
    }
}

pub(crate) fn json_error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let temporary = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let body = serde_json::json!({ "error": { "code": code, "message": message, "temporary": temporary } });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
