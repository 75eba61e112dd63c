//! What offers and answers lead to (RFC 7692 §5, §7.1), as tables.

use switchboard_ws_proto::deflate::{NegotiationError, Policy};
use switchboard_ws_proto::handshake::{ClientHandshake, ClientRequest, HandshakeError, Rejection, ServerHandshake};

const PMD: &str = "permessage-deflate";

/// Takes everything, so that only the client limits.
fn generous() -> Policy {
    Policy::default().context_takeover(true).peer_context_takeover(true)
}

fn answer(policy: &Policy, lines: &[&str]) -> String {
    match policy.answer(lines.iter().copied()) {
        Ok(Some(params)) => params.to_string(),
        Ok(None) => "none".into(),
        Err(error) => format!("error: {error}"),
    }
}

fn check(policy: &Policy, lines: &[&str]) -> String {
    match policy.offer().check(lines.iter().copied()) {
        Ok(Some(params)) => params.to_string(),
        Ok(None) => "none".into(),
        Err(NegotiationError::Malformed) => "malformed".into(),
        Err(NegotiationError::NotOffered(name)) => format!("not offered: {name}"),
        Err(NegotiationError::Parameter(name)) => format!("wrong: {name}"),
        Err(error) => panic!("{error}"),
    }
}

/// `;p` stands for `permessage-deflate`, `snct`, `cnct`, `smwb`, `cmwb` for its parameters.
fn long(short: &str) -> String {
    short
        .replace("pmd", PMD)
        .replace("snct", "server_no_context_takeover")
        .replace("cnct", "client_no_context_takeover")
        .replace("smwb", "server_max_window_bits")
        .replace("cmwb", "client_max_window_bits")
}

#[track_caller]
fn answers(policy: &Policy, table: &[(&str, &str)]) {
    for (offer, expected) in table {
        let lines: Vec<String> = offer.split('\n').map(long).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(answer(policy, &lines), long(expected), "{offer}");
    }
}

#[test]
fn a_server_that_allows_everything() {
    answers(
        &generous(),
        &[
            ("", "none"),
            ("pmd", "pmd"),
            ("pmd; snct", "pmd; snct"),
            ("pmd; cnct", "pmd; cnct"),
            ("pmd; snct; cnct", "pmd; snct; cnct"),
            ("pmd; cnct; snct", "pmd; snct; cnct"),
            ("pmd; smwb=10", "pmd; smwb=10"),
            ("pmd; smwb=15", "pmd; smwb=15"),
            ("pmd; smwb=\"10\"", "pmd; smwb=10"),
            ("pmd; smwb=\"1\\0\"", "pmd; smwb=10"),
            // Nothing has to be asked of a client that may use what it likes.
            ("pmd; cmwb", "pmd"),
            ("pmd; cmwb=10", "pmd"),
            ("pmd; cmwb=8", "pmd"),
            ("pmd; cmwb; smwb=9; cnct; snct", "pmd; snct; cnct; smwb=9"),
            ("pmd;smwb=9;cmwb=9;snct;cnct", "pmd; snct; cnct; smwb=9"),
            ("\tpmd\t;\tsnct\t", "pmd; snct"),
        ],
    );
}

#[test]
fn offers_that_are_passed_over() {
    answers(
        &generous(),
        &[
            // Unknown, repeated, wrong.
            ("pmd; unknown", "none"),
            ("pmd; unknown=1", "none"),
            ("pmd; snct; snct", "none"),
            ("pmd; cnct; cnct", "none"),
            ("pmd; smwb=10; smwb=10", "none"),
            ("pmd; cmwb; cmwb=10", "none"),
            ("pmd; cmwb; cmwb", "none"),
            ("pmd; snct=1", "none"),
            ("pmd; cnct=true", "none"),
            ("pmd; smwb", "none"),
            ("pmd; smwb=010", "none"),
            ("pmd; smwb=+9", "none"),
            ("pmd; smwb=9.0", "none"),
            ("pmd; smwb=a", "none"),
            ("pmd; cmwb=-9", "none"),
            ("pmd; smwb=4294967305", "none"),
            ("Pmd; SNCT", "none"),
            ("x-webkit-deflate-frame", "none"),
            // The next may do.
            ("pmd; unknown, pmd; snct", "pmd; snct"),
            ("pmd; smwb=8, pmd", "pmd"),
            ("pmd; smwb=7, pmd; smwb, pmd; cnct, pmd", "pmd; cnct"),
            // The first that does is the client's favourite.
            ("pmd; smwb=12, pmd", "pmd; smwb=12"),
            ("pmd, pmd; smwb=12", "pmd"),
            ("foo, bar; x=1, pmd; snct, baz", "pmd; snct"),
            ("foo\nbar, pmd; snct\nbaz", "pmd; snct"),
            ("pmd; x\n\npmd", "pmd"),
        ],
    );
}

#[test]
fn headers_that_are_refused() {
    let malformed = "error: Sec-WebSocket-Extensions is malformed";
    answers(
        &generous(),
        &[
            ("pmd;", malformed),
            ("pmd; =1", malformed),
            ("pmd; smwb=", malformed),
            ("pmd; smwb=\"10", malformed),
            ("pmd; smwb=\"\"", malformed),
            ("pmd smwb", malformed),
            ("pmd, foo bar", malformed),
            ("pmd\nfoo;", malformed),
        ],
    );
}

#[test]
fn a_server_with_wishes() {
    answers(
        &Policy::default(),
        &[
            ("pmd", "pmd; snct; cnct"),
            ("pmd; cmwb; smwb=9", "pmd; snct; cnct; smwb=9"),
            ("pmd; snct", "pmd; snct; cnct"),
        ],
    );
    answers(&generous().context_takeover(false), &[("pmd", "pmd; snct"), ("pmd; cnct", "pmd; snct; cnct")]);
    answers(&generous().peer_context_takeover(false), &[("pmd", "pmd; cnct"), ("pmd; snct", "pmd; snct; cnct")]);
    answers(
        &generous().window_bits(11),
        &[("pmd", "pmd; smwb=11"), ("pmd; smwb=10", "pmd; smwb=10"), ("pmd; smwb=12", "pmd; smwb=11")],
    );
    answers(
        &generous().peer_window_bits(11),
        // Only who knows the parameter can be asked.
        &[("pmd", "pmd"), ("pmd; cmwb", "pmd; cmwb=11"), ("pmd; cmwb=12", "pmd; cmwb=11"), ("pmd; cmwb=11", "pmd")],
    );
}

#[test]
fn every_window_that_a_client_may_ask_for() {
    for bits in 0..=20u8 {
        let valid = (8..=15).contains(&bits);
        let theirs = answer(&generous(), &[&format!("{PMD}; server_max_window_bits={bits}")]);
        // zlib makes 9 of 8, so 8 is never granted to the side that compresses.
        let granted = valid && bits > 8;
        assert_eq!(theirs, if granted { format!("{PMD}; server_max_window_bits={bits}") } else { "none".into() });
        let ours = answer(&generous(), &[&format!("{PMD}; client_max_window_bits={bits}")]);
        assert_eq!(ours, if valid { PMD } else { "none" });
        for wanted in 0..=20u8 {
            let used = wanted.clamp(9, 15);
            let limited =
                answer(&generous().peer_window_bits(wanted), &[&format!("{PMD}; client_max_window_bits={bits}")]);
            let asked = format!("{PMD}; client_max_window_bits={used}");
            assert_eq!(
                limited,
                if !valid {
                    "none"
                } else if used < bits {
                    &asked
                } else {
                    PMD
                },
                "{bits} {wanted}"
            );
            let limited = answer(&generous().window_bits(wanted), &[&format!("{PMD}; server_max_window_bits={bits}")]);
            let told = format!("{PMD}; server_max_window_bits={}", used.min(bits));
            assert_eq!(limited, if granted { &told } else { "none" }, "{bits} {wanted}");
        }
    }
}

#[test]
fn what_a_client_offers() {
    let table = [
        (generous(), "pmd; cmwb"),
        (Policy::default(), "pmd; snct; cnct; cmwb"),
        (generous().context_takeover(false), "pmd; cnct; cmwb"),
        (generous().peer_context_takeover(false), "pmd; snct; cmwb"),
        (generous().window_bits(12), "pmd; cmwb=12"),
        (generous().window_bits(8), "pmd; cmwb=9"),
        (generous().peer_window_bits(12), "pmd; smwb=12; cmwb"),
        (generous().peer_window_bits(8), "pmd; smwb=9; cmwb"),
    ];
    for (policy, expected) in table {
        assert_eq!(policy.offer().to_string(), long(expected));
    }
}

#[track_caller]
fn checks(policy: &Policy, table: &[(&str, &str)]) {
    for (response, expected) in table {
        let lines: Vec<String> = response.split('\n').map(long).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(check(policy, &lines), long(expected), "{response}");
    }
}

#[test]
fn answers_to_a_client() {
    checks(
        &generous(),
        &[
            ("", "none"),
            ("pmd", "pmd"),
            // What was not asked for may be told.
            ("pmd; snct", "pmd; snct"),
            ("pmd; cnct", "pmd; cnct"),
            ("pmd; smwb=8", "pmd; smwb=8"),
            ("pmd; smwb=\"12\"", "pmd; smwb=12"),
            ("pmd; cmwb=8", "pmd; cmwb=8"),
            ("pmd; cmwb=15", "pmd; cmwb=15"),
            ("pmd; cmwb=12; smwb=10; cnct; snct", "pmd; snct; cnct; smwb=10; cmwb=12"),
            // A window has a value in an answer.
            ("pmd; cmwb", "wrong: cmwb"),
            ("pmd; smwb", "wrong: smwb"),
            ("pmd; smwb=7", "wrong: smwb"),
            ("pmd; smwb=16", "wrong: smwb"),
            ("pmd; smwb=09", "wrong: smwb"),
            ("pmd; snct; snct", "wrong: snct"),
            ("pmd; snct=1", "wrong: snct"),
            ("pmd; unknown", "wrong: unknown"),
            ("pmd, pmd", "not offered: pmd"),
            ("pmd\npmd", "not offered: pmd"),
            ("foo", "not offered: foo"),
            ("pmd, foo", "not offered: foo"),
            ("foo, pmd", "not offered: foo"),
            ("PERMESSAGE-DEFLATE", "not offered: PERMESSAGE-DEFLATE"),
            ("pmd;", "malformed"),
            ("pmd; cmwb=\"9", "malformed"),
        ],
    );
    // What was demanded has to be confirmed; what we said of ourselves holds without a word.
    checks(
        &Policy::default().window_bits(12),
        &[
            ("pmd", "wrong: snct"),
            ("pmd; snct", "pmd; snct; cnct; cmwb=12"),
            ("pmd; snct; cmwb=12", "pmd; snct; cnct; cmwb=12"),
            ("pmd; snct; cmwb=10", "pmd; snct; cnct; cmwb=10"),
            ("pmd; snct; cmwb=13", "wrong: cmwb"),
        ],
    );
    checks(
        &generous().peer_window_bits(12),
        &[
            ("pmd", "wrong: smwb"),
            ("pmd; smwb=12", "pmd; smwb=12"),
            ("pmd; smwb=9", "pmd; smwb=9"),
            ("pmd; smwb=13", "wrong: smwb"),
        ],
    );
}

#[test]
fn every_window_that_a_server_may_answer() {
    for bits in 0..=20u8 {
        for offered in 9..=15u8 {
            let valid = (8..=15).contains(&bits);
            let ours = check(&generous().window_bits(offered), &[&format!("{PMD}; client_max_window_bits={bits}")]);
            assert_eq!(!ours.starts_with("wrong"), valid && bits <= offered, "client {bits} of {offered}: {ours}");
            let theirs =
                check(&generous().peer_window_bits(offered), &[&format!("{PMD}; server_max_window_bits={bits}")]);
            assert_eq!(!theirs.starts_with("wrong"), valid && bits <= offered, "server {bits} of {offered}: {theirs}");
        }
    }
}

#[test]
fn both_sides_agree_whatever_they_want() {
    let policies: Vec<Policy> = (0..16)
        .map(|bits| {
            let window = |bit: u8| if bits & bit == 0 { 15 } else { 10 };
            let policy = Policy::default().context_takeover(bits & 1 == 0).peer_context_takeover(bits & 2 == 0);
            policy.window_bits(window(4)).peer_window_bits(window(8))
        })
        .collect();
    for client in &policies {
        for server in &policies {
            let offer = client.offer();
            let chosen = server.answer([&*offer.to_string()]).unwrap().unwrap();
            let agreed = offer.check([&*chosen.to_string()]).unwrap().unwrap();
            assert_eq!(agreed.server_no_context_takeover, chosen.server_no_context_takeover);
            assert_eq!(chosen.server_no_context_takeover, !(server.context_takeover && client.peer_context_takeover));
            assert_eq!(chosen.client_no_context_takeover, !(client.context_takeover && server.peer_context_takeover));
            assert_eq!(chosen.server_max_window_bits.unwrap_or(15), server.window_bits.min(client.peer_window_bits));
            assert_eq!(agreed.client_max_window_bits.unwrap_or(15), client.window_bits.min(server.peer_window_bits));
        }
    }
}

fn request(extensions: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
    )
}

#[test]
fn the_server_answers_in_its_handshake() {
    let request = request("Sec-WebSocket-Extensions: foo\r\nSec-WebSocket-Extensions: permessage-deflate\r\n");
    let request = ServerHandshake::new().receive(request.as_bytes()).unwrap().unwrap();
    let params = request.upgrade.deflate(&generous()).unwrap();
    let response = request.accept_with(None, params.as_ref(), &[]).unwrap();
    let response = String::from_utf8(response.to_vec()).unwrap();
    assert!(response.contains("\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"), "{response}");
    let silent = request.accept(None, &[]).unwrap();
    assert!(!String::from_utf8(silent.to_vec()).unwrap().contains("Extensions"));
}

#[test]
fn the_server_refuses_a_malformed_header() {
    let request = request("Sec-WebSocket-Extensions: permessage-deflate;;\r\n");
    let request = ServerHandshake::new().receive(request.as_bytes()).unwrap().unwrap();
    assert_eq!(request.upgrade.deflate(&generous()), Err(Rejection::InvalidHeader("Sec-WebSocket-Extensions")));
}

#[test]
fn the_client_checks_in_its_handshake() {
    let respond = |deflate: Option<Policy>, extensions: &str| {
        let request = ClientRequest { deflate: deflate.map(|policy| policy.offer()), ..ClientRequest::new("a", "/") };
        let mut handshake = ClientHandshake::new(request, *b"the sample nonce").unwrap();
        let sent = String::from_utf8(handshake.request().to_vec()).unwrap();
        assert_eq!(sent.contains("\r\nSec-WebSocket-Extensions: permessage-deflate; "), deflate.is_some(), "{sent}");
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{extensions}\r\n"
        );
        handshake.receive(&mut response.as_bytes().into()).map(|response| response.unwrap().deflate)
    };
    let chosen = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
    assert_eq!(respond(None, "").unwrap(), None);
    assert_eq!(respond(Some(generous()), "").unwrap(), None);
    assert!(respond(Some(generous()), chosen).unwrap().unwrap().server_no_context_takeover);
    assert!(matches!(respond(None, chosen), Err(HandshakeError::ExtensionNotOffered)));
    for wrong in [
        "permessage-deflate; x",
        "foo",
        "permessage-deflate;",
        "permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate",
    ] {
        let wrong = format!("Sec-WebSocket-Extensions: {wrong}\r\n");
        assert!(matches!(respond(Some(generous()), &wrong), Err(HandshakeError::Deflate(_))), "{wrong}");
    }
}
