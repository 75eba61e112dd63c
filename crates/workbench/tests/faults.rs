//! A server with one fault after another: each must be found, by the checks that look for it and by no other. Without a fault it is conformant.
//!
//! The server is `ws-proto`'s state machine behind something that changes what it hears or says. No socket and no clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;
use std::collections::BTreeSet;
use switchboard_workbench::check::{Check, Ended, Next, Outcome, Run, Target, Verdict, battery};
use switchboard_ws_proto::deflate::{Agreed, Policy};
use switchboard_ws_proto::handshake::{ServerHandshake, accept_key};
use switchboard_ws_proto::{Config, Connection, Event, Limits, Message, Role};

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Requests that are no handshake are made one.
    OpensAnything,
    WrongAccept,
    AgreesToUnknown,
    SelectsUnoffered,
    LosesWhatIsBehind,
    NoVersionInRefusal,
    TakesUnmasked,
    IgnoresReservedBits,
    UnknownOpcodesAreText,
    MendsText,
    IgnoresPings,
    EmptyPongs,
    IgnoresClose,
    AnswersOddCloses,
    KeepsTheConnection,
    EchoesBehindClose,
    LosesEmptyFragments,
    LoneContinuationsAreText,
    FragmentedControls,
    EchoesAsBinary,
    CutsLongMessages,
    MasksItsFrames,
    BreaksItsUtf8,
}

struct Server {
    fault: Fault,
    handshake: Option<ServerHandshake>,
    head: BytesMut,
    connection: Option<Connection>,
    raw: BytesMut,
    ended: bool,
    close_heard: bool,
    mended: bool,
}

impl Server {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            handshake: Some(ServerHandshake::new()),
            head: BytesMut::new(),
            connection: None,
            raw: BytesMut::new(),
            ended: false,
            close_heard: false,
            mended: false,
        }
    }

    /// What it answers.
    fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.ended {
            return Vec::new();
        }
        if self.connection.is_some() {
            return self.hear_frames(bytes);
        }
        self.head.extend_from_slice(bytes);
        if self.fault == Fault::OpensAnything && !self.mended {
            let Some(end) = self.head.windows(4).position(|at| at == b"\r\n\r\n") else { return Vec::new() };
            let extension = String::from_utf8_lossy(&self.head[..end])
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("sec-websocket-extensions"))
                .map_or(String::new(), |line| format!("{line}\r\n"));
            let rest = self.head.split_off(end + 4);
            let good = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
            self.head = BytesMut::from(format!("{good}{extension}\r\n").as_bytes());
            self.head.extend_from_slice(&rest);
            self.mended = true;
        }
        let fresh = self.head.split();
        let mut handshake = self.handshake.take().unwrap();
        match handshake.receive(&fresh) {
            Ok(None) => {
                self.handshake = Some(handshake);
                Vec::new()
            }
            Err(rejection) => {
                self.ended = true;
                let response = String::from_utf8(rejection.response().to_vec()).unwrap();
                match self.fault {
                    Fault::NoVersionInRefusal => response.replace("Sec-WebSocket-Version", "X-Version").into_bytes(),
                    _ => response.into_bytes(),
                }
            }
            Ok(Some(request)) => {
                let policy = Policy::default().context_takeover(true).peer_context_takeover(true);
                let params = match request.upgrade.deflate(&policy) {
                    Ok(params) => params,
                    Err(rejection) => {
                        self.ended = true;
                        return rejection.response().to_vec();
                    }
                };
                let mut headers = Vec::new();
                let agreed = params.map(|params| params.to_string());
                if let Some(agreed) = &agreed {
                    headers.push(("Sec-WebSocket-Extensions", agreed.as_str()));
                }
                if self.fault == Fault::AgreesToUnknown {
                    headers = vec![("Sec-WebSocket-Extensions", "x-nobody-has-this")];
                }
                if self.fault == Fault::SelectsUnoffered {
                    headers.push(("Sec-WebSocket-Protocol", "soap"));
                }
                let key = request.upgrade.key.clone().unwrap_or_default();
                let mut response = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
                    accept_key(if self.fault == Fault::WrongAccept { "another" } else { &key })
                );
                headers.iter().for_each(|(name, value)| response.push_str(&format!("{name}: {value}\r\n")));
                response.push_str("\r\n");
                let limits = Limits { message_bytes_max: 8 << 20, ..Limits::default() };
                let config = Config::default().limits(limits).deflate(params.map(Agreed::new));
                self.connection = Some(Connection::new(Role::Server, config));
                let rest = handshake.into_leftover();
                let mut out = response.into_bytes();
                if self.fault != Fault::LosesWhatIsBehind {
                    out.extend(self.hear_frames(&rest));
                }
                out
            }
        }
    }

    fn hear_frames(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.raw.extend_from_slice(bytes);
        let mut heard = BytesMut::new();
        while let Some(frame) = Raw::take(&mut self.raw) {
            self.change(frame, &mut heard);
        }
        // What is no whole frame is judged by the rules as far as it has come.
        let connection = self.connection.as_mut().unwrap();
        let mut connection_bytes = heard;
        if Raw::is_hopeless(&self.raw) {
            connection_bytes.extend_from_slice(&self.raw.split());
        }
        connection.receive(connection_bytes);
        let fault = self.fault;
        while let Some(event) = connection.poll_event() {
            if let Event::Message(message) = event {
                let message = match (fault, message) {
                    (Fault::EchoesAsBinary, Message::Text(text)) => Message::from(Bytes::from(text)),
                    (Fault::CutsLongMessages, Message::Binary(bytes)) if bytes.len() > 65_535 => {
                        Message::from(bytes.slice(..65_535))
                    }
                    (_, message) => message,
                };
                let _ = connection.send(message);
            }
        }
        let length = connection.transmit_len();
        let mut out = connection.transmit().copy_to_bytes(length).to_vec();
        self.ended = connection.should_shut_down_write() && fault != Fault::KeepsTheConnection;
        if fault == Fault::MasksItsFrames && !out.is_empty() {
            out = Raw { first: out[0], payload: Vec::new(), masked: true }.bytes();
        }
        if fault == Fault::BreaksItsUtf8 && out.first() == Some(&0x88) {
            out = vec![0x88, 3, 0x03, 0xe8, 0xff];
        }
        out
    }

    /// The fault, as far as it is one of hearing.
    fn change(&mut self, mut frame: Raw, heard: &mut BytesMut) {
        let opcode = frame.first & 0x0f;
        let is_text = opcode == 1 || opcode == 0;
        match self.fault {
            Fault::TakesUnmasked => frame.masked = true,
            Fault::IgnoresReservedBits => frame.first &= 0x8f,
            Fault::UnknownOpcodesAreText if !matches!(opcode, 0..=2 | 8..=10) => frame.first = frame.first & 0xf0 | 1,
            Fault::MendsText if is_text && frame.first & 0x40 == 0 => {
                frame.payload.iter_mut().filter(|byte| **byte >= 0x80).for_each(|byte| *byte = b'?');
            }
            Fault::IgnoresPings if opcode == 9 => return,
            Fault::EmptyPongs if opcode == 9 => frame.payload.clear(),
            Fault::IgnoresClose if opcode == 8 => return,
            Fault::AnswersOddCloses if opcode == 8 => frame.payload = vec![0x03, 0xe8],
            Fault::EchoesBehindClose if opcode == 8 => {
                self.close_heard = true;
                return;
            }
            Fault::LosesEmptyFragments if opcode == 0 && frame.payload.is_empty() => return,
            Fault::LoneContinuationsAreText if frame.first == 0x80 => frame.first = 0x81,
            Fault::FragmentedControls if opcode >= 8 => frame.first |= 0x80,
            _ => {}
        }
        heard.extend_from_slice(&frame.bytes());
    }
}

/// A frame, whatever is wrong with it.
struct Raw {
    first: u8,
    payload: Vec<u8>,
    masked: bool,
}

impl Raw {
    fn header(bytes: &[u8]) -> Option<(usize, u64, bool)> {
        let (first, masked) = (bytes.get(1)? & 0x7f, bytes.get(1)? & 0x80 != 0);
        let (length, at) = match first {
            126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
            short => (u64::from(short), 2),
        };
        Some((at, length, masked))
    }

    /// What the rules say of its header alone is left to them, so it goes on as it is.
    fn is_hopeless(bytes: &[u8]) -> bool {
        Self::header(bytes).is_some_and(|(_, length, _)| length > 64 << 20) || Self::is_odd(bytes)
    }

    /// A length in another form than a server of ours would read again.
    fn is_odd(bytes: &[u8]) -> bool {
        Self::header(bytes).is_some_and(|(at, length, _)| {
            let control = bytes[0] & 8 != 0 && matches!(bytes[0] & 15, 8..=10);
            match at {
                4 => length < 126 || control,
                10 => length < 65_536,
                _ => false,
            }
        })
    }

    fn take(bytes: &mut BytesMut) -> Option<Self> {
        let (at, length, masked) = Self::header(bytes)?;
        if Self::is_hopeless(bytes) {
            return None;
        }
        let key = masked.then(|| bytes.get(at..at + 4)).flatten().map(<[u8]>::to_vec);
        let begin = at + if masked { 4 } else { 0 };
        let end = begin + usize::try_from(length).ok()?;
        if bytes.len() < end || (masked && key.is_none()) {
            return None;
        }
        let frame = bytes.split_to(end);
        let key = key.unwrap_or_else(|| vec![0; 4]);
        let payload = frame[begin..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        Some(Self { first: frame[0], payload, masked })
    }

    fn bytes(&self) -> Vec<u8> {
        let mask = if self.masked { 0x80 } else { 0 };
        let mut out = vec![self.first];
        match self.payload.len() {
            length @ 0..=125 => out.push(mask | u8::try_from(length).unwrap()),
            length @ 126..=65_535 => {
                out.push(mask | 126);
                out.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                out.push(mask | 127);
                out.extend((length as u64).to_be_bytes());
            }
        }
        if self.masked {
            out.extend([0; 4]);
        }
        out.extend(&self.payload);
        out
    }
}

fn play(check: &Check, fault: Fault) -> Verdict {
    let target = Target {
        host: "localhost".to_owned(),
        path: "/".to_owned(),
        headers: Vec::new(),
        subprotocols: Vec::new(),
        echoes: true,
        patience: Duration::from_secs(2),
    };
    let mut run = Run::new(check, &target);
    let mut server = Server::new(fault);
    let mut now = Duration::ZERO;
    for _ in 0..1_000_000 {
        match run.next(now) {
            Next::Done(verdict) => return verdict,
            Next::Send(bytes) => {
                let answer = server.hear(&bytes);
                if !answer.is_empty() {
                    run.receive(&answer);
                }
            }
            Next::ShutDown => server.ended = true,
            Next::Wait(until) => now = until,
        }
        if server.ended {
            run.receive_end(Ended::Eof);
        }
    }
    panic!("{} comes to no end", check.id);
}

/// The groups and names of the checks that failed.
fn failed(checks: &[Check], fault: Fault) -> BTreeSet<String> {
    // Megabytes are slow without optimisation, and no fault is found by these alone.
    let heavy = |check: &&Check| {
        check.id == "limits/message-16777216"
            || check.id.starts_with("limits/fragments")
            || check.id == "compression/bomb"
    };
    let failed = checks.iter().filter(|check| !heavy(check) && play(check, fault).outcome == Outcome::Failed);
    failed.map(|check| check.id.to_string()).collect()
}

#[test]
fn a_server_without_a_fault_is_conformant() {
    for check in battery() {
        let verdict = play(&check, Fault::None);
        assert!(verdict.outcome <= Outcome::Remark, "{}: {verdict:?}", check.id);
    }
}

#[test]
fn names_are_unique_and_say_their_group() {
    let checks = battery();
    let names: BTreeSet<_> = checks.iter().map(|check| check.id.to_string()).collect();
    assert_eq!(names.len(), checks.len());
    assert!(checks.iter().all(|check| check.id.contains('/') && check.clause.starts_with("RFC ")));
    let page = include_str!("../../../docs/reference/check.md");
    assert!(
        page.contains(&format!("plays {} small scripts", checks.len())),
        "the page says another number than {}",
        checks.len()
    );
    for check in &checks {
        assert!(page.contains(&format!("| `{}` |", check.group())), "the page has no group {}", check.group());
    }
}

/// Each fault, with what must find it. Where a name ends with `*`, all that begin so must, and others of the group may.
#[test]
fn each_fault_is_found_by_the_checks_that_look_for_it() {
    #[rustfmt::skip]
    let faults: &[(Fault, &[&str])] = &[
        (Fault::OpensAnything, &["handshake/no-upgrade", "handshake/upgrade-other", "handshake/no-connection", "handshake/connection-other", "handshake/no-key",
            "handshake/key-empty", "handshake/key-short", "handshake/key-long", "handshake/key-not-base64", "handshake/method", "handshake/http-1.0", "handshake/no-host",
            "handshake/version-older", "handshake/version-newer", "handshake/no-version", "handshake/version-odd", "handshake/header-huge"]),
        (Fault::AgreesToUnknown, &["handshake/extension-unknown", "handshake/extension-not-offered", "compression/*"]),
        (Fault::SelectsUnoffered, &["handshake/subprotocol-unknown"]),
        (Fault::LosesWhatIsBehind, &["handshake/frame-behind"]),
        (Fault::NoVersionInRefusal, &["handshake/version-older", "handshake/version-newer"]),
        (Fault::TakesUnmasked, &["framing/unmasked", "framing/unmasked-empty", "framing/unmasked-ping"]),
        (Fault::IgnoresReservedBits, &["framing/rsv-*", "compression/*"]),
        (Fault::UnknownOpcodesAreText, &["framing/opcode-*"]),
        (Fault::MendsText, &["utf8/*", "fragments/binary", "compression/fragments"]),
        (Fault::IgnoresPings, &["control/ping*", "fragments/ping-between"]),
        (Fault::EmptyPongs, &["control/ping", "control/ping-binary", "control/ping-125", "control/ping-one-by-one", "control/pings", "fragments/ping-between", "control/ping-flood"]),
        (Fault::IgnoresClose, &["framing/rsv-on-close", "close/*", "fragments/close-between"]),
        (Fault::EchoesBehindClose, &["framing/rsv-on-close", "close/message-behind", "close/*", "fragments/close-between"]),
        (Fault::LosesEmptyFragments, &["fragments/empty-last", "fragments/all-empty", "compression/fragment-empty"]),
        (Fault::LoneContinuationsAreText, &["fragments/continues-nothing", "fragments/*", "compression/*", "utf8/cut-in-characters"]),
        (Fault::FragmentedControls, &["fragments/ping", "fragments/pong"]),
        (Fault::EchoesAsBinary, &["framing/text-*", "utf8/*", "fragments/*"]),
        (Fault::CutsLongMessages, &["framing/binary-65536", "framing/binary-100000", "limits/message-1048576", "compression/binary-65536", "compression/binary-200000"]),
        (Fault::MasksItsFrames, &["framing/*", "control/*", "close/*"]),
    ];
    let checks = battery();
    for (fault, finders) in faults {
        let failed = failed(&checks, *fault);
        for finder in finders.iter().filter(|finder| !finder.ends_with('*')) {
            assert!(failed.contains(*finder), "{fault:?} is not found by {finder}; failed: {failed:?}");
        }
        for finder in finders.iter().filter_map(|finder| finder.strip_suffix('*')) {
            assert!(
                failed.iter().any(|id| id.starts_with(finder)),
                "{fault:?} is not found by any {finder}; failed: {failed:?}"
            );
        }
        let groups: BTreeSet<&str> = finders.iter().filter_map(|finder| finder.split('/').next()).collect();
        if *fault != Fault::MasksItsFrames && *fault != Fault::EchoesAsBinary && *fault != Fault::IgnoresPings {
            let others: Vec<_> = failed.iter().filter(|id| !groups.contains(id.split('/').next().unwrap())).collect();
            assert!(others.is_empty(), "{fault:?} fails others: {others:?}");
        }
    }
}

#[test]
fn a_wrong_accept_fails_everything() {
    let checks = battery();
    let opens = checks.iter().filter(|check| play(check, Fault::WrongAccept).outcome == Outcome::Failed).count();
    assert!(opens > 150, "{opens}");
}

#[test]
fn a_connection_that_stays_open_is_a_remark() {
    let checks = battery();
    let check = checks.iter().find(|check| check.id == "close/reason").unwrap();
    let verdict = play(check, Fault::KeepsTheConnection);
    assert_eq!(verdict.outcome, Outcome::Remark, "{verdict:?}");
    // An end, if not with the right code.
    for id in ["close/one-byte", "close/reason-not-utf8", "close/code-999"] {
        let check = checks.iter().find(|check| check.id == id).unwrap();
        assert_eq!(play(check, Fault::AnswersOddCloses).outcome, Outcome::Remark, "{id}");
    }
    let reason = play(check, Fault::BreaksItsUtf8);
    assert_eq!(reason.outcome, Outcome::Failed, "{reason:?}");
}
