//! A session that is one request and one answer: what it says is the body of the response, and the code by which it ends is the status.

use crate::backend::ShardBroker;
use crate::framing::IDENTITY;
use crate::http::{json_error, overloaded};
use crate::limits::{Full, Permit};
use crate::shard_loop::Shared;
use crate::state::{Attached, State};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use core::time::Duration;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::collections::VecDeque;
use std::rc::Rc;
use switchboard_core::Time;
use switchboard_hub::SubscriberId;
use switchboard_session::admission::{Admission, Carrier};
use switchboard_session::{Client, Incoming};

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whoever waits for the answer, shared with the shard.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) id: SubscriberId,
    answer: RefCell<Option<(u16, Bytes)>>,
    task: RefCell<Option<Waker>>,
}

impl Waiting {
    /// Takes the answer, if it is whole. Called by the shard at the end of a turn.
    pub(crate) fn flush<B: ShardBroker>(&self, state: &State<B>) {
        let mut sessions = state.sessions.borrow_mut();
        let mut output = VecDeque::new();
        sessions.take_output(self.id, usize::MAX, &mut output);
        if sessions.wants_turn() {
            state.want_turn();
        }
        let Some(status) = sessions.closing(self.id).map(|closing| closing.code) else { return };
        if self.answer.borrow().is_none() {
            // Almost always one piece.
            let body = if output.len() == 1 { output.pop_front() } else { None };
            let body = body.unwrap_or_else(|| output.iter().flat_map(|piece| piece.iter().copied()).collect());
            self.answer.replace(Some((status, body)));
        }
        if let Some(waker) = self.task.take() {
            waker.wake();
        }
    }
}

/// A session that lives as long as somebody waits for its answer.
struct Asking<B: ShardBroker> {
    waiting: Rc<Waiting>,
    state: Rc<State<B>>,
}

impl<B: ShardBroker> Asking<B> {
    fn open(admission: Admission, state: &Rc<State<B>>) -> Self {
        let Admission { app, opening, identity, .. } = admission;
        let client = Client { app, opening, identity, framing: IDENTITY };
        let id = state.sessions.borrow_mut().open(state.clock.now(), client);
        let waiting = Rc::new(Waiting { id, answer: RefCell::default(), task: RefCell::default() });
        state.attach(id, Attached::Waiting(Rc::clone(&waiting)));
        state.want_turn();
        Self { waiting, state: Rc::clone(state) }
    }

    fn receive(&self, body: &Bytes) {
        let message = match core::str::from_utf8(body) {
            Ok(text) => Incoming::Text(text),
            Err(_) => Incoming::Binary(body),
        };
        self.state.sessions.borrow_mut().receive(self.state.clock.now(), self.waiting.id, message);
        self.state.want_turn();
    }

    async fn answer(&self) -> (u16, Bytes) {
        poll_fn(|cx| {
            if let Some(answer) = self.waiting.answer.take() {
                return Poll::Ready(answer);
            }
            *self.waiting.task.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<B: ShardBroker> Drop for Asking<B> {
    fn drop(&mut self) {
        self.state.sessions.borrow_mut().close(self.state.clock.now(), self.waiting.id);
        self.state.detach(self.waiting.id);
        self.state.want_turn();
    }
}

/// Serves one request. Dropped when the client goes, which ends the session. `place` is what the client takes among the connections beside the one that it
/// asks on.
pub(crate) async fn exchange<B: ShardBroker>(
    admission: Admission,
    body: Body,
    place: Option<Result<Permit, Full>>,
    shared: &Rc<Shared<B>>,
) -> Response<Body> {
    let headers = admission.headers.clone();
    let mut response = match place.transpose() {
        Ok(_place) => answer(admission, body, shared).await,
        Err(_) => {
            shared.state.count(|stats| stats.refused_full += 1);
            overloaded()
        }
    };
    add_headers(&mut response, headers);
    response
}

async fn answer<B: ShardBroker>(admission: Admission, body: Body, shared: &Rc<Shared<B>>) -> Response<Body> {
    let state = &shared.state;
    let throttled = state.sessions.borrow_mut().throttle(
        state.clock.now(),
        &admission.app,
        admission.identity.as_ref(),
        admission.client,
    );
    if let Err(until) = throttled {
        return too_fast(until, state.clock.now());
    }
    let Carrier::Answer { has_body } = admission.carrier else { return wrong_kind() };
    let message = match has_body {
        true => match read_body(body, admission.app.limits.message_bytes).await {
            Ok(message) => Some(message),
            Err(response) => return response,
        },
        false => None,
    };
    state.room_for_requests().await;
    let asking = Asking::open(admission, state);
    if let Some(message) = message {
        asking.receive(&message);
    }
    let (status, body) = asking.answer().await;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Admission knows better.
fn wrong_kind() -> Response<Body> {
    json_error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "an internal error")
}

fn too_fast(until: Time, now: Time) -> Response<Body> {
    let mut response = json_error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests, please slow down");
    let seconds = until.since(now).as_millis().div_ceil(1_000).max(1);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(u64::try_from(seconds).unwrap_or(1)));
    response
}

async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Response<Body>> {
    let mut body = Limited::new(body, bytes_max);
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok::<_, Box<dyn core::error::Error + Send + Sync>>(bytes.freeze())
    };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {bytes_max} bytes");
            Err(json_error(StatusCode::PAYLOAD_TOO_LARGE, "limit_exceeded", &message))
        }
        Ok(Err(_)) => Err(json_error(StatusCode::BAD_REQUEST, "bad_request", "the body ended before it was whole")),
        Err(_) => Err(json_error(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come within 10 s")),
    }
}

/// What every answer to a client of plain HTTP says.
pub(crate) fn add_headers(response: &mut Response<Body>, more: HeaderMap) {
    let headers = response.headers_mut();
    headers.extend(more);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
