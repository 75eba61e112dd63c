//! A request in any pieces: the same verdict however it is cut, at most 64 KiB held, no control character in a header, an answer that a client
//! understands.
//!
//! Input: a byte of switches, the size of pieces, then the request. With the switch `LONG`, each of the first NULs stands for 16 KiB of letters, so
//! that the limit is within reach; pieces are larger then, for the sake of time.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use switchboard_fuzz::{Input, bytes_held};
use switchboard_ws_proto::deflate::Policy;
use switchboard_ws_proto::handshake::{
    ClientHandshake, ClientRequest, HEAD_BYTES_MAX, HandshakeError, Rejection, ServerHandshake, ServerRequest,
};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (switches, size) = (input.byte(), usize::from(input.byte()).max(1));
    let request = match switches & LONG {
        0 => input.rest().to_vec(),
        _ => input.rest().splitn(8, |byte| *byte == 0).collect::<Vec<_>>().join(&[b'a'; 16 * 1024][..]),
    };
    let (whole, leftover) = read(&request, request.len().max(1));
    let (held, (cut, rest)) = bytes_held(|| read(&request, size.max(request.len() / 512)));
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"), "the same bytes, cut differently");
    assert!(held <= 4 * HEAD_BYTES_MAX + 4 * request.len() + 16 * 1024, "{held} bytes held for {}", request.len());
    match whole {
        Ok(Some(request)) => {
            assert_eq!(leftover, rest);
            upgrade(&request);
        }
        Ok(None) => assert!(request.len() < HEAD_BYTES_MAX),
        Err(rejection) => refuse(&rejection),
    }
});

const LONG: u8 = 1;

/// The verdict, and what came behind the head.
fn read(bytes: &[u8], size: usize) -> (Result<Option<ServerRequest>, Rejection>, Vec<u8>) {
    let mut handshake = ServerHandshake::new();
    let mut pieces = bytes.chunks(size);
    let verdict = loop {
        let Some(piece) = pieces.next() else { break Ok(None) };
        match handshake.receive(piece) {
            Ok(None) => {}
            verdict => break verdict,
        }
    };
    let mut leftover = handshake.into_leftover().to_vec();
    leftover.extend(pieces.flatten());
    (verdict, leftover)
}

/// Whatever may be upgraded is answered so that the client of that key is content.
fn upgrade(request: &ServerRequest) {
    assert!(request.headers.iter().count() > 0);
    for (name, value) in request.headers.iter() {
        // RFC 9110 §5.5: what a value may hold, without the spaces around it.
        let good = value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        assert!(good, "{name}: {value:?}");
    }
    // A header that is no list is refused, not a reason to fall over.
    drop(request.upgrade.deflate(&Policy::default()));
    let written = request.upgrade.key.as_ref().expect("over HTTP/1.1 there is a key");
    let decoded = STANDARD.decode(written).expect("a checked key is base64");
    let key: [u8; 16] = decoded.try_into().expect("a checked key has 16 bytes");
    for subprotocol in [None, request.upgrade.subprotocols.first().map(String::as_str)] {
        let offered = ClientRequest {
            subprotocols: request.upgrade.subprotocols.clone(),
            ..ClientRequest::new("example.org", "/")
        };
        let mut client = ClientHandshake::new(offered, key).expect("subprotocols were checked");
        let response = request.accept(subprotocol, &[]).expect("a subprotocol that was checked");
        let mut buffer = BytesMut::from(&response[..]);
        let agreed = client.receive(&mut buffer).expect("a good answer").expect("a whole answer");
        assert_eq!(agreed.subprotocol.as_deref(), subprotocol);
        assert!(buffer.is_empty());
    }
}

/// Whatever is refused is answered with HTTP.
fn refuse(rejection: &Rejection) {
    let mut client = ClientHandshake::new(ClientRequest::new("example.org", "/"), [0; 16]).expect("a plain request");
    let mut buffer = BytesMut::from(&rejection.response()[..]);
    match client.receive(&mut buffer) {
        Err(HandshakeError::Refused { status, .. }) => assert_eq!(status, rejection.status()),
        other => panic!("{rejection:?} is answered by {other:?}"),
    }
}
