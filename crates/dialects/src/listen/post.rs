//! A request without a connection: what the path names, with the members of the native protocol's request as its body, and the answer in the form of the HTTP
//! API (`docs/reference/http-clients.md`).

use super::write_error;
use crate::dialect::{Commands, Dialect, Incoming, Welcome};
use crate::native::{self, Object};
use crate::writer::Writer;
use bytes::Bytes;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::VecDeque;
use switchboard_core::{Disconnect, Event, OpId, Outcome, Reject, RejectCode};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostKind {
    /// To publish.
    Publish,
    /// Who is there.
    Presence,
    /// What was published.
    History,
}

impl PostKind {
    /// By the last part of the path.
    pub fn find(name: &str) -> Option<Self> {
        Some(match name {
            "publish" => Self::Publish,
            "presence" => Self::Presence,
            "history" => Self::History,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Presence => "presence",
            Self::History => "history",
        }
    }
}

/// One request.
#[derive(Debug)]
pub struct Post {
    kind: PostKind,
    /// It is on its way to the hub, and something will be different for it.
    changes: bool,
    /// It is answered, with this status.
    answered: Option<u16>,
}

/// How long the hub may take. It answers at once unless what it needs is out of reach.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const OP: OpId = OpId(0);
const UNCONFIRMED: &str = "no answer came in time: it may be published or not; ask again with the same idempotency_key";

impl Post {
    pub(crate) fn new(kind: PostKind) -> Self {
        Self { kind, changes: false, answered: None }
    }

    fn refuse(&mut self, reject: &Reject, out: &mut Writer<'_>) {
        self.answered = Some(status(reject.code));
        out.text(|out| {
            write_error(reject, out);
            out.push(b'\n');
        });
    }
}

impl Dialect for Post {
    fn open(&mut self, _: &Welcome<'_>, _: &mut Commands, _: &mut Writer<'_>) -> Option<Disconnect> {
        None
    }

    fn receive(&mut self, message: Incoming<'_>, commands: &mut Commands, out: &mut Writer<'_>) {
        let body = match message {
            Incoming::Text(body) => Ok(body),
            Incoming::Binary(_) => Err(Reject::new(RejectCode::BadJson, "the body is not UTF-8")),
        };
        match body.and_then(|body| native::request(self.kind.as_str(), body)) {
            Ok(command) => {
                self.changes = command.changes();
                commands.push((OP, command));
            }
            Err(reject) => self.refuse(&reject, out),
        }
    }

    fn answer(&mut self, _: OpId, outcome: &Outcome, out: &mut Writer<'_>) -> Option<Disconnect> {
        if let Outcome::Rejected(reject) = outcome {
            self.refuse(reject, out);
            return None;
        }
        self.answered = Some(200);
        out.text(|out| {
            let mut object = Object::begin_untyped(out);
            object.outcome(outcome);
            object.end();
            out.push(b'\n');
        });
        None
    }

    fn on_event(&mut self, _: &Event, _: &mut Writer<'_>) -> Option<Disconnect> {
        None
    }

    fn on_silence(&mut self, _: &mut Writer<'_>) {}

    fn on_disconnect(&mut self, disconnect: &Disconnect, out: &mut Writer<'_>) -> Disconnect {
        if self.answered.is_none() {
            let reject = match self.changes {
                true => Reject::new(RejectCode::Unconfirmed, UNCONFIRMED),
                false => Reject::new(RejectCode::Unavailable, "no answer came in time: ask again"),
            };
            self.refuse(&reject, out);
        }
        Disconnect { code: self.answered.unwrap_or(503), ..disconnect.clone() }
    }

    fn can_refuse(&self) -> bool {
        true
    }

    fn finish(&mut self, _: &mut VecDeque<Bytes>) -> Option<Disconnect> {
        self.answered.map(|code| Disconnect { code, reason: Cow::Borrowed("answered"), after: None })
    }

    fn patience(&self) -> Option<Duration> {
        Some(ANSWER_MAX)
    }
}

/// The status of an answer that refuses.
pub(super) fn status(code: RejectCode) -> u16 {
    match code {
        RejectCode::Unauthenticated | RejectCode::BadToken => 401,
        RejectCode::PermissionDenied | RejectCode::Removed => 403,
        RejectCode::Conflict => 409,
        RejectCode::HistoryLost => 410,
        RejectCode::LimitExceeded => 413,
        RejectCode::RateLimited => 429,
        RejectCode::Internal => 500,
        RejectCode::Unavailable => 503,
        RejectCode::Unconfirmed => 504,
        _ => 400,
    }
}
