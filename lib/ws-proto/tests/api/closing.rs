//! The closing handshake (RFC 6455 §7).

use switchboard_ws_proto::{CloseCode, Message, SendError};

use crate::support::*;

#[test]
fn what_a_close_may_say() {
    check("88 00", &["Close"]);
    check("88 02 03e8", &["Close(1000 )"]);
    check("88 05 03e9627965", &["Close(1001 bye)"]);
    check("88 01 03", &["Failed(CloseTooShort)"]);
    check("88 03 03e8ff", &["Failed(InvalidUtf8)"]);
    check("88 04 03e8e282", &["Failed(InvalidUtf8)"]);
    check(
        "88 7d 03e8 61*123",
        &[
            "Close(1000 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa)",
        ],
    );
    // Nothing counts behind it.
    check("88 02 03e8 81 01 61 c1 00", &["Close(1000 )"]);
    // Miri takes minutes for all.
    for code in (0..=u16::MAX).step_by(if cfg!(miri) { 997 } else { 1 }) {
        let [high, low] = code.to_be_bytes();
        let found = feed(&mut client(), &[0x88, 2, high, low]);
        let allowed = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if allowed { format!("Close({code} )") } else { format!("Failed(InvalidCloseCode({code}))") };
        assert_eq!(found, [expected]);
    }
}

#[test]
fn the_answer_echoes_the_code() {
    for (close, answer) in [
        ("88 80 00000000", "88 00"),
        ("88 82 00000000 03e8", "88 02 03 e8"),
        ("88 85 00000000 0fa0616263", "88 02 0f a0"),
    ] {
        let mut connection = server();
        feed(&mut connection, &hex(close));
        assert!(!connection.is_open() && connection.is_closing() && !connection.should_shut_down_write());
        assert_eq!(to_hex(&written(&mut connection)), answer);
        // §7.1.1: the server ends the stream first.
        assert!(connection.should_shut_down_write() && connection.is_finished());
        connection.receive_eof();
        assert_eq!(events(&mut connection), ["Eof(clean: true)"]);
    }
}

#[test]
fn a_client_waits_for_the_end_of_the_stream() {
    let mut connection = client();
    assert_eq!(feed(&mut connection, &hex("88 02 03e8")), ["Close(1000 )"]);
    assert_eq!(written(&mut connection).len(), 8);
    assert!(!connection.should_shut_down_write() && !connection.is_finished());
    connection.receive_eof();
    assert_eq!(events(&mut connection), ["Eof(clean: true)"]);
    assert!(connection.is_finished());
}

#[test]
fn closing_from_our_side() {
    let mut connection = server();
    connection.close(CloseCode::GOING_AWAY, "restart").unwrap();
    connection.close(CloseCode::NORMAL, "again").unwrap();
    assert_eq!(to_hex(&written(&mut connection)), "88 09 03 e9 72 65 73 74 61 72 74");
    assert_eq!(connection.send(Message::from("x")), Err(SendError::Closing));
    assert_eq!(connection.send_text("x"), Err(SendError::Closing));
    assert_eq!(connection.ping(b""), Err(SendError::Closing));
    // The peer had sent this before it saw our Close. Nothing follows a Close, so the ping stays without answer.
    assert_eq!(feed(&mut connection, &masked(&hex("81 01 61 89 00"))), ["Text(a)", "Ping()"]);
    assert!(!connection.close_received() && !connection.is_finished());
    assert_eq!(feed(&mut connection, &masked(&hex("88 02 03e9"))), ["Close(1001 )"]);
    assert_eq!(written(&mut connection), []);
    assert!(connection.close_received() && connection.is_finished());
}

#[test]
fn codes_that_must_not_be_sent() {
    let mut connection = server();
    for code in [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, u16::MAX] {
        assert_eq!(connection.close(CloseCode::new(code), ""), Err(SendError::InvalidCloseCode(code)));
    }
    assert!(connection.is_open() && connection.transmit_len() == 0);
    connection.close(CloseCode::NO_STATUS, "not sent without a code").unwrap();
    assert_eq!(to_hex(&written(&mut connection)), "88 00");
}

#[test]
fn a_long_reason_is_cut() {
    let mut connection = server();
    connection.close(CloseCode::NORMAL, &"é".repeat(100)).unwrap();
    let bytes = written(&mut connection);
    assert_eq!(bytes[..4], [0x88, 124, 0x03, 0xe8]);
    assert_eq!(std::str::from_utf8(&bytes[4..]).unwrap(), "é".repeat(61));
}

#[test]
fn the_end_without_a_close_is_not_clean() {
    for bytes in ["", "01 01 61", "81 7e", "82 05 00*2"] {
        let mut connection = client();
        feed(&mut connection, &hex(bytes));
        connection.receive_eof();
        connection.receive_eof();
        assert_eq!(events(&mut connection), ["Eof(clean: false)"]);
        assert!(connection.is_finished() && !connection.is_open());
    }
}

#[test]
fn what_came_before_the_end_is_told_first() {
    let mut connection = client();
    connection.receive(bytes::BytesMut::from(&hex("81 01 61 88 00")[..]));
    connection.receive_eof();
    assert_eq!(events(&mut connection), ["Text(a)", "Close", "Eof(clean: true)"]);
    // The peer may read on: our answer goes out before the socket is dropped.
    assert!(!connection.is_finished());
    written(&mut connection);
    assert!(connection.is_finished());
}

/// Nor an answer to a ping that had to wait for output to drain.
#[test]
fn nothing_follows_a_close() {
    let mut connection = server();
    connection.send(Message::from(vec![0; 70_000])).unwrap();
    assert_eq!(feed(&mut connection, &masked(&hex("89 01 61"))), ["Ping(61)"]);
    connection.close(CloseCode::NORMAL, "").unwrap();
    let first = written(&mut connection);
    let all = [first, written(&mut connection)].concat();
    assert_eq!(to_hex(&all[70_010..]), "88 02 03 e8");
}
