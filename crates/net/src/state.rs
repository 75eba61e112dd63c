//! What the tasks of one shard share: the sessions, the connections and the flush at the end of a turn.
//!
//! Single-threaded: each borrow ends before anything is awaited.

use crate::backend::{REQUESTS_MAX, ShardBroker};
use crate::clock::Clock;
use crate::compression::Counts;
use crate::connection::Connection;
use crate::exchange::Waiting;
use crate::handle::{Counters, ShardStats};
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use switchboard_core::{Outcome, Time};
use switchboard_hub::{Mail, NoticeBatch, ShardId, SubscriberId};
use switchboard_session::Sessions;
use tokio::sync::{Notify, mpsc, oneshot};

/// What carries a session's output.
#[derive(Clone, Debug)]
pub(crate) enum Attached {
    WebSocket(Rc<Connection>),
    Stream(Rc<Stream>),
    Waiting(Rc<Waiting>),
}

impl Attached {
    fn id(&self) -> SubscriberId {
        match self {
            Self::WebSocket(connection) => connection.socket.id,
            Self::Stream(stream) => stream.socket.id,
            Self::Waiting(waiting) => waiting.id,
        }
    }

    /// Has what a write needs to know fetched. Between two of its turns a connection of a large roster has left the processor's caches, which are filled for
    /// several at once faster than for one after the other.
    fn look(&self) {
        if let Self::WebSocket(connection) = self {
            core::hint::black_box(connection.is_usual());
        }
    }

    fn flush<B: ShardBroker>(&self, state: &State<B>) {
        match self {
            Self::WebSocket(connection) => connection.flush(state),
            Self::Stream(stream) => stream.flush(state),
            Self::Waiting(waiting) => waiting.flush(state),
        }
    }

    fn wake(&self) {
        match self {
            Self::WebSocket(connection) => connection.socket.wake(),
            Self::Stream(stream) => stream.socket.wake(),
            // It is not read.
            Self::Waiting(_) => {}
        }
    }
}

/// Everything that lives on one event loop.
#[derive(Debug)]
pub(crate) struct State<B: ShardBroker> {
    pub(crate) clock: Clock,
    pub(crate) sessions: RefCell<Sessions<B>>,
    attached: RefCell<Vec<Option<Attached>>>,
    pub(crate) stats: RefCell<ShardStats>,
    counters: Arc<Counters>,
    pub(crate) compression: Arc<Counts>,
    /// Commands from outside that wait for their answer.
    pub(crate) tickets: RefCell<HashMap<u64, oneshot::Sender<Outcome>>>,
    pub(crate) next_ticket: Cell<u64>,
    /// The ways to other shards; `None` at this shard's own place.
    mail: Vec<Option<mpsc::Sender<Vec<Mail>>>>,
    /// The task that ends turns.
    flusher: RefCell<Option<Waker>>,
    pub(crate) turn_wanted: Cell<bool>,
    /// The task that waits for room on full ways.
    unblocker: RefCell<Option<Waker>>,
    /// Told at the end of each turn after which the shard is not congested: mail is read, and whoever submits looks again.
    has_room: Notify,
    /// Connections that are not read while the shard takes no requests.
    waiting_for_room: RefCell<Vec<Rc<Connection>>>,
    /// Set at the end of a turn, for the task that carries the broker's requests.
    pub(crate) requests_wanted: Notify,
    /// The way to whoever tells the applications' servers.
    notices: Option<mpsc::Sender<NoticeBatch>>,
    /// Connections whose protocol wants to be told the time, by when; the second number tells them apart.
    timers: RefCell<BTreeMap<(Time, u64), Rc<Connection>>>,
    /// Connections of HTTP/1.1 that have asked for something, and requests of HTTP/2: a response may still have to go out on them.
    answering: Cell<usize>,
    /// Clients that wait for their session to be ready.
    opening: RefCell<Vec<Waker>>,
    /// Empty read buffers: a connection owns one only while it holds unread bytes.
    buffers: RefCell<Vec<BytesMut>>,
    /// An empty buffer for output, for the next connection that collects some.
    output: RefCell<BytesMut>,
    /// The same for one that carries messages as they are.
    output_queue: RefCell<VecDeque<Bytes>>,
}

/// The size of a read buffer, in bytes: a message of 64 KiB with its header fits, and is not copied.
pub(crate) const READ_BYTES: usize = 64 * 1024 + 256;
/// Connections that are looked at before the first of them is written to.
const LOOK_AHEAD: usize = 16;
/// Read buffers that a shard keeps.
const BUFFERS_MAX: usize = 8;
/// A larger buffer for output is not kept for the next connection, in bytes.
const OUTPUT_KEPT: usize = 128 * 1024;
/// Nor is a queue with more places.
const OUTPUT_QUEUE_KEPT: usize = 1024;

impl<B: ShardBroker> State<B> {
    pub(crate) fn new(
        sessions: Sessions<B>,
        counters: Arc<Counters>,
        compression: Arc<Counts>,
        mail: Vec<Option<mpsc::Sender<Vec<Mail>>>>,
        notices: Option<mpsc::Sender<NoticeBatch>>,
    ) -> Self {
        Self {
            clock: Clock::new(),
            sessions: RefCell::new(sessions),
            attached: RefCell::default(),
            stats: RefCell::default(),
            counters,
            compression,
            tickets: RefCell::default(),
            next_ticket: Cell::new(0),
            mail,
            flusher: RefCell::default(),
            turn_wanted: Cell::new(false),
            unblocker: RefCell::default(),
            has_room: Notify::new(),
            waiting_for_room: RefCell::default(),
            requests_wanted: Notify::new(),
            notices,
            timers: RefCell::default(),
            answering: Cell::new(0),
            opening: RefCell::default(),
            buffers: RefCell::default(),
            output: RefCell::default(),
            output_queue: RefCell::default(),
        }
    }

    /// Has the turn ended after all tasks that are ready now have run.
    pub(crate) fn want_turn(&self) {
        if !self.turn_wanted.replace(true)
            && let Some(waker) = &*self.flusher.borrow()
        {
            waker.wake_by_ref();
        }
    }

    /// Counts something that happened outside of a turn; the end of the next one publishes it.
    pub(crate) fn count(&self, count: impl FnOnce(&mut ShardStats)) {
        count(&mut self.stats.borrow_mut());
        self.want_turn();
    }

    pub(crate) fn set_flusher(&self, waker: &Waker) {
        keep(&self.flusher, waker);
    }

    pub(crate) fn set_unblocker(&self, waker: &Waker) {
        keep(&self.unblocker, waker);
    }

    /// Moves a connection's timer. `timer` is where its task keeps what is set.
    pub(crate) fn set_timer(&self, connection: &Rc<Connection>, timer: &mut Option<Time>, at: Option<Time>) {
        if *timer == at {
            return;
        }
        let mut timers = self.timers.borrow_mut();
        if let Some(old) = *timer {
            timers.remove(&(old, connection.socket.id.serial));
        }
        if let Some(at) = at {
            timers.insert((at, connection.socket.id.serial), Rc::clone(connection));
        }
        *timer = at;
    }

    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.timers.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes the connections whose time has come.
    pub(crate) fn wake_timed(&self, now: Time) {
        let mut timers = self.timers.borrow_mut();
        while let Some(first) = timers.first_entry()
            && first.key().0 <= now
        {
            first.remove().socket.wake();
        }
    }

    /// Waits until a session that has just begun is answered by the hub, which may be another shard's.
    pub(crate) async fn ready(&self, id: SubscriberId) {
        poll_fn(|cx| {
            if self.sessions.borrow().is_ready(id) {
                return Poll::Ready(());
            }
            self.opening.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn take_buffer(&self) -> BytesMut {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
    }

    /// Takes an empty buffer back, unless a message still holds a part of it.
    pub(crate) fn return_buffer(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < BUFFERS_MAX && buffer.try_reclaim(READ_BYTES) {
            buffers.push(buffer);
        }
    }

    pub(crate) fn take_output(&self) -> BytesMut {
        self.output.take()
    }

    /// Takes an empty buffer back.
    pub(crate) fn return_output(&self, buffer: BytesMut) {
        let mut kept = self.output.borrow_mut();
        if buffer.capacity() > kept.capacity() && buffer.capacity() <= OUTPUT_KEPT {
            *kept = buffer;
        }
    }

    pub(crate) fn take_output_queue(&self) -> VecDeque<Bytes> {
        self.output_queue.take()
    }

    /// Takes an empty queue back.
    pub(crate) fn return_output_queue(&self, queue: VecDeque<Bytes>) {
        let mut kept = self.output_queue.borrow_mut();
        if queue.capacity() > kept.capacity() && queue.capacity() <= OUTPUT_QUEUE_KEPT {
            *kept = queue;
        }
    }

    fn attached(&self, id: SubscriberId) -> Option<Attached> {
        self.attached.borrow().get(id.slot as usize)?.as_ref().filter(|attached| attached.id() == id).cloned()
    }

    /// A session's output goes there from now on.
    pub(crate) fn attach(&self, id: SubscriberId, to: Attached) {
        let mut attached = self.attached.borrow_mut();
        let slot = id.slot as usize;
        if attached.len() <= slot {
            attached.resize_with(slot + 1, || None);
        }
        if let Some(place) = attached.get_mut(slot) {
            *place = Some(to);
        }
    }

    /// It goes nowhere any more.
    pub(crate) fn detach(&self, id: SubscriberId) {
        if let Some(place) = self.attached.borrow_mut().get_mut(id.slot as usize) {
            // The session may have ended long before its socket, and another has the slot by now.
            place.take_if(|known| known.id() == id);
        }
    }

    /// Whether nobody is connected.
    pub(crate) fn is_deserted(&self) -> bool {
        self.attached.borrow().iter().all(Option::is_none)
    }

    /// Whether nobody waits for a response.
    pub(crate) fn is_answered(&self) -> bool {
        self.answering.get() == 0
    }

    /// Ends a turn: outboxes are filled and written, mail is sent, counters are published. Returns whether to do so again soon.
    pub(crate) fn end_turn(&self) -> bool {
        let now = self.clock.now();
        let more = self.sessions.borrow_mut().end_turn(now);
        // Whoever gets an answer finds it counted.
        self.publish_stats();
        self.flush();
        self.answer_tickets();
        self.wake_resumed();
        self.opening.borrow_mut().drain(..).for_each(Waker::wake);
        self.send_mail();
        self.send_notices();
        self.publish_stats();
        self.clock.end_turn();
        self.requests_wanted.notify_one();
        let sessions = self.sessions.borrow();
        if !sessions.is_congested() {
            self.has_room.notify_waiters();
        }
        if sessions.takes_requests() {
            for connection in self.waiting_for_room.take() {
                connection.waits_for_room.set(false);
                connection.socket.wake();
            }
        }
        more || sessions.wants_turn()
    }

    /// Writes for everybody for whom something waits.
    fn flush(&self) {
        let mut batch = [const { None }; LOOK_AHEAD];
        loop {
            self.take_dirty(&mut batch);
            for attached in batch.iter().flatten() {
                attached.look();
            }
            if batch.iter().all(Option::is_none) {
                return;
            }
            for attached in batch.iter_mut().filter_map(Option::take) {
                attached.flush(self);
            }
        }
    }

    fn take_dirty(&self, batch: &mut [Option<Attached>]) {
        let mut sessions = self.sessions.borrow_mut();
        for place in batch {
            while place.is_none()
                && let Some(id) = sessions.poll_dirty()
            {
                *place = self.attached(id);
            }
        }
    }

    /// Waits until the shard takes mail.
    pub(crate) async fn room_for_mail(&self) {
        self.room(|sessions| !sessions.is_congested()).await;
    }

    /// Waits until the shard takes requests.
    pub(crate) async fn room_for_requests(&self) {
        self.room(Sessions::takes_requests).await;
    }

    async fn room(&self, has_room: impl Fn(&Sessions<B>) -> bool) {
        loop {
            let told = self.has_room.notified();
            if has_room(&self.sessions.borrow()) {
                return;
            }
            told.await;
        }
    }

    /// Has a connection read again after the turn that makes room for requests.
    pub(crate) fn wait_for_room(&self, connection: &Rc<Connection>) {
        if !connection.waits_for_room.replace(true) {
            self.waiting_for_room.borrow_mut().push(Rc::clone(connection));
            self.want_turn();
        }
    }

    /// The broker's next requests.
    pub(crate) fn take_requests(&self) -> Vec<B::Request> {
        let mut sessions = self.sessions.borrow_mut();
        core::iter::from_fn(|| sessions.poll_broker_request()).take(REQUESTS_MAX).collect()
    }

    fn answer_tickets(&self) {
        let mut sessions = self.sessions.borrow_mut();
        while let Some((ticket, outcome)) = sessions.poll_external() {
            if let Some(reply) = self.tickets.borrow_mut().remove(&ticket) {
                // Whoever asked may have gone.
                let _ = reply.send(outcome);
            }
        }
    }

    fn wake_resumed(&self) {
        loop {
            let Some(id) = self.sessions.borrow_mut().poll_resumed() else { return };
            if let Some(attached) = self.attached(id) {
                attached.wake();
            }
        }
    }

    /// Sends what there is room for. A full way is tried again when it has room: see `shard_loop`.
    pub(crate) fn send_mail(&self) {
        let now = self.clock.now();
        for (index, way) in self.mail.iter().enumerate() {
            let Some(way) = way else { continue };
            let to = ShardId(u16::try_from(index).unwrap_or(u16::MAX));
            let mut sessions = self.sessions.borrow_mut();
            while sessions.has_mail(to)
                && let Ok(permit) = way.try_reserve()
            {
                permit.send(sessions.take_mail(now, to));
            }
            if sessions.has_mail(to)
                && let Some(waker) = &*self.unblocker.borrow()
            {
                waker.wake_by_ref();
            }
        }
    }

    /// Hands over what is to be told, if there is room. If not it is tried again, at the end of a turn or soon; what waits is bounded.
    pub(crate) fn send_notices(&self) {
        let mut sessions = self.sessions.borrow_mut();
        if !sessions.has_notices() {
            return;
        }
        match &self.notices {
            Some(way) => {
                if let Ok(permit) = way.try_reserve() {
                    permit.send(sessions.take_notices());
                }
            }
            None => drop(sessions.take_notices()),
        }
    }

    /// The first way that is full although there is mail for it.
    pub(crate) fn blocked_way(&self) -> Option<mpsc::Sender<Vec<Mail>>> {
        let sessions = self.sessions.borrow();
        let blocked = |(index, way): (usize, &Option<mpsc::Sender<Vec<Mail>>>)| {
            let to = ShardId(u16::try_from(index).unwrap_or(u16::MAX));
            way.clone().filter(|way| sessions.has_mail(to) && !way.is_closed())
        };
        self.mail.iter().enumerate().find_map(blocked)
    }

    fn publish_stats(&self) {
        let sessions = self.sessions.borrow().stats();
        let mut stats = self.stats.borrow_mut();
        stats.clock_reads = self.clock.reads();
        stats.channels = sessions.hub.channels;
        stats.subscriptions = sessions.subscriptions;
        stats.messages_in = sessions.messages_in;
        stats.messages_out = sessions.hub.deliveries;
        stats.publications = sessions.hub.publications;
        stats.rejects = sessions.rejects;
        stats.slow_consumers = sessions.hub.overflows;
        stats.losses = sessions.hub.losses;
        stats.sessions = sessions.sessions;
        [stats.compressed, stats.compressed_bytes_before, stats.compressed_bytes_after] = self.compression.read();
        self.counters.write(&stats);
    }
}

/// For as long as somebody waits for a response: a shutdown waits for them.
#[derive(Debug)]
pub(crate) struct Answering<B: ShardBroker>(Rc<State<B>>);

impl<B: ShardBroker> Answering<B> {
    pub(crate) fn new(state: &Rc<State<B>>) -> Self {
        state.answering.set(state.answering.get() + 1);
        Self(Rc::clone(state))
    }
}

impl<B: ShardBroker> Drop for Answering<B> {
    fn drop(&mut self) {
        self.0.answering.set(self.0.answering.get() - 1);
    }
}

/// Remembers the waker of the one task that waits.
fn keep(place: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut place = place.borrow_mut();
    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}
