//! HTTP on a shard: a request is admitted as a WebSocket, or it goes to the API. Drives HTTP/1.1; HTTP/2 is `http2`'s.

use crate::backend::ShardBroker;
use crate::compression::Output;
use crate::connection::{Connection, ConnectionTask, limits};
use crate::io::Io;
use crate::limits::{Full, Permit};
use crate::shard_loop::Shared;
use crate::state::State;
use axum::Router;
use axum::body::Body;
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::rc::Rc;
use switchboard_core::Disconnect;
use switchboard_hub::SubscriberId;
use switchboard_session::Client;
use switchboard_session::admission::{self, Admission, Refusal, UpgradeRequest};
use switchboard_ws_proto as proto;
use switchboard_ws_proto::deflate::Agreed;
use switchboard_ws_proto::handshake::{HttpVersion, InvalidHeader, Rejection};
use tokio::task::spawn_local;
use tower::ServiceExt;

/// A head may not be larger, and nothing else is kept of a client before it is admitted.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 124;

/// Serves one connection until it ends or becomes a WebSocket.
pub(crate) async fn serve<B: ShardBroker>(io: Io, peer: SocketAddr, permit: Permit, shared: Rc<Shared<B>>) {
    let secure = matches!(io, Io::Tls(_));
    let permit = Rc::new(RefCell::new(Some(permit)));
    let header_timeout = shared.settings.header_timeout;
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, permit) = (Rc::clone(&shared), Rc::clone(&permit));
        async move { Ok::<_, core::convert::Infallible>(respond(request, peer.ip(), secure, &permit, &shared).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, peer = %peer.ip(), "an HTTP connection failed");
    }
}

async fn respond<B: ShardBroker>(
    mut request: Request<Incoming>,
    peer: IpAddr,
    secure: bool,
    permit: &RefCell<Option<Permit>>,
    shared: &Rc<Shared<B>>,
) -> Response<Body> {
    let take = || permit.borrow_mut().take().ok_or(Full::Total);
    match decide(&request, || check_handshake(&request), take, peer, secure, shared).await {
        Decision::Api => call_api(request.map(Body::new), peer, &shared.api).await,
        Decision::Refuse(mut response) => {
            // What follows a refused upgrade may be frames: nothing behind it is taken for a request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
        Decision::Open(opening) => {
            let Opening { response, opened, permit } = *opening;
            let upgraded = hyper::upgrade::on(&mut request);
            spawn_local(async move {
                match upgraded.await {
                    Ok(upgraded) => begin(upgraded, opened, permit).await,
                    Err(error) => tracing::debug!(%error, "an upgrade failed"),
                }
            });
            response
        }
    }
}

/// What becomes of a request, whichever version of HTTP it came by.
pub(crate) enum Decision<B: ShardBroker> {
    /// It is no WebSocket's.
    Api,
    Refuse(Response<Body>),
    Open(Box<Opening<B>>),
}

/// A WebSocket that opens when `response` has gone.
pub(crate) struct Opening<B: ShardBroker> {
    pub(crate) response: Response<Body>,
    pub(crate) opened: Opened<B>,
    pub(crate) permit: Permit,
}

/// Admits a request to a WebSocket. `check` is the handshake's, `take` takes a place among the connections.
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
    let upgrade = UpgradeRequest { path: uri.path(), query: uri.query(), headers: request.headers(), peer, secure };
    let admission = match admission::admit(&upgrade, &*shared.directory, &shared.settings.proxies, now) {
        Ok(Some(admission)) => admission,
        Ok(None) => return Decision::Api,
        Err(refusal) => return Decision::Refuse(refuse(&refusal, uri.path(), peer, shared)),
    };
    let upgrade = match check() {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Decision::Refuse(reject(&rejection, shared)),
    };
    let assigned = take().and_then(|mut permit| permit.assign(admission.client).map(|()| permit));
    let mut permit = match assigned {
        Ok(permit) => permit,
        Err(full) => {
            tracing::info!(client = %admission.client, ?full, "a WebSocket was refused: too many connections");
            shared.state.count(|stats| stats.refused_full += 1);
            return Decision::Refuse(overloaded());
        }
    };
    let compression = shared.settings.compression;
    let deflate = match compression.map(|compression| compression.agree(&upgrade, &mut permit)).transpose() {
        Ok(agreed) => agreed.flatten(),
        Err(rejection) => return Decision::Refuse(reject(&rejection, shared)),
    };
    let subprotocol = admission.subprotocol;
    let opened = Opened::new(admission, deflate, &shared.state);
    // Whoever sees the connection open may rely on being subscribed where that is all that it is for.
    shared.state.ready(opened.id).await;
    if let Some(disconnect) = refusal_before_opening(opened.id, &shared.state) {
        shared.state.count(|stats| stats.refused_upgrades += 1);
        let refusal = json_error(StatusCode::FORBIDDEN, "permission_denied", &disconnect.reason);
        return Decision::Refuse(refusal);
    }
    match upgrading(&upgrade, subprotocol, deflate) {
        Ok(response) => Decision::Open(Box::new(Opening { response, opened, permit })),
        // Admission chooses among what the client offers.
        Err(error) => Decision::Refuse(json_error(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string())),
    }
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
    fn new(admission: Admission, deflate: Option<Agreed>, state: &Rc<State<B>>) -> Self {
        let Admission { app, opening, identity, .. } = admission;
        let heartbeat = (app.limits.heartbeat, app.limits.heartbeat_timeout);
        let client = Client { app, opening, identity, framing: Output::of(deflate.as_ref()).framing() };
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

/// Why a session has ended before it has a connection, unless its dialect has put that into words of its own.
fn refusal_before_opening<B: ShardBroker>(id: SubscriberId, state: &State<B>) -> Option<Disconnect> {
    let mut sessions = state.sessions.borrow_mut();
    let silent = sessions.outbox(id).is_none_or(|outbox| outbox.is_empty());
    sessions.closing(id).filter(|_| silent).cloned()
}

async fn begin<B: ShardBroker>(upgraded: hyper::upgrade::Upgraded, opened: Opened<B>, permit: Permit) {
    let Ok(parts) = upgraded.downcast::<TokioIo<Io>>() else { return };
    let task = attach(parts.io.into_inner(), &parts.read_buf, opened, permit);
    // It would otherwise live as long as the connection.
    drop(parts.read_buf);
    task.await;
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
    {
        let mut connections = state.connections.borrow_mut();
        let slot = id.slot as usize;
        if connections.len() <= slot {
            connections.resize_with(slot + 1, || None);
        }
        if let Some(place) = connections.get_mut(slot) {
            *place = Some(Rc::clone(&connection));
        }
        let mut stats = state.stats.borrow_mut();
        stats.connections += 1;
        stats.connections_http2 += u64::from(connection.is_http2());
    }
    opened.attached = true;
    // What was queued for the session before it had a connection.
    connection.flush(&state);
    let mut task = ConnectionTask::new(connection, Rc::clone(&state), message_bytes);
    task.receive_early(BytesMut::from(early));
    state.want_turn();
    task
}

/// How long the peer may take to close after our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn call_api(mut request: Request<Body>, peer: IpAddr, api: &Router) -> Response<Body> {
    request.extensions_mut().insert(axum::extract::ConnectInfo(SocketAddr::new(peer, 0)));
    match api.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

fn refuse<B: ShardBroker>(refusal: &Refusal, path: &str, peer: IpAddr, shared: &Shared<B>) -> Response<Body> {
    shared.state.count(|stats| stats.refused_upgrades += 1);
    // The path only: the query may hold a token.
    tracing::info!(status = refusal.status.as_u16(), reason = %refusal.message, %path, %peer, "a WebSocket was refused");
    let mut response = json_error(refusal.status, refusal.code.as_str(), &refusal.message);
    if refusal.status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn overloaded() -> Response<Body> {
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

fn json_error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let temporary = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let body = serde_json::json!({ "error": { "code": code, "message": message, "temporary": temporary } });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
