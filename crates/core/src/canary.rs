//! Planted bugs: each is a mistake that was made here or elsewhere, and the simulation must find every one of them, or it would not find the next either.
//!
//! Nothing of it is in a release: without the feature `canary`, which only the simulation asks for, and debug assertions, [`is_planted`] is `false` at
//! compile time.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A subscription reads what was missed before it is registered, so what is published in between reaches it in neither way.
    ReadBeforeRegistering,
    /// A shard that has caught up is still taken to be behind.
    BehindForever,
    /// A connection that ends does not leave the channels' presence.
    LeaveLost,
    /// A subscriber that goes while its roster is walked moves another one past the walk.
    CursorNotMoved,
    /// A position reads history without the right to it.
    ReplayWithoutRight,
    /// Live publications overtake a replay.
    LiveOvertakesReplay,
    /// What an outbox drops is not told.
    DropUntold,
    /// A forgotten channel begins again in the same epoch.
    EpochKept,
    /// `if_position` is not looked at.
    ConditionIgnored,
    /// A right that has ended is still good for what is on its way.
    RevokedStillHears,
    /// A session gets what it was excluded from when it comes back.
    ExcludedReplayed,
    /// A subscription that is gone stays on its channel's list at home.
    FeedLeft,
    /// Whoever asks why is not told of what an outbox dropped.
    DropForgotten,
    /// A publication is acknowledged and delivered before the disk has it, where it should wait.
    AcknowledgedEarly,
    /// After a crash whoever was there before may go on, although publications are missing.
    LostRangeTaken,
    /// Offsets that may have been given away before a crash are given away again.
    OffsetsReused,
    /// A record whose checksum does not fit is believed.
    TornRecordTaken,
    /// A sync that failed is taken for one that succeeded.
    FailedSyncTaken,
    /// What a full disk refused is acknowledged.
    RefusedAcknowledged,
    /// A full disk at the beginning of a file of the journal leaves an empty one behind.
    SegmentSkipped,
    /// The disk is not told that a cached value was cleared.
    ClearedComesBack,
    /// A message that replaces others does not say how many.
    ReplacedUncounted,
    /// Who asked for fewer deliveries gets them at once.
    RateIgnored,
    /// A user whose last connection has ended is gone at once, where there is a grace.
    GraceCut,
    /// History before a position has the publication at it.
    BeforeIncluded,
    /// A cached value that was cleared is still there.
    ClearedStays,
    /// Ids are remembered beyond their window.
    IdsTooLong,
    /// A comparison is looked at before the id, so that a repeated publication is in conflict with itself.
    ConflictWithItself,
    /// What is done to a user reaches the sessions of one shard only.
    ControlOnOneShard,
    /// A signal reaches sessions that are not on its channel.
    SignalToStrangers,
    /// A channel to which somebody came back in time is told as vacated all the same.
    VacatedAnyway,
    /// The id of an event knows of one channel only.
    CursorOfOne,
    /// A poll goes on behind what did not fit into its answer.
    PollJumps,
    /// A client event comes back to who sent it.
    OwnEventComesBack,
    /// All users have the same own channel.
    OneForAllUsers,
    /// A pattern shows what its subscriber has no right to.
    PatternShowsAll,
    /// What two patterns of a subscriber stand for comes twice.
    PatternTwice,
    /// Sessions go on although what their patterns show was lost on its way between shards.
    PatternLossUntold,
    /// What waits for a pattern goes out when the pattern, or the right to the channel, has ended.
    PatternOutlived,
    /// What waits for a pattern comes behind the answer to a subscription by name.
    PatternBehindAnswer,
    /// A channel that was forgotten, and goes on without its disk, may be back after a crash as it was before.
    ForgottenComesBack,
    /// The last page of a list of channels is taken for the end although there are others.
    ListEndsEarly,
    /// A channel on which nobody is but users in their grace is listed as occupied.
    GraceListed,
    /// A channel's subscribers are counted by shard.
    ShardsCounted,
    /// Subscribers are not told a count that was waiting for its moment.
    CountForgotten,
    /// A message that comes by a pattern in place of others does not say how many.
    PatternUncounted,
    /// What comes by a pattern is not held to its channel's rate.
    PatternRateIgnored,
    /// A user whose first tab is closed is gone although others are open.
    TabTakesUser,
    /// A user who returns within the grace is announced.
    ReturnAnnounced,
    /// Whoever signs in is not among the user's sessions.
    SignedInUnknown,
    /// Whoever wants to know of a user is told of changes only, and not what is so at the beginning.
    WatchedUntold,
    /// Whoever asks why is told that what a pattern has shown was not meant for its session.
    MatchDenied,
}

impl Canary {
    /// All of them.
    pub const ALL: [Self; 52] = [
        Self::ReadBeforeRegistering,
        Self::BehindForever,
        Self::LeaveLost,
        Self::CursorNotMoved,
        Self::ReplayWithoutRight,
        Self::LiveOvertakesReplay,
        Self::DropUntold,
        Self::EpochKept,
        Self::ConditionIgnored,
        Self::RevokedStillHears,
        Self::ExcludedReplayed,
        Self::FeedLeft,
        Self::DropForgotten,
        Self::AcknowledgedEarly,
        Self::LostRangeTaken,
        Self::OffsetsReused,
        Self::TornRecordTaken,
        Self::FailedSyncTaken,
        Self::RefusedAcknowledged,
        Self::SegmentSkipped,
        Self::ClearedComesBack,
        Self::ReplacedUncounted,
        Self::RateIgnored,
        Self::GraceCut,
        Self::BeforeIncluded,
        Self::ClearedStays,
        Self::IdsTooLong,
        Self::ConflictWithItself,
        Self::ControlOnOneShard,
        Self::SignalToStrangers,
        Self::VacatedAnyway,
        Self::CursorOfOne,
        Self::PollJumps,
        Self::OwnEventComesBack,
        Self::OneForAllUsers,
        Self::PatternShowsAll,
        Self::PatternTwice,
        Self::PatternLossUntold,
        Self::PatternOutlived,
        Self::PatternBehindAnswer,
        Self::ForgottenComesBack,
        Self::ListEndsEarly,
        Self::GraceListed,
        Self::ShardsCounted,
        Self::CountForgotten,
        Self::PatternUncounted,
        Self::PatternRateIgnored,
        Self::TabTakesUser,
        Self::ReturnAnnounced,
        Self::SignedInUnknown,
        Self::WatchedUntold,
        Self::MatchDenied,
    ];
}

#[cfg(all(feature = "canary", debug_assertions))]
mod planted {
    use super::Canary;
    use core::cell::Cell;

    std::thread_local! {
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Plants a bug in this thread, or takes it away.
    pub fn plant(canary: Option<Canary>) {
        PLANTED.set(canary);
    }

    /// Whether this thread has this bug.
    pub fn is_planted(canary: Canary) -> bool {
        PLANTED.get() == Some(canary)
    }
}

#[cfg(all(feature = "canary", debug_assertions))]
pub use planted::{is_planted, plant};

/// Whether this thread has this bug: no.
#[cfg(not(all(feature = "canary", debug_assertions)))]
#[inline(always)]
pub const fn is_planted(_: Canary) -> bool {
    false
}
