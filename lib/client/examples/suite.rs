//! The client as an adapter of the client protocol suite: orders come in, one JSON object a line, and what the client tells goes out. What they
//! are is in conformance/client/README.md.
#![allow(clippy::print_stdout)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::FutureExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use switchboard_client::{
    Cache, Cause, Client, Config, ConnectionEvent, Data, Ended, Message, Position, QueueOverflow, Receiver,
    RequestError, Subscribe, SubscribeError, Subscription, SubscriptionEvent, TokenError, Unsubscribed, User,
};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Order {
    op: String,
    #[serde(rename = "ref")]
    name_of_it: String,
    url: String,
    config: Map<String, Value>,
    token: Option<String>,
    tokens: Vec<Token>,
    channel: String,
    pattern: Option<String>,
    since: Option<Position>,
    before: Option<Position>,
    limit: Option<u32>,
    presence: bool,
    rate: Option<u32>,
    cached: bool,
    hold: bool,
    data: Value,
    bytes: Option<String>,
    name: Option<String>,
    user: Option<String>,
    session: Option<String>,
    key: Option<String>,
    exclude_self: bool,
    idempotency_key: Option<String>,
    if_position: Option<Position>,
    cache: Option<String>,
}

/// What the callback for tokens answers.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
enum Token {
    Good(String),
    Bad { temporary: Option<String>, denied: Option<String> },
}

/// One transcript's client and what it is asked to do.
#[derive(Default)]
struct Stage {
    client: Option<Client>,
    subscriptions: HashMap<String, (JoinHandle<()>, Arc<Notify>)>,
    tasks: Vec<JoinHandle<()>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    let mut stage = Stage::default();
    while let Some(line) = lines.next_line().await? {
        stage.obey(serde_json::from_str(&line).with_context(|| line.clone())?).await?;
        say(&json!({"event": "done"}));
    }
    Ok(())
}

fn say(event: &Value) {
    println!("{event}");
}

impl Stage {
    async fn obey(&mut self, order: Order) -> Result<()> {
        match &*order.op {
            "start" => self.start(order),
            "stop" => {
                let subscriptions = self.subscriptions.drain().map(|(_, (task, _))| task);
                for task in subscriptions.chain(self.tasks.drain(..)) {
                    stop(task).await;
                }
                self.client = None;
                Ok(())
            }
            "close" => {
                // It goes on when the future is dropped.
                let _ = Box::pin(self.client()?.close()).now_or_never();
                Ok(())
            }
            "reconnect_now" => {
                self.client()?.reconnect_now();
                Ok(())
            }
            "subscribe" => self.subscribe(order),
            "read" => {
                self.subscriptions.get(&order.name_of_it).context("no such subscription")?.1.notify_one();
                Ok(())
            }
            "unsubscribe" => {
                if let Some((task, _)) = self.subscriptions.remove(&order.name_of_it) {
                    stop(task).await;
                }
                Ok(())
            }
            "publish" => self.publish(order),
            "presence" => {
                let mut asking = self.client()?.presence(order.channel);
                if let Some(limit) = order.limit {
                    asking = asking.limit(limit);
                }
                self.ask(order.name_of_it, async move {
                    let presence = asking.await?;
                    let (total, connections) = (presence.total, presence.connections);
                    Ok(json!({"users": users(&presence.users), "total": total, "connections": connections}))
                });
                Ok(())
            }
            "signal" => self.signal(order),
            "history" => self.history(order),
            other => bail!("there is no order {other:?}"),
        }
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().context("there is no client")
    }

    fn start(&mut self, order: Order) -> Result<()> {
        let mut builder = Client::builder(order.url).config(config(&order.config)?);
        if let Some(token) = order.token {
            builder = builder.token(token);
        }
        if !order.tokens.is_empty() {
            let (tokens, next) = (order.tokens, AtomicUsize::new(0));
            builder = builder.token_from(move || {
                let token = tokens.get(next.fetch_add(1, Ordering::Relaxed)).cloned();
                async move { fresh(token) }
            });
        }
        let client = builder.connect()?;
        let mut events = client.events();
        self.tasks.push(tokio::spawn(async move {
            while let Some(event) = events.next().await {
                say(&connection(&event));
            }
        }));
        self.client = Some(client);
        Ok(())
    }

    fn subscribe(&mut self, order: Order) -> Result<()> {
        let client = self.client()?;
        let mut subscribing = match &order.pattern {
            Some(pattern) => client.subscribe_pattern(pattern).into_future(),
            None => subscribe_by_name(client, &order).into_future(),
        };
        let read = Arc::new(Notify::new());
        if !order.hold {
            read.notify_one();
        }
        let may_read = Arc::clone(&read);
        let name = order.name_of_it.clone();
        // The client has the order when this is done.
        let at_once = (&mut subscribing).now_or_never();
        let task = tokio::spawn(async move {
            let result = match at_once {
                Some(result) => result,
                None => subscribing.await,
            };
            match result {
                Ok(subscription) => hand_over(&name, subscription, &may_read).await,
                Err(error) => say(&json!({"event": "refused", "ref": name, "code": refusal(&error)})),
            }
        });
        self.subscriptions.insert(order.name_of_it, (task, read));
        Ok(())
    }

    fn publish(&mut self, order: Order) -> Result<()> {
        let client = self.client()?;
        let mut publish = match order.bytes {
            Some(hex) => client.publish_bytes(order.channel, from_hex(&hex)?),
            None => client.publish(order.channel, &order.data),
        };
        if let Some(name) = order.name {
            publish = publish.event(name);
        }
        if let Some(key) = order.key {
            publish = publish.key(key);
        }
        if order.exclude_self {
            publish = publish.exclude_self();
        }
        if let Some(key) = order.idempotency_key {
            publish = publish.idempotency_key(key);
        }
        if let Some(position) = order.if_position {
            publish = publish.if_position(position);
        }
        match order.cache.as_deref() {
            Some("keep") => publish = publish.cache(Cache::Keep),
            Some("clear") => publish = publish.cache(Cache::Clear),
            Some(other) => bail!("nothing is cached by {other:?}"),
            None => {}
        }
        self.ask(order.name_of_it, async move {
            let published = publish.await?;
            Ok(json!({"position": published.position, "duplicate": published.duplicate}))
        });
        Ok(())
    }

    fn signal(&mut self, order: Order) -> Result<()> {
        let to = match (order.user, order.session) {
            (Some(user), _) => Receiver::User(user),
            (None, session) => Receiver::Session(session.context("a signal for nobody")?),
        };
        let mut signal = self.client()?.signal(order.channel, to, &order.data);
        if let Some(name) = order.name {
            signal = signal.event(name);
        }
        self.ask(order.name_of_it, async move { Ok(json!({"sessions": signal.await?})) });
        Ok(())
    }

    fn history(&mut self, order: Order) -> Result<()> {
        let mut history = self.client()?.history(order.channel);
        if let Some(since) = order.since {
            history = history.since(since);
        }
        if let Some(before) = order.before {
            history = history.before(before);
        }
        if let Some(limit) = order.limit {
            history = history.limit(limit);
        }
        self.ask(order.name_of_it, async move {
            let page = history.await?;
            let messages: Vec<Value> = page.messages.iter().map(message).collect();
            Ok(json!({"position": page.position, "messages": messages, "more": page.more}))
        });
        Ok(())
    }

    fn ask(&mut self, name: String, asking: impl Future<Output = Result<Value, RequestError>> + Send + 'static) {
        let mut asking = Box::pin(asking);
        let at_once = asking.as_mut().now_or_never();
        self.tasks.push(tokio::spawn(async move {
            let result = match at_once {
                Some(result) => result,
                None => asking.await,
            };
            let told = match result {
                Ok(answer) => with(answer, json!({"event": "answer", "ref": name})),
                Err(error) => with(failure(&error), json!({"event": "failed", "ref": name})),
            };
            say(&told);
        }));
    }
}

fn subscribe_by_name(client: &Client, order: &Order) -> Subscribe {
    let mut subscribe = client.subscribe(&order.channel).since(order.since.clone());
    if order.presence {
        subscribe = subscribe.presence();
    }
    if let Some(rate) = order.rate {
        subscribe = subscribe.rate(rate);
    }
    if order.cached { subscribe.cached() } else { subscribe }
}

async fn stop(task: JoinHandle<()>) {
    task.abort();
    // It was aborted, or had ended.
    let _ = task.await;
}

async fn hand_over(name: &str, mut subscription: Subscription, may_read: &Notify) {
    let first = subscription.subscribed();
    let told = json!({"position": first.position, "recovered": first.recovered, "users": users(&first.users)});
    say(&with(told, json!({"event": "subscribed", "ref": name})));
    may_read.notified().await;
    while let Some(event) = subscription.next().await {
        say(&with(subscription_event(&event), json!({"ref": name})));
    }
}

fn config(given: &Map<String, Value>) -> Result<Config> {
    let mut config = Config::default();
    for (name, value) in given {
        let number = value.as_u64().unwrap_or_default();
        let time = Duration::from_millis(number);
        let count = usize::try_from(number)?;
        match &**name {
            "backoff_base_ms" => config.backoff_base = time,
            "backoff_max_ms" => config.backoff_max = time,
            "stable_after_ms" => config.stable_after = time,
            "welcome_timeout_ms" => config.welcome_timeout = time,
            "request_timeout_ms" => config.request_timeout = time,
            "queue_timeout_ms" => config.queue_timeout = time,
            "queue_requests_max" => config.queue_requests_max = count,
            "queue_bytes_max" => config.queue_bytes_max = count,
            "queue_overflow" if value == "drop-oldest" => config.queue_overflow = QueueOverflow::DropOldest,
            "in_flight_max" => config.in_flight_max = count,
            "heartbeat_grace_ms" => config.heartbeat_grace = time,
            "inbox_events_max" => config.inbox_events_max = count,
            other => bail!("there is no setting {other:?}"),
        }
    }
    Ok(config)
}

fn fresh(token: Option<Token>) -> Result<String, TokenError> {
    match token {
        Some(Token::Good(token)) => Ok(token),
        Some(Token::Bad { denied: Some(why), .. }) => Err(TokenError::denied(why)),
        Some(Token::Bad { temporary, .. }) => Err(TokenError::temporary(temporary.unwrap_or_default())),
        None => Err(TokenError::temporary("there are no more tokens")),
    }
}

fn connection(event: &ConnectionEvent) -> Value {
    match event {
        ConnectionEvent::Connecting => json!({"event": "connecting"}),
        ConnectionEvent::Connected { session, user } => json!({"event": "connected", "session": session, "user": user}),
        ConnectionEvent::Disconnected { cause, retry_in } => {
            let retry_in = retry_in.as_secs_f64() * 1_000.0;
            // What is announced in whole milliseconds is told in whole milliseconds.
            let retry_in = if retry_in.fract() == 0.0 { json!(retry_in.round() as u64) } else { json!(retry_in) };
            with(why_lost(cause), json!({"event": "disconnected", "retry_in_ms": retry_in}))
        }
        ConnectionEvent::RefreshFailed(why) => json!({"event": "refresh_failed", "why": why}),
        ConnectionEvent::Ended(why) => with(why_ended(why), json!({"event": "ended"})),
        other => json!({"event": format!("{other:?}")}),
    }
}

fn why_lost(cause: &Cause) -> Value {
    match cause {
        Cause::ByServer { code, reason } => json!({"cause": "by_server", "code": code, "reason": reason}),
        Cause::Lost(why) => json!({"cause": "lost", "reason": why}),
        Cause::Connect(why) => json!({"cause": "connect", "reason": why}),
        Cause::Silent => json!({"cause": "silent"}),
        Cause::NoAnswer => json!({"cause": "no_answer"}),
        Cause::Protocol(why) => json!({"cause": "protocol", "reason": why}),
        Cause::Token(why) => json!({"cause": "token", "reason": why}),
        other => json!({"cause": format!("{other:?}")}),
    }
}

fn why_ended(ended: &Ended) -> Value {
    match ended {
        Ended::Closed => json!({"why": "closed"}),
        Ended::ByServer { code, reason } => json!({"why": "by_server", "code": code, "reason": reason}),
        Ended::Unauthorized(why) => json!({"why": "unauthorized", "reason": why}),
        Ended::NoToken(why) => json!({"why": "no_token", "reason": why}),
        Ended::CannotConnect(why) => json!({"why": "cannot_connect", "reason": why}),
        Ended::Version(version) => json!({"why": "version", "version": version}),
        other => json!({"why": format!("{other:?}")}),
    }
}

fn refusal(error: &SubscribeError) -> String {
    match error {
        SubscribeError::Refused(refusal) => refusal.code.clone(),
        SubscribeError::AlreadySubscribed => "already_subscribed".into(),
        SubscribeError::Ended(_) => "ended".into(),
        other => format!("{other:?}"),
    }
}

fn failure(error: &RequestError) -> Value {
    let kind = match error {
        RequestError::Refused(refusal) => {
            return json!({"kind": "refused", "code": refusal.code, "position": refusal.position});
        }
        RequestError::TimedOut => "timed_out",
        RequestError::NotSent => "not_sent",
        RequestError::Interrupted => "interrupted",
        RequestError::QueueFull => "queue_full",
        RequestError::Dropped => "dropped",
        RequestError::TooLarge { .. } => "too_large",
        RequestError::Json(_) => "invalid",
        RequestError::Ended(_) => "ended",
        other => return json!({"kind": format!("{other:?}")}),
    };
    json!({"kind": kind})
}

fn subscription_event(event: &SubscriptionEvent) -> Value {
    match event {
        SubscriptionEvent::Message(told) => with(message(told), json!({"event": "message"})),
        SubscriptionEvent::Recovered { users: present } => json!({"event": "recovered", "users": users(present)}),
        SubscriptionEvent::Lost { position, users: present } => {
            json!({"event": "lost", "position": position, "users": users(present)})
        }
        SubscriptionEvent::CaughtUp => json!({"event": "caught_up"}),
        SubscriptionEvent::Gap { channel, from, to } => {
            json!({"event": "gap", "channel": channel, "from": from, "to": to})
        }
        SubscriptionEvent::Signal(signal) => {
            let from = signal.from.as_ref().map(|from| json!({"user": from.user, "session": from.session}));
            with(payload(&signal.data), json!({"event": "signal", "name": signal.event, "from": from}))
        }
        SubscriptionEvent::Join(member) => json!({"event": "join", "user": member.user, "info": member.info}),
        SubscriptionEvent::Leave(member) => json!({"event": "leave", "user": member.user, "info": member.info}),
        SubscriptionEvent::Unsubscribed(why) => {
            let why = match why {
                Unsubscribed::ByServer(code) => json!({"why": "by_server", "code": code}),
                Unsubscribed::Refused(refusal) => json!({"why": "refused", "code": refusal.code}),
                Unsubscribed::Ended(_) => json!({"why": "ended"}),
                other => json!({"why": format!("{other:?}")}),
            };
            with(why, json!({"event": "unsubscribed"}))
        }
        other => json!({"event": format!("{other:?}")}),
    }
}

fn message(message: &Message) -> Value {
    let told = json!({
        "channel": message.channel,
        "position": message.position,
        "offset": message.offset,
        "timestamp": message.timestamp_ms,
        "name": message.event,
        "key": message.key,
        "publisher": message.publisher,
        "conflated": message.conflated,
        "cached": message.cached,
    });
    with(told, payload(&message.data))
}

fn payload(data: &Data) -> Value {
    match data {
        Data::Json(json) => json!({"data": json}),
        Data::Bytes(bytes) => {
            json!({"bytes": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
        }
    }
}

fn users(users: &[User]) -> Value {
    let user = |user: &User| {
        let told = json!({"user": user.user, "connections": user.connections});
        if let Some(info) = &user.info { with(told, json!({"info": info})) } else { told }
    };
    users.iter().map(user).collect()
}

/// The members of both.
fn with(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

fn from_hex(hex: &str) -> Result<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2).map(std::str::from_utf8);
    digits.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}
