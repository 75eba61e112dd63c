//! `Sec-WebSocket-Extensions`, both roles: no header does harm, several lines are as good as one, and whatever is agreed works.
//!
//! Input: two bytes for each of two policies, then the lines of a header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use switchboard_fuzz::{CLIENT, Input, decoded_by, send_all};
use switchboard_ws_proto::deflate::{Agreed, Params, Policy, Tuning};
use switchboard_ws_proto::{Config, Event, Message, Role};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (ours, theirs) = (policy(&mut input), policy(&mut input));
    let text = String::from_utf8_lossy(input.rest()).into_owned();
    let lines: Vec<&str> = text.split('\n').collect();

    let answer = ours.answer(lines.iter().copied());
    assert_eq!(answer, ours.answer([&*lines.join(",")]), "several lines are one list (RFC 9110 §5.3)");
    if let Ok(Some(params)) = answer {
        works(params, params);
    }
    if let Ok(Some(params)) = ours.offer().check(lines.iter().copied()) {
        works(params, params);
    }

    // Two that both keep to the rules always agree.
    let offer = ours.offer();
    let chosen = theirs.answer([&*offer.to_string()]).expect("an offer is a list").expect("an offer is acceptable");
    let agreed = offer.check([&*chosen.to_string()]).expect("an answer keeps to the offer").expect("compression");
    works(chosen, agreed);
});

fn policy(input: &mut Input<'_>) -> Policy {
    let (switches, bits) = (input.byte(), input.byte());
    Policy::default()
        .context_takeover(switches & 1 != 0)
        .peer_context_takeover(switches & 2 != 0)
        .window_bits(bits & 0x1f)
        .peer_window_bits(bits >> 3)
        .tuning(Tuning { level: switches >> 4, message_bytes_min: 0 })
}

/// Each side understands what the other compresses with its own view of what was agreed.
fn works(server: Params, client: Params) {
    let config = |params| Config::default().deflate(Some(Agreed { params, tuning: TUNING }));
    let (server, client) = (config(server), config(client));
    let messages = [Message::from("again and again and again"), Message::from("again and again and again")];
    let expected: Vec<Event> = messages.iter().cloned().map(Event::Message).collect();
    let to_client = send_all(Role::Server, &server, &messages);
    assert_eq!(decoded_by(CLIENT, &client, &to_client), expected);
    let to_server = send_all(CLIENT, &client, &messages);
    assert_eq!(decoded_by(Role::Server, &server, &to_server), expected);
}

const TUNING: Tuning = Tuning { level: 1, message_bytes_min: 0 };
