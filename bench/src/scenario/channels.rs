//! Many channels at once, each with its publisher and some subscribers: on each, `window` messages are in flight, and one that has arrived everywhere lets the next go.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Span, Target,
    fanout::Flight,
    speech::{Client, NATIVE},
};
use crate::{client::SILENCE_MAX, sys::Epoll};

const READ_BUFFER: usize = 256 * 1024;

#[derive(Debug)]
pub struct Channels {
    pub size: usize,
    pub channels: usize,
    /// Of each channel.
    pub subscribers: usize,
    pub window: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

#[derive(Debug)]
struct Channel {
    name: String,
    publisher: Client,
    flight: Flight,
    sent: u64,
}

impl Channels {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let mut epoll = Epoll::new(self.channels * self.subscribers)?;
        let mut channels = Vec::with_capacity(self.channels);
        let mut subscribers = Vec::with_capacity(self.channels * self.subscribers);
        for number in 0..self.channels {
            let name = format!("bench-{number}");
            for _ in 0..self.subscribers {
                let mut client = Client::connect(target, subscribers.len(), &NATIVE, self.size)?;
                client.subscribe(&name)?;
                client.socket.tcp().set_nonblocking(true)?;
                epoll.add(&client.socket, subscribers.len())?;
                subscribers.push(client);
            }
            let publisher = Client::connect(target, number, &NATIVE, self.size)?;
            channels.push(Channel { name, publisher, flight: Flight::new(self.subscribers), sent: 0 });
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        self.drive(&mut channels, &mut subscribers, &mut epoll, &mut span)?;
        Ok(span.result())
    }

    fn drive(
        &self,
        channels: &mut [Channel],
        subscribers: &mut [Client],
        epoll: &mut Epoll,
        span: &mut Span,
    ) -> Result<()> {
        let mut scratch = vec![0; READ_BUFFER];
        let (mut deliveries, mut running) = (0, true);
        for channel in channels.iter_mut() {
            channel.publish(self.window as u64)?;
        }
        while channels.iter().any(|channel| !channel.flight.is_empty()) {
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let client = subscribers.get_mut(token).context("the kernel reported an unknown connection")?;
                let channel = channels.get_mut(token / self.subscribers).context("there is no such channel")?;
                let before = client.reader.received;
                client.read(&mut scratch)?;
                channel.flight.delivered(before, client.reader.received)?;
                deliveries += client.reader.received - before;
                let complete = channel.flight.land();
                if running {
                    channel.publish(complete)?;
                }
            }
            ensure!(woken, "no delivery for {} s", SILENCE_MAX.as_secs());
            running = running && span.goes_on(deliveries)?;
        }
        for (token, client) in subscribers.iter().enumerate() {
            let sent = channels[token / self.subscribers].sent;
            ensure!(client.reader.received == sent, "a subscriber got other than its channel's {sent} messages");
        }
        Ok(())
    }
}

impl Channel {
    fn publish(&mut self, messages: u64) -> Result<()> {
        self.flight.launch(messages);
        for _ in 0..messages {
            self.publisher.publish(&self.name, self.sent)?;
            self.sent += 1;
        }
        Ok(())
    }
}
