//! Fan-out: one connection publishes, every connection (the publisher too) receives every message. `window` messages may be in
//! flight: a message is complete when the last connection has it, and each complete one lets another go.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Span, Target};
use crate::{
    client::{Client, SILENCE_MAX, Scratch, connect_all},
    sys::Epoll,
    wire::Script,
};

#[derive(Debug)]
pub struct Fanout {
    pub opcode: u8,
    pub size: usize,
    /// Connections beside the publisher's own.
    pub subscribers: usize,
    pub window: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

impl Fanout {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let script = Script::new(self.opcode, self.size, self.window);
        let mut clients = connect_all(target, self.subscribers + 1)?;
        // A server may register a subscriber only after it has sent the 101.
        std::thread::sleep(Duration::from_millis(200));
        let mut epoll = Epoll::new(clients.len())?;
        for (token, client) in clients.iter().enumerate() {
            epoll.add(&client.socket, token)?;
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        self.drive(&script, &mut clients, &mut epoll, &mut span)?;
        Ok(span.result())
    }

    fn drive(&self, script: &Script, clients: &mut [Client], epoll: &mut Epoll, span: &mut Span) -> Result<()> {
        let mut scratch = Scratch::default();
        let mut flight = Flight::new(clients.len());
        let mut deliveries: u64 = 0;
        let mut allowed = self.window as u64;
        loop {
            flight.launch(allowed);
            let publisher = clients.first_mut().context("there is no publisher")?;
            publisher.allow(script, allowed);
            publisher.write(script)?;
            if flight.is_empty() {
                break;
            }
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let client = clients.get_mut(token).context("the kernel reported an unknown connection")?;
                let before = client.messages_received(script);
                let now = client.read(script, &mut scratch)?;
                flight.delivered(before, now)?;
                deliveries += now - before;
            }
            ensure!(woken, "no delivery for {} s; {} messages are incomplete", SILENCE_MAX.as_secs(), flight.len());
            let complete = flight.land();
            allowed = if span.goes_on(deliveries)? { complete } else { 0 };
        }
        let sent = clients.first().context("there is no publisher")?.messages_allowed(script);
        for client in clients {
            ensure!(client.received_exactly(script, sent), "a subscriber got other bytes than the {sent} messages");
        }
        Ok(())
    }
}

/// The messages in flight: for each, how many connections still wait for it.
#[derive(Debug)]
pub(super) struct Flight {
    receivers: usize,
    first: u64,
    missing: VecDeque<usize>,
}

impl Flight {
    pub(super) fn new(receivers: usize) -> Self {
        Self { receivers, first: 0, missing: VecDeque::new() }
    }

    pub(super) fn launch(&mut self, messages: u64) {
        self.missing.extend((0..messages).map(|_| self.receivers));
    }

    /// One connection got the messages `from..to`.
    pub(super) fn delivered(&mut self, from: u64, to: u64) -> Result<()> {
        for message in from..to {
            let index = message.checked_sub(self.first).context("a message came twice")?;
            let missing = self.missing.get_mut(index as usize).context("a message came that was not sent")?;
            *missing = missing.checked_sub(1).context("a message came twice")?;
        }
        Ok(())
    }

    /// Drops the complete messages and returns their number.
    pub(super) fn land(&mut self) -> u64 {
        let before = self.first;
        while self.missing.front() == Some(&0) {
            self.missing.pop_front();
            self.first += 1;
        }
        self.first - before
    }

    pub(super) fn len(&self) -> usize {
        self.missing.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_lands_when_everyone_has_it() {
        let mut flight = Flight::new(2);
        flight.launch(3);
        flight.delivered(0, 2).unwrap();
        assert_eq!(flight.land(), 0);
        flight.delivered(0, 1).unwrap();
        assert_eq!(flight.land(), 1);
        flight.delivered(1, 3).unwrap();
        assert_eq!(flight.land(), 1);
        assert!(flight.delivered(3, 4).is_err());
        flight.delivered(2, 3).unwrap();
        assert_eq!(flight.land(), 1);
        assert!(flight.is_empty());
    }
}
