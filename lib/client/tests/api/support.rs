//! A state machine, its clock, and what it has said.

use core::time::Duration;
use switchboard_client::core::{Core, Output, Request, Tokens};
use switchboard_client::ws::Message as Frame;
use switchboard_client::ws::proto::Time;
use switchboard_client::{Config, Data};

pub(crate) struct Script {
    pub(crate) core: Core,
    pub(crate) now: Time,
}

/// A publication with nothing beside its data.
pub(crate) fn publish(channel: &str, data: Data) -> Request {
    Request::Publish {
        channel: channel.into(),
        data,
        event: None,
        key: None,
        exclude_self: false,
        idempotency_key: None,
        if_position: None,
        cache: None,
    }
}

pub(crate) const WELCOME: &str = r#"{"type":"welcome","session":"0-1","version":1,"user":"ann","heartbeat_ms":25000,"limits":{"message_bytes":65536,"channels":128,"channel_name_bytes":200}}"#;

impl Script {
    pub(crate) fn new(config: Config, tokens: Tokens) -> Self {
        Self { core: Core::new(config, tokens, 7), now: Time::from_micros(1_000_000) }
    }

    /// Connected and welcome, with a configuration of the test's.
    pub(crate) fn online_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let mut script = Self::new(config, Tokens::None);
        script.core.connect(script.now);
        script.welcome();
        script.outputs();
        script
    }

    pub(crate) fn online() -> Self {
        Self::online_with(|_| {})
    }

    pub(crate) fn welcome(&mut self) {
        self.core.on_connected(self.now);
        self.hear(WELCOME);
    }

    pub(crate) fn hear(&mut self, text: &str) {
        self.core.receive(self.now, &Frame::from(text.to_owned()));
    }

    /// Everything that is sent, as text.
    pub(crate) fn says(&mut self) -> Vec<String> {
        let frames = core::iter::from_fn(|| self.core.poll_transmit(self.now));
        frames.map(|frame| String::from_utf8_lossy(frame.as_bytes()).into_owned()).collect()
    }

    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        core::iter::from_fn(|| self.core.poll_output()).collect()
    }

    /// What came out, in short.
    pub(crate) fn shown(&mut self) -> Vec<String> {
        self.outputs().iter().map(show).collect()
    }

    /// Waits for the next timeout. Returns how long that was.
    pub(crate) fn wait(&mut self) -> Duration {
        let at = self.core.poll_timeout().expect("something is awaited");
        let waited = at.saturating_sub(self.now);
        self.now = self.now.max(at);
        self.core.handle_timeout(self.now);
        waited
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
        }
        self.now = until;
    }
}

/// Positions as `epoch:offset`, data as it is.
pub(crate) fn show(output: &Output) -> String {
    use switchboard_client::SubscriptionEvent as Event;
    match output {
        Output::Subscription { event: Event::Message(message), .. } => {
            let data = String::from_utf8_lossy(message.data.as_bytes());
            match &message.position {
                Some(position) => format!("{}:{} {data}", position.epoch, position.offset),
                None => format!("{} {} {data}", message.channel, message.offset),
            }
        }
        Output::Subscription { event, .. } => format!("{event:?}"),
        Output::Subscribed { result, .. } => format!("subscribed {result:?}"),
        Output::Answer { result, .. } => format!("answer {result:?}"),
        Output::Connection(event) => format!("{event:?}"),
        output => format!("{output:?}"),
    }
}
