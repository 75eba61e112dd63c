//! What answers promise, wherever they came: that a subscription begins where the channel is, that history is what was published, that a repetition is one.
//!
//! Owns the comparison with what really was published. Knows nothing of connections.

use crate::Violation;
use crate::conversation::{Checked, Position, violation};
use crate::plan::Reading;
use crate::truth::{Place, Truth};
use switchboard_core::{App, ChannelName, ChannelOptions, Time};

/// What a client is told of a subscription that begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begins {
    pub(crate) asked: Time,
    pub(crate) since: Option<Position>,
    pub(crate) position: Position,
    pub(crate) recovered: Option<bool>,
    /// It has the right to history.
    pub(crate) may_resume: bool,
}

impl Begins {
    pub(crate) fn check(&self, truth: &Truth, place: &Place) -> Checked {
        let (epoch, offset) = self.position;
        if !is_position(truth, place, self.asked, self.position) {
            return violation("client: subscribed at a position that is not the channel's");
        }
        if self.recovered.is_some() != self.since.is_some() {
            return violation("client: recovered without having asked, or the other way round");
        }
        match (self.recovered, self.since) {
            (Some(true), _) if !self.may_resume => violation("rights: a replay without the right to history"),
            (Some(false), Some(since)) if self.may_resume && since == (epoch, offset) => {
                violation("client: nothing was missed, and that was not recovered")
            }
            (Some(true), Some(since)) if since.0 != epoch || since.1 > offset => {
                violation("client: recovered from a position of another epoch")
            }
            _ => Ok(()),
        }
    }
}

/// Whether this was a channel's position at some moment since: nothing that had been told before is left out, and no epoch that was over is taken for the present one.
pub(crate) fn is_position(truth: &Truth, place: &Place, since: Time, (epoch, offset): Position) -> bool {
    offset >= truth.end_before(place, epoch, since)
        && offset <= truth.end(place, epoch)
        && !truth.is_over(place, epoch, since)
}

pub(crate) fn options_of(app: &App, channel: &str) -> ChannelOptions {
    let name = ChannelName::parse(channel).ok();
    ChannelOptions::clone(name.map_or_else(|| app.channels.defaults(), |name| app.channels.of(&name)))
}

/// What is told to be a repetition is one: of the same id, and within the channel's window.
pub(crate) fn check_duplicate(
    truth: &Truth,
    place: &Place,
    (epoch, offset): Position,
    asked: Time,
    once: Option<&str>,
    durable: bool,
) -> Checked {
    let (Some(record), Some(once), Some(options)) = (truth.at(place, epoch, offset), once, truth.options(place)) else {
        return violation("once: a duplicate without an id");
    };
    if record.id.as_ref().is_some_and(|id| !id.ends_with(&format!("\0{once}"))) {
        return violation("once: a duplicate of what had another id");
    }
    let later = truth.between(place, epoch, offset, u64::MAX).iter();
    // After a restart a few more are remembered than have to be.
    let later = later.filter(|record| record.id.is_some() && record.told < asked).count();
    // As long as nobody has been told of the first, it is the same, however long the disk takes.
    let is_over = record.at + options.idempotency_ttl <= asked && record.told < asked;
    if is_over || later >= options.idempotency_ids && !durable {
        return Err(Violation::new(
            "once: an id is remembered beyond its window",
            format!("{later} later, {record:?}"),
        ));
    }
    Ok(())
}

/// What was read of a channel's history.
#[derive(Debug)]
pub(crate) struct Slice {
    /// Offsets, and the numbers in what stands there.
    pub(crate) publications: Vec<(u64, Option<u64>)>,
    /// There are others beyond these.
    pub(crate) more: bool,
    /// Where the channel is.
    pub(crate) position: Position,
}

pub(crate) fn check_history(
    truth: &Truth,
    place: &Place,
    slice: &Slice,
    (from, at): (Reading, Option<Position>),
    limit: usize,
) -> Checked {
    let Slice { publications, more, position: (epoch, end) } = slice;
    let (epoch, end) = (*epoch, *end);
    if publications.len() > limit {
        return violation("history: more than was asked for");
    }
    let mut last = None;
    for (offset, number) in publications.iter().copied() {
        let known = truth.at(place, epoch, offset).map(|record| record.number);
        if known.is_none() || known != number {
            return violation("history: something that was not published there");
        }
        if last.is_some_and(|last| last >= offset || truth.is_known(place, epoch, last, offset)) {
            return violation("history: out of order or with a hole");
        }
        last = Some(offset);
    }
    let first = publications.first().map(|(offset, _)| *offset);
    match at {
        Some((wanted, before)) if from == Reading::Before => {
            let hole = last.is_some_and(|last| last >= before || truth.is_known(place, epoch, last, before));
            if wanted != epoch || hole {
                return violation("history: not what comes before the position");
            }
        }
        Some((wanted, after)) => {
            let next = truth.between(place, epoch, after, u64::MAX).first().map(|record| record.offset);
            let complete = *more || last.unwrap_or(after) == end;
            if wanted != epoch || first.is_some() && first != next || !complete {
                return violation("history: not what follows the position");
            }
        }
        None if last.is_some_and(|last| truth.is_known(place, epoch, last, end + 1)) => {
            return violation("history: not the latest");
        }
        None => {}
    }
    Ok(())
}
