//! The client as a pure state machine: what happens goes in, what to do comes out. It owns every decision: when to connect, what to send, what
//! a close means, from where a subscription resumes. It has no socket, no clock and no randomness; time is an argument, and a seed is given once.
//!
//! ```
//! use switchboard_client::core::{Core, Output, Tokens, Wanted};
//! use switchboard_client::{Config, ConnectionEvent, ws::proto::Time};
//!
//! let now = Time::ZERO;
//! let mut core = Core::new(Config::default(), Tokens::None, 1);
//! core.subscribe(Wanted::channel("room:lobby"))?;
//! core.connect(now);
//! assert!(matches!(core.poll_output(), Some(Output::Connection(ConnectionEvent::Connecting))));
//! assert!(matches!(core.poll_output(), Some(Output::Connect { token: None })));
//! core.on_connected(now);
//! core.receive(now, &r#"{"type":"welcome","session":"0-1","version":1,"user":"ann","heartbeat_ms":25000,"limits":{}}"#.into());
//! let frame = core.poll_transmit(now).expect("it subscribes");
//! assert_eq!(frame.as_text(), Some(r#"{"type":"subscribe","id":2,"channel":"room:lobby"}"#));
//! # Ok::<(), switchboard_client::SubscribeError>(())
//! ```
//!
//! After each input the driver takes [`poll_output`](Core::poll_output) until there is none, [`poll_transmit`](Core::poll_transmit) as far as
//! its socket takes frames, and [`poll_timeout`](Core::poll_timeout).

mod backoff;
pub(crate) mod config;
mod link;
mod output;
mod read;
mod receive;
mod requests;
mod subscriptions;
mod wanted;
mod write;

use std::collections::VecDeque;
use std::fmt;

use switchboard_ws::Message as Frame;
use switchboard_ws::proto::Time;

use crate::types::ConnectionEvent;
use crate::{Cause, Config, Ended, RequestError, SubscribeError};
use backoff::Random;
use link::{Link, Next, Refresh};
pub use output::{Answer, ConnectFailure, Output, RequestId, TokenFailure, Tokens};
use requests::{Kind, Requests};
pub use subscriptions::SubscriptionId;
use subscriptions::{State, Subscription, Subscriptions};
pub use wanted::{Name, Wanted};
pub use write::Request;

/// The state machine. See the [module](self).
///
/// ```
/// use switchboard_client::core::{Core, Tokens};
///
/// let core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
/// assert!(core.ended().is_none());
/// ```
pub struct Core {
    config: Config,
    tokens: Tokens,
    random: Random,
    link: Link,
    /// Attempts in a row that did not last.
    attempt: u32,
    /// 401s in a row.
    unauthorized: u32,
    refresh: Refresh,
    /// Until when closing waits for answers.
    closing: Option<Time>,
    /// The largest frame that the server takes.
    bytes_max: usize,
    requests: Requests,
    subscriptions: Subscriptions,
    control: VecDeque<Control>,
    ids: u64,
    output: VecDeque<Output>,
}

/// What is sent before any request. At most a few for each subscription that the server knows.
#[derive(Debug)]
enum Control {
    Subscribe(SubscriptionId),
    Unsubscribe(Name),
    Authenticate(String),
    Ping,
}

impl fmt::Debug for Core {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the tokens, nor what the application publishes.
        let mut core = formatter.debug_struct("Core");
        core.field("link", &self.link).field("attempt", &self.attempt).field("closing", &self.closing);
        core.finish_non_exhaustive()
    }
}

impl Core {
    /// `seed` is random: it spreads the reconnections of many clients.
    ///
    /// ```
    /// # use switchboard_client::core::{Core, Tokens};
    /// let core = Core::new(switchboard_client::Config::default(), Tokens::Fixed("TOKEN".into()), 7);
    /// ```
    pub fn new(config: Config, tokens: Tokens, seed: u64) -> Self {
        Self {
            config,
            tokens,
            random: Random::new(seed),
            link: Link::Idle,
            attempt: 0,
            unauthorized: 0,
            refresh: Refresh::None,
            closing: None,
            bytes_max: usize::MAX,
            requests: Requests::default(),
            subscriptions: Subscriptions::default(),
            control: VecDeque::new(),
            ids: 0,
            output: VecDeque::new(),
        }
    }

    /// Begins, or does not wait any longer for the next attempt (the network has come back, say). Otherwise it changes nothing.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// core.connect(Time::ZERO);
    /// assert!(core.poll_output().is_some());
    /// ```
    pub fn connect(&mut self, now: Time) {
        if matches!(self.link, Link::Idle | Link::Waiting { .. }) {
            self.begin(now);
        }
    }

    /// A token, or none.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::Fresh, 7);
    /// # core.connect(Time::ZERO);
    /// core.on_token(Time::ZERO, Ok("TOKEN".into()));
    /// ```
    pub fn on_token(&mut self, now: Time, token: Result<String, TokenFailure>) {
        match (&self.link, &self.refresh, token) {
            (Link::FetchingToken { .. }, _, Ok(token)) => {
                self.link = Link::Connecting;
                self.output.push_back(Output::Connect { token: Some(token) });
            }
            (Link::FetchingToken { .. }, _, Err(TokenFailure::Temporary(why))) => {
                self.lose(now, Cause::Token(why), Next::Backoff);
            }
            (Link::FetchingToken { .. }, _, Err(TokenFailure::Final(why))) => {
                self.lose(now, Cause::Token(why.clone()), Next::End(Ended::NoToken(why)));
            }
            (Link::Online(_), Refresh::Fetching { attempt, .. }, Ok(token)) => {
                self.refresh = Refresh::Authenticating { attempt: *attempt };
                self.control.push_back(Control::Authenticate(token));
            }
            // The server ends the connection when the old token expires; until then it may be used.
            (Link::Online(_), Refresh::Fetching { .. }, Err(TokenFailure::Final(why))) => {
                self.refresh = Refresh::None;
                self.output.push_back(Output::Connection(ConnectionEvent::RefreshFailed(why)));
            }
            (Link::Online(_), Refresh::Fetching { attempt, .. }, Err(TokenFailure::Temporary(why))) => {
                let attempt = *attempt;
                self.retry_refresh(now, attempt, why);
            }
            // Too late.
            _ => {}
        }
    }

    /// The WebSocket is open.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// # core.connect(Time::ZERO);
    /// core.on_connected(Time::ZERO);
    /// assert!(core.poll_timeout().is_some(), "the server must say welcome in time");
    /// ```
    pub fn on_connected(&mut self, now: Time) {
        if matches!(self.link, Link::Connecting) {
            self.link = Link::Greeting { deadline: now + self.config.welcome_timeout };
        }
    }

    /// There is no WebSocket.
    ///
    /// ```
    /// # use switchboard_client::{core::{ConnectFailure, Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// # core.connect(Time::ZERO);
    /// core.on_connect_failed(Time::ZERO, ConnectFailure::Temporary("connection refused".into()));
    /// assert!(core.poll_timeout().is_some(), "it tries again");
    /// ```
    pub fn on_connect_failed(&mut self, now: Time, failure: ConnectFailure) {
        if !matches!(self.link, Link::Connecting) {
            return;
        }
        match failure {
            ConnectFailure::Temporary(why) => self.lose(now, Cause::Connect(why), Next::Backoff),
            ConnectFailure::Final(why) => {
                self.lose(now, Cause::Connect(why.clone()), Next::End(Ended::CannotConnect(why)));
            }
            ConnectFailure::Unauthorized(why) => {
                self.unauthorized += 1;
                // A fresh token may be better. One that was just made and is refused again and again is not.
                let hopeless = self.tokens != Tokens::Fresh || self.unauthorized >= UNAUTHORIZED_MAX;
                let next = if hopeless { Next::End(Ended::Unauthorized(why.clone())) } else { Next::Backoff };
                self.lose(now, Cause::Connect(why), next);
            }
        }
    }

    /// The connection has ended: with the code and reason of the server's Close, or without a word and why.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// # core.connect(Time::ZERO);
    /// # core.on_connected(Time::ZERO);
    /// core.on_closed(Time::ZERO, Some(4003), "disconnected by the application");
    /// assert!(core.ended().is_some(), "4003 means: do not come back");
    /// ```
    pub fn on_closed(&mut self, now: Time, code: Option<u16>, reason: &str) {
        if !matches!(self.link, Link::Greeting { .. } | Link::Online(_)) {
            return;
        }
        match code {
            Some(code) => {
                let next = self.after_close(code, reason);
                self.lose(now, Cause::ByServer { code, reason: reason.into() }, next);
            }
            None => self.lose(now, Cause::Lost(reason.into()), Next::Backoff),
        }
    }

    /// Subscribes to a channel or a pattern, now or as soon as there is a connection. [`Output::Subscribed`] tells the first answer; later
    /// connections subscribe again by themselves.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time, Position};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// use switchboard_client::core::Wanted;
    ///
    /// core.subscribe(Wanted { since: Some(Position::new("e1", 7)), ..Wanted::channel("scores") })?;
    /// assert!(core.subscribe(Wanted::channel("scores")).is_err(), "one for each channel");
    /// # Ok::<(), switchboard_client::SubscribeError>(())
    /// ```
    ///
    /// # Errors
    /// [`SubscribeError::Ended`], [`SubscribeError::AlreadySubscribed`], and [`SubscribeError::Refused`] for names that no channel can have.
    pub fn subscribe(&mut self, wanted: Wanted) -> Result<SubscriptionId, SubscribeError> {
        self.check_open()?;
        // The server's word on patterns comes soon enough.
        let position = match &wanted.name {
            Name::Channel(channel) => {
                write::check_channel(channel).map_err(SubscribeError::Refused)?;
                wanted.since.clone()
            }
            Name::Pattern(_) => None,
        };
        let id = SubscriptionId(self.next_id());
        let subscription =
            Subscription { wanted, state: State::Detached, position, replay_end: None, attempt: 0, told: false };
        if !self.subscriptions.insert(id, subscription) {
            return Err(SubscribeError::AlreadySubscribed);
        }
        self.ask_for(id);
        Ok(id)
    }

    /// Ends a subscription. It says nothing more.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens, Wanted}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// let scores = core.subscribe(Wanted::channel("scores"))?;
    /// core.unsubscribe(scores);
    /// core.subscribe(Wanted::channel("scores"))?;
    /// # Ok::<(), switchboard_client::SubscribeError>(())
    /// ```
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.remove(id) else { return };
        self.control.retain(|control| !matches!(control, Control::Subscribe(other) if *other == id));
        if matches!(subscription.state, State::Asked(_) | State::Live) {
            self.control.push_back(Control::Unsubscribe(subscription.wanted.name));
        }
    }

    /// The reader of a subscription has fallen behind: nothing more is taken for it.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens, Wanted}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// # let scores = core.subscribe(Wanted::channel("scores"))?;
    /// core.fall_behind(scores);
    /// core.catch_up(scores);
    /// # Ok::<(), switchboard_client::SubscribeError>(())
    /// ```
    pub fn fall_behind(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get(id) else { return };
        let was = std::mem::replace(&mut subscription.state, State::Behind);
        subscription.replay_end = None;
        let name = subscription.wanted.name.clone();
        self.control.retain(|control| !matches!(control, Control::Subscribe(other) if *other == id));
        if matches!(was, State::Asked(_) | State::Live) {
            self.control.push_back(Control::Unsubscribe(name));
        }
    }

    /// The reader has room again: the subscription resumes behind what was handed over.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens, Wanted}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// # let scores = core.subscribe(Wanted::channel("scores"))?;
    /// core.fall_behind(scores);
    /// core.catch_up(scores);
    /// # Ok::<(), switchboard_client::SubscribeError>(())
    /// ```
    pub fn catch_up(&mut self, id: SubscriptionId) {
        if let Some(subscription) = self.subscriptions.get(id)
            && subscription.state == State::Behind
        {
            subscription.state = State::Detached;
            self.ask_for(id);
        }
    }

    /// Asks the server for something, now or when there is a connection. [`Output::Answer`] tells the answer, or why there is none.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Request, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// core.request(Time::ZERO, &Request::Presence { channel: "room:lobby".into(), limit: None })?;
    /// # Ok::<(), switchboard_client::RequestError>(())
    /// ```
    ///
    /// # Errors
    /// [`RequestError::QueueFull`], [`RequestError::TooLarge`], [`RequestError::Json`], [`RequestError::Ended`].
    pub fn request(&mut self, now: Time, request: &Request) -> Result<RequestId, RequestError> {
        self.check_open()?;
        let id = self.next_id();
        let frame = write::request(id, request)?;
        let kind = match request {
            Request::Publish { idempotency_key, .. } => Kind::Publish { once: idempotency_key.is_some() },
            Request::Signal { .. } => Kind::Signal,
            Request::Presence { .. } => Kind::Presence,
            Request::History { channel, .. } => Kind::History { channel: channel.as_str().into() },
        };
        if matches!(self.link, Link::Online(_)) && frame.len() > self.bytes_max {
            return Err(RequestError::TooLarge { bytes: frame.len(), bytes_max: self.bytes_max });
        }
        for dropped in self.requests.push(&self.config, now, id, kind, frame)? {
            self.answer(dropped, Err(RequestError::Dropped));
        }
        Ok(RequestId(id))
    }

    /// Closes: takes no more requests, sends what waits, waits for the answers, and says goodbye; within
    /// [`close_timeout`](Config::close_timeout). Without a connection it ends at once, and what waits is not sent.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Request, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// core.close(Time::ZERO);
    /// assert_eq!(core.ended(), Some(&switchboard_client::Ended::Closed));
    /// ```
    pub fn close(&mut self, now: Time) {
        match self.link {
            Link::Ended(_) => {}
            Link::Online(_) if self.closing.is_none() => self.closing = Some(now + self.config.close_timeout),
            Link::Online(_) => {}
            _ => {
                if !matches!(self.link, Link::Idle | Link::Waiting { .. }) {
                    self.output.push_back(Output::Abort);
                }
                self.end(Ended::Closed);
            }
        }
    }

    /// The next frame to send, if there is one and the server may be sent it now.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// assert!(core.poll_transmit(Time::ZERO).is_none(), "there is no connection");
    /// ```
    pub fn poll_transmit(&mut self, now: Time) -> Option<Frame> {
        if !matches!(self.link, Link::Online(_)) {
            return None;
        }
        while let Some(control) = self.control.pop_front() {
            if let Some(frame) = self.control_frame(now, control) {
                return Some(frame);
            }
        }
        while let Some(next) = self.requests.next(&self.config, now, self.bytes_max) {
            match next {
                Ok(frame) => return Some(frame),
                Err((id, error)) => self.answer(id, Err(error)),
            }
        }
        if self.closing.is_some() && self.requests.is_idle() {
            self.say_goodbye();
        }
        None
    }

    fn control_frame(&mut self, now: Time, control: Control) -> Option<Frame> {
        match control {
            Control::Subscribe(subscription_id) => {
                let id = self.next_id();
                let subscription = self.subscriptions.get(subscription_id)?;
                if subscription.state != State::Detached {
                    return None;
                }
                let since = subscription.position.as_ref();
                let frame = write::subscribe(id, &subscription.wanted, since).ok()?;
                subscription.state = State::Asked(id);
                self.requests.sent(&self.config, now, id, Kind::Subscribe(subscription_id));
                Some(frame)
            }
            Control::Unsubscribe(name) => write::unsubscribe(&name).ok(),
            Control::Authenticate(token) => {
                let id = self.next_id();
                self.requests.sent(&self.config, now, id, Kind::Authenticate);
                write::authenticate(id, &token).ok()
            }
            Control::Ping => Some(write::ping()),
        }
    }

    /// What to do and what to tell, in order.
    ///
    /// ```
    /// # use switchboard_client::core::{Core, Tokens};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// assert!(core.poll_output().is_none());
    /// ```
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something else happens before.
    ///
    /// ```
    /// # use switchboard_client::core::{Core, Tokens};
    /// # let core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// assert!(core.poll_timeout().is_none());
    /// ```
    pub fn poll_timeout(&self) -> Option<Time> {
        let link = match &self.link {
            Link::Idle | Link::Connecting | Link::Ended(_) => None,
            Link::FetchingToken { deadline } | Link::Greeting { deadline } => Some(*deadline),
            Link::Waiting { until } => Some(*until),
            Link::Online(online) => Some(self.silence_ends(online)),
        };
        let online = matches!(self.link, Link::Online(_));
        let refresh = match self.refresh {
            Refresh::Fetching { deadline, .. } => Some(deadline),
            Refresh::Waiting { until, .. } => Some(until),
            Refresh::None | Refresh::Authenticating { .. } => None,
        };
        let subscriptions = if online { self.subscriptions.poll_timeout() } else { None };
        [link, refresh, subscriptions, self.closing, self.requests.poll_timeout()].into_iter().flatten().min()
    }

    /// Time has passed.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, ws::proto::Time};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// core.handle_timeout(Time::from_micros(1));
    /// ```
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.requests.expire_queued(now) {
            self.answer(id, Err(RequestError::NotSent));
        }
        while let Some(sent) = self.requests.expire_sent(now) {
            self.on_no_answer(now, sent.id, &sent.kind);
        }
        if self.closing.is_some_and(|deadline| deadline <= now) {
            self.say_goodbye();
        }
        match &mut self.link {
            Link::FetchingToken { deadline } if *deadline <= now => {
                self.lose(now, Cause::Token("the callback does not answer".into()), Next::Backoff);
            }
            Link::Greeting { deadline } if *deadline <= now => {
                self.output.push_back(Output::Abort);
                self.lose(now, Cause::NoAnswer, Next::Backoff);
            }
            Link::Waiting { until } if *until <= now => self.begin(now),
            Link::Online(_) => self.handle_timeout_online(now),
            _ => {}
        }
    }

    /// Why there will be no further attempt.
    ///
    /// ```
    /// # use switchboard_client::core::{Core, Tokens};
    /// # let core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// assert!(core.ended().is_none());
    /// ```
    pub fn ended(&self) -> Option<&Ended> {
        match &self.link {
            Link::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// There is nobody to drive this any more: the runtime is gone.
    ///
    /// ```
    /// # use switchboard_client::{core::{Core, Tokens}, Ended};
    /// # let mut core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// core.abandon();
    /// assert_eq!(core.ended(), Some(&Ended::Runtime));
    /// ```
    pub fn abandon(&mut self) {
        if self.ended().is_none() {
            self.end(Ended::Runtime);
        }
    }

    /// Whether requests are sent at once.
    ///
    /// ```
    /// # use switchboard_client::core::{Core, Tokens};
    /// # let core = Core::new(switchboard_client::Config::default(), Tokens::None, 7);
    /// assert!(!core.is_online());
    /// ```
    pub fn is_online(&self) -> bool {
        matches!(self.link, Link::Online(_))
    }

    /// Asks the server for a subscription, if it can be asked; if not, it is when it can.
    fn ask_for(&mut self, id: SubscriptionId) {
        if self.is_online() {
            self.control.push_back(Control::Subscribe(id));
        }
    }

    fn answer(&mut self, id: u64, result: Result<Answer, RequestError>) {
        self.output.push_back(Output::Answer { id: RequestId(id), result });
    }

    fn check_open(&self) -> Result<(), Ended> {
        match &self.link {
            Link::Ended(ended) => Err(ended.clone()),
            _ if self.closing.is_some() => Err(Ended::Closed),
            _ => Ok(()),
        }
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }
}

/// Fresh tokens that the server may refuse in a row.
const UNAUTHORIZED_MAX: u32 = 3;
