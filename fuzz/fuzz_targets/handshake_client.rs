//! A response in any pieces: the same verdict however it is cut, bounded memory, and only the answer to our key is taken. And any request of a caller is refused or is what a server reads.
//!
//! Input: a byte of switches, the size of pieces, then the response, or the request's parts between NULs.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use switchboard_fuzz::{Input, bytes_held};
use switchboard_ws_proto::deflate::Policy;
use switchboard_ws_proto::handshake::{
    ClientHandshake, ClientRequest, ClientResponse, HEAD_BYTES_MAX, HandshakeError, ServerHandshake,
};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (switches, size) = (input.byte(), usize::from(input.byte()).max(1));
    if switches & REQUEST != 0 {
        return ask(input.rest());
    }
    let response = match switches & LONG {
        0 => input.rest().to_vec(),
        _ => input.rest().splitn(8, |byte| *byte == 0).collect::<Vec<_>>().join(&[b'a'; 16 * 1024][..]),
    };
    let offer = (switches & DEFLATE != 0).then(|| Policy::default().window_bits(9 + (switches >> 5)).offer());
    let whole = read(&response, response.len().max(1), offer);
    if let Ok(Some(_)) = &whole {
        assert!(response.windows(ACCEPT.len()).any(|part| part == ACCEPT), "an answer to another key was taken");
    }
    let (held, cut) = bytes_held(|| read(&response, size.max(response.len() / 512), offer));
    assert_eq!(show(&whole), show(&cut), "the same bytes, cut differently");
    assert!(held <= 4 * HEAD_BYTES_MAX + 8 * response.len() + 16 * 1024, "{held} bytes held for {}", response.len());
});

/// What answers the key that [`read`] sends (RFC 6455 §4.2.2).
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const LONG: u8 = 1;
const DEFLATE: u8 = 2;
const REQUEST: u8 = 4;

type Verdict = Result<Option<(ClientResponse, Vec<u8>)>, HandshakeError>;

fn read(bytes: &[u8], size: usize, deflate: Option<switchboard_ws_proto::deflate::Offer>) -> Verdict {
    let request = ClientRequest {
        subprotocols: vec!["chat".into(), "mqtt".into()],
        deflate,
        ..ClientRequest::new("example.org", "/")
    };
    let mut client = ClientHandshake::new(request, *b"the sample nonce").expect("a plain request");
    let mut buffer = BytesMut::new();
    let mut pieces = bytes.chunks(size);
    while let Some(piece) = pieces.next() {
        buffer.extend_from_slice(piece);
        if let Some(response) = client.receive(&mut buffer)? {
            buffer.extend(pieces.flatten());
            return Ok(Some((response, buffer.to_vec())));
        }
    }
    Ok(None)
}

/// Without the body, of which more or less may have come.
fn show(verdict: &Verdict) -> String {
    match verdict {
        Err(HandshakeError::Refused { status, reason, headers, .. }) => format!("{status} {reason} {headers:?}"),
        other => format!("{other:?}"),
    }
}

/// A caller's own parts reach the server as they are, or nothing does: no part may smuggle in another.
fn ask(parts: &[u8]) {
    let mut parts = parts.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
    let mut part = || parts.next().unwrap_or_default();
    let request = ClientRequest {
        origin: Some(part()).filter(|origin| !origin.is_empty()),
        subprotocols: Some(part()).into_iter().filter(|protocol| !protocol.is_empty()).collect(),
        headers: Some((part(), part())).into_iter().filter(|(name, _)| !name.is_empty()).collect(),
        ..ClientRequest::new(part(), part())
    };
    let Ok(client) = ClientHandshake::new(request.clone(), *b"the sample nonce") else { return };
    let mut server = ServerHandshake::new();
    // What the server does not like of a host or an origin it refuses; what it takes is what was said.
    if let Ok(found) = server.receive(&client.request()) {
        let found = found.expect("a request is written whole");
        assert!(server.into_leftover().is_empty());
        assert_eq!(found.target, request.target);
        assert_eq!(found.upgrade.subprotocols, request.subprotocols);
        for (name, value) in &request.headers {
            assert!(found.headers.get_all(name).any(|found| found == value.trim_matches([' ', '\t']).as_bytes()));
        }
    }
}
