//! The task: one socket, one timer, the state machine between them. All state lives in the struct; `poll` can be entered at any time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_sink::Sink;
use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::proto::Time;
use switchboard_ws::{CloseCode, ConnectError, Connector, MaybeTls, WebSocket};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::builder::{Dial, Io, TokenCallback, TokenFuture};
use super::{Shared, State};
use crate::core::{ConnectFailure, Output};

type Socket = WebSocket<MaybeTls<Io>>;
type Connecting = Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>;

pub(super) struct Driver {
    shared: Arc<Shared>,
    url: String,
    connector: Connector,
    dial: Dial,
    callback: Option<TokenCallback>,
    fetching: Option<TokenFuture>,
    /// Questions that are void.
    discarded: Vec<TokenFuture>,
    connecting: Option<Connecting>,
    socket: Option<Socket>,
    /// The one before, while its closing handshake lasts.
    closing: Option<Socket>,
    timer: Pin<Box<Sleep>>,
    timer_at: Option<Time>,
    finish: watch::Sender<bool>,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        url: String,
        connector: Connector,
        dial: Dial,
        callback: Option<TokenCallback>,
        finish: watch::Sender<bool>,
    ) -> Self {
        Self {
            shared,
            url,
            connector,
            dial,
            callback,
            fetching: None,
            discarded: Vec::new(),
            connecting: None,
            socket: None,
            closing: None,
            timer: Box::pin(sleep_until(Instant::now())),
            timer_at: None,
            finish,
        }
    }

    /// One round. True if something was done that may allow more.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        // These run code of the application's, which may use the client: not under the lock.
        let token = poll_slot(&mut self.fetching, cx);
        let connected = poll_slot(&mut self.connecting, cx);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let now = shared.now();
        let mut busy = token.is_some() || connected.is_some();
        if let Some(token) = token {
            state.core.on_token(now, token);
        }
        match connected {
            Some(Ok(socket)) => {
                self.socket = Some(socket);
                state.core.on_connected(now);
            }
            Some(Err(error)) => state.core.on_connect_failed(now, failure(&error)),
            None => {}
        }
        if state.core.poll_timeout().is_some_and(|at| at <= now) {
            state.core.handle_timeout(now);
            busy = true;
        }
        busy |= self.obey(&mut state);
        busy |= self.exchange(&mut state, now, cx);
        busy |= self.obey(&mut state);
        busy |= self.arm(&state, now, cx);
        if state.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        drop(state);
        self.discarded.clear();
        if let Some(socket) = &mut self.closing
            && matches!(socket.poll_recv(cx), Poll::Ready(None | Some(Err(_))))
        {
            self.closing = None;
        }
        busy
    }

    /// Does what the state machine says. True if that began something that has not been polled yet.
    fn obey(&mut self, state: &mut State) -> bool {
        let mut busy = false;
        while let Some(output) = state.poll_output() {
            busy = true;
            match output {
                Output::FetchToken => {
                    let callback = self.callback.clone();
                    // Called when it is polled, and dropped when the lock is not held: it is code of the application's.
                    let fetching =
                        callback.map(|callback| -> TokenFuture { Box::pin(async move { callback().await }) });
                    self.discarded.extend(std::mem::replace(&mut self.fetching, fetching));
                }
                Output::Connect { token } => {
                    let (url, mut connector, dial) = (self.url.clone(), self.connector.clone(), self.dial.clone());
                    if let Some(token) = token {
                        connector = connector.header("Authorization", format!("Bearer {token}"));
                    }
                    self.connecting = Some(Box::pin(async move {
                        let dial = async |host: &str, port: u16| dial(host.to_owned(), port).await;
                        connector.connect_through(&url, dial).await.map(|(socket, _)| socket)
                    }));
                }
                Output::Close { code, reason } => self.hang_up(Some((code, reason))),
                Output::Abort => self.hang_up(None),
                // The others are the application's, and told.
                _ => {}
            }
        }
        busy
    }

    /// With a Close, or without a word.
    fn hang_up(&mut self, close: Option<(u16, &str)>) {
        self.connecting = None;
        let Some(mut socket) = self.socket.take() else { return };
        if let Some((code, reason)) = close {
            // It fails for codes that nobody may send; ours are not among them.
            if socket.start_close(CloseCode::new(code), reason).is_ok() {
                self.closing = Some(socket);
            }
        }
    }

    /// Writes and reads, as far as the socket goes. True if there may be more.
    fn exchange(&mut self, state: &mut State, now: Time, cx: &mut Context<'_>) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        while let Poll::Ready(Ok(())) = Pin::new(&mut *socket).poll_ready(cx) {
            let Some(frame) = state.core.poll_transmit(now) else { break };
            // What fails here is told by `poll_recv`, behind what the server still said.
            let _ = Pin::new(&mut *socket).start_send(frame);
        }
        let _ = Pin::new(&mut *socket).poll_flush(cx);
        let mut busy = false;
        for _ in 0..FRAMES_A_TURN {
            // `obey` may have hung up.
            let Some(socket) = &mut self.socket else { return true };
            match socket.poll_recv(cx) {
                Poll::Ready(Some(Ok(frame))) => state.core.receive(now, &frame),
                Poll::Ready(end) => {
                    let why = end.and_then(Result::err).map(|error| error.to_string());
                    let close = socket.close_frame().map(|close| (close.code.as_u16(), close.reason.to_string()));
                    self.socket = None;
                    match close {
                        Some((code, reason)) => state.core.on_closed(now, Some(code), &reason),
                        None => state.core.on_closed(now, None, &why.unwrap_or_else(|| "closed without a code".into())),
                    }
                    return true;
                }
                Poll::Pending => return busy,
            }
            // Each frame by itself: a reader that it fills is stopped before the next.
            self.obey(state);
            // What was read may have something to be sent.
            busy = true;
        }
        true
    }

    /// Sets the timer. True if it is time already.
    fn arm(&mut self, state: &State, now: Time, cx: &mut Context<'_>) -> bool {
        let at = state.core.poll_timeout();
        if at != self.timer_at {
            self.timer_at = at;
            if let Some(at) = at {
                let wait = at.saturating_sub(now).min(SLEEP_MAX);
                self.timer.as_mut().reset(Instant::now() + wait);
            }
        }
        if at.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            self.timer_at = None;
            return true;
        }
        false
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURNS_A_POLL {
            if self.turn(cx) {
                continue;
            }
            let over = self.closing.is_none() && self.shared.lock().core.ended().is_some();
            if over {
                self.finish.send_replace(true);
                return Poll::Ready(());
            }
            return Poll::Pending;
        }
        // Others may want this thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Nobody may wait for a task that is gone.
        let mut state = self.shared.lock();
        state.core.abandon();
        while state.poll_output().is_some() {}
    }
}

fn poll_slot<T>(slot: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>, cx: &mut Context<'_>) -> Option<T> {
    match slot.as_mut()?.as_mut().poll(cx) {
        Poll::Ready(value) => {
            *slot = None;
            Some(value)
        }
        Poll::Pending => None,
    }
}

/// What a failed attempt means for the next.
fn failure(error: &ConnectError) -> ConnectFailure {
    match error {
        ConnectError::Handshake(HandshakeError::Refused { status: 401, body, .. }) => {
            let body = String::from_utf8_lossy(body.get(..body.len().min(BODY_BYTES_SHOWN)).unwrap_or_default());
            ConnectFailure::Unauthorized(format!("{error}: {body}"))
        }
        ConnectError::Handshake(HandshakeError::Refused { status: 403, .. })
        | ConnectError::Url(_)
        | ConnectError::Tls(_)
        | ConnectError::InvalidHeader(_) => ConnectFailure::Final(error.to_string()),
        // Also 404 and the like: what a proxy says while the server behind it is replaced.
        _ => ConnectFailure::Temporary(error.to_string()),
    }
}

const FRAMES_A_TURN: usize = 64;
const TURNS_A_POLL: usize = 16;
const BODY_BYTES_SHOWN: usize = 256;

/// Longer than any timeout that matters, and nothing that the clock cannot hold.
const SLEEP_MAX: Duration = Duration::from_secs(86_400);
