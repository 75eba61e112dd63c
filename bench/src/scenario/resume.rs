//! Everybody comes back at once: clients that subscribed were cut off, missed some messages, and return with their positions. How long it takes until the last has the
//! last message, and what memory the server needs for it at most, beside what it needed for the same clients before.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    Target,
    speech::{Arriving, Client, NATIVE},
};
use crate::{client::SILENCE_MAX, machine, sys::Epoll};

#[derive(Debug)]
pub struct Resume {
    pub clients: usize,
    /// Messages that each has missed.
    pub missed: u64,
    pub size: usize,
    /// How long to wait before memory is read.
    pub settle: Duration,
}

const CHANNEL: &str = "bench";
/// Handshakes that are on their way together.
const TOGETHER: usize = 256;
const READ_BUFFER: usize = 256 * 1024;
/// Clients whose every message is looked at; of the others messages are counted.
const CHECKED: usize = 3;

impl Resume {
    pub fn run(&self, target: &Target) -> Result<Value> {
        // A channel that was never published on is forgotten as soon as nobody is there.
        let mut publisher = Client::connect(target, 0, &NATIVE, self.size)?;
        publisher.publish(CHANNEL, 0)?;
        publisher.wait_until_published(CHANNEL, 1)?;
        let (clients, positions) = self.arrive(target, &vec![None; self.clients])?;
        std::thread::sleep(self.settle);
        let before = machine::rss_bytes(target.pid)?;
        // They were cut off: nobody says goodbye.
        drop(clients);
        std::thread::sleep(self.settle);
        for number in 0..self.missed {
            publisher.publish(CHANNEL, number)?;
        }
        publisher.wait_until_published(CHANNEL, 1 + self.missed)?;
        machine::forget_peak(target.pid)?;
        let (began, cpu_before) = (Instant::now(), machine::cpu_ns(target.pid)?);
        let since: Vec<Option<String>> = positions.into_iter().map(Some).collect();
        let (mut clients, _) = self.arrive(target, &since)?;
        let connected = began.elapsed();
        self.read(&mut clients)?;
        let took = began.elapsed();
        let cpu = machine::cpu_ns(target.pid)? - cpu_before;
        let peak = machine::peak_rss_bytes(target.pid)?;
        Ok(json!({
            "clients": self.clients,
            "seconds": took.as_secs_f64(),
            "seconds_until_connected": connected.as_secs_f64(),
            "server_cpu_ns_each": cpu as f64 / self.clients as f64,
            "server_rss_bytes_before": before,
            "server_rss_bytes_peak": peak,
            "memory_ratio": peak as f64 / before as f64,
        }))
    }

    /// Connects and subscribes everybody, from where each was; returns where they are now.
    fn arrive(&self, target: &Target, since: &[Option<String>]) -> Result<(Vec<Client>, Vec<String>)> {
        let (mut clients, mut positions) = (Vec::with_capacity(since.len()), Vec::with_capacity(since.len()));
        for (batch, since) in since.chunks(TOGETHER).enumerate() {
            let number = |index| batch * TOGETHER + index;
            let arriving: Vec<Arriving> =
                (0..since.len()).map(|index| Arriving::begin(target, number(index))).collect::<Result<_>>()?;
            let first = clients.len();
            for (index, arriving) in arriving.into_iter().enumerate() {
                let mut client = arriving.finish(&NATIVE, self.size)?;
                client.reader.checked = number(index) < CHECKED || number(index) + 1 == self.clients;
                clients.push(client);
            }
            for (client, since) in clients[first..].iter_mut().zip(since) {
                client.ask_to_subscribe(CHANNEL, since.as_deref())?;
            }
            for (client, since) in clients[first..].iter_mut().zip(since) {
                positions.push(client.subscribed(since.is_some())?);
            }
        }
        Ok((clients, positions))
    }

    fn read(&self, clients: &mut [Client]) -> Result<()> {
        let mut epoll = Epoll::new(clients.len())?;
        let mut scratch = vec![0; READ_BUFFER];
        let mut missing = 0;
        for (token, client) in clients.iter_mut().enumerate() {
            client.socket.tcp().set_nonblocking(true)?;
            epoll.add(&client.socket, token)?;
            // What came together with the answer.
            client.reader.take(&[])?;
            missing += usize::from(client.reader.received < self.missed);
        }
        while missing > 0 {
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let client = clients.get_mut(token).context("the kernel reported an unknown connection")?;
                let before = client.reader.received;
                client.read(&mut scratch)?;
                missing -= usize::from(before < self.missed && client.reader.received >= self.missed);
            }
            ensure!(woken, "nothing came for {} s; {missing} clients wait", SILENCE_MAX.as_secs());
        }
        let exact = clients.iter().all(|client| client.reader.received == self.missed);
        ensure!(exact, "a client got other than the {} messages that it had missed", self.missed);
        Ok(())
    }
}
