//! Publishers that each wait until what they published is on the disk: the next goes when the answer has come. Of the whole server by the native protocol, each on a channel
//! of its own; of a program that only appends and answers (every other path than `/ws`) by echo.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    Span, Target,
    echo::Echo,
    speech::{Client, NATIVE},
};
use crate::{client::SILENCE_MAX, sys::Epoll, wire::OPCODE_TEXT};

#[derive(Debug)]
pub struct Durable {
    pub size: usize,
    pub publishers: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

const READ_BUFFER: usize = 64 * 1024;

impl Durable {
    pub fn run(&self, target: &Target) -> Result<Value> {
        let mut result = if target.path == "/ws" { self.publish(target)? } else { self.echo(target)? };
        let per_second = result["per_second"].as_f64().context("nothing was measured")?;
        result["wall_ns_each"] = json!(1e9 / per_second);
        Ok(result)
    }

    fn echo(&self, target: &Target) -> Result<Value> {
        let Self { size, publishers: connections, warm_up, duration } = *self;
        Echo { opcode: OPCODE_TEXT, size, connections, depth: 1, warm_up, duration, latency: true }.run(target)
    }

    fn publish(&self, target: &Target) -> Result<Value> {
        let mut epoll = Epoll::new(self.publishers)?;
        let mut publishers = Vec::with_capacity(self.publishers);
        for number in 0..self.publishers {
            let client = Client::connect(target, number, &NATIVE, self.size)?;
            client.socket.tcp().set_nonblocking(true)?;
            epoll.add(&client.socket, number)?;
            publishers.push(Publisher { client, channel: format!("bench-{number}"), sent: 0, answered: 0 });
        }
        let mut span = Span::new(target.pid, self.warm_up, self.duration);
        let mut scratch = vec![0; READ_BUFFER];
        let (mut answers, mut running, mut waiting) = (0, true, publishers.len());
        publishers.iter_mut().try_for_each(Publisher::publish)?;
        let until = Instant::now() + self.warm_up + self.duration + SILENCE_MAX;
        while waiting > 0 {
            ensure!(Instant::now() < until, "the answers do not end");
            let mut woken = false;
            for token in epoll.wait(SILENCE_MAX)? {
                woken = true;
                let publisher = publishers.get_mut(token).context("the kernel reported an unknown connection")?;
                if !publisher.is_answered(&mut scratch)? {
                    continue;
                }
                answers += 1;
                if running {
                    publisher.publish()?;
                } else {
                    waiting -= 1;
                }
            }
            ensure!(woken, "no answer for {} s", SILENCE_MAX.as_secs());
            running = running && span.goes_on(answers)?;
        }
        Ok(span.result())
    }
}

#[derive(Debug)]
struct Publisher {
    client: Client,
    channel: String,
    sent: u64,
    answered: u64,
}

impl Publisher {
    fn publish(&mut self) -> Result<()> {
        self.client.publish_with_id(&self.channel, self.sent)?;
        self.sent += 1;
        Ok(())
    }

    /// Whether the answer has come: the one that is due, with the offset that is next on the channel.
    fn is_answered(&mut self, scratch: &mut [u8]) -> Result<bool> {
        self.client.read_aside(scratch)?;
        let Some(answer) = self.client.find(r#""id":"#)? else { return Ok(false) };
        let (number, offset) = (self.answered, self.answered + 1);
        let right = answer.starts_with(&format!(r#"{{"type":"ok","id":{number},"#))
            && answer.contains(&format!(r#""offset":{offset}}}"#));
        ensure!(right, "message {number} was answered by {answer}");
        self.answered += 1;
        Ok(true)
    }
}
