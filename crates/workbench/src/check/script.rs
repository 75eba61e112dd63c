//! What a check consists of: steps, what is wanted of the server, and how it came out.

use super::response::Response;
use bytes::Bytes;
use core::time::Duration;
use std::borrow::Cow;
use switchboard_ws_proto::Opcode;

/// One question to a server.
#[derive(Clone, Debug)]
pub struct Check {
    /// Its name: `group/what`.
    pub id: Cow<'static, str>,
    /// What is right, in a sentence.
    pub title: Cow<'static, str>,
    /// Where the standard says so.
    pub clause: &'static str,
    /// What is done and wanted, in order.
    pub(crate) steps: Vec<Step>,
}

impl Check {
    pub(crate) fn new(
        id: impl Into<Cow<'static, str>>,
        clause: &'static str,
        title: impl Into<Cow<'static, str>>,
        steps: Vec<Step>,
    ) -> Self {
        Self { id: id.into(), title: title.into(), clause, steps }
    }

    /// The part of its name before the `/`.
    pub fn group(&self) -> &str {
        self.id.split('/').next().unwrap_or(&self.id)
    }
}

/// Where the server is, and what is known of it.
#[derive(Clone, Debug)]
pub struct Target {
    /// `Host`.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Headers that every request has besides.
    pub headers: Vec<(String, String)>,
    /// Subprotocols that every request offers.
    pub subprotocols: Vec<String>,
    /// What is sent comes back. Without it only what closes and pings tell is judged.
    pub echoes: bool,
    /// How long the server may take for each answer.
    pub patience: Duration,
}

/// What is done, or wanted.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Open a WebSocket, as it is done.
    Open,
    /// The same, offering this for `Sec-WebSocket-Extensions`. A server that takes none of it makes the rest not applicable.
    OpenWith(&'static str),
    /// Send a request that is not quite it.
    Request(Request),
    /// Send bytes.
    Send(Bytes),
    /// Send bytes in pieces of so many.
    Drip(Bytes, usize),
    /// End our half of the connection.
    ShutDown,
    /// Send a text with what was agreed on compression.
    SendCompressed(Opcode, Bytes),
    /// Want this.
    Want(Want),
}

/// A request for an upgrade with something changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: Option<&'static str>,
    pub(crate) version: Option<&'static str>,
    /// Headers that take the place of those with the same name, which `None` takes away.
    pub(crate) replace: Vec<(&'static str, Option<Cow<'static, str>>)>,
    /// Headers besides.
    pub(crate) add: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// Bytes that follow at once.
    pub(crate) behind: Bytes,
    /// In pieces of so many bytes.
    pub(crate) drip: Option<usize>,
}

impl Request {
    pub(crate) fn with(name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        Self { replace: vec![(name, Some(value.into()))], ..Self::default() }
    }

    pub(crate) fn without(name: &'static str) -> Self {
        Self { replace: vec![(name, None)], ..Self::default() }
    }

    pub(crate) fn and(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.add.push((name.into(), value.into()));
        self
    }
}

/// Judges a response to a request.
pub(crate) type Judge = fn(&Response) -> Verdict;

/// What the server shall do.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// Answer the request so.
    Response(Judge),
    /// Refuse the request: any status but 101, or the end.
    Refused,
    /// Send this message back, in as many fragments as it likes.
    Echo(Opcode, Bytes),
    /// Send this message back, or have ended the connection for what came behind it.
    EchoAtBest(Opcode, Bytes),
    /// Send this message back or refuse it for its size, 1009.
    EchoOrTooBig(Opcode, Bytes),
    /// Answer a ping.
    Pong(Bytes),
    /// Be alive, or have ended the connection of somebody who asks too much.
    Survive,
    /// Fail the connection, best with one of these codes.
    Fail(&'static [u16]),
    /// Fail it, or at least be alive: the standard does not demand it.
    FailOrAlive(&'static [u16]),
    /// Fail it, or wait for more: nothing has been promised yet.
    FailOrSilent(&'static [u16]),
    /// Answer a Close and then end the connection.
    Closed(&'static [u16]),
    /// End the connection, with or without a word.
    End,
    /// Send nothing of this kind for a while.
    NoData,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// As the standard demands.
    Passed,
    /// Allowed, but not what a strict reader expects, or something that the standard leaves open.
    Remark,
    /// The server has not what is asked about.
    NotApplicable,
    /// Against the standard.
    Failed,
}

impl Outcome {
    /// One word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Remark => "remark",
            Self::NotApplicable => "not applicable",
            Self::Failed => "failed",
        }
    }
}

/// An outcome, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it came out.
    pub outcome: Outcome,
    /// What the server did, if it is worth a word.
    pub why: Cow<'static, str>,
}

impl Verdict {
    pub(crate) const PASSED: Self = Self { outcome: Outcome::Passed, why: Cow::Borrowed("") };

    pub(crate) fn failed(why: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: Outcome::Failed, why: why.into() }
    }

    pub(crate) fn remark(why: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: Outcome::Remark, why: why.into() }
    }

    pub(crate) fn not_applicable(why: impl Into<Cow<'static, str>>) -> Self {
        Self { outcome: Outcome::NotApplicable, why: why.into() }
    }

    /// The worse of two: a remark stays where all else passed.
    pub(crate) fn and(self, other: Self) -> Self {
        if other.outcome > self.outcome { other } else { self }
    }
}
