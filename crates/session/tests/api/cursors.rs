//! An event's id says where its client stands on all its channels: whoever goes on from any of them misses nothing, gets nothing twice, or is told.

use core::time::Duration;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, ChannelOptions, Command, Grant, Limits, Operations, Overflow, Payload,
    Publish,
};
use switchboard_dialects::{Form, Opening, Wanted, parse_cursor};
use switchboard_testkit::{ClientId, EventReader, FakeDirectory, Received, Rng, StreamEvent, World};

const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

/// A node, and all that was published, by channel.
struct Stage {
    world: World,
    app: Arc<App>,
    published: BTreeMap<&'static str, Vec<u64>>,
    next: u64,
}

/// What a client has of each channel, over all its connections.
#[derive(Default)]
struct Got {
    numbers: BTreeMap<String, Vec<u64>>,
    /// Lost by a channel's own word: the number that it went on with, and offsets that were told as a gap.
    lost: BTreeMap<String, usize>,
}

impl Stage {
    fn new(options: ChannelOptions, limits: Limits) -> Self {
        let anonymous = Some(vec![Grant::new(ChannelMatch::all(), Operations::ALL)]);
        let app = Arc::new(App { anonymous, limits, channels: options.into(), ..App::new(AppId::new("app")) });
        let directory = FakeDirectory { apps: vec![Arc::clone(&app)], ..FakeDirectory::default() };
        Self { world: World::new(3, directory), app, published: BTreeMap::new(), next: 0 }
    }

    fn publish(&mut self, channel: &'static str, weight: usize) {
        let payload = format!("[{},\"{}\"]", self.next, "x".repeat(weight));
        self.published.entry(channel).or_default().push(self.next);
        self.next += 1;
        let channel = ChannelName::parse(channel).unwrap();
        let publish = Publish::new(Payload::Json(payload.into()));
        let app = Arc::clone(&self.app);
        self.world.submit(0, self.next, &app, Command::Publish { channel, publish, exclude_self: false });
    }

    /// A client comes with the id that it got last.
    fn come(&mut self, id: &str, form: Form, shard: usize) -> ClientId {
        let since = (!id.is_empty()).then(|| parse_cursor(id, CHANNELS.len()).expect("an id that the server gave"));
        let returns = since.is_some();
        let since = since.unwrap_or_else(|| vec![None; CHANNELS.len()]);
        let channels = CHANNELS.iter().map(|name| ChannelName::parse(name).unwrap()).zip(since).collect();
        let opening = Opening::Listen { form, wanted: Wanted { channels, returns, ..Wanted::default() } };
        let app = Arc::clone(&self.app);
        self.world.connect(shard, &app, opening, None)
    }

    fn events(&mut self, client: ClientId, reader: &mut EventReader) -> Vec<StreamEvent> {
        let pieces = self.world.received(client);
        pieces
            .iter()
            .flat_map(|piece| match piece {
                Received::Text(text) => reader.receive(text),
                Received::Binary(_) => panic!("a stream is text"),
            })
            .collect()
    }
}

impl Got {
    fn take(&mut self, event: &StreamEvent) {
        let json = event.json();
        let channel = json["channel"].as_str().unwrap_or_default().to_owned();
        match json["type"].as_str().unwrap() {
            "message" => self.numbers.entry(channel).or_default().push(json["data"][0].as_u64().unwrap()),
            "subscribed" if json["recovered"] == false => *self.lost.entry(channel).or_default() += 1,
            "gap" => *self.lost.entry(channel).or_default() += 1,
            _ => {}
        }
    }

    /// Nothing twice and in order; nothing missing where no loss was told.
    fn check(&self, published: &BTreeMap<&'static str, Vec<u64>>, from: &BTreeMap<String, u64>) {
        for (channel, all) in published {
            let got = self.numbers.get(*channel).map(Vec::as_slice).unwrap_or_default();
            assert!(got.is_sorted_by(|a, b| a < b), "{channel}: {got:?} is out of order or twice");
            let first = from.get(*channel).copied().unwrap_or(0);
            let expected: Vec<u64> = all.iter().copied().filter(|number| *number >= first).collect();
            if self.lost.contains_key(*channel) {
                assert!(got.iter().all(|number| all.contains(number)));
            } else {
                assert_eq!(got, expected, "{channel}, and no loss was told");
            }
        }
    }
}

/// A client that is cut off at any event, over and over, and goes on from the last one that it got whole.
fn live(seed: u64, options: ChannelOptions, limits: Limits, weight: usize, trim: bool) -> usize {
    let mut rng = Rng::new(seed);
    let mut stage = Stage::new(options, limits);
    for channel in CHANNELS {
        (0..rng.below(3)).for_each(|_| stage.publish(channel, weight));
    }
    stage.world.settle();
    let mut got = Got::default();
    let mut id = String::new();
    let mut from = BTreeMap::new();
    let mut connections = 0;
    for round in 0..30 {
        let last = round == 29;
        let client = stage.come(&id, Form::Many, rng.below(3));
        connections += 1;
        let mut reader = EventReader::default();
        reader.id.clone_from(&id);
        let mut left = if last { usize::MAX } else { rng.below(12) };
        // Before its first subscription nothing is promised.
        if id.is_empty() {
            stage.world.settle();
            left = left.max(2 + CHANNELS.len());
            from = CHANNELS.iter().map(|channel| ((*channel).to_owned(), stage.next)).collect();
        }
        for _ in 0..rng.below(20) {
            stage.publish(CHANNELS[rng.below(CHANNELS.len())], weight);
            (0..rng.below(5)).for_each(|_| stage.world.step(&mut rng));
            stage.world.set_reading(client, rng.below(4) > 0);
        }
        stage.world.set_reading(client, true);
        if last {
            stage.world.settle();
        }
        for event in stage.events(client, &mut reader).into_iter().take(left) {
            got.take(&event);
            id.clone_from(&event.id);
        }
        stage.world.cut(client);
        if last {
            break;
        }
        if trim && rng.below(6) == 0 {
            // What is too old is trimmed.
            stage.world.pass(Duration::from_secs(400));
        }
        (0..rng.below(10)).for_each(|_| stage.publish(CHANNELS[rng.below(CHANNELS.len())], weight));
    }
    got.check(&stage.published, &from);
    got.lost.values().sum::<usize>() + connections
}

#[test]
fn whoever_is_cut_off_at_any_event_misses_nothing_and_repeats_nothing() {
    for seed in 0..200 {
        live(seed, ChannelOptions::default(), Limits::default(), 1, false);
    }
}

#[test]
fn what_is_no_longer_kept_is_told_channel_by_channel() {
    let mut told = 0;
    for seed in 0..200 {
        let options = ChannelOptions { history_size: 6, ..ChannelOptions::default() };
        told += live(seed, options, Limits::default(), 1, true) - 30;
    }
    assert!(told > 100, "{told} losses in all: the test tries nothing");
}

#[test]
fn what_an_outbox_drops_is_told_and_an_id_never_goes_past_it() {
    let mut told = 0;
    for seed in 0..100 {
        let options = ChannelOptions { overflow: Overflow::DropOldest, ..ChannelOptions::default() };
        let limits = Limits { outbox_bytes: 4_000, ..Limits::default() };
        told += live(seed, options, limits, 600, false) - 30;
    }
    assert!(told > 100, "{told} losses in all: the test tries nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Any id that was ever sent, not only the last: its past is what came up to it, and its future what comes to whoever goes on from it.
    #[test]
    fn any_id_parts_what_came_from_what_comes(seed in any::<u64>(), at in any::<prop::sample::Index>()) {
        let mut rng = Rng::new(seed);
        let mut stage = Stage::new(ChannelOptions::default(), Limits::default());
        let client = stage.come("", Form::Many, 0);
        stage.world.settle();
        for _ in 0..60 {
            stage.publish(CHANNELS[rng.below(CHANNELS.len())], 1);
            (0..rng.below(5)).for_each(|_| stage.world.step(&mut rng));
        }
        stage.world.settle();
        let events = stage.events(client, &mut EventReader::default());
        let ready = 1 + CHANNELS.len();
        let cut = ready + at.index(events.len() - ready);
        let mut got = Got::default();
        events.iter().take(cut).for_each(|event| got.take(event));
        let back = stage.come(&events[cut - 1].id, Form::Many, 1);
        (0..10).for_each(|_| stage.publish("a", 1));
        stage.world.settle();
        for event in stage.events(back, &mut EventReader::default()) {
            got.take(&event);
        }
        prop_assert!(got.lost.is_empty());
        got.check(&stage.published, &BTreeMap::new());
    }
}

#[test]
fn a_poll_brings_the_cached_values_of_channels_that_it_comes_to() {
    let options = ChannelOptions { cache: true, history_size: 0, ..ChannelOptions::default() };
    let mut stage = Stage::new(options, Limits::default());
    for channel in CHANNELS {
        stage.publish(channel, 10);
    }
    stage.world.settle();
    let mut since = vec![None; CHANNELS.len()];
    let mut got = Vec::new();
    // However little fits into an answer, each value comes once.
    for _ in 0..CHANNELS.len() {
        let channels = CHANNELS.iter().map(|name| ChannelName::parse(name).unwrap()).zip(since).collect();
        let wanted = Wanted { channels, ..Wanted::default() };
        let opening = Opening::Poll { wanted, messages_max: 1, wait: Duration::ZERO };
        let app = Arc::clone(&stage.app);
        let poll = stage.world.connect(0, &app, opening, None);
        stage.world.settle();
        let [Received::Text(answer)] = &*stage.world.received(poll) else { panic!("no answer") };
        let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
        for message in answer["messages"].as_array().unwrap() {
            assert_eq!(message["cached"], true);
            got.push(message["channel"].as_str().unwrap().to_owned());
        }
        since = parse_cursor(answer["cursor"].as_str().unwrap(), CHANNELS.len()).unwrap();
    }
    got.sort();
    assert_eq!(got, CHANNELS);
}
