//! Addresses that are served by plain HTTP: streams of events or lines, polls, and single requests. What their queries ask for, and what a page of another
//! origin may do there (the Fetch standard's CORS protocol).

use super::query::Query;
use super::{Refusal, RefusalCode, RequestHead, find_app, is_origin_allowed};
use crate::Directory;
use core::time::Duration;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::borrow::Cow;
use switchboard_core::{App, ChannelName, ChannelPattern, Since};
use switchboard_dialects::{Form, Opening, PostKind, Wanted, parse_cursor};

/// What a path of plain HTTP is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// `/sse`
    Events,
    /// `/stream`
    Lines,
    /// `/poll`
    Poll,
    /// `/client/v1/{request}`
    Post(PostKind),
}

/// What goes back to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A WebSocket, if its handshake is good.
    WebSocket,
    /// A response of this type that goes on as long as the session.
    Stream(&'static str),
    /// A response that is sent when the session ends, with its code as the status.
    Answer {
        /// Whether the request's body is the one message of the session.
        has_body: bool,
    },
}

/// Messages of one poll's answer, if nothing else is asked for, and at most.
const POLL_MESSAGES: (usize, usize) = (100, 1_000);
/// How long a poll waits, if nothing else is asked for, and at most, in seconds.
const POLL_WAIT: (u64, u64) = (25, 60);
const RATE_MAX: u32 = 1_000;
/// How long a browser remembers the answer to a preflight, in seconds.
const PREFLIGHT_AGE: &str = "600";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

impl Plain {
    pub(super) fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/sse" => Self::Events,
            "/stream" => Self::Lines,
            "/poll" => Self::Poll,
            path => Self::Post(PostKind::find(path.strip_prefix("/client/v1/")?)?),
        })
    }

    /// The dialect's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Events => "sse",
            Self::Lines => "stream",
            Self::Poll => "poll",
            Self::Post(_) => "post",
        }
    }

    pub(super) fn carrier(self) -> Carrier {
        match self {
            Self::Events => Carrier::Stream("text/event-stream"),
            Self::Lines => Carrier::Stream("application/x-ndjson"),
            Self::Poll => Carrier::Answer { has_body: false },
            Self::Post(_) => Carrier::Answer { has_body: true },
        }
    }

    fn method(self) -> Method {
        match self {
            Self::Events | Self::Lines | Self::Poll => Method::GET,
            Self::Post(_) => Method::POST,
        }
    }

    /// What an answer says of its methods.
    pub(super) fn allow(self) -> HeaderValue {
        match self {
            Self::Events | Self::Lines | Self::Poll => HeaderValue::from_static("GET, OPTIONS"),
            Self::Post(_) => HeaderValue::from_static("POST, OPTIONS"),
        }
    }

    pub(super) fn check_method(self, method: &Method) -> Result<(), Refusal> {
        let wanted = self.method();
        if *method == wanted {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::MethodNotAllowed, format!("use {wanted}")))
    }

    /// What the client wants to hear, and in which form.
    pub(super) fn opening(self, query: &Query<'_>, headers: &HeaderMap, app: &App) -> Result<Opening, Refusal> {
        if let Self::Post(kind) = self {
            return Ok(Opening::Post { kind });
        }
        let wanted = self.wanted(query, headers, app)?;
        Ok(match self {
            Self::Events => Opening::Listen { form: form(query, &wanted)?, wanted },
            Self::Lines => Opening::Listen { form: Form::Lines, wanted },
            _ => {
                let limit = number(query, "limit", POLL_MESSAGES.0 as u64, 1..=POLL_MESSAGES.1 as u64)?;
                let wait = number(query, "wait", POLL_WAIT.0, 0..=POLL_WAIT.1)?;
                let messages_max = usize::try_from(limit).unwrap_or(POLL_MESSAGES.1);
                Opening::Poll { wanted, messages_max, wait: Duration::from_secs(wait) }
            }
        })
    }

    fn wanted(self, query: &Query<'_>, headers: &HeaderMap, app: &App) -> Result<Wanted, Refusal> {
        let mut channels: Vec<ChannelName> = Vec::new();
        for name in query.values("channel") {
            let name = match name {
                ChannelName::USERS => ChannelName::own(),
                name => ChannelName::parse(name).map_err(|error| bad_channel(error.to_string()))?,
            };
            if channels.contains(&name) {
                return Err(bad(format!("channel '{name}' is given twice")));
            }
            channels.push(name);
        }
        let mut patterns: Vec<ChannelPattern> = Vec::new();
        for pattern in query.values("pattern") {
            let pattern = ChannelPattern::parse(pattern).map_err(|error| bad_channel(error.to_string()))?;
            if patterns.contains(&pattern) {
                return Err(bad(format!("pattern '{pattern}' is given twice")));
            }
            patterns.push(pattern);
        }
        if channels.is_empty() && patterns.is_empty() {
            return Err(bad("the address names no channel: add ?channel=NAME"));
        }
        let limit = app.limits.channels;
        if channels.len() + patterns.len() > limit {
            return Err(bad(format!("more than {limit} channels")));
        }
        let since = self.since(query, headers, channels.len())?;
        let returns = since.is_some();
        let since = since.unwrap_or_else(|| vec![None; channels.len()]);
        Ok(Wanted {
            channels: channels.into_iter().zip(since).collect(),
            patterns,
            presence: self != Self::Poll && query.flag("presence", false)?,
            rate: u32::try_from(number(query, "rate", 0, 1..=u64::from(RATE_MAX))?).unwrap_or(RATE_MAX),
            cached: query.flag("cached", false)?,
            returns,
        })
    }

    /// Where the client was: on which event, as its browser says, or as its address does.
    fn since(
        self,
        query: &Query<'_>,
        headers: &HeaderMap,
        channels: usize,
    ) -> Result<Option<Vec<Option<Since>>>, Refusal> {
        if self == Self::Events {
            let header = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or("?").into());
            let last: Option<Cow<'_, str>> = match header {
                Some(id) => Some(id),
                // What stands in for EventSource where headers cannot be set.
                None => query.value("lastEventId")?,
            };
            if let Some(id) = last.filter(|id| !id.is_empty()) {
                // One of another server, or of another list of channels, is no mistake of the client: it is told that it was not recovered.
                return Ok(Some(parse_cursor(&id, channels).unwrap_or_else(|| vec![Some(Since::Unknown); channels])));
            }
        }
        let Some(raw) = query.value("since")? else { return Ok(None) };
        match parse_cursor(&raw, channels) {
            Some(since) => Ok(Some(since)),
            None => Err(bad(
                "\"since\" is not of the form EPOCH:OFFSET with one position for each channel, or what a message's id or an answer's cursor was",
            )),
        }
    }
}

/// One channel's payloads come as they are unless messages are asked for; what several channels or presence bring has to be told apart.
fn form(query: &Query<'_>, wanted: &Wanted) -> Result<Form, Refusal> {
    let one = wanted.channels.len() == 1 && wanted.patterns.is_empty();
    match query.value("format")?.as_deref() {
        None | Some("data") if one => Ok(Form::Data),
        Some("message") if one => Ok(Form::Messages),
        None | Some("message") => Ok(Form::Many),
        Some("data") => Err(bad("\"format\" can be \"data\" only for one channel: \"message\" tells several apart")),
        Some(_) => Err(bad("\"format\" is neither \"data\" nor \"message\"")),
    }
}

fn number(query: &Query<'_>, name: &str, absent: u64, range: core::ops::RangeInclusive<u64>) -> Result<u64, Refusal> {
    let Some(raw) = query.value(name)? else { return Ok(absent) };
    let digits = raw.bytes().all(|b| b.is_ascii_digit());
    raw.parse()
        .ok()
        .filter(|number| digits && range.contains(number))
        .ok_or_else(|| bad(format!("\"{name}\" is not an integer from {} to {}", range.start(), range.end())))
}

/// Answers what a browser asks before it sends a page's request. `None`: it is no such question, or not about an address of plain HTTP.
pub fn preflight(request: &RequestHead<'_>, directory: &dyn Directory) -> Option<Result<HeaderMap, Refusal>> {
    let plain = Plain::find(request.path).filter(|_| *request.method == Method::OPTIONS)?;
    let answer = || {
        let query = Query::parse(request.query.unwrap_or_default())?;
        let app = find_app(query.value("app")?.as_deref(), directory)?;
        let origin = is_origin_allowed(request.headers, &app, directory)?;
        let mut headers = readable_by(origin.as_ref());
        headers.insert(header::ALLOW, plain.allow());
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, plain.allow());
        let allowed = HeaderValue::from_static("authorization, content-type, last-event-id, cache-control");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
        Ok(headers)
    };
    Some(answer())
}

/// Lets a page of an allowed origin read the answer, with cookies or without.
pub(super) fn readable_by(origin: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Whether the page may read it depends on who asks: no cache may give one's answer to another.
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
    headers
}

fn bad(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message)
}

fn bad_channel(message: String) -> Refusal {
    Refusal::new(RefusalCode::BadChannel, message)
}
