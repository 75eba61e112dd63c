//! HTTP/2 on a shard (RFC 9113): one connection with many requests, of which extended CONNECTs (RFC 8441) become WebSockets. What a request
//! may do is decided where those of HTTP/1.1 are.

mod exchange;
mod vigil;

use crate::backend::ShardBroker;
use crate::exchange::exchange;
use crate::http::{self, Decision};
use crate::io::Io;
use crate::limits::Permit;
use crate::settings::Http2;
use crate::shard_loop::Shared;
use crate::state::{Answering, State};
use ::http::Request;
use bytes::Bytes;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::net::SocketAddr;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use exchange::{RequestBody, head, respond};
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use std::rc::Rc;
use switchboard_ws::http2::Http2Stream;
use switchboard_ws_proto::handshake::{Rejection, UpgradeRequest};
use tokio::task::spawn_local;
use tokio::time::Sleep;
use vigil::{Action, Resets, Vigil};

/// What a client may send on one stream before it is read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// And on all: streams that are not read leave the others their way.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// What waits for the socket, for each stream, beyond what the sessions count.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that the client reset before they were looked at.
const PENDING_RESETS: usize = 20;
/// Streams that we reset for faults of the client.
const ERROR_RESETS: usize = 100;

/// How long the peer may take to end its half of a stream when we have ended ours, and what we have sent to go out.
const LINGER: Duration = Duration::from_secs(2);

/// What the streams of a connection tell the task that drives it.
#[derive(Debug, Default)]
struct Shape {
    /// Requests and WebSockets that have not ended.
    streams: Cell<usize>,
    /// The last one has just ended.
    went_idle: Cell<bool>,
    resets: RefCell<Resets>,
    flooded: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

impl Shape {
    /// The client has reset a stream.
    fn count_reset<B: ShardBroker>(&self, state: &State<B>) {
        if !self.resets.borrow_mut().allow(state.clock.now()) && !self.flooded.replace(true) {
            tracing::info!("a client resets too many streams");
            state.count(|stats| stats.reset_floods += 1);
            self.wake();
        }
    }

    /// Whether there is a stream, or was one until now.
    fn is_busy(&self) -> bool {
        self.went_idle.take() || self.streams.get() > 0
    }

    fn wake(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve<B: ShardBroker>(io: Io, peer: SocketAddr, permit: Permit, shared: Rc<Shared<B>>) {
    let secure = matches!(io, Io::Tls(_));
    let settings = shared.settings.http2;
    let handshake = builder(&settings).handshake(io);
    let Ok(connection) = tokio::time::timeout(shared.settings.header_timeout, handshake).await else { return };
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%error, peer = %peer.ip(), "an HTTP/2 connection failed"),
    };
    let Some(pings) = connection.ping_pong() else { return };
    let shape = Rc::new(Shape::default());
    let vigil = Vigil::new(shared.state.clock.now(), shared.settings.header_timeout, &settings);
    let mut driver = Driver {
        connection,
        pings,
        vigil,
        timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
        shape: Rc::clone(&shape),
        shared: Rc::clone(&shared),
    };
    let mut draining = shared.draining.subscribe();
    let mut draining = pin!(draining.wait_for(|draining| *draining));
    let mut drained = false;
    loop {
        let accepted = poll_fn(|cx| {
            if !drained && draining.as_mut().poll(cx).is_ready() {
                drained = true;
                driver.connection.graceful_shutdown();
            }
            driver.poll(cx)
        });
        match accepted.await {
            Some(Ok((request, respond))) => {
                let (client, live) = (Client { peer, secure }, Live::new(&shape));
                spawn_local(answer(request, respond, client, live, Rc::clone(&shared)));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, peer = %peer.ip(), "an HTTP/2 connection failed");
                break;
            }
            None => break,
        }
    }
    drop(permit);
}

fn builder(settings: &Http2) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_connect_protocol()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(u32::try_from(http::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(ERROR_RESETS));
    builder
}

/// Drives a connection: its frames, its timers.
struct Driver<B: ShardBroker> {
    connection: Connection<Io, Bytes>,
    pings: PingPong,
    vigil: Vigil,
    timer: Pin<Box<Sleep>>,
    shape: Rc<Shape>,
    shared: Rc<Shared<B>>,
}

type Accepted = Option<Result<(Request<RecvStream>, SendResponse<Bytes>), h2::Error>>;

impl<B: ShardBroker> Driver<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Accepted> {
        *self.shape.driver.borrow_mut() = Some(cx.waker().clone());
        if self.shape.flooded.get() && self.vigil.end(self.shared.state.clock.now()) {
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        if self.poll_timers(cx).is_ready() {
            return Poll::Ready(None);
        }
        let accepted = pin!(self.connection.accept()).poll(cx);
        if let Poll::Ready(Some(Ok(_))) = &accepted
            && self.shape.flooded.get()
        {
            // What is already there is not begun any more.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        accepted
    }

    /// Ready when the connection is to be dropped.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let clock = &self.shared.state.clock;
        if self.pings.poll_pong(cx).is_ready() {
            self.vigil.receive_pong(clock.now());
        }
        loop {
            let now = clock.now();
            match self.vigil.handle_timeout(now, self.shape.is_busy()) {
                Some(Action::Ping) => {
                    // An error is a connection that ends.
                    let _ = self.pings.send_ping(Ping::opaque());
                }
                Some(Action::GoAway) => self.connection.graceful_shutdown(),
                Some(Action::Drop) => return Poll::Ready(()),
                None => {}
            }
            let next = clock.instant(self.vigil.deadline());
            if self.timer.deadline() != next {
                self.timer.as_mut().reset(next);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // The turn's clock may be older than the timer.
            clock.end_turn();
        }
    }
}

/// A stream that counts among those of its connection as long as it lives.
#[derive(Debug)]
struct Live(Rc<Shape>);

impl Live {
    fn new(shape: &Rc<Shape>) -> Self {
        shape.streams.set(shape.streams.get() + 1);
        Self(Rc::clone(shape))
    }

    fn count_reset<B: ShardBroker>(&self, state: &State<B>) {
        self.0.count_reset(state);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        if self.0.streams.get() == 0 {
            self.0.went_idle.set(true);
            self.0.wake();
        }
    }
}

/// Whose request it is.
#[derive(Clone, Copy)]
struct Client {
    peer: SocketAddr,
    secure: bool,
}

/// Answers one request, and serves the WebSocket that it may become. A client that resets the stream takes nobody's time any longer.
async fn answer<B: ShardBroker>(
    request: Request<RecvStream>,
    mut sender: SendResponse<Bytes>,
    client: Client,
    live: Live,
    shared: Rc<Shared<B>>,
) {
    let answering = Answering::new(&shared.state);
    let mut deciding = pin!(decide(request, client, &shared));
    let decided = poll_fn(|cx| match deciding.as_mut().poll(cx) {
        Poll::Ready(decided) => Poll::Ready(Some(decided)),
        Poll::Pending => sender.poll_reset(cx).map(|_| None),
    });
    match decided.await {
        None => live.count_reset(&shared.state),
        Some(Decided::Answer(response)) => {
            if let Err(error) = respond(response, &mut sender).await {
                tracing::debug!(%error, peer = %client.peer.ip(), "an HTTP/2 response failed");
            }
            drop(answering);
        }
        Some(Decided::Stream(opening, body)) => {
            drop(answering);
            let http::Opening { response, opened, permit } = *opening;
            let send = match sender.send_response(head(response), false) {
                Ok(send) => send,
                Err(_) => return live.count_reset(&shared.state),
            };
            let task = http::attach_stream(Io::Http2(Box::new(Http2Stream::new(send, body))), None, opened, permit);
            let stream = task.stream();
            task.await;
            if stream.socket.was_reset() {
                live.count_reset(&shared.state);
            }
            stream.socket.give_back_place();
            if stream.socket.ended_in_order() {
                // It goes out as the client's window lets it, for a while.
                tokio::time::sleep(LINGER).await;
            }
            stream.socket.abort();
        }
        Some(Decided::Open(opening, body)) => {
            drop(answering);
            let http::Opening { response, opened, permit } = *opening;
            let send = match sender.send_response(head(response), false) {
                Ok(send) => send,
                // It was reset before its turn came.
                Err(_) => return live.count_reset(&shared.state),
            };
            let task = http::attach(Io::Http2(Box::new(Http2Stream::new(send, body))), &[], opened, permit);
            let connection = task.connection();
            task.await;
            if connection.socket.was_reset() {
                live.count_reset(&shared.state);
            }
            let ended = tokio::time::timeout(LINGER, connection.socket.ended_by_peer()).await;
            connection.socket.give_back_place();
            if ended == Ok(true) {
                // Chromium ends its half together with its Close: our answer is still on its way.
                tokio::time::sleep(LINGER).await;
            }
            // What is held for a peer that never opens its window would stay as long as the connection.
            connection.socket.abort();
        }
    }
}

enum Decided<B: ShardBroker> {
    Answer(::http::Response<axum::body::Body>),
    Stream(Box<http::Opening<B>>, RecvStream),
    Open(Box<http::Opening<B>>, RecvStream),
}

async fn decide<B: ShardBroker>(request: Request<RecvStream>, client: Client, shared: &Rc<Shared<B>>) -> Decided<B> {
    let check = || {
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let protocol = request.extensions().get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str);
        let authority = request.uri().authority().map(::http::uri::Authority::as_str);
        UpgradeRequest::check_connect(request.method().as_str(), protocol, authority, headers)
    };
    // No proxy is here, and no other protocol: not even the API's routes are asked.
    if request.method() == ::http::Method::CONNECT
        && let Err(rejection @ Rejection::ProtocolNotSupported) = check()
    {
        return Decided::Answer(http::reject(&rejection, shared));
    }
    // The connection has a place; each WebSocket on it takes one more.
    let take = || shared.limits.take(None);
    let peer = client.peer.ip();
    match http::decide(&request, check, take, peer, client.secure, shared).await {
        Decision::Open(opening) => Decided::Open(opening, request.into_body()),
        Decision::Stream(opening) => Decided::Stream(opening, request.into_body()),
        Decision::Refuse(response) | Decision::Answer(response) => Decided::Answer(response),
        Decision::Exchange(admission) => {
            let place = Some(http::take_place(&admission, shared));
            let body = axum::body::Body::new(RequestBody::new(request.into_body()));
            Decided::Answer(exchange(*admission, body, place, shared).await)
        }
        Decision::Api => {
            let request = request.map(|body| axum::body::Body::new(RequestBody::new(body)));
            Decided::Answer(http::call_api(request, peer, &shared.api).await)
        }
    }
}
