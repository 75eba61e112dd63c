//! Who is told what, when: it joins queues, paces and what is written down.
//!
//! One request at a time for each webhook, whose events keep their order: so each channel's events arrive in the order of its home, and what follows a failure
//! waits behind it. Time and randomness are given.

use crate::form;
use crate::hook::{Answered, Hook, Request, WebhookStats};
use crate::journal::{self, Recovered};
use crate::ledger::{Fact, Ledger, News};
use crate::pace::{Answer, Breaker};
use crate::settings::{Settings, Webhook};
use std::sync::Arc;
use switchboard_core::{Notice, NoticeKinds, Time};

/// Tells webhooks. Feed it notices and answers, take requests and lines.
#[derive(Debug)]
pub struct Dispatcher {
    settings: Settings,
    hooks: Vec<Hook>,
    next_number: u32,
    /// What is to be written down, if anybody does.
    lines: Option<String>,
    draining: bool,
    /// Empty if nobody writes down what was told.
    ledger: Ledger,
}

impl Dispatcher {
    /// Nothing waits. `keeps` says whether somebody writes down what [`take_lines`](Self::take_lines) gives.
    pub fn new(webhooks: Vec<Webhook>, settings: Settings, keeps: bool) -> Self {
        let lines = keeps.then(String::new);
        let mut this =
            Self { settings, hooks: Vec::new(), next_number: 0, lines, draining: false, ledger: Ledger::default() };
        this.configure(webhooks);
        this
    }

    /// Takes other webhooks. What waits for one that stays goes on waiting; returns how many events waited for those that are gone.
    ///
    /// What was written down must be written anew, from [`snapshot`](Self::snapshot).
    pub fn configure(&mut self, webhooks: Vec<Webhook>) -> usize {
        let mut known = core::mem::take(&mut self.hooks);
        for webhook in webhooks {
            let same = |hook: &Hook| hook.webhook.app == webhook.app && hook.webhook.url == webhook.url;
            let hook = match known.iter().position(same) {
                Some(index) => {
                    let mut hook = known.swap_remove(index);
                    hook.webhook = webhook;
                    hook
                }
                None => {
                    self.next_number += 1;
                    Hook::new(self.next_number - 1, webhook)
                }
            };
            self.hooks.push(hook);
        }
        known.iter().map(Hook::waiting).sum()
    }

    /// Takes up what waited when it was last written down. Returns how many events nobody is told of any more.
    pub fn restore(&mut self, now: Time, recovered: Recovered) -> usize {
        let mut forgotten = 0;
        let hooks = &self.hooks;
        // What nobody wants to know any more is not kept in mind.
        let wanted = |fact: &Fact| hooks.iter().any(|hook| hook.webhook.covers(&fact.app, &fact.channel));
        self.ledger.restore(now, recovered.facts.into_iter().filter(wanted), self.settings.restart_grace);
        for waiting in recovered.waiting {
            let same = |hook: &&mut Hook| hook.webhook.app.as_str() == waiting.app && hook.webhook.url == waiting.url;
            let Some(hook) = self.hooks.iter_mut().find(same) else {
                forgotten += waiting.events.len();
                continue;
            };
            hook.lose(waiting.lost, &mut None);
            for (at, event) in waiting.events {
                hook.push(at, &event.into(), &self.settings, &mut None);
            }
        }
        forgotten
    }

    /// Something happened. It is written once, however many are told.
    pub fn handle(&mut self, notice: &Notice) {
        let kind = notice.what.kind();
        let mut news = News::Passing;
        if self.lines.is_some() {
            let covering = self.hooks.iter().filter(|hook| hook.webhook.covers(&notice.app, &notice.channel));
            let wanted = covering.fold(NoticeKinds::NONE, |all, hook| all | hook.webhook.kinds);
            news = self.ledger.handle(notice, wanted);
        }
        if news == News::Known {
            return;
        }
        let mut written: Option<Arc<str>> = None;
        for hook in self.hooks.iter_mut().filter(|hook| hook.webhook.wants(&notice.app, &notice.channel, kind)) {
            let event = written.get_or_insert_with(|| form::event(notice).into());
            hook.push(notice.at, event, &self.settings, &mut self.lines);
        }
        // Behind the events: a line that is lost makes something come twice, and nothing never.
        match (&mut self.lines, news) {
            (Some(lines), News::Begins(fact)) => journal::begins(lines, &fact),
            (Some(lines), News::Ends(fact)) => journal::ends(lines, &fact),
            _ => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        for fact in self.ledger.handle_timeout(now) {
            self.handle(&fact.over(now));
        }
    }

    /// So many notices were lost before they came here; nobody knows whose. Every webhook is told.
    pub fn handle_lost(&mut self, count: u64) {
        for hook in &mut self.hooks {
            hook.lose(count, &mut self.lines);
        }
    }

    /// The next request. Make it, and say what came of it.
    pub fn poll_request(&mut self, now: Time) -> Option<Request> {
        let Self { settings, hooks, lines, draining, .. } = self;
        hooks.iter_mut().find_map(|hook| hook.poll_request(now, settings, *draining, lines))
    }

    /// A request was answered, or could not be made ([`Answer::Failed`]).
    pub fn handle_answer(&mut self, now: Time, number: u32, answer: Answer, random: u64) -> Answered {
        let Some(hook) = self.hooks.iter_mut().find(|hook| hook.number == number) else { return Answered::default() };
        hook.handle_answer(now, answer, random, &self.settings, &mut self.lines)
    }

    /// When [`handle_timeout`](Self::handle_timeout) and then [`poll_request`](Self::poll_request) want to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        let next = |hook: &Hook| hook.poll_timeout(&self.settings, self.draining);
        self.hooks.iter().filter_map(next).chain(self.ledger.poll_timeout()).min()
    }

    /// Nothing waits for company any more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether nothing waits that a request could be made for without waiting for a receiver that fails.
    pub fn is_drained(&self, now: Time) -> bool {
        self.hooks.iter().all(|hook| hook.is_drained(now))
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.hooks.iter().map(Hook::waiting).sum()
    }

    /// A webhook by its number.
    pub fn webhook(&self, number: u32) -> Option<&Webhook> {
        self.hooks.iter().find(|hook| hook.number == number).map(|hook| &hook.webhook)
    }

    /// What is to be written behind what was written before.
    pub fn take_lines(&mut self) -> String {
        self.lines.as_mut().map(core::mem::take).unwrap_or_default()
    }

    /// All that is to be known after a restart, from the first line on. What [`take_lines`](Self::take_lines) would have given is in it.
    pub fn snapshot(&mut self) -> String {
        let mut out = String::new();
        journal::begin(&mut out);
        for hook in &self.hooks {
            hook.write(&mut out);
        }
        for fact in self.ledger.iter() {
            journal::begins(&mut out, fact);
        }
        self.take_lines();
        out
    }

    /// The size of a [`snapshot`](Self::snapshot), about.
    pub fn snapshot_bytes(&self) -> usize {
        self.hooks.iter().map(Hook::bytes).sum::<usize>() + self.ledger.bytes()
    }

    /// How each webhook goes.
    pub fn stats(&self, now: Time) -> impl Iterator<Item = (&Webhook, WebhookStats, Breaker)> {
        self.hooks.iter().map(move |hook| (&hook.webhook, hook.stats(), hook.breaker(now, &self.settings)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use core::time::Duration;
    use proptest::prelude::*;
    use switchboard_core::{AppId, ChannelName, Happened, UserId};

    fn hook(app: &str, url: &str, kinds: NoticeKinds, prefixes: &[&str]) -> Webhook {
        let prefixes = prefixes.iter().map(|prefix| (*prefix).into()).collect();
        Webhook { app: AppId::new(app), url: url.to_owned(), kinds, prefixes }
    }

    fn notice(app: &str, channel: &str, at: u64, what: Happened) -> Notice {
        Notice { app: AppId::new(app), channel: ChannelName::parse(channel).unwrap(), at: Time::from_secs(at), what }
    }

    fn counted(channel: &str, at: u64, count: u64) -> Notice {
        notice("a", channel, at, Happened::SubscriptionCount(count))
    }

    fn counts(request: &Request) -> Vec<u64> {
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        body["events"].as_array().unwrap().iter().map(|event| event["subscription_count"].as_u64().unwrap()).collect()
    }

    const FAILED: Answer = Answer::Failed { retry_after: None };

    #[test]
    fn each_webhook_is_told_what_it_wants_and_nothing_else() {
        let webhooks = vec![
            hook("a", "all", NoticeKinds::ALL, &[]),
            hook("a", "rooms", NoticeKinds::OCCUPIED, &["room:", "hall"]),
            hook("b", "other", NoticeKinds::ALL, &[]),
        ];
        let mut dispatcher = Dispatcher::new(webhooks, Settings::default(), false);
        for (channel, what) in
            [("room:1", Happened::Occupied), ("room:1", Happened::Vacated), ("news", Happened::Occupied)]
        {
            dispatcher.handle(&notice("a", channel, 1, what));
        }
        dispatcher.handle(&notice("c", "room:1", 1, Happened::Occupied));
        assert_eq!(dispatcher.poll_request(Time::from_secs(1)), None);
        assert_eq!(dispatcher.poll_timeout(), Some(Time::from_millis(1_100)));
        let now = Time::from_secs(2);
        let requests: Vec<_> = core::iter::from_fn(|| dispatcher.poll_request(now)).collect();
        let shown: Vec<_> = requests
            .iter()
            .map(|one| (dispatcher.webhook(one.number).unwrap().url.as_str(), one.body.as_str()))
            .collect();
        let all = r#"{"time_ms":1000,"events":[{"name":"channel_occupied","channel":"room=3A1","plain_channel":"room:1"},{"name":"channel_vacated","channel":"room=3A1","plain_channel":"room:1"},{"name":"channel_occupied","channel":"news"}]}"#;
        let rooms =
            r#"{"time_ms":1000,"events":[{"name":"channel_occupied","channel":"room=3A1","plain_channel":"room:1"}]}"#;
        assert_eq!(shown, [("all", all), ("rooms", rooms)]);
    }

    #[test]
    fn what_follows_a_failure_waits_behind_it_and_a_refusal_is_the_end() {
        let mut dispatcher = Dispatcher::new(vec![hook("a", "x", NoticeKinds::ALL, &[])], Settings::default(), false);
        dispatcher.handle(&counted("c", 1, 1));
        let now = Time::from_secs(2);
        let first = dispatcher.poll_request(now).unwrap();
        dispatcher.handle(&counted("c", 2, 2));
        assert_eq!((dispatcher.poll_request(Time::from_secs(9)), dispatcher.poll_timeout()), (None, None));
        let answered = dispatcher.handle_answer(now, first.number, FAILED, u64::MAX);
        assert_eq!((answered.done, answered.opened), (0, false));
        assert_eq!(dispatcher.poll_request(now), None);
        assert!(dispatcher.is_drained(now));
        assert_eq!(dispatcher.poll_timeout(), answered.again);
        let later = answered.again.unwrap();
        assert_eq!(dispatcher.poll_request(later).unwrap(), first);
        let refused = dispatcher.handle_answer(later, first.number, Answer::Refused, 0);
        assert_eq!((refused.done, refused.refused), (1, true));
        let second = dispatcher.poll_request(later).unwrap();
        assert_eq!(counts(&second), [2]);
        dispatcher.handle_answer(later, second.number, Answer::Accepted, 0);
        let (_, stats, breaker) = dispatcher.stats(later).next().unwrap();
        assert_eq!((stats.delivered, stats.failed, stats.refused, stats.queue_bytes), (1, 1, 1, 0));
        assert_eq!(breaker, Breaker::Closed);
    }

    #[test]
    fn what_is_dropped_or_too_old_is_counted_and_told_with_the_next_request_that_is_taken() {
        let settings = Settings { queue_bytes: 700, batch_events: 2, ..Settings::default() };
        let mut dispatcher = Dispatcher::new(vec![hook("a", "x", NoticeKinds::ALL, &[])], settings, false);
        for count in 0..9 {
            dispatcher.handle(&counted("c", 1, count));
        }
        let now = Time::from_secs(2);
        let request = dispatcher.poll_request(now).unwrap();
        assert_eq!((counts(&request), request.lost), (vec![4, 5], 4));
        dispatcher.handle_lost(10);
        dispatcher.handle_answer(now, request.number, FAILED, 0);
        let request = dispatcher.poll_request(now).unwrap();
        assert_eq!((counts(&request), request.lost), (vec![4, 5], 14));
        dispatcher.handle_lost(1);
        dispatcher.handle_answer(now, request.number, Answer::Accepted, 0);
        let late = Time::from_secs(1 + 24 * 3600 + 1);
        dispatcher.handle(&counted("c", late.as_secs(), 9));
        dispatcher.drain();
        let request = dispatcher.poll_request(late).unwrap();
        assert_eq!((counts(&request), request.lost), (vec![9], 4));
        dispatcher.handle_answer(late, request.number, Answer::Accepted, 0);
        let (_, stats, _) = dispatcher.stats(late).next().unwrap();
        assert_eq!((stats.dropped, stats.expired, stats.delivered), (4, 3, 3));
        dispatcher.handle(&counted("c", late.as_secs(), 10));
        assert_eq!(dispatcher.poll_request(late).unwrap().lost, 0);
    }

    #[test]
    fn a_receiver_that_refuses_works_and_is_not_on_the_way_to_the_breaker() {
        let settings = Settings { breaker_failures: 2, ..Settings::default() };
        let mut dispatcher = Dispatcher::new(vec![hook("a", "x", NoticeKinds::ALL, &[])], settings, false);
        let mut now = Time::from_secs(9);
        for (count, answer) in [(1, FAILED), (1, Answer::Refused), (2, FAILED)] {
            dispatcher.handle(&counted("c", 1, count));
            let request = dispatcher.poll_request(now).unwrap();
            assert!(!dispatcher.handle_answer(now, request.number, answer, 0).opened, "{answer:?}");
            now = now + Duration::from_secs(1);
        }
        assert_eq!(dispatcher.stats(now).next().unwrap().2, Breaker::Closed);
    }

    #[test]
    fn what_grows_too_old_while_a_receiver_fails_goes_at_its_time() {
        let wait = Duration::from_secs(1_000);
        let settings = Settings {
            expire_after: Duration::from_secs(10),
            retry_first: wait,
            retry_max: wait,
            ..Settings::default()
        };
        let mut dispatcher = Dispatcher::new(vec![hook("a", "x", NoticeKinds::ALL, &[])], settings, false);
        dispatcher.handle(&counted("c", 1, 1));
        let request = dispatcher.poll_request(Time::from_secs(2)).unwrap();
        dispatcher.handle_answer(Time::from_secs(2), request.number, FAILED, u64::MAX);
        assert_eq!(dispatcher.poll_timeout(), Some(Time::from_secs(11)));
        assert_eq!((dispatcher.poll_request(Time::from_secs(12)), dispatcher.waiting()), (None, 0));
    }

    #[test]
    fn other_webhooks_leave_those_that_stay_alone() {
        let webhooks = ["x", "y"].map(|url| hook("a", url, NoticeKinds::ALL, &[]));
        let mut dispatcher = Dispatcher::new(webhooks.to_vec(), Settings::default(), true);
        dispatcher.handle(&counted("c", 1, 1));
        let webhooks = ["z", "y"].map(|url| hook("a", url, NoticeKinds::ALL, &["none"]));
        // Another application's at the same place is another webhook.
        let webhooks = [hook("b", "y", NoticeKinds::ALL, &[])].into_iter().chain(webhooks);
        assert_eq!(dispatcher.configure(webhooks.collect()), 1);
        dispatcher.handle(&counted("c", 1, 2));
        let request = dispatcher.poll_request(Time::from_secs(2)).unwrap();
        let told = dispatcher.webhook(request.number).unwrap();
        assert_eq!((told.app.as_str(), told.url.as_str(), counts(&request)), ("a", "y", vec![1]));
        assert_eq!(dispatcher.handle_answer(Time::from_secs(2), 0, Answer::Accepted, 0), Answered::default());
        let recovered = journal::read(dispatcher.snapshot().as_bytes()).unwrap();
        let mut again = Dispatcher::new(vec![hook("a", "z", NoticeKinds::ALL, &[])], Settings::default(), true);
        assert_eq!(again.restore(Time::default(), recovered), 1);
    }

    #[test]
    fn a_restart_is_no_coming_and_going() {
        let webhooks = vec![
            hook("a", "x", NoticeKinds::OCCUPIED | NoticeKinds::MEMBER_ADDED, &[]),
            hook("a", "y", NoticeKinds::VACATED | NoticeKinds::MEMBER_REMOVED, &[]),
        ];
        let ann = || UserId::parse("ann").unwrap();
        let new = || Dispatcher::new(webhooks.clone(), Settings::default(), true);
        let mut first = new();
        let mut file = first.snapshot();
        for channel in ["kept", "left"] {
            first.handle(&notice("a", channel, 1, Happened::Occupied));
            first.handle(&notice("a", channel, 1, Happened::MemberAdded(ann())));
        }
        assert!(first.snapshot_bytes() > 0);
        file.push_str(&first.take_lines());
        let told = |dispatcher: &mut Dispatcher, now| {
            dispatcher.handle_timeout(now);
            let now = now + Duration::from_secs(1);
            let mut told = Vec::new();
            while let Some(request) = dispatcher.poll_request(now) {
                let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
                let show = |event: &serde_json::Value| {
                    format!("{} {}", event["name"].as_str().unwrap(), event["channel"].as_str().unwrap())
                };
                told.extend(body["events"].as_array().unwrap().iter().map(show));
                dispatcher.handle_answer(now, request.number, Answer::Accepted, 0);
            }
            told
        };
        let before = told(&mut first, Time::from_secs(2));
        assert_eq!(before.len(), 4);
        file.push_str(&first.take_lines());

        // Once from the lines as they came, once from a snapshot.
        for _ in 0..2 {
            let mut next = new();
            assert_eq!(next.restore(Time::from_secs(100), journal::read(file.as_bytes()).unwrap()), 0);
            next.handle(&notice("a", "kept", 101, Happened::Occupied));
            next.handle(&notice("a", "kept", 101, Happened::MemberAdded(ann())));
            assert_eq!(told(&mut next, Time::from_secs(159)), [""; 0]);
            assert_eq!(next.poll_timeout(), Some(Time::from_secs(160)));
            file = next.snapshot();
            assert_eq!(told(&mut next, Time::from_secs(160)), ["member_removed left", "channel_vacated left"]);
            assert_eq!(journal::read(next.snapshot().as_bytes()).unwrap().facts.len(), 2);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Event { channel: u8 },
        Request,
        Answer { answer: u8 },
        Wait { millis: u32 },
        Restart { compacted: bool },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u8).prop_map(|channel| Step::Event { channel }),
            3 => Just(Step::Request),
            3 => (0..4_u8).prop_map(|answer| Step::Answer { answer }),
            2 => (0..40_000_u32).prop_map(|millis| Step::Wait { millis }),
            1 => any::<bool>().prop_map(|compacted| Step::Restart { compacted }),
        ]
    }

    proptest! {
        /// However requests fail and whenever the process ends, what was queued is taken at least once, in order; only an end of the process makes something come again.
        #[test]
        fn nothing_is_lost_and_order_is_kept(steps in proptest::collection::vec(step(), 1..120)) {
            let settings = Settings { batch_events: 3, ..Settings::default() };
            let webhooks = vec![hook("a", "x", NoticeKinds::ALL, &[])];
            let mut dispatcher = Dispatcher::new(webhooks.clone(), settings.clone(), true);
            let mut file = dispatcher.snapshot();
            let (mut now, mut sent, mut on_the_way) = (Time::from_secs(1), 0, None);
            let mut taken: Vec<u64> = Vec::new();
            let mut restarted = false;
            for step in steps {
                match step {
                    Step::Event { channel } => {
                        let mut notice = counted(&format!("c{channel}"), 0, sent);
                        notice.at = now;
                        dispatcher.handle(&notice);
                        sent += 1;
                    }
                    Step::Request => {
                        if let Some(request) = dispatcher.poll_request(now) {
                            prop_assert!(on_the_way.is_none(), "two requests at once");
                            on_the_way = Some(request);
                        }
                    }
                    Step::Answer { answer } => {
                        let Some(request) = on_the_way.take() else { continue };
                        let answer = if answer == 0 { FAILED } else { Answer::Accepted };
                        if answer == Answer::Accepted {
                            taken.extend(counts(&request));
                        }
                        dispatcher.handle_answer(now, request.number, answer, 7 << 60);
                    }
                    Step::Wait { millis } => now = now + Duration::from_millis(millis.into()),
                    Step::Restart { compacted } => {
                        // The receiver may have taken what nobody heard the answer of.
                        if let Some(request) = on_the_way.take() {
                            taken.extend(counts(&request));
                            restarted = true;
                        }
                        if compacted {
                            file = dispatcher.snapshot();
                        }
                        dispatcher = Dispatcher::new(webhooks.clone(), settings.clone(), true);
                        prop_assert_eq!(dispatcher.restore(now, journal::read(file.as_bytes()).unwrap()), 0);
                        file = dispatcher.snapshot();
                    }
                }
                file.push_str(&dispatcher.take_lines());
            }
            if let Some(request) = on_the_way.take() {
                taken.extend(counts(&request));
                dispatcher.handle_answer(now, request.number, Answer::Accepted, 0);
            }
            now = now + Duration::from_secs(1_000);
            while let Some(request) = dispatcher.poll_request(now) {
                taken.extend(counts(&request));
                dispatcher.handle_answer(now, request.number, Answer::Accepted, 0);
            }
            prop_assert!(restarted || taken.len() as u64 == sent, "{taken:?} of {sent}");
            let mut first_seen: Vec<u64> = Vec::new();
            for one in taken {
                if !first_seen.contains(&one) {
                    first_seen.push(one);
                }
            }
            prop_assert_eq!(first_seen, (0..sent).collect::<Vec<_>>());
        }
    }
}
