//! What a peer may make us allocate: counted by an allocator that knows what each thread holds.

use allocation_counter::measure;
use bytes::{Bytes, BytesMut};
use switchboard_ws_proto::handshake::ServerHandshake;
use switchboard_ws_proto::{Connection, Limits};

use crate::support::*;

/// The most bytes held at once while `run` runs, the number of allocations, and what `run` gave.
fn cost<T>(run: impl FnOnce() -> T) -> (usize, usize, T) {
    let mut result = None;
    let info = measure(|| result = Some(run()));
    (info.bytes_max as usize, info.count_total as usize, result.unwrap())
}

fn unlimited() -> Connection {
    limited(Limits { message_bytes_max: usize::MAX, frame_bytes_max: usize::MAX, fragments_max: usize::MAX })
}

#[test]
fn the_count_counts() {
    let (most, allocations, _) = cost(|| vec![0u8; 1000]);
    assert!((1000..1100).contains(&most) && allocations == 1, "{most} bytes, {allocations} allocations");
}

#[test]
fn a_declared_length_costs_nothing() {
    for exponent in 14..63 {
        let mut header = hex("82 ff");
        header.extend_from_slice(&(1u64 << exponent).max(65536).to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        let (most, ..) = cost(|| {
            let mut connection = unlimited();
            assert!(feed(&mut connection, &header).is_empty());
            assert!(connection.read_buffer().is_none());
            feed(&mut connection, b"x");
            connection
        });
        assert!(most < 16 * 1024, "2^{exponent}: {most} bytes");
    }
}

/// Both forms of a long length, at every edge, from both sides: the shortest form is the only one, 2⁶³ is too much, and what is taken costs
/// nothing before its bytes come.
#[test]
fn lengths_at_every_edge_are_taken_or_refused_for_nothing() {
    const EDGES: &[u64] = &[0, 125, 126, 127, 65_535, 65_536, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 62];
    const MORE: &[u64] = &[(1 << 63) - 1, 1 << 63, (1 << 63) + 125, u64::MAX];
    for &length in EDGES.iter().chain(MORE) {
        check_length(length, None);
        if let Ok(short) = u16::try_from(length) {
            check_length(length, Some(short));
        }
    }
}

fn check_length(length: u64, short: Option<u16>) {
    let expected = match (length, short) {
        (0..126, _) | (126..65_536, None) => vec![format!("Failed(LengthNotMinimal({length}))")],
        (0x8000_0000_0000_0000.., _) => vec!["Failed(LengthOverflow)".to_owned()],
        _ => vec![],
    };
    for masked in [true, false] {
        let mut header = vec![0x82, if short.is_some() { 126 } else { 127 } | if masked { 0x80 } else { 0 }];
        match short {
            Some(short) => header.extend_from_slice(&short.to_be_bytes()),
            None => header.extend_from_slice(&length.to_be_bytes()),
        }
        header.extend_from_slice(&[0; 4][..if masked { 4 } else { 0 }]);
        let (most, _, found) = cost(|| {
            let mut connection = if masked { server() } else { client() };
            connection.set_limits(Limits::NONE);
            let found = feed(&mut connection, &header);
            assert!(connection.read_buffer().is_none());
            found
        });
        assert_eq!(found, expected, "{length:#x}, masked: {masked}");
        assert!(most < 16 * 1024, "{length:#x}: {most} bytes");
    }
}

#[test]
fn memory_grows_with_what_was_sent() {
    for pieces in [1, 2, 3, 4, 5, 6, 8, 10, 20, 50, 100, 300, 1000] {
        let sent = pieces * 4096;
        let (most, ..) = cost(|| {
            let mut connection = unlimited();
            feed(&mut connection, &hex("82 ff 4000000000000000 00000000"));
            for _ in 0..pieces {
                match connection.read_buffer() {
                    Some(buffer) => buffer.extend_from_slice(&[0; 4096]),
                    None => connection.receive(BytesMut::from(&[0; 4096][..])),
                }
                assert!(connection.poll_event().is_none());
            }
        });
        assert!(most > sent, "the count missed it: {most}");
        assert!(most < sent * 20 + 32 * 1024, "{most} bytes held for {sent} sent");
    }
}

#[test]
fn endless_fragments_end() {
    for (payload, opcode) in [("", "02"), ("", "01"), ("61", "02"), ("61", "01")] {
        let first = masked(&hex(&format!("{opcode} {:02x} {payload}", payload.len() / 2)));
        let next = masked(&hex(&format!("00 {:02x} {payload}", payload.len() / 2)));
        let (most, _, fragments) = cost(|| {
            let mut connection = server();
            let mut fragments = 1;
            let mut found = feed(&mut connection, &first);
            while found.is_empty() && fragments < 100_000 {
                found = feed(&mut connection, &next);
                fragments += 1;
            }
            assert_eq!(found, ["Failed(TooManyFragments { max: 1024 })"]);
            assert!(connection.poll_event().is_none());
            assert_eq!(to_hex(&written(&mut connection)[2..4]), "03 f1");
            fragments
        });
        assert_eq!(fragments, 1025);
        assert!(most < 16 * 1024, "{most} bytes");
    }
}

#[test]
fn a_message_costs_no_more_than_its_limit() {
    let limits = Limits { message_bytes_max: 100_000, ..Limits::default() };
    let piece = masked(&frame(false, switchboard_ws_proto::Opcode::Continuation, &[7; 1000]));
    let mut first = piece.clone();
    first[0] = 2;
    let (most, ..) = cost(|| {
        let mut connection = limited(limits);
        let mut found = feed(&mut connection, &first);
        while found.is_empty() {
            found = feed(&mut connection, &piece);
        }
        assert_eq!(found, ["Failed(MessageTooBig { bytes: 101000, max: 100000 })"]);
    });
    assert!(most < 2 * 100_000 + 16 * 1024, "{most} bytes");
}

#[test]
fn an_idle_connection_owns_nothing() {
    let mut connection = server();
    let info = measure(|| {
        let mut chunk = BytesMut::with_capacity(65536);
        // A message, a ping, and a header without its end.
        chunk.extend_from_slice(&masked(&hex("81 01 61 89 00")));
        chunk.extend_from_slice(&[0x81, 0xfe, 1]);
        connection.receive(chunk);
        while connection.poll_event().is_some() {}
        drop(connection.reclaim_input());
        written(&mut connection);
        drop(connection.reclaim_transmit());
    });
    assert!(info.count_total > 0);
    assert_eq!(info.bytes_current, 0);
    assert!(size_of::<Connection>() <= 208, "{} bytes", size_of::<Connection>());
}

#[test]
fn small_messages_are_not_allocated() {
    let frames = masked(&hex("81 05 48656c6c6f 82 14 00*20"));
    let mut connection = server();
    let mut pool = Some(BytesMut::with_capacity(65536));
    let mut output = Some(BytesMut::with_capacity(16384));
    let mut round = || {
        let mut chunk = pool.take().unwrap();
        assert!(chunk.try_reclaim(65536));
        chunk.extend_from_slice(&frames);
        connection.lend_transmit(output.take().unwrap());
        connection.receive(chunk);
        while let Some(event) = connection.poll_event() {
            if let switchboard_ws_proto::Event::Message(message) = event {
                connection.send(message).unwrap();
            }
        }
        pool = connection.reclaim_input().map(|mut chunk| {
            chunk.clear();
            chunk
        });
        let length = connection.transmit_len();
        bytes::Buf::advance(connection.transmit(), length);
        output = connection.reclaim_transmit();
    };
    // The first split makes the buffer a shared one.
    round();
    let (_, allocations, ()) = cost(|| (0..1000).for_each(|_| round()));
    assert_eq!(allocations, 0);
}

#[test]
fn an_endless_request_is_cut_off() {
    let (most, ..) = cost(|| {
        let mut handshake = ServerHandshake::new();
        assert!(handshake.receive(b"GET / HTTP/1.1\r\nX: ").unwrap().is_none());
        let sent = (0..20_000).take_while(|_| handshake.receive(&[b'x'; 1000]).is_ok()).count();
        assert!(sent < 66, "{sent} KB");
    });
    assert!(most < 256 * 1024, "{most} bytes");
}

#[test]
fn shared_bytes_outlive_their_connection() {
    let mut connection = server();
    connection.receive(BytesMut::from(&masked(&hex("82 02 0102"))[..]));
    let Some(switchboard_ws_proto::Event::Message(message)) = connection.poll_event() else { panic!() };
    let compact = message.to_compact();
    drop(connection);
    assert_eq!(message, compact);
    assert_eq!(compact.into_bytes(), Bytes::from_static(&[1, 2]));
}
