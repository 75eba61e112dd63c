//! How many connections there are, in all and from each address. Shared by the shards, touched only when a connection begins or ends.

#![allow(
    clippy::disallowed_types,
    reason = "taken as a connection begins, is known by its address or ends; no message comes here"
)]

use core::net::IpAddr;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(crate) struct ConnectionLimits {
    max: usize,
    per_address: usize,
    /// Connections that may keep a context of compression.
    contexts_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    contexts: usize,
    addresses: HashMap<IpAddr, usize>,
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    limits: Arc<ConnectionLimits>,
    /// Absent as long as the address is a proxy's.
    address: Option<IpAddr>,
    context: bool,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

impl ConnectionLimits {
    pub(crate) fn new(max: usize, per_address: usize, contexts_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_address, contexts_max, counts: Mutex::default() })
    }

    /// Takes a place; counted for an address too unless that is a proxy's.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, Full> {
        let mut counts = self.lock();
        if counts.total >= self.max {
            return Err(Full::Total);
        }
        if let Some(address) = address {
            counts.add(address, self.per_address)?;
        }
        counts.total += 1;
        Ok(Permit { limits: Arc::clone(self), address, context: false })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, address: IpAddr, max: usize) -> Result<(), Full> {
        let count = self.addresses.entry(address).or_default();
        if *count >= max {
            return Err(Full::Address);
        }
        *count += 1;
        Ok(())
    }
}

impl Permit {
    /// Counts the client behind a proxy for its own address.
    pub(crate) fn assign(&mut self, address: IpAddr) -> Result<(), Full> {
        if self.address.is_none() {
            self.limits.lock().add(address, self.limits.per_address)?;
            self.address = Some(address);
        }
        Ok(())
    }

    /// Takes a place among those who may keep a context, if one is left.
    pub(crate) fn take_context(&mut self) -> bool {
        let mut counts = self.limits.lock();
        if !self.context && counts.contexts < self.limits.contexts_max {
            counts.contexts += 1;
            self.context = true;
        }
        self.context
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limits.lock();
        counts.total -= 1;
        counts.contexts -= usize::from(self.context);
        if let Some(address) = self.address
            && let Some(count) = counts.addresses.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.addresses.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limits = ConnectionLimits::new(3, 2, 1);
        let [a, b] = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2])];
        let first = limits.take(Some(a)).unwrap();
        let _second = limits.take(Some(a)).unwrap();
        assert_eq!(limits.take(Some(a)).unwrap_err(), Full::Address);
        let mut proxied = limits.take(None).unwrap();
        assert_eq!(limits.take(Some(b)).unwrap_err(), Full::Total);
        assert_eq!(proxied.assign(a), Err(Full::Address));
        drop(first);
        proxied.assign(a).unwrap();
        drop(proxied);
        assert!(limits.take(Some(a)).is_ok());
        assert_eq!(limits.lock().addresses.len(), 1);
        let [mut first, mut second] = [a, b].map(|address| limits.take(Some(address)).unwrap());
        assert!(first.take_context() && first.take_context() && !second.take_context());
        drop(first);
        assert!(second.take_context());
        drop(second);
        assert_eq!(limits.lock().contexts, 0);
    }
}
