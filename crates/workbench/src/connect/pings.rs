//! Pings that were sent, and how long their pongs take. Knows no clock.

use bytes::Bytes;
use core::time::Duration;
use std::collections::VecDeque;

/// What is on its way, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Pings {
    waiting: VecDeque<(Bytes, Duration)>,
    count: u64,
}

/// Pings that are waited for. Whoever sends more without an answer has seen enough.
const WAITING_MAX: usize = 100;

impl Pings {
    /// The payload of the next ping that has none of its own: a number.
    pub(crate) fn number(&mut self) -> Bytes {
        self.count += 1;
        Bytes::from(self.count.to_string())
    }

    pub(crate) fn sent(&mut self, now: Duration, payload: Bytes) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((payload, now));
    }

    /// A pong came. How long it took, if it answers a ping of ours.
    pub(crate) fn answered(&mut self, now: Duration, payload: &[u8]) -> Option<Duration> {
        let place = self.waiting.iter().position(|(sent, _)| sent == payload)?;
        // RFC 6455 §5.5.3: whoever gets several pings may answer only the last of them.
        let (_, at) = self.waiting.drain(..=place).next_back()?;
        Some(now.saturating_sub(at))
    }

    /// Whether a ping is not answered yet.
    pub(crate) fn is_waiting(&self, payload: &[u8]) -> bool {
        self.waiting.iter().any(|(sent, _)| sent == payload)
    }

    /// The connection they were sent on is gone.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pong_answers_its_ping_and_those_before() {
        let mut pings = Pings::default();
        let at = Duration::from_millis;
        for millis in [0, 10, 20] {
            let payload = pings.number();
            pings.sent(at(millis), payload);
        }
        assert_eq!(pings.answered(at(25), b"other"), None);
        assert_eq!(pings.answered(at(25), b"2"), Some(at(15)));
        assert!(!pings.is_waiting(b"1") && pings.is_waiting(b"3"));
        assert_eq!(pings.answered(at(26), b"1"), None);
        for _ in 0..2 * WAITING_MAX {
            pings.sent(at(30), Bytes::new());
        }
        assert_eq!(pings.waiting.len(), WAITING_MAX);
        pings.forget();
        assert!(!pings.is_waiting(b""));
    }
}
