//! Messages that come back. Owns the connections' tasks.

use super::connections::{Door, Socket, beats};
use super::pace::Pace;
use super::run::{Line, LoadError, Share};
use super::stamp::{STAMP_BYTES, Stamp, filler};
use super::tally::Tally;
use bytes::BytesMut;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Waker;
use core::time::Duration;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;
use switchboard_ws::{CloseCode, Error, Message, Utf8Bytes};
use tokio::task::spawn_local;

/// How often a thread tells what it has counted.
const TELL: Duration = Duration::from_millis(250);
/// How long what is on its way may take at the end.
const LINGER: Duration = Duration::from_secs(3);
/// Messages that wait for one connection's echo: beyond, the generator would only fill memory. They are counted as not sent in time.
const WAITING_MAX: usize = 10_000;

/// What a client's frame has before its payload, at most (RFC 6455 §5.2).
const HEADER_BYTES_MAX: usize = 14;
/// What payloads are cut from, at a time.
const ARENA_BYTES: usize = 64 * 1024;

/// What the tasks of a thread share.
struct Bench {
    letters: Vec<u8>,
    arena: RefCell<BytesMut>,
    start: Cell<Instant>,
    warm_up: Duration,
    end: Duration,
    tally: RefCell<Tally>,
}

/// One connection: its task reads, and in an open loop the thread's pace writes; neither waits while it holds the socket.
struct Lane {
    connection: u32,
    next: Cell<u64>,
    waiting: RefCell<VecDeque<Stamp>>,
    lost: Cell<bool>,
    socket: RefCell<Socket>,
    /// Wakes the task that reads, which also writes what the socket did not take at once.
    reader: RefCell<Waker>,
}

impl Bench {
    fn new(share: &Share) -> Self {
        let plan = &share.plan;
        Self {
            letters: filler().take(plan.size.saturating_sub(STAMP_BYTES)).map(|c| c as u8).collect(),
            arena: RefCell::default(),
            start: Cell::new(Instant::now()),
            warm_up: plan.warm_up,
            end: plan.warm_up + plan.duration,
            tally: RefCell::default(),
        }
    }

    /// The payload with this stamp. Its memory is used again once it is sent.
    fn payload(&self, stamp: Stamp) -> Utf8Bytes {
        let mut arena = self.arena.borrow_mut();
        let size = STAMP_BYTES + self.letters.len();
        if arena.capacity() < size {
            arena.reserve(size.max(ARENA_BYTES));
        }
        arena.extend_from_slice(&stamp.digits());
        arena.extend_from_slice(&self.letters);
        // Digits and letters are text.
        Utf8Bytes::try_from(arena.split().freeze()).unwrap_or_default()
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
        Some(Message::Text(bench.payload(stamp)))
    }

    /// Something came back.
    fn hear(&self, bench: &Bench, now: Duration, message: &Message) {
        let text = message.as_bytes();
        let Some(expected) = self.waiting.borrow_mut().pop_front() else {
            return bench.tally.borrow_mut().error("a message came that nobody waits for");
        };
        let mut tally = bench.tally.borrow_mut();
        if !expected.is_of(text, &bench.letters) {
            return tally.error("something else came back than was sent");
        }
        let moment = Duration::from_nanos(expected.moment);
        if bench.is_measured(moment) {
            tally.received += 1;
            tally.received_bytes += text.len() as u64;
            tally.record(u64::try_from(now.saturating_sub(moment).as_nanos()).unwrap_or(u64::MAX));
        }
    }

    async fn receive(&self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| {
            let mut reader = self.reader.borrow_mut();
            if !reader.will_wake(cx.waker()) {
                reader.clone_from(cx.waker());
            }
            self.socket.borrow_mut().poll_recv(cx)
        })
        .await
    }

    /// Queues a message. `None` if there is no room for it.
    fn feed(&self, message: Message) -> Option<Result<(), Error>> {
        let fed = self.socket.borrow_mut().feed(message).now_or_never();
        if fed.is_none() {
            self.reader.borrow().wake_by_ref();
        }
        fed
    }

    /// Writes what is queued, as much as the socket takes now. The rest is the reading task's, which waits for room.
    fn flush(&self) {
        if self.socket.borrow_mut().flush().now_or_never().is_none() {
            self.reader.borrow().wake_by_ref();
        }
    }

    /// An error is a connection that has ended, which reading finds.
    fn close(&self) {
        let _ = self.socket.borrow_mut().start_close(CloseCode::NORMAL, "");
        self.flush();
    }
}

pub(crate) async fn run(share: &Share, line: &Line, door: &Door, depth: Option<u32>) -> Result<(), LoadError> {
    let sockets = door.open_all(share, |count| line.opened(count)).await?;
    let bench = Rc::new(Bench::new(share));
    bench.tally.borrow_mut().opened = sockets.len() as u64;
    let lanes = spawn_readers(share, &bench, sockets, depth);
    bench.start.set(line.start());
    match depth {
        Some(depth) => fill(&bench, &lanes, depth),
        None => pace(share, &bench, &lanes, line).await,
    }
    let mut told = bench.now();
    while bench.now() < bench.end {
        tokio::time::sleep(TELL.min(bench.end.saturating_sub(bench.now()))).await;
        tell(&bench, line, &mut told, true);
    }
    finish(&bench, &lanes).await;
    tell(&bench, line, &mut told, true);
    Ok(())
}

type Lanes = Vec<Rc<Lane>>;

fn spawn_readers(share: &Share, bench: &Rc<Bench>, sockets: Vec<Socket>, depth: Option<u32>) -> Lanes {
    let mut lanes = Vec::new();
    for (index, mut socket) in sockets.into_iter().enumerate() {
        if let Some(depth) = depth {
            // As much as a closed loop has on its way: there is always room.
            socket.set_output_bytes_max((depth as usize).saturating_mul(share.plan.size + HEADER_BYTES_MAX));
        }
        let lane = Rc::new(Lane {
            connection: share.first + u32::try_from(index).unwrap_or(u32::MAX),
            next: Cell::new(0),
            waiting: RefCell::default(),
            lost: Cell::new(false),
            socket: RefCell::new(socket),
            reader: RefCell::new(Waker::noop().clone()),
        });
        spawn_local(read(Rc::clone(bench), Rc::clone(&lane), depth.is_some()));
        lanes.push(lane);
    }
    lanes
}

/// Takes what comes back. In a closed loop each sends the next; what answers all that came at once is one write, which the socket does before it waits.
async fn read(bench: Rc<Bench>, lane: Rc<Lane>, answers: bool) {
    loop {
        let next = lane.receive().await;
        let now = bench.now();
        match next {
            Some(Ok(message)) => lane.hear(&bench, now, &message),
            Some(Err(error)) => {
                lane.lost.set(true);
                let mut tally = bench.tally.borrow_mut();
                tally.lost += 1;
                return tally.error(format!("a connection broke: {error}"));
            }
            None => {
                if now < bench.end {
                    lane.lost.set(true);
                    let mut tally = bench.tally.borrow_mut();
                    tally.lost += 1;
                    tally.error("the server closed a connection");
                }
                return;
            }
        }
        if answers
            && now < bench.end
            && let Some(message) = lane.message(&bench, now)
            && lane.feed(message).is_none()
        {
            unsent(&bench, &lane, now);
        }
    }
}

/// A closed loop: puts so many on their way on each connection.
fn fill(bench: &Bench, lanes: &Lanes, depth: u32) {
    for lane in lanes {
        for _ in 0..depth {
            let now = bench.now();
            if let Some(message) = lane.message(bench, now)
                && lane.feed(message).is_none()
            {
                unsent(bench, lane, now);
            }
        }
        lane.flush();
    }
}

/// An open loop: sends what is due at each beat, whatever has come back.
async fn pace(share: &Share, bench: &Rc<Bench>, lanes: &Lanes, line: &Line) {
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
                let Some(lane) = lanes.get(at) else { continue };
                match lane.message(bench, moment) {
                    // A server that does not read holds up its own connection only.
                    Some(message) => match lane.feed(message) {
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
        touched.drain(..).filter_map(|at| lanes.get(at)).for_each(|lane| lane.flush());
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
async fn finish(bench: &Bench, lanes: &Lanes) {
    let waiting = |lane: &Rc<Lane>| if lane.lost.get() { 0 } else { lane.waiting.borrow().len() };
    let until = Instant::now() + LINGER;
    while lanes.iter().map(waiting).sum::<usize>() > 0 && Instant::now() < until {
        lanes.iter().for_each(|lane| lane.flush());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let missing: usize = lanes.iter().map(waiting).sum();
    for _ in 0..missing {
        bench.tally.borrow_mut().error("an answer did not come");
    }
    lanes.iter().for_each(|lane| lane.close());
}
