//! One channel of the native protocol with its publisher and its subscribers, and two ways to load it: one message after the other, and by the clock.
//!
//! By the clock means: each message goes out when its time has come, whether the ones before have arrived or not, and its time counts from then. A server that
//! stops for a second has a second of late messages to show for it, and not one (coordinated omission). When a message has arrived at a subscriber's socket is what
//! the kernel says, so that a generator that comes late to read it adds nothing.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};

use super::{
    Target,
    percentiles::Percentiles,
    speech::{Client, NATIVE},
};
use crate::{
    client::SILENCE_MAX,
    machine,
    sys::{Epoll, realtime_ns, schedule_first, stamp_received},
};

const READ_BUFFER: usize = 256 * 1024;
/// Subscribers whose every message is looked at; of the others messages are counted.
const CHECKED: usize = 3;
/// Between the decision to begin and the first message.
const LEAD: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Room {
    channel: &'static str,
    publisher: Client,
    subscribers: Vec<Client>,
    epoll: Epoll,
    scratch: Vec<u8>,
    sent: u64,
    pid: u32,
}

/// Messages by the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) period: Duration,
    pub(super) messages: u64,
}

impl Room {
    pub(super) fn open(target: &Target, channel: &'static str, subscribers: usize, size: usize) -> Result<Self> {
        let publisher = Client::connect(target, 0, &NATIVE, size)?;
        let epoll = Epoll::new(subscribers)?;
        let mut all = Vec::with_capacity(subscribers);
        for number in 0..subscribers {
            let mut client = Client::connect(target, number, &NATIVE, size)?;
            client.subscribe(channel)?;
            client.socket.tcp().set_nonblocking(true)?;
            stamp_received(client.socket.tcp())?;
            client.reader.checked = number < CHECKED || number + 1 == subscribers;
            epoll.add(&client.socket, number)?;
            all.push(client);
        }
        let scratch = vec![0; READ_BUFFER];
        Ok(Self { channel, publisher, subscribers: all, epoll, scratch, sent: 0, pid: target.pid })
    }

    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }

    /// What a delivery costs the server in CPU nanoseconds, one message after the other.
    pub(super) fn calibrate(&mut self, messages: u64) -> Result<f64> {
        self.one_after_the_other(messages)?;
        let before = machine::cpu_ns(self.pid)?;
        self.one_after_the_other(messages)?;
        Ok((machine::cpu_ns(self.pid)? - before) as f64 / (messages * self.subscribers.len() as u64) as f64)
    }

    /// How far apart messages are that keep the server busy for this share of the time, if a delivery costs so much.
    pub(super) fn period(&self, delivery_ns: f64, load: f64) -> Duration {
        Duration::from_nanos((delivery_ns * self.subscribers.len() as f64 / load) as u64)
    }

    fn one_after_the_other(&mut self, messages: u64) -> Result<()> {
        for _ in 0..messages {
            self.publisher.publish(self.channel, self.sent)?;
            self.sent += 1;
            self.read_until(self.sent, |_, _, _| {})?;
        }
        Ok(())
    }

    /// Publishes by the clock and returns how long each delivery took, from when its message was due.
    pub(super) fn by_the_clock(&mut self, pace: Pace) -> Result<Percentiles> {
        let Pace { period, messages } = pace;
        let (first, period) = (self.sent, period.as_nanos() as u64);
        let begin = realtime_ns() + LEAD.as_nanos() as u64;
        let due = move |number: u64| begin + (number - first) * period;
        let channel = self.channel;
        let mut times = Percentiles::default();
        self.sent += messages;
        // Out of its room: the thread that publishes has it meanwhile.
        let Self { publisher, subscribers, epoll, scratch, sent, .. } = self;
        thread::scope(|scope| {
            let publishing = scope.spawn(move || -> Result<()> {
                // Who is not root competes with the thread that reads.
                let _ = schedule_first();
                for number in first..first + messages {
                    thread::sleep(Duration::from_nanos(due(number).saturating_sub(realtime_ns())));
                    publisher.publish(channel, number)?;
                }
                Ok(())
            });
            let read = read_until(subscribers, epoll, scratch, *sent, |at, from, to| {
                (from..to).for_each(|number| times.add(at.saturating_sub(due(number))));
            });
            publishing.join().map_err(|_| anyhow!("the publisher panicked"))??;
            read
        })?;
        Ok(times)
    }

    fn read_until(&mut self, messages: u64, told: impl FnMut(u64, u64, u64)) -> Result<()> {
        read_until(&mut self.subscribers, &mut self.epoll, &mut self.scratch, messages, told)
    }
}

/// Reads until everybody has so many messages, and nobody more.
fn read_until(
    subscribers: &mut [Client],
    epoll: &mut Epoll,
    scratch: &mut [u8],
    messages: u64,
    mut told: impl FnMut(u64, u64, u64),
) -> Result<()> {
    let mut missing = subscribers.iter().filter(|client| client.reader.received < messages).count();
    while missing > 0 {
        let mut woken = false;
        for token in epoll.wait(SILENCE_MAX)? {
            woken = true;
            let client = subscribers.get_mut(token).context("the kernel reported an unknown connection")?;
            let before = client.reader.received;
            client.read_stamped(scratch, &mut told)?;
            let now = client.reader.received;
            ensure!(now <= messages, "a subscriber got {now} messages, of {messages}");
            missing -= usize::from(before < messages && now == messages);
        }
        ensure!(woken, "nothing came for {} s; {missing} subscribers wait", SILENCE_MAX.as_secs());
    }
    Ok(())
}
