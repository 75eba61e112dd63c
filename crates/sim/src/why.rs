//! What the node says when it is asked why, against what its clients saw.

use crate::Violation;
use crate::subscription::Heard;
use crate::world::{Talk, World};
use core::time::Duration;
use switchboard_core::{About, ChannelName, Command, Epoch, Fate, Outcome, Question, SessionId, Whom};

/// Questions of one run.
const QUESTIONS: usize = 60;

/// What a client saw of one publication.
struct Seen {
    app: usize,
    channel: String,
    session: SessionId,
    epoch: u64,
    offset: u64,
    heard: Heard,
}

impl World<'_> {
    /// Asks about the last that clients heard, and compares.
    pub(crate) fn check_why(&mut self) -> Result<(), Violation> {
        let mut asked = Vec::new();
        for seen in self.last_heard() {
            let Ok(channel) = ChannelName::parse(seen.channel.as_str()) else { continue };
            let about = About::Offset { channel, offset: seen.offset };
            let question = Question { about, whom: Some(Whom::Session(seen.session)) };
            let app = self.plan.setup.apps[seen.app].clone();
            asked.push((self.ask(&app, Command::Why(question)), seen));
        }
        let end = self.now + Duration::from_secs(5);
        self.run_until(end, |_| false)?;
        asked.into_iter().try_for_each(|(ticket, seen)| self.compare(ticket, &seen))
    }

    fn compare(&self, ticket: u64, seen: &Seen) -> Result<(), Violation> {
        let told = |message: String| {
            let Seen { channel, session, offset, heard, .. } = seen;
            Violation::new(
                "why: not what the client saw",
                format!("{channel} {offset}, {session} {heard:?}: {message}"),
            )
        };
        let Some(Outcome::Why(trail)) = self.outcomes.get(&ticket) else { return Err(told("no answer".to_owned())) };
        let mut trail = trail.clone();
        if trail.epoch_of(seen.offset).is_some() {
            trail.narrow(seen.offset, Epoch(seen.epoch));
        }
        let truth = self.truth.borrow();
        let place = (self.plan.setup.apps[seen.app].id.clone(), seen.channel.clone());
        // A gap may name offsets that were never given.
        let Some(record) = truth.at(&place, seen.epoch, seen.offset) else { return Ok(()) };
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
        let mut all = Vec::new();
        for link in self.links.iter().filter(|link| link.session_open && link.client_open) {
            let Some(Talk::Native(conversation)) = &link.talk else { continue };
            for (channel, subscription) in &conversation.subscriptions {
                let epoch = subscription.position().0;
                all.extend(subscription.heard.iter().map(|(offset, heard)| Seen {
                    app: self.clients[link.client].app,
                    channel: channel.clone(),
                    session: link.name,
                    epoch,
                    offset: *offset,
                    heard: *heard,
                }));
            }
        }
        // Gaps are rarer, and tell more.
        all.sort_by_key(|seen| seen.heard == Heard::Message);
        all.truncate(QUESTIONS);
        all
    }
}
