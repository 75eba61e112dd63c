//! Fan-out through a dialect: one client of the native protocol publishes on a channel, subscribers that speak what their address says receive. A
//! message is complete when the last one has it, and lets another go; `window` may be in flight.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Span, Target,
    fanout::Flight,
    speech::{Client, NATIVE, Speech},
};
use crate::{client::SILENCE_MAX, sys::Epoll};

const PUBLISH_AT: &str = "/ws";
const READ_BUFFER: usize = 256 * 1024;
/// Subscribers whose every message is looked at; of the others messages are counted.
const CHECKED: usize = 3;

#[derive(Debug)]
pub struct Channel {
    pub size: usize,
    pub subscribers: usize,
    pub window: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

impl Channel {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let speech = Speech::at(&target.path)?;
        let publishing = Target { path: PUBLISH_AT.to_owned(), tls: None, ..*target };
        let mut publisher = Client::connect(&publishing, 0, &NATIVE, self.size)?;
        let mut subscribers = Vec::with_capacity(self.subscribers);
        for number in 0..self.subscribers {
            let mut client = Client::connect(target, number, speech, self.size)?;
            if let Some(subscribe) = speech.subscribe {
                client.send(subscribe)?;
            }
            client.wait_for(speech.subscribed)?;
            client.socket.tcp().set_nonblocking(true)?;
            client.reader.checked = number < CHECKED || number + 1 == self.subscribers;
            subscribers.push(client);
        }
        let mut epoll = Epoll::new(subscribers.len())?;
        for (token, client) in subscribers.iter().enumerate() {
            epoll.add(&client.socket, token)?;
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        self.drive(&mut publisher, &mut subscribers, &mut epoll, &mut span)?;
        Ok(span.result())
    }

    fn drive(&self, publisher: &mut Client, clients: &mut [Client], epoll: &mut Epoll, span: &mut Span) -> Result<()> {
        let mut scratch = vec![0; READ_BUFFER];
        let mut flight = Flight::new(clients.len());
        let (mut sent, mut deliveries, mut allowed) = (0_u64, 0_u64, self.window as u64);
        loop {
            flight.launch(allowed);
            for _ in 0..allowed {
                publisher.publish("bench", sent)?;
                sent += 1;
            }
            if flight.is_empty() {
                break;
            }
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let client = clients.get_mut(token).context("the kernel reported an unknown connection")?;
                let before = client.reader.received;
                client.read(&mut scratch)?;
                flight.delivered(before, client.reader.received)?;
                deliveries += client.reader.received - before;
            }
            ensure!(woken, "no delivery for {} s; {} messages are incomplete", SILENCE_MAX.as_secs(), flight.len());
            let complete = flight.land();
            allowed = if span.goes_on(deliveries)? { complete } else { 0 };
        }
        ensure!(
            clients.iter().all(|client| client.reader.received == sent),
            "a subscriber got other than the {sent} messages"
        );
        Ok(())
    }
}
