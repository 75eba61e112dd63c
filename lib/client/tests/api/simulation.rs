//! Many clients' lives by seed: connections drop at any moment, frames are lost with them, the server restarts and trims its history, readers
//! fall behind. What holds: between two `Lost`, a subscription hands over every publication, in order and once.

use crate::support::{Script, WELCOME, publish};
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use switchboard_client::core::{ConnectFailure, Output, SubscriptionId, Tokens, Wanted};
use switchboard_client::{Config, Data, Position, SubscriptionEvent};

struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A channel of the model server. Offsets skip now and then.
#[derive(Default)]
struct Channel {
    log: Vec<u64>,
    next: u64,
    trimmed: usize,
}

/// A server of one connection, as docs/reference/native-protocol.md has it.
#[derive(Default)]
struct Server {
    epoch: u64,
    channels: BTreeMap<String, Channel>,
    subscribed: Vec<String>,
    /// On their way to the client; lost with the connection.
    outgoing: VecDeque<String>,
    drops_a_message: bool,
}

impl Server {
    fn publish(&mut self, name: &str, skip: u64) -> u64 {
        let channel = self.channels.entry(name.into()).or_default();
        channel.next += 1 + skip;
        let offset = channel.next;
        channel.log.push(offset);
        if self.subscribed.iter().any(|subscribed| subscribed == name) {
            self.outgoing.push_back(message(name, offset));
        }
        offset
    }

    fn handle(&mut self, frame: &str) {
        let json: serde_json::Value = serde_json::from_str(frame).unwrap();
        let (id, name) = (&json["id"], json["channel"].as_str().unwrap_or_default());
        match json["type"].as_str().unwrap() {
            "subscribe" => self.subscribe(id, name, &json["since"]),
            "unsubscribe" => {
                self.subscribed.retain(|subscribed| subscribed != name);
                self.outgoing.push_back(format!(r#"{{"type":"ok","channel":"{name}"}}"#));
            }
            "publish" => {
                let offset = self.publish(name, 0);
                let position = self.position(offset);
                self.outgoing
                    .push_back(format!(r#"{{"type":"ok","id":{id},"channel":"{name}","position":{position}}}"#));
            }
            "ping" => self.outgoing.push_back(r#"{"type":"pong"}"#.into()),
            other => panic!("unexpected {other}"),
        }
    }

    fn position(&self, offset: u64) -> String {
        format!(r#"{{"epoch":"e{}","offset":{offset}}}"#, self.epoch)
    }

    fn subscribe(&mut self, id: &serde_json::Value, name: &str, since: &serde_json::Value) {
        assert!(!self.subscribed.iter().any(|subscribed| subscribed == name), "{name} is subscribed twice");
        self.subscribed.push(name.into());
        let epoch = format!("e{}", self.epoch);
        let channel = self.channels.entry(name.into()).or_default();
        let present = channel.next;
        let trimmed_to = channel.log[..channel.trimmed].last().copied().unwrap_or(0);
        let after = since["offset"].as_u64();
        let missed: Option<Vec<u64>> = after
            .filter(|after| since["epoch"] == *epoch && *after >= trimmed_to)
            .map(|after| channel.log.iter().copied().filter(|offset| *offset > after).collect());
        let recovered = after.map_or(String::new(), |_| format!(r#","recovered":{}"#, missed.is_some()));
        let position = self.position(present);
        self.outgoing
            .push_back(format!(r#"{{"type":"ok","id":{id},"channel":"{name}","position":{position}{recovered}}}"#));
        let Some(mut missed) = missed else { return };
        if self.drops_a_message && missed.len() > 1 {
            missed.remove(0);
        }
        self.outgoing.extend(missed.iter().map(|offset| message(name, *offset)));
        self.outgoing.push_back(format!(r#"{{"type":"caught_up","channel":"{name}"}}"#));
    }

    fn restart(&mut self) {
        self.epoch += 1;
        self.channels.clear();
        self.hang_up();
    }

    fn hang_up(&mut self) {
        self.subscribed.clear();
        self.outgoing.clear();
    }

    fn trim(&mut self) {
        for channel in self.channels.values_mut() {
            channel.trimmed = channel.log.len();
        }
    }
}

fn message(name: &str, offset: u64) -> String {
    format!(r#"{{"type":"message","channel":"{name}","data":{offset},"offset":{offset},"timestamp":1}}"#)
}

/// One reader and the truth that it is compared with.
struct Reader {
    id: SubscriptionId,
    channel: String,
    /// Where the continuity that was promised stands.
    at: Option<Position>,
    behind: bool,
}

/// What happened in a run, to see that a run is worth something.
#[derive(Default, Debug)]
struct Coverage {
    messages: u64,
    recovered: u64,
    lost: u64,
    behind: u64,
    drops: u64,
    unsubscribed: u64,
}

struct World {
    rng: Rng,
    script: Script,
    server: Server,
    connected: bool,
    /// Every publication ever, by epoch and channel.
    truth: BTreeMap<(String, String), Vec<u64>>,
    readers: Vec<Reader>,
    coverage: Coverage,
}

const CHANNELS: [&str; 3] = ["a", "b", "c"];

impl World {
    fn new(seed: u64, drops_a_message: bool) -> Self {
        let mut script = Script::new(Config::default(), Tokens::None);
        script.core.connect(script.now);
        let server = Server { drops_a_message, ..Server::default() };
        let (truth, readers, coverage) = Default::default();
        Self { rng: Rng(seed), script, server, connected: false, truth, readers, coverage }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.below(100) {
            0..40 => {
                let channel = CHANNELS[usize::try_from(self.rng.below(3)).unwrap()];
                let skip = self.rng.below(3);
                let offset = self.server.publish(channel, skip);
                self.note(channel, offset);
            }
            40..75 => self.carry()?,
            75..80 => self.drop_connection(),
            80..84 => self.script.pass(Duration::from_millis(self.rng.below(3_000))),
            84..85 => self.disconnect(),
            85..86 => {
                if self.rng.one_in(3) {
                    self.server.restart();
                    self.close(None);
                } else {
                    self.server.trim();
                }
            }
            86..90 => self.subscribe(),
            90..92 => self.unsubscribe(),
            92..95 => self.fall_behind_or_catch_up(),
            _ => self.publish(),
        }
        self.obey()
    }

    fn note(&mut self, channel: &str, offset: u64) {
        self.truth.entry((format!("e{}", self.server.epoch), channel.into())).or_default().push(offset);
    }

    /// Some frames arrive, on both sides.
    fn carry(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.below(8) {
            if self.connected
                && let Some(frame) = self.script.core.poll_transmit(self.script.now)
            {
                let before: Vec<u64> = CHANNELS.iter().map(|name| self.next(name)).collect();
                self.server.handle(frame.as_text().unwrap());
                for (name, before) in CHANNELS.iter().zip(before) {
                    if self.next(name) != before {
                        self.note(name, self.next(name));
                    }
                }
            }
        }
        for _ in 0..self.rng.below(12) {
            if let Some(frame) = self.server.outgoing.pop_front() {
                self.script.hear(&frame);
                self.obey()?;
            }
        }
        Ok(())
    }

    fn next(&self, channel: &str) -> u64 {
        self.server.channels.get(channel).map_or(0, |channel| channel.next)
    }

    fn drop_connection(&mut self) {
        if self.connected {
            self.coverage.drops += 1;
            self.close(None);
        }
    }

    fn close(&mut self, code: Option<u16>) {
        self.server.hang_up();
        if std::mem::take(&mut self.connected) {
            self.script.core.on_closed(self.script.now, code, "the simulation");
        }
    }

    fn disconnect(&mut self) {
        if self.connected {
            let after = self.rng.below(5_000);
            self.script.hear(&format!(
                r#"{{"type":"disconnect","code":1001,"reason":"x","reconnect":true,"after_ms":{after}}}"#
            ));
        }
    }

    fn subscribe(&mut self) {
        let channel = CHANNELS[usize::try_from(self.rng.below(3)).unwrap()];
        if let Ok(id) = self.script.core.subscribe(Wanted::channel(channel)) {
            self.readers.push(Reader { id, channel: channel.into(), at: None, behind: false });
        }
    }

    fn unsubscribe(&mut self) {
        if self.rng.one_in(2)
            && let Some(reader) = self.readers.pop()
        {
            self.coverage.unsubscribed += 1;
            self.script.core.unsubscribe(reader.id);
        }
    }

    fn fall_behind_or_catch_up(&mut self) {
        let count = self.readers.len() as u64;
        if count == 0 {
            return;
        }
        let reader = &mut self.readers[usize::try_from(self.rng.below(count)).unwrap()];
        reader.behind = !reader.behind;
        if reader.behind {
            self.coverage.behind += 1;
            self.script.core.fall_behind(reader.id);
        } else {
            self.script.core.catch_up(reader.id);
        }
    }

    fn publish(&mut self) {
        let channel = CHANNELS[usize::try_from(self.rng.below(3)).unwrap()];
        let request = publish(channel, Data::json(&0).unwrap());
        // The queue may be full.
        let _ = self.script.core.request(self.script.now, &request);
    }

    fn obey(&mut self) -> Result<(), String> {
        while let Some(output) = self.script.core.poll_output() {
            match output {
                Output::Connect { .. } if self.rng.one_in(3) => {
                    self.script.core.on_connect_failed(self.script.now, ConnectFailure::Temporary("refused".into()));
                }
                Output::Connect { .. } => {
                    self.connected = true;
                    self.script.core.on_connected(self.script.now);
                    self.server.outgoing.push_back(WELCOME.into());
                }
                Output::Close { code, .. } if code != 1000 => return Err(format!("a close with {code}")),
                Output::Close { .. } | Output::Abort => {
                    self.connected = false;
                    self.server.hang_up();
                }
                Output::Subscribed { id, result } => {
                    let reader = self.readers.iter_mut().find(|reader| reader.id == id).ok_or("nobody's")?;
                    reader.at = result.map_err(|error| error.to_string())?.position;
                }
                Output::Subscription { id, event, position } => self.check(id, &event, position)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Each message is the one that follows in the truth; each `Lost` says where it goes on.
    fn check(
        &mut self,
        id: SubscriptionId,
        event: &SubscriptionEvent,
        position: Option<Position>,
    ) -> Result<(), String> {
        let reader = self.readers.iter_mut().find(|reader| reader.id == id).ok_or("nobody's")?;
        if reader.behind {
            return Err(format!("{event:?} for a reader that is stopped"));
        }
        let at = reader.at.as_mut().ok_or("an event before the first answer")?;
        let log = self.truth.get(&(at.epoch.to_string(), reader.channel.clone()));
        let expected = log.and_then(|log| log.iter().copied().find(|offset| *offset > at.offset));
        match event {
            SubscriptionEvent::Message(message) => {
                self.coverage.messages += 1;
                let due = expected.map(|offset| Position::new(Arc::clone(&at.epoch), offset));
                if message.position != due || *message.channel != *reader.channel {
                    return Err(format!("{message:?} and not {due:?} behind {at:?}"));
                }
                at.offset = message.offset;
            }
            SubscriptionEvent::Lost { position, .. } => {
                self.coverage.lost += 1;
                *at = position.clone().ok_or("lost, and nowhere")?;
            }
            SubscriptionEvent::Recovered { .. } => self.coverage.recovered += 1,
            SubscriptionEvent::CaughtUp => {}
            other => return Err(format!("unexpected {other:?}")),
        }
        if position.is_none_or(|position| position.offset < at.offset || position.epoch != at.epoch) {
            return Err(format!("a position behind {at:?}"));
        }
        Ok(())
    }

    /// The weather is fine: everybody catches up, and everything has come.
    fn settle(&mut self) -> Result<(), String> {
        for index in 0..self.readers.len() {
            if std::mem::take(&mut self.readers[index].behind) {
                self.script.core.catch_up(self.readers[index].id);
            }
        }
        for _ in 0..2_000 {
            self.carry()?;
            self.obey()?;
            if self.script.core.poll_timeout().is_some() && !self.connected {
                self.script.wait();
                self.obey()?;
            }
        }
        for reader in &self.readers {
            let at = reader.at.as_ref().ok_or("a subscription without an answer")?;
            let log = self.truth.get(&(at.epoch.to_string(), reader.channel.clone()));
            let missing = log.and_then(|log| log.iter().find(|offset| **offset > at.offset));
            if at.epoch.as_ref() != format!("e{}", self.server.epoch) || missing.is_some() {
                return Err(format!("{} stands at {at:?}, and {missing:?} is there", reader.channel));
            }
        }
        Ok(())
    }
}

fn run(seed: u64, drops_a_message: bool) -> Result<Coverage, String> {
    let mut world = World::new(seed, drops_a_message);
    for step in 0..600 {
        world.step().map_err(|fault| format!("seed {seed}, step {step}: {fault}"))?;
    }
    world.settle().map_err(|fault| format!("seed {seed}, at the end: {fault}"))?;
    Ok(world.coverage)
}

#[test]
fn nothing_is_missing_and_nothing_comes_twice() {
    let mut total = Coverage::default();
    for seed in 0..300 {
        let coverage = run(seed, false).unwrap_or_else(|fault| panic!("{fault}"));
        total.messages += coverage.messages;
        total.recovered += coverage.recovered;
        total.lost += coverage.lost;
        total.behind += coverage.behind;
        total.drops += coverage.drops;
        total.unsubscribed += coverage.unsubscribed;
    }
    let enough = [total.messages > 5_000, total.recovered > 200, total.lost > 300, total.behind > 1_000];
    assert!(enough.iter().all(|enough| *enough) && total.drops > 1_000 && total.unsubscribed > 500, "{total:?}");
}

#[test]
fn a_server_that_loses_one_message_is_found_out() {
    let found = (0..300).filter(|seed| run(*seed, true).is_err()).count();
    assert!(found > 100, "{found}");
}
