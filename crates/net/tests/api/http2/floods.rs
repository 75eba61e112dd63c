//! Peers that mean harm (RUSTSEC-2023-0034, 2024-0003, 2024-0332, 2026-0258, CVE-2023-44487): the connection ends, and nobody else notices.

use super::{
    CONTINUATION, DATA, END_HEADERS, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, Socket, WINDOW_UPDATE, connect,
    field, frame, head, open, raw, read_frame, text,
};
use crate::{block_on, start};
use core::time::Duration;
use switchboard_core::Limits;
use switchboard_net::Server;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// `ENHANCE_YOUR_CALM` and `PROTOCOL_ERROR` (RFC 9113 §7).
const CALM: u32 = 11;
const PROTOCOL_ERROR: u32 = 1;

/// Writes what `flood` makes until the connection ends, while an innocent client goes on. Returns the codes of the GOAWAYs, and how many
/// pieces there were.
fn flooded(limit: usize, mut flood: impl FnMut(usize) -> Vec<u8> + Send + 'static) -> (Vec<u32>, usize) {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    let result = block_on(async {
        let mut innocent = open(&connect(&server).await, "/chat").await;
        let stream = raw(&server).await;
        let (reader, mut writer) = stream.into_split();
        let writing = tokio::spawn(async move {
            let begin = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
            let mut pieces = 0;
            let mut written = writer.write_all(&begin).await;
            while written.is_ok() && pieces < limit {
                written = writer.write_all(&flood(pieces)).await;
                pieces += 1;
            }
            (pieces, writer)
        });
        let codes = tokio::spawn(async move { goaways(reader).await });
        for _ in 0..50 {
            still_here(&mut innocent).await;
        }
        let (pieces, writer): (usize, OwnedWriteHalf) = writing.await.unwrap();
        assert!(pieces < limit, "the flood was never stopped");
        drop(writer);
        still_here(&mut innocent).await;
        settled(&server).await;
        (codes.await.unwrap(), pieces)
    });
    server.stop();
    result
}

async fn still_here(innocent: &mut Socket) {
    innocent.send("still here").await.unwrap();
    assert_eq!(text(innocent).await, "still here");
}

/// Only the innocent is left.
async fn settled(server: &Server) {
    for _ in 0..2_000 {
        let total = server.hub().stats().total;
        if total.connections == 1 && total.sessions.iter().sum::<u64>() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("something is left: {:?}", server.hub().stats().total);
}

async fn goaways(reader: tokio::net::tcp::OwnedReadHalf) -> Vec<u32> {
    let mut codes = Vec::new();
    let mut stream = Reader(reader);
    while let Some((kind, payload)) = stream.frame().await {
        if kind == GOAWAY {
            codes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    codes
}

struct Reader(tokio::net::tcp::OwnedReadHalf);

impl Reader {
    async fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        use tokio::io::AsyncReadExt;
        let mut header = [0; 9];
        self.0.read_exact(&mut header).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((header[3], payload))
    }
}

fn stream_id(number: usize) -> u32 {
    u32::try_from(number).unwrap() * 2 + 1
}

/// Rapid reset (CVE-2023-44487): as fast as it can.
#[test]
fn resets_with_their_requests() {
    let (codes, pieces) = flooded(100_000, |number| {
        let id = stream_id(number);
        [frame(HEADERS, END_HEADERS, id, &head("/chat")), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat()
    });
    // A GOAWAY may be lost with the reset of a connection that has unread bytes.
    assert!(codes.iter().all(|code| *code == CALM), "{codes:?} after {pieces}");
}

/// Rapid reset of WebSockets that have opened: neither the parser's limits nor that of streams see them.
#[test]
fn resets_of_what_has_opened() {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    block_on(async {
        let mut innocent = open(&connect(&server).await, "/chat").await;
        let mut stream = raw(&server).await;
        stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
        let mut opened = 0;
        let code = 'flood: loop {
            let id = stream_id(opened);
            let request = frame(HEADERS, END_HEADERS, id, &head("/chat"));
            if stream.write_all(&request).await.is_err() {
                break None;
            }
            loop {
                match read_frame(&mut stream).await {
                    Some((HEADERS, _, answered, _)) if answered == id => break,
                    Some((GOAWAY, _, _, payload)) => {
                        break 'flood Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                    }
                    Some(_) => {}
                    None => break 'flood None,
                }
            }
            opened += 1;
            assert!(opened < 5_000, "the flood was never stopped");
            let _ = stream.write_all(&frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())).await;
        };
        assert_eq!(code, Some(CALM), "after {opened}");
        assert!((200..1_500).contains(&opened), "{opened}");
        assert_eq!(server.hub().stats().total.reset_floods, 1);
        still_here(&mut innocent).await;
        settled(&server).await;
    });
    server.stop();
}

/// CONTINUATION without an end (RUSTSEC-2024-0332).
#[test]
fn a_head_without_an_end() {
    let (codes, pieces) = flooded(100_000, |number| match number {
        0 => frame(HEADERS, 0, 1, &head("/chat")),
        _ => frame(CONTINUATION, 0, 1, &field("x-more", &"x".repeat(120)).repeat(100)),
    });
    assert!(codes.iter().all(|code| [CALM, PROTOCOL_ERROR].contains(code)), "{codes:?} after {pieces}");
    assert!(pieces < 20_000, "{pieces}");
}

/// The same in empty frames, which no limit in bytes ends.
#[test]
fn a_head_in_empty_pieces() {
    let (codes, _) = flooded(2_000, |number| match number {
        0 => frame(HEADERS, 0, 1, &head("/chat")),
        _ => frame(CONTINUATION, 0, 1, &[]).repeat(1_000),
    });
    assert!(codes.iter().all(|code| [CALM, PROTOCOL_ERROR].contains(code)), "{codes:?}");
}

/// DATA frames without data cost nothing of a window (RUSTSEC-2026-0258).
#[test]
fn empty_data() {
    let (codes, _) = flooded(2_000, |number| match number {
        0 => frame(HEADERS, END_HEADERS, 1, &head("/chat")),
        _ => frame(DATA, 0, 1, &[]).repeat(1_000),
    });
    assert!(codes.iter().all(|code| *code == CALM), "{codes:?}");
}

#[test]
fn a_list_of_headers_that_is_too_large_is_answered_and_costs_only_itself() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut stream = raw(&server).await;
        let large = [head("/chat"), field("x-large", &"x".repeat(120)).repeat(150)].concat();
        let (first, second) = large.split_at(16_000);
        let request = [
            PREFACE,
            &frame(SETTINGS, 0, 0, &[]),
            &frame(HEADERS, 0, 1, first),
            &frame(CONTINUATION, END_HEADERS, 1, second),
            &frame(HEADERS, END_HEADERS, 3, &head("/chat")),
        ];
        stream.write_all(&request.concat()).await.unwrap();
        let mut answers = Vec::new();
        while answers.len() < 2 {
            if let Some((HEADERS, _, id, payload)) = read_frame(&mut stream).await {
                answers.push((id, payload));
            }
        }
        answers.sort();
        // 431, as HPACK writes it: a literal whose name is `:status` (index 8); and 200, which has an index of its own.
        assert!(answers[0].1.starts_with(&[0x48]) && !answers[0].1.starts_with(&[0x88]), "{answers:x?}");
        assert!(answers[1].1.starts_with(&[0x88]), "{answers:x?}");
    });
    server.stop();
}

/// A window that opens byte by byte makes the server send many small frames, for one stream, and no more than was published.
#[test]
fn a_window_of_single_bytes() {
    let server = start(Limits::default(), |settings| settings.shards = 1);
    block_on(async {
        let mut innocent = open(&connect(&server).await, "/chat").await;
        let mut stream = raw(&server).await;
        // SETTINGS_INITIAL_WINDOW_SIZE 0.
        let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        stream
            .write_all(&[PREFACE, &settings, &frame(HEADERS, END_HEADERS, 1, &head("/chat"))].concat())
            .await
            .unwrap();
        while read_frame(&mut stream).await.unwrap().0 != HEADERS {}
        still_here(&mut innocent).await;
        let mut received = Vec::new();
        while received.len() < 12 {
            stream.write_all(&frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes())).await.unwrap();
            let (kind, _, _, payload) = read_frame(&mut stream).await.unwrap();
            if kind == DATA {
                received.extend(payload);
            }
        }
        assert_eq!(received, b"\x81\x0astill here");
        still_here(&mut innocent).await;
    });
    server.stop();
}

#[test]
fn a_connection_that_breaks_the_framing() {
    let server = start(Limits::default(), |_| {});
    block_on(async {
        let mut innocent = open(&connect(&server).await, "/chat").await;
        let request = frame(HEADERS, END_HEADERS, 1, &head("/chat"));
        let faults: [&[u8]; 5] = [
            &frame(DATA, 0, 0, b"x"),
            &frame(HEADERS, END_HEADERS, 2, &head("/chat")),
            &frame(WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes()),
            &frame(CONTINUATION, END_HEADERS, 1, &[]),
            b"\xff\xff\xff\0\0\0\0\0\x01",
        ];
        for fault in faults {
            let mut stream: TcpStream = raw(&server).await;
            let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &request, fault].concat();
            stream.write_all(&bytes).await.unwrap();
            let mut told = false;
            while let Some((kind, ..)) = read_frame(&mut stream).await {
                told |= kind == GOAWAY;
            }
            assert!(told, "{fault:x?}");
            still_here(&mut innocent).await;
        }
        settled(&server).await;
    });
    server.stop();
}
