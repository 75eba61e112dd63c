//! Every route against what once ended servers like this one: nothing, half of something, too much of it, or not what it says it is.

use super::support::{APPS, Client, Signing, post_as};
use crate::support::{configured, request, with_server, within};
use core::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUTES: [(&str, &str); 7] = [
    ("POST", "/apps/100/events"),
    ("POST", "/apps/100/batch_events"),
    ("POST", "/apps/100/users/ann/terminate_connections"),
    ("POST", "/users/ann/terminate_connections"),
    ("GET", "/apps/100/channels"),
    ("GET", "/apps/100/channels/presence-a"),
    ("GET", "/apps/100/channels/presence-a/users"),
];

/// Writes bytes as they are, ends, and reads what comes back.
async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within(15, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn no_body_ends_more_than_its_request() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let nested = format!("{{\"batch\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        let bodies: [(&str, String, &[u16]); 8] = [
            ("empty", String::new(), &[200, 400]),
            ("white", " \n".to_owned(), &[200, 400]),
            ("truncated", "{\"name\":\"x\",\"data\":".to_owned(), &[200, 400]),
            ("deep", nested, &[200, 400, 413]),
            ("oversized", "x".repeat(1_000_000), &[413]),
            ("no JSON", "<a>\u{0}</a>".to_owned(), &[200, 400]),
            ("another form", "name=x&data=y&channels[]=z".to_owned(), &[200, 400]),
            ("null", "null".to_owned(), &[200, 400]),
        ];
        for (method, path) in ROUTES {
            for kind in ["application/json", "application/x-www-form-urlencoded", "text/xml; charset=utf-16", ""] {
                for (name, body, expected) in &bodies {
                    let query = Signing::of_a().query(method, path, &[], body);
                    let answer =
                        request(address, &format!("{method} {path}?{query}\nContent-Type: {kind}"), body).await;
                    assert!(expected.contains(&answer.status), "{method} {path} {kind} {name}: {answer:?}");
                }
            }
            // Nobody's request costs more than its head.
            let answer = request(address, &format!("{method} {path}"), &"x".repeat(1_000_000)).await;
            assert_eq!(answer.status, 401, "{method} {path}");
        }
        Client::of_a(address).await.subscribe("news", "x").await;
    });
}

#[test]
fn a_body_that_never_becomes_whole_and_a_connection_that_is_cut_end_themselves_only() {
    with_server(&configured(APPS), async |server| {
        let address = server.address();
        let body = "{\"name\":\"told\",\"data\":\"1\",\"channels\":[\"news\"]}";
        for (method, path) in ROUTES {
            let query = Signing::of_a().query(method, path, &[], body);
            let head = format!("{method} {path}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
            for (rest, statuses) in [
                (format!("Content-Length: {}\r\n\r\n{}", body.len(), &body[..10]), &["400"][..]),
                (format!("Content-Length: {}\r\n\r\n{body}", body.len() - 5), &["401"]),
                (format!("Transfer-Encoding: chunked\r\n\r\n5\r\n{}", &body[..3]), &["400"]),
                ("Transfer-Encoding: chunked\r\n\r\nzz\r\n".to_owned(), &["400"]),
                ("Content-Length: 18446744073709551615\r\n\r\n{".to_owned(), &["400", "413", "431"]),
                ("Content-Length: -1\r\n\r\n{".to_owned(), &["400"]),
            ] {
                let answer = exchange(address, &format!("{head}{rest}")).await;
                let status = answer.split(' ').nth(1).unwrap_or_default();
                assert!(answer.is_empty() || statuses.contains(&status), "{method} {path} {rest}: {answer}");
            }
            for cut in [head.len() / 2, head.len()] {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(&head.as_bytes()[..cut]).await.unwrap();
                // A reset in place of an end.
                stream.set_zero_linger().unwrap();
            }
        }
        assert_eq!(post_as(&Signing::of_a(), address, "/apps/100/events", body).await.status, 200);
    });
}
