//! A broker whose promise is kept elsewhere, when the test says so.

use std::collections::VecDeque;
use switchboard_core::{Position, Time};
use switchboard_hub::{
    Broker, BrokerEvent, ChannelKey, Guarantees, History, HistoryLost, MemoryBroker, PublishRequest, Read, Slice,
};

/// Publishes to memory, but only once the backend has taken a note of it: a log that is committed by somebody else.
#[derive(Debug)]
pub struct DeferredBroker {
    memory: MemoryBroker,
    waiting: VecDeque<PublishRequest>,
    /// How many of `waiting` the backend was told of.
    asked: usize,
    waiting_max: usize,
}

/// A note that a publication wants to be made.
#[derive(Debug)]
pub struct Note;

impl DeferredBroker {
    /// At most about `waiting_max` publications wait; then nothing more shall be asked.
    pub fn new(memory: MemoryBroker, waiting_max: usize) -> Self {
        Self { memory, waiting: VecDeque::new(), asked: 0, waiting_max }
    }
}

impl Broker for DeferredBroker {
    type Request = Note;
    type Reply = Note;

    fn publish(&mut self, _: Time, request: PublishRequest) {
        self.waiting.push_back(request);
    }

    fn poll_event(&mut self) -> Option<BrokerEvent> {
        self.memory.poll_event()
    }

    fn poll_request(&mut self) -> Option<Note> {
        let more = self.asked < self.waiting.len();
        self.asked += usize::from(more);
        more.then_some(Note)
    }

    fn handle_reply(&mut self, now: Time, Note: Note) {
        self.asked -= 1;
        self.memory.publish(now, self.waiting.pop_front().expect("a reply to a request"));
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
        Guarantees { survives_restart: true, ..self.memory.guarantees() }
    }
}

impl History for DeferredBroker {
    fn position(&self, key: &ChannelKey) -> Position {
        self.memory.position(key)
    }

    fn retain(&mut self, key: &ChannelKey) -> Position {
        self.memory.retain(key)
    }

    fn release(&mut self, now: Time, key: &ChannelKey) {
        self.memory.release(now, key);
    }

    fn read(&mut self, now: Time, key: &ChannelKey, read: Read) -> Result<Slice, HistoryLost> {
        self.memory.read(now, key, read)
    }
}
