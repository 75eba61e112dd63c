//! Idle: many connections that have each echoed one message (so that their buffers were used) and then say nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Target;
use crate::{
    client::{Client, SILENCE_MAX, Scratch},
    machine,
    sys::Epoll,
    wire::{OPCODE_BINARY, Script},
};

#[derive(Debug)]
pub struct Idle {
    pub connections: usize,
    pub size: usize,
    /// How long to wait before memory is read.
    pub settle: Duration,
}

impl Idle {
    /// `{n}` in the path becomes the number of the connection.
    pub fn run(&self, target: &Target) -> Result<Value> {
        let script = Script::new(OPCODE_BINARY, self.size, 1);
        let mut scratch = Scratch::default();
        // The first connections pay for what the server allocates once.
        let first = self.open(target, &script, &mut scratch, 0..FIRST)?;
        std::thread::sleep(self.settle);
        let before = machine::rss_bytes(target.pid)?;
        let rest = self.open(target, &script, &mut scratch, FIRST..FIRST + self.connections)?;
        std::thread::sleep(self.settle);
        let after = machine::rss_bytes(target.pid)?;
        drop((first, rest));
        let grown = after.saturating_sub(before);
        Ok(json!({
            "connections": self.connections,
            "server_rss_bytes_each": grown as f64 / self.connections as f64,
            "server_rss_bytes_before": before,
        }))
    }

    fn open(
        &self,
        target: &Target,
        script: &Script,
        scratch: &mut Scratch,
        numbers: std::ops::Range<usize>,
    ) -> Result<Vec<Client>> {
        let mut clients = Vec::with_capacity(numbers.len());
        for number in numbers {
            let mut client = Client::connect(target, number, true)?;
            let mut epoll = Epoll::new(1)?;
            epoll.add(&client.socket, 0)?;
            client.allow(script, 1);
            client.write(script)?;
            while client.messages_received(script) == 0 {
                ensure!(epoll.wait(SILENCE_MAX)?.next().is_some(), "no echo for {} s", SILENCE_MAX.as_secs());
                client.read(script, scratch)?;
                client.write(script)?;
            }
            clients.push(client);
        }
        Ok(clients)
    }
}

const FIRST: usize = 16;
