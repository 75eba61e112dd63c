//! Control: what reaches sessions wherever they are, past the channels.
//!
//! It goes through the broker, as publications do, so that it reaches the sessions of other nodes the same way. On each node it goes to the shards where it may
//! concern somebody, and they say how many it did.

use crate::address::{Caller, ReturnAddress, ShardId};
use crate::broker::{Broker, ControlRequest, History};
use crate::gather::Part;
use crate::mail::{Letter, Reply};
use crate::shard::Shard;
use core::ops::Range;
use std::sync::Arc;
use switchboard_core::canary::{Canary, is_planted};
use switchboard_core::{AppId, Control, OpId, Recipient, Time};

impl<B: Broker + History> Shard<B> {
    /// Does something to sessions. The answer counts those of this node that it concerned.
    pub fn control(&mut self, now: Time, caller: Caller, op: OpId, app: &AppId, control: Control) {
        if let Caller::Subscriber(id) = caller {
            let Some(subscriber) = self.subscriber(id) else { return };
            subscriber.pending += 1;
        }
        let parts = self.concerned(&control).len().max(1);
        self.gathers.begin(caller, op, u16::try_from(parts).unwrap_or(u16::MAX));
        let bytes = u32::try_from(control.cost()).unwrap_or(u32::MAX);
        self.unanswered += bytes as usize;
        let origin = Some(ReturnAddress { shard: self.config.id, caller, op, bytes });
        let control = Arc::new(control);
        self.homes.broker.control(now, ControlRequest { app: app.clone(), control, origin });
        self.homes.drain_broker(now);
        self.route(now);
    }

    /// The next thing to be done to this shard's sessions. Say by [`answer_control`](Self::answer_control) how many it concerned.
    pub fn poll_control(&mut self) -> Option<ControlRequest> {
        self.controls.pop_front()
    }

    /// So many sessions of this shard it concerned.
    pub fn answer_control(&mut self, now: Time, to: Option<ReturnAddress>, sessions: u64) {
        if let Some(to) = to {
            self.homes.letters.push((to.shard, Letter::Reply { to, reply: Reply::Part(Part::Affected(sessions)) }));
            self.route(now);
        }
    }

    /// The broker has announced it.
    pub(crate) fn send_control(&mut self, now: Time, request: &ControlRequest) {
        let shards = self.concerned(&request.control);
        if shards.is_empty() {
            self.answer_control(now, request.origin, 0);
        }
        for shard in shards.map(ShardId) {
            // What no history keeps is not worth more room than what some history does.
            let signal = matches!(*request.control, Control::Signal { .. });
            let full = self.outgoing.get(usize::from(shard.0)).is_some_and(|outgoing| !outgoing.has_room());
            if signal && full && shard != self.config.id {
                self.answer_control(now, request.origin, 0);
            } else {
                self.send_to(now, shard, Letter::Control(request.clone()));
            }
        }
    }

    pub(crate) fn handle_control(&mut self, request: ControlRequest) {
        self.controls.push_back(request);
    }

    /// The shards of this node where it may concern somebody.
    fn concerned(&self, control: &Control) -> Range<u16> {
        match control.whom() {
            Recipient::User(_) if is_planted(Canary::ControlOnOneShard) => self.config.id.0..self.config.id.0 + 1,
            Recipient::User(_) => 0..self.config.shards,
            Recipient::Session(session) if session.node == self.config.node && session.shard < self.config.shards => {
                session.shard..session.shard + 1
            }
            Recipient::Session(_) => 0..0,
        }
    }
}
