//! How often clients without a connection may ask: a bucket for each user, or for each address where the user is not known.

use crate::bucket::Bucket;
use core::net::IpAddr;
use hashbrown::HashMap;
use switchboard_core::{App, AppId, Identity, Time, UserId};

/// The buckets of one shard. At most so many: those that came when there was no place for another share one.
#[derive(Debug)]
pub(crate) struct Throttle {
    buckets: HashMap<(AppId, Who), Bucket, foldhash::fast::RandomState>,
    rest: Bucket,
    max: usize,
    /// Full buckets are forgotten next.
    swept: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    User(UserId),
    Address(IpAddr),
}

/// A bucket is some 100 bytes.
const BUCKETS_MAX: usize = 10_000;
/// How often full buckets are looked for where there is no place.
const SWEEP: core::time::Duration = core::time::Duration::from_secs(10);

impl Default for Throttle {
    fn default() -> Self {
        Self::new(BUCKETS_MAX)
    }
}

impl Throttle {
    fn new(max: usize) -> Self {
        Self { buckets: HashMap::default(), rest: Bucket::default(), max, swept: Time::default() }
    }

    /// Takes one request from whoever asks, or says when there is room for the next.
    pub(crate) fn take(
        &mut self,
        now: Time,
        app: &App,
        identity: Option<&Identity>,
        address: IpAddr,
    ) -> Result<(), Time> {
        if app.limits.operations_per_second == 0 {
            return Ok(());
        }
        let who = identity.map_or(Who::Address(address), |identity| Who::User(identity.user.clone()));
        let key = (app.id.clone(), who);
        if self.buckets.len() >= self.max && now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.buckets.retain(|_, bucket| !bucket.is_full(now));
        }
        let bucket = match self.buckets.len() < self.max || self.buckets.contains_key(&key) {
            true => self.buckets.entry(key).or_default(),
            false => &mut self.rest,
        };
        bucket.take(now, &app.limits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::Limits;

    #[test]
    fn each_has_its_own_and_those_without_a_place_share_one() {
        let mut app = App::new(AppId::new("a"));
        app.limits = Limits { operations_per_second: 1, operations_burst: 2, ..Limits::default() };
        let mut throttle = Throttle::new(2);
        let (start, address) = (Time::from_secs(100), |last| IpAddr::from([192, 0, 2, last]));
        let ann = Identity { user: UserId::parse("ann").unwrap(), info: None, grants: Vec::new(), expires: None };
        let mut take = |now, identity, last| throttle.take(now, &app, identity, address(last)).is_ok();
        assert!(take(start, None, 1) && take(start, None, 1) && !take(start, None, 1));
        // A user is the same from everywhere.
        assert!(take(start, Some(&ann), 1) && take(start, Some(&ann), 2) && !take(start, Some(&ann), 3));
        assert!(take(start, None, 4) && take(start, None, 5) && !take(start, None, 6));
        // When the buckets are full again there are places.
        let later = Time::from_secs(200);
        assert!(take(later, None, 4) && take(later, None, 4) && take(later, None, 5) && take(later, None, 5));
    }
}
