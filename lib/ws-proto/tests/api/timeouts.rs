//! Pings, silence, and closing that takes too long.

use std::time::Duration;

use proptest::prelude::*;
use switchboard_ws_proto::{CloseCode, Config, Connection, Opcode, Role, Time};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

fn pinging() -> Connection {
    let config = Config::default().ping_interval(Some(20 * SECOND)).pong_timeout(5 * SECOND).close_timeout(3 * SECOND);
    Connection::new(Role::Server, config)
}

fn at(seconds: u64) -> Time {
    Time::from_micros(seconds * 1_000_000)
}

#[test]
fn silence_is_pinged_and_then_reported() {
    let mut connection = pinging();
    assert_eq!(connection.poll_timeout(), Some(Time::ZERO));
    connection.handle_timeout(at(100));
    assert_eq!(connection.poll_timeout(), Some(at(120)));
    connection.handle_timeout(at(119));
    assert_eq!((connection.poll_timeout(), connection.transmit_len()), (Some(at(120)), 0));
    connection.handle_timeout(at(120));
    assert_eq!(to_hex(&written(&mut connection)), "89 00");
    assert_eq!(connection.poll_timeout(), Some(at(125)));
    connection.send_text("unread").unwrap();
    connection.handle_timeout(at(125));
    assert_eq!(events(&mut connection), ["Unresponsive"]);
    assert!(connection.is_finished() && !connection.is_open() && connection.transmit_len() == 0);
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut connection = pinging();
    connection.handle_timeout(at(0));
    feed(&mut connection, &[0x81]);
    connection.handle_timeout(at(20));
    assert_eq!((connection.poll_timeout(), connection.transmit_len()), (Some(at(40)), 0));
    connection.handle_timeout(at(40));
    assert_eq!(written(&mut connection).len(), 2);
    feed(&mut connection, &[0x80]);
    connection.handle_timeout(at(45));
    assert_eq!(events(&mut connection), Vec::<String>::new());
    assert_eq!(connection.poll_timeout(), Some(at(65)));
}

/// To be asked where to read is no sign of life; what is read there is one.
#[test]
fn a_peer_that_dies_within_a_large_message_is_noticed() {
    for in_place in [false, true] {
        let mut connection = pinging();
        connection.handle_timeout(at(0));
        let large = masked(&frame(true, Opcode::Binary, &[7; 100_000]));
        let (begin, rest) = large.split_at(40_000);
        assert!(feed(&mut connection, begin).is_empty());
        drop(connection.reclaim_input());
        connection.handle_timeout(at(20));
        connection.read_buffer().unwrap().extend_from_slice(&rest[..10]);
        assert!(events(&mut connection).is_empty());
        connection.handle_timeout(at(40));
        assert_eq!((connection.poll_timeout(), connection.transmit_len()), (Some(at(60)), 0), "ten bytes have come");
        for seconds in [60, 65] {
            let asked = if in_place { Some(connection.input_buffer()) } else { connection.read_buffer() };
            assert!(asked.is_some_and(|buffer| !buffer.is_empty()));
            connection.handle_timeout(at(seconds));
        }
        assert_eq!(events(&mut connection), ["Unresponsive"]);
    }
}

/// Messages in pieces that nobody wants any more make `poll_event` look again and again.
#[test]
fn a_peer_that_dies_within_a_skipped_message_is_noticed() {
    let mut connection = pinging();
    connection.handle_timeout(at(0));
    connection.receive(masked(&frame(false, Opcode::Binary, b"begin"))[..].into());
    assert!(connection.poll_piece().is_some() && connection.poll_event().is_none());
    connection.handle_timeout(at(20));
    for seconds in [40, 45] {
        assert!(events(&mut connection).is_empty());
        connection.handle_timeout(at(seconds));
    }
    assert_eq!(events(&mut connection), ["Unresponsive"]);
}

#[test]
fn closing_has_its_time() {
    for (mut connection, failed) in [(pinging(), false), (server(), false), (server(), true)] {
        connection.handle_timeout(at(10));
        if failed {
            feed(&mut connection, &hex("ff"));
            feed(&mut connection, &hex("ff"));
        } else {
            connection.close(CloseCode::NORMAL, "").unwrap();
        }
        assert_eq!(connection.poll_timeout(), Some(Time::ZERO));
        connection.handle_timeout(at(11));
        let deadline = connection.poll_timeout().unwrap();
        connection.close(CloseCode::NORMAL, "").unwrap();
        assert_eq!(connection.poll_timeout(), Some(deadline), "closing again does not start again");
        connection.handle_timeout(deadline);
        assert!(connection.is_finished());
        assert_eq!(connection.poll_timeout(), None);
    }
}

#[test]
fn no_timeouts_without_a_reason() {
    assert_eq!(server().poll_timeout(), None);
}

proptest! {
    /// A driver that does what `poll_timeout` says gets forward: deadlines grow, and a silent peer ends in a bounded number of steps.
    #[test]
    fn handling_a_timeout_makes_progress(
        ping in proptest::option::of(0u64..100_000_000),
        pong in 0u64..100_000_000,
        close in 0u64..100_000_000,
        sounds in proptest::collection::vec(any::<bool>(), 0..20),
        closes: bool,
    ) {
        let micros = Duration::from_micros;
        let config = Config::default().ping_interval(ping.map(micros)).pong_timeout(micros(pong)).close_timeout(micros(close));
        let mut connection = Connection::new(Role::Server, config);
        let mut now = Time::ZERO;
        let mut handle = |connection: &mut Connection| {
            let Some(deadline) = connection.poll_timeout() else { return false };
            now = now.max(deadline);
            connection.handle_timeout(now);
            assert!(connection.poll_timeout().is_none_or(|next| next > now), "the next lies ahead");
            true
        };
        for sound in sounds {
            if sound {
                feed(&mut connection, &masked(&hex("8a 00")));
            }
            handle(&mut connection);
        }
        if closes {
            connection.close(CloseCode::NORMAL, "").unwrap();
        }
        let steps = (0..10).take_while(|_| handle(&mut connection)).count();
        prop_assert!(steps < 10);
        prop_assert_eq!(connection.is_finished(), ping.is_some() || closes);
    }
}
