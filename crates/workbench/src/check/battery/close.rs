//! The closing handshake (RFC 6455 §5.5.1, §7).

use super::{Check, Step, Want, send};
use crate::check::frames::{all, close, odd_length, ping, text, whole};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;

pub(super) fn checks() -> Vec<Check> {
    [forms(), codes(), after()].concat()
}

fn forms() -> Vec<Check> {
    let longest = [b'r'; 123];
    let mut too_long = vec![0x03, 0xe8];
    too_long.extend([b'r'; 124]);
    vec![
        Check::new(
            "close/empty",
            "RFC 6455 §5.5.1",
            "A Close without a code is answered, then the server ends the connection",
            send(whole(Opcode::Close, b""), Want::Closed(&[1000, 1005])),
        ),
        Check::new(
            "close/reason",
            "RFC 6455 §5.5.1",
            "One with a reason too",
            send(close(1000, b"bye"), Want::Closed(&[1000])),
        ),
        Check::new(
            "close/reason-utf8",
            "RFC 6455 §5.5.1",
            "The reason is UTF-8",
            send(close(1000, "κόσμε".as_bytes()), Want::Closed(&[1000])),
        ),
        Check::new(
            "close/reason-longest",
            "RFC 6455 §5.5",
            "It may have 123 bytes",
            send(close(1000, &longest), Want::Closed(&[1000])),
        ),
        Check::new(
            "close/too-long",
            "RFC 6455 §5.5",
            "But not 124",
            send(odd_length(0x88, 126, 126, &too_long), Want::Fail(&[1002])),
        ),
        Check::new(
            "close/one-byte",
            "RFC 6455 §5.5.1",
            "A Close with one byte fails the connection",
            send(whole(Opcode::Close, b"\x03"), Want::Fail(&[1002])),
        ),
        Check::new(
            "close/reason-not-utf8",
            "RFC 6455 §5.5.1",
            "So does a reason that is not UTF-8",
            send(close(1000, b"\xce\xba\xff"), Want::Fail(&[1007, 1002])),
        ),
        Check::new(
            "close/one-by-one",
            "RFC 6455 §5.5.1",
            "A Close may arrive byte by byte",
            vec![Step::Open, Step::Drip(close(1000, b"slow"), 1), Step::Want(Want::Closed(&[1000]))],
        ),
    ]
}

fn codes() -> Vec<Check> {
    let mut checks = Vec::new();
    // One array a code: what is wanted lives as long as the program.
    const GOOD: [[u16; 1]; 14] = [
        [1000],
        [1001],
        [1002],
        [1003],
        [1007],
        [1008],
        [1009],
        [1010],
        [1011],
        [3000],
        [3999],
        [4000],
        [4500],
        [4999],
    ];
    for code in &GOOD {
        let [number] = code;
        checks.push(Check::new(
            format!("close/code-{number}"),
            "RFC 6455 §7.4",
            format!("A Close with {number} is answered with it"),
            send(close(*number, b""), Want::Closed(code)),
        ));
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999] {
        checks.push(Check::new(
            format!("close/code-{code}"),
            "RFC 6455 §7.4",
            format!("A Close with {code}, which must not be sent, fails the connection"),
            send(close(code, b""), Want::Fail(&[1002])),
        ));
    }
    for code in [5000, 65_535] {
        checks.push(Check::new(
            format!("close/code-{code}"),
            "RFC 6455 §7.4.2 (says nothing of it)",
            format!("A Close with {code} ends the connection somehow"),
            send(close(code, b""), Want::Closed(&[])),
        ));
    }
    checks
}

fn after() -> Vec<Check> {
    let end = || close(1000, b"");
    vec![
        Check::new(
            "close/after-message",
            "RFC 6455 §7.1.2",
            "What came before a Close is answered before it",
            vec![
                Step::Open,
                Step::Send(all([text("first"), end()])),
                Step::Want(Want::EchoAtBest(Opcode::Text, "first".into())),
                Step::Want(Want::Closed(&[1000])),
            ],
        ),
        Check::new(
            "close/message-behind",
            "RFC 6455 §5.5.1",
            "A message behind a Close is not answered",
            vec![
                Step::Open,
                Step::Send(all([end(), text("too late")])),
                Step::Want(Want::NoData),
                Step::Want(Want::Closed(&[1000])),
            ],
        ),
        Check::new(
            "close/ping-behind",
            "RFC 6455 §5.5.1",
            "A ping behind a Close changes nothing",
            send(all([end(), ping(b"late")]), Want::Closed(&[1000])),
        ),
        Check::new(
            "close/twice",
            "RFC 6455 §5.5.1",
            "A second Close changes nothing",
            send(all([end(), end()]), Want::Closed(&[1000])),
        ),
        Check::new(
            "close/garbage-behind",
            "RFC 6455 §7.1.7",
            "Nor do bytes of no meaning",
            send(all([end(), Bytes::from_static(b"\xff\xff\xff\xff")]), Want::Closed(&[1000])),
        ),
        Check::new(
            "close/half",
            "RFC 6455 §7.1.1",
            "A client that ends its half without a Close is let go",
            vec![Step::Open, Step::ShutDown, Step::Want(Want::End)],
        ),
    ]
}
