//! Fragmentation (RFC 6455 §5.4).

use super::{Check, Step, Want, echo, send};
use crate::check::frames::{all, fragment, frame, ping, text, whole};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;

const CLAUSE: &str = "RFC 6455 §5.4";

fn last(payload: &[u8]) -> Bytes {
    whole(Opcode::Continuation, payload)
}

fn more(payload: &[u8]) -> Bytes {
    fragment(Opcode::Continuation, payload)
}

fn begin(payload: &[u8]) -> Bytes {
    fragment(Opcode::Text, payload)
}

pub(super) fn checks() -> Vec<Check> {
    [good(), interleaved(), bad()].concat()
}

fn good() -> Vec<Check> {
    let hundred = (0..98).map(|_| more(b"x"));
    let hundred: Vec<Bytes> = [begin(b"x")].into_iter().chain(hundred).chain([last(b"x")]).collect();
    let yes = |id, title, frames, opcode, payload: Bytes| {
        Check::new(id, CLAUSE, title, send(all(frames), echo(opcode, payload)))
    };
    vec![
        yes(
            "fragments/two",
            "Two fragments are one message",
            vec![begin(b"hel"), last(b"lo")],
            Opcode::Text,
            "hello".into(),
        ),
        yes(
            "fragments/binary",
            "Of bytes too",
            vec![fragment(Opcode::Binary, b"\0\xff"), last(b"\xfe")],
            Opcode::Binary,
            Bytes::from_static(b"\0\xff\xfe"),
        ),
        yes("fragments/hundred", "A hundred fragments are one message", hundred, Opcode::Text, "x".repeat(100).into()),
        yes(
            "fragments/empty-first",
            "The first may be empty",
            vec![begin(b""), last(b"all")],
            Opcode::Text,
            "all".into(),
        ),
        yes(
            "fragments/empty-middle",
            "One in between may be empty",
            vec![begin(b"a"), more(b""), last(b"b")],
            Opcode::Text,
            "ab".into(),
        ),
        yes(
            "fragments/empty-last",
            "The last may be empty",
            vec![begin(b"all"), last(b"")],
            Opcode::Text,
            "all".into(),
        ),
        yes(
            "fragments/all-empty",
            "All may be empty",
            vec![begin(b""), more(b""), last(b"")],
            Opcode::Text,
            Bytes::new(),
        ),
        Check::new(
            "fragments/one-by-one",
            CLAUSE,
            "Fragments may arrive byte by byte",
            vec![Step::Open, Step::Drip(all([begin(b"hel"), last(b"lo")]), 1), Step::Want(echo(Opcode::Text, "hello"))],
        ),
    ]
}

fn interleaved() -> Vec<Check> {
    vec![
        Check::new(
            "fragments/ping-between",
            CLAUSE,
            "A ping between two fragments is answered at once",
            vec![
                Step::Open,
                Step::Send(all([begin(b"hel"), ping(b"now")])),
                Step::Want(Want::Pong("now".into())),
                Step::Send(last(b"lo")),
                Step::Want(echo(Opcode::Text, "hello")),
            ],
        ),
        Check::new(
            "fragments/pong-between",
            CLAUSE,
            "A pong between two fragments is ignored",
            send(all([begin(b"hel"), whole(Opcode::Pong, b"x"), last(b"lo")]), echo(Opcode::Text, "hello")),
        ),
        Check::new(
            "fragments/close-between",
            CLAUSE,
            "A Close between two fragments is answered",
            vec![
                Step::Open,
                Step::Send(all([begin(b"hel"), crate::check::frames::close(1000, b"")])),
                Step::Want(Want::Closed(&[1000])),
            ],
        ),
    ]
}

fn bad() -> Vec<Check> {
    let no = |id, title, frames: Vec<Bytes>| Check::new(id, CLAUSE, title, send(all(frames), Want::Fail(&[1002])));
    vec![
        no("fragments/continues-nothing", "A last fragment without a first one fails the connection", vec![last(b"x")]),
        no("fragments/continues-nothing-open", "So does one that is not the last", vec![more(b"x"), last(b"y")]),
        no(
            "fragments/text-within",
            "A text within a fragmented message does",
            vec![begin(b"a"), text("b"), last(b"c")],
        ),
        no(
            "fragments/binary-within",
            "Bytes within one do",
            vec![begin(b"a"), whole(Opcode::Binary, b"b"), last(b"c")],
        ),
        no("fragments/begun-twice", "A second beginning does", vec![begin(b"a"), begin(b"b"), last(b"c")]),
        no("fragments/ping", "A fragmented ping does", vec![frame(0x09, b"frag")]),
        no("fragments/pong", "A fragmented pong does", vec![frame(0x0a, b"frag")]),
        no("fragments/close", "A fragmented Close does", vec![frame(0x08, b"\x03\xe8")]),
        Check::new(
            "fragments/continues-after-end",
            CLAUSE,
            "A continuation after the message has ended fails the connection",
            vec![
                Step::Open,
                Step::Send(all([begin(b"a"), last(b"b"), last(b"c")])),
                Step::Want(Want::EchoAtBest(Opcode::Text, "ab".into())),
                Step::Want(Want::Fail(&[1002])),
            ],
        ),
    ]
}
