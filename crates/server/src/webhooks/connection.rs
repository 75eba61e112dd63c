//! Connections to receivers: a request and its status over one, and how long it is kept for the next.
//!
//! A receiver may end a kept connection whenever it likes, also while a request is on its way: whoever asks over one has to be ready to ask again over another.
//! Knows nothing of names, addresses and certificates.

use bytes::Bytes;
use core::time::Duration;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::fmt;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// What a receiver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
}

/// A connection with no request on its way.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    opened: Instant,
    /// Until when it may be kept.
    until: Instant,
}

/// Connections without a request, at most one for each webhook: more are never needed, since it is sent one request at a time.
#[derive(Debug, Default)]
pub(super) struct Kept(HashMap<u32, Connection>);

/// What reads and writes. It ends with its connection.
struct Driver(JoinHandle<hyper::Result<()>>);

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What is read of an answer, so that the receiver need not fail at saying it. One that says more gets another connection.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long that may take.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long a connection is used at most: its name may mean another address by then.
const AGE_MAX: Duration = Duration::from_secs(300);
/// How long ending one in order may take.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How much earlier than a receiver that says when it ends a connection.
const KEEP_MARGIN: Duration = Duration::from_secs(1);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(super) async fn begin(stream: Box<dyn Stream>) -> hyper::Result<Self> {
        let mut builder = Builder::new();
        builder.max_buf_size(ANSWER_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
        let (driver, now) = (Driver(tokio::spawn(connection)), Instant::now());
        Ok(Self { sender, driver, opened: now, until: now })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn ask(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// The connection again if it may be kept, for so long at most.
    pub(super) async fn finish(mut self, response: Response<Incoming>, keep: Duration) -> Option<Self> {
        let keep = keep.min(offered(response.headers()).unwrap_or(keep));
        // The events are taken or not, whatever else the receiver has to say.
        let idle = timeout(ANSWER_WAIT, async { read(response).await && self.sender.ready().await.is_ok() });
        let idle = idle.await.unwrap_or(false);
        self.until = until(Instant::now(), self.opened, keep);
        (idle && !keep.is_zero()).then_some(self)
    }

    fn is_open(&self, now: Instant) -> bool {
        now < self.until && !self.sender.is_closed()
    }

    /// Ends it in order, so that a receiver over TLS hears that nothing is missing.
    fn close(self) {
        let Self { sender, mut driver, .. } = self;
        drop(sender);
        tokio::spawn(async move { timeout(CLOSE_WAIT, &mut driver.0).await });
    }
}

impl Kept {
    pub(super) fn keep(&mut self, number: u32, connection: Connection) {
        self.0.insert(number, connection);
    }

    /// The connection to a webhook, for a request.
    pub(super) fn take(&mut self, number: u32) -> Option<Connection> {
        let connection = self.0.remove(&number)?;
        if connection.is_open(Instant::now()) {
            return Some(connection);
        }
        connection.close();
        None
    }

    /// Ends those whose time is over, that their receivers have ended, and that are not wanted.
    pub(super) fn close(&mut self, is_wanted: impl Fn(u32) -> bool) {
        let now = Instant::now();
        let over = |number: &u32, connection: &mut Connection| !connection.is_open(now) || !is_wanted(*number);
        for (_, connection) in self.0.extract_if(over) {
            connection.close();
        }
    }

    /// When [`close`](Self::close) has something to do.
    pub(super) fn until(&self) -> Option<Instant> {
        self.0.values().map(|connection| connection.until).min()
    }
}

/// Until when a connection is kept that nothing is asked over from now on.
fn until(now: Instant, opened: Instant, keep: Duration) -> Instant {
    now.checked_add(keep).map_or(opened + AGE_MAX, |end| end.min(opened + AGE_MAX))
}

/// Whether there was no more than a little of it.
async fn read(response: Response<Incoming>) -> bool {
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > ANSWER_BYTES_MAX {
            return false;
        }
    }
    true
}

/// How long the receiver says that it keeps the connection, less a margin: a request that meets its end is made twice.
fn offered(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = text.split(',').find_map(|part| part.trim().strip_prefix("timeout=")?.parse().ok())?;
    Some(Duration::from_secs(seconds).saturating_sub(KEEP_MARGIN))
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

impl Said {
    pub(super) fn of(response: &Response<Incoming>) -> Self {
        Self { status: response.status().as_u16(), retry_after: retry_after(response.headers()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn receivers_ask_for_time_in_seconds_or_with_a_date() {
        let asked = |text: &str| retry_after(&headers("retry-after", text));
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert!(asked("Thu, 31 Dec 2099 23:59:59 GMT").unwrap() > Duration::from_secs(1_000_000));
        assert_eq!((asked("soon"), asked("-1"), retry_after(&HeaderMap::new())), (None, None, None));
    }

    #[test]
    fn no_connection_is_kept_for_longer_than_its_age() {
        let opened = Instant::now();
        let (second, later) = (Duration::from_secs(1), opened + AGE_MAX - Duration::from_millis(1));
        assert_eq!(until(opened, opened, second), opened + second);
        for (now, keep) in [(later, second), (opened, AGE_MAX + second), (opened, Duration::MAX)] {
            assert_eq!(until(now, opened, keep), opened + AGE_MAX, "{keep:?}");
        }
    }

    #[test]
    fn receivers_say_how_long_they_keep_a_connection() {
        let said = |text: &str| offered(&headers("keep-alive", text)).map(|kept| kept.as_secs());
        assert_eq!((said("timeout=5"), said("max=9, timeout=75"), said("timeout=1")), (Some(4), Some(74), Some(0)));
        assert_eq!((said("timeout=0"), said("timeout=soon"), said("max=9")), (Some(0), None, None));
        assert_eq!(offered(&HeaderMap::new()), None);
    }
}
