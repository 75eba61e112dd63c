//! Messages that come back. Owns the connections' tasks.

use super::connections::{Door, Socket, beats};
use super::pace::Pace;
use super::run::{Line, LoadError, Share};
use super::stamp::{Stamp, filler};
use super::tally::Tally;
use core::cell::{Cell, RefCell};
use core::time::Duration;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;
use switchboard_ws::{CloseCode, MaybeTls, Message, Receiver, Sender};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

/// How often a thread tells what it has counted.
const TELL: Duration = Duration::from_millis(250);
/// How long what is on its way may take at the end.
const LINGER: Duration = Duration::from_secs(3);
/// Messages that wait for one connection's echo: beyond, the generator would only fill memory. They are counted as not sent in time.
const WAITING_MAX: usize = 10_000;

/// What the tasks of a thread share.
struct Bench {
    size: usize,
    filler: Vec<u8>,
    start: Cell<Instant>,
    warm_up: Duration,
    end: Duration,
    tally: RefCell<Tally>,
}

/// One connection's state: what is on its way.
struct Lane {
    connection: u32,
    next: Cell<u64>,
    waiting: RefCell<VecDeque<Stamp>>,
    lost: Cell<bool>,
}

type Writer = Sender<MaybeTls<TcpStream>>;

impl Bench {
    fn new(share: &Share) -> Self {
        let plan = &share.plan;
        Self {
            size: plan.size,
            filler: filler().take(plan.size).map(|c| c as u8).collect(),
            start: Cell::new(Instant::now()),
            warm_up: plan.warm_up,
            end: plan.warm_up + plan.duration,
            tally: RefCell::default(),
        }
    }

    fn now(&self) -> Duration {
        self.start.get().elapsed()
    }

    fn is_measured(&self, moment: Duration) -> bool {
        moment >= self.warm_up && moment < self.end
    }
}

impl Lane {
    /// The next message, which ought to go at this moment. `None` if too many are on their way.
    fn message(&self, bench: &Bench, moment: Duration) -> Option<Message> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING_MAX || self.lost.get() {
            return None;
        }
        let number = self.next.get();
        self.next.set(number + 1);
        let stamp =
            Stamp { connection: self.connection, number, moment: u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX) };
        waiting.push_back(stamp);
        if bench.is_measured(moment) {
            bench.tally.borrow_mut().sent += 1;
        }
        Some(Message::from(stamp.payload(bench.size)))
    }

    /// Something came back.
    fn hear(&self, bench: &Bench, message: &Message) {
        let text = message.as_bytes();
        let Some(expected) = self.waiting.borrow_mut().pop_front() else {
            return bench.tally.borrow_mut().error("a message came that nobody waits for");
        };
        let mut tally = bench.tally.borrow_mut();
        if Stamp::read(text) != Some(expected) || !Stamp::is_whole(text, bench.size, &bench.filler) {
            return tally.error("something else came back than was sent");
        }
        let moment = Duration::from_nanos(expected.moment);
        if bench.is_measured(moment) {
            tally.received += 1;
            tally.received_bytes += text.len() as u64;
            tally.record(u64::try_from(bench.now().saturating_sub(moment).as_nanos()).unwrap_or(u64::MAX));
        }
    }
}

pub(crate) async fn run(share: &Share, line: &Line, door: &Door, depth: Option<u32>) -> Result<(), LoadError> {
    let sockets = door.open_all(share, |count| line.opened(count)).await?;
    let bench = Rc::new(Bench::new(share));
    bench.tally.borrow_mut().opened = sockets.len() as u64;
    let (lanes, writers) = spawn_readers(share, &bench, sockets, depth);
    bench.start.set(line.start());
    match depth {
        Some(depth) => fill(&bench, &lanes, &writers, depth).await,
        None => pace(share, &bench, &lanes, &writers, line).await,
    }
    let mut told = bench.now();
    while bench.now() < bench.end {
        tokio::time::sleep(TELL.min(bench.end.saturating_sub(bench.now()))).await;
        tell(&bench, line, &mut told, true);
    }
    finish(&bench, &lanes, &writers).await;
    tell(&bench, line, &mut told, true);
    Ok(())
}

type Lanes = Vec<Rc<Lane>>;
type Writers = Vec<Rc<tokio::sync::Mutex<Writer>>>;

fn spawn_readers(share: &Share, bench: &Rc<Bench>, sockets: Vec<Socket>, depth: Option<u32>) -> (Lanes, Writers) {
    let mut lanes = Vec::new();
    let mut writers = Vec::new();
    for (index, socket) in sockets.into_iter().enumerate() {
        let connection = share.first + u32::try_from(index).unwrap_or(u32::MAX);
        let lane =
            Rc::new(Lane { connection, next: Cell::new(0), waiting: RefCell::default(), lost: Cell::new(false) });
        let (receiver, sender) = socket.split();
        let sender = Rc::new(tokio::sync::Mutex::new(sender));
        let answering = depth.map(|_| Rc::clone(&sender));
        spawn_local(read(Rc::clone(bench), Rc::clone(&lane), receiver, answering));
        lanes.push(lane);
        writers.push(sender);
    }
    (lanes, writers)
}

/// Takes what comes back. In a closed loop each sends the next; all that came at once are answered by one write.
async fn read(
    bench: Rc<Bench>,
    lane: Rc<Lane>,
    mut receiver: Receiver<MaybeTls<TcpStream>>,
    answering: Option<Rc<tokio::sync::Mutex<Writer>>>,
) {
    let mut next = receiver.recv().await;
    loop {
        match next {
            Some(Ok(message)) => lane.hear(&bench, &message),
            Some(Err(error)) => {
                lane.lost.set(true);
                let mut tally = bench.tally.borrow_mut();
                tally.lost += 1;
                return tally.error(format!("a connection broke: {error}"));
            }
            None => {
                if bench.now() < bench.end {
                    lane.lost.set(true);
                    let mut tally = bench.tally.borrow_mut();
                    tally.lost += 1;
                    tally.error("the server closed a connection");
                }
                return;
            }
        }
        let more = receiver.recv().now_or_never();
        if let Some(sender) = &answering
            && bench.now() < bench.end
        {
            let mut sender = sender.lock().await;
            if let Some(message) = lane.message(&bench, bench.now()) {
                // An error is a connection that has ended, which the next read tells.
                let _ = sender.feed(message).await;
            }
            if more.is_none() {
                let _ = sender.flush().await;
            }
        }
        next = match more {
            Some(more) => more,
            None => receiver.recv().await,
        };
    }
}

/// A closed loop: puts so many on their way on each connection.
async fn fill(bench: &Bench, lanes: &Lanes, writers: &Writers, depth: u32) {
    for (lane, writer) in lanes.iter().zip(writers) {
        let mut writer = writer.lock().await;
        for _ in 0..depth {
            if let Some(message) = lane.message(bench, bench.now()) {
                let _ = writer.feed(message).await;
            }
        }
        let _ = writer.flush().await;
    }
}

/// An open loop: sends what is due at each beat, whatever has come back.
async fn pace(share: &Share, bench: &Rc<Bench>, lanes: &Lanes, writers: &Writers, line: &Line) {
    let mut pace = Pace::new(share.rate);
    let mut beats = beats(bench.start.get());
    let mut turn = 0_usize;
    let mut told = Duration::ZERO;
    let mut touched = Vec::new();
    while bench.now() < bench.end && beats.recv().await.is_some() {
        while let Some((moment, count)) = pace.take(bench.now()) {
            for _ in 0..count {
                let at = turn % lanes.len().max(1);
                turn += 1;
                let (Some(lane), Some(writer)) = (lanes.get(at), writers.get(at)) else { continue };
                match lane.message(bench, moment) {
                    // A server that does not read holds up its own connection only.
                    Some(message) => match writer.lock().await.feed(message).now_or_never() {
                        Some(Ok(())) => touched.push(at),
                        Some(Err(_)) => {}
                        None => unsent(bench, lane, moment),
                    },
                    None if bench.is_measured(moment) => {
                        bench.tally.borrow_mut().error("a message could not be sent: too many are on their way");
                    }
                    None => {}
                }
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for at in touched.drain(..) {
            if let Some(writer) = writers.get(at) {
                // What the socket does not take now goes with the next flush.
                let _ = writer.lock().await.flush().now_or_never();
            }
        }
        let due = bench.now() >= told + TELL;
        tell(bench, line, &mut told, due);
    }
}

/// The connection's buffer is full: the message has not gone.
fn unsent(bench: &Bench, lane: &Lane, moment: Duration) {
    lane.waiting.borrow_mut().pop_back();
    lane.next.set(lane.next.get().saturating_sub(1));
    if bench.is_measured(moment) {
        let mut tally = bench.tally.borrow_mut();
        tally.sent = tally.sent.saturating_sub(1);
        tally.error("a message could not be sent: the server does not read");
    }
}

fn tell(bench: &Bench, line: &Line, told: &mut Duration, due: bool) {
    if due {
        *told = bench.now();
        line.counted(*told, bench.tally.borrow_mut().take());
    }
}

/// Waits for what is on its way, then closes.
async fn finish(bench: &Bench, lanes: &Lanes, writers: &Writers) {
    let waiting = |lane: &Rc<Lane>| if lane.lost.get() { 0 } else { lane.waiting.borrow().len() };
    let until = Instant::now() + LINGER;
    while lanes.iter().map(waiting).sum::<usize>() > 0 && Instant::now() < until {
        for writer in writers {
            let _ = writer.lock().await.flush().now_or_never();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let missing: usize = lanes.iter().map(waiting).sum();
    for _ in 0..missing {
        bench.tally.borrow_mut().error("an answer did not come");
    }
    let closing = writers.iter().map(|writer| async {
        let mut writer = writer.lock().await;
        let _ = writer.close(CloseCode::NORMAL, "").await;
    });
    let _ = tokio::time::timeout(LINGER, futures_util::future::join_all(closing)).await;
}
