//! The opening handshake (RFC 6455 §4), both sides.
#![allow(clippy::disallowed_methods, reason = "tests of how long parsing takes need a clock")]

use std::time::{Duration, Instant};

use bytes::BytesMut;
use proptest::prelude::*;
use switchboard_ws_proto::handshake::{
    ClientHandshake, ClientRequest, ClientResponse, ConnectHandshake, HandshakeError, HttpVersion, Rejection,
    ServerHandshake, ServerRequest, UpgradeRequest, accept_response, error_response,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The headers that make a handshake, with those of `replace` instead of or besides them; a value of `-` leaves one out.
fn request(line: &str, replace: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        ("Host", "example.org"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ];
    let kept = usual.iter().filter(|(name, _)| !replace.iter().any(|(replaced, _)| replaced == name));
    let headers = kept.chain(replace.iter().filter(|(_, value)| *value != "-"));
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n").into_bytes()
}

fn receive(bytes: &[u8]) -> Result<Option<ServerRequest>, Rejection> {
    ServerHandshake::new().receive(bytes)
}

#[track_caller]
fn status(line: &str, replace: &[(&str, &str)]) -> u16 {
    match receive(&request(line, replace)) {
        Ok(Some(_)) => 101,
        Ok(None) => 0,
        Err(rejection) => {
            let response = rejection.response();
            assert!(response.starts_with(format!("HTTP/1.1 {} ", rejection.status()).as_bytes()), "{response:?}");
            rejection.status()
        }
    }
}

const GET: &str = "GET /chat?x=1 HTTP/1.1";

#[test]
fn requests_and_their_statuses() {
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[], 101),
        (&[("Connection", "keep-alive, Upgrade")], 101),
        (&[("Connection", "UPGRADE"), ("Upgrade", "WebSocket")], 101),
        (&[("Connection", "keep-alive"), ("connection", "upgrade")], 101),
        (&[("Upgrade", "h2c, websocket")], 101),
        (&[("Content-Length", "0")], 101),
        (&[("Host", "-")], 400),
        (&[("Host", "a"), ("host", "b")], 400),
        (&[("Upgrade", "-")], 426),
        (&[("Upgrade", "websockets")], 426),
        (&[("Upgrade", "h2c")], 426),
        (&[("Connection", "-")], 400),
        (&[("Connection", "close")], 400),
        (&[("Sec-WebSocket-Version", "-")], 400),
        (&[("Sec-WebSocket-Version", "8")], 426),
        (&[("Sec-WebSocket-Version", "13, 8")], 426),
        (&[("Sec-WebSocket-Version", "13"), ("sec-websocket-version", "13")], 400),
        (&[("Sec-WebSocket-Key", "-")], 400),
        // The standard's own example of a key (§4.1), whose last bits are not zero.
        (&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC==")], 101),
        (&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEC=")], 400),
        (&[("Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4P-C==")], 400),
        (&[("Sec-WebSocket-Key", "")], 400),
        (&[("Sec-WebSocket-Key", "c2hvcnQ=")], 400),
        (&[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ")], 400),
        (&[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZSE=")], 400),
        (&[("Sec-WebSocket-Key", KEY), ("sec-websocket-key", KEY)], 400),
        (&[("Sec-WebSocket-Protocol", "a b")], 400),
        (&[("Sec-WebSocket-Protocol", "a, \"b\"")], 400),
        (&[("Sec-WebSocket-Protocol", "a,,b")], 101),
        (&[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")], 101),
        (&[("Origin", "https://a"), ("origin", "https://b")], 400),
        (&[("Transfer-Encoding", "chunked")], 400),
        (&[("Content-Length", "5")], 400),
        (&[("X-Bad\u{1}", "x")], 400),
        (&[("Bad Name", "x")], 400),
    ];
    for (replace, expected) in table {
        assert_eq!(status(GET, replace), *expected, "{replace:?}");
    }
    for (line, expected) in [
        ("POST / HTTP/1.1", 405),
        ("HEAD / HTTP/1.1", 405),
        ("get / HTTP/1.1", 400),
        ("GET / HTTP/1.0", 505),
        ("GET / HTTP/2.0", 505),
        ("GET /", 400),
        ("GET", 400),
        ("GET / HTTP/1.1 x", 400),
        ("GET * HTTP/1.1", 400),
        ("GET chat HTTP/1.1", 400),
        ("GET example.org:80 HTTP/1.1", 400),
        ("GET /chat#part HTTP/1.1", 400),
        ("GET ftp://example.org/ HTTP/1.1", 400),
        ("GET http:///chat HTTP/1.1", 400),
        ("GET http://user@example.org/ HTTP/1.1", 400),
        ("\u{16}\u{3}\u{1}", 400),
    ] {
        assert_eq!(status(line, &[]), expected, "{line}");
    }
}

#[test]
fn a_rejection_tells_what_would_do() {
    let response =
        |replace| String::from_utf8(receive(&request(GET, replace)).unwrap_err().response().to_vec()).unwrap();
    let version = response(&[("Sec-WebSocket-Version", "8")]);
    assert!(version.contains("\r\nSec-WebSocket-Version: 13\r\n") && version.contains("\r\nUpgrade: websocket\r\n"));
    assert!(version.ends_with("\r\n\r\nthe Sec-WebSocket-Version header is not 13\n"), "{version}");
    assert!(response(&[("Sec-WebSocket-Key", "?")]).contains("the Sec-WebSocket-Key header is invalid"));
    assert!(!response(&[("Sec-WebSocket-Key", "a-secret")]).contains("a-secret"));
}

#[test]
fn what_is_read_from_a_request() {
    let found = receive(&request(
        "GET /a%20b?c=d HTTP/1.1",
        &[
            ("Host", "example.org:8080"),
            ("Origin", "https://example.org"),
            ("Sec-WebSocket-Protocol", "mqtt, chat ,mqtt"),
            ("sec-websocket-protocol", "x"),
            ("Sec-WebSocket-Extensions", "foo; a=\"b,c\""),
            ("Cookie", " k=v "),
        ],
    ));
    let found = found.unwrap().unwrap();
    assert_eq!(found.target, "/a%20b?c=d");
    assert_eq!(found.upgrade.host, "example.org:8080");
    assert_eq!(found.upgrade.origin.as_deref(), Some("https://example.org"));
    assert_eq!(found.upgrade.subprotocols, ["mqtt", "chat", "x"]);
    assert_eq!(found.upgrade.extensions, ["foo; a=\"b,c\""]);
    assert_eq!(found.headers.get("COOKIE"), Some(&b"k=v"[..]));
    assert_eq!(found.headers.get_all("sec-websocket-protocol").count(), 2);
    // A log of it shows no values.
    assert!(!format!("{:?}", found.headers).contains("k=v"));
}

#[test]
fn a_target_with_a_host_is_the_path_behind_it() {
    let table = [
        ("http://other.example:81/chat?x=1", "other.example:81", "/chat?x=1"),
        ("WS://other.example/chat", "other.example", "/chat"),
        ("wss://other.example", "other.example", "/"),
        ("https://other.example?x=/y", "other.example", "/?x=/y"),
        ("//other.example/chat", "example.org", "//other.example/chat"),
        ("/http://other.example/", "example.org", "/http://other.example/"),
    ];
    for (target, host, path) in table {
        let found = receive(&request(&format!("GET {target} HTTP/1.1"), &[])).unwrap().unwrap();
        assert_eq!((&*found.upgrade.host, &*found.target), (host, path), "{target}");
        // A log shows no query: there may be a token in it.
        assert!(!format!("{found:?}").contains("x="), "{found:?}");
    }
}

#[test]
fn what_is_logged_of_a_handshake_has_no_secrets() {
    let secret = |name: &str| (String::from(name), String::from("s3cret"));
    let asked = ClientRequest {
        subprotocols: vec!["s3cret".into()],
        headers: vec![secret("Authorization"), secret("Cookie")],
        ..ClientRequest::new("example.org", "/chat?token=s3cret")
    };
    let client = ClientHandshake::new(asked.clone(), [7; 16]).unwrap();
    let over_http2 = ConnectHandshake::new(asked.clone()).unwrap();
    let mut server = ServerHandshake::new();
    let sent = client.request();
    let (most, rest) = sent.split_at(sent.len() - 10);
    assert!(server.receive(most).unwrap().is_none());
    let shown = format!("{asked:?} {client:?} {over_http2:?} {server:?}");
    let received = server.receive(rest).unwrap().unwrap();
    let shown = format!("{shown} {received:?}");
    assert!(!shown.contains("s3cret") && !shown.contains(&*b"s3cret".escape_ascii().to_string()), "{shown}");
    for name in ["example.org", "/chat", "Authorization", "authorization", "Cookie"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
}

#[test]
fn the_answer() {
    let found = receive(&request(GET, &[("Sec-WebSocket-Protocol", "a, b")])).unwrap().unwrap();
    let response = found.accept(Some("b"), &[("X-Node", "1")]).unwrap();
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: b\r\nX-Node: 1\r\n\r\n";
    assert_eq!(response, expected.as_bytes());
    assert!(found.accept(Some("c"), &[]).is_err(), "not offered");
    for (name, value) in [("X", "a\r\nY: b"), ("X\r\nY", "a"), ("X", "\0"), ("", "a"), ("Upgrade", "h2c"), ("X:", "a")]
    {
        assert!(accept_response(&found.upgrade, None, &[(name, value)]).is_err(), "{name:?}: {value:?}");
        assert!(error_response(403, &[(name, value)], b"").is_err(), "{name:?}: {value:?}");
    }
    let refusal = error_response(403, &[("Content-Type", "application/json")], b"{}").unwrap();
    let expected =
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    assert_eq!(refusal, expected.as_bytes());
}

#[test]
fn any_number_of_headers() {
    for count in (0..200).chain([500, 1000, 2000, 5000, 10_000]) {
        let mut bytes = request(GET, &[]);
        bytes.truncate(bytes.len() - 2);
        for number in 0..count {
            bytes.extend_from_slice(format!("x{number}: y\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        let expected = if count + 5 <= 124 { Ok(()) } else { Err(Rejection::HeadersTooLarge) };
        assert_eq!(receive(&bytes).map(drop), expected, "{count}");
    }
}

#[test]
fn a_request_that_drips_is_read_once() {
    let padding = "x".repeat(65_000);
    let bytes = request(GET, &[("X-Padding", &padding)]);
    let start = Instant::now();
    let mut handshake = ServerHandshake::new();
    let (last, all) = bytes.split_last().unwrap();
    for byte in all {
        assert!(handshake.receive(std::slice::from_ref(byte)).unwrap().is_none());
    }
    assert!(handshake.receive(std::slice::from_ref(last)).unwrap().is_some());
    // To look at everything again for each byte would be 2,000,000,000 steps.
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let mut handshake = ServerHandshake::new();
    let too_long = (0..100_000).find(|_| handshake.receive(b"G").is_err());
    assert_eq!(too_long, Some(65_535));
}

#[test]
fn long_lists_are_read_in_linear_time() {
    let lists = [
        "a,".repeat(32_000),
        ",".repeat(64_000),
        " ".repeat(64_000),
        "a;".repeat(32_000),
        "\"\\".repeat(32_000),
        ", \t".repeat(21_000),
    ];
    for list in &lists {
        for name in [
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Extensions",
            "Connection",
            "Upgrade",
            "Sec-WebSocket-Key",
            "Origin",
        ] {
            let bytes = request(GET, &[(name, list)]);
            let start = Instant::now();
            let _ = receive(&bytes);
            assert!(start.elapsed() < Duration::from_millis(500), "{name}: {:?}", start.elapsed());
        }
    }
    // Different names, each to be compared with those before: bounded.
    let many: String = (0..10_000).map(|number| format!("p{number},")).collect();
    assert_eq!(status(GET, &[("Sec-WebSocket-Protocol", &many)]), 400);
}

#[test]
fn bytes_behind_the_request_are_kept() {
    let mut bytes = request(GET, &[]);
    bytes.extend_from_slice(b"\x81\x80\0\0\0\0");
    let mut handshake = ServerHandshake::new();
    assert!(handshake.receive(&bytes).unwrap().is_some());
    assert_eq!(&handshake.into_leftover()[..], b"\x81\x80\0\0\0\0");
}

#[test]
fn two_readers_would_agree_where_the_request_ends() {
    // A line break without CR: where one reader sees the end of the head and the next request, another sees headers.
    let smuggled = b"GET / HTTP/1.1\r\nHost: a\n\nGET /admin HTTP/1.1\r\nHost: b\r\nX: y\r\n\r\n";
    assert_eq!(receive(smuggled).unwrap_err().status(), 400);
    // Where one reader sees two headers, another sees one that holds a line break.
    let mut bare = request(GET, &[("X", "a\nUpgrade: websocket"), ("Upgrade", "-")]);
    assert_eq!(receive(&bare).unwrap_err().status(), 400);
    bare.retain(|byte| *byte != b'\r');
    assert!(receive(&bare).unwrap().is_none(), "its end has not come");
    assert_eq!(receive(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n").unwrap_err().status(), 400);
    assert_eq!(receive(b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n").unwrap_err().status(), 400);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index) {
        let mut handshake = ServerHandshake::new();
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        let _ = handshake.receive(first).and_then(|_| handshake.receive(second));
        let _ = client().receive(&mut BytesMut::from(&bytes[..]));
        let mut close = b"HTTP/1.1 101 X\r\n".to_vec();
        close.extend_from_slice(&bytes);
        close.extend_from_slice(b"\r\n\r\n");
        prop_assert!(client().receive(&mut BytesMut::from(&close[..])).is_err() || bytes.len() > 50);
    }

    #[test]
    fn any_split_of_a_request_is_the_same_request(cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..10)) {
        let mut bytes = request(GET, &[("Sec-WebSocket-Protocol", "a")]);
        bytes.extend_from_slice(b"rest");
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
        at.sort_unstable();
        let mut handshake = ServerHandshake::new();
        let (mut found, mut rest) = (None, Vec::new());
        for cut in at.windows(2) {
            let piece = &bytes[cut[0]..cut[1]];
            match found {
                None => found = handshake.receive(piece).unwrap(),
                Some(_) => rest.extend_from_slice(piece),
            }
        }
        prop_assert_eq!(found.unwrap().target, "/chat?x=1");
        prop_assert_eq!([&handshake.into_leftover()[..], &rest].concat(), b"rest");
    }

    #[test]
    fn headers_from_elsewhere(name in "[A-Za-z-]{1,20}", value in proptest::collection::vec(any::<u8>(), 0..40)) {
        let headers = [(&*name, &value[..])];
        prop_assert!(UpgradeRequest::check("GET", HttpVersion::Http11, headers).is_err());
    }
}

fn client() -> ClientHandshake {
    let request =
        ClientRequest { subprotocols: vec!["a".into(), "b".into()], ..ClientRequest::new("example.org", "/chat") };
    ClientHandshake::new(request, *b"the sample nonce").unwrap()
}

fn respond(text: &str) -> Result<Option<ClientResponse>, HandshakeError> {
    client().receive(&mut BytesMut::from(text.as_bytes()))
}

/// The headers of a good response, with some replaced; `-` leaves one out.
fn response(line: &str, replace: &[(&str, &str)]) -> String {
    let usual =
        [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")];
    let kept = usual.iter().filter(|(name, _)| !replace.iter().any(|(replaced, _)| replaced == name));
    let headers = kept.chain(replace.iter().filter(|(_, value)| *value != "-"));
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{line}\r\n{headers}\r\n")
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols";

#[test]
fn a_clients_request() {
    let request = ClientRequest {
        origin: Some("https://example.org".into()),
        subprotocols: vec!["a".into(), "b".into()],
        headers: vec![("Authorization".into(), "Bearer x".into())],
        ..ClientRequest::new("example.org", "/chat?x=1")
    };
    let handshake = ClientHandshake::new(request, *b"the sample nonce").unwrap();
    let expected = "GET /chat?x=1 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: a, b\r\n\
        Origin: https://example.org\r\nAuthorization: Bearer x\r\n\r\n";
    assert_eq!(handshake.request(), expected.as_bytes());
    assert!(receive(expected.as_bytes()).unwrap().is_some());
    for bad in [
        ClientRequest::new("", "/"),
        ClientRequest::new("a\r\nX: y", "/"),
        ClientRequest::new("a", "/ HTTP/1.1\r\nX: y"),
        ClientRequest::new("a", "no-slash"),
        ClientRequest { headers: vec![("Sec-WebSocket-Key".into(), "x".into())], ..ClientRequest::new("a", "/") },
        ClientRequest { headers: vec![("X".into(), "a\nb".into())], ..ClientRequest::new("a", "/") },
        ClientRequest { subprotocols: vec!["a,b".into()], ..ClientRequest::new("a", "/") },
        ClientRequest { origin: Some("\r\n".into()), ..ClientRequest::new("a", "/") },
    ] {
        assert!(ClientHandshake::new(bad.clone(), [0; 16]).is_err(), "{bad:?}");
    }
}

#[test]
fn responses() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[], "no subprotocol"),
        (&[("Sec-WebSocket-Protocol", "b")], "b"),
        (&[("Upgrade", "WebSocket"), ("Connection", "keep-alive, upgrade")], "no subprotocol"),
        (&[("Upgrade", "-")], "the Upgrade header of the response is missing or wrong"),
        (&[("Upgrade", "h2c")], "the Upgrade header of the response is missing or wrong"),
        (&[("Connection", "-")], "the Connection header of the response is missing or wrong"),
        (&[("Sec-WebSocket-Accept", "-")], "the Sec-WebSocket-Accept header of the response is missing or wrong"),
        (&[("Sec-WebSocket-Accept", KEY)], "the Sec-WebSocket-Accept header of the response is missing or wrong"),
        (&[("Sec-WebSocket-Protocol", "c")], "the server chose the subprotocol \"c\", which was not offered"),
        (&[("Sec-WebSocket-Protocol", "a, b")], "the server chose the subprotocol \"a, b\", which was not offered"),
        (
            &[("Sec-WebSocket-Protocol", "a"), ("sec-websocket-protocol", "b")],
            "the Sec-WebSocket-Protocol header of the response is missing or wrong",
        ),
        (&[("Sec-WebSocket-Extensions", "permessage-deflate")], "the server chose an extension, and none was offered"),
    ];
    for (replace, expected) in table {
        let found = match respond(&response(SWITCHING, replace)) {
            Ok(found) => found.unwrap().subprotocol.unwrap_or_else(|| "no subprotocol".into()),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, *expected, "{replace:?}");
    }
    assert!(matches!(respond(&response("HTTP/1.0 101 X", &[])), Err(HandshakeError::Malformed)));
    assert!(matches!(respond("SSH-2.0-OpenSSH\r\n\r\n"), Err(HandshakeError::Malformed)));
    // 200 is not an agreement, whatever headers come with it.
    assert!(matches!(respond(&response("HTTP/1.1 200 OK", &[])), Err(HandshakeError::Refused { status: 200, .. })));
}

#[test]
fn other_interim_responses_are_skipped() {
    let text = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{}",
        response(SWITCHING, &[])
    );
    let mut buffer = BytesMut::from(text.as_bytes());
    buffer.extend_from_slice(b"frames");
    assert!(client().receive(&mut buffer).unwrap().is_some());
    assert_eq!(&buffer[..], b"frames");
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    assert!(matches!(respond(&endless), Err(HandshakeError::HeadersTooLarge)));
}

#[test]
fn a_refusal_is_told_whole() {
    let refusal = error_response(401, &[("WWW-Authenticate", "Bearer")], b"who are you?").unwrap();
    let mut handshake = client();
    let mut buffer = BytesMut::new();
    let (last, all) = refusal.split_at(refusal.len() - 12 - 1);
    for byte in last {
        buffer.extend_from_slice(&[*byte]);
        assert!(handshake.receive(&mut buffer).unwrap().is_none());
    }
    buffer.extend_from_slice(all);
    let Err(HandshakeError::Refused { status, reason, headers, body }) = handshake.receive(&mut buffer) else {
        panic!()
    };
    assert_eq!((status, &*reason, &body[..]), (401, "Unauthorized", &b"who are you?"[..]));
    assert_eq!(headers.get("www-authenticate"), Some(&b"Bearer"[..]));
}

#[test]
fn a_response_has_limits_too() {
    let mut buffer = BytesMut::new();
    let mut handshake = client();
    buffer.extend_from_slice(b"HTTP/1.1 101 X\r\nX: ");
    let endless = (0..100).find(|_| {
        buffer.extend_from_slice(&[b'x'; 1000]);
        handshake.receive(&mut buffer).is_err()
    });
    assert_eq!(endless, Some(65));
    let many: String = (0..200).map(|number| format!("x{number}: y\r\n")).collect();
    assert!(matches!(respond(&format!("{SWITCHING}\r\n{many}\r\n")), Err(HandshakeError::HeadersTooLarge)));
}
