//! What was encoded for a replay, for the next client that missed the same: when a server or a network comes back, many clients have missed the same publications, and
//! their bytes are made once and kept once.
//!
//! Owns how many of them are remembered, and for how long. Knows nothing of subscribers.

use bytes::BytesMut;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::{Encode, Encoded, Mark, Publication, Time, WireFormat};

#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The latest last.
    known: VecDeque<Known>,
    /// When all is forgotten, unless somebody gets one of them before.
    until: Option<Time>,
}

#[derive(Debug)]
struct Known {
    format: WireFormat,
    run: Vec<Arc<Publication>>,
    encoded: Encoded,
}

/// Several protocols, and several runs of a long absence. Each has the size of a run.
const KNOWN_MAX: usize = 8;
/// Whoever comes back with others comes soon.
const KEPT: Duration = Duration::from_secs(1);

impl Replayed {
    /// The bytes of a run of publications.
    pub(crate) fn encode(
        &mut self,
        now: Time,
        format: WireFormat,
        run: Vec<Arc<Publication>>,
        encode: &mut dyn Encode,
    ) -> Encoded {
        self.until = Some(now + KEPT);
        if let Some(known) = self.known.iter().rev().find(|known| known.is(format, &run)) {
            return known.encoded.clone();
        }
        let mut out = BytesMut::new();
        encode.publications(format, &run, Mark::Live, &mut out);
        let encoded = Encoded::new(out.freeze());
        if self.known.len() >= KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(Known { format, run, encoded: encoded.clone() });
        encoded
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.until
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.until.take_if(|until| *until <= now).is_some() {
            self.known = VecDeque::new();
        }
    }
}

impl Known {
    /// The very same publications: one may be missing in the midst of them, for who published it.
    fn is(&self, format: WireFormat, run: &[Arc<Publication>]) -> bool {
        let same = |(known, publication): (&Arc<Publication>, &Arc<Publication>)| Arc::ptr_eq(known, publication);
        self.format == format && self.run.len() == run.len() && self.run.iter().zip(run).all(same)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use switchboard_core::{CacheEffect, ChannelName, Epoch, FramingId, Payload, Position, PresenceChange};

    #[derive(Default)]
    struct Counting(usize);

    impl Encode for Counting {
        fn publications(&mut self, _: WireFormat, run: &[Arc<Publication>], _: Mark, out: &mut BytesMut) {
            self.0 += 1;
            run.iter().for_each(|publication| out.extend_from_slice(&publication.position.offset.to_be_bytes()));
        }

        fn presence(&mut self, _: WireFormat, _: &ChannelName, _: &[PresenceChange], _: &mut BytesMut) {}

        fn count(&mut self, _: WireFormat, _: &ChannelName, _: u64, _: &mut BytesMut) {}
    }

    fn publication(offset: u64) -> Arc<Publication> {
        Arc::new(Publication {
            channel: ChannelName::parse("c").unwrap(),
            position: Position { epoch: Epoch(1), offset },
            previous: offset - 1,
            timestamp: Time::default(),
            event: None,
            key: None,
            payload: Payload::Text("x".into()),
            publisher: None,
            exclude: None,
            cache: CacheEffect::None,
        })
    }

    #[test]
    fn the_same_run_is_encoded_once_and_another_is_not_taken_for_it() {
        let mut encode = Counting::default();
        let mut replayed = Replayed::default();
        let all: Vec<_> = (1..=4).map(publication).collect();
        let [one, two] = [0, 1].map(|dialect| WireFormat { dialect, framing: FramingId(0) });
        let now = Time::from_secs(1);
        let mut bytes = |format, run: Vec<Arc<Publication>>| {
            let expected: Vec<u8> =
                run.iter().flat_map(|publication| publication.position.offset.to_be_bytes()).collect();
            assert_eq!(replayed.encode(now, format, run, &mut encode).as_slice(), expected);
            encode.0
        };
        assert_eq!([bytes(one, all.clone()), bytes(one, all.clone())], [1, 1]);
        assert_eq!([bytes(two, all.clone()), bytes(one, all[1..].to_vec())], [2, 3]);
        // First, last and length are equal, and yet another is missing.
        let without =
            |index: usize| all.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, p)| p.clone()).collect();
        assert_eq!([bytes(one, without(1)), bytes(one, without(2)), bytes(one, without(1))], [4, 5, 5]);
        assert_eq!(bytes(one, all.clone()), 5);
        // Not more than a few.
        (0..=KNOWN_MAX as u64).for_each(|n| _ = bytes(one, vec![publication(10 + n)]));
        assert_eq!((bytes(one, all), replayed.known.len()), (5 + KNOWN_MAX + 2, KNOWN_MAX));
    }

    #[test]
    fn nothing_is_kept_for_whoever_does_not_come() {
        let mut replayed = Replayed::default();
        let format = WireFormat { dialect: 0, framing: FramingId(0) };
        let mut encode = Counting::default();
        replayed.encode(Time::from_secs(1), format, vec![publication(1)], &mut encode);
        replayed.handle_timeout(Time::from_millis(1_999));
        assert_eq!((replayed.known.len(), replayed.poll_timeout()), (1, Some(Time::from_secs(2))));
        replayed.handle_timeout(Time::from_secs(2));
        assert_eq!((replayed.known.len(), replayed.poll_timeout()), (0, None));
    }
}
