//! What the node says when it is asked why, against what its clients saw.

use crate::Violation;
use crate::conversation::Position;
use crate::subscription::Heard;
use crate::truth::Record;
use crate::world::{Talk, World};
use core::time::Duration;
use switchboard_core::{About, ChannelName, Command, Epoch, Fate, Outcome, Question, SessionId, Whom};

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
    pub(crate) fn question(&self) -> Option<Question> {
        let channel = ChannelName::parse(self.channel.as_str()).ok()?;
        let about = About::Offset { channel, offset: self.offset };
        Some(Question { about, whom: Some(Whom::Session(self.session)) })
    }
}

impl World<'_> {
    /// Asks about the last that clients heard, and compares.
    pub(crate) fn check_why(&mut self) -> Result<(), Violation> {
        let mut asked = Vec::new();
        for seen in self.last_heard() {
            let Some(question) = seen.question() else { continue };
            let app = self.plan.setup.apps[seen.app].clone();
            asked.push((self.ask(&app, Command::Why(question)), seen));
        }
        let end = self.now + Duration::from_secs(5);
        self.run_until(end, |_| false)?;
        for (ticket, seen) in asked {
            let Some(outcome) = self.outcomes.get(&ticket) else {
                return Err(Violation::new("why: no answer", format!("{seen:?}")));
            };
            self.compare(outcome, &seen)?;
        }
        Ok(())
    }

    pub(crate) fn compare(&self, outcome: &Outcome, seen: &Seen) -> Result<(), Violation> {
        let told = |message: String| {
            let Seen { channel, session, offset, heard, .. } = seen;
            Violation::new(
                "why: not what the client saw",
                format!("{channel} {offset}, {session} {heard:?}: {message}"),
            )
        };
        let Outcome::Why(trail) = outcome else { return Err(told(format!("{outcome:?}"))) };
        let mut trail = trail.clone();
        if trail.epoch_of(seen.offset).is_some() {
            trail.narrow(seen.offset, Epoch(seen.epoch));
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
