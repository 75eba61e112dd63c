//! permessage-deflate (RFC 7692). Where the server takes no compression, nothing of this applies.

use super::{Check, Step, Want, echo, letters};
use crate::check::frames::{all, fragment, frame, text, whole};
use crate::check::response::Response;
use crate::check::script::{Request, Verdict};
use bytes::Bytes;
use switchboard_ws_proto::Opcode;
use switchboard_ws_proto::deflate::{Tuning, compress_frame};

const PLAIN: &str = "permessage-deflate";
const EACH_ALONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

pub(super) fn checks() -> Vec<Check> {
    [offers(), messages(), streams(), wrong()].concat()
}

/// What an offer may say, and what it may not.
fn offers() -> Vec<Check> {
    let fits = |id: &'static str, title: &'static str, offer| {
        Check::new(
            id,
            "RFC 7692 §7.1",
            title,
            vec![
                Step::OpenWith(offer),
                Step::SendCompressed(Opcode::Text, "hello hello hello".into()),
                Step::Want(echo(Opcode::Text, "hello hello hello")),
            ],
        )
    };
    let declined = |id: &'static str, title: &'static str, offer: &'static str| {
        let steps = vec![
            Step::Request(Request::with("Sec-WebSocket-Extensions", offer)),
            Step::Want(Want::Response(not_taken)),
        ];
        Check::new(id, "RFC 7692 §7.1", title, steps)
    };
    vec![
        fits("compression/offer", "An offer without parameters gives an answer that fits it", PLAIN),
        fits("compression/offer-alone", "So does one without context takeover", EACH_ALONE),
        fits(
            "compression/offer-server-alone",
            "If the server is asked to begin anew with each message, it says that it does",
            "permessage-deflate; server_no_context_takeover",
        ),
        fits(
            "compression/offer-client-bits",
            "The client's window is not made larger than offered",
            "permessage-deflate; client_max_window_bits=10",
        ),
        fits(
            "compression/offer-client-bits-any",
            "It may be left to the server",
            "permessage-deflate; client_max_window_bits",
        ),
        fits(
            "compression/offer-server-bits",
            "The server keeps to the window that it is asked for",
            "permessage-deflate; server_max_window_bits=9",
        ),
        declined(
            "compression/offer-unknown",
            "An offer with an unknown parameter is declined",
            "permessage-deflate; x_unknown=1",
        ),
        declined(
            "compression/offer-twice",
            "One that says a thing twice is declined",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        ),
        declined(
            "compression/offer-bits-7",
            "A window of 7 bits is declined",
            "permessage-deflate; server_max_window_bits=7",
        ),
        declined(
            "compression/offer-bits-16",
            "A window of 16 bits is declined",
            "permessage-deflate; server_max_window_bits=16",
        ),
        declined(
            "compression/offer-bits-word",
            "A window that is no number is declined",
            "permessage-deflate; server_max_window_bits=many",
        ),
        declined(
            "compression/offer-bits-zero",
            "A number is written without a zero in front",
            "permessage-deflate; server_max_window_bits=010",
        ),
        declined(
            "compression/offer-value",
            "A parameter that takes no value is declined with one",
            "permessage-deflate; client_no_context_takeover=1",
        ),
        Check::new(
            "compression/offer-second",
            "RFC 7692 §7.1",
            "If the first offer cannot be taken, the second may",
            vec![
                Step::Request(Request::with(
                    "Sec-WebSocket-Extensions",
                    "permessage-deflate; x_unknown, permessage-deflate",
                )),
                Step::Want(Want::Response(|response| match response.header("sec-websocket-extensions") {
                    Some(taken) if taken.contains("x_unknown") => Verdict::failed(format!("agreed to {taken:?}")),
                    Some(_) => Verdict::PASSED,
                    None => Verdict::not_applicable("neither offer was taken"),
                })),
            ],
        ),
    ]
}

fn not_taken(response: &Response) -> Verdict {
    match response.header("sec-websocket-extensions") {
        Some(taken) => Verdict::failed(format!("agreed to {taken:?}")),
        None if response.status == 101 => Verdict::PASSED,
        None => Verdict::remark(format!("refused the handshake with {}, where no extension would do", response.status)),
    }
}

fn messages() -> Vec<Check> {
    let mut checks = Vec::new();
    for (offer, name) in [(PLAIN, "with-context"), (EACH_ALONE, "alone")] {
        let mut steps = vec![Step::OpenWith(offer)];
        for n in 0..20 {
            let message =
                Bytes::from(format!(r#"{{"symbol":"ACME","price":{n},"venue":"somewhere","currency":"EUR"}}"#));
            steps.push(Step::SendCompressed(Opcode::Text, message.clone()));
            steps.push(Step::Want(echo(Opcode::Text, message)));
        }
        checks.push(Check::new(
            format!("compression/messages-{name}"),
            "RFC 7692 §7.2.2",
            "Messages in a row are inflated",
            steps,
        ));
    }
    for length in [0, 1, 125, 65_536, 200_000] {
        let payload = Bytes::from(letters(length));
        checks.push(Check::new(
            format!("compression/binary-{length}"),
            "RFC 7692 §7.2.2",
            format!("A compressed message of {length} bytes is inflated"),
            vec![
                Step::OpenWith(PLAIN),
                Step::SendCompressed(Opcode::Binary, payload.clone()),
                Step::Want(echo(Opcode::Binary, payload)),
            ],
        ));
    }
    checks.push(Check::new(
        "compression/plain-message",
        "RFC 7692 §6",
        "A message may go uncompressed all the same",
        vec![Step::OpenWith(PLAIN), Step::Send(text("plain")), Step::Want(echo(Opcode::Text, "plain"))],
    ));
    checks
}

/// A message's compressed bytes, without the frame. It must be one that gets smaller.
fn deflated(payload: &[u8]) -> Bytes {
    let whole = compress_frame(Opcode::Binary, payload, 15, Tuning { level: 6, message_bytes_min: 0 });
    let header = switchboard_ws_proto::FrameHeader::parse(&whole).ok().flatten().map_or(0, |(_, length)| length);
    whole.slice(header..)
}

/// Forms of the stream that a compressor of another kind may give.
fn streams() -> Vec<Check> {
    const RSV1_TEXT: u8 = 0xc1;
    let hello = deflated(b"hello hello hello");
    let (one, two) = (hello.slice(..hello.len() / 2), hello.slice(hello.len() / 2..));
    let with = |id: &'static str, clause: &'static str, title: &'static str, bytes: Bytes, payload: &'static str| {
        Check::new(
            id,
            clause,
            title,
            vec![Step::OpenWith(EACH_ALONE), Step::Send(bytes), Step::Want(echo(Opcode::Text, payload))],
        )
    };
    vec![
        with(
            "compression/fragments",
            "RFC 7692 §6.1",
            "A compressed message may be cut into fragments, of which the first has RSV1",
            all([frame(0x41, &one), whole(Opcode::Continuation, &two)]),
            "hello hello hello",
        ),
        with(
            "compression/fragment-empty",
            "RFC 7692 §6.1",
            "The last may be empty",
            all([frame(0x41, &hello), whole(Opcode::Continuation, b"")]),
            "hello hello hello",
        ),
        with(
            "compression/stored",
            "RFC 7692 §7.2.3.3",
            "A block without compression is a block",
            frame(RSV1_TEXT, b"\x00\x05\x00\xfa\xffHello\x00"),
            "Hello",
        ),
        with(
            "compression/final-block",
            "RFC 7692 §7.2.3.4",
            "A block may be marked as the last",
            frame(RSV1_TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),
            "Hello",
        ),
        with(
            "compression/two-blocks",
            "RFC 7692 §7.2.3.5",
            "A message may have several blocks",
            frame(RSV1_TEXT, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
            "Hello",
        ),
        with(
            "compression/empty-block",
            "RFC 7692 §7.2.3.6",
            "An empty message is one empty block",
            frame(RSV1_TEXT, b"\x00"),
            "",
        ),
    ]
}

fn wrong() -> Vec<Check> {
    let no = |id: &'static str, clause: &'static str, title: &'static str, bytes: Bytes, codes| {
        Check::new(
            id,
            clause,
            title,
            vec![Step::OpenWith(EACH_ALONE), Step::Send(bytes), Step::Want(Want::Fail(codes))],
        )
    };
    let zeros = Bytes::from(vec![0; 32 << 20]);
    let hello = deflated(b"hello hello hello hello");
    vec![
        no(
            "compression/rsv1-on-continuation",
            "RFC 7692 §6.1",
            "RSV1 on a later fragment fails the connection",
            all([frame(0x41, &hello), frame(0xc0, b"\0")]),
            &[1002],
        ),
        no("compression/rsv1-on-ping", "RFC 7692 §6", "RSV1 on a ping does", frame(0xc9, b""), &[1002]),
        no(
            "compression/garbage",
            "RFC 7692 §7.2.2",
            "Bytes that are no deflate stream do",
            frame(0xc1, b"\xff\xff\xff\xff\xff\xff"),
            &[1002, 1003, 1007],
        ),
        no(
            "compression/text-not-utf8",
            "RFC 6455 §8.1",
            "Text that is not UTF-8 once it is inflated does",
            frame(0xc1, &deflated(b"caf\xe9! caf\xe9! caf\xe9! caf\xe9!")),
            &[1007],
        ),
        no(
            "compression/far-back",
            "RFC 7692 §7.2.2",
            "A reference to before the message, without context takeover, does",
            frame(0xc1, b"\x02\x02\x00\x00"),
            &[1002, 1003, 1007],
        ),
        Check::new(
            "compression/bomb",
            "RFC 7692 §8",
            "A message that inflates to 32 MiB is answered, or refused with 1009",
            vec![
                Step::OpenWith(EACH_ALONE),
                Step::SendCompressed(Opcode::Binary, zeros.clone()),
                Step::Want(Want::EchoOrTooBig(Opcode::Binary, zeros)),
            ],
        ),
        Check::new(
            "compression/cut-off",
            "RFC 7692 §7.2.2",
            "Fragments without their end leave the connection alive",
            vec![
                Step::OpenWith(PLAIN),
                Step::Send(all([fragment(Opcode::Binary, b"plain begins"), whole(Opcode::Continuation, b" and ends")])),
                Step::Want(echo(Opcode::Binary, "plain begins and ends")),
            ],
        ),
    ]
}
