//! Conversations played against the clock of the test: what is done when, and how it ends.

use super::*;
use proptest::prelude::*;
use switchboard_ws::{CloseCode, Received};
use switchboard_ws_proto::{FrameHeader, Opcode};

const PIPE: Look = Look {
    json: false,
    pretty: false,
    timestamps: false,
    colour: false,
    frames: false,
    terminal: false,
    interactive: false,
    epoch_ms: 0,
};
const TERMINAL: Look = Look { terminal: true, interactive: true, ..PIPE };

fn manner() -> Manner {
    Manner { wait: Some(Duration::from_secs(1)), native: true, ..Manner::default() }
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn frame(code: u16, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame::new(CloseCode::new(code), reason))
}

fn text(text: &str) -> Received {
    Received::Message(text.to_owned().into())
}

fn start(manner: Manner, look: Look) -> Conversation {
    let mut conversation = Conversation::new(manner, look, History::default(), None, 7);
    assert_eq!(acts(&mut conversation), ["connect"]);
    conversation
}

fn open(manner: Manner, look: Look) -> Conversation {
    let mut conversation = start(manner, look);
    conversation.opened(at(0), &Agreed::default());
    conversation
}

/// What is to be done, in short.
fn acts(conversation: &mut Conversation) -> Vec<String> {
    let mut acts = Vec::new();
    while let Some(act) = conversation.poll_act() {
        acts.push(match act {
            Act::Connect => "connect".to_owned(),
            Act::Send(Outgoing::Message(Message::Text(text))) => format!("send {}", &*text),
            Act::Send(Outgoing::Message(Message::Binary(bytes))) => format!("send {bytes:?}"),
            Act::Send(Outgoing::Close(Some((code, reason)))) => format!("close {code} {reason}").trim_end().to_owned(),
            Act::Send(Outgoing::Close(None)) => "close".to_owned(),
            Act::Send(Outgoing::Ping(payload)) => format!("ping {}", String::from_utf8_lossy(&payload)),
            Act::Send(Outgoing::Pong(payload)) => format!("pong {}", String::from_utf8_lossy(&payload)),
            Act::Drop => "drop".to_owned(),
            Act::ListFiles { folder, name } => format!("list {folder} {name}"),
            Act::ReadFile(path) => format!("read {path}"),
            Act::Print { data: true, text } => format!("out: {text}"),
            Act::Print { data: false, text } => format!("say: {text}"),
            Act::Record(line) => format!("record {line}"),
            Act::Remember(line) => format!("remember {line}"),
            Act::Clear => "clear".to_owned(),
            Act::Suspend => "suspend".to_owned(),
        });
    }
    acts
}

/// The exit code's reason; `None` if it goes on.
fn end(conversation: &mut Conversation) -> Option<String> {
    Some(match conversation.take_end()? {
        Ok(()) => "ok".to_owned(),
        Err(Failed::Connecting(error)) => format!("connecting: {error}"),
        Err(Failed::Connection(why)) => format!("connection: {why}"),
        Err(Failed::Refused(why)) => format!("refused: {why}"),
        Err(other) => other.to_string(),
    })
}

#[test]
fn a_pipe_sends_waits_and_closes() {
    let mut talk = start(manner(), PIPE);
    assert!(!talk.takes_input());
    talk.opened(
        at(5),
        &Agreed { subprotocol: Some("chat".into()), compression: Some("permessage-deflate".into()), http2: true },
    );
    assert_eq!(acts(&mut talk), ["say: connected with the subprotocol chat over HTTP/2, permessage-deflate"]);
    assert!(talk.takes_input());
    talk.line(at(10), Line::Text("/help".into()));
    talk.line(at(10), Line::Binary(vec![255]));
    talk.input_ended(at(10));
    assert_eq!(acts(&mut talk), ["send /help", "send b\"\\xff\""]);
    // What is not sent yet is not waited for.
    assert_eq!(talk.poll_timeout(), None);
    talk.sent(at(20), 1);
    assert_eq!(talk.poll_timeout(), None);
    talk.sent(at(30), 1);
    assert_eq!(talk.poll_timeout(), Some(at(1_030)));
    talk.heard(at(40), &text("answer"));
    talk.handle_timeout(at(1_029));
    assert_eq!(acts(&mut talk), ["out: answer"]);
    talk.handle_timeout(at(1_030));
    assert_eq!(acts(&mut talk), ["close 1000"]);
    talk.closed(at(1_040), frame(1000, ""));
    assert_eq!(acts(&mut talk), ["say: closed: 1000"]);
    assert_eq!(end(&mut talk).as_deref(), Some("ok"));
}

#[test]
fn what_is_typed_while_it_connects_is_sent_then() {
    let mut talk = start(manner(), TERMINAL);
    talk.keys(at(1), b"one\r/ping\r");
    assert_eq!(acts(&mut talk), ["out: > one", "remember one", "out: > /ping", "remember /ping"]);
    talk.opened(at(2), &Agreed::default());
    assert_eq!(acts(&mut talk)[1..], ["send one", "ping 1"]);
    talk.heard(at(5), &Received::Pong("1".into()));
    assert_eq!(acts(&mut talk), ["say: pong 1 after 3.00 ms"]);

    let mut failing = start(Manner { reconnect: true, ..manner() }, TERMINAL);
    failing.keys(at(1), b"one\r");
    failing.not_opened(at(2), ConnectError::Eof);
    failing.keys(at(3), b"two\r");
    let said = acts(&mut failing).join("|");
    assert!(
        said.contains("say: 1 message is not sent|") && said.ends_with("say: there is no connection: not sent"),
        "{said}"
    );
    failing.handle_timeout(failing.poll_timeout().unwrap());
    failing.opened(at(900), &Agreed::default());
    assert!(!acts(&mut failing).join("|").contains("send"));
}

#[test]
fn a_server_that_does_not_answer_is_not_waited_for() {
    let mut talk = open(Manner { execute: vec!["a".into(), "b".into()], ..manner() }, PIPE);
    assert_eq!(acts(&mut talk), ["say: connected", "send a", "send b"]);
    assert!(!talk.takes_input());
    talk.sent(at(0), 2);
    talk.handle_timeout(at(1_000));
    assert_eq!(acts(&mut talk), ["close 1000"]);
    talk.handle_timeout(at(5_999));
    assert_eq!(end(&mut talk), None);
    talk.handle_timeout(at(6_000));
    assert_eq!(end(&mut talk).as_deref(), Some("connection: the server did not answer the close"));
}

#[test]
fn lines_wait_where_the_server_does_not_read() {
    let mut talk = open(manner(), PIPE);
    for _ in 0..unsent::LINES_MAX {
        assert!(talk.takes_input());
        talk.line(at(1), Line::Text("x".into()));
    }
    assert!(!talk.takes_input());
    talk.sent(at(2), 1);
    assert!(talk.takes_input());

    let mut typing = open(manner(), TERMINAL);
    typing.file_read(at(1), "big", Ok(vec![b'x'; unsent::BYTES_MAX + 1]));
    acts(&mut typing);
    typing.keys(at(2), b"more\r");
    assert_eq!(
        acts(&mut typing),
        ["out: > more", "remember more", "say: the server does not read, and 67108865 bytes wait for it: not sent"]
    );
}

#[test]
fn one_message_is_enough_where_one_was_asked_for() {
    let mut talk = open(Manner { one_message: true, ..manner() }, PIPE);
    acts(&mut talk);
    talk.line(at(1), Line::Text("a".into()));
    assert!(!talk.takes_input());
    talk.sent(at(1), 1);
    assert_eq!(talk.poll_timeout(), None);
    talk.heard(at(2), &text("b"));
    talk.heard(at(2), &text("c"));
    assert_eq!(acts(&mut talk), ["send a", "out: b", "close 1000"]);
    talk.broke(at(3), "gone");
    assert_eq!(end(&mut talk).as_deref(), Some("ok"));
}

#[test]
fn codes_of_the_server_become_exit_codes() {
    for (close, expected) in [
        (None, "ok"),
        (frame(1000, ""), "ok"),
        (frame(1001, "away"), "ok"),
        (frame(4001, "who?"), "refused: the server ended the connection: who?"),
        (frame(4500, "no"), "the server ended the connection: 4500 no"),
    ] {
        let mut talk = open(manner(), PIPE);
        talk.closed(at(1), close);
        assert_eq!(end(&mut talk).as_deref(), Some(expected));
    }
    let mut chosen = open(manner(), TERMINAL);
    chosen.keys(at(1), b"/close 4001 bye\r");
    assert_eq!(acts(&mut chosen).last().unwrap(), "close 4001 bye");
    chosen.closed(at(2), frame(4001, ""));
    assert_eq!(end(&mut chosen).as_deref(), Some("ok"));
}

#[test]
fn interrupting_closes_and_interrupting_again_does_not_wait() {
    let mut talk = open(manner(), TERMINAL);
    acts(&mut talk);
    talk.keys(at(1), b"half a line\x03");
    assert_eq!((acts(&mut talk), end(&mut talk)), (vec!["close 1000".to_owned()], None));
    talk.interrupted(at(2));
    assert_eq!(end(&mut talk).as_deref(), Some("interrupted"));
    let mut answered = open(manner(), PIPE);
    answered.interrupted(at(1));
    answered.closed(at(2), frame(1000, ""));
    assert_eq!(end(&mut answered).as_deref(), Some("interrupted"));
}

#[test]
fn who_wants_to_comes_back() {
    let mut talk = open(Manner { reconnect: true, execute: vec!["once".into()], no_close: true, ..manner() }, PIPE);
    acts(&mut talk);
    talk.broke(at(100), "it is gone");
    let said = acts(&mut talk);
    assert!(said[0] == "drop" && said[1].starts_with("say: it is gone; attempt 1 to come back in "), "{said:?}");
    let until = talk.poll_timeout().unwrap();
    assert!(until >= at(100) && until <= at(600));
    talk.handle_timeout(until);
    assert_eq!(acts(&mut talk), ["connect"]);
    talk.not_opened(at(700), ConnectError::Eof);
    assert!(acts(&mut talk)[1].contains("attempt 2"));
    talk.handle_timeout(talk.poll_timeout().unwrap());
    talk.opened(at(9_000), &Agreed::default());
    assert_eq!(acts(&mut talk), ["connect", "say: connected"]);
    talk.closed(at(20_000), frame(1000, ""));
    assert!(acts(&mut talk)[2].contains("the server closed; attempt 1"));
    talk.handle_timeout(talk.poll_timeout().unwrap());
    talk.not_opened(at(21_000), ConnectError::Url("it has no host"));
    assert_eq!(end(&mut talk).as_deref(), Some("connecting: not a WebSocket URL: it has no host"));

    let mut refused = open(Manner { reconnect: true, ..manner() }, PIPE);
    refused.closed(at(1), frame(4003, "no"));
    assert_eq!(end(&mut refused).as_deref(), Some("refused: the server ended the connection: no"));
}

const WELCOME: &str = r#"{"type":"welcome","session":"0-1","version":1,"user":"ann"}"#;

#[test]
fn a_switchboard_is_talked_to_in_its_own_words() {
    let mut talk = open(Manner { reconnect: true, ..manner() }, TERMINAL);
    talk.heard(at(1), &text(WELCOME));
    assert!(acts(&mut talk)[1].starts_with("say: a Switchboard: session 0-1, as ann"));
    talk.keys(at(2), b"/subscribe room\r");
    assert_eq!(acts(&mut talk)[2], r#"send {"channel":"room","id":1,"type":"subscribe"}"#);
    talk.heard(at(3), &text(r#"{"type":"ok","id":1,"channel":"room","position":{"epoch":"e","offset":0}}"#));
    talk.heard(at(4), &text(r#"{"type":"ping"}"#));
    talk.heard(at(5), &text("anything else"));
    assert_eq!(
        acts(&mut talk),
        ["out: < subscribed to room at e:0", r#"send {"type":"pong"}"#, "out: < anything else"]
    );
    talk.keys(at(6), b"/sub\tro\t");
    assert_eq!(talk.editor().before_cursor(), "/subscribe room ");
    talk.broke(at(7), "gone");
    talk.handle_timeout(talk.poll_timeout().unwrap());
    talk.opened(at(700), &Agreed::default());
    talk.heard(at(701), &text(WELCOME));
    assert_eq!(acts(&mut talk).last().unwrap(), r#"send {"channel":"room","id":2,"type":"subscribe"}"#);
    talk.heard(at(702), &text(r#"{"type":"disconnect","code":4100,"reason":"x","reconnect":true,"after_ms":60000}"#));
    talk.closed(at(703), frame(4100, "x"));
    assert_eq!(talk.poll_timeout(), Some(at(60_703)));
    talk.handle_timeout(at(60_703));
    talk.opened(at(60_704), &Agreed::default());
    talk.heard(at(60_705), &text(WELCOME));
    talk.heard(at(60_706), &text(r#"{"type":"disconnect","code":4300,"reason":"y","reconnect":false}"#));
    talk.closed(at(60_707), frame(4300, "y"));
    assert_eq!(end(&mut talk).as_deref(), Some("the server ended the connection: 4300 y"));
    // Through pipes, and where it is not wanted, a message is a message.
    for (manner, look) in [(manner(), PIPE), (Manner { native: false, ..manner() }, TERMINAL)] {
        let mut plain = open(manner, look);
        plain.heard(at(1), &text(WELCOME));
        assert!(acts(&mut plain)[1].ends_with(WELCOME));
    }
}

#[test]
fn pings_are_sent_again_and_again_and_missed() {
    let mut talk = open(Manner { ping_interval: Some(at(100)), ..manner() }, PIPE);
    acts(&mut talk);
    assert_eq!(talk.poll_timeout(), Some(at(100)));
    talk.handle_timeout(at(100));
    talk.heard(at(130), &Received::Pong("1".into()));
    talk.handle_timeout(at(200));
    talk.handle_timeout(at(300));
    assert_eq!(
        acts(&mut talk),
        ["ping 1", "say: pong 1 after 30.0 ms", "ping 2", "say: ping 2 is not answered", "ping 3"]
    );
    talk.heard(at(310), &Received::Ping("theirs".into()));
    assert!(acts(&mut talk).is_empty());
    let mut json = open(manner(), Look { json: true, ..PIPE });
    json.ping(at(1), "x".into());
    json.heard(at(3), &Received::Pong("x".into()));
    assert_eq!(acts(&mut json).last().unwrap(), r#"out: {"data":"x","latency_ms":2.0,"type":"pong"}"#);
}

fn play(recording: &str, manner: Manner) -> Conversation {
    let replay = Replay::parse(recording, 1.0).unwrap();
    let mut talk = Conversation::new(manner, PIPE, History::default(), Some(replay), 7);
    talk.input_ended(at(0));
    talk.opened(at(10), &Agreed::default());
    talk
}

#[test]
fn a_recording_is_played_in_its_time_and_compared() {
    let recording = r#"{"ms":0,"dir":"out","op":"text","data":"a"}
{"ms":1,"dir":"in","op":"text","data":"A"}
{"ms":50,"dir":"out","op":"text","data":"b"}
{"ms":60,"dir":"in","op":"text","data":"B"}"#;
    let expect = Manner { expect: true, ..manner() };
    let finish = |heard: &[&str]| {
        let mut talk = play(recording, expect.clone());
        assert_eq!(acts(&mut talk), ["connect", "say: connected", "send a"]);
        talk.sent(at(11), 1);
        assert_eq!(talk.poll_timeout(), Some(at(60)));
        talk.handle_timeout(at(60));
        assert_eq!(acts(&mut talk), ["send b"]);
        talk.sent(at(61), 1);
        heard.iter().for_each(|heard| talk.heard(at(70), &text(heard)));
        talk.handle_timeout(talk.poll_timeout().unwrap());
        talk.closed(at(2_000), frame(1000, ""));
        end(&mut talk).unwrap()
    };
    assert_eq!(finish(&["A", "B"]), "ok");
    assert_eq!(finish(&["A"]), "1 of the 2 messages that were recorded did not come");
    assert_eq!(finish(&["A", "C"]), "what came differs from the recording: message 2 is \"C\", recorded was \"B\"");
    assert!(finish(&["x", "y", "z"]).contains("in 3 messages, first: message 1 is \"x\""));
    let mut early = play(recording, manner());
    early.closed(at(20), frame(1000, ""));
    assert_eq!(end(&mut early).as_deref(), Some("the connection ended before the recording did"));
    let mut closing = play(r#"{"ms":0,"dir":"out","op":"close","code":4000,"reason":"bye"}"#, manner());
    assert_eq!(acts(&mut closing), ["connect", "say: connected"]);
    closing.handle_timeout(at(1_010));
    assert_eq!(acts(&mut closing), ["close 4000 bye"]);
    closing.closed(at(20), frame(4000, "bye"));
    assert_eq!(end(&mut closing).as_deref(), Some("ok"));
}

#[test]
fn what_goes_over_the_connection_is_recorded() {
    let mut talk = open(Manner { record: true, ..manner() }, PIPE);
    talk.line(at(5), Line::Text("a".into()));
    talk.heard(at(7), &text("b"));
    talk.closed(at(9), frame(1000, "bye"));
    let recorded: Vec<_> =
        acts(&mut talk).into_iter().filter_map(|act| act.strip_prefix("record ").map(str::to_owned)).collect();
    assert_eq!(
        recorded,
        [
            r#"{"dir":"in","ms":0,"op":"open","subprotocol":null,"url":""}"#,
            r#"{"data":"a","dir":"out","ms":5,"op":"text"}"#,
            r#"{"data":"b","dir":"in","ms":7,"op":"text"}"#,
            r#"{"code":1000,"dir":"in","ms":9,"op":"close","reason":"bye"}"#,
        ]
    );
}

#[test]
fn frames_are_shown_when_they_are_wanted() {
    let mut talk = open(manner(), TERMINAL);
    acts(&mut talk);
    let first = FrameHeader { fin: false, rsv: 4, ..FrameHeader::new(Opcode::Text, 10) };
    let rest = FrameHeader::new(Opcode::Continuation, 5);
    talk.frame(at(1), Direction::In, &first);
    assert!(acts(&mut talk).is_empty());
    talk.keys(at(2), b"/frames\r");
    acts(&mut talk);
    talk.frame(at(3), Direction::In, &rest);
    talk.frame(at(3), Direction::In, &FrameHeader::new(Opcode::Ping, 99));
    talk.heard(at(3), &text(&"x".repeat(100)));
    let said = acts(&mut talk);
    assert_eq!(said[0], "say: <- continuation fin=1 rsv=000 length=5 unmasked");
    assert_eq!(said[2], "say: <- 15 compressed bytes are 100");
}

#[test]
fn lines_are_kept_but_for_those_with_a_blank() {
    let mut talk = open(manner(), TERMINAL);
    acts(&mut talk);
    talk.keys(at(1), b"one\rone\r secret\rtwo\x1b\rrows\r");
    let kept: Vec<_> = acts(&mut talk).into_iter().filter(|act| act.starts_with("remember")).collect();
    assert_eq!(kept, ["remember one", "remember two\\nrows"]);
    talk.keys(at(2), b"/binary\r/file a b\r\x0c\x04");
    let said = acts(&mut talk);
    assert!(said.contains(&"read a b".to_owned()) && said.contains(&"clear".to_owned()), "{said:?}");
    // What was typed goes before the Close does.
    talk.sent(at(3), 4);
    assert_eq!(acts(&mut talk), ["close 1000"]);
}

#[test]
fn names_of_files_are_completed() {
    let mut talk = open(manner(), TERMINAL);
    acts(&mut talk);
    talk.keys(at(1), b"/file data/no\t");
    assert_eq!(acts(&mut talk), ["list data/ no"]);
    talk.files_listed(at(1), "no", vec!["notes".into(), "nodes/".into(), "other".into(), "no\u{1b}".into()]);
    assert_eq!(acts(&mut talk), ["say: nodes/  notes"]);
    // Keys that came together with Tab wait for what it finds.
    talk.keys(at(2), b"t\t!\r");
    assert_eq!(acts(&mut talk), ["list data/ not"]);
    talk.files_listed(at(2), "not", vec!["notes".into()]);
    assert_eq!(acts(&mut talk)[0], "out: > /file data/notes!");
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Opened,
    NotOpened,
    Heard(String),
    Closed(Option<u16>),
    Broke,
    Line(String),
    Keys(Vec<u8>),
    Sent,
    InputEnded,
    Interrupted,
    Time,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Opened),
        1 => Just(Happening::NotOpened),
        2 => "\\PC{0,10}".prop_map(Happening::Heard),
        1 => Just(Happening::Heard(WELCOME.to_owned())),
        1 => proptest::option::of(1000_u16..5000).prop_map(Happening::Closed),
        1 => Just(Happening::Broke),
        2 => "\\PC{0,10}".prop_map(Happening::Line),
        3 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(Happening::Keys),
        3 => proptest::sample::select(vec!["/ping\r", "/subscribe a\r", "/close\r", "hi\r", "\x04", "/s\t\r"])
            .prop_map(|keys| Happening::Keys(keys.into())),
        3 => Just(Happening::Sent),
        1 => Just(Happening::InputEnded),
        1 => Just(Happening::Interrupted),
        4 => Just(Happening::Time),
    ]
}

proptest! {
    /// Whatever happens in whatever order, nothing is sent without a connection, and after the end there is none.
    #[test]
    fn nothing_is_sent_without_a_connection(
        happenings in proptest::collection::vec(happening(), 0..60),
        interactive in any::<bool>(),
        reconnect in any::<bool>(),
        one_message in any::<bool>(),
    ) {
        let manner = Manner { reconnect, one_message, ping_interval: Some(at(300)), ..manner() };
        let mut talk = Conversation::new(manner, if interactive { TERMINAL } else { PIPE }, History::default(), None, 7);
        let (mut connecting, mut connected, mut unsent, mut now) = (false, false, 0_usize, at(0));
        for happening in happenings {
            now += at(1);
            match happening {
                Happening::Opened if connecting => {
                    (connecting, connected) = (false, true);
                    talk.opened(now, &Agreed::default());
                }
                Happening::NotOpened if connecting => {
                    connecting = false;
                    talk.not_opened(now, ConnectError::Eof);
                }
                Happening::Heard(heard) if connected => talk.heard(now, &text(&heard)),
                Happening::Closed(code) if connected => {
                    connected = false;
                    talk.closed(now, code.and_then(|code| frame(code, "")));
                }
                Happening::Broke if connected => {
                    connected = false;
                    talk.broke(now, "gone");
                }
                Happening::Line(line) if !interactive && talk.takes_input() => talk.line(now, Line::Text(line)),
                Happening::Keys(keys) if interactive => talk.keys(now, &keys),
                Happening::Sent if connected && unsent > 0 => {
                    talk.sent(now, unsent);
                    unsent = 0;
                }
                Happening::InputEnded => talk.input_ended(now),
                Happening::Interrupted => talk.interrupted(now),
                Happening::Time => {
                    now = talk.poll_timeout().unwrap_or(now).max(now);
                    talk.handle_timeout(now);
                    // What was due is done, and not due again.
                    let still_due = talk.poll_timeout().is_some_and(|next| next <= now);
                    prop_assert!(!still_due, "{:?}", talk.phase);
                }
                _ => {}
            }
            while let Some(act) = talk.poll_act() {
                match act {
                    Act::Connect => {
                        prop_assert!(!connected && !connecting);
                        connecting = true;
                    }
                    Act::Send(_) => {
                        prop_assert!(connected);
                        unsent += 1;
                    }
                    Act::Drop => (connected, unsent) = (false, 0),
                    Act::ListFiles { name, .. } => talk.files_listed(now, &name, vec!["some".into(), "somewhere".into()]),
                    _ => {}
                }
            }
            if talk.take_end().is_some() {
                break;
            }
        }
    }
}
