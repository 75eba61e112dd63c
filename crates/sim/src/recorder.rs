//! The brokers of a node, in memory or with a store behind them, and one around either that writes down what it does.

use crate::truth::Truth;
use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use switchboard_core::{Position, Publication, Time};
use switchboard_hub::{
    Broker, BrokerEvent, ChannelKey, ControlRequest, Guarantees, History, HistoryLost, MemoryBroker, PublishRequest,
    Read, Slice,
};
use switchboard_store::{DurableBroker, Reply, Request};

/// A broker of one of the two kinds.
#[derive(Debug)]
pub(crate) enum Inner {
    Memory(Box<MemoryBroker>),
    Durable(Box<DurableBroker>),
}

/// A broker that writes down what it does.
#[derive(Debug)]
pub(crate) struct Recorder {
    shard: usize,
    inner: Inner,
    truth: Rc<RefCell<Truth>>,
}

/// Whichever it is.
macro_rules! whichever {
    ($inner:expr, $broker:ident => $call:expr) => {
        match $inner {
            Inner::Memory($broker) => $call,
            Inner::Durable($broker) => $call,
        }
    };
}

impl Recorder {
    pub(crate) fn new(shard: usize, inner: Inner, truth: &Rc<RefCell<Truth>>) -> Self {
        Self { shard, inner, truth: Rc::clone(truth) }
    }

    fn weigh(&self) {
        if let Some(kept) = self.truth.borrow_mut().kept.get_mut(self.shard) {
            *kept = whichever!(&self.inner, broker => broker.bytes());
        }
    }
}

impl Broker for Recorder {
    type Request = Request;
    type Reply = Reply;

    fn publish(&mut self, now: Time, request: PublishRequest) {
        self.truth.borrow_mut().ask(&request);
        whichever!(&mut self.inner, broker => broker.publish(now, request));
        self.weigh();
    }

    fn control(&mut self, now: Time, request: ControlRequest) {
        whichever!(&mut self.inner, broker => broker.control(now, request));
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        let event = whichever!(&mut self.inner, broker => broker.poll_event())?;
        self.truth.borrow_mut().record(&event);
        Some(event)
    }

    fn poll_request(&mut self) -> Option<Request> {
        match &mut self.inner {
            Inner::Memory(_) => None,
            Inner::Durable(broker) => broker.poll_request(),
        }
    }

    fn handle_reply(&mut self, now: Time, reply: Reply) {
        if let Inner::Durable(broker) = &mut self.inner {
            broker.handle_reply(now, reply);
        }
        self.weigh();
    }

    fn is_congested(&self) -> bool {
        whichever!(&self.inner, broker => broker.is_congested())
    }

    fn poll_timeout(&self) -> Option<Time> {
        whichever!(&self.inner, broker => broker.poll_timeout())
    }

    fn handle_timeout(&mut self, now: Time) {
        whichever!(&mut self.inner, broker => broker.handle_timeout(now));
        self.weigh();
    }

    fn guarantees(&self) -> Guarantees {
        whichever!(&self.inner, broker => broker.guarantees())
    }
}

impl History for Recorder {
    fn position(&self, key: &ChannelKey) -> Position {
        whichever!(&self.inner, broker => broker.position(key))
    }

    fn retain(&mut self, key: &ChannelKey) -> Position {
        whichever!(&mut self.inner, broker => broker.retain(key))
    }

    fn release(&mut self, now: Time, key: &ChannelKey) {
        whichever!(&mut self.inner, broker => broker.release(now, key));
    }

    fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost> {
        whichever!(&mut self.inner, broker => broker.read(now, key, read))
    }

    fn cached(&self, now: Time, key: &ChannelKey) -> Option<Arc<Publication>> {
        whichever!(&self.inner, broker => broker.cached(now, key))
    }
}
