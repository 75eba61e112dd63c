//! The opening handshake over HTTP/2 (RFC 8441 §5), both sides.

use switchboard_ws_proto::handshake::{
    ClientRequest, ConnectHandshake, HandshakeError, Rejection, UpgradeRequest, accept_response,
};

type Fields<'a> = &'a [(&'a str, &'a str)];

fn check(method: &str, protocol: Option<&str>, authority: Option<&str>, headers: Fields<'_>) -> Result<u16, Rejection> {
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let request = UpgradeRequest::check_connect(method, protocol, authority, headers)?;
    Ok(request.answer(None).unwrap().status)
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

#[test]
fn requests_and_their_statuses() {
    type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Fields<'a>, u16);
    let (websocket, host) = (Some("websocket"), Some("example.org"));
    let table: &[Row<'_>] = &[
        ("CONNECT", websocket, host, &[VERSION], 200),
        ("CONNECT", Some("WebSocket"), host, &[VERSION], 200),
        ("CONNECT", websocket, host, &[VERSION, ("host", "EXAMPLE.org"), ("content-length", "0")], 200),
        // A key means nothing here, whatever it is.
        ("CONNECT", websocket, host, &[VERSION, ("sec-websocket-key", "short")], 200),
        ("GET", None, host, &[VERSION], 405),
        ("GET", websocket, host, &[VERSION], 405),
        ("CONNECT", None, Some("example.org:443"), &[VERSION], 501),
        ("CONNECT", Some("connect-udp"), host, &[VERSION], 501),
        ("CONNECT", Some("websocket, x"), host, &[VERSION], 501),
        ("CONNECT", Some(""), host, &[VERSION], 501),
        ("CONNECT", websocket, None, &[VERSION], 400),
        ("CONNECT", websocket, Some(""), &[VERSION], 400),
        ("CONNECT", websocket, host, &[VERSION, ("host", "example.com")], 400),
        ("CONNECT", websocket, host, &[], 400),
        ("CONNECT", websocket, host, &[("sec-websocket-version", "12")], 400),
        ("CONNECT", websocket, host, &[VERSION, VERSION], 400),
        ("CONNECT", websocket, host, &[VERSION, ("origin", "a"), ("origin", "b")], 400),
        ("CONNECT", websocket, host, &[VERSION, ("content-length", "5")], 400),
        ("CONNECT", websocket, host, &[VERSION, ("transfer-encoding", "chunked")], 400),
        ("CONNECT", websocket, host, &[VERSION, ("sec-websocket-protocol", "a b")], 400),
    ];
    for (method, protocol, authority, headers, expected) in table {
        let status = check(method, *protocol, *authority, headers).unwrap_or_else(|rejection| rejection.status());
        assert_eq!(status, *expected, "{method} {protocol:?} {authority:?} {headers:?}");
    }
}

#[test]
fn refusals_say_how_to_do_better_without_headers_that_http2_forbids() {
    let refusals = [Rejection::NotConnect, Rejection::ProtocolNotSupported, Rejection::VersionNotSupportedHttp2];
    let names: Vec<_> =
        refusals.iter().flat_map(|rejection| rejection.headers().iter().map(|(name, _)| *name)).collect();
    assert_eq!(names, ["Allow", "Sec-WebSocket-Version"]);
}

#[test]
fn an_answer_has_no_accept_value() {
    let headers = [VERSION, ("sec-websocket-protocol", "a, b"), ("origin", "https://example.org")];
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let request = UpgradeRequest::check_connect("CONNECT", Some("websocket"), Some("example.org"), headers).unwrap();
    assert_eq!((&*request.host, request.origin.as_deref()), ("example.org", Some("https://example.org")));
    let answer = request.answer(Some("b")).unwrap();
    assert_eq!((answer.status, answer.headers), (200, vec![("Sec-WebSocket-Protocol", "b".to_owned())]));
    assert!(request.answer(Some("c")).is_err(), "a subprotocol that was not offered");
    assert!(accept_response(&request, None, &[]).is_err(), "bytes of HTTP/1.1 for a request of HTTP/2");
}

#[cfg(feature = "deflate")]
#[test]
fn compression_is_agreed_as_over_http1() {
    let offer = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits");
    let headers = [VERSION, offer].map(|(name, value)| (name, value.as_bytes()));
    let request = UpgradeRequest::check_connect("CONNECT", Some("websocket"), Some("a"), headers).unwrap();
    let params = request.deflate(&Default::default()).unwrap();
    let answer = request.answer_with(None, params.as_ref()).unwrap();
    assert_eq!(answer.headers[0].0, "Sec-WebSocket-Extensions");
    assert!(answer.headers[0].1.starts_with("permessage-deflate"), "{answer:?}");

    let policy = switchboard_ws_proto::deflate::Policy::default();
    let request = ClientRequest { deflate: Some(policy.offer()), ..ClientRequest::new("a", "/") };
    let handshake = ConnectHandshake::new(request).unwrap();
    assert!(handshake.headers().any(|(name, _)| name == "sec-websocket-extensions"));
    let response = handshake.check(200, [("sec-websocket-extensions", answer.headers[0].1.as_bytes())]).unwrap();
    assert_eq!(response.deflate, params);
}

#[test]
fn a_clients_headers() {
    let request = ClientRequest {
        origin: Some("https://example.org".into()),
        subprotocols: vec!["a".into(), "b".into()],
        headers: vec![("Authorization".into(), "Bearer x".into())],
        ..ClientRequest::new("example.org", "/chat")
    };
    let handshake = ConnectHandshake::new(request).unwrap();
    let expected = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "a, b"),
        ("origin", "https://example.org"),
        ("authorization", "Bearer x"),
    ];
    assert_eq!(handshake.headers().collect::<Vec<_>>(), expected);
}

#[test]
fn what_a_client_cannot_send() {
    let header = |name: &str, value: &str| ClientRequest {
        headers: vec![(name.into(), value.into())],
        ..ClientRequest::new("example.org", "/")
    };
    for request in [
        header("TE", "trailers"),
        header("keep-alive", "5"),
        header("Upgrade", "websocket"),
        header(":path", "/other"),
        header("x", "a\r\nb: c"),
        ClientRequest::new("", "/"),
        ClientRequest::new("example.org", "chat"),
        ClientRequest::new("example.org", "/a b"),
        ClientRequest { subprotocols: vec!["a b".into()], ..ClientRequest::new("example.org", "/") },
    ] {
        assert!(ConnectHandshake::new(request.clone()).is_err(), "{request:?}");
    }
}

#[test]
fn responses() {
    let request = ClientRequest { subprotocols: vec!["a".into()], ..ClientRequest::new("example.org", "/") };
    let handshake = ConnectHandshake::new(request).unwrap();
    let check = |status, headers: Fields<'_>| {
        handshake.check(status, headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    };
    assert_eq!(check(200, &[]).unwrap().subprotocol, None);
    let response = check(204, &[("sec-websocket-protocol", "a"), ("x-node", "1")]).unwrap();
    assert_eq!((response.subprotocol.as_deref(), response.headers.get("X-Node")), (Some("a"), Some(&b"1"[..])));
    let error = check(200, &[("sec-websocket-protocol", "b")]).unwrap_err();
    assert!(matches!(error, HandshakeError::SubprotocolNotOffered(_)), "{error}");
    let error = check(200, &[("sec-websocket-extensions", "permessage-deflate")]).unwrap_err();
    assert!(matches!(error, HandshakeError::ExtensionNotOffered), "{error}");
    let error = check(401, &[("www-authenticate", "Bearer")]).unwrap_err();
    let HandshakeError::Refused { status: 401, headers, .. } = error else { panic!("{error}") };
    assert_eq!(headers.get("www-authenticate"), Some(&b"Bearer"[..]));
    // Redirects, and the status that upgrades HTTP/1.1, are no success.
    for status in [101, 301, 500] {
        assert!(matches!(check(status, &[]).unwrap_err(), HandshakeError::Refused { .. }));
    }
}
