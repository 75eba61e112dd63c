//! What a client may make a server do and hold (RFC 6455 §10.4).

use super::{Check, Step, Want, letters, send};
use crate::check::frames::{all, fragment, odd_length, whole};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (length, name) in [(1 << 20, "1 MiB"), (16 << 20, "16 MiB")] {
        let payload = Bytes::from(letters(length));
        checks.push(Check::new(
            format!("limits/message-{length}"),
            "RFC 6455 §10.4",
            format!("A message of {name} is answered, or refused with 1009"),
            send(whole(Opcode::Binary, &payload), Want::EchoOrTooBig(Opcode::Binary, payload)),
        ));
    }
    let tiny: Vec<Bytes> = [fragment(Opcode::Text, b"x")]
        .into_iter()
        .chain((0..20_000).map(|_| fragment(Opcode::Continuation, b"x")))
        .chain([whole(Opcode::Continuation, b"x")])
        .collect();
    let empty: Vec<Bytes> = [fragment(Opcode::Text, b"x")]
        .into_iter()
        .chain((0..20_000).map(|_| fragment(Opcode::Continuation, b"")))
        .chain([whole(Opcode::Continuation, b"y")])
        .collect();
    checks.extend([
        Check::new(
            "limits/announced-2^62",
            "RFC 6455 §10.4",
            "A frame that announces 2^62 bytes is refused before they come",
            send(odd_length(0x82, 127, 1 << 62, b"few"), Want::Fail(&[1009, 1002])),
        ),
        Check::new(
            "limits/announced-2^32",
            "RFC 6455 §10.4",
            "So is one that announces 4 GiB, or it costs nothing",
            vec![
                Step::Open,
                Step::Send(odd_length(0x82, 127, 1 << 32, b"few")),
                Step::Want(Want::FailOrSilent(&[1009, 1002])),
            ],
        ),
        Check::new(
            "limits/fragments-tiny",
            "RFC 6455 §10.4",
            "Twenty thousand fragments of a byte are answered, or refused with 1009",
            send(all(tiny), Want::EchoOrTooBig(Opcode::Text, "x".repeat(20_002).into())),
        ),
        Check::new(
            "limits/fragments-empty",
            "RFC 6455 §10.4",
            "So are as many empty ones",
            send(all(empty), Want::EchoOrTooBig(Opcode::Text, "xy".into())),
        ),
    ]);
    checks
}
