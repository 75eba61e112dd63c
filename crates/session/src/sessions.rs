//! The sessions of one shard, joined with the shard of the hub that serves them: everything between a transport's messages and its bytes.
//!
//! The driver calls in with what came from sockets, from other shards and from the clock, then drains: mail, bytes, closings. It decides nothing.

use crate::Directory;
use crate::due::plan_drain;
use crate::encoder::Encoder;
use crate::execute;
use crate::gauges::Gauges;
use crate::index::Index;
use crate::session::Session;
use crate::throttle::Throttle;
use crate::timers::Timers;
use bytes::{Bytes, BytesMut};
use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, Command, Deadline, Disconnect, Encoded, Event, Framing, FramingId, Identity, OpId, Outcome, Reject,
    RejectCode, SessionId, Time, WireFormat,
};
use switchboard_dialects::{AnyDialect, Commands, Dialect, Incoming, Opening, Welcome};
use switchboard_hub::{
    Backlog, Broker, Caller, History, Mail, NoticeBatch, Outbox, Shard, ShardId, ShardStats, SubscriberId,
};

/// A client that was admitted.
#[derive(Debug)]
pub struct Client {
    /// The application.
    pub app: Arc<App>,
    /// What it speaks.
    pub opening: Opening,
    /// What its token said, if it showed one.
    pub identity: Option<Identity>,
    /// How its transport frames messages.
    pub framing: FramingId,
}

/// Counters and gauges of one shard's sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct SessionStats {
    /// Sessions now, by dialect ([`AnyDialect::NAMES`]).
    pub sessions: [u64; AnyDialect::NAMES.len()],
    /// Messages from clients.
    pub messages_in: u64,
    /// Requests that were refused.
    pub rejects: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// The hub's part.
    pub hub: ShardStats,
}

/// The sessions of one shard.
#[derive(Debug)]
pub struct Sessions<B> {
    pub(crate) shard: Shard<B>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) encoder: Encoder,
    /// By slot. Boxed, since a session is taken out and put back for each of its messages.
    pub(crate) sessions: Vec<Option<Box<Session>>>,
    pub(crate) index: Index,
    pub(crate) timers: Timers,
    out: BytesMut,
    commands: Commands,
    external: VecDeque<(u64, Outcome)>,
    resumed: Vec<SubscriberId>,
    throttle: Throttle,
    pub(crate) draining: Option<(Time, Duration)>,
    pub(crate) gauges: Gauges,
    stats: SessionStats,
}

/// An operation of our own: nobody waits for its answer.
pub(crate) const OWN: OpId = OpId(u64::MAX);
/// To watch a user: the answer says whether that user is there.
pub(crate) const WATCH: OpId = OpId(u64::MAX - 1);

impl<B: Broker + History> Sessions<B> {
    /// No sessions yet. `framings` are numbered by their place ([`FramingId`]).
    pub fn new(shard: Shard<B>, directory: Arc<dyn Directory>, framings: Vec<Box<dyn Framing>>) -> Self {
        Self {
            shard,
            directory,
            encoder: Encoder::new(framings),
            sessions: Vec::new(),
            index: Index::default(),
            timers: Timers::default(),
            out: BytesMut::new(),
            commands: Vec::new(),
            external: VecDeque::new(),
            resumed: Vec::new(),
            throttle: Throttle::default(),
            draining: None,
            gauges: Gauges::default(),
            stats: SessionStats::default(),
        }
    }

    /// Begins a session. What the client is told first is in its outbox.
    pub fn open(&mut self, now: Time, client: Client) -> SubscriberId {
        let Client { app, opening, identity, framing } = client;
        let dialect = AnyDialect::new(opening);
        let format = WireFormat { dialect: dialect.format(), framing };
        let (id, name) = self.shard.open(&app, format);
        let mut session = Box::new(Session::new(now, id.slot, name, app, dialect, framing));
        if let Some(identity) = identity {
            session.identify(now, identity);
            self.shard.set_identity(id, session.identity.clone());
            self.index_user(&session, None);
        } else if session.user.is_none() {
            session.deadlines.authentication = (now + session.app.limits.authentication_timeout).into();
        }
        self.gauges.open(id, session.dialect.kind());
        self.index.open(id);
        let mut commands = core::mem::take(&mut self.commands);
        let mut refused = None;
        self.write(&mut session, |session, out| {
            let welcome = Welcome {
                session: session.name,
                user: session.user.as_ref(),
                limits: &session.app.limits,
                message_bytes: session.message_bytes(),
                heartbeat: session.app.limits.heartbeat,
            };
            refused = session.dialect.open(&welcome, &mut commands, out);
        });
        if let Some(disconnect) = refused {
            self.end(&mut session, &disconnect);
        }
        for (op, command) in commands.drain(..) {
            self.execute(now, &mut session, op, command);
        }
        self.commands = commands;
        if let Some((until, window)) = self.draining {
            plan_drain(&mut session, until, window);
        }
        self.put_back(session);
        self.drain_answers(now);
        id
    }

    /// Takes one request from whoever asks without a connection, whose sessions last for one request; or says when there is room for the next.
    pub fn throttle(&mut self, now: Time, app: &App, identity: Option<&Identity>, address: IpAddr) -> Result<(), Time> {
        let taken = self.throttle.take(now, app, identity, address);
        self.stats.rejects += u64::from(taken.is_err());
        taken
    }

    /// A message came from the client.
    pub fn receive(&mut self, now: Time, id: SubscriberId, message: Incoming<'_>) {
        let Some(mut session) = self.take(id) else { return };
        if session.closing.is_none() {
            self.stats.messages_in += 1;
            self.receive_message(now, &mut session, message);
        }
        self.put_back(session);
        self.drain_answers(now);
    }

    fn receive_message(&mut self, now: Time, session: &mut Session, message: Incoming<'_>) {
        if session.user.is_none() {
            let bytes = match message {
                Incoming::Text(text) => text.len(),
                Incoming::Binary(bytes) => bytes.len(),
            };
            session.early_bytes = session.early_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
            if session.early_bytes as usize > session.app.limits.message_bytes_unauthenticated {
                self.end(session, &Disconnect::AUTHENTICATION_TIMEOUT);
                return;
            }
        }
        let mut commands = core::mem::take(&mut self.commands);
        self.write(session, |session, out| session.dialect.receive(message, &mut commands, out));
        if commands.is_empty() {
            // Nothing to refuse, yet not for nothing: a client that only pings or errs is read more slowly.
            if let Err(until) = session.bucket.take(now, &session.app.limits) {
                session.deadlines.pace = until.into();
            }
        }
        for (op, command) in commands.drain(..) {
            match session.bucket.take(now, &session.app.limits) {
                Ok(()) => {}
                Err(_) if session.dialect.can_refuse() => {
                    self.stats.rejects += 1;
                    let reject = Reject::new(RejectCode::RateLimited, SLOW_DOWN);
                    self.answer(session, op, &Outcome::Rejected(reject));
                    continue;
                }
                Err(until) => session.deadlines.pace = until.into(),
            }
            self.execute(now, session, op, command);
        }
        self.commands = commands;
    }

    /// Carries out a command of the application itself, which may do everything. The answer comes from
    /// [`poll_external`](Self::poll_external) under the same ticket.
    pub fn submit(&mut self, now: Time, ticket: u64, app: &Arc<App>, command: Command) {
        execute::external(&mut self.shard, now, ticket, app, command, &mut self.external);
        self.drain_answers(now);
    }

    /// The next answer to [`submit`](Self::submit).
    pub fn poll_external(&mut self) -> Option<(u64, Outcome)> {
        self.external.pop_front()
    }

    /// The transport has ended.
    pub fn close(&mut self, now: Time, id: SubscriberId) {
        // A session that was lost to a panic while it was worked on has left its place, but not the hub.
        if let Some(mut session) = self.take(id) {
            self.timers.set(id.slot, &mut session.timer, Deadline::NEVER);
            self.forget_session(&session);
        }
        self.index.close(id);
        self.gauges.close(id);
        self.shard.close(now, id);
        self.drain_answers(now);
    }

    /// How the transport shall close once the outbox is empty.
    pub fn closing(&self, id: SubscriberId) -> Option<&Disconnect> {
        // The hub takes nothing more for a session that ends. Mostly it goes on, and need not be looked at.
        if !self.shard.is_given_up(id) {
            return None;
        }
        self.get(id)?.closing.as_deref()
    }

    /// The largest message that the client may send now, in bytes. It grows when the client authenticates.
    pub fn message_bytes(&self, id: SubscriberId) -> usize {
        self.get(id).map_or(0, Session::message_bytes)
    }

    /// Whether everything that the session asked when it began is answered: a raw client is subscribed from then on.
    pub fn is_ready(&self, id: SubscriberId) -> bool {
        self.get(id).is_none_or(|session| session.pending == 0 || session.closing.is_some())
    }

    /// Whether the transport shall read no more of this client for now; [`poll_resumed`](Self::poll_resumed) tells when it may again.
    pub fn pause(&mut self, id: SubscriberId) -> bool {
        let Some(Some(session)) = self.sessions.get_mut(id.slot as usize) else { return false };
        session.paused = session.id() == id && session.must_wait();
        session.paused
    }

    /// The next client that may be read again.
    pub fn poll_resumed(&mut self) -> Option<SubscriberId> {
        self.resumed.pop()
    }

    /// Whether so much waits for its fan-out that nothing shall be read, neither from clients nor from other shards, before the next turn.
    pub fn is_congested(&self) -> bool {
        self.shard.is_congested()
    }

    /// Whether a client may be read, and the application may submit. Mail is taken as long as the shard is not congested.
    pub fn takes_requests(&self) -> bool {
        !self.shard.is_congested() && !self.shard.is_waiting()
    }

    /// Takes mail from another shard.
    pub fn receive_mail(&mut self, now: Time, mail: Mail) {
        self.shard.receive_mail(now, mail);
        // An answer comes before whatever the same turn brings the client next: a token that takes a subscription away, say.
        self.drain_answers(now);
    }

    /// The mail for another shard; call it when the way there has room.
    pub fn take_mail(&mut self, now: Time, to: ShardId) -> Vec<Mail> {
        self.shard.take_mail(now, to)
    }

    /// Whether there is mail for that shard.
    pub fn has_mail(&self, to: ShardId) -> bool {
        self.shard.has_mail(to)
    }

    /// The next request of the broker to its backend; call it when the way there has room.
    pub fn poll_broker_request(&mut self) -> Option<B::Request> {
        self.shard.poll_broker_request()
    }

    /// The broker's backend has answered.
    pub fn handle_broker_reply(&mut self, now: Time, reply: B::Reply) {
        self.shard.handle_broker_reply(now, reply);
        self.drain_answers(now);
    }

    /// What the applications' servers shall be told; call it when the way there has room.
    pub fn take_notices(&mut self) -> NoticeBatch {
        self.shard.take_notices()
    }

    /// Clients leave from now on because the process ends, and the next one will know what was told: nobody is told as gone.
    pub fn keep_told(&mut self) {
        self.shard.keep_told();
    }

    /// Whether there is something to tell.
    pub fn has_notices(&self) -> bool {
        self.shard.has_notices()
    }

    /// Ends the turn: answers, events and publications go to their outboxes. Then flush, and call again if it returns `true`.
    pub fn end_turn(&mut self, now: Time) -> bool {
        self.drain_answers(now);
        self.shard.continue_replays(&mut self.encoder);
        self.drain_events();
        let more = self.shard.end_turn(now, &mut self.encoder);
        self.drain_events();
        while let Some(id) = self.shard.poll_overflowed() {
            self.disconnect(id, &Disconnect::SLOW_CONSUMER);
        }
        self.obey_controls(now);
        self.drain_answers(now);
        more
    }

    /// Whether an outbox that was drained lets a replay go on: call [`end_turn`](Self::end_turn).
    pub fn wants_turn(&self) -> bool {
        self.shard.has_replay_with_room()
    }

    /// The same of the one session whose outbox was drained.
    pub fn goes_on(&self, id: SubscriberId) -> bool {
        self.shard.goes_on_with_room(id)
    }

    /// The next session with something to write or to close.
    pub fn poll_dirty(&mut self) -> Option<SubscriberId> {
        self.shard.poll_dirty()
    }

    /// A session's outbox, to be drained into its socket.
    pub fn outbox(&mut self, id: SubscriberId) -> Option<&mut Outbox> {
        self.shard.outbox(id)
    }

    /// The same of a session that is not ending and for which nothing waits for room in its outbox: it need not be looked at otherwise.
    #[inline]
    pub fn usual_outbox(&mut self, id: SubscriberId) -> Option<&mut Outbox> {
        self.shard.usual_outbox(id)
    }

    /// Takes what waits for a session's transport, at least one block and no more after `bytes_max`, as its dialect sends it. Then look whether it is
    /// [`closing`](Self::closing): some dialects end with what goes out.
    pub fn take_output(&mut self, id: SubscriberId, bytes_max: usize, out: &mut VecDeque<Bytes>) {
        let Some(session) = self.sessions.get_mut(id.slot as usize).and_then(Option::as_deref_mut) else { return };
        let Some(outbox) = self.shard.outbox(id).filter(|_| session.id() == id) else { return };
        let mut taken = 0;
        let mut end = None;
        while taken < bytes_max
            && let Some(encoded) = outbox.pop()
        {
            taken += encoded.len();
            end = session.dialect.transmit(encoded.into_bytes(), out);
            if end.is_some() {
                break;
            }
        }
        if end.is_none() && outbox.is_empty() {
            end = session.dialect.finish(out);
        }
        if end.is_some() && session.closing.is_none() {
            session.closing = end.map(Box::new);
            self.timers.set(id.slot, &mut session.timer, Deadline::NEVER);
            self.shard.give_up(id);
        }
    }

    /// Ends all sessions of an application.
    pub fn end_app(&mut self, app: &AppId, disconnect: &Disconnect) {
        for slot in 0..self.sessions.len() {
            let place = self.sessions.get_mut(slot);
            let Some(mut session) = place.and_then(|place| place.take_if(|session| session.app.id == *app)) else {
                continue;
            };
            self.end(&mut session, disconnect);
            self.put_back(session);
        }
    }

    /// Sessions now.
    pub fn len(&self) -> usize {
        self.gauges.sessions.iter().sum::<u64>() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counters and gauges.
    pub fn stats(&self) -> SessionStats {
        SessionStats {
            sessions: self.gauges.sessions,
            subscriptions: self.gauges.subscriptions,
            hub: self.shard.stats(),
            ..self.stats
        }
    }

    /// What waits here now. It looks at every session.
    pub fn backlog(&self) -> Backlog {
        self.shard.backlog()
    }

    /// Channels with subscribers on this shard.
    pub fn local_channels(&self) -> usize {
        self.shard.local_channels()
    }

    /// The name of a session.
    pub fn name(&self, id: SubscriberId) -> Option<SessionId> {
        self.get(id).map(|session| session.name)
    }

    pub(crate) fn resume(&mut self, session: &mut Session) {
        if session.paused && !session.must_wait() {
            session.paused = false;
            self.resumed.push(session.id());
        }
    }

    pub(crate) fn drain_answers(&mut self, now: Time) {
        while let Some((caller, op, outcome)) = self.shard.poll_answer() {
            match caller {
                Caller::External(ticket) => self.external.push_back((ticket, outcome)),
                Caller::Subscriber(id) => {
                    if matches!(outcome, Outcome::Subscribed { .. }) {
                        // What its patterns show of the channel from before that comes before the answer.
                        self.shard.deliver_to_watchers(now, &mut self.encoder);
                    }
                    let Some(mut session) = self.take(id) else { continue };
                    session.pending = session.pending.saturating_sub(1);
                    session.held &= session.pending > 0;
                    if let Outcome::Rejected(_) = outcome {
                        self.forget_refused(now, &mut session, op);
                    }
                    match op {
                        OWN => {}
                        WATCH => self.tell_watched(&mut session, &outcome),
                        op => self.answer(&mut session, op, &outcome),
                    }
                    if session.leaving && session.pending == 0 {
                        let going_away = self.going_away(&session);
                        self.end(&mut session, &going_away);
                    }
                    self.resume(&mut session);
                    self.put_back(session);
                }
            }
        }
    }

    /// A subscription that the hub refused is none.
    fn forget_refused(&mut self, _: Time, session: &mut Session, op: OpId) {
        self.stats.rejects += 1;
        session.channels.retain(|known| known.asked != op || op == OWN);
        self.count_subscriptions(session);
    }

    fn drain_events(&mut self) {
        while let Some((id, event)) = self.shard.poll_event() {
            let Some(mut session) = self.take(id) else { continue };
            match &event {
                Event::Gap { channel, from, to } => {
                    // No protocol ends for it.
                    let encoded = self.encode(&mut session, |session, out| {
                        let _: Option<Disconnect> = session.dialect.on_event(&event, out);
                    });
                    self.shard.push_gap(id, channel, (*from, *to), encoded);
                }
                event => _ = self.tell(&mut session, event),
            }
            self.put_back(session);
        }
    }

    pub(crate) fn answer(&mut self, session: &mut Session, op: OpId, outcome: &Outcome) {
        let mut end = None;
        self.write(session, |session, out| end = session.dialect.answer(op, outcome, out));
        if let Some(disconnect) = end {
            self.end(session, &disconnect);
        }
    }

    pub(crate) fn count_reject(&mut self) {
        self.stats.rejects += 1;
    }

    pub(crate) fn count_subscriptions(&mut self, session: &Session) {
        self.gauges.set_subscriptions(session.id(), session.channels.len());
    }

    /// Lets the dialect write, and puts what it wrote into the outbox.
    pub(crate) fn write(
        &mut self,
        session: &mut Session,
        write: impl FnOnce(&mut Session, &mut switchboard_dialects::Writer<'_>),
    ) {
        if let Some(encoded) = self.encode(session, write) {
            self.shard.push(session.id(), encoded);
        }
    }

    /// Lets the dialect write; `None` if it has nothing to say, or the session is over.
    pub(crate) fn encode(
        &mut self,
        session: &mut Session,
        write: impl FnOnce(&mut Session, &mut switchboard_dialects::Writer<'_>),
    ) -> Option<Encoded> {
        if session.closing.is_some() {
            return None;
        }
        let mut out = core::mem::take(&mut self.out);
        out.clear();
        if let Some(mut writer) = self.encoder.writer(session.framing, &mut out) {
            write(session, &mut writer);
        }
        // A copy of its own: a slice of a shared buffer would keep all of it alive for as long as one client does not read.
        let encoded = (!out.is_empty()).then(|| Encoded::new(Bytes::copy_from_slice(&out)));
        self.out = out;
        encoded
    }

    pub(crate) fn end(&mut self, session: &mut Session, disconnect: &Disconnect) {
        if session.closing.is_some() {
            return;
        }
        self.shard.reopen_for_last_words(session.id());
        let mut told = disconnect.clone();
        self.write(session, |session, out| told = session.dialect.on_disconnect(disconnect, out));
        self.shard.mark_dirty(session.id());
        self.shard.give_up(session.id());
        session.closing = Some(Box::new(told));
    }

    fn get(&self, id: SubscriberId) -> Option<&Session> {
        self.sessions.get(id.slot as usize)?.as_deref().filter(|session| session.id() == id)
    }

    /// A session is taken out while it is worked on, so that it and the rest can both be changed.
    pub(crate) fn take(&mut self, id: SubscriberId) -> Option<Box<Session>> {
        self.sessions.get_mut(id.slot as usize)?.take_if(|session| session.id() == id)
    }

    pub(crate) fn put_back(&mut self, mut session: Box<Session>) {
        let slot = session.id().slot;
        let next = if session.closing.is_some() { Deadline::NEVER } else { session.deadlines.next() };
        self.timers.set(slot, &mut session.timer, next);
        let index = slot as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sessions.get_mut(index) {
            *place = Some(session);
        }
    }
}

/// What a client that asks too fast is told.
const SLOW_DOWN: &str = "Server overloaded, please slow down";
