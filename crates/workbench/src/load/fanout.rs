//! One channel of a server of the native protocol, many subscribers. The first connection publishes.

use super::connections::{Door, Socket, beats};
use super::pace::Pace;
use super::run::{Line, LoadError, Share};
use super::stamp::{STAMP_BYTES, Stamp};
use super::tally::Tally;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use futures_util::FutureExt;
use std::rc::Rc;
use std::time::Instant;
use switchboard_ws::{CloseCode, MaybeTls, Receiver};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

const TELL: Duration = Duration::from_millis(250);
/// How long what is on its way may take at the end.
const LINGER: Duration = Duration::from_secs(2);
/// How long the server may take to confirm a subscription.
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    start: Cell<Instant>,
    begun: Cell<bool>,
    warm_up: Duration,
    end: Duration,
    tally: RefCell<Tally>,
}

impl Bench {
    fn now(&self) -> Duration {
        self.start.get().elapsed()
    }

    fn is_measured(&self, moment: Duration) -> bool {
        moment >= self.warm_up && moment < self.end
    }
}

pub(crate) async fn run(share: &Share, line: &Line, door: &Door, channel: &str) -> Result<(), LoadError> {
    let plan = &share.plan;
    let bench = Rc::new(Bench {
        start: Cell::new(Instant::now()),
        begun: Cell::new(false),
        warm_up: plan.warm_up,
        end: plan.warm_up + plan.duration,
        tally: RefCell::default(),
    });
    let sockets = door.open_all(share, |count| line.opened(count)).await?;
    let mut readers = Vec::new();
    let mut senders = Vec::new();
    for socket in sockets {
        let (receiver, sender) = subscribe(socket, channel).await?;
        readers.push(spawn_local(read(Rc::clone(&bench), receiver)));
        senders.push(sender);
    }
    bench.tally.borrow_mut().opened = senders.len() as u64;
    // The clock of all threads is the first one's: stamps are made by it.
    bench.start.set(line.start());
    bench.begun.set(true);
    let mut told = Duration::ZERO;
    match senders.first_mut() {
        Some(publisher) if share.index == 0 => {
            let mut pace = Pace::new(plan.rate);
            let mut beats = beats(bench.start.get());
            let mut number = 0;
            while bench.now() < bench.end && beats.recv().await.is_some() {
                let mut any = false;
                while let Some((moment, count)) = pace.take(bench.now()) {
                    for _ in 0..count {
                        publish(publisher, channel, number, moment, plan.size).await;
                        (number, any) = (number + 1, true);
                        if bench.is_measured(moment) {
                            bench.tally.borrow_mut().sent += 1;
                        }
                    }
                }
                if any && publisher.flush().now_or_never().is_none() {
                    bench.tally.borrow_mut().error("the server does not read what is published");
                }
                if bench.now() >= told + TELL {
                    told = bench.now();
                    line.counted(told, bench.tally.borrow_mut().take());
                }
            }
        }
        _ => {}
    }
    while bench.now() < bench.end + LINGER {
        tokio::time::sleep(TELL).await;
        line.counted(bench.now(), bench.tally.borrow_mut().take());
    }
    readers.iter().for_each(JoinHandle::abort);
    for mut sender in senders {
        let _ = sender.close(CloseCode::NORMAL, "").now_or_never();
    }
    line.counted(bench.now(), bench.tally.borrow_mut().take());
    Ok(())
}

type Sender = switchboard_ws::Sender<MaybeTls<TcpStream>>;

async fn subscribe(socket: Socket, channel: &str) -> Result<(Receiver<MaybeTls<TcpStream>>, Sender), LoadError> {
    let (mut receiver, mut sender) = socket.split();
    let request = serde_json::json!({ "type": "subscribe", "id": "bench", "channel": channel });
    let confirmed = async {
        sender.send(request.to_string()).await.map_err(|error| error.to_string())?;
        loop {
            let message = match receiver.recv().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("it closed the connection".to_owned()),
            };
            let answer: serde_json::Value = serde_json::from_slice(message.as_bytes()).unwrap_or_default();
            match answer.get("type").and_then(serde_json::Value::as_str) {
                Some("ok") => return Ok(()),
                Some("error") => return Err(format!("it refused the subscription: {answer}")),
                _ => {}
            }
        }
    };
    match tokio::time::timeout(PATIENCE, confirmed).await {
        Ok(Ok(())) => Ok((receiver, sender)),
        Ok(Err(why)) => Err(LoadError::Protocol(why)),
        Err(_) => Err(LoadError::Protocol("it confirmed no subscription".to_owned())),
    }
}

async fn publish(sender: &mut Sender, channel: &str, number: u64, moment: Duration, size: usize) {
    let moment = u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX);
    let data = Stamp { connection: 0, number, moment }.payload(size);
    let request = serde_json::json!({ "type": "publish", "channel": channel, "data": data });
    // An error is a connection that has ended, which reading tells.
    let _ = sender.feed(request.to_string()).await;
}

/// Takes publications: each is the one after the last.
async fn read(bench: Rc<Bench>, mut receiver: Receiver<MaybeTls<TcpStream>>) {
    let mut expected = 0;
    while let Some(received) = receiver.recv().await {
        let Ok(message) = received else { break };
        let text = message.as_bytes();
        let Some(stamp) = stamp_of(text) else { continue };
        let moment = Duration::from_nanos(stamp.moment);
        let mut tally = bench.tally.borrow_mut();
        if stamp.number != expected {
            tally.error(if stamp.number > expected { "publications are missing" } else { "publications came twice" });
        }
        expected = stamp.number + 1;
        if bench.is_measured(moment) {
            tally.received += 1;
            tally.received_bytes += text.len() as u64;
            tally.record(u64::try_from(bench.now().saturating_sub(moment).as_nanos()).unwrap_or(u64::MAX));
        }
    }
    if bench.begun.get() && bench.now() < bench.end {
        let mut tally = bench.tally.borrow_mut();
        tally.lost += 1;
        tally.error("the server closed a connection");
    }
}

/// The stamp within a `message`.
fn stamp_of(text: &[u8]) -> Option<Stamp> {
    const BEFORE: &[u8] = b"\"data\":\"";
    let at = text.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    Stamp::read(text.get(at..at + STAMP_BYTES)?)
}
