//! Frames (RFC 6455 §5.2): lengths, masks, opcodes, reserved bits, and how they fall into segments.

use super::{Check, Step, Want, echo, letters, send};
use crate::check::frames::{self, frame, odd_length, text, whole};
use bytes::{Bytes, BytesMut};
use switchboard_ws_proto::Opcode;

pub(super) fn checks() -> Vec<Check> {
    [lengths(), masks(), reserved(), segments()].concat()
}

fn lengths() -> Vec<Check> {
    let mut checks = Vec::new();
    for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
        let payload = letters(length);
        // Many servers take no more than 64 KiB.
        let may_refuse = |opcode, payload: Vec<u8>| match length {
            ..=65_536 => echo(opcode, payload),
            _ => Want::EchoOrTooBig(opcode, payload.into()),
        };
        for (opcode, name) in [(Opcode::Text, "text"), (Opcode::Binary, "binary")] {
            checks.push(Check::new(
                format!("framing/{name}-{length}"),
                "RFC 6455 §5.2",
                format!("A {name} message of {length} bytes"),
                send(whole(opcode, &payload), may_refuse(opcode, payload.clone())),
            ));
        }
    }
    let wordy = |form| odd_length(0x81, form, 5, b"hello");
    checks.extend([
        Check::new(
            "framing/length-16-not-minimal",
            "RFC 6455 §5.2",
            "A length in 16 bits where 7 would do is wrong",
            send(wordy(126), Want::FailOrAlive(&[1002])),
        ),
        Check::new(
            "framing/length-64-not-minimal",
            "RFC 6455 §5.2",
            "A length in 64 bits where 7 would do is wrong",
            send(wordy(127), Want::FailOrAlive(&[1002])),
        ),
        Check::new(
            "framing/length-top-bit",
            "RFC 6455 §5.2",
            "The highest bit of a 64-bit length must be 0",
            send(odd_length(0x82, 127, 1 << 63 | 5, b"hello"), Want::Fail(&[1002, 1009])),
        ),
    ]);
    checks
}

fn masks() -> Vec<Check> {
    let zero = Bytes::from_static(b"\x81\x85\0\0\0\0zeros");
    let bare = Bytes::from_static(b"\x81\x04bare");
    vec![
        Check::new(
            "framing/unmasked",
            "RFC 6455 §5.1",
            "An unmasked frame of a client fails the connection",
            send(bare, Want::Fail(&[1002])),
        ),
        Check::new(
            "framing/unmasked-empty",
            "RFC 6455 §5.1",
            "Even an empty one",
            send(Bytes::from_static(b"\x81\0"), Want::Fail(&[1002])),
        ),
        Check::new(
            "framing/unmasked-ping",
            "RFC 6455 §5.1",
            "Or a ping",
            send(Bytes::from_static(b"\x89\0"), Want::Fail(&[1002])),
        ),
        Check::new(
            "framing/mask-zero",
            "RFC 6455 §5.3",
            "A masking key of zeros is a key",
            send(zero, echo(Opcode::Text, "zeros")),
        ),
    ]
}

fn reserved() -> Vec<Check> {
    let mut checks = Vec::new();
    for rsv in 1..8_u8 {
        checks.push(Check::new(
            format!("framing/rsv-{rsv:03b}"),
            "RFC 6455 §5.2",
            format!("A text with the reserved bits {rsv:03b} fails the connection"),
            send(frame(0x81 | rsv << 4, b"reserved"), Want::Fail(&[1002])),
        ));
    }
    checks.push(Check::new(
        "framing/rsv-on-ping",
        "RFC 6455 §5.2",
        "So does a ping with one",
        send(frame(0x89 | 0x20, b"reserved"), Want::Fail(&[1002])),
    ));
    checks.push(Check::new(
        "framing/rsv-on-close",
        "RFC 6455 §5.2",
        "Or a Close",
        send(frame(0x88 | 0x10, b""), Want::Fail(&[1002])),
    ));
    for opcode in [3_u8, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        checks.push(Check::new(
            format!("framing/opcode-{opcode}"),
            "RFC 6455 §5.2",
            format!("The reserved opcode {opcode} fails the connection"),
            send(frame(0x80 | opcode, b"reserved"), Want::Fail(&[1002])),
        ));
    }
    checks.push(Check::new(
        "framing/opcode-after-message",
        "RFC 6455 §5.2",
        "After a message, too: the message is answered, the rest fails",
        vec![
            Step::Open,
            Step::Send(frames::all([text("good"), frame(0x83, b"bad")])),
            Step::Want(Want::EchoAtBest(Opcode::Text, "good".into())),
            Step::Want(Want::Fail(&[1002])),
        ],
    ));
    checks
}

fn segments() -> Vec<Check> {
    let several: Vec<Bytes> = (0..50).map(|n| text(&format!("message {n}"))).collect();
    let echoes = (0..50).map(|n| Step::Want(echo(Opcode::Text, format!("message {n}"))));
    let payload = letters(300);
    let mut cut = BytesMut::new();
    cut.extend_from_slice(&text("cut anywhere"));
    cut.extend_from_slice(&whole(Opcode::Binary, &payload));
    vec![
        Check::new(
            "framing/one-by-one",
            "RFC 6455 §5.2",
            "Frames may arrive byte by byte",
            vec![
                Step::Open,
                Step::Drip(cut.freeze(), 1),
                Step::Want(echo(Opcode::Text, "cut anywhere")),
                Step::Want(echo(Opcode::Binary, payload)),
            ],
        ),
        Check::new(
            "framing/together",
            "RFC 6455 §5.2",
            "Fifty frames may arrive at once, and are answered in order",
            [Step::Open, Step::Send(frames::all(several))].into_iter().chain(echoes).collect(),
        ),
    ]
}
