//! The event loop of one shard: it accepts, reads mail, keeps the timers and ends the turns.

use crate::backend::{Backend, ShardBroker};
use crate::handle::{Control, Submission};
use crate::io::Io;
use crate::limits::ConnectionLimits;
use crate::settings::Settings;
use crate::state::State;
use crate::{http, http2};
use axum::Router;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use switchboard_hub::Mail;
use switchboard_session::Directory;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio_rustls::TlsAcceptor;

/// What the tasks of a shard share besides its state.
#[derive(Debug)]
pub(crate) struct Shared<B: ShardBroker> {
    pub(crate) state: Rc<State<B>>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) limits: Arc<ConnectionLimits>,
    pub(crate) api: Router,
    /// Whether everybody is being sent away.
    pub(crate) draining: watch::Sender<bool>,
    /// Whether everybody has gone: connections on which nothing is asked are of no use any more.
    pub(crate) deserted: watch::Sender<bool>,
}

/// What reaches a shard from outside.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) listener: std::net::TcpListener,
    pub(crate) submissions: mpsc::Receiver<Submission>,
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) mail: mpsc::Receiver<Vec<Mail>>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why a shard's loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Stopped,
    /// One of the tasks that every session needs is gone: our bug, or no descriptor.
    Failed,
}

/// Runs a shard until it is stopped or cannot go on. A panic in one connection's task ends that connection; in one of these, the shard.
pub(crate) async fn run<B: ShardBroker>(shared: Rc<Shared<B>>, inputs: Inputs, backend: Option<Backend<B>>) -> Ended {
    let Inputs { listener, submissions, control, mail, mut stop } = inputs;
    let accepting = match TcpListener::from_std(listener) {
        Ok(listener) => spawn_local(accept(listener, Rc::clone(&shared))),
        Err(error) => {
            tracing::error!(%error, "a shard cannot listen");
            return Ended::Failed;
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn_local(end_turns(Rc::clone(&shared.state)));
    tasks.spawn_local(unblock_mail(Rc::clone(&shared.state)));
    tasks.spawn_local(read_mail(Rc::clone(&shared.state), mail));
    tasks.spawn_local(keep_time(Rc::clone(&shared.state)));
    tasks.spawn_local(take_submissions(Rc::clone(&shared.state), submissions));
    tasks.spawn_local(obey(Rc::clone(&shared), control, accepting));
    // However it ends, by a panic too, the shard's publications have no place any more.
    let mut serving = spawn_local(serve_broker(Rc::clone(&shared.state), backend));
    let mut stopped = pin!(stop.wait_for(|stop| *stop));
    poll_fn(|cx| {
        // An error is the end of whoever could stop it.
        if stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ended::Stopped);
        }
        if pin!(&mut serving).poll(cx).is_ready() {
            tracing::error!("what keeps the publications has ended");
            return Poll::Ready(Ended::Failed);
        }
        while let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
            if ended.is_err() {
                return Poll::Ready(Ended::Failed);
            }
        }
        Poll::Pending
    })
    .await
}

async fn accept<B: ShardBroker>(listener: TcpListener, shared: Rc<Shared<B>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = std::net::SocketAddr::new(peer.ip().to_canonical(), peer.port());
                shared.state.count(|stats| stats.accepted += 1);
                let address = (!shared.settings.proxies.contains(peer.ip())).then(|| peer.ip());
                match shared.limits.take(address) {
                    Ok(permit) => {
                        let shared = Rc::clone(&shared);
                        spawn_local(async move {
                            match secure(stream, &shared.settings).await {
                                Some((io, Version::Http1)) => http::serve(io, peer, permit, shared).await,
                                Some((io, Version::Http2)) => http2::serve(io, peer, permit, shared).await,
                                None => {}
                            }
                        });
                    }
                    Err(full) => {
                        shared.state.count(|stats| stats.refused_full += 1);
                        tracing::info!(peer = %peer.ip(), ?full, "a connection was refused: too many");
                        spawn_local(turn_away(stream, http::refused_early(full), shared.settings.tls.is_some()));
                    }
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: those that end make room.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Does the TLS handshake where TLS is configured, and finds out what the client speaks.
async fn secure(stream: TcpStream, settings: &Settings) -> Option<(Io, Version)> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let found = tokio::time::timeout(settings.header_timeout, async {
        let Some(tls) = &settings.tls else {
            let version = if settings.http2.enabled { preface(&stream).await? } else { Version::Http1 };
            return io::Result::Ok((Io::Tcp(stream), version));
        };
        let stream = TlsAcceptor::from(tls.load_full()).accept(stream).await?;
        let version = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") if settings.http2.enabled => Version::Http2,
            _ => Version::Http1,
        };
        Ok((Io::Tls(Box::new(stream)), version))
    });
    match found.await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection failed before its first request");
            None
        }
        Err(_) => None,
    }
}

/// Looks at the first bytes and leaves them where they are: a client with prior knowledge of HTTP/2 begins with `PRI`, which is no method of
/// HTTP/1.1 (RFC 9113 §3.4).
async fn preface(stream: &TcpStream) -> io::Result<Version> {
    loop {
        // Asked before the bytes are looked at: of a client that had ended by then, these are all.
        let ended = stream.ready(Interest::READABLE).await?.is_read_closed();
        let mut bytes = [0; PREFACE.len()];
        let count = stream.peek(&mut bytes).await?;
        let is_short = count < PREFACE.len();
        if is_short && ended || count == 0 || !PREFACE.starts_with(bytes.get(..count).unwrap_or_default()) {
            return Ok(Version::Http1);
        }
        if !is_short {
            return Ok(Version::Http2);
        }
        // A beginning that fits: until more comes the socket counts as read.
        let _: io::Result<()> = stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
    }
}

const PREFACE: &[u8] = b"PRI";

async fn turn_away(mut stream: TcpStream, response: &'static [u8], tls: bool) {
    if !tls {
        let answer = async {
            stream.write_all(response).await?;
            stream.shutdown().await
        };
        // The client may have gone, or not read.
        let _ = tokio::time::timeout(Duration::from_secs(1), answer).await;
    }
}

/// Ends turns. It is woken by the first task that wants it and runs after all that were ready then: what they did is one turn.
async fn end_turns<B: ShardBroker>(state: Rc<State<B>>) {
    loop {
        poll_fn(|cx| {
            state.set_flusher(cx.waker());
            if state.turn_wanted.replace(false) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        while state.end_turn() {
            // The rest after the sockets were looked at, and whoever found something there had its turn: the runtime does that only once in 61 tasks unless
            // one yields, and a slice of a large roster is long.
            tokio::task::yield_now().await;
            state.turn_wanted.set(false);
        }
    }
}

/// Waits for room on ways to other shards that are full.
async fn unblock_mail<B: ShardBroker>(state: Rc<State<B>>) {
    loop {
        let way = poll_fn(|cx| {
            state.set_unblocker(cx.waker());
            state.blocked_way().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        // An error is a shard that has stopped.
        drop(way.reserve().await);
        state.send_mail();
    }
}

async fn read_mail<B: ShardBroker>(state: Rc<State<B>>, mut mail: mpsc::Receiver<Vec<Mail>>) {
    loop {
        state.room_for_mail().await;
        let Some(letters) = mail.recv().await else { return };
        let now = state.clock.now();
        for letter in letters {
            state.sessions.borrow_mut().receive_mail(now, letter);
        }
        state.want_turn();
    }
}

/// Carries the broker's requests to its backend and the replies back. Ends if the backend does.
async fn serve_broker<B: ShardBroker>(state: Rc<State<B>>, backend: Option<Backend<B>>) {
    let Some(Backend { requests, mut replies }) = backend else { return core::future::pending().await };
    let sending = async {
        loop {
            state.requests_wanted.notified().await;
            while let Ok(way) = requests.reserve().await {
                let batch = state.take_requests();
                if batch.is_empty() {
                    break;
                }
                way.send(batch);
            }
            if requests.is_closed() {
                return;
            }
        }
    };
    let receiving = async {
        while let Some(batch) = replies.recv().await {
            let now = state.clock.now();
            for reply in batch {
                state.sessions.borrow_mut().handle_broker_reply(now, reply);
            }
            state.want_turn();
        }
    };
    let (mut sending, mut receiving) = (pin!(sending), pin!(receiving));
    poll_fn(|cx| match (sending.as_mut().poll(cx), receiving.as_mut().poll(cx)) {
        (Poll::Pending, Poll::Pending) => Poll::Pending,
        _ => Poll::Ready(()),
    })
    .await;
}

/// Calls the sessions when their next deadline is due. Looks at least every 100 ms, so that nobody has to announce a nearer deadline.
async fn keep_time<B: ShardBroker>(state: Rc<State<B>>) {
    loop {
        let now = state.clock.now();
        state.wake_timed(now);
        let next = [state.sessions.borrow().poll_timeout(), state.next_timer()].into_iter().flatten().min();
        match next {
            Some(next) if next <= now => {
                state.sessions.borrow_mut().handle_timeout(now);
                state.want_turn();
                tokio::task::yield_now().await;
            }
            _ => {
                let wait = next.map_or(TICK, |next| next.since(now).min(TICK));
                tokio::time::sleep(wait).await;
                state.clock.end_turn();
                state.send_notices();
            }
        }
    }
}

const TICK: Duration = Duration::from_millis(100);

/// Takes what the application itself asks for. It waits where clients wait.
async fn take_submissions<B: ShardBroker>(state: Rc<State<B>>, mut submissions: mpsc::Receiver<Submission>) {
    loop {
        state.room_for_requests().await;
        let Some(Submission { app, command, reply }) = submissions.recv().await else { return };
        let ticket = state.next_ticket.get();
        state.next_ticket.set(ticket + 1);
        state.tickets.borrow_mut().insert(ticket, reply);
        state.sessions.borrow_mut().submit(state.clock.now(), ticket, &app, command);
        state.want_turn();
    }
}

async fn obey<B: ShardBroker>(shared: Rc<Shared<B>>, mut control: mpsc::Receiver<Control>, accepting: JoinHandle<()>) {
    while let Some(message) = control.recv().await {
        let state = &shared.state;
        match message {
            Control::Drain { window, done } => {
                accepting.abort();
                shared.draining.send_replace(true);
                if shared.settings.notices_kept {
                    state.sessions.borrow_mut().keep_told();
                }
                state.sessions.borrow_mut().drain(state.clock.now(), window);
                state.want_turn();
                spawn_local(report_drained(Rc::clone(&shared), window, done));
            }
            Control::EndApp { app, disconnect } => {
                state.sessions.borrow_mut().end_app(&app, &disconnect);
                state.want_turn();
            }
        }
    }
}

async fn report_drained<B: ShardBroker>(shared: Rc<Shared<B>>, window: Duration, done: oneshot::Sender<()>) {
    let end = tokio::time::Instant::now() + window;
    let deadline = end + DRAIN_GRACE;
    let is_late = || tokio::time::Instant::now() >= deadline;
    while !shared.state.is_deserted() && !is_late() {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
    if !shared.state.is_answered() {
        // Not before: a request may be on its way on a connection that is idle, and is answered within the window.
        tokio::time::sleep_until(end).await;
    }
    shared.deserted.send_replace(true);
    let is_over = || shared.state.is_deserted() && shared.state.is_answered();
    while !is_over() && !is_late() {
        tokio::time::sleep(DRAIN_LOOK).await;
    }
    // What was handed to the tasks of TLS and HTTP/2 last is theirs to write.
    tokio::time::sleep(DRAIN_LOOK).await;
    // Whoever asked may have given up.
    let _ = done.send(());
}

/// What the last client has beyond the window for the answers that it waits for and its closing handshake.
const DRAIN_GRACE: Duration = Duration::from_secs(9);
/// How often is looked whether all are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
