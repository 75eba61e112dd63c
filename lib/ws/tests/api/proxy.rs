//! Through an HTTP proxy.

use std::io::ErrorKind;
use std::time::Duration;

use switchboard_ws::handshake::HandshakeError;
use switchboard_ws::{CloseCode, ConnectError, Connector, Phase, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::*;

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    head
}

/// A proxy for one connection, and what it was asked.
pub(crate) async fn proxy() -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let head = read_head(&mut near).await;
        let target = head.split(' ').nth(1).unwrap();
        let mut far = TcpStream::connect(target).await.unwrap();
        near.write_all(b"HTTP/1.1 200 Connection established\r\nX-Proxy: me\r\n\r\n").await.unwrap();
        let _ = copy_bidirectional(&mut near, &mut far).await;
        head
    });
    (port, serving)
}

#[tokio::test]
async fn a_tunnel_leads_to_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { echo(accept(listener.accept().await.unwrap().0).await.unwrap()).await });
    let (port, proxying) = proxy().await;
    let connector = Connector::new().proxy(Some(format!("http://Aladdin:open%20sesame@127.0.0.1:{port}")));
    let (mut socket, _) = soon(connector.connect(&format!("ws://{address}/chat"))).await.unwrap();
    socket.send("there and back").await.unwrap();
    assert_eq!(soon(socket.recv()).await.unwrap().unwrap().as_text(), Some("there and back"));
    soon(socket.close(CloseCode::NORMAL, "")).await.unwrap();
    drop(socket);
    let expected = format!(
        "CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
    );
    assert_eq!(soon(proxying).await.unwrap(), expected);
    assert!(!format!("{connector:?}").contains("sesame"), "{connector:?}");
}

/// What comes of a proxy that answers this, and ends.
async fn answered(answer: &'static [u8]) -> ConnectError {
    let connector = Connector::new().proxy(Some("http://proxy.example:3128"));
    let dial = async |host: &str, port: u16| {
        assert_eq!((host, port), ("proxy.example", 3128));
        let (near, mut far) = duplex(1000);
        tokio::spawn(async move {
            far.write_all(answer).await.unwrap();
            far.shutdown().await.unwrap();
            let _ = far.read_to_end(&mut Vec::new()).await;
        });
        Ok(near)
    };
    soon(connector.connect_through("ws://example.org/", dial)).await.unwrap_err()
}

#[tokio::test]
async fn proxies_that_open_no_tunnel() {
    let refused = answered(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n").await;
    assert_eq!(refused.to_string(), "the proxy answered 407 Proxy Authentication Required");
    let ConnectError::Proxy(refused) = refused else { panic!() };
    let HandshakeError::Refused { status: 407, headers, .. } = *refused else { panic!() };
    assert!(headers.get("proxy-authenticate").is_some());
    let other = answered(b"\x05\xff\r\n\r\n").await;
    assert!(matches!(&other, ConnectError::Proxy(why) if matches!(**why, HandshakeError::Malformed)), "{other:?}");
    let cut = answered(b"HTTP/1.1 200 O").await;
    assert!(matches!(cut, ConnectError::Eof), "{cut:?}");
    // The answer of the server that we want to talk to, before it was asked.
    let early = answered(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert!(matches!(&early, ConnectError::Io(error) if error.kind() == ErrorKind::InvalidData), "{early:?}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_says_nothing() {
    let connector = Connector::new().proxy(Some("http://proxy.example")).dial_timeout(Some(Duration::from_secs(1)));
    let dial = async |_: &str, _: u16| {
        let (near, far) = duplex(1000);
        // Kept for as long as the test.
        std::mem::forget(far);
        Ok(near)
    };
    let silent = connector.connect_through("ws://example.org/", dial).await.unwrap_err();
    assert!(matches!(silent, ConnectError::Timeout(Phase::Dial)), "{silent:?}");
}

#[tokio::test]
async fn proxies_of_other_kinds() {
    for url in ["socks5://127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1:1"] {
        let found = soon(Connector::new().proxy(Some(url)).connect("ws://127.0.0.1:1/")).await.unwrap_err();
        assert!(matches!(found, ConnectError::Url(_)), "{url}: {found:?}");
    }
}
