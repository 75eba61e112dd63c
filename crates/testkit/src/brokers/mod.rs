//! What every broker must do, as one suite that takes a factory.
//!
//! It compares what a broker does on the bench ([`Rig`]) with what the contract says (`switchboard_hub::Broker`, `History`). It knows no broker.

mod bench;

pub use bench::Rig;

use crate::rng::Rng;
use bench::{Ask, Bench, key, offsets};
use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{
    AppId, CacheRequest, ChannelOptions, Control, Epoch, OpId, Position, ReadFrom, Recipient, Since, UserId,
};
use switchboard_hub::{Broker, BrokerEvent, Caller, ControlRequest, History, ReturnAddress, ShardId};

/// Runs the suite. `rig` makes a broker that keeps at most so many bytes in all.
pub fn check_broker<B: Broker + History>(rig: impl Fn(usize) -> Rig<B>) {
    let bench = |bytes_max: usize| Bench::new(rig(bytes_max));
    order(&mut bench(usize::MAX));
    ids(&mut bench(usize::MAX));
    ids_are_bounded(&mut bench(usize::MAX));
    ids_have_the_time_of_their_publication(&mut bench(usize::MAX));
    comparison(&mut bench(usize::MAX));
    told_positions(&mut bench(usize::MAX));
    (0..20).for_each(|seed| races(&mut bench(usize::MAX), seed));
    trimming(&mut bench(usize::MAX));
    (0..20).for_each(|seed| paging(&mut bench(usize::MAX), seed));
    nothing_kept(&mut bench(usize::MAX));
    forgetting(&mut bench(usize::MAX));
    room(&mut bench(20_000));
    controls(&mut bench(usize::MAX));
    cached(&mut bench(usize::MAX));
    cached_after_restart(&mut bench(usize::MAX));
    restart(&mut bench(usize::MAX));
}

/// Each publication has its place behind the one before, on its own channel, and is told once and in order.
fn order<B: Broker + History>(bench: &mut Bench<B>) {
    let begin = [bench.retain("a"), bench.retain("b")];
    let mut last = begin;
    for n in 0..200 {
        let (channel, at) = if n % 3 == 0 { ("b", 1) } else { ("a", 0) };
        let made = bench.publish(Ask::new(channel).text(&n.to_string())).published();
        assert_eq!(made.position.epoch, begin[at].epoch, "an epoch that changed while the channel was in use");
        assert!(made.position.offset > last[at].offset && made.previous == last[at].offset, "{made:?} after {last:?}");
        assert_eq!((made.payload.len(), made.timestamp), (n.to_string().len(), bench.now));
        last[at] = made.position;
        assert_eq!(bench.position(channel), last[at]);
    }
    // Many on their way at once.
    let told = bench.publish_all((0..50).map(|n| Ask::new("a").text(&n.to_string())).collect());
    assert_eq!(told.iter().map(|(op, _)| op.0).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>(), "told out of order");
    let offsets: Vec<u64> = told.into_iter().map(|(_, told)| told.published().position.offset).collect();
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
}

/// An id is published once within its window; each user has its own; guests share theirs.
fn ids<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options.idempotency_ttl = Duration::from_secs(60);
    bench.retain("a");
    let first = bench.publish(Ask::new("a").id("i").by("ann")).published().position;
    assert_eq!(bench.publish(Ask::new("a").id("i").by("ann")).duplicate(), first);
    let others = [Ask::new("a").id("i").by("bob"), Ask::new("a").id("i"), Ask::new("b").id("i").by("ann")];
    others.into_iter().for_each(|ask| _ = bench.publish(ask).published());
    let guest = bench.publish(Ask::new("a").id("i").by("guest-0-1")).published().position;
    assert_eq!(bench.publish(Ask::new("a").id("i").by("guest-0-2")).duplicate(), guest);
    // The second comes before the first is answered.
    let told = bench.publish_all(vec![Ask::new("a").id("j"), Ask::new("a").id("j")]);
    let [(_, one), (_, two)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(one.published().position, two.duplicate());
    let before = bench.position("a");
    bench.pass(Duration::from_secs(59));
    assert_eq!(bench.publish(Ask::new("a").id("i").by("ann")).duplicate(), first);
    assert_eq!(bench.position("a"), before, "a duplicate changed the channel");
    bench.pass(Duration::from_secs(1));
    bench.publish(Ask::new("a").id("i").by("ann")).published();
}

/// Of more ids than shall be remembered the oldest go.
fn ids_are_bounded<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options.idempotency_ids = 10;
    bench.retain("a");
    for n in 0..11 {
        bench.publish(Ask::new("a").id(&n.to_string())).published();
    }
    bench.publish(Ask::new("a").id("1")).duplicate();
    bench.publish(Ask::new("a").id("0")).published();
}

/// How long an id is remembered is decided when its publication comes: what is set later, by a reload, is for those that come later.
fn ids_have_the_time_of_their_publication<B: Broker + History>(bench: &mut Bench<B>) {
    let set = |bench: &mut Bench<B>, secs| bench.options.idempotency_ttl = Duration::from_secs(secs);
    bench.retain("a");
    set(bench, 60);
    let old = bench.publish(Ask::new("a").id("old")).published().position;
    set(bench, 10);
    let new = bench.publish(Ask::new("a").id("new")).published().position;
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.publish(Ask::new("a").id("new")).duplicate(), new);
    bench.pass(Duration::from_secs(1));
    // Though it stands behind one that has more time.
    let again = bench.publish(Ask::new("a").id("new")).published().position;
    bench.pass(Duration::from_secs(9));
    if bench.broker().guarantees().survives_restart {
        bench.reopen();
    }
    assert_eq!(bench.publish(Ask::new("a").id("new")).duplicate(), again);
    assert_eq!(bench.publish(Ask::new("a").id("old")).duplicate(), old);
    bench.pass(Duration::from_secs(40));
    assert_eq!(bench.publish(Ask::new("a").id("old")).duplicate(), old);
    let third = bench.publish(Ask::new("a").id("new")).published().position;
    set(bench, 100);
    let long = bench.publish(Ask::new("a").id("long")).published().position;
    // The end of the oldest takes along nothing of what has its id again.
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.publish(Ask::new("a").id("new")).duplicate(), third);
    bench.publish(Ask::new("a").id("old")).published();
    bench.pass(Duration::from_secs(90));
    assert_eq!(bench.publish(Ask::new("a").id("long")).duplicate(), long);
    bench.pass(Duration::from_secs(1));
    bench.publish(Ask::new("a").id("long")).published();
}

/// A demanded position lets through or tells where the channel is; an id is looked at first.
fn comparison<B: Broker + History>(bench: &mut Bench<B>) {
    let begin = bench.retain("a");
    let first = bench.publish(Ask::new("a").at(begin)).published().position;
    let elsewhere = Position { epoch: Epoch(begin.epoch.0 ^ 1), offset: first.offset };
    let beyond = Position { offset: first.offset + 1, ..first };
    for wrong in [begin, elsewhere, beyond] {
        assert_eq!(bench.publish(Ask::new("a").at(wrong)).conflict(), first);
    }
    assert_eq!(bench.publish(Ask::new("a").at_unknown()).conflict(), first);
    let second = bench.publish(Ask::new("a").at(first).id("i")).published().position;
    assert_eq!(bench.publish(Ask::new("a").at(first).id("i")).duplicate(), second);
    assert_eq!(bench.publish(Ask::new("a").at(first).id("j")).conflict(), second);
    // What was refused is not remembered.
    bench.publish(Ask::new("a").at(second).id("j")).published();
}

/// Who is told where a channel is that nobody uses can publish there, though others are forgotten meanwhile.
fn told_positions<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options.history_ttl = Duration::from_secs(1);
    bench.publish(Ask::new("other")).published();
    let told = bench.publish(Ask::new("a").at_unknown()).conflict();
    bench.pass(Duration::from_secs(30));
    bench.publish(Ask::new("a").at(told)).published();
}

/// Of those who demand the same position, with others in between, one succeeds.
fn races<B: Broker + History>(bench: &mut Bench<B>, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut at = bench.retain("a");
    for _ in 0..20 {
        let (before, competitors) = (rng.below(3), 2 + rng.below(4));
        let mut asks: Vec<Ask> = (0..competitors).map(|_| Ask::new("a").at(at)).collect();
        let disturbed = before == 0;
        if disturbed {
            asks.insert(rng.below(asks.len()), Ask::new("a"));
        }
        let told = bench.publish_all(asks);
        let made: Vec<_> = told.iter().filter_map(|(_, told)| told.clone().made()).collect();
        let compared = told.len() - usize::from(disturbed);
        let first_is_free = disturbed && told.first().is_some_and(|(_, told)| told.is_unconditional());
        assert_eq!(made.len(), usize::from(disturbed) + usize::from(!first_is_free), "{compared} compared: {told:?}");
        at = made.last().expect("one at least").position;
        assert_eq!(bench.position("a"), at);
    }
}

/// Size, bytes and age bound what is kept; what is gone is said to be gone, and from where on nothing is missing.
fn trimming<B: Broker + History>(bench: &mut Bench<B>) {
    let begin = bench.retain("a");
    bench.options.history_size = 3;
    let made: Vec<Position> = (0..5).map(|_| bench.publish(Ask::new("a")).published().position).collect();
    assert_eq!(
        bench.after("a", made[1]).map(|slice| offsets(&slice)),
        Ok(vec![made[2].offset, made[3].offset, made[4].offset])
    );
    let lost = bench.after("a", begin).expect_err("two are gone");
    let complete = lost.complete_after.expect("the epoch goes on");
    assert_eq!(complete, made[1].offset);
    assert_eq!(bench.after("a", Position { offset: complete, ..begin }).map(|slice| slice.publications.len()), Ok(3));
    for never in
        [Position { offset: made[4].offset + 1, ..begin }, Position { epoch: Epoch(begin.epoch.0 ^ 1), ..begin }]
    {
        assert_eq!(bench.after("a", never).expect_err("no position").complete_after, None);
        assert!(bench.read("a", ReadFrom::Before(Since::Position(never)), 9, usize::MAX).is_err());
    }
    bench.options = ChannelOptions { history_bytes: 5_000, ..ChannelOptions::default() };
    for _ in 0..10 {
        bench.publish(Ask::new("a").text(&"x".repeat(1_000))).published();
    }
    assert_eq!(bench.latest("a").len(), 4);
    bench.options = ChannelOptions { history_ttl: Duration::from_secs(10), ..ChannelOptions::default() };
    let old = bench.publish(Ask::new("a")).published().position;
    bench.pass(Duration::from_secs(5));
    let young = bench.publish(Ask::new("a")).published().position;
    bench.pass(Duration::from_millis(4_999));
    assert!(bench.latest("a").contains(&old.offset));
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.latest("a"), [young.offset]);
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.latest("a"), [0_u64; 0]);
    // Who was there when the last one came has missed nothing.
    assert_eq!(bench.after("a", young).map(|slice| slice.publications.len()), Ok(0));
    assert_eq!(bench.position("a"), young);
}

/// Pages of any size and weight, in both directions, hold everything once and in order.
fn paging<B: Broker + History>(bench: &mut Bench<B>, seed: u64) {
    let mut rng = Rng::new(seed);
    let begin = bench.retain("a");
    bench.options.history_size = 40;
    for _ in 0..rng.below(80) {
        bench.publish(Ask::new("a").text(&"x".repeat(rng.below(500)))).published();
    }
    let all = bench.latest("a");
    let complete =
        bench.after("a", begin).map_or_else(|lost| lost.complete_after.expect("same epoch"), |_| begin.offset);
    let (mut forwards, mut at) = (Vec::<u64>::new(), Position { offset: complete, ..begin });
    loop {
        let from = ReadFrom::After(Since::Position(at));
        let slice = bench.read("a", from, 1 + rng.below(9), rng.below(3_000)).expect("kept");
        let page = offsets(&slice);
        assert_eq!(slice.more, page.last().is_some_and(|last| Some(last) != all.last()), "{page:?} of {all:?}");
        forwards.extend(&page);
        match page.last() {
            Some(last) => at.offset = *last,
            None => break,
        }
    }
    assert_eq!(forwards, all);
    let (mut backwards, mut from) = (Vec::<u64>::new(), ReadFrom::Latest);
    loop {
        let slice = bench.read("a", from, 1 + rng.below(9), rng.below(3_000)).expect("same epoch");
        let page = offsets(&slice);
        assert_eq!(slice.more, page.first().is_some_and(|first| Some(first) != all.first()), "{page:?} of {all:?}");
        backwards.splice(0..0, page.iter().copied());
        match page.first() {
            Some(first) => from = ReadFrom::Before(Since::Position(Position { offset: *first, ..begin })),
            None => break,
        }
    }
    assert_eq!(backwards, all);
}

/// Without history a position still tells who missed something.
fn nothing_kept<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options.history_size = 0;
    bench.retain("a");
    let first = bench.publish(Ask::new("a")).published().position;
    assert_eq!(bench.after("a", first).map(|slice| slice.publications.len()), Ok(0));
    bench.publish(Ask::new("a")).published();
    assert!(bench.after("a", first).is_err() && bench.latest("a").is_empty());
}

/// A channel in use keeps its epoch however long nothing comes. One that was forgotten never lets its old positions be taken for new ones.
fn forgetting<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options.history_ttl = Duration::from_secs(10);
    bench.options.idempotency_ttl = Duration::from_secs(10);
    let kept = bench.retain("kept");
    let old = bench.publish(Ask::new("kept")).published().position;
    bench.pass(Duration::from_secs(3_600));
    assert_eq!((bench.position("kept"), old.epoch), (old, kept.epoch));
    let now = bench.now;
    bench.broker().release(now, &key("kept"));
    let other = bench.publish(Ask::new("other")).published().position;
    bench.pass(Duration::from_secs(3_600));
    for (channel, position) in [("kept", old), ("other", other)] {
        bench.publish(Ask::new(channel)).published();
        let now = bench.retain(channel);
        assert!(now.epoch != position.epoch || now.offset > position.offset, "{channel}: {position:?}, then {now:?}");
        if let Ok(slice) = bench.after(channel, position) {
            // A broker that forgets nothing has all that came since.
            assert_eq!((slice.publications.len(), now.epoch), (1, position.epoch));
        }
    }
}

/// All channels together stay within the broker's bound.
fn room<B: Broker + History>(bench: &mut Bench<B>) {
    for n in 0..200 {
        let channel = format!("c{}", n % 7);
        bench.publish(Ask::new(&channel).text(&"x".repeat(840))).published();
    }
    let kept: usize = (0..7).map(|n| bench.latest(&format!("c{n}")).len()).sum();
    assert!((1..=20).contains(&kept), "{kept} publications of 1,000 bytes in 20,000");
}

/// What concerns sessions comes back once, as it was asked and with who asked, in the order of asking, and leaves channels alone.
fn controls<B: Broker + History>(bench: &mut Bench<B>) {
    let before = bench.retain("a");
    let user = |n: u64| Recipient::User(UserId::parse(&format!("user{n}")).expect("a user"));
    let asked = |n: u64| Control::Unsubscribe { whom: user(n), channel: key("a").channel };
    for n in 0..20 {
        let origin = (n % 4 > 0).then_some(ReturnAddress {
            shard: ShardId(0),
            caller: Caller::External(n),
            op: OpId(n),
            bytes: 0,
        });
        let (now, control) = (bench.now, Arc::new(asked(n)));
        bench.broker().control(now, ControlRequest { app: AppId::new("app"), control, origin });
    }
    bench.settle();
    for n in 0..20 {
        let Some(BrokerEvent::Control(told)) = bench.broker().poll_event() else { panic!("{n} is not told") };
        assert_eq!((told.app.as_str(), &*told.control), ("app", &asked(n)));
        assert_eq!(told.origin.map(|origin| origin.op), (n % 4 > 0).then_some(OpId(n)));
    }
    assert!(bench.broker().poll_event().is_none(), "told twice");
    assert_eq!(bench.position("a"), before);
    bench.publish(Ask::new("a")).published();
}

/// The cached value is the last publication that shall be it; it outlives its history and goes at its time or when it is cleared.
fn cached<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options = ChannelOptions { cache_ttl: Duration::from_secs(30), ..ChannelOptions::default() };
    bench.options.history_size = 2;
    let begin = bench.retain("a");
    assert_eq!(bench.cached("a"), None);
    bench.publish(Ask::new("a").text("one").cache(CacheRequest::Keep)).published();
    (0..5).for_each(|_| _ = bench.publish(Ask::new("a")).published());
    assert_eq!((bench.cached("a").as_deref(), bench.cached("b")), (Some("one"), None));
    bench.pass(Duration::from_secs(29));
    assert_eq!(bench.cached("a").as_deref(), Some("one"));
    // Two that are on their way at once.
    let two = ["two", "three"].map(|text| Ask::new("a").text(text).cache(CacheRequest::Keep));
    bench.publish_all(two.into());
    bench.pass(Duration::from_secs(29));
    assert_eq!(bench.cached("a").as_deref(), Some("three"));
    // What is refused, or a duplicate, changes nothing.
    bench.publish(Ask::new("a").text("no").at(begin).cache(CacheRequest::Keep)).conflict();
    bench.publish(Ask::new("a").id("i")).published();
    bench.publish(Ask::new("a").id("i").cache(CacheRequest::Clear)).duplicate();
    assert_eq!(bench.cached("a").as_deref(), Some("three"));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.cached("a"), None);
    bench.options.history_size = 0;
    bench.options.cache = true;
    bench.publish(Ask::new("a").text("four")).published();
    bench.publish(Ask::new("b").text("five")).published();
    assert_eq!([bench.cached("a"), bench.cached("b")].map(Option::unwrap_or_default), ["four", "five"]);
    bench.publish(Ask::new("a").cache(CacheRequest::Clear)).published();
    assert_eq!((bench.cached("a"), bench.cached("b").as_deref()), (None, Some("five")));
}

/// A cached value survives what publications survive, with its time; one that was cleared does not come back.
fn cached_after_restart<B: Broker + History>(bench: &mut Bench<B>) {
    bench.options = ChannelOptions { cache_ttl: Duration::from_secs(30), ..ChannelOptions::default() };
    bench.options.history_size = 1;
    for channel in ["cleared", "later", "kept"] {
        bench.publish(Ask::new(channel).text("old").cache(CacheRequest::Keep)).published();
        (0..9).for_each(|_| _ = bench.publish(Ask::new(channel)).published());
    }
    bench.publish(Ask::new("later").text("new").cache(CacheRequest::Keep)).published();
    bench.publish(Ask::new("cleared").cache(CacheRequest::Clear)).published();
    bench.options.history_size = 0;
    let bare = bench.publish(Ask::new("bare").text("bare").cache(CacheRequest::Keep)).published();
    for _ in 0..2 {
        bench.reopen();
        let found = ["cleared", "later", "kept", "bare"].map(|channel| bench.cached(channel));
        if bench.broker().guarantees().survives_restart {
            assert_eq!(found, [None, Some("new".into()), Some("old".into()), Some("bare".into())]);
            assert_eq!(bench.position("bare"), bare.position);
        } else {
            // What is there is what was there at some time.
            let known = [&[][..], &["old", "new"], &["old"], &["bare"]];
            let fits = |(found, known): (&Option<String>, &[&str])| {
                found.as_ref().is_none_or(|found| known.contains(&found.as_str()))
            };
            assert!(found.iter().zip(known).skip(1).all(fits), "{found:?}");
        }
    }
    bench.pass(Duration::from_secs(30));
    assert_eq!(["later", "kept", "bare"].map(|channel| bench.cached(channel)), [None, None, None]);
}

/// After a crash a position holds, with everything behind it, or is refused; as the broker promises.
fn restart<B: Broker + History>(bench: &mut Bench<B>) {
    let begin = bench.retain("a");
    let made: Vec<Position> =
        (0..10).map(|n| bench.publish(Ask::new("a").id(&n.to_string())).published().position).collect();
    bench.reopen();
    let now = bench.retain("a");
    if bench.broker().guarantees().survives_restart {
        assert_eq!(now.epoch, begin.epoch);
        assert_eq!(
            bench.after("a", made[3]).map(|slice| offsets(&slice)),
            Ok(made[4..].iter().map(|at| at.offset).collect())
        );
        assert_eq!(bench.publish(Ask::new("a").id("9")).duplicate(), made[9]);
    } else {
        // Another epoch, or a place behind all that was given away: of what lies between, nobody is told that it has it.
        assert!(now.epoch != begin.epoch || now.offset > made[9].offset, "{now:?} after {made:?}");
        assert!(made.iter().all(|at| bench.after("a", *at).is_err()));
        assert_eq!(bench.publish(Ask::new("a").at(made[9])).conflict(), now);
    }
    let next = bench.publish(Ask::new("a")).published().position;
    assert!(next.epoch != begin.epoch || next.offset > made[9].offset);
}
