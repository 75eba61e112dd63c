//! A conversation with a server, from the first attempt to connect to the exit code: what is sent when, what is shown, when to give up, to close, to come
//! back. Owns every decision of `connect`; has no socket, no terminal, no file and no clock. Time is what has passed since the program began.

mod ending;
mod hearing;
mod playing;
#[cfg(test)]
mod tests;
mod unsent;

use super::Failed;
use super::backoff::{Backoff, Chance};
use super::editor::Editor;
use super::frames::Direction;
use super::history::History;
use super::look::{Look, latency};
use super::manner::Manner;
use super::native::Native;
use super::pings::Pings;
use super::record::{Replay, What};
use bytes::Bytes;
use core::time::Duration;
pub(super) use ending::End;
use ending::{is_final, is_refusal, settled};
use serde_json::{Value, json};
use std::collections::VecDeque;
use switchboard_ws::{CloseFrame, ConnectError, Message};
use unsent::Unsent;

/// What was agreed when the connection was made.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    pub(crate) subprotocol: Option<String>,
    /// The parameters of permessage-deflate.
    pub(crate) compression: Option<String>,
    pub(crate) http2: bool,
}

/// What the driver has to do.
#[derive(Debug)]
pub(crate) enum Act {
    /// Make a connection.
    Connect,
    /// Send over it. Tell when it is sent.
    Send(Outgoing),
    /// Let go of it, and of what is not sent.
    Drop,
    /// Read a file, and hand over what is in it.
    ReadFile(String),
    /// Find the names in a folder that begin so, and hand them over.
    ListFiles { folder: String, name: String },
    /// Show a line, or several: as data, or as a notice.
    Print { data: bool, text: String },
    /// Write a line into the recording.
    Record(String),
    /// Write a line into the history's file.
    Remember(String),
    /// Clear the screen.
    Clear,
    /// Stop, as Ctrl-Z asks.
    Suspend,
}

/// Something for the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outgoing {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    Close(Option<(u16, String)>),
}

/// A line that was piped in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Text(String),
    /// It is not UTF-8.
    Binary(Vec<u8>),
}

#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    Open {
        since: Duration,
    },
    /// We have closed, and wait for the answer.
    Closing {
        until: Duration,
        end: End,
    },
    /// Before the next attempt.
    Waiting {
        until: Duration,
    },
    Done(Result<(), Failed>),
}

#[derive(Debug)]
pub(crate) struct Conversation {
    pub(super) manner: Manner,
    pub(super) look: Look,
    pub(super) phase: Phase,
    pub(super) acts: VecDeque<Act>,
    pub(super) editor: Editor,
    /// Keys that wait while names of files are looked for: what one read of the terminal brought, at most.
    pub(super) typeahead: VecDeque<u8>,
    pub(super) listing: bool,
    pub(super) native: Option<Native>,
    /// Whether a message has come over this connection.
    greeted: bool,
    pub(super) pings: Pings,
    ping_due: Option<Duration>,
    ping_last: Option<Bytes>,
    backoff: Backoff,
    chance: Chance,
    replay: Option<Replay>,
    /// The Close that was recorded.
    last_words: Option<(u16, String)>,
    /// How what came differs from what was recorded: the first, and how many.
    difference: Option<(String, usize)>,
    /// Since when is recorded.
    recording: Option<Duration>,
    pub(super) input_over: bool,
    /// Until when answers are waited for.
    linger: Option<Duration>,
    unsent: Unsent,
    /// What the frames of the message that is coming have carried, and whether compressed.
    wire: (u64, bool),
}

/// How long the server may take to answer our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl Conversation {
    /// `seed` is for waits that differ from one run to the next.
    pub(crate) fn new(manner: Manner, look: Look, history: History, replay: Option<Replay>, seed: u64) -> Self {
        Self {
            manner,
            look,
            phase: Phase::Connecting,
            acts: VecDeque::from([Act::Connect]),
            editor: Editor::new(history),
            typeahead: VecDeque::new(),
            listing: false,
            native: None,
            greeted: false,
            pings: Pings::default(),
            ping_due: None,
            ping_last: None,
            backoff: Backoff::default(),
            chance: Chance(seed),
            replay,
            last_words: None,
            difference: None,
            recording: None,
            input_over: false,
            linger: None,
            unsent: Unsent::default(),
            wire: (0, false),
        }
    }

    /// The next thing to do.
    pub(crate) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    /// When time has to be told at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Waiting { until } | Phase::Closing { until, .. } => Some(*until),
            Phase::Open { since } => {
                let replay = self.replay.as_ref().and_then(Replay::next_at).map(|at| since.saturating_add(at));
                [replay, self.ping_due, self.linger].into_iter().flatten().min()
            }
            Phase::Connecting | Phase::Done(_) => None,
        }
    }

    /// How it has ended, if it has.
    pub(crate) fn take_end(&mut self) -> Option<Result<(), Failed>> {
        match &mut self.phase {
            Phase::Done(result) => Some(core::mem::replace(result, Ok(()))),
            _ => None,
        }
    }

    /// Whether a line, or keys, can be taken now.
    pub(crate) fn takes_input(&self) -> bool {
        let open = matches!(self.phase, Phase::Open { .. });
        self.look.interactive || (open && !self.input_over && self.unsent.takes_lines())
    }

    /// How things look by now.
    pub(crate) fn look(&self) -> &Look {
        &self.look
    }

    pub(crate) fn editor(&self) -> &Editor {
        &self.editor
    }
}

/// Connections come and go.
impl Conversation {
    pub(crate) fn opened(&mut self, now: Duration, agreed: &Agreed) {
        self.phase = Phase::Open { since: now };
        self.greeted = false;
        self.wire = (0, false);
        self.ping_due = self.manner.ping_interval.map(|interval| now.saturating_add(interval));
        self.ping_last = None;
        self.report_open(now, agreed);
        if self.manner.record {
            self.recording.get_or_insert(now);
            let (url, subprotocol) = (self.manner.url.clone(), agreed.subprotocol.clone());
            self.record(now, Direction::In, What::Open { url, subprotocol });
        }
        self.send_held(now);
        let limit = if self.manner.one_message { 1 } else { usize::MAX };
        if !self.manner.execute.is_empty() {
            for message in core::mem::take(&mut self.manner.execute).into_iter().take(limit) {
                self.send_line(now, Line::Text(message));
            }
            self.input_over = true;
        }
        self.play(now);
        self.check_linger(now);
    }

    fn report_open(&mut self, now: Duration, agreed: &Agreed) {
        let Agreed { subprotocol, compression, http2 } = agreed;
        if self.look.json {
            let version = if *http2 { "2" } else { "1.1" };
            return self.event(
                now,
                json!({ "type": "open", "subprotocol": subprotocol, "compression": compression, "http": version }),
            );
        }
        let with = subprotocol.as_ref().map_or(String::new(), |name| format!(" with the subprotocol {name}"));
        let over = if *http2 { " over HTTP/2" } else { "" };
        let compressed = compression.as_ref().map_or(String::new(), |params| format!(", {params}"));
        let hint = if self.look.interactive { "; Ctrl-D ends, /help shows more" } else { "" };
        self.notice(now, &format!("connected{with}{over}{compressed}{hint}"));
    }

    pub(crate) fn not_opened(&mut self, now: Duration, error: ConnectError) {
        let why = format!("no connection: {error}");
        let retry = !is_final(&error);
        self.lost(now, &why, retry, Failed::Connecting(error));
    }

    /// The server closed, or answered our Close.
    pub(crate) fn closed(&mut self, now: Duration, frame: Option<CloseFrame>) {
        if let Some(frame) = &frame {
            let (code, reason) = (u16::from(frame.code), &*frame.reason);
            self.record(now, Direction::In, What::close(Some(frame)));
            if self.look.json {
                self.event(now, json!({ "type": "close", "code": code, "reason": reason }));
            } else {
                self.notice(now, format!("closed: {code} {reason}").trim_end());
            }
        }
        match &self.phase {
            Phase::Closing { end: End::Interrupted, .. } => self.done(Err(Failed::Interrupted)),
            Phase::Closing { end: End::One, .. } => self.done(Ok(())),
            Phase::Closing { end: End::Chosen(own), .. } => {
                let own = *own;
                let answered = frame.filter(|frame| Some(u16::from(frame.code)) != own);
                self.done(settled(answered));
            }
            _ => {
                let refused = frame.as_ref().is_some_and(|frame| is_refusal(frame.code.into()));
                match settled(frame) {
                    Ok(()) if !self.manner.reconnect => self.done(Ok(())),
                    Ok(()) => self.lost(now, "the server closed", true, Failed::Other("the server closed".into())),
                    Err(failed) => self.lost(now, &failed.to_string(), !refused, failed),
                }
            }
        }
    }

    /// The connection is lost, or broke a rule.
    pub(crate) fn broke(&mut self, now: Duration, why: &str) {
        match &self.phase {
            Phase::Closing { end: End::Interrupted, .. } => self.done(Err(Failed::Interrupted)),
            Phase::Closing { end: End::One, .. } => self.done(Ok(())),
            Phase::Closing { .. } => self.done(Err(Failed::Connection(why.to_owned()))),
            _ => self.lost(now, why, true, Failed::Connection(why.to_owned())),
        }
    }

    fn lost(&mut self, now: Duration, why: &str, retry: bool, failed: Failed) {
        if let Phase::Open { since } = self.phase {
            self.backoff.lasted(now.saturating_sub(since));
        }
        self.acts.push_back(Act::Drop);
        self.pings.forget();
        self.linger = None;
        match self.unsent.forget() {
            0 => {}
            1 => self.notice(now, "1 message is not sent"),
            count => self.notice(now, &format!("{count} messages are not sent")),
        }
        let told = self.native.as_ref().and_then(Native::disconnect);
        if !self.manner.reconnect || !retry || told.is_some_and(|told| !told.reconnect) {
            return self.done(Err(failed));
        }
        let wait = self.backoff.next(self.chance.next());
        // The server knows best when there is room again.
        let asked = told.and_then(|told| told.after_ms).map_or(Duration::ZERO, Duration::from_millis);
        let wait = wait.max(asked);
        let attempt = self.backoff.attempts();
        self.notice(now, &format!("{why}; attempt {attempt} to come back in {}", latency(wait)));
        if self.look.json {
            self.event(
                now,
                json!({ "type": "reconnect", "attempt": attempt, "wait_ms": wait.as_millis() as u64, "why": why }),
            );
        }
        self.phase = Phase::Waiting { until: now.saturating_add(wait) };
    }

    pub(super) fn close(&mut self, now: Duration, code: Option<(u16, String)>, end: End) {
        let code = code.or(Some((1000, String::new())));
        self.record(now, Direction::Out, What::Close(code.clone()));
        self.acts.push_back(Act::Send(Outgoing::Close(code)));
        self.unsent.push(0);
        self.phase = Phase::Closing { until: now.saturating_add(CLOSE_TIMEOUT), end };
    }

    /// It is over. What was recorded may have something to say to a good end.
    pub(super) fn done(&mut self, result: Result<(), Failed>) {
        let result = result.and_then(|()| self.judge());
        self.phase = Phase::Done(result);
    }
}

/// What is sent.
impl Conversation {
    /// A line was piped in.
    pub(crate) fn line(&mut self, now: Duration, line: Line) {
        self.send_line(now, line);
        if self.manner.one_message {
            self.input_over = true;
            self.check_linger(now);
        }
    }

    pub(super) fn send_line(&mut self, now: Duration, line: Line) -> bool {
        let message: Message = match line {
            Line::Text(text) if self.manner.binary => text.into_bytes().into(),
            Line::Text(text) => text.into(),
            Line::Binary(bytes) => bytes.into(),
        };
        self.send(now, Outgoing::Message(message))
    }

    /// Whether it could be taken.
    pub(super) fn send(&mut self, now: Duration, outgoing: Outgoing) -> bool {
        if !matches!(self.phase, Phase::Open { .. } | Phase::Connecting) {
            self.notice(now, "there is no connection: not sent");
            return false;
        }
        if let Some(bytes) = self.unsent.too_many() {
            self.notice(now, &format!("the server does not read, and {bytes} bytes wait for it: not sent"));
            return false;
        }
        if matches!(self.phase, Phase::Connecting) {
            self.unsent.hold(outgoing);
            return true;
        }
        let what = match &outgoing {
            Outgoing::Message(message) => What::Message(message.clone()),
            Outgoing::Ping(payload) => {
                self.pings.sent(now, payload.clone());
                What::Ping(payload.to_vec())
            }
            Outgoing::Pong(payload) => What::Pong(payload.to_vec()),
            Outgoing::Close(frame) => What::Close(frame.clone()),
        };
        self.record(now, Direction::Out, what);
        self.unsent.push(outgoing.len());
        self.acts.push_back(Act::Send(outgoing));
        true
    }

    /// So many things have been sent.
    pub(crate) fn sent(&mut self, now: Duration, count: usize) {
        self.unsent.sent(count);
        self.check_linger(now);
    }

    pub(super) fn ping(&mut self, now: Duration, payload: Bytes) {
        self.send(now, Outgoing::Ping(payload));
    }

    /// What was typed while the connection was made.
    fn send_held(&mut self, now: Duration) {
        for outgoing in self.unsent.take_held() {
            self.send(now, outgoing);
        }
    }

    /// There is no more input.
    pub(crate) fn input_ended(&mut self, now: Duration) {
        // What is played or was given is all there is; the input was never asked.
        if self.replay.is_none() {
            self.input_over = true;
            self.check_linger(now);
        }
    }

    /// Begins to wait for the last answers, when all is sent.
    pub(super) fn check_linger(&mut self, now: Duration) {
        let leaves = !self.manner.no_close && (self.look.interactive || !self.manner.one_message);
        let open = matches!(self.phase, Phase::Open { .. });
        if !open || !self.input_over || !leaves || !self.unsent.is_empty() || self.linger.is_some() {
            return;
        }
        let Some(wait) = self.manner.wait else { return };
        if self.look.interactive {
            self.close(now, None, End::Chosen(Some(1000)));
        } else {
            self.linger = Some(now.saturating_add(wait));
        }
    }

    /// Ctrl-C, or a signal.
    pub(crate) fn interrupted(&mut self, now: Duration) {
        match self.phase {
            Phase::Open { .. } => self.close(now, None, End::Interrupted),
            Phase::Done(_) => {}
            _ => self.done(Err(Failed::Interrupted)),
        }
    }

    /// Nobody reads what is printed.
    pub(crate) fn output_gone(&mut self) {
        self.done(Err(Failed::Other("nobody reads the output any longer".into())));
    }

    pub(crate) fn record_failed(&mut self, why: &str) {
        self.done(Err(Failed::Other(format!("cannot write the recording: {why}"))));
    }
}

/// Time.
impl Conversation {
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        match &self.phase {
            Phase::Waiting { until } if *until <= now => {
                self.phase = Phase::Connecting;
                self.acts.push_back(Act::Connect);
            }
            Phase::Closing { until, end } if *until <= now => {
                let result = match end {
                    End::One => Ok(()),
                    End::Interrupted => Err(Failed::Interrupted),
                    End::Chosen(_) => Err(Failed::Connection("the server did not answer the close".into())),
                };
                self.done(result);
            }
            Phase::Open { .. } => self.handle_open(now),
            _ => {}
        }
    }

    fn handle_open(&mut self, now: Duration) {
        self.play(now);
        if self.ping_due.is_some_and(|due| due <= now) {
            self.ping_due = self.manner.ping_interval.map(|interval| now.saturating_add(interval));
            self.ping_again(now);
        }
        if self.linger.is_some_and(|until| until <= now) && matches!(self.phase, Phase::Open { .. }) {
            let frame = self.last_words.take().unwrap_or((1000, String::new()));
            let code = frame.0;
            self.close(now, Some(frame), End::Chosen(Some(code)));
        }
    }

    fn ping_again(&mut self, now: Duration) {
        if let Some(last) = self.ping_last.take().filter(|last| self.pings.is_waiting(last)) {
            self.notice(now, &format!("ping {} is not answered", String::from_utf8_lossy(&last)));
        }
        let payload = self.pings.number();
        self.ping_last = Some(payload.clone());
        self.ping(now, payload);
    }
}

/// What is shown and written down.
impl Conversation {
    pub(super) fn notice(&mut self, now: Duration, text: &str) {
        let text = self.look.notice(now, text);
        self.acts.push_back(Act::Print { data: false, text });
    }

    fn event(&mut self, now: Duration, event: Value) {
        let text = self.look.event(now, event);
        self.acts.push_back(Act::Print { data: true, text });
    }
}
