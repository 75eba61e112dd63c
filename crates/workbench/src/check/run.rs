//! One check against one connection: what came in so far decides what is done next. Owns the judging; knows neither sockets nor clocks.

use super::frames::{self, Reader, Seen};
use super::negotiated::Negotiated;
use super::response::Response;
use super::script::{Check, Outcome, Request, Step, Target, Verdict, Want};
use bytes::Bytes;
use core::time::Duration;
use std::borrow::Cow;
use std::collections::VecDeque;
use switchboard_ws_proto::Opcode;
use switchboard_ws_proto::handshake::accept_key;

/// Any sixteen bytes: what the server makes of them is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// How long nothing must come where nothing shall.
const QUIET: Duration = Duration::from_millis(300);
/// Time between two pieces of what is sent in pieces.
const DRIP: Duration = Duration::from_millis(1);
/// A head of a response that is longer is none.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// RFC 6455 §7.4.1: how a Close without a code is written where a code is wanted.
const NO_CODE: u16 = 1005;
/// What shows that a server is alive.
const ALIVE: &[u8] = b"alive?";

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server has closed it.
    Eof,
    /// It was reset, or broke.
    Reset,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this, then ask again.
    Send(Bytes),
    /// End our half, then ask again.
    ShutDown,
    /// Read until this moment at the latest, counted from the beginning, then ask again.
    Wait(Duration),
    /// The check is over.
    Done(Verdict),
}

/// A check under way.
#[derive(Debug)]
pub struct Run<'a> {
    target: &'a Target,
    steps: core::slice::Iter<'a, Step>,
    step: Option<&'a Step>,
    /// When the present step began.
    began: Option<Duration>,
    /// The present step has asked; it waits for the answer.
    asked: bool,
    /// What is still to be sent in pieces, and when the next one goes.
    drip: Option<(Bytes, usize, Duration)>,
    head: Vec<u8>,
    response: Option<Response>,
    reader: Reader,
    negotiated: Option<Negotiated>,
    seen: VecDeque<Seen>,
    /// A Close that was an answer, whose connection has yet to end.
    closing: Option<Verdict>,
    ended: Option<Ended>,
    verdict: Verdict,
}

impl<'a> Run<'a> {
    /// Before anything.
    pub fn new(check: &'a Check, target: &'a Target) -> Self {
        let mut steps = check.steps.iter();
        Self {
            target,
            step: steps.next(),
            steps,
            began: None,
            asked: false,
            drip: None,
            head: Vec::new(),
            response: None,
            reader: Reader::default(),
            negotiated: None,
            seen: VecDeque::new(),
            closing: None,
            ended: None,
            verdict: Verdict::PASSED,
        }
    }

    /// The server sent bytes.
    pub fn receive(&mut self, bytes: &[u8]) {
        match &self.response {
            Some(response) if response.status == 101 => return self.receive_frames(bytes),
            // The body of a refusal.
            Some(_) => return,
            None => {}
        }
        self.head.extend_from_slice(bytes);
        match Response::parse(&self.head) {
            Ok(Some((response, length))) => {
                let rest = self.head.split_off(length);
                let open = response.status == 101;
                self.response = Some(response);
                if let Some(Step::OpenWith(offer)) = self.step {
                    self.agree(offer);
                }
                if open {
                    self.receive_frames(&rest);
                }
            }
            Ok(None) if self.head.len() <= HEAD_BYTES_MAX => {}
            Ok(None) => self.fail("the head of the response has no end"),
            Err(error) => self.fail(error.to_string()),
        }
    }

    fn agree(&mut self, offer: &str) {
        let Some(response) = &self.response else { return };
        if response.status != 101 {
            return;
        }
        match Negotiated::of(offer, response) {
            Ok(negotiated) => {
                self.negotiated = Some(negotiated);
                self.reader.compressed = true;
            }
            Err(verdict) => self.end(verdict),
        }
    }

    fn receive_frames(&mut self, bytes: &[u8]) {
        self.reader.receive(bytes);
        let mut seen = Vec::new();
        let mut fault = None;
        loop {
            match self.reader.next() {
                // What is compressed comes from whoever inflates it.
                Ok(Some(Seen::Message(..))) if self.negotiated.is_some() => {}
                Ok(Some(frame)) => seen.push(frame),
                Ok(None) => break,
                Err(error) => {
                    fault = Some(error);
                    break;
                }
            }
        }
        if let Some(negotiated) = &mut self.negotiated {
            let result = negotiated.receive(bytes, |opcode, payload| seen.push(Seen::Message(opcode, payload)));
            fault = fault.or(result.err());
        }
        self.seen.extend(seen);
        if let Some(fault) = fault {
            self.fail(fault);
        }
    }

    /// The connection has ended.
    pub fn receive_end(&mut self, ended: Ended) {
        self.ended = Some(ended);
    }

    /// What is to be done, `now` being counted from the beginning.
    pub fn next(&mut self, now: Duration) -> Next {
        loop {
            if let Some(next) = self.drip(now) {
                return next;
            }
            let Some(step) = self.step else { return Next::Done(self.verdict.clone()) };
            let began = *self.began.get_or_insert(now);
            let asked = core::mem::replace(&mut self.asked, true);
            match step {
                Step::Open | Step::OpenWith(_) | Step::Request(_) if !asked => {
                    return Next::Send(self.request(step, now));
                }
                Step::Request(_) => self.advance(),
                Step::Open | Step::OpenWith(_) => match self.opened(now, began) {
                    None => return Next::Wait(began + self.target.patience),
                    Some(verdict) => self.take(verdict),
                },
                Step::Send(bytes) => {
                    self.advance();
                    return Next::Send(bytes.clone());
                }
                Step::Drip(bytes, piece) => {
                    self.drip = Some((bytes.clone(), *piece, now));
                    self.advance();
                }
                Step::SendCompressed(opcode, payload) => {
                    self.advance();
                    if let Some(negotiated) = &mut self.negotiated {
                        return Next::Send(negotiated.encode(*opcode, payload.clone()));
                    }
                }
                Step::ShutDown => {
                    self.advance();
                    return Next::ShutDown;
                }
                Step::Want(want) => {
                    let pings = matches!(want, Want::Survive | Want::FailOrAlive(_))
                        || matches!(want, Want::Echo(..) | Want::EchoOrTooBig(..)) && !self.target.echoes;
                    if pings && !asked && self.ended.is_none() {
                        return Next::Send(frames::ping(ALIVE));
                    }
                    match self.judge(want, now, began) {
                        None if matches!(want, Want::NoData) => return Next::Wait(began + QUIET),
                        None => return Next::Wait(began + self.target.patience),
                        Some(verdict) => self.take(verdict),
                    }
                }
            }
        }
    }

    fn advance(&mut self) {
        self.step = self.steps.next();
        (self.began, self.asked) = (None, false);
    }

    /// A verdict on the present step.
    fn take(&mut self, verdict: Verdict) {
        let ends = matches!(verdict.outcome, Outcome::Failed | Outcome::NotApplicable);
        let verdict = core::mem::replace(&mut self.verdict, Verdict::PASSED).and(verdict);
        if ends {
            return self.end(verdict);
        }
        self.verdict = verdict;
        self.advance();
    }

    /// Nothing that comes after it matters.
    fn end(&mut self, verdict: Verdict) {
        self.verdict = verdict;
        self.steps = [].iter();
        self.step = None;
    }

    /// The server did what no server may, whatever was asked.
    fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        if self.step.is_some() {
            self.end(Verdict::failed(why));
        }
    }

    fn drip(&mut self, now: Duration) -> Option<Next> {
        let (bytes, piece, due) = self.drip.as_mut()?;
        if self.ended.is_some() || bytes.is_empty() {
            self.drip = None;
            return None;
        }
        if now < *due {
            return Some(Next::Wait(*due));
        }
        *due = now + DRIP;
        let piece = bytes.split_to(bytes.len().min(*piece));
        Some(Next::Send(piece))
    }

    fn request(&mut self, step: &Step, now: Duration) -> Bytes {
        let ordinary = Request::default();
        let (request, extension) = match step {
            Step::OpenWith(offer) => (&ordinary, Some(*offer)),
            Step::Request(request) => (request, None),
            _ => (&ordinary, None),
        };
        let mut bytes = head(self.target, request, extension).into_bytes();
        bytes.extend_from_slice(&request.behind);
        let bytes = Bytes::from(bytes);
        match request.drip {
            None => bytes,
            Some(piece) => {
                self.drip = Some((bytes, piece, now));
                Bytes::new()
            }
        }
    }

    /// Whether the WebSocket is open, and rightly so.
    fn opened(&self, now: Duration, began: Duration) -> Option<Verdict> {
        match &self.response {
            Some(response) => Some(is_open(response)),
            None if self.ended.is_some() => Some(Verdict::failed("the connection ended before the WebSocket was open")),
            None if now >= began + self.target.patience => Some(Verdict::failed("no answer to the opening handshake")),
            None => None,
        }
    }

    fn judge(&mut self, want: &Want, now: Duration, began: Duration) -> Option<Verdict> {
        let late = now >= began + self.target.patience;
        match want {
            Want::Response(judge) => self.judge_response(late, *judge),
            Want::Refused => self.judge_response(late, refused),
            Want::Survive => match self.judge_pong(ALIVE, late) {
                Some(verdict) if verdict.outcome == Outcome::Failed && !late => {
                    Some(Verdict::remark("the server ended the connection of a client that asks too much"))
                }
                verdict => verdict,
            },
            Want::Pong(payload) => self.judge_pong(payload, late),
            // What is sent behind a message tells of it, where it does not come back.
            Want::Echo(..) | Want::EchoAtBest(..) if !self.target.echoes && self.steps.len() > 0 => {
                Some(Verdict::PASSED)
            }
            // §5.5.1 and §7.1.7 let a server that is told to end, or has to, forget what it has not answered.
            Want::EchoAtBest(opcode, payload) => {
                let ends =
                    matches!(self.seen.front(), Some(Seen::Close(_))) || (self.seen.is_empty() && self.ended.is_some());
                match ends {
                    true => Some(Verdict::remark("what came before was not answered any more")),
                    false => self.judge_echo(*opcode, payload, late, false),
                }
            }
            Want::Echo(opcode, payload) => self.judge_echo(*opcode, payload, late, false),
            Want::EchoOrTooBig(opcode, payload) => self.judge_echo(*opcode, payload, late, true),
            Want::Fail(codes) => self.judge_failure(codes, late, None),
            Want::FailOrAlive(codes) => {
                let alive = Verdict::remark("taken without complaint, which the standard does not allow but many do");
                self.judge_failure(codes, late, Some(alive))
            }
            Want::FailOrSilent(codes) => match self.judge_failure(codes, late, None) {
                Some(verdict) if verdict.outcome == Outcome::Failed && self.ended.is_none() => {
                    Some(Verdict::remark("the server waits for it: it has no limit, or a larger one"))
                }
                verdict => verdict,
            },
            Want::Closed(codes) => self.judge_close(codes, late),
            Want::End => match self.ended {
                Some(_) => Some(Verdict::PASSED),
                None => late.then(|| Verdict::failed("the server keeps a connection that nobody can use")),
            },
            Want::NoData => {
                if self.target.echoes && self.seen.iter().any(|seen| matches!(seen, Seen::Message(..))) {
                    return Some(Verdict::failed("a message came that must not"));
                }
                (self.ended.is_some() || now >= began + QUIET).then_some(Verdict::PASSED)
            }
        }
    }

    fn judge_response(&self, late: bool, judge: fn(&Response) -> Verdict) -> Option<Verdict> {
        match (&self.response, self.ended) {
            (Some(response), _) => Some(judge(response)),
            (None, Some(_)) => Some(Verdict::remark("the connection was ended without a word of HTTP")),
            (None, None) => late.then(|| Verdict::failed("the request was not answered")),
        }
    }

    fn judge_pong(&mut self, payload: &[u8], late: bool) -> Option<Verdict> {
        while let Some(seen) = self.seen.pop_front() {
            match seen {
                Seen::Pong(answer) if answer == payload => return Some(Verdict::PASSED),
                // §5.5.3: unsolicited, or the answer to an earlier ping.
                Seen::Pong(_) | Seen::Ping(_) | Seen::Message(..) => {}
                Seen::Close(code) => return Some(Verdict::failed(closed(code))),
            }
        }
        self.nothing_came(late, "no pong came")
    }

    fn judge_echo(&mut self, opcode: Opcode, payload: &Bytes, late: bool, may_refuse: bool) -> Option<Verdict> {
        while let Some(seen) = self.seen.pop_front() {
            match seen {
                Seen::Pong(answer) if !self.target.echoes && answer == ALIVE => return Some(Verdict::PASSED),
                // Of somebody else, who knows.
                Seen::Message(..) if !self.target.echoes => {}
                Seen::Message(came, echo) if came == opcode && echo == *payload => return Some(Verdict::PASSED),
                Seen::Message(came, echo) => return Some(Verdict::failed(differs(opcode, payload, came, &echo))),
                Seen::Ping(_) | Seen::Pong(_) => {}
                Seen::Close(Some(1009)) if may_refuse => return Some(Verdict::PASSED),
                Seen::Close(code) if may_refuse => return Some(Verdict::remark(closed(code))),
                Seen::Close(code) => return Some(Verdict::failed(closed(code))),
            }
        }
        if may_refuse && self.ended.is_some() {
            return Some(Verdict::remark("the connection was ended without a Close"));
        }
        // What is large may take its time, as long as something comes.
        let coming = self.reader.rest() > 0;
        self.nothing_came(late, if coming { "the echo did not come whole" } else { "no echo came" })
    }

    fn nothing_came(&self, late: bool, what: &'static str) -> Option<Verdict> {
        match self.ended {
            Some(Ended::Eof) => Some(Verdict::failed("the server ended the connection")),
            Some(Ended::Reset) => Some(Verdict::failed("the server reset the connection")),
            None => late.then(|| Verdict::failed(what)),
        }
    }

    fn judge_failure(&mut self, codes: &[u16], late: bool, alive: Option<Verdict>) -> Option<Verdict> {
        while let Some(seen) = self.seen.pop_front() {
            match seen {
                Seen::Close(Some(code)) if codes.contains(&code) => return Some(Verdict::PASSED),
                Seen::Close(code) => {
                    let wanted: Vec<String> = codes.iter().map(u16::to_string).collect();
                    return Some(Verdict::remark(format!("{}; {} is meant for it", closed(code), wanted.join(" or "))));
                }
                Seen::Pong(payload) if payload == ALIVE && alive.is_some() => return alive,
                Seen::Pong(_) | Seen::Ping(_) => {}
                Seen::Message(..) if !self.target.echoes => {}
                Seen::Message(..) => return alive.or_else(|| Some(Verdict::failed("it was taken, and answered"))),
            }
        }
        match self.ended {
            Some(_) => Some(Verdict::remark("the connection was ended without a Close, which §7.1.7 allows")),
            None => late.then(|| Verdict::failed("the connection was not failed")),
        }
    }

    fn judge_close(&mut self, codes: &[u16], late: bool) -> Option<Verdict> {
        while self.closing.is_none()
            && let Some(seen) = self.seen.pop_front()
        {
            if let Seen::Close(code) = seen {
                let expected = codes.is_empty() || codes.contains(&code.unwrap_or(NO_CODE));
                let verdict = if expected { Verdict::PASSED } else { Verdict::remark(closed(code)) };
                self.closing = Some(verdict);
            }
        }
        match (self.closing.clone(), self.ended) {
            (Some(verdict), Some(_)) => Some(verdict),
            (Some(verdict), None) => {
                let open = Verdict::remark("the Close was answered, but the TCP connection stayed open (§7.1.1)");
                late.then(|| verdict.and(open))
            }
            (None, Some(_)) => Some(Verdict::failed("the connection ended without an answer to the Close (§5.5.1)")),
            (None, None) => late.then(|| Verdict::failed("the Close was not answered (§5.5.1)")),
        }
    }
}

fn closed(code: Option<u16>) -> String {
    match code {
        Some(code) => format!("the server closed with {code}"),
        None => "the server closed without a code".to_owned(),
    }
}

fn differs(opcode: Opcode, payload: &[u8], came: Opcode, echo: &[u8]) -> String {
    if opcode != came {
        return format!("{opcode:?} came back as {came:?}");
    }
    let at = payload.iter().zip(echo).position(|(a, b)| a != b).unwrap_or(payload.len().min(echo.len()));
    format!("{} bytes came back for {}, other from byte {at} on", echo.len(), payload.len())
}

/// RFC 6455 §4.1: what a client checks.
pub(super) fn is_open(response: &Response) -> Verdict {
    if response.status != 101 {
        return Verdict::failed(format!("the handshake was answered with status {}", response.status));
    }
    if !response.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
        return Verdict::failed("the response has no 'Upgrade: websocket'");
    }
    if !response.lists("connection", "upgrade") {
        return Verdict::failed("the response has no 'Connection: Upgrade'");
    }
    match response.header("sec-websocket-accept") {
        Some(accept) if accept == accept_key(KEY) => Verdict::PASSED,
        Some(_) => Verdict::failed("Sec-WebSocket-Accept is not made of the key"),
        None => Verdict::failed("the response has no Sec-WebSocket-Accept"),
    }
}

fn refused(response: &Response) -> Verdict {
    match response.status {
        101 => Verdict::failed("the WebSocket was opened all the same"),
        400.. => Verdict::PASSED,
        status => Verdict::remark(format!("answered with status {status}, which is no refusal")),
    }
}

fn head(target: &Target, request: &Request, extension: Option<&str>) -> String {
    let mut headers: Vec<(Cow<'_, str>, Cow<'_, str>)> = vec![
        ("Host".into(), target.host.as_str().into()),
        ("Upgrade".into(), "websocket".into()),
        ("Connection".into(), "Upgrade".into()),
        ("Sec-WebSocket-Key".into(), KEY.into()),
        ("Sec-WebSocket-Version".into(), "13".into()),
    ];
    if let Some(extension) = extension {
        headers.push(("Sec-WebSocket-Extensions".into(), extension.into()));
    }
    if !target.subprotocols.is_empty() {
        headers.push(("Sec-WebSocket-Protocol".into(), target.subprotocols.join(", ").into()));
    }
    headers.extend(target.headers.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())));
    for (name, value) in &request.replace {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.extend(value.clone().map(|value| ((*name).into(), value)));
    }
    headers.extend(request.add.iter().cloned());
    let (method, version) = (request.method.unwrap_or("GET"), request.version.unwrap_or("HTTP/1.1"));
    let mut head = format!("{method} {} {version}\r\n", target.path);
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    head
}
