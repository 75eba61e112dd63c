//! The opening handshake (RFC 6455 §4).

use super::{Check, Step, Want, echo};
use crate::check::frames;
use crate::check::response::Response;
use crate::check::run::is_open;
use crate::check::script::{Outcome, Request, Verdict};
use std::borrow::Cow;
use switchboard_ws_proto::Opcode;

pub(super) fn checks() -> Vec<Check> {
    [opening(), refusals(), negotiation(), sizes()].concat()
}

fn asked(request: Request, want: Want) -> Vec<Step> {
    vec![Step::Request(request), Step::Want(want)]
}

/// What must open.
fn opening() -> Vec<Check> {
    let opens = || Want::Response(is_open);
    vec![
        Check::new(
            "handshake/opens",
            "RFC 6455 §4.2.2",
            "An ordinary handshake opens, with the right Sec-WebSocket-Accept",
            vec![Step::Open],
        ),
        Check::new(
            "handshake/case",
            "RFC 6455 §4.2.1",
            "Header names and the words in Upgrade and Connection are compared without regard to case",
            asked(Request::with("upgrade", "WebSocket").replace("connection", "upgrade"), opens()),
        ),
        Check::new(
            "handshake/connection-list",
            "RFC 6455 §4.2.1",
            "Connection may list other words beside Upgrade",
            asked(Request::with("Connection", "keep-alive, Upgrade"), opens()),
        ),
        Check::new(
            "handshake/dripped",
            "RFC 6455 §4.2.1",
            "A handshake may arrive byte by byte",
            asked(Request { drip: Some(1), ..Request::default() }, opens()),
        ),
        Check::new(
            "handshake/frame-behind",
            "RFC 6455 §4.1",
            "A frame that arrives together with the handshake is not lost",
            vec![
                Step::Request(Request { behind: frames::text("early"), ..Request::default() }),
                Step::Want(Want::Response(is_open)),
                Step::Want(echo(Opcode::Text, "early")),
            ],
        ),
        Check::new(
            "handshake/other-headers",
            "RFC 6455 §4.2.1",
            "Unknown headers are ignored",
            asked(Request::default().and("X-Unknown", "1").and("X-Empty", ""), opens()),
        ),
    ]
}

/// What must not.
fn refusals() -> Vec<Check> {
    let no = |id: &'static str, clause: &'static str, title: &'static str, request| {
        Check::new(id, clause, title, asked(request, Want::Refused))
    };
    vec![
        no(
            "handshake/no-upgrade",
            "RFC 6455 §4.2.1 (3)",
            "A request without Upgrade opens no WebSocket",
            Request::without("Upgrade"),
        ),
        no(
            "handshake/upgrade-other",
            "RFC 6455 §4.2.1 (3)",
            "Nor does an upgrade to something else",
            Request::with("Upgrade", "h2c"),
        ),
        no(
            "handshake/no-connection",
            "RFC 6455 §4.2.1 (4)",
            "A request without Connection is refused",
            Request::without("Connection"),
        ),
        no(
            "handshake/connection-other",
            "RFC 6455 §4.2.1 (4)",
            "Connection must list Upgrade",
            Request::with("Connection", "keep-alive"),
        ),
        no(
            "handshake/no-key",
            "RFC 6455 §4.2.1 (5)",
            "A request without a key is refused",
            Request::without("Sec-WebSocket-Key"),
        ),
        no(
            "handshake/key-empty",
            "RFC 6455 §4.2.1 (5)",
            "An empty key is refused",
            Request::with("Sec-WebSocket-Key", ""),
        ),
        no(
            "handshake/key-short",
            "RFC 6455 §4.2.1 (5)",
            "A key of fewer than 16 bytes is refused",
            Request::with("Sec-WebSocket-Key", "c2hvcnQ="),
        ),
        no(
            "handshake/key-long",
            "RFC 6455 §4.2.1 (5)",
            "A key of more than 16 bytes is refused",
            Request::with("Sec-WebSocket-Key", "dGhpcyBpcyBtdWNoIHRvbyBsb25nIGEga2V5"),
        ),
        no(
            "handshake/key-not-base64",
            "RFC 6455 §4.2.1 (5)",
            "A key that is not base64 is refused",
            Request::with("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="),
        ),
        no(
            "handshake/method",
            "RFC 6455 §4.2.1 (1)",
            "Only GET opens",
            Request { method: Some("POST"), ..Request::default() },
        ),
        no(
            "handshake/http-1.0",
            "RFC 6455 §4.2.1 (1)",
            "HTTP/1.0 cannot be upgraded",
            Request { version: Some("HTTP/1.0"), ..Request::default() },
        ),
        no("handshake/no-host", "RFC 6455 §4.2.1 (2)", "A request without Host is refused", Request::without("Host")),
        Check::new(
            "handshake/version-older",
            "RFC 6455 §4.4",
            "Another version is refused with 426 and the versions that are spoken",
            asked(Request::with("Sec-WebSocket-Version", "12"), Want::Response(version_refused)),
        ),
        Check::new(
            "handshake/version-newer",
            "RFC 6455 §4.4",
            "A newer version too",
            asked(Request::with("Sec-WebSocket-Version", "14"), Want::Response(version_refused)),
        ),
        Check::new(
            "handshake/no-version",
            "RFC 6455 §4.2.1 (6)",
            "A request without a version is refused",
            asked(Request::without("Sec-WebSocket-Version"), Want::Refused),
        ),
        Check::new(
            "handshake/version-odd",
            "RFC 6455 §4.2.1 (6)",
            "A version that is no number is refused",
            asked(Request::with("Sec-WebSocket-Version", "13x"), Want::Refused),
        ),
        Check::new(
            "handshake/two-keys",
            "RFC 6455 §11.3.1",
            "Two keys are refused",
            asked(
                Request::default().and("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
                Want::Response(refused_at_best),
            ),
        ),
    ]
}

/// What is offered and not to be taken.
fn negotiation() -> Vec<Check> {
    vec![
        Check::new(
            "handshake/extension-unknown",
            "RFC 6455 §9.1",
            "An unknown extension is not agreed to",
            asked(Request::with("Sec-WebSocket-Extensions", "x-nobody-has-this; a=1"), Want::Response(no_extension)),
        ),
        Check::new(
            "handshake/extension-not-offered",
            "RFC 6455 §4.2.2",
            "No extension is agreed to that was not offered",
            asked(Request::default(), Want::Response(no_extension)),
        ),
        Check::new(
            "handshake/subprotocol-unknown",
            "RFC 6455 §4.2.2",
            "A subprotocol is selected among those offered, or none is",
            asked(Request::with("Sec-WebSocket-Protocol", "x-nobody-has-this"), Want::Response(subprotocol_of_offer)),
        ),
        Check::new(
            "handshake/extensions-malformed",
            "RFC 6455 §9.1",
            "A malformed list of extensions breaks nothing",
            asked(Request::with("Sec-WebSocket-Extensions", ";;,=,\"x"), Want::Response(no_extension)),
        ),
    ]
}

fn sizes() -> Vec<Check> {
    let many = (0..2_000).map(|n| (Cow::from(format!("X-Many-{n}")), Cow::from("v"))).collect();
    vec![
        Check::new(
            "handshake/header-huge",
            "RFC 6585 §5",
            "A header of a megabyte is refused",
            asked(Request::with("X-Huge", "x".repeat(1 << 20)), Want::Refused),
        ),
        Check::new(
            "handshake/headers-many",
            "RFC 6585 §5",
            "Two thousand headers end in an answer",
            asked(Request { add: many, ..Request::default() }, Want::Response(|_| Verdict::PASSED)),
        ),
    ]
}

impl Request {
    fn replace(mut self, name: &'static str, value: &'static str) -> Self {
        self.replace.push((name, Some(value.into())));
        self
    }
}

fn version_refused(response: &Response) -> Verdict {
    match response.status {
        101 => Verdict::failed("opened for a version that there is not"),
        426 if response.header("sec-websocket-version").is_some_and(|versions| versions.contains("13")) => {
            Verdict::PASSED
        }
        426 => Verdict::failed("426 without Sec-WebSocket-Version: a client cannot know which version to take"),
        400.. if response.header("sec-websocket-version").is_some() => Verdict::PASSED,
        status => Verdict::remark(format!("refused with {status} and no Sec-WebSocket-Version")),
    }
}

fn refused_at_best(response: &Response) -> Verdict {
    match response.status {
        101 => Verdict::remark("taken, though the header must not come twice"),
        _ => Verdict::PASSED,
    }
}

fn no_extension(response: &Response) -> Verdict {
    match response.header("sec-websocket-extensions") {
        Some(extension) if response.status == 101 => Verdict::failed(format!("agreed to {extension:?}")),
        _ if response.status >= 500 => Verdict::failed(format!("answered with status {}", response.status)),
        _ => Verdict::PASSED,
    }
}

fn subprotocol_of_offer(response: &Response) -> Verdict {
    let opened = is_open(response);
    match response.header("sec-websocket-protocol") {
        Some("x-nobody-has-this") => Verdict::remark("took a subprotocol of no meaning"),
        Some(other) => Verdict::failed(format!("selected {other:?}, which was not offered")),
        None if opened.outcome == Outcome::Failed => Verdict::remark("refused a client with no subprotocol in common"),
        None => Verdict::PASSED,
    }
}
