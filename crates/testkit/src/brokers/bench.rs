//! A broker on the bench: it is driven as a shard would, its requests go to the backend and back, and its clock stands until somebody lets time pass.
//!
//! Knows no broker, and not what is right.

use core::time::Duration;
use std::sync::Arc;
use switchboard_core::{
    App, AppId, CacheRequest, ChannelName, ChannelOptions, ClientInfo, OpId, Payload, Position, Publication, Publish,
    ReadFrom, Since, Time, UserId,
};
use switchboard_hub::{
    Broker, BrokerEvent, Caller, ChannelKey, History, HistoryLost, Load, PublishRequest, Read, ReturnAddress, ShardId,
    Slice,
};

/// A broker with its backend, as a factory makes it for each test.
pub struct Rig<B: Broker> {
    /// The broker, with nothing in it.
    pub broker: B,
    /// Answers a request, at once or together with later ones.
    pub backend: Box<dyn FnMut(B::Request) -> Vec<B::Reply>>,
    /// Ends the broker as a crash would, and starts it again on what its backend has.
    pub reopen: Box<dyn FnMut(B) -> B>,
}

impl<B: Broker> core::fmt::Debug for Rig<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rig").field("broker", &self.broker).finish_non_exhaustive()
    }
}

/// A publication to be.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    channel: String,
    text: String,
    id: Option<String>,
    at: Option<Since>,
    by: Option<String>,
    cache: CacheRequest,
}

impl Ask {
    pub(super) fn new(channel: &str) -> Self {
        let cache = CacheRequest::ByOptions;
        Self { channel: channel.to_owned(), text: "x".to_owned(), id: None, at: None, by: None, cache }
    }

    pub(super) fn text(self, text: &str) -> Self {
        Self { text: text.to_owned(), ..self }
    }

    pub(super) fn id(self, id: &str) -> Self {
        Self { id: Some(id.to_owned()), ..self }
    }

    pub(super) fn at(self, at: Position) -> Self {
        Self { at: Some(Since::Position(at)), ..self }
    }

    /// It demands no place, to be told which there is.
    pub(super) fn at_unknown(self) -> Self {
        Self { at: Some(Since::Unknown), ..self }
    }

    pub(super) fn by(self, user: &str) -> Self {
        Self { by: Some(user.to_owned()), ..self }
    }

    pub(super) fn cache(self, cache: CacheRequest) -> Self {
        Self { cache, ..self }
    }
}

/// What became of one.
#[derive(Clone, Debug)]
pub(super) struct Told {
    conditional: bool,
    event: BrokerEvent,
}

impl Told {
    pub(super) fn made(self) -> Option<Arc<Publication>> {
        match self.event {
            BrokerEvent::Published { publication, .. } => Some(publication),
            _ => None,
        }
    }

    pub(super) fn published(&self) -> Arc<Publication> {
        self.clone().made().unwrap_or_else(|| panic!("not published: {self:?}"))
    }

    pub(super) fn duplicate(&self) -> Position {
        let BrokerEvent::Duplicate { position, .. } = self.event else { panic!("no duplicate: {self:?}") };
        position
    }

    pub(super) fn conflict(&self) -> Position {
        let BrokerEvent::Refused { reject, .. } = &self.event else { panic!("no conflict: {self:?}") };
        assert_eq!(reject.code.as_str(), "conflict");
        reject.position.expect("a conflict says where the channel is")
    }

    pub(super) fn is_unconditional(&self) -> bool {
        !self.conditional
    }
}

pub(super) struct Bench<B: Broker> {
    broker: Option<B>,
    backend: Box<dyn FnMut(B::Request) -> Vec<B::Reply>>,
    reopen: Box<dyn FnMut(B) -> B>,
    pub(super) now: Time,
    pub(super) options: ChannelOptions,
}

impl<B: Broker + History> Bench<B> {
    pub(super) fn new(rig: Rig<B>) -> Self {
        let Rig { broker, backend, reopen } = rig;
        let now = Time::from_secs(1_700_000_000);
        Self { broker: Some(broker), backend, reopen, now, options: ChannelOptions::default() }
    }

    pub(super) fn broker(&mut self) -> &mut B {
        self.broker.as_mut().expect("a broker")
    }

    /// Carries requests and replies until there are none.
    pub(super) fn settle(&mut self) {
        while let Some(request) = self.broker().poll_request() {
            let now = self.now;
            for reply in (self.backend)(request) {
                self.broker().handle_reply(now, reply);
            }
        }
        assert!(!self.broker().is_congested(), "congested although nothing is on its way");
    }

    pub(super) fn publish(&mut self, ask: Ask) -> Told {
        let mut told = self.publish_all(vec![ask]);
        assert_eq!(told.len(), 1, "{told:?}");
        told.remove(0).1
    }

    /// All are asked before the backend answers any. One event each.
    pub(super) fn publish_all(&mut self, asks: Vec<Ask>) -> Vec<(OpId, Told)> {
        let conditional: Vec<bool> = asks.iter().map(|ask| ask.at.is_some()).collect();
        let app = Arc::new(App { channels: self.options.clone().into(), ..App::new(AppId::new("app")) });
        for (n, ask) in asks.into_iter().enumerate() {
            let op = OpId(n as u64);
            let origin = ReturnAddress { shard: ShardId(0), caller: Caller::External(7), op, bytes: 0 };
            let publish = Publish {
                id: ask.id.map(Into::into),
                if_position: ask.at,
                cache: ask.cache,
                ..Publish::new(Payload::Text(ask.text.into()))
            };
            let publisher = ask.by.map(|user| ClientInfo { user: UserId::parse(&user).expect("a user") });
            let (key, app) = (key(&ask.channel), Arc::clone(&app));
            let request = PublishRequest { key, app, publish, publisher, exclude: None, origin: Some(origin) };
            let now = self.now;
            self.broker().publish(now, request);
        }
        self.settle();
        let mut told = Vec::new();
        while let Some(event) = self.broker().poll_event() {
            let (BrokerEvent::Published { origin, .. }
            | BrokerEvent::Duplicate { origin, .. }
            | BrokerEvent::Refused { origin, .. }) = &event
            else {
                continue;
            };
            let op = origin.expect("the request's own").op;
            let conditional = *conditional.get(op.0 as usize).expect("an answer to a question");
            told.push((op, Told { conditional, event }));
        }
        assert_eq!(told.len(), conditional.len(), "{told:?}");
        told
    }

    fn load(&mut self, channel: &str) {
        let now = self.now;
        if self.broker().load(now, &key(channel)) == Load::Pending {
            self.settle();
            let loaded = core::iter::from_fn(|| self.broker().poll_event()).any(
                |event| matches!(event, BrokerEvent::Loaded { key: loaded, result: Ok(()) } if loaded == key(channel)),
            );
            assert!(loaded, "{channel} was not loaded");
        }
    }

    pub(super) fn retain(&mut self, channel: &str) -> Position {
        self.load(channel);
        self.broker().retain(&key(channel))
    }

    pub(super) fn position(&mut self, channel: &str) -> Position {
        self.load(channel);
        self.broker().position(&key(channel))
    }

    /// The text of the channel's cached value.
    pub(super) fn cached(&mut self, channel: &str) -> Option<String> {
        self.load(channel);
        let now = self.now;
        match &self.broker().cached(now, &key(channel))?.payload {
            Payload::Text(text) => Some(text.to_string()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn read(
        &mut self,
        channel: &str,
        from: ReadFrom,
        limit: usize,
        bytes: usize,
    ) -> Result<Slice, HistoryLost> {
        self.load(channel);
        let now = self.now;
        let slice = self.broker().read(now, &key(channel), Read { from, limit, bytes })?;
        assert!(slice.publications.len() <= limit && offsets(&slice).is_sorted(), "{slice:?}");
        let cost: usize = slice.publications.iter().map(|publication| publication.cost()).sum();
        assert!(cost <= bytes || slice.publications.len() == 1, "{cost} bytes where {bytes} were asked for");
        Ok(slice)
    }

    pub(super) fn after(&mut self, channel: &str, position: Position) -> Result<Slice, HistoryLost> {
        self.read(channel, ReadFrom::After(Since::Position(position)), usize::MAX, usize::MAX)
    }

    pub(super) fn latest(&mut self, channel: &str) -> Vec<u64> {
        offsets(&self.read(channel, ReadFrom::Latest, usize::MAX, usize::MAX).expect("the latest are there"))
    }

    /// Time passes, and the broker is called when it wants to be.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.broker().poll_timeout().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            let now = self.now;
            self.broker().handle_timeout(now);
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn reopen(&mut self) {
        let broker = self.broker.take().expect("a broker");
        self.broker = Some((self.reopen)(broker));
    }
}

pub(super) fn key(channel: &str) -> ChannelKey {
    ChannelKey::new(AppId::new("app"), ChannelName::parse(channel).expect("a name"))
}

pub(super) fn offsets(slice: &Slice) -> Vec<u64> {
    slice.publications.iter().map(|publication| publication.position.offset).collect()
}
