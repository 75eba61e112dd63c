//! What the application asks over its HTTP API beside everything else: one request after the other, as the server carries out a batch, and whether each answer can be true.
//!
//! Owns what an answer must say of the moments between question and answer. Knows nothing of bodies, which the server's own tests read.

use crate::Violation;
use crate::conversation::{Checked, Position, violation};
use crate::plan::{Call, OWN, Reading};
use crate::promises::{Slice, check_duplicate, check_history, is_position};
use crate::subscription::Phase;
use crate::truth::{Place, Truth, number_of};
use crate::why::Seen;
use crate::world::{Due, Talk, World};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{
    ChannelName, Command, Epoch, Occupancy, Outcome, Payload, PresentUser, Publication, Publish, ReadFrom, Reject,
    RejectCode, Since, Time, Trail,
};

/// The batches that are being carried out.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next: u64,
    batches: BTreeMap<u64, Batch>,
    /// Questions on their way, by ticket.
    asked: BTreeMap<u64, Asked>,
}

#[derive(Debug)]
struct Batch {
    app: usize,
    calls: VecDeque<Call>,
    /// Where channels are at least, as its own answers have said.
    known: BTreeMap<Place, Position>,
}

#[derive(Debug)]
struct Asked {
    batch: u64,
    at: Time,
    what: Question,
}

#[derive(Debug)]
enum Question {
    Publish {
        place: Place,
        number: u64,
        once: Option<String>,
        if_position: Option<Position>,
    },
    History {
        place: Place,
        from: Reading,
        at: Option<Position>,
        limit: usize,
    },
    Presence {
        place: Place,
        limit: Option<usize>,
    },
    Channel {
        place: Place,
    },
    Channels {
        prefix: &'static str,
        after: Option<String>,
        limit: usize,
    },
    Signal {
        number: u64,
    },
    Why(Seen),
    /// Asked after what was answered to why.
    Epoch(Seen, Trail),
}

/// How many are for certain where, all the time between a question and its answer: by channel and user.
type Certain = BTreeMap<String, BTreeMap<String, u64>>;

/// How long is waited for a shard that takes no requests.
const AGAIN: Duration = Duration::from_millis(1);

impl World<'_> {
    /// The application asks, in the name of the application of a client.
    pub(crate) fn call(&mut self, client: usize, calls: &[Call]) {
        if !self.node.up {
            return;
        }
        let batch = self.calls.next;
        self.calls.next += 1;
        let (app, calls) = (self.clients[client].app, calls.to_vec().into());
        self.calls.batches.insert(batch, Batch { app, calls, known: BTreeMap::new() });
        self.call_next(batch);
    }

    /// The next request of a batch goes to some shard, when that takes one.
    pub(crate) fn call_next(&mut self, batch: u64) {
        loop {
            let Some(known) = self.calls.batches.get_mut(&batch) else { return };
            let app = known.app;
            let Some(call) = known.calls.pop_front() else {
                self.calls.batches.remove(&batch);
                return;
            };
            let shard = self.rng.below(self.node.shards.len());
            if !self.node.shards[shard].sessions.takes_requests() {
                known.calls.push_front(call);
                return self.after(AGAIN, Due::Call(batch));
            }
            let Some((command, what)) = self.command(app, &call) else { continue };
            let app = Arc::clone(&self.plan.setup.apps[app]);
            let ticket = self.ask_on(shard, &app, command);
            self.calls.asked.insert(ticket, Asked { batch, at: self.now, what });
            return;
        }
    }

    fn command(&mut self, app: usize, call: &Call) -> Option<(Command, Question)> {
        let place = |world: &Self, channel: usize| {
            let channel = world.plan.setup.channel(channel);
            let name = ChannelName::parse(channel.as_str()).ok()?;
            Some((name, (world.plan.setup.apps[app].id.clone(), channel)))
        };
        Some(match call {
            Call::Publish { channel, size, key, once, compare, cache, exclude } => {
                let (channel, place) = place(self, *channel)?;
                let number = self.next_number;
                self.next_number += 1;
                let payload = Payload::Json(format!("[{number},{:?}]", "x".repeat(*size)).into());
                let once = once.map(|once| format!("key-{once}"));
                let if_position = compare.and_then(|back| self.truth.borrow().before_last(&place, back));
                let exclude = exclude.and_then(|client| Some(self.links[self.clients[client].link?].name));
                let publish = Publish {
                    key: key.map(|key| format!("k{key}").into()),
                    id: once.as_deref().map(Into::into),
                    if_position: if_position.map(since),
                    cache: *cache,
                    exclude,
                    ..Publish::new(payload)
                };
                let command = Command::Publish { channel, publish, exclude_self: false };
                (command, Question::Publish { place, number, once, if_position })
            }
            Call::History { channel, from: (from, back), limit } => {
                let (channel, place) = place(self, *channel)?;
                let at = self.truth.borrow().before_last(&place, *back).filter(|_| *from != Reading::Latest);
                let (from, read) = match (from, at) {
                    (Reading::Since, Some(at)) => (Reading::Since, ReadFrom::After(since(at))),
                    (Reading::Before, Some(at)) => (Reading::Before, ReadFrom::Before(since(at))),
                    _ => (Reading::Latest, ReadFrom::Latest),
                };
                let command = Command::History { channel, from: read, limit: *limit };
                (command, Question::History { place, from, at, limit: *limit })
            }
            Call::Presence { channel, limit } => {
                let (channel, place) = place(self, *channel)?;
                (Command::Presence { channel, limit: *limit }, Question::Presence { place, limit: *limit })
            }
            Call::Channel { channel } => {
                let (channel, place) = place(self, *channel)?;
                (Command::Channel { channel }, Question::Channel { place })
            }
            Call::Channels { prefix, after, limit } => {
                let after = after.map(|channel| self.plan.setup.channel(channel));
                let command = Command::Channels {
                    prefix: (*prefix).into(),
                    after: after.as_deref().map(Into::into),
                    limit: *limit,
                };
                (command, Question::Channels { prefix, after, limit: *limit })
            }
            Call::Signal { channel, whom, by_user } => {
                let (number, command) = self.signal_by_application(app, *channel, *whom, *by_user)?;
                (command, Question::Signal { number })
            }
            Call::Why { whom, pick } => {
                let link = self.clients[*whom].link.filter(|_| self.clients[*whom].app == app)?;
                let heard = self.heard_by(link);
                let seen = heard.get(pick % heard.len().max(1))?.clone();
                (seen.question()?, Question::Why(seen))
            }
        })
    }

    /// An answer came. Only what was asked in a batch is looked at here.
    pub(crate) fn answered(&mut self, ticket: u64, outcome: &Outcome) -> Result<(), Violation> {
        let Some(Asked { batch, at, what }) = self.calls.asked.remove(&ticket) else { return Ok(()) };
        self.seen.calls += 1;
        let checked = self.check_answer(batch, at, &what, outcome);
        checked.map_err(|violation| violation.about(&format!("{what:?}, asked at {at:?}: {outcome:?}")))?;
        match (what, outcome) {
            (Question::Why(seen), Outcome::Why(trail)) => self.ask_epoch(batch, seen, trail.clone()),
            _ => self.call_next(batch),
        }
        Ok(())
    }

    /// Where sessions stand is to be told only in the epoch in which the channel still is, as the server does it.
    fn ask_epoch(&mut self, batch: u64, seen: Seen, trail: Trail) {
        let (Some(app), Some(command)) = (self.calls.batches.get(&batch).map(|batch| batch.app), seen.epoch_question())
        else {
            return self.call_next(batch);
        };
        let app = Arc::clone(&self.plan.setup.apps[app]);
        let ticket = self.ask(&app, command);
        self.calls.asked.insert(ticket, Asked { batch, at: self.now, what: Question::Epoch(seen, trail) });
    }

    fn check_answer(&mut self, batch: u64, at: Time, what: &Question, outcome: &Outcome) -> Checked {
        match (what, outcome) {
            (_, Outcome::Rejected(reject)) => self.check_refused(what, reject),
            (
                Question::Publish { place, number, once, if_position },
                Outcome::Published { position, duplicate, .. },
            ) => {
                let position = (position.epoch.0, position.offset);
                if *duplicate {
                    let durable = self.plan.setup.fsync.is_some();
                    return check_duplicate(&self.truth.borrow(), place, position, at, once.as_deref(), durable);
                }
                self.moves_on(batch, place, position)?;
                let truth = self.truth.borrow();
                let record = truth.at(place, position.0, position.1);
                let is_there = record.is_some_and(|record| record.number == *number && record.told >= at);
                let is_next = if_position.is_none_or(|(epoch, offset)| {
                    epoch == position.0 && truth.between(place, epoch, offset, position.1).is_empty()
                });
                if is_there && is_next {
                    return Ok(());
                }
                violation("application: published at a place where something else is")
            }
            (
                Question::History { place, from, at: begin, limit },
                Outcome::History { position, publications, more, .. },
            ) => {
                let position = (position.epoch.0, position.offset);
                self.moves_on(batch, place, position)?;
                let truth = self.truth.borrow();
                let read = |known: &Arc<Publication>| (known.position.offset, number_of(&known.payload));
                let publications = publications.iter().map(read).collect();
                let slice = Slice { publications, more: *more, position };
                check_is_at(&truth, place, at, position)?;
                check_history(&truth, place, &slice, (*from, *begin), *limit)
            }
            (Question::Presence { place, limit }, Outcome::Presence { users, total, connections, .. }) => {
                let certain = self.certain(&place.0, at);
                self.check_present(place, &certain, users, *limit, (*total, *connections))
            }
            (Question::Channel { place }, Outcome::Channel { occupancy, position, cached }) => {
                let position = (position.epoch.0, position.offset);
                self.moves_on(batch, place, position)?;
                let truth = self.truth.borrow();
                check_is_at(&truth, place, at, position)?;
                let values = truth.cached_between(place, at, self.now);
                let lives = |value: &Option<(u64, Time)>| value.is_some_and(|(_, until)| until > self.now);
                let is_wrong = match cached {
                    Some(value) => {
                        let number = number_of(&value.payload);
                        values.iter().all(|known| known.map(|(number, _)| number) != number)
                    }
                    None => values.iter().all(lives),
                };
                if is_wrong {
                    return violation("application: a cached value that is none, or the other way round");
                }
                self.check_occupancy(&self.certain(&place.0, at), occupancy)
            }
            (Question::Channels { prefix, after, limit }, Outcome::Channels { channels, more }) => {
                let app = self.calls.batches.get(&batch).map_or(0, |batch| batch.app);
                let certain = self.certain(&self.plan.setup.apps[app].id, at);
                self.check_channels(&certain, channels, *more, (prefix, after.as_deref(), *limit))
            }
            (Question::Signal { number }, Outcome::Affected { sessions }) => self.signalled(*number, *sessions),
            (Question::Why(_), Outcome::Why(_)) => Ok(()),
            (Question::Epoch(seen, trail), Outcome::Channel { position, .. }) => {
                self.compare(trail, position.epoch, seen)
            }
            _ => violation("application: not answered as asked"),
        }
    }

    /// What a batch has been told of a channel before holds for what it is told later.
    fn moves_on(&mut self, batch: u64, place: &Place, position: Position) -> Checked {
        let Some(batch) = self.calls.batches.get_mut(&batch) else { return Ok(()) };
        match batch.known.insert(place.clone(), position) {
            Some(before) if before.0 == position.0 && before.1 > position.1 => {
                violation("application: a channel goes back")
            }
            _ => Ok(()),
        }
    }

    fn check_refused(&self, what: &Question, reject: &Reject) -> Checked {
        let is = reject.position.map(|position| (position.epoch.0, position.offset));
        let truth = self.truth.borrow();
        let is_right = match (what, reject.code) {
            (Question::Publish { if_position, .. }, RejectCode::Conflict) => {
                if_position.is_some() && is.is_some() && is != *if_position
            }
            (Question::Publish { .. }, RejectCode::Unavailable) => self.plan.setup.fsync.is_some(),
            (Question::History { at: Some(at), from: Reading::Before, .. }, RejectCode::HistoryLost) => {
                is.is_some_and(|is| is.0 != at.0)
            }
            (Question::History { at: Some(at), place, .. }, RejectCode::HistoryLost) => {
                let is_kept = |record: &crate::truth::Record| {
                    truth.options(place).is_some_and(|options| record.at + options.history_ttl > self.now)
                };
                // What is behind a start may be missing, and that is told.
                let all = self.keeps_all(place)
                    && at.1 >= truth.base(place, at.0)
                    && truth.between(place, at.0, at.1, u64::MAX).iter().all(is_kept);
                is.is_some_and(|is| is.0 != at.0 || !all)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { violation("application: refused for a reason that does not hold") }
    }

    /// Whether the history of a channel has room for all of a run.
    fn keeps_all(&self, place: &Place) -> bool {
        let app = self.plan.setup.apps.iter().position(|app| app.id == place.0).unwrap_or_default();
        let options = self.plan.setup.options(app, &place.1);
        options.history_size >= 1_000
            && options.history_bytes >= 1024 * 1024
            && self.plan.setup.history_bytes_max >= 1024 * 1024
            && !self.truth.borrow().short_of_memory
    }

    /// Who was where since a moment, for certain: its subscription had begun, and nobody has asked to end it.
    fn certain(&self, app: &switchboard_core::AppId, since: Time) -> Certain {
        let mut certain = Certain::new();
        for link in self.links.iter().filter(|link| link.session_open && link.client_open) {
            let is_of_app = self.plan.setup.apps[self.clients[link.client].app].id == *app;
            if !is_of_app || link.expires.is_some_and(|expires| expires <= self.now) {
                continue;
            }
            let subscriptions = match &link.talk {
                Some(Talk::Native(conversation)) if conversation.keeps_its_rights() => &conversation.subscriptions,
                Some(Talk::Listening(listening)) => &listening.subscriptions,
                _ => continue,
            };
            for (channel, subscription) in subscriptions {
                let began = subscription.answered.is_some_and(|answered| answered < since);
                let goes_on = subscription.phase == Phase::Live
                    && !self.is_ordered(link.client, link.name, Some(channel))
                    && !self.is_ordered(link.client, link.name, None);
                if began && goes_on && channel != OWN {
                    *certain.entry(channel.clone()).or_default().entry(link.user.clone()).or_default() += 1;
                }
            }
        }
        certain
    }

    fn check_present(
        &self,
        place: &Place,
        certain: &Certain,
        users: &[PresentUser],
        limit: Option<usize>,
        (total, connections): (u64, u64),
    ) -> Checked {
        let names: BTreeSet<&str> = users.iter().map(|user| user.user.as_str()).collect();
        let app = self.plan.setup.apps.iter().find(|app| app.id == place.0);
        let most = app.map_or(0, |app| app.limits.presence_users);
        let listed = usize::try_from(total).unwrap_or(usize::MAX).min(limit.unwrap_or(most)).min(most);
        let sum: u64 = users.iter().map(|user| u64::from(user.connections)).sum();
        if names.len() != users.len() || users.len() != listed || sum > connections {
            return violation("application: presence that does not add up");
        }
        let options = self.truth.borrow().options(place).is_some_and(|options| options.presence);
        if !options {
            return if total + connections == 0 {
                Ok(())
            } else {
                violation("application: presence where there is none")
            };
        }
        let there = certain.get(&place.1);
        let count: u64 = there.into_iter().flat_map(BTreeMap::values).sum();
        let whole = users.len() as u64 == total;
        let has = |(user, least): (&String, &u64)| {
            users.iter().any(|known| known.user.as_str() == user && u64::from(known.connections) >= *least)
        };
        if connections < count || whole && !there.into_iter().flatten().all(has) {
            return Err(Violation::new("application: somebody who is there is missing", format!("{there:?}")));
        }
        Ok(())
    }

    fn check_occupancy(&self, certain: &Certain, occupancy: &Occupancy) -> Checked {
        let there = certain.get(occupancy.channel.as_str());
        let count: u64 = there.into_iter().flat_map(BTreeMap::values).sum();
        let has_presence = occupancy.presence.is_none_or(|presence| presence.connections >= count);
        if occupancy.subscribers < count || !has_presence {
            return Err(Violation::new(
                "application: a count that cannot be",
                format!("{occupancy:?}, there are {there:?}"),
            ));
        }
        Ok(())
    }

    fn check_channels(
        &self,
        certain: &Certain,
        channels: &[Occupancy],
        more: bool,
        (prefix, after, limit): (&str, Option<&str>, usize),
    ) -> Checked {
        let names: Vec<&str> = channels.iter().map(|known| known.channel.as_str()).collect();
        let is_wanted = |name: &str| name.starts_with(prefix) && after.is_none_or(|after| name > after);
        let in_order = names.windows(2).all(|pair| pair[0] < pair[1]);
        let known: BTreeSet<String> =
            (0..self.plan.setup.places()).map(|channel| self.plan.setup.channel(channel)).collect();
        let all_known = names.iter().all(|name| is_wanted(name) && known.contains(*name));
        let occupied = channels.iter().all(Occupancy::is_occupied);
        if !in_order || !all_known || !occupied || channels.len() > limit || more && channels.len() < limit {
            return violation("application: a list of channels that was not asked for");
        }
        channels.iter().try_for_each(|channel| self.check_occupancy(certain, channel))?;
        let end = names.last().copied().filter(|_| more);
        let must = certain.keys().filter(|name| is_wanted(name) && end.is_none_or(|end| name.as_str() <= end));
        match must.into_iter().find(|name| !names.contains(&name.as_str())) {
            None => Ok(()),
            Some(missing) => Err(Violation::new("application: an occupied channel is not listed", missing.clone())),
        }
    }
}

fn check_is_at(truth: &Truth, place: &Place, asked: Time, position: Position) -> Checked {
    match is_position(truth, place, asked, position) {
        true => Ok(()),
        false => violation("application: a position that is not the channel's"),
    }
}

fn since((epoch, offset): Position) -> Since {
    Since::Position(switchboard_core::Position { epoch: Epoch(epoch), offset })
}
