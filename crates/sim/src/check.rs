//! What must hold of the node itself: bounds at every turn, agreement when all is quiet, and nothing left when everybody has gone.

use crate::Violation;
use crate::node::shard_id;
use crate::plan::{DiskFault, USERS};
use crate::storage::Storage;
use crate::truth::Place;
use crate::world::{Due, Talk, World};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_core::{ChannelName, Command, Outcome, PresenceCount};
use switchboard_hub::Backlog;

/// The largest publication of a plan, with what it costs to keep and what its envelope takes.
const PUBLICATION: usize = 1_600;

/// What comes beyond the bound of what is unanswered: requests that no client makes anew (a token takes subscriptions away, the application
/// asks) or that one message makes.
const UNASKED: usize = 16_000;

/// How often is looked whether all has arrived, where ways are slow.
const SLOW_WAYS_LOOKED: usize = 40;

/// Channels of one page of a list.
const PAGE: usize = 2;

/// Bytes of a few pings.
const HEARTBEATS: usize = 200;

type Members = BTreeMap<(usize, String), BTreeMap<String, u64>>;

impl World<'_> {
    /// No queue is longer than its bound and one more portion.
    pub(crate) fn check_bounds(&self, shard: usize) -> Result<(), Violation> {
        let setup = &self.plan.setup;
        let portions = &setup.portions;
        let backlog = self.node.shards[shard].sessions.backlog();
        let most = |of: fn(&switchboard_core::App) -> usize| setup.apps.iter().map(|app| of(app)).max().unwrap_or(0);
        let outbox = most(|app| app.limits.outbox_bytes);
        let history = most(|app| {
            let named = app.channels.namespaces().map(|(_, options)| options.history_bytes);
            named.chain([app.channels.defaults().history_bytes]).max().unwrap_or(0)
        });
        // One answer to `history`, as JSON with base64, may stand alone in an outbox.
        let answer = history.min(256 * 1024) * 3 / 2 + PUBLICATION;
        let batch = setup.mailbox_bytes + portions.catch_up_bytes + PUBLICATION;
        // Publications on their way to their home are bounded by what the sessions may have pending, and come in one batch at worst.
        let asked = setup.clients * most(|app| app.limits.operations_pending) * PUBLICATION;
        let pending = portions.pending_bytes_max + batch + asked;
        let replay = portions.replay_bytes_max.max(history) + portions.run_bytes + PUBLICATION;
        let kept = setup.history_bytes_max + 2_200 * (setup.places() + USERS) * setup.apps.len();
        let is_kept = self.truth.borrow().kept[shard];
        let bounds = [
            ("bounds: pending", backlog.pending, pending),
            ("bounds: outbox", backlog.outbox_max, outbox.max(answer) + portions.run_bytes + PUBLICATION),
            ("bounds: replay", backlog.replay_max, replay),
            ("bounds: mailbox", backlog.mail_max, batch),
            ("bounds: unanswered", backlog.unanswered, portions.unanswered_bytes_max + UNASKED),
            ("bounds: history", is_kept, kept),
        ];
        let disk = self.storage.as_ref().and_then(|storage| storage.room(setup));
        let disk = disk.map(|(is, bound)| ("bounds: the journal", is, bound));
        match bounds.iter().chain(&disk).find(|(_, is, bound)| is > bound) {
            None => Ok(()),
            Some((kind, is, bound)) => Err(Violation::new(kind, format!("shard {shard}: {is} of {bound} bytes"))),
        }
    }

    /// No more faults: everybody reads, the dead are found, everything that is on its way arrives.
    pub(crate) fn calm_down(&mut self) -> Result<(), Violation> {
        self.trace.note(self.now, "calm", &[], String::new);
        self.disk(DiskFault::Heal);
        for client in 0..self.clients.len() {
            self.clients[client].stalled = false;
            if let Some(link) = self.clients[client].link {
                self.after(Duration::ZERO, Due::ToClient(link));
            }
        }
        let end = self.now + Duration::from_secs(90);
        self.run_until(end, |_| false)?;
        // Where the way is narrow and much is on it, that takes longer.
        for _ in 0..SLOW_WAYS_LOOKED {
            if !self.is_busy() {
                break;
            }
            let end = self.now + Duration::from_secs(30);
            self.run_until(end, |_| false)?;
        }
        Ok(())
    }

    /// Whether more waits anywhere than what tells that a connection lives.
    fn is_busy(&self) -> bool {
        let waits = |bytes: usize| bytes > HEARTBEATS;
        let waits_at_ends = self.links.iter().any(|link| waits(link.unsent.len()) || waits(link.transmit.len()));
        let waits_inside = self.node.shards.iter().any(|shard| {
            let backlog = shard.sessions.backlog();
            waits(backlog.outbox_max) || backlog.replay_max > 0 || backlog.pending > 0 || backlog.unanswered > 0
        });
        waits_at_ends || waits_inside
    }

    /// Everybody has everything, and knows who is there.
    pub(crate) fn check_quiet(&mut self) -> Result<(), Violation> {
        let mut members = Members::new();
        let mut subscribers = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.session_open || link.client_open) {
            if !(link.session_open && link.client_open && link.server_open) {
                let message = format!("{} of client {}", link.name, link.client);
                return Err(Violation::new("node: half a connection is left", message));
            }
            let app = self.clients[link.client].app;
            match &link.talk {
                Some(Talk::Native(conversation)) => {
                    conversation.check_quiet(self.now, &self.truth.borrow())?;
                    for (channel, subscription) in &conversation.subscriptions {
                        let user = subscription.member.clone().unwrap_or_default();
                        let place = conversation.place(channel);
                        *subscribers.entry(place.clone()).or_default() += 1;
                        let place = (app, place.1);
                        *members.entry(place).or_default().entry(user).or_default() += 1;
                    }
                }
                Some(Talk::Raw(listener)) => {
                    let place = (app, listener.channel().to_owned());
                    let id = self.plan.setup.apps[app].id.clone();
                    *subscribers.entry((id, place.1.clone())).or_default() += 1;
                    *members.entry(place).or_default().entry(link.user.clone()).or_default() += 1;
                }
                Some(Talk::Listening(listening)) => {
                    listening.check_quiet(&self.truth.borrow())?;
                    for channel in listening.subscriptions.keys() {
                        let place = listening.place(channel);
                        *subscribers.entry(place.clone()).or_default() += 1;
                        *members.entry((app, place.1)).or_default().entry(link.user.clone()).or_default() += 1;
                    }
                }
                Some(Talk::Pusher(channels)) => {
                    channels.check_quiet()?;
                    for (channel, known) in &channels.subscriptions {
                        let place = channels.place(channel);
                        *subscribers.entry(place.clone()).or_default() += 1;
                        *members.entry((app, place.1)).or_default().entry(known.member.clone()).or_default() += 1;
                    }
                }
                // Whoever polls is not there.
                Some(Talk::Polling(_)) | None => {}
            }
        }
        members.retain(|(app, channel), _| self.plan.setup.options(*app, channel).presence);
        self.check_watchers(&members)?;
        let known = |(place, users): (&(usize, String), &BTreeMap<String, u64>)| {
            // Whoever has shown nothing is no user that an application knows.
            let users = users.keys().filter(|user| !user.starts_with("guest-")).cloned().collect();
            ((self.plan.setup.apps[place.0].id.clone(), place.1.clone()), users)
        };
        self.check_told(&members.iter().map(known).collect(), &subscribers)?;
        self.check_counts(&subscribers)?;
        self.check_watchlists(&members)?;
        self.check_presence(&members)?;
        self.check_listed(&members, &subscribers)
    }

    fn check_watchers(&self, members: &Members) -> Result<(), Violation> {
        for link in &self.links {
            let watched: Vec<(String, &BTreeSet<String>)> = match &link.talk {
                Some(Talk::Native(conversation)) => {
                    let all = conversation.subscriptions.iter();
                    all.filter_map(|(channel, known)| Some((conversation.place(channel).1, known.users.as_ref()?)))
                        .collect()
                }
                Some(Talk::Listening(listening)) => {
                    let all = listening.subscriptions.iter();
                    all.filter_map(|(channel, known)| Some((channel.clone(), known.users.as_ref()?))).collect()
                }
                Some(Talk::Pusher(channels)) => {
                    let all = channels.subscriptions.iter();
                    all.filter_map(|(channel, known)| Some((channel.clone(), known.users.as_ref()?))).collect()
                }
                Some(Talk::Raw(_) | Talk::Polling(_)) | None => continue,
            };
            for (channel, users) in watched {
                let there = members.get(&(self.clients[link.client].app, channel.clone()));
                let there: BTreeSet<String> = there.into_iter().flat_map(BTreeMap::keys).cloned().collect();
                if *users != there {
                    let message = format!("{} believes {users:?} on {channel}, there are {there:?}", link.name);
                    return Err(Violation::new("presence: a watcher is wrong", message));
                }
            }
        }
        Ok(())
    }

    /// The application asks who is where.
    fn check_presence(&mut self, members: &Members) -> Result<(), Violation> {
        let mut asked = Vec::new();
        for (index, app) in self.plan.setup.apps.clone().iter().enumerate() {
            for channel in (0..self.plan.setup.places()).map(|channel| self.plan.setup.channel(channel)) {
                let Ok(name) = ChannelName::parse(channel.as_str()) else { continue };
                asked.push((self.ask(app, Command::Presence { channel: name, limit: None }), (index, channel)));
            }
        }
        let end = self.now + Duration::from_secs(5);
        self.run_until(end, |_| false)?;
        for (ticket, place) in asked {
            let Some(Outcome::Presence { users, connections, .. }) = self.outcomes.get(&ticket) else {
                return Err(Violation::new("application: never answered", format!("{place:?}")));
            };
            let there = members.get(&place);
            let total: u64 = there.into_iter().flat_map(BTreeMap::values).sum();
            let limit = self.plan.setup.apps[place.0].limits.presence_users;
            let count = there.map_or(0, BTreeMap::len).min(limit);
            let right = users.iter().all(|user| {
                let known = there.and_then(|there| there.get(user.user.as_str()));
                known == Some(&u64::from(user.connections))
            });
            if *connections != total || users.len() != count || !right {
                let message = format!("{place:?}: {users:?}, {connections} connections; there are {there:?}");
                return Err(Violation::new("presence: the channel is wrong", message));
            }
        }
        Ok(())
    }

    /// Whoever wants to know of users knows who of them is there.
    fn check_watchlists(&self, members: &Members) -> Result<(), Violation> {
        for link in &self.links {
            let Some(Talk::Pusher(channels)) = &link.talk else { continue };
            let app = self.clients[link.client].app;
            for (channel, known) in channels.watched() {
                let is_there = members.contains_key(&(app, channel.clone()));
                if known != Some(is_there) {
                    let message = format!("{} believes {known:?} of {channel}, there are {members:?}", link.name);
                    return Err(Violation::new("watchlist: a watcher is wrong", message));
                }
            }
        }
        Ok(())
    }

    /// Whoever is told how many subscribe has been told the last number.
    fn check_counts(&self, subscribers: &BTreeMap<Place, u64>) -> Result<(), Violation> {
        for link in &self.links {
            let app = &self.plan.setup.apps[self.clients[link.client].app];
            let Some(Talk::Pusher(channels)) = &link.talk else { continue };
            for (channel, known) in &channels.subscriptions {
                let wanted = app.notices.count_for_subscribers && channels.counts(channel);
                let there = subscribers.get(&channels.place(channel)).copied().filter(|_| wanted);
                if known.count != there {
                    let message = format!("{} believes {:?} on {channel}, there are {there:?}", link.name, known.count);
                    return Err(Violation::new("count: a subscriber believes another number", message));
                }
            }
        }
        Ok(())
    }

    /// The application asks for its occupied channels, page by page.
    fn check_listed(&mut self, members: &Members, subscribers: &BTreeMap<Place, u64>) -> Result<(), Violation> {
        for (index, app) in self.plan.setup.apps.clone().iter().enumerate() {
            let mut listed = BTreeMap::new();
            let mut after = None;
            loop {
                let ask = Command::Channels { prefix: "".into(), after: after.take(), limit: PAGE };
                let ticket = self.ask(app, ask);
                let end = self.now + Duration::from_secs(5);
                self.run_until(end, |_| false)?;
                let Some(Outcome::Channels { channels, more }) = self.outcomes.get(&ticket) else {
                    return Err(Violation::new("application: never answered", app.id.to_string()));
                };
                after = channels.last().map(|last| last.channel.as_str().into()).filter(|_| *more);
                listed.extend(channels.iter().map(|known| (known.channel.as_str().to_owned(), known.clone())));
                if after.is_none() {
                    break;
                }
            }
            // Users' own channels are in no list.
            let there: BTreeMap<&str, u64> = subscribers
                .iter()
                .filter(|((of, channel), count)| *of == app.id && !channel.starts_with('#') && **count > 0)
                .map(|((_, channel), count)| (channel.as_str(), *count))
                .collect();
            let counts: BTreeMap<&str, u64> =
                listed.iter().map(|(channel, known)| (channel.as_str(), known.subscribers)).collect();
            let present = |channel: &str| {
                self.plan.setup.options(index, channel).presence.then(|| {
                    let there = members.get(&(index, channel.to_owned()));
                    let connections = there.into_iter().flat_map(BTreeMap::values).sum();
                    PresenceCount { users: there.map_or(0, |there| there.len() as u64), connections }
                })
            };
            let is_present = listed.iter().all(|(channel, known)| known.presence == present(channel));
            if counts != there || !is_present {
                let message = format!("{}: {listed:?}, there are {there:?} and {members:?}", app.id);
                return Err(Violation::new("application: the list of channels is wrong", message));
            }
        }
        Ok(())
    }

    /// Everybody leaves, and all that was kept for a time grows old.
    pub(crate) fn send_everybody_home(&mut self) -> Result<(), Violation> {
        self.trace.note(self.now, "home", &[], String::new);
        (0..self.clients.len()).for_each(|client| self.leave(client));
        let end = self.now + Duration::from_secs(500);
        self.run_until(end, |_| false)
    }

    /// No subscription, channel, timer, slot or byte is left.
    pub(crate) fn check_nothing_left(&self) -> Result<(), Violation> {
        let left = |what: &'static str, message: String| Err(Violation::new(what, message));
        for (index, shard) in self.node.shards.iter().enumerate() {
            let sessions = &shard.sessions;
            let stats = sessions.stats();
            let gauges = [sessions.len() as u64, stats.subscriptions, stats.hub.subscribers];
            if gauges != [0; 3] {
                return left("left: sessions", format!("shard {index}: {stats:?}"));
            }
            if stats.hub.channels > 0 || sessions.local_channels() > 0 {
                return left("left: channels", format!("shard {index}: {stats:?}, {}", sessions.local_channels()));
            }
            if sessions.backlog() != Backlog::default() {
                return left("left: a backlog", format!("shard {index}: {:?}", sessions.backlog()));
            }
            if let Some(timer) = sessions.poll_timeout() {
                return left("left: a timer", format!("shard {index}: {timer:?}, now {:?}", self.now));
            }
            if (0..self.node.shards.len()).any(|to| sessions.has_mail(shard_id(to))) || self.node.has_mail() {
                return left("left: mail", format!("shard {index}"));
            }
            if self.truth.borrow().kept[index] > 0 {
                return left("left: history", format!("shard {index}: {} bytes", self.truth.borrow().kept[index]));
            }
        }
        if let Some(message) = self.storage.as_ref().and_then(Storage::left) {
            return left("left: the journal", message);
        }
        if let Some(message) = self.told.left() {
            return left("left: something that was told", message);
        }
        match self.tickets.first_key_value() {
            Some((ticket, asked)) => left("application: never answered", format!("{ticket}, asked {asked:?}")),
            None => Ok(()),
        }
    }
}
