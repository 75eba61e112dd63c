//! Pings and pongs (RFC 6455 §5.5.2, §5.5.3).

use super::{Check, Step, Want, echo, send};
use crate::check::frames::{all, odd_length, ping, text, whole};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;

pub(super) fn checks() -> Vec<Check> {
    let longest = Bytes::from(vec![b'p'; 125]);
    let pong = |payload: &'static [u8]| send(ping(payload), Want::Pong(Bytes::from_static(payload)));
    let ten = (0..10).map(|n| ping(&[n]));
    vec![
        Check::new("control/ping", "RFC 6455 §5.5.2", "A ping is answered", pong(b"are you there")),
        Check::new("control/ping-empty", "RFC 6455 §5.5.2", "An empty one too", pong(b"")),
        Check::new("control/ping-binary", "RFC 6455 §5.5.2", "Its payload is bytes", pong(b"\0\xff\xfe\x80")),
        Check::new(
            "control/ping-125",
            "RFC 6455 §5.5",
            "It may have 125 bytes",
            send(ping(&longest), Want::Pong(longest)),
        ),
        Check::new(
            "control/ping-126",
            "RFC 6455 §5.5",
            "But not 126",
            send(odd_length(0x89, 126, 126, &[b'p'; 126]), Want::Fail(&[1002])),
        ),
        Check::new(
            "control/pings",
            "RFC 6455 §5.5.3",
            "Of several pings the last one at least is answered",
            send(all(ten), Want::Pong(Bytes::from_static(&[9]))),
        ),
        Check::new(
            "control/ping-one-by-one",
            "RFC 6455 §5.5.2",
            "A ping may arrive byte by byte",
            vec![Step::Open, Step::Drip(ping(b"slow"), 1), Step::Want(Want::Pong("slow".into()))],
        ),
        Check::new(
            "control/pong-unsolicited",
            "RFC 6455 §5.5.3",
            "A pong that nobody asked for is ignored",
            send(all([whole(Opcode::Pong, b"by the way"), text("still here")]), echo(Opcode::Text, "still here")),
        ),
        Check::new(
            "control/pong-126",
            "RFC 6455 §5.5",
            "A pong has at most 125 bytes",
            send(odd_length(0x8a, 126, 126, &[b'p'; 126]), Want::Fail(&[1002])),
        ),
        Check::new(
            "control/ping-flood",
            "RFC 6455 §10.4",
            "A thousand pings are survived",
            send(all((0..1_000).map(|_| ping(b"flood"))), Want::Survive),
        ),
    ]
}
