//! The part of a conversation that has a recording in it: what is played of one, how what comes compares with it, and what is written into another.

use super::{Conversation, Outgoing, Phase};
use crate::connect::Failed;
use crate::connect::conversation::Act;
use crate::connect::frames::Direction;
use crate::connect::record::{Entry, What};
use core::time::Duration;
use switchboard_ws::Message;

impl Conversation {
    /// Sends what is due of the recording that is played.
    pub(super) fn play(&mut self, now: Duration) {
        let Phase::Open { since } = self.phase else { return };
        let Some(mut replay) = self.replay.take() else { return };
        while let Some(what) = replay.take(now.saturating_sub(since)) {
            match what {
                What::Message(message) => drop(self.send(now, Outgoing::Message(message))),
                What::Ping(payload) => self.ping(now, payload.into()),
                What::Pong(payload) => drop(self.send(now, Outgoing::Pong(payload.into()))),
                // Answers that are still to come are waited for, however fast it is played.
                What::Close(frame) => self.last_words = frame,
                What::Open { .. } => {}
            }
        }
        self.input_over |= replay.is_sent();
        self.replay = Some(replay);
        self.check_linger(now);
    }

    pub(super) fn compare(&mut self, now: Duration, message: &Message) {
        let Some(difference) = self.replay.as_mut().and_then(|replay| replay.compare(message)) else { return };
        self.notice(now, &difference);
        let (first, count) = self.difference.take().unwrap_or((difference, 0));
        self.difference = Some((first, count + 1));
    }

    pub(super) fn judge(&self) -> Result<(), Failed> {
        let Some(replay) = self.replay.as_ref() else { return Ok(()) };
        if !replay.is_sent() {
            return Err(Failed::Other("the connection ended before the recording did".into()));
        }
        match &self.difference {
            _ if !self.manner.expect => Ok(()),
            Some((first, 1)) => Err(Failed::Other(format!("what came differs from the recording: {first}"))),
            Some((first, count)) => {
                Err(Failed::Other(format!("what came differs from the recording in {count} messages, first: {first}")))
            }
            None if replay.missing() > 0 => {
                let (missing, count) = (replay.missing(), replay.count());
                Err(Failed::Other(format!("{missing} of the {count} messages that were recorded did not come")))
            }
            None => Ok(()),
        }
    }

    pub(super) fn record(&mut self, now: Duration, direction: Direction, what: What) {
        if let Some(since) = self.recording {
            let entry = Entry { at: now.saturating_sub(since), direction, what };
            self.acts.push_back(Act::Record(entry.line()));
        }
    }
}
