//! A broker whose promises are kept elsewhere, when the test says so.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{Position, Publication, Reject, RejectCode, Time};
use switchboard_hub::{
    Broker, BrokerEvent, ChannelKey, ControlRequest, Guarantees, History, HistoryLost, Load, MemoryBroker,
    PublishRequest, Read, Slice,
};

/// Publishes to memory, but only once the backend has taken a note of it; and knows a channel's history only once the backend has handed it over. So would a
/// log that somebody else commits, or one on another machine.
#[derive(Debug)]
pub struct DeferredBroker {
    memory: MemoryBroker,
    waiting: VecDeque<PublishRequest>,
    controls: VecDeque<ControlRequest>,
    requests: VecDeque<Ask>,
    loaded: BTreeSet<ChannelKey>,
    events: VecDeque<BrokerEvent>,
    waiting_max: usize,
}

/// What it asks of its backend, and what comes back as an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A publication wants to be made.
    Publish,
    /// Something wants to be announced.
    Control,
    /// A channel wants to be read.
    Load(ChannelKey),
    /// As an answer only: it cannot be read.
    Unreadable(ChannelKey),
}

impl DeferredBroker {
    /// At most about `waiting_max` publications wait; then nothing more shall be asked.
    pub fn new(memory: MemoryBroker, waiting_max: usize) -> Self {
        Self {
            memory,
            waiting: VecDeque::new(),
            controls: VecDeque::new(),
            requests: VecDeque::new(),
            loaded: BTreeSet::new(),
            events: VecDeque::new(),
            waiting_max,
        }
    }
}

impl Broker for DeferredBroker {
    type Request = Ask;
    type Reply = Ask;

    fn publish(&mut self, _: Time, request: PublishRequest) {
        self.waiting.push_back(request);
        self.requests.push_back(Ask::Publish);
    }

    fn control(&mut self, _: Time, request: ControlRequest) {
        self.controls.push_back(request);
        self.requests.push_back(Ask::Control);
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        self.events.pop_front()
    }

    fn poll_request(&mut self) -> Option<Ask> {
        self.requests.pop_front()
    }

    fn handle_reply(&mut self, now: Time, reply: Ask) {
        match reply {
            Ask::Publish => {
                self.memory.publish(now, self.waiting.pop_front().expect("a reply to a request"));
                self.events.extend(self.memory.poll_event());
            }
            Ask::Control => {
                let request = self.controls.pop_front().expect("a reply to a request");
                self.events.push_back(BrokerEvent::Control(request));
            }
            Ask::Load(key) => {
                self.loaded.insert(key.clone());
                self.events.push_back(BrokerEvent::Loaded { key, result: Ok(()) });
            }
            Ask::Unreadable(key) => {
                let reject = Reject::new(RejectCode::Unavailable, "the channel's history is out of reach");
                self.events.push_back(BrokerEvent::Loaded { key, result: Err(reject) });
            }
        }
    }

    fn is_congested(&self) -> bool {
        self.waiting.len() >= self.waiting_max
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.memory.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Time) {
        self.memory.handle_timeout(now);
    }

    fn guarantees(&self) -> Guarantees {
        self.memory.guarantees()
    }
}

impl History for DeferredBroker {
    fn load(&mut self, _: Time, key: &ChannelKey) -> Load {
        if self.loaded.contains(key) {
            return Load::Ready;
        }
        self.requests.push_back(Ask::Load(key.clone()));
        Load::Pending
    }

    fn position(&self, key: &ChannelKey) -> Position {
        self.memory.position(key)
    }

    fn retain(&mut self, key: &ChannelKey) -> Position {
        assert!(self.loaded.contains(key), "retained before it was loaded");
        self.memory.retain(key)
    }

    fn release(&mut self, now: Time, key: &ChannelKey) {
        self.loaded.remove(key);
        self.memory.release(now, key);
    }

    fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost> {
        assert!(self.loaded.contains(key), "read before it was loaded");
        self.memory.read(now, key, read)
    }

    fn cached(&self, now: Time, key: &ChannelKey) -> Option<Arc<Publication>> {
        self.memory.cached(now, key)
    }
}
