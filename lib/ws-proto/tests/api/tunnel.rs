//! A client's way through an HTTP proxy.

use bytes::BytesMut;
use switchboard_ws_proto::handshake::{HandshakeError, TunnelHandshake};

fn tunnel() -> TunnelHandshake {
    TunnelHandshake::new("example.org", 443, &[("Proxy-Authorization", "Basic s3cret")]).unwrap()
}

fn answered(text: &str) -> Result<bool, HandshakeError> {
    tunnel().receive(&mut BytesMut::from(text.as_bytes()))
}

#[test]
fn what_a_proxy_is_asked() {
    let expected =
        "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nProxy-Authorization: Basic s3cret\r\n\r\n";
    assert_eq!(tunnel().request(), expected.as_bytes());
    assert!(!format!("{:?}", tunnel()).contains("s3cret"));
    for host in ["", "a b", "a\r\nX: y", "a/b", "a\tb"] {
        assert!(TunnelHandshake::new(host, 1, &[]).is_err(), "{host:?}");
    }
    for header in [("X", "a\r\nb"), ("Host", "a"), ("X:", "a"), ("Content-Length", "1")] {
        assert!(TunnelHandshake::new("a", 1, &[header]).is_err(), "{header:?}");
    }
}

#[test]
fn what_a_proxy_may_answer() {
    for open in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 204\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    ] {
        assert!(answered(open).unwrap(), "{open}");
    }
    for (refused, expected) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\nno", 407),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", 302),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", 502),
    ] {
        let Err(HandshakeError::Refused { status, .. }) = answered(refused) else { panic!("{refused}") };
        assert_eq!(status, expected);
    }
    for malformed in ["HTTP/1.1 101 Switching Protocols\r\n\r\n", "\u{5}\0\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n"] {
        assert!(matches!(answered(malformed), Err(HandshakeError::Malformed)), "{malformed}");
    }
    let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
    assert!(matches!(answered(&endless), Err(HandshakeError::HeadersTooLarge)));
    assert!(matches!(answered(&"x".repeat(70_000)), Err(HandshakeError::HeadersTooLarge)));
}

#[test]
fn an_answer_that_drips_takes_what_is_its_own() {
    let mut handshake = tunnel();
    let mut buffer = BytesMut::new();
    let (head, behind) = ("HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", "behind");
    for byte in &head.as_bytes()[..head.len() - 1] {
        buffer.extend_from_slice(&[*byte]);
        assert!(!handshake.receive(&mut buffer).unwrap());
    }
    buffer.extend_from_slice(b"\n");
    buffer.extend_from_slice(behind.as_bytes());
    assert!(handshake.receive(&mut buffer).unwrap());
    assert_eq!(&buffer[..], behind.as_bytes());
}
