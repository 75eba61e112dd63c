//! Echo: every connection keeps `depth` messages in flight; a reply lets the next one go.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::{Span, Target, percentiles::Percentiles};
use crate::{
    client::{Client, SILENCE_MAX, Scratch, connect_all},
    sys::Epoll,
    wire::Script,
};

#[derive(Debug)]
pub struct Echo {
    pub opcode: u8,
    pub size: usize,
    pub connections: usize,
    /// Messages in flight on each connection.
    pub depth: usize,
    pub warm_up: Duration,
    pub duration: Duration,
    /// Whether to keep the time of each round trip; costs the generator a clock reading.
    pub latency: bool,
}

impl Echo {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let script = Script::new(self.opcode, self.size, self.depth);
        let mut clients = connect_all(target, self.connections)?;
        let mut epoll = Epoll::new(self.connections)?;
        for (token, client) in clients.iter().enumerate() {
            epoll.add(&client.socket, token)?;
        }
        let mut latency = Latency::new(self.latency, self.connections);
        for (token, client) in clients.iter_mut().enumerate() {
            client.allow(&script, self.depth as u64);
            latency.sent(token);
            client.write(&script)?;
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        self.drive(&script, &mut clients, &mut epoll, &mut latency, &mut span)?;
        let mut result = span.result();
        if let Some(percentiles) = latency.times.us() {
            result["latency_us"] = percentiles;
        }
        Ok(result)
    }

    fn drive(
        &self,
        script: &Script,
        clients: &mut [Client],
        epoll: &mut Epoll,
        latency: &mut Latency,
        span: &mut Span,
    ) -> Result<()> {
        let mut scratch = Scratch::default();
        let mut total: u64 = 0;
        let mut outstanding = (clients.len() * self.depth) as u64;
        let mut running = true;
        while outstanding > 0 {
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let Some(client) = clients.get_mut(token) else { bail!("the kernel reported an unknown connection") };
                let before = client.messages_received(script);
                let replies = client.read(script, &mut scratch)? - before;
                total += replies;
                if replies > 0 {
                    latency.answered(token);
                }
                if running {
                    client.allow(script, replies);
                    latency.sent(token);
                } else {
                    let Some(rest) = outstanding.checked_sub(replies) else { bail!("more replies than messages") };
                    outstanding = rest;
                }
                client.write(script)?;
            }
            ensure!(woken, "no reply for {} s", SILENCE_MAX.as_secs());
            running = running && span.goes_on(total)?;
        }
        for client in clients {
            let sent = client.messages_allowed(script);
            ensure!(client.received_exactly(script, sent), "a connection got other bytes than its {sent} replies");
        }
        Ok(())
    }
}

/// Round-trip times.
#[derive(Debug)]
struct Latency {
    sent_at: Vec<Instant>,
    times: Percentiles,
    enabled: bool,
}

impl Latency {
    fn new(enabled: bool, connections: usize) -> Self {
        Self { sent_at: vec![Instant::now(); connections], times: Percentiles::default(), enabled }
    }

    fn sent(&mut self, token: usize) {
        if self.enabled {
            self.sent_at[token] = Instant::now();
        }
    }

    fn answered(&mut self, token: usize) {
        if self.enabled {
            self.times.add(self.sent_at[token].elapsed().as_nanos() as u64);
        }
    }
}
