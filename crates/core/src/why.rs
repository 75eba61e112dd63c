//! What became of a publication: the question, the steps that shards remember, and what they mean for one session.

use crate::{AppId, ChannelName, Epoch, RejectCode, SessionId, Time, UserId};
use core::fmt;
use std::sync::Arc;

/// What became of a publication? For the application itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Which.
    pub about: About,
    /// Whose part is wanted. From then on, what concerns them is remembered in every detail.
    pub whom: Option<Whom>,
}

/// Names a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// By its place.
    Offset {
        /// The channel.
        channel: ChannelName,
        /// The offset.
        offset: u64,
    },
    /// By the [`id`](crate::Publish::id) that its publisher gave it; there may be one on each of several channels.
    Id {
        /// The id.
        id: Box<str>,
        /// On this channel only.
        channel: Option<ChannelName>,
    },
}

/// One session, or all of a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One session.
    Session(SessionId),
    /// A user.
    User(UserId),
}

/// What shards remember of a publication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    /// In the order of their times.
    pub steps: Vec<Step>,
    /// How those who were asked for stand now.
    pub standings: Vec<Standing>,
    /// Where the session is that was asked for by its name.
    pub named: Option<Whereabouts>,
    /// Since when all is remembered; of what was before, some may be forgotten. `None` if nothing is remembered at all.
    pub since: Option<Time>,
    /// There were more steps than are given.
    pub more: bool,
}

/// Something that happened to a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Time,
    /// On which shard.
    pub shard: u16,
    /// The application.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// The first offset that it concerns.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The epoch of the offsets, where it is known: what comes of a publication later does not say it.
    pub epoch: Option<Epoch>,
    /// Who published, was refused, or was to get it.
    pub session: Option<SessionId>,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Its home was asked to publish it under an id.
    Asked {
        /// The id.
        id: Arc<str>,
    },
    /// Its home gave it its place and sent it to so many shards with subscribers.
    Published {
        /// How many.
        shards: u16,
    },
    /// It had been published before.
    Duplicate,
    /// It was not published.
    Refused {
        /// Why.
        code: RejectCode,
    },
    /// It found no room on the way to a shard, which reads it from history later.
    Behind {
        /// Which.
        shard: u16,
    },
    /// It was read from history for a shard that was behind.
    CaughtUp {
        /// Which.
        shard: u16,
    },
    /// History had let it go before a shard that was behind could be sent it.
    Trimmed {
        /// Which.
        shard: u16,
    },
    /// It did not reach this shard; those who subscribe there are told of a gap.
    Missing,
    /// A shard has walked its subscribers with it.
    FannedOut {
        /// How many there were.
        subscribers: u32,
        /// To how many it was given at once. The others were excluded, came later, are in a replay, get the latest only, or are being given up.
        given: u32,
    },
    /// Put into a session's outbox, in its place among what is live.
    Given,
    /// Put into a session's outbox as a part of what it had missed, or as the channel's cached value.
    Replayed,
    /// Put into a session's outbox for a pattern.
    Matched,
    /// Not for this session: its publisher wanted it so.
    Excluded,
    /// A session's rights do not cover it, though its pattern does.
    Denied,
    /// It waits behind a replay.
    Queued,
    /// It waits by its key until the session has room or its rate lets it out.
    Waits,
    /// A newer publication has taken its place.
    Replaced {
        /// Which.
        by: u64,
    },
    /// It left the session's outbox unsent to make room, and the session is told.
    Dropped,
    /// It found no room in the session's outbox, and the session ends.
    GivenUp,
    /// A position check found that the session has not got it, and it is told.
    Lost,
}

/// Where a session is. Of what several shards say, the last in this order holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whereabouts {
    /// No session of the application has had this name since the server was started.
    Nowhere,
    /// It has ended.
    Ended,
    /// It is there.
    Here,
}

/// What a subscription was given of the time before it began, as far as its publications still were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// All after this offset: it was resumed.
    After(u64),
    /// The channel's cached value, which is at this offset.
    Cached(u64),
}

impl Earlier {
    /// Whether a publication of before is a part of it.
    const fn has(self, offset: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::After(after) => offset > after,
            Self::Cached(at) => offset == at,
        }
    }
}

/// How somebody who was asked for stands on the channel now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The session.
    pub session: SessionId,
    /// The offset after which its subscription began; `None` if it does not subscribe to the channel by name.
    pub began: Option<u64>,
    /// What it was given of before.
    pub earlier: Earlier,
    /// The session has never ended a subscription, and so had none of the channel before this one.
    pub steady: bool,
    /// The last offset that was handled for it.
    pub handled: u64,
    /// A replay is not at its end.
    pub replaying: bool,
    /// Patterns that it watches.
    pub patterns: usize,
    /// Bytes that wait for it.
    pub waiting: usize,
    /// It has been given up and is about to end.
    pub given_up: bool,
    /// What concerns it has been remembered in every detail since it came.
    pub traced: bool,
}

/// What became of a publication for one session, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was put into the session's outbox, and from there to its connection unless that broke.
    Delivered,
    /// A newer one took its place.
    Conflated,
    /// It left the outbox unsent, and the session was told of a gap.
    Dropped,
    /// It was lost on the way, and the session was told of a gap.
    Lost,
    /// It found no room, and the session ended.
    GivenUp,
    /// It was not for this session.
    Excluded,
    /// The session has no right to it.
    Refused,
    /// It waits behind a replay, by its key or for a turn.
    Waiting,
    /// The session did not subscribe yet when it was published, and it was not a part of what it was given of before.
    TooEarly,
    /// The session does not subscribe to the channel, and has left none that it subscribed to before.
    NotSubscribed,
    /// The session has ended, and nothing is remembered of what became of it for that.
    Ended,
    /// There is and was no such session since the server was started.
    NoSession,
    /// What is remembered does not say: it is too long ago, or the session is not traced.
    Unknown,
}

impl Fate {
    /// For programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Conflated => "conflated",
            Self::Dropped => "dropped",
            Self::Lost => "lost",
            Self::GivenUp => "given_up",
            Self::Excluded => "excluded",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::TooEarly => "too_early",
            Self::NotSubscribed => "not_subscribed",
            Self::Ended => "ended",
            Self::NoSession => "no_session",
            Self::Unknown => "unknown",
        }
    }
}

impl What {
    /// For programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "asked",
            Self::Published { .. } => "published",
            Self::Duplicate => "duplicate",
            Self::Refused { .. } => "refused",
            Self::Behind { .. } => "behind",
            Self::CaughtUp { .. } => "caught_up",
            Self::Trimmed { .. } => "trimmed",
            Self::Missing => "missing",
            Self::FannedOut { .. } => "fanned_out",
            Self::Given => "given",
            Self::Replayed => "replayed",
            Self::Matched => "matched",
            Self::Excluded => "excluded",
            Self::Denied => "denied",
            Self::Queued => "queued",
            Self::Waits => "waits",
            Self::Replaced { .. } => "replaced",
            Self::Dropped => "dropped",
            Self::GivenUp => "given_up",
            Self::Lost => "lost",
        }
    }

    /// Whether it happened to one subscriber.
    pub const fn is_of_one(&self) -> bool {
        matches!(
            self,
            Self::Given
                | Self::Replayed
                | Self::Matched
                | Self::Excluded
                | Self::Denied
                | Self::Queued
                | Self::Waits
                | Self::Replaced { .. }
                | Self::Dropped
                | Self::GivenUp
                | Self::Lost
        )
    }
}

/// For people.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { id } => write!(f, "asked to publish under the id \"{id}\""),
            Self::Published { shards } => write!(f, "published, and sent to {shards} shards"),
            Self::Duplicate => f.write_str("had been published before under the same id"),
            Self::Refused { code } => write!(f, "refused: {}", code.as_str()),
            Self::Behind { shard } => write!(f, "no room on the way to shard {shard}, which reads it from history"),
            Self::CaughtUp { shard } => write!(f, "read from history for shard {shard}"),
            Self::Trimmed { shard } => write!(f, "gone from history before shard {shard} could be sent it"),
            Self::Missing => f.write_str("did not arrive; subscribers here are told of a gap"),
            Self::FannedOut { subscribers, given } => {
                write!(f, "given to {given} of {subscribers} subscribers at once")
            }
            Self::Given => f.write_str("put into the outbox"),
            Self::Replayed => f.write_str("put into the outbox as a part of what was missed"),
            Self::Matched => f.write_str("put into the outbox for a pattern"),
            Self::Excluded => f.write_str("left out as its publisher wanted"),
            Self::Denied => f.write_str("no right to it"),
            Self::Queued => f.write_str("waits behind a replay"),
            Self::Waits => f.write_str("waits by its key"),
            Self::Replaced { by } => write!(f, "offset {by} has taken its place"),
            Self::Dropped => f.write_str("left the outbox unsent to make room; the session is told"),
            Self::GivenUp => f.write_str("no room in the outbox; the session ends"),
            Self::Lost => f.write_str("a check found it missing; the session is told"),
        }
    }
}

/// Clocks of shards are read once in a turn. Between two epochs of a channel is more.
const SKEW: u64 = 500_000;

impl Trail {
    /// The latest epoch in which a publication is known to have had this offset.
    pub fn epoch_of(&self, offset: u64) -> Option<Epoch> {
        self.published(offset).last().map(|(_, epoch)| epoch)
    }

    /// Leaves out what concerns the same offset of other epochs: what was before it was published in this one, and since it was in the next. Of an epoch of which that
    /// is not remembered, nothing is left. Where the channel is in another epoch `now`, how sessions stand on it says nothing of this one either. Whoever asks for that
    /// asks after the trail: as long as somebody subscribes, a channel stays in its epoch.
    pub fn narrow(&mut self, offset: u64, epoch: Epoch, now: Epoch) {
        if now != epoch {
            self.standings.clear();
        }
        let before = |at: Time| Time::from_micros(at.as_micros().saturating_sub(SKEW));
        let mut published = self.published(offset).skip_while(|(_, known)| *known != epoch);
        let from = published.next().map(|(at, _)| before(at));
        let to = published.find(|(_, known)| *known != epoch).map(|(at, _)| before(at));
        drop(published);
        self.steps.retain(|step| from.is_some_and(|from| from <= step.at) && to.is_none_or(|to| step.at < to));
    }

    fn published(&self, offset: u64) -> impl Iterator<Item = (Time, Epoch)> {
        let of_it = move |step: &&Step| matches!(step.what, What::Published { .. }) && step.first == offset;
        self.steps.iter().filter(of_it).filter_map(|step| Some((step.at, step.epoch?)))
    }

    /// What became of a publication for one session.
    pub fn fate(&self, offset: u64, session: SessionId) -> Fate {
        let concerns = |step: &&Step| step.first <= offset && offset <= step.last;
        let mut own = self.steps.iter().filter(concerns).filter(|step| step.session == Some(session));
        // The last step decides; what was replaced or dropped is not undone.
        if let Some(step) = own.rfind(|step| step.what.is_of_one()) {
            return match step.what {
                What::Replaced { .. } => Fate::Conflated,
                What::Dropped => Fate::Dropped,
                What::GivenUp => Fate::GivenUp,
                What::Excluded => Fate::Excluded,
                What::Denied => Fate::Refused,
                What::Queued | What::Waits => Fate::Waiting,
                What::Lost => Fate::Lost,
                _ => Fate::Delivered,
            };
        }
        let Some(standing) = self.standings.iter().find(|standing| standing.session == session) else {
            return match self.named {
                Some(Whereabouts::Ended) => Fate::Ended,
                Some(Whereabouts::Nowhere) => Fate::NoSession,
                Some(Whereabouts::Here) | None => Fate::Unknown,
            };
        };
        let remembered = |what: fn(&What) -> bool| {
            let on_its_shard =
                |step: &&Step| step.shard == session.shard || !matches!(step.what, What::FannedOut { .. });
            let mut steps = self.steps.iter().filter(concerns).filter(on_its_shard);
            steps.any(|step| what(&step.what) && self.since.is_some_and(|since| step.at >= since))
        };
        let missing = |step: &Step| matches!(step.what, What::Missing) && step.shard == session.shard;
        match standing.began {
            // It may have had it before it left, or by a pattern.
            None if standing.patterns > 0 || !standing.steady => Fate::Unknown,
            None => Fate::NotSubscribed,
            Some(_) if standing.given_up => Fate::Unknown,
            Some(began) if offset <= began => {
                // All that came of it is still remembered, if it was at all.
                let whole = remembered(|what| matches!(what, What::Published { .. }));
                let never_before = standing.steady && standing.patterns == 0;
                match standing.earlier.has(offset) {
                    true if whole && !standing.replaying => Fate::Delivered,
                    false if never_before || whole && standing.traced => Fate::TooEarly,
                    _ => Fate::Unknown,
                }
            }
            Some(_) if self.steps.iter().filter(concerns).any(missing) => Fate::Lost,
            Some(_) if standing.handled < offset => Fate::Waiting,
            // It is remembered of everybody if something else became of it.
            Some(_) => {
                let whole = remembered(|what| matches!(what, What::FannedOut { .. }));
                if whole && !standing.replaying { Fate::Delivered } else { Fate::Unknown }
            }
        }
    }

    /// The sessions that it says something about, each once.
    pub fn sessions(&self) -> Vec<SessionId> {
        let told = self.steps.iter().filter(|step| step.what.is_of_one()).filter_map(|step| step.session);
        let mut sessions: Vec<_> = told.chain(self.standings.iter().map(|standing| standing.session)).collect();
        sessions.sort_unstable();
        sessions.dedup();
        sessions
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SESSION: SessionId = SessionId { node: 0, shard: 1, serial: 7 };

    fn step(shard: u16, session: Option<SessionId>, what: What) -> Step {
        let channel = ChannelName::parse("c").unwrap();
        let (at, app, epoch) = (Time::default(), AppId::new("app"), None);
        Step { at, shard, app, channel, first: 4, last: 6, epoch, session, what }
    }

    fn standing(began: Option<u64>, handled: u64) -> Standing {
        let (replaying, given_up, traced, steady) = (false, false, false, false);
        let earlier = Earlier::Nothing;
        Standing {
            session: SESSION,
            began,
            earlier,
            steady,
            handled,
            replaying,
            patterns: 0,
            waiting: 0,
            given_up,
            traced,
        }
    }

    #[test]
    fn the_last_thing_that_happened_to_a_session_is_its_fate() {
        let of = |steps: &[What]| {
            let steps = steps.iter().map(|what| step(1, Some(SESSION), what.clone())).collect();
            Trail { steps, ..Trail::default() }.fate(5, SESSION)
        };
        assert_eq!(of(&[What::Given]), Fate::Delivered);
        assert_eq!(of(&[What::Given, What::Dropped]), Fate::Dropped);
        assert_eq!(of(&[What::Waits, What::Replaced { by: 9 }]), Fate::Conflated);
        assert_eq!(of(&[What::Queued]), Fate::Waiting);
        assert_eq!(of(&[What::Queued, What::Replayed]), Fate::Delivered);
        assert_eq!(of(&[What::Excluded]), Fate::Excluded);
        // That it published it says nothing of whether it gets it.
        assert_eq!(of(&[What::Published { shards: 1 }]), Fate::Unknown);
        let elsewhere = Trail { steps: vec![step(1, Some(SESSION), What::Given)], ..Trail::default() };
        assert_eq!(elsewhere.fate(7, SESSION), Fate::Unknown);
        assert_eq!(elsewhere.fate(5, SessionId { serial: 8, ..SESSION }), Fate::Unknown);
    }

    #[test]
    fn an_offset_of_another_epoch_is_another_publication() {
        let at = |seconds: u64, epoch: Option<u64>, what: What| {
            let (at, epoch) = (Time::from_secs(seconds), epoch.map(Epoch));
            Step { at, epoch, first: 5, last: 5, ..step(1, Some(SESSION), what) }
        };
        let published = |seconds, epoch| at(seconds, Some(epoch), What::Published { shards: 1 });
        let steps = vec![published(10, 1), at(10, None, What::Dropped), published(20, 2), at(20, None, What::Given)];
        let trail = Trail { steps, ..Trail::default() };
        assert_eq!((trail.epoch_of(5), trail.epoch_of(6)), (Some(Epoch(2)), None));
        for (epoch, fate, steps) in [(1, Fate::Dropped, 2), (2, Fate::Delivered, 2), (3, Fate::Unknown, 0)] {
            let mut narrow = trail.clone();
            narrow.narrow(5, Epoch(epoch), Epoch(2));
            assert_eq!((narrow.fate(5, SESSION), narrow.steps.len()), (fate, steps), "epoch {epoch}");
        }
    }

    #[test]
    fn how_a_session_stands_says_nothing_of_an_epoch_before() {
        let published =
            Step { epoch: Some(Epoch(1)), first: 5, last: 5, ..step(1, None, What::Published { shards: 0 }) };
        let named = Some(Whereabouts::Here);
        let trail = Trail { steps: vec![published], standings: vec![standing(Some(0), 1)], named, ..Trail::default() };
        for (now, fate) in [(1, Fate::Waiting), (2, Fate::Unknown)] {
            let mut narrow = trail.clone();
            narrow.narrow(5, Epoch(1), Epoch(now));
            assert_eq!(narrow.fate(5, SESSION), fate, "now in epoch {now}");
        }
    }

    #[test]
    fn where_nothing_is_remembered_of_a_session_its_standing_says_what_can_be_said() {
        let fanned = || step(1, None, What::FannedOut { subscribers: 2, given: 2 });
        let of = |steps: Vec<Step>, standing: Standing| {
            let standings = vec![standing];
            Trail { steps, standings, since: Some(Time::default()), ..Trail::default() }.fate(5, SESSION)
        };
        let published = || step(0, None, What::Published { shards: 2 });
        assert_eq!(of(vec![fanned()], standing(Some(4), 6)), Fate::Delivered);
        assert_eq!(of(vec![fanned()], Standing { replaying: true, ..standing(Some(4), 6) }), Fate::Unknown);
        assert_eq!(of(vec![], standing(Some(4), 6)), Fate::Unknown, "too long ago");
        assert_eq!(of(vec![], standing(Some(4), 4)), Fate::Waiting);
        let never = || Standing { steady: true, ..standing(None, 0) };
        assert_eq!(of(vec![], never()), Fate::NotSubscribed);
        for unsure in [Standing { steady: false, ..never() }, Standing { patterns: 1, ..never() }] {
            assert_eq!(of(vec![], unsure), Fate::Unknown);
        }
        let traced = Standing { traced: true, ..standing(Some(5), 6) };
        assert_eq!(of(vec![published()], traced.clone()), Fate::TooEarly);
        assert_eq!(of(vec![], traced), Fate::Unknown);
        let since = Some(Time::from_secs(1));
        let standings = vec![standing(Some(4), 6)];
        let forgotten = Trail { steps: vec![fanned()], standings, since, ..Trail::default() };
        assert_eq!(forgotten.fate(5, SESSION), Fate::Unknown, "what came of it may be forgotten");
        assert_eq!(of(vec![step(1, None, What::Missing)], standing(Some(4), 6)), Fate::Lost);
        assert_eq!(
            of(vec![step(0, None, What::FannedOut { subscribers: 9, given: 9 })], standing(Some(4), 6)),
            Fate::Unknown
        );
    }

    #[test]
    fn of_what_was_before_a_subscription_it_has_what_it_was_given_of_it() {
        let published = || step(0, None, What::Published { shards: 2 });
        let of = |steps: Vec<Step>, standing: Standing| {
            let standings = vec![standing];
            Trail { steps, standings, since: Some(Time::default()), ..Trail::default() }.fate(5, SESSION)
        };
        let late = || Standing { steady: true, ..standing(Some(6), 9) };
        assert_eq!(of(vec![], late()), Fate::TooEarly, "however long ago");
        assert_eq!(of(vec![], Standing { replaying: true, ..late() }), Fate::TooEarly);
        for unsure in [Standing { steady: false, ..late() }, Standing { patterns: 1, ..late() }] {
            assert_eq!(of(vec![published()], unsure), Fate::Unknown, "it may have got it otherwise");
        }
        for earlier in [Earlier::After(4), Earlier::Cached(5)] {
            let given = || Standing { earlier, ..late() };
            assert_eq!(of(vec![published()], given()), Fate::Delivered);
            assert_eq!(of(vec![], given()), Fate::Unknown, "what came of it may be forgotten");
            assert_eq!(of(vec![published()], Standing { replaying: true, ..given() }), Fate::Unknown);
        }
        for earlier in [Earlier::After(5), Earlier::Cached(4), Earlier::Cached(6)] {
            assert_eq!(of(vec![published()], Standing { earlier, ..late() }), Fate::TooEarly);
        }
    }

    #[test]
    fn who_is_not_there_is_told_from_who_never_was() {
        let of = |named, steps| Trail { steps, named, ..Trail::default() }.fate(5, SESSION);
        assert_eq!(of(Some(Whereabouts::Ended), vec![]), Fate::Ended);
        assert_eq!(of(Some(Whereabouts::Nowhere), vec![]), Fate::NoSession);
        assert_eq!(of(Some(Whereabouts::Here), vec![]), Fate::Unknown, "it stands in another epoch");
        // What is remembered outlives the session.
        assert_eq!(of(Some(Whereabouts::Ended), vec![step(1, Some(SESSION), What::Dropped)]), Fate::Dropped);
    }
}
