//! What the application's servers are told of channels, compared with what was so.
//!
//! Owns the promises of notices: each beginning has one end, in order, nobody leaves within the grace, and in the end what was told is how it is.

use crate::Violation;
use crate::subscription::Phase;
use crate::truth::{Place, Truth};
use crate::world::{Talk, World};
use std::collections::{BTreeMap, BTreeSet};
use switchboard_core::{Happened, Notice, NoticeKinds, Time};
use switchboard_hub::NoticeBatch;

/// What was told by the process that is there now.
#[derive(Debug, Default)]
pub(crate) struct Told {
    channels: BTreeMap<Place, Channel>,
    /// Publications that were told as client events.
    events: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Channel {
    at: Time,
    occupied: bool,
    members: BTreeSet<String>,
    count: Option<u64>,
}

/// Somebody was on a channel for a time, as is known for certain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    /// From then on at the latest.
    pub(crate) from: Time,
    /// Until then at least.
    pub(crate) until: Time,
}

/// Stays that are over, by channel and user.
pub(crate) type Stays = BTreeMap<(Place, String), Vec<Stay>>;

impl Told {
    /// The process is another one, and has told nothing yet.
    pub(crate) fn forget(&mut self) {
        self.channels.clear();
    }

    /// What was told to have begun, and not to have ended.
    pub(crate) fn left(&self) -> Option<String> {
        let left = |channel: &Channel| channel.occupied || !channel.members.is_empty();
        let (place, channel) = self.channels.iter().find(|(_, channel)| left(channel))?;
        Some(format!("{place:?}: {channel:?}"))
    }

    fn hear(&mut self, truth: &Truth, notice: &Notice) -> Result<(), Violation> {
        let wrong = |kind: &'static str| Err(Violation::new(kind, format!("{notice:?}")));
        let place = (notice.app.clone(), notice.channel.as_str().to_owned());
        let channel = self.channels.entry(place.clone()).or_default();
        if notice.at < core::mem::replace(&mut channel.at, notice.at) {
            return wrong("notice: told before what came before it");
        }
        match &notice.what {
            Happened::Occupied if core::mem::replace(&mut channel.occupied, true) => {
                return wrong("notice: occupied twice");
            }
            Happened::Vacated if !core::mem::replace(&mut channel.occupied, false) || !channel.members.is_empty() => {
                return wrong("notice: vacated twice, or with somebody there");
            }
            Happened::MemberAdded(user) if !channel.members.insert(user.to_string()) => {
                return wrong("notice: a user came twice");
            }
            Happened::MemberRemoved(user) if !channel.members.remove(user.as_str()) => {
                return wrong("notice: a user left who was not there");
            }
            Happened::ClientEvent { payload, session, .. } => {
                let number = crate::truth::number_of(payload).unwrap_or_default();
                let is_there = truth.place_of(number).is_some_and(|(known, _)| *known == place);
                if !is_there || session.is_none() || !self.events.insert(number) {
                    return wrong("notice: a client's event that was none, or twice");
                }
            }
            Happened::CacheMiss => {
                let values = truth.cached_between(&place, notice.at, notice.at);
                if values.iter().all(|value| value.is_some_and(|(_, until)| until > notice.at)) {
                    return wrong("notice: a value is missed that is there");
                }
            }
            Happened::SubscriptionCount(count) => channel.count = Some(*count),
            _ => {}
        }
        Ok(())
    }
}

impl World<'_> {
    /// Takes what a shard's homes have to tell.
    pub(crate) fn hear(&mut self, shard: usize) -> Result<(), Violation> {
        let NoticeBatch { notices, lost } = self.node.shards[shard].sessions.take_notices();
        if lost > 0 {
            return Err(Violation::new("notice: lost though there was room", format!("{lost}")));
        }
        for notice in notices {
            self.seen.notices += 1;
            self.trace.note(self.now, "notice", &[shard as u64], || format!("{notice:?}"));
            self.told.hear(&self.truth.borrow(), &notice)?;
            if let Happened::MemberRemoved(user) = &notice.what {
                let place = (notice.app.clone(), notice.channel.as_str().to_owned());
                self.check_grace(&place, user.as_str(), notice.at)?;
            }
        }
        Ok(())
    }

    /// Nobody who left a moment ago, or is still there, is gone.
    fn check_grace(&self, place: &Place, user: &str, at: Time) -> Result<(), Violation> {
        let grace = self.truth.borrow().options(place).map(|options| options.presence_grace).unwrap_or_default();
        let stays = self.stays.get(&(place.clone(), user.to_owned()));
        let too_early = |stay: &&Stay| stay.from <= at && stay.until + grace > at;
        match stays.into_iter().flatten().find(too_early) {
            None => Ok(()),
            Some(stay) => {
                let message = format!("{user} of {place:?} at {at:?}, was there: {stay:?}");
                Err(Violation::new("presence: a user left within the grace", message))
            }
        }
    }

    /// A connection ends: whoever was on its channels is known to have been there until now, unless a right or the application has ended that before.
    pub(crate) fn note_stays(&mut self, link: usize) {
        let one = &self.links[link];
        let Some(Talk::Native(conversation)) = one.talk.as_ref().filter(|_| one.session_open) else { return };
        let mut stays = Vec::new();
        for (channel, subscription) in &conversation.subscriptions {
            let certain = subscription.phase == Phase::Live && conversation.keeps_its_rights();
            if let (Some(from), Some(user)) = (subscription.answered, &subscription.member)
                && certain
                && !self.is_ordered(one.client, one.name, Some(channel))
            {
                stays.push(((conversation.place(channel), user.clone()), Stay { from, until: self.now }));
            }
        }
        stays.into_iter().for_each(|(key, stay)| self.stays.entry(key).or_default().push(stay));
    }

    /// When all is quiet, what was told is how it is. `members` has who is where, `subscribers` how many connections are.
    pub(crate) fn check_told(
        &self,
        members: &BTreeMap<Place, BTreeSet<String>>,
        subscribers: &BTreeMap<Place, u64>,
    ) -> Result<(), Violation> {
        let nobody = Channel::default();
        for (index, app) in self.plan.setup.apps.iter().enumerate() {
            for channel in (0..self.plan.setup.places()).map(|channel| self.plan.setup.channel(channel)) {
                let place = (app.id.clone(), channel);
                let wanted = self.wanted(index, &place.1);
                let told = self.told.channels.get(&place).unwrap_or(&nobody);
                let count = subscribers.get(&place).copied().unwrap_or_default();
                let is_wrong = |kind: NoticeKinds, right: bool| wanted.contains(kind) && !right;
                let there = members.get(&place).cloned().unwrap_or_default();
                let wrong = is_wrong(NoticeKinds::OCCUPIED | NoticeKinds::VACATED, told.occupied == (count > 0))
                    || is_wrong(NoticeKinds::MEMBER_ADDED | NoticeKinds::MEMBER_REMOVED, told.members == there)
                    || is_wrong(NoticeKinds::SUBSCRIPTION_COUNT, told.count.unwrap_or(0) == count);
                if wrong {
                    let message = format!("{place:?}: {told:?}, there are {there:?} by {count} connections");
                    return Err(Violation::new("notice: what was told is not so", message));
                }
            }
        }
        Ok(())
    }

    fn wanted(&self, app: usize, channel: &str) -> NoticeKinds {
        let name = switchboard_core::ChannelName::parse(channel).ok();
        name.map_or(NoticeKinds::NONE, |name| self.plan.setup.apps[app].notices.of(&name))
    }
}
