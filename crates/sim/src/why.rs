//! What the node says when it is asked why, against what its clients saw.

use crate::Violation;
use crate::conversation::Position;
use crate::subscription::Heard;
use crate::truth::Record;
use crate::world::{Talk, World};
use core::time::Duration;
use switchboard_core::{About, ChannelName, Command, Epoch, Fate, Outcome, Question, SessionId, Trail, Whom};

/// Questions of one run.
const QUESTIONS: usize = 60;

/// Epochs of a channel that are closer than this are not told apart (`docs/reference/http-api.md`).
const EPOCHS_APART: Duration = Duration::from_secs(1);

/// What a client saw of one publication.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    app: usize,
    channel: String,
    session: SessionId,
    epoch: u64,
    offset: u64,
    heard: Heard,
}

impl Seen {
    /// What became of it for whoever saw it?
    pub(crate) fn question(&self) -> Option<Command> {
        let about = About::Offset { channel: self.channel()?, offset: self.offset };
        Some(Command::Why(Question { about, whom: Some(Whom::Session(self.session)) }))
    }

    /// And in which epoch is the channel by now?
    pub(crate) fn epoch_question(&self) -> Option<Command> {
        Some(Command::Channel { channel: self.channel()? })
    }

    fn channel(&self) -> Option<ChannelName> {
        ChannelName::parse(self.channel.as_str()).ok()
    }
}

impl World<'_> {
    /// Asks about the last that clients heard, and compares.
    pub(crate) fn check_why(&mut self) -> Result<(), Violation> {
        let mut asked = Vec::new();
        for seen in self.last_heard() {
            let (Some(why), Some(epoch)) = (seen.question(), seen.epoch_question()) else { continue };
            let app = self.plan.setup.apps[seen.app].clone();
            // All is quiet, so that what is asked for at once is so at once.
            asked.push((self.ask(&app, why), self.ask(&app, epoch), seen));
        }
        let end = self.now + Duration::from_secs(5);
        self.run_until(end, |_| false)?;
        for (why, epoch, seen) in asked {
            match (self.outcomes.get(&why), self.outcomes.get(&epoch)) {
                (Some(Outcome::Why(trail)), Some(Outcome::Channel { position, .. })) => {
                    self.compare(trail, position.epoch, &seen)?;
                }
                answers => return Err(Violation::new("why: no answer", format!("{seen:?}: {answers:?}"))),
            }
        }
        Ok(())
    }

    /// `now`: in which epoch the channel was after that was answered.
    pub(crate) fn compare(&self, trail: &Trail, now: Epoch, seen: &Seen) -> Result<(), Violation> {
        let told = |message: String| {
            let Seen { channel, session, offset, heard, .. } = seen;
            Violation::new(
                "why: not what the client saw",
                format!("{channel} {offset}, {session} {heard:?}: {message}"),
            )
        };
        let mut trail = trail.clone();
        // Where nothing tells epochs apart, whoever names none is told what is remembered.
        if trail.epoch_of(seen.offset).is_some() || now.0 != seen.epoch {
            trail.narrow(seen.offset, Epoch(seen.epoch), now);
        }
        let truth = self.truth.borrow();
        let place = (self.plan.setup.apps[seen.app].id.clone(), seen.channel.clone());
        // A gap may name offsets that were never given.
        let Some(record) = truth.at(&place, seen.epoch, seen.offset) else { return Ok(()) };
        // What shards remember of single sessions names no epoch, so that two which follow each other at once are not told apart.
        let at_once = |record: &Record, other: &Record| {
            let (first, last) = (record.at.min(other.at), record.at.max(other.at));
            first + EPOCHS_APART > last
        };
        let mut others = truth.logs.get(&place).into_iter().flatten().filter(|(epoch, _)| **epoch != seen.epoch);
        if others.any(|(epoch, _)| truth.at(&place, *epoch, seen.offset).is_some_and(|other| at_once(record, other))) {
            return Ok(());
        }
        let fate = trail.fate(seen.offset, seen.session);
        let is_right = match seen.heard {
            Heard::Message => fate == Fate::Delivered,
            Heard::Gap if record.exclude == Some(seen.session) => true,
            Heard::Gap => matches!(fate, Fate::Dropped | Fate::Lost),
        };
        let is_forgotten = fate == Fate::Unknown && trail.since.is_none_or(|since| record.at < since);
        if is_right || is_forgotten { Ok(()) } else { Err(told(format!("{fate:?}, {trail:?}"))) }
    }

    fn last_heard(&self) -> Vec<Seen> {
        let mut all: Vec<Seen> = (0..self.links.len()).flat_map(|link| self.heard_by(link)).collect();
        // Gaps are rarer, and tell more.
        all.sort_by_key(|seen| seen.heard == Heard::Message);
        all.truncate(QUESTIONS);
        all
    }

    /// The last that a connection heard on its channels.
    pub(crate) fn heard_by(&self, link: usize) -> Vec<Seen> {
        let link = &self.links[link];
        if !(link.session_open && link.client_open) {
            return Vec::new();
        }
        let app = self.clients[link.client].app;
        let seen = |channel: &str, (epoch, offset): Position, heard: Heard| Seen {
            app,
            channel: channel.to_owned(),
            session: link.name,
            epoch,
            offset,
            heard,
        };
        let mut all = Vec::new();
        let subscriptions = match &link.talk {
            Some(Talk::Native(conversation)) => {
                all.extend(conversation.shown().map(|(channel, at)| seen(channel, at, Heard::Message)));
                &conversation.subscriptions
            }
            Some(Talk::Listening(listening)) => &listening.subscriptions,
            _ => return all,
        };
        for (channel, subscription) in subscriptions {
            let epoch = subscription.position().0;
            all.extend(subscription.heard.iter().map(|(offset, heard)| seen(channel, (epoch, *offset), *heard)));
        }
        all
    }
}
