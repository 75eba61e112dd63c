//! Text is UTF-8 (RFC 6455 §8.1, RFC 3629).

use super::{Check, Step, Want, echo, send};
use crate::check::frames::{all, fragment, whole};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;

const CLAUSE: &str = "RFC 6455 §8.1";

const GOOD: &[(&str, &str, &str)] = &[
    ("two-bytes", "Characters of two bytes", "\u{80}\u{7ff}äöü"),
    ("three-bytes", "Of three", "\u{800}\u{ffff}κόσμε\u{d7ff}\u{e000}"),
    ("four-bytes", "Of four", "\u{10000}\u{10ffff}😀"),
    ("bom", "A byte order mark is a character like others", "\u{feff}mark"),
    ("noncharacters", "Noncharacters may be sent", "\u{fffe}\u{ffff}\u{1fffe}\u{fdd0}"),
    ("nul", "So may U+0000", "a\0b"),
];

const BAD: &[(&str, &str, &[u8])] = &[
    ("lone-continuation", "A continuation byte alone is not", b"a\x80b"),
    ("lone-lead", "Nor is a lead byte alone", b"a\xc3"),
    ("overlong-2", "A NUL in two bytes is not", b"\xc0\x80"),
    ("overlong-3", "A slash in three bytes is not", b"\xe0\x80\xaf"),
    ("overlong-4", "A slash in four bytes is not", b"\xf0\x80\x80\xaf"),
    ("surrogate-high", "U+D800 is not", b"\xed\xa0\x80"),
    ("surrogate-low", "U+DFFF is not", b"\xed\xbf\xbf"),
    ("surrogate-pair", "A pair of surrogates is not", b"\xed\xa0\xbd\xed\xb8\x80"),
    ("beyond", "U+110000 is not", b"\xf4\x90\x80\x80"),
    ("five-bytes", "A sequence of five bytes is not", b"\xf8\x88\x80\x80\x80"),
    ("fe-ff", "FE and FF are not", b"\xfe\xff"),
    ("latin-1", "Latin-1 is not", b"caf\xe9!"),
    ("late", "An error at the end of a long text is found", &LATE),
];

static LATE: [u8; 2_000] = {
    let mut text = [b'a'; 2_000];
    text[1_999] = 0xff;
    text
};

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (id, title, text) in GOOD {
        checks.push(Check::new(
            format!("utf8/{id}"),
            CLAUSE,
            *title,
            send(whole(Opcode::Text, text.as_bytes()), echo(Opcode::Text, *text)),
        ));
    }
    let poem = "κόσμε 😀 ä";
    let bytes = poem.as_bytes();
    let pieces: Vec<Bytes> = bytes
        .chunks(1)
        .enumerate()
        .map(|(index, byte)| match index {
            0 => fragment(Opcode::Text, byte),
            _ if index + 1 == bytes.len() => whole(Opcode::Continuation, byte),
            _ => fragment(Opcode::Continuation, byte),
        })
        .collect();
    checks.push(Check::new(
        "utf8/cut-in-characters",
        CLAUSE,
        "A fragment may end within a character",
        send(all(pieces), echo(Opcode::Text, poem)),
    ));
    checks.push(Check::new(
        "utf8/binary-is-free",
        "RFC 6455 §5.6",
        "Bytes need not be UTF-8",
        send(whole(Opcode::Binary, b"\xff\xfe\x80"), echo(Opcode::Binary, Bytes::from_static(b"\xff\xfe\x80"))),
    ));
    for (id, title, bytes) in BAD {
        checks.push(Check::new(
            format!("utf8/not-{id}"),
            CLAUSE,
            *title,
            send(whole(Opcode::Text, bytes), Want::Fail(&[1007])),
        ));
    }
    checks.extend([
        Check::new(
            "utf8/not-over-fragments",
            CLAUSE,
            "What is not UTF-8 over two fragments is not",
            send(all([fragment(Opcode::Text, b"a\xe2\x82"), whole(Opcode::Continuation, b"b")]), Want::Fail(&[1007])),
        ),
        Check::new(
            "utf8/not-cut-off",
            CLAUSE,
            "A message that ends within a character is not",
            send(all([fragment(Opcode::Text, b"a"), whole(Opcode::Continuation, b"\xe2\x82")]), Want::Fail(&[1007])),
        ),
        Check::new(
            "utf8/fails-early",
            "RFC 6455 §8.1 (at once or at the end is open)",
            "Text that is wrong already fails before its message ends",
            vec![Step::Open, Step::Send(fragment(Opcode::Text, b"wrong \xff")), Step::Want(Want::FailOrAlive(&[1007]))],
        ),
    ]);
    checks
}
