//! What compression costs: what a bomb may cost us, what connections hold and give back, counted by an allocator.

use std::time::Duration;

use allocation_counter::measure;
use bytes::{Buf, Bytes};
use switchboard_ws_proto::deflate::{Tuning, compress_frame};
use switchboard_ws_proto::{Connection, Limits, Message, Opcode, Role, Time};

use crate::deflate::{ALONE, TAKEOVER, agreed, config};
use crate::support::*;

/// On a thread of its own, whose pools are empty.
fn fresh<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn bomb(inflated: usize) -> Bytes {
    let bomb = compress_frame(Opcode::Binary, &vec![0; inflated], 15, Tuning { level: 9, ..Tuning::default() });
    assert!(bomb.len() < inflated / 900, "{} bytes", bomb.len());
    bomb
}

#[test]
fn a_bomb_costs_the_limit_and_64_kib() {
    for (inflated, max) in [(64 << 20, 1 << 20), (64 << 20, 100_000), (8 << 20, 5), (64 << 20, 16 << 20)] {
        let bomb = bomb(inflated);
        for cut in [bomb.len(), 1000, 1] {
            let most = fresh(|| {
                let limits = Limits { message_bytes_max: max, ..Limits::default() };
                let mut connection = agreed(CLIENT, ALONE, limits);
                let info = measure(|| {
                    let mut found = Vec::new();
                    for chunk in bomb.chunks(cut) {
                        connection.receive(bytes::BytesMut::from(chunk));
                        found.extend(connection.poll_event());
                        drop(connection.reclaim_input());
                        if !found.is_empty() {
                            break;
                        }
                    }
                    assert_eq!(show(&found[0]), format!("Failed(MessageTooBig {{ bytes: {}, max: {max} }})", max + 1));
                });
                usize::try_from(info.bytes_max).unwrap() - cut
            });
            assert!(most <= max + 64 * 1024, "{most} bytes for {max}, {cut} at a time");
            assert!(most > max, "the count missed it: {most}");
        }
    }
}

#[test]
fn bombs_by_fragments_are_no_better() {
    let max = 200_000;
    let mut parts = agreed(Role::Server, ALONE, Limits::default());
    for part in 0..40 {
        let opcode = if part == 0 { Opcode::Binary } else { Opcode::Continuation };
        parts.send_fragment(opcode, false, Bytes::from(vec![0; 100_000])).unwrap();
    }
    let bytes = written(&mut parts);
    let most = fresh(|| {
        let limits = Limits { message_bytes_max: max, ..Limits::default() };
        let mut connection = agreed(CLIENT, ALONE, limits);
        let info = measure(|| assert!(feed(&mut connection, &bytes)[0].starts_with("Failed(MessageTooBig")));
        usize::try_from(info.bytes_max).unwrap() - bytes.len()
    });
    assert!(most <= max + 64 * 1024, "{most} bytes");
}

/// Sends and receives a compressed message.
fn used(answer: &str) -> Connection {
    let mut connection = agreed(Role::Server, answer, Limits::default());
    connection.send(Message::from("a".repeat(5000))).unwrap();
    let length = connection.transmit_len();
    connection.transmit().advance(length);
    drop(connection.reclaim_transmit());
    let frame = compress_frame(Opcode::Text, &[b'a'; 1000], 15, Tuning::default());
    assert_eq!(feed(&mut connection, &masked(&frame)), ["Text(1000 bytes)"]);
    drop(connection.reclaim_input());
    connection
}

#[test]
fn an_idle_connection_without_context_holds_nothing() {
    // The second connection takes what the thread has from the first, and adds next to nothing.
    let bytes = fresh(|| {
        drop(used(ALONE));
        let mut kept = Vec::with_capacity(10);
        let info = measure(|| kept.extend((0..10).map(|_| used(ALONE))));
        usize::try_from(info.bytes_current).unwrap() / 10
    });
    assert!(bytes < 512, "{bytes} bytes");
}

#[test]
fn what_context_costs() {
    let table = [
        (TAKEOVER, 4 + 47),
        ("permessage-deflate; client_no_context_takeover", 4),
        ("permessage-deflate; client_no_context_takeover; server_max_window_bits=9", 0),
        ("permessage-deflate; server_no_context_takeover", 47),
    ];
    for (answer, expected) in table {
        let bytes = fresh(|| {
            drop(used(ALONE));
            drop(used(TAKEOVER));
            // Takes the thread's own first.
            let first: Vec<Connection> = (0..16).map(|_| used(answer)).collect();
            let mut more = Vec::with_capacity(10);
            let info = measure(|| more.extend((0..10).map(|_| used(answer))));
            drop(first);
            usize::try_from(info.bytes_current).unwrap() / 10
        });
        let kib = bytes / 1024;
        assert!(kib.abs_diff(expected) <= 1, "{answer}: {kib} KiB");
    }
}

#[test]
fn a_context_that_nobody_uses_is_given_back() {
    let seconds = Duration::from_secs;
    let at = |second| Time::ZERO + seconds(second);
    fresh(|| {
        let config = config("permessage-deflate; client_no_context_takeover", Limits::default())
            .ping_interval(Some(seconds(10)))
            .pong_timeout(seconds(5));
        let mut connection = Connection::new(Role::Server, config);
        let mut receiver = agreed(CLIENT, TAKEOVER, Limits::default());
        let mut round = |connection: &mut Connection| {
            connection.send(Message::from("a context ".repeat(100))).unwrap();
            let bytes = written(connection);
            assert_eq!(feed(&mut receiver, &bytes), ["Text(1000 bytes)"]);
            bytes.len()
        };
        connection.handle_timeout(at(0));
        let first = round(&mut connection);
        for _ in 0..8 {
            assert!(round(&mut connection) < first);
        }
        let held = measure(|| {
            for second in [10, 20] {
                feed(&mut connection, &masked(&hex("8a 00")));
                connection.handle_timeout(at(second));
                if second == 10 {
                    assert!(round(&mut connection) < first, "one interval keeps it");
                }
            }
        });
        assert!(held.bytes_current.abs() < 1024, "used between two looks");
        let held = measure(|| {
            feed(&mut connection, &masked(&hex("8a 00")));
            connection.handle_timeout(at(30));
        });
        assert!(held.bytes_current < -4000, "{} bytes", held.bytes_current);
        assert_eq!(round(&mut connection), first, "a new context");
        // Half of a message stands in it: it stays.
        connection.send_fragment(Opcode::Text, false, Bytes::from(vec![b'a'; 1000])).unwrap();
        for second in [40, 50, 60] {
            feed(&mut connection, &masked(&hex("8a 00")));
            connection.handle_timeout(at(second));
        }
        connection.send_fragment(Opcode::Continuation, true, Bytes::from(vec![b'a'; 1000])).unwrap();
        assert_eq!(feed(&mut receiver, &written(&mut connection)), ["Text(2000 bytes)"]);
    });
}

#[test]
fn connections_give_back_what_they_held() {
    fresh(|| {
        // More than the thread keeps.
        drop((0..40).map(|_| used(TAKEOVER)).collect::<Vec<_>>());
        let info = measure(|| drop((0..3).map(|_| used(TAKEOVER)).collect::<Vec<_>>()));
        assert_eq!(info.bytes_current, 0);
        assert!(info.bytes_max < 64 * 1024, "{} bytes", info.bytes_max);
        // A failure gives it back too, and so does a connection that is dropped in the middle of a message.
        let info = measure(|| {
            for frames in ["c1 01 07", "41 03 f248cd"] {
                let mut connection = agreed(CLIENT, ALONE, Limits::default());
                feed(&mut connection, &hex(frames));
            }
        });
        assert_eq!(info.bytes_current, 0);
        assert!(info.bytes_max < 16 * 1024, "{} bytes", info.bytes_max);
    });
}

#[test]
fn compressed_messages_are_not_allocated_but_for_their_payload() {
    fresh(|| {
        for answer in [ALONE, TAKEOVER] {
            let mut connection = agreed(CLIENT, answer, Limits::default());
            let frame = compress_frame(Opcode::Binary, &[b'a'; 1000], 15, Tuning::default());
            let mut round = || {
                connection.receive(bytes::BytesMut::from(&frame[..]));
                let Some(switchboard_ws_proto::Event::Message(message)) = connection.poll_event() else { panic!() };
                drop(connection.reclaim_input());
                connection.send(message).unwrap();
                let length = connection.transmit_len();
                connection.transmit().advance(length);
            };
            round();
            let info = measure(|| (0..100).for_each(|_| round()));
            // The buffer that it comes in, and what it is inflated to.
            assert!(info.count_total <= 300, "{answer}: {} allocations in 100 rounds", info.count_total);
        }
    });
}
