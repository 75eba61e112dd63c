//! What holds for any bytes that reach a connection, in either role: the same events however they are cut, bounded memory, output that the
//! other side can read, and echoes that are what was said. Owns the options of the `frames_*` targets.

use bytes::Bytes;
use switchboard_ws_proto::deflate::{Agreed, Policy, Tuning};
use switchboard_ws_proto::{Config, Event, Limits, Message, Role};

use crate::drive::{CLIENT, decoded_by, drive, drop_all};
use crate::{Input, bytes_held, frames};

/// Options: a byte of switches, a byte of limits, two sizes of pieces. The rest is a script, or bytes as they are.
pub fn check(server: bool, data: &[u8]) {
    let mut input = Input::new(data);
    let (switches, limits) = (input.byte(), limits(input.byte()));
    let cuts = [input.byte(), input.byte()];
    let stream = match switches & RAW {
        0 => frames(input.rest(), server),
        _ => input.rest().to_vec(),
    };
    let (role, other) = if server { (Role::Server, CLIENT) } else { (CLIENT, Role::Server) };
    let config = Config::default().limits(limits).deflate(deflate(switches));
    let whole = drive(role, &config, &stream, &[], true);
    let cut = drive(role, &config, &stream, &cuts, true);
    assert_eq!(whole, cut, "the same bytes, cut differently");
    let echoed = decoded_by(other, &Config::default().deflate(config.deflate), &whole.written);
    assert_eq!(messages(&echoed), messages(&whole.events), "what was echoed");
    assert!(answers(&echoed).le(&expected_answers(&whole.events)), "{:?}\nanswered by\n{echoed:?}", whole.events);

    let (held, ()) = bytes_held(|| drop_all(role, &config, &stream, &cuts));
    let allowed = limits.message_bytes_max.min(INFLATED_RATIO * stream.len()) * 2 + LONGEST_PIECE * 4 + OVERHEAD;
    assert!(held <= allowed, "{held} bytes held for a stream of {}, allowed are {allowed}", stream.len());
}

fn messages(events: &[Event]) -> Vec<&Message> {
    events.iter().filter_map(|event| if let Event::Message(message) = event { Some(message) } else { None }).collect()
}

/// Pings that were answered, and the number of Closes.
fn answers(events: &[Event]) -> Answers {
    let pongs =
        events.iter().filter_map(|event| if let Event::Pong(bytes) = event { Some(bytes.clone()) } else { None });
    Answers { pongs: pongs.collect(), closes: events.iter().filter(|event| matches!(event, Event::Close(_))).count() }
}

fn expected_answers(events: &[Event]) -> Answers {
    let pings =
        events.iter().filter_map(|event| if let Event::Ping(bytes) = event { Some(bytes.clone()) } else { None });
    let ends = events.iter().filter(|event| matches!(event, Event::Close(_) | Event::Failed(_))).count();
    Answers { pongs: pings.collect(), closes: ends }
}

#[derive(Debug)]
struct Answers {
    pongs: Vec<Bytes>,
    closes: usize,
}

impl Answers {
    /// Each end is answered by one Close. Answers to pings come in order; some may be left out when output is stuck (§5.5.3).
    fn le(&self, expected: &Self) -> bool {
        let mut pings = expected.pongs.iter();
        self.closes == expected.closes && self.pongs.iter().all(|pong| pings.any(|ping| ping == pong))
    }
}

fn limits(choice: u8) -> Limits {
    Limits {
        message_bytes_max: [64, 1_000, 65_536, 16 << 20][usize::from(choice & 3)],
        frame_bytes_max: [usize::MAX, 100, 5_000, 65_536][usize::from(choice >> 2 & 3)],
        fragments_max: [1_024, 3][usize::from(choice >> 4 & 1)],
    }
}

/// No compression, or one with and without context takeover in either direction.
fn deflate(switches: u8) -> Option<Agreed> {
    let policy = Policy::default()
        .context_takeover(switches & TAKEOVER != 0)
        .peer_context_takeover(switches & PEER_TAKEOVER != 0)
        .window_bits(9 + (switches >> 5));
    let params = policy.answer(["permessage-deflate; client_max_window_bits"]).ok().flatten()?;
    let tuning = Tuning { message_bytes_min: 16, ..Tuning::default() };
    (switches & DEFLATE != 0).then_some(Agreed { params, tuning })
}

const RAW: u8 = 1;
const DEFLATE: u8 = 2;
const TAKEOVER: u8 = 4;
const PEER_TAKEOVER: u8 = 8;

/// Deflate's best.
const INFLATED_RATIO: usize = 1_032;

/// A cut's size is a byte.
const LONGEST_PIECE: usize = 255;

/// A connection itself, a decompressor with its block, a control frame, and what is rounded up.
const OVERHEAD: usize = 128 * 1024;
