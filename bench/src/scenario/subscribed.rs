//! Subscribers of one channel, by the native protocol, to whom nothing happens: what each takes of the server's memory. In the end one message reaches them all.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Target,
    speech::{Client, NATIVE},
};
use crate::machine;

#[derive(Debug)]
pub struct Subscribed {
    pub connections: usize,
    pub size: usize,
    /// How long to wait before memory is read.
    pub settle: Duration,
}

const CHANNEL: &str = "bench";
/// These pay for what the server allocates once.
const FIRST: usize = 16;

impl Subscribed {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let mut clients = Vec::with_capacity(FIRST + self.connections);
        self.open(target, FIRST, &mut clients)?;
        std::thread::sleep(self.settle);
        let before = machine::rss_bytes(target.pid)?;
        self.open(target, self.connections, &mut clients)?;
        std::thread::sleep(self.settle);
        let grown = machine::rss_bytes(target.pid)?.saturating_sub(before);
        let mut publisher = Client::connect(target, 0, &NATIVE, self.size)?;
        publisher.publish(CHANNEL, 0)?;
        for client in &mut clients {
            client.read_messages(1)?;
        }
        Ok(json!({
            "connections": self.connections,
            "server_rss_bytes_each": grown as f64 / self.connections as f64,
            "server_rss_bytes_before": before,
        }))
    }

    fn open(&self, target: &Target, count: usize, clients: &mut Vec<Client>) -> Result<()> {
        for _ in 0..count {
            let mut client = Client::connect(target, clients.len(), &NATIVE, self.size)?;
            client.subscribe(CHANNEL)?;
            clients.push(client);
        }
        Ok(())
    }
}
