//! Where the scenarios of a dialect play: a node, an application that may do everything, and clients that speak.

use super::{Ability, Heard, Speech, Use, Wish, has};
use crate::{ClientId, FakeDirectory, Rng, World};
use std::sync::Arc;
use switchboard_core::{
    App, AppId, ChannelMatch, ChannelName, ChannelOptions, Channels, Command, Disconnect, Grant, Identity, Limits,
    Operations, Outcome, Payload, Position, Publish, Time, UserId,
};

/// A node and its clients.
pub(super) struct Stage<S> {
    pub(super) world: World,
    pub(super) app: Arc<App>,
    talkers: Vec<Talker<S>>,
}

/// A client of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who(usize);

struct Talker<S> {
    client: ClientId,
    speech: S,
    heard: Vec<Heard>,
}

/// What differs between scenarios.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) shards: u16,
    pub(super) options: ChannelOptions,
    pub(super) limits: Limits,
    pub(super) anonymous: Vec<Grant>,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            shards: 2,
            options: ChannelOptions::default(),
            limits: Limits { operations_per_second: 0, ..Limits::default() },
            anonymous: everything(),
        }
    }
}

/// Every right on every channel.
pub(super) fn everything() -> Vec<Grant> {
    vec![Grant::new(ChannelMatch::all(), Operations::ALL)]
}

/// A user with rights.
pub(super) fn identity(user: &str, grants: Vec<Grant>, expires: Option<Time>) -> Identity {
    Identity { user: UserId::parse(user).unwrap(), info: None, grants, expires }
}

impl Scene {
    /// The application of this scene. Channels of the namespace `cached` keep their last publication.
    pub(super) fn app(&self, name: &str) -> Arc<App> {
        let kept = ChannelOptions { cache: true, ..self.options.clone() };
        let channels = Channels::new(self.options.clone()).with_namespace("cached", kept);
        let (limits, anonymous) = (self.limits.clone(), Some(self.anonymous.clone()));
        Arc::new(App { limits, anonymous, channels, ..App::new(AppId::new(name)) })
    }
}

impl<S: Speech> Stage<S> {
    pub(super) fn new(scene: &Scene) -> Self {
        let app = scene.app("app");
        let world = World::new(scene.shards, FakeDirectory { apps: vec![app.clone()], ..FakeDirectory::default() });
        Self { world, app, talkers: Vec::new() }
    }

    /// A client comes and asks for a channel.
    pub(super) fn come(&mut self, wish: &Wish) -> Who {
        self.come_as(wish, None)
    }

    /// The same with a token, for dialects whose clients can show one.
    pub(super) fn come_as(&mut self, wish: &Wish, identity: Option<Identity>) -> Who {
        let app = Arc::clone(&self.app);
        self.come_to(&app, wish, identity)
    }

    /// The same to another application.
    pub(super) fn come_to(&mut self, app: &Arc<App>, wish: &Wish, identity: Option<Identity>) -> Who {
        let who = self.begin(app, wish, identity);
        self.settle();
        who
    }

    /// A client has come and asked for a channel; whatever happens then has not happened yet.
    pub(super) fn begin(&mut self, app: &Arc<App>, wish: &Wish, identity: Option<Identity>) -> Who {
        let mut speech = S::new();
        let shard = self.talkers.len() % self.world.shards.len();
        let client = self.world.connect(shard, app, speech.opening(wish), identity);
        self.talkers.push(Talker { client, speech, heard: Vec::new() });
        let who = Who(self.talkers.len() - 1);
        // Some must be greeted before they can ask.
        (0..self.world.shards.len()).for_each(|shard| _ = self.world.turn(shard));
        self.listen();
        self.ask(who, wish);
        who
    }

    /// A client asks for a channel.
    pub(super) fn ask(&mut self, who: Who, wish: &Wish) {
        let said = self.talkers[who.0].speech.subscribe(wish);
        self.say(who, &said);
    }

    /// A client leaves a channel.
    pub(super) fn leave(&mut self, who: Who, channel: &str) {
        let said = self.talkers[who.0].speech.unsubscribe(channel);
        self.say(who, &said);
    }

    /// A client publishes.
    pub(super) fn speak(&mut self, who: Who, channel: &str, payload: &Payload) {
        let said = self.talkers[who.0].speech.publish(channel, payload);
        self.say(who, &said);
    }

    pub(super) fn say(&mut self, who: Who, said: &[crate::Received]) {
        let client = self.talkers[who.0].client;
        for message in said {
            match message {
                crate::Received::Text(text) => self.world.send(client, text),
                crate::Received::Binary(bytes) => self.world.send_binary(client, bytes),
            }
        }
    }

    /// The application publishes.
    pub(super) fn publish(&mut self, channel: &str, payload: &Payload) {
        self.publish_with(channel, Publish::new(payload.clone()));
    }

    /// The application publishes, with all that it wants.
    pub(super) fn publish_with(&mut self, channel: &str, publish: Publish) {
        let channel = ChannelName::parse(channel).unwrap();
        let shard = self.world.shards.len() - 1;
        let app = Arc::clone(&self.app);
        self.world.submit(shard, 0, &app, Command::Publish { channel, publish, exclude_self: false });
    }

    /// The application publishes and learns where.
    pub(super) fn place(&mut self, channel: &str, payload: &Payload) -> Position {
        let shard = self.world.shards.len() - 1;
        while self.world.poll_external(shard).is_some() {}
        self.publish(channel, payload);
        self.settle();
        match self.world.poll_external(shard) {
            Some((_, Outcome::Published { position, .. })) => position,
            other => panic!("{other:?} in answer to a publication"),
        }
    }

    /// Everything goes on until nothing is left to do, and the clients have understood what came.
    pub(super) fn settle(&mut self) {
        self.world.settle();
        self.listen();
    }

    /// A random step of the node.
    pub(super) fn step(&mut self, rng: &mut Rng) {
        self.world.step(rng);
    }

    fn listen(&mut self) {
        for talker in &mut self.talkers {
            for message in self.world.received(talker.client) {
                talker.heard.extend(talker.speech.hear(&message));
            }
        }
    }

    /// What a client has understood since the last call.
    pub(super) fn heard(&mut self, who: Who) -> Vec<Heard> {
        self.listen();
        core::mem::take(&mut self.talkers[who.0].heard)
    }

    /// The contents that reached a client on a channel since the last call; everything else is forgotten.
    pub(super) fn messages(&mut self, who: Who, channel: &str) -> Vec<Payload> {
        let of_channel = |heard| match heard {
            Heard::Message { channel: of, payload, .. } => {
                assert_eq!(of, channel, "a publication of another channel");
                Some(payload)
            }
            _ => None,
        };
        self.heard(who).into_iter().filter_map(of_channel).collect()
    }

    pub(super) fn set_reading(&mut self, who: Who, reads: bool) {
        self.world.set_reading(self.talkers[who.0].client, reads);
    }

    pub(super) fn waiting(&mut self, who: Who) -> usize {
        self.world.waiting(self.talkers[who.0].client)
    }

    pub(super) fn may_send(&mut self, who: Who) -> bool {
        self.world.may_send(self.talkers[who.0].client)
    }

    pub(super) fn cut(&mut self, who: Who) {
        self.world.cut(self.talkers[who.0].client);
    }

    /// How a client's connection was ended, if it was.
    pub(super) fn end(&self, who: Who) -> Option<&Disconnect> {
        self.world.disconnect_of(self.talkers[who.0].client)
    }

    /// Whatever was asked for last was refused: by word, or where there is none by the end.
    pub(super) fn assert_refused(&mut self, who: Who, what: &str) {
        let heard = self.heard(who);
        match has::<S>(Ability::Refuse) {
            true => {
                assert!(heard.contains(&Heard::Refused), "{what}: not refused but {heard:?}");
                assert_eq!(self.end(who), None, "{what}: a refusal ended the connection");
            }
            false => assert!(self.end(who).is_some(), "{what}: neither refused nor ended: {heard:?}"),
        }
    }
}

/// A wish for a use.
pub(super) fn wish<S: Speech>(wanted: Use) -> Wish {
    Wish::channel(S::channel(wanted))
}

/// A payload that counts.
pub(super) fn number(n: usize) -> Payload {
    Payload::Json(n.to_string().as_str().into())
}

/// The same as it arrives.
pub(super) fn arrived<S: Speech>(n: usize) -> Payload {
    S::arrives(&number(n))
}

/// The same with weight.
pub(super) fn heavy(n: usize) -> Payload {
    Payload::Json(format!("[{n},\"{}\"]", "x".repeat(400)).as_str().into())
}
