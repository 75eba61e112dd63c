//! A connection that speaks Pusher Channels: its messages have no offsets, so what it can check is order, that nothing comes twice or to the wrong one, and who
//! it is told is there. Read by a parser written from the reference.

use crate::Violation;
use crate::conversation::{Checked, News, violation};
use crate::listener::Listener;
use crate::message::decode_base64;
use crate::plan::{OWN, SIGNED};
use crate::rights::{Right, Rights};
use crate::truth::{Place, Truth, number_in};
use crate::world::Seen;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use switchboard_core::{App, ChannelName, SessionId, Time, UserId};

#[derive(Debug)]
pub(crate) struct Channels {
    name: SessionId,
    app: Arc<App>,
    rights: Rights,
    /// The user that the application signs for on presence channels.
    user: String,
    /// How it is called without one.
    guest: String,
    socket_id: Option<String>,
    sign_in: SignIn,
    /// By our names.
    pub(crate) subscriptions: BTreeMap<String, Channel>,
    /// What it has published itself, on whatever subscription.
    own: BTreeSet<u64>,
    /// Channels whose subscription the application has ended while a further one was on its way: whether that one was meant, or the one that it had left before, is
    /// known when it succeeds after all.
    doubtful: BTreeMap<String, Channel>,
    /// Channels that it has left once: what was on its way then cannot be told from what comes when it is back.
    left: BTreeSet<String>,
    pub(crate) news: Vec<News>,
    pub(crate) seen: Seen,
}

/// What has become of being a user.
#[derive(Debug, Default)]
struct SignIn {
    /// Whom it asked to be told of, each time.
    asked: VecDeque<BTreeSet<String>>,
    /// Whether anything was asked with a good signature, which is done before whatever is asked later.
    is_asked: bool,
    /// The signature was none: the connection must end.
    is_forged: bool,
    /// How often it was answered.
    answered: usize,
    /// Of whom it is told, and what it was told last.
    watched: BTreeMap<String, Option<bool>>,
}

/// One channel of a connection.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) phase: ChannelPhase,
    /// It was a user when it asked.
    signed: bool,
    /// What comes on it.
    listener: Listener,
    /// What it has published itself since.
    own: BTreeSet<u64>,
    /// As presence counts it.
    pub(crate) member: String,
    /// Who is there, if it knows all of them.
    pub(crate) users: Option<BTreeSet<String>>,
    /// How many subscribe, as it was told last.
    pub(crate) count: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelPhase {
    Asked,
    Live,
}

#[derive(Debug, Deserialize)]
struct Message {
    event: String,
    channel: Option<String>,
    data: Option<String>,
    encoding: Option<String>,
}

impl Channels {
    pub(crate) fn new(name: SessionId, app: &Arc<App>, rights: Rights, user: String, guest: String) -> Self {
        let (own, left, news, seen) = (BTreeSet::new(), BTreeSet::new(), Vec::new(), Seen::default());
        Self {
            name,
            app: Arc::clone(app),
            rights,
            user,
            guest,
            socket_id: None,
            sign_in: SignIn::default(),
            subscriptions: BTreeMap::new(),
            own,
            doubtful: BTreeMap::new(),
            left,
            news,
            seen,
        }
    }

    /// Becomes its user, and wants to be told of others.
    pub(crate) fn sign_in(&mut self, watched: BTreeSet<String>, forged: bool) -> Option<Vec<u8>> {
        let socket_id = self.socket_id.clone()?;
        let user_data = json!({"id": self.user, "watchlist": watched}).to_string();
        let signed = if forged { "forged" } else { &*user_data };
        let auth = format!("{}:[{socket_id}::user::{signed}]", self.app.id);
        self.sign_in.is_forged |= forged;
        if !self.sign_in.is_forged {
            self.sign_in.is_asked = true;
            self.sign_in.asked.push_back(watched);
        }
        Some(json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}).to_string().into_bytes())
    }

    /// Whether it is this user, as it was told.
    pub(crate) fn is_user(&self, user: &str) -> bool {
        self.sign_in.answered > 0 && self.user == user
    }

    /// `complete`: nothing can be missing without a word; `caches`: the channel keeps a value for those who come.
    pub(crate) fn subscribe(&mut self, now: Time, channel: &str, (complete, caches): (bool, bool)) -> Option<Vec<u8>> {
        let socket_id = self.socket_id.clone()?;
        if self.subscriptions.contains_key(channel) {
            return None;
        }
        let written = self.to_pusher(channel);
        let mut data = json!({"channel": written});
        let is_presence = channel == SIGNED[1];
        if is_presence {
            let shown = json!({"user_id": self.user}).to_string();
            data["auth"] = json!(format!("{}:[{socket_id}:{written}:{shown}]", self.app.id));
            data["channel_data"] = json!(shown);
        } else if channel == SIGNED[0] {
            data["auth"] = json!(format!("{}:[{socket_id}:{written}]", self.app.id));
        }
        let listener = Listener::new(self.name, self.place(channel), None, (complete, caches), now);
        let member = if is_presence || self.sign_in.is_asked { self.user.clone() } else { self.guest.clone() };
        let signed = self.sign_in.is_asked;
        let (phase, own) = (ChannelPhase::Asked, BTreeSet::new());
        let asked = Channel { phase, signed, listener, own, member, users: None, count: None };
        self.doubtful.remove(channel);
        self.subscriptions.insert(channel.to_owned(), asked);
        Some(json!({"event": "pusher:subscribe", "data": data}).to_string().into_bytes())
    }

    /// No answer comes, so what is still on its way may.
    pub(crate) fn unsubscribe(&mut self, pick: usize) -> Option<Vec<u8>> {
        let live = self.subscriptions.iter().filter(|(_, channel)| channel.phase == ChannelPhase::Live);
        let channel = live.map(|(channel, _)| channel.clone()).nth(pick)?;
        // It would not know the end of this subscription from the next one's beginning.
        if channel == SIGNED[1] {
            return None;
        }
        self.subscriptions.remove(&channel);
        self.left.insert(channel.clone());
        Some(
            json!({"event": "pusher:unsubscribe", "data": {"channel": self.to_pusher(&channel)}})
                .to_string()
                .into_bytes(),
        )
    }

    /// A client event, where it may publish such.
    pub(crate) fn publish(&mut self, channel: &str, number: u64, filler: &str) -> Option<Vec<u8>> {
        let message = json!({"event": "client-a", "channel": self.to_pusher(channel), "data": [number, filler]});
        let known = self.subscriptions.get_mut(channel).filter(|known| known.phase == ChannelPhase::Live)?;
        known.own.insert(number);
        self.own.insert(number);
        SIGNED.contains(&channel).then(|| message.to_string().into_bytes())
    }

    pub(crate) fn receive(&mut self, truth: &Truth, bytes: &[u8]) -> Checked {
        let message: Message = serde_json::from_slice(bytes).map_err(|error| {
            Violation::new("pusher: not a message", format!("{error}: {}", String::from_utf8_lossy(bytes)))
        })?;
        self.handle(truth, &message).map_err(|violation| violation.about(&format!("{} got {message:?}", self.name)))
    }

    fn handle(&mut self, truth: &Truth, message: &Message) -> Checked {
        let data = message.data.as_deref().unwrap_or_default();
        let inner: Value = serde_json::from_str(data).unwrap_or_default();
        let channel = message.channel.as_deref().map(|channel| self.our_name(channel)).unwrap_or_default();
        match &*message.event {
            "pusher:connection_established" => {
                self.socket_id = inner["socket_id"].as_str().map(str::to_owned);
                Ok(())
            }
            "pusher:error" => {
                // The application ends a connection by 4009, which is also the end of others that shall not come back.
                if let Some(code) = inner["code"].as_u64().and_then(|code| u16::try_from(code).ok()) {
                    self.news.push(News::Ended { code });
                }
                Ok(())
            }
            "pusher:ping" | "pusher:pong" | "pusher:cache_miss" => Ok(()),
            "pusher_internal:subscription_succeeded" => self.begin(&channel, &inner),
            "pusher:subscription_error" => self.refused(&channel, &inner),
            "pusher_internal:member_added" | "pusher_internal:member_removed" => {
                let user = inner["user_id"].as_str().unwrap_or_default().to_owned();
                let known = self.subscriptions.get_mut(&channel).filter(|known| known.phase == ChannelPhase::Live);
                let Some(known) = known.filter(|_| channel == SIGNED[1]) else {
                    return violation("presence: a change without having asked");
                };
                let Some(users) = &mut known.users else { return Ok(()) };
                let changed = match &*message.event {
                    "pusher_internal:member_added" => users.insert(user),
                    _ => users.remove(&user),
                };
                if changed { Ok(()) } else { violation("presence: who is there came, or who is not there left") }
            }
            "pusher:signin_success" => {
                let Some(watched) = self.sign_in.asked.pop_front() else { return violation("signin: nobody asked") };
                self.sign_in.answered += 1;
                self.sign_in.watched =
                    watched.into_iter().filter(|user| *user != self.user).map(|user| (user, None)).collect();
                Ok(())
            }
            "pusher_internal:watchlist_events" => self.watch(&inner),
            "pusher_internal:subscription_count" => {
                if !self.app.notices.count_for_subscribers || !self.counts(&channel) {
                    return violation("count: of what nobody counts");
                }
                // It may be of the subscription that it has left.
                if let Some(known) = self.subscriptions.get_mut(&channel) {
                    known.count = inner["subscription_count"].as_u64();
                }
                Ok(())
            }
            "signal" => {
                let number = number_in(data.as_bytes()).unwrap_or_default();
                self.news.push(News::Signal { number, channel, sender: None });
                Ok(())
            }
            event if event.starts_with("pusher") => violation("pusher: an unknown event"),
            _ => {
                // After it has unsubscribed it cannot know what was on its way.
                let Some(known) = self.subscriptions.get_mut(&channel) else { return Ok(()) };
                if known.phase == ChannelPhase::Asked && self.left.contains(&channel) {
                    return Ok(());
                }
                if known.phase == ChannelPhase::Asked {
                    return violation("pusher: a message before the subscription");
                }
                self.seen.messages += 1;
                // What it published before it left, or was removed, and came back may be what the channel has kept.
                let came_back = |number| self.left.contains(&channel) || !known.own.contains(&number);
                let may_be_kept = |number| known.listener.may_be_kept() && came_back(number);
                if number_in(data.as_bytes()).is_some_and(|number| self.own.contains(&number) && !may_be_kept(number)) {
                    return violation("pusher: its own event");
                }
                match message.encoding.as_deref() {
                    Some("base64") => known.listener.receive(truth, &decode_base64(data).unwrap_or_default()),
                    _ => known.listener.receive(truth, data.as_bytes()),
                }
            }
        }
    }

    /// Users came or left.
    fn watch(&mut self, data: &Value) -> Checked {
        for event in data["events"].as_array().into_iter().flatten() {
            let is_there = match event["name"].as_str() {
                Some("online") => true,
                Some("offline") => false,
                _ => return violation("watchlist: an unknown event"),
            };
            for user in event["user_ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let only = self.sign_in.answered == 1;
                match self.sign_in.watched.get_mut(user) {
                    Some(known) if only && *known == Some(is_there) => return violation("watchlist: told what was so"),
                    Some(known) => *known = Some(is_there),
                    // What was on its way when it asked for others.
                    None if !only => {}
                    None => return violation("watchlist: of somebody whom it does not know"),
                }
                self.seen.watched += 1;
            }
        }
        Ok(())
    }

    /// Whether it may subscribe: what needs a signature has one.
    fn may(&self, channel: &str) -> bool {
        match channel {
            OWN => self.sign_in.is_asked,
            channel => SIGNED.contains(&channel) || self.rights.allow(Right::Subscribe, channel),
        }
    }

    fn begin(&mut self, channel: &str, data: &Value) -> Checked {
        let may = self.may(channel);
        let limit = self.app.limits.presence_users;
        if let Some(known) = self.doubtful.remove(channel) {
            self.subscriptions.entry(channel.to_owned()).or_insert(known);
        }
        let Some(known) = self.subscriptions.get_mut(channel) else { return Ok(()) };
        if !may {
            return violation("rights: subscribed without the right");
        }
        known.phase = ChannelPhase::Live;
        let ids = data["presence"]["ids"].as_array();
        if ids.is_some() != (channel == SIGNED[1]) {
            return violation("presence: a list where none belongs, or none where one does");
        }
        let ids: Option<BTreeSet<String>> =
            ids.map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        known.users = ids.filter(|ids| ids.len() < limit);
        Ok(())
    }

    fn refused(&mut self, channel: &str, data: &Value) -> Checked {
        let may = self.may(channel);
        let Some(known) = self.subscriptions.remove(channel) else { return Ok(()) };
        match (known.phase, data["status"].as_u64()) {
            // The application may end it while it is on its way: whoever knows what it wanted looks whether it did.
            (ChannelPhase::Asked, Some(401)) if channel == OWN && !known.signed => {}
            (phase, Some(401)) if may || phase == ChannelPhase::Live => {
                self.news.push(News::Removed { channel: channel.to_owned() });
                if phase == ChannelPhase::Asked && self.left.contains(channel) {
                    self.doubtful.insert(channel.to_owned(), known);
                }
            }
            (_, Some(401 | 403 | 429 | 503)) => {}
            // The end of the one before, which it took for the end of this one, may have come between them: then this one is there already.
            (ChannelPhase::Asked, Some(400)) if self.left.contains(channel) => {}
            // And its success, taken for this one's, may have come first: it goes on.
            (ChannelPhase::Live, Some(400)) if self.left.contains(channel) => {
                self.subscriptions.insert(channel.to_owned(), known);
            }
            _ => return violation("pusher: refused for no known reason"),
        }
        Ok(())
    }

    pub(crate) fn check_quiet(&self) -> Checked {
        if self.socket_id.is_none() {
            return violation("pusher: never established");
        }
        if self.sign_in.is_forged || !self.sign_in.asked.is_empty() {
            return Err(Violation::new("signin: never answered, or forged and taken", format!("{:?}", self.sign_in)));
        }
        match self.subscriptions.values().find(|known| known.phase == ChannelPhase::Asked) {
            Some(known) => Err(Violation::new("pusher: never answered", format!("{known:?}"))),
            None => Ok(()),
        }
    }

    /// Whether it is told how many subscribe, where anybody is. On presence channels it is told who, and users' own channels nobody counts.
    pub(crate) fn counts(&self, channel: &str) -> bool {
        !channel.starts_with("presence-") && channel != OWN
    }

    /// What it was told last of those that it watches, by their own channels.
    pub(crate) fn watched(&self) -> impl Iterator<Item = (String, Option<bool>)> {
        self.sign_in.watched.iter().map(|(user, known)| (own_channel(user), *known))
    }

    pub(crate) fn place(&self, channel: &str) -> Place {
        let name = if channel == OWN { own_channel(&self.user) } else { channel.to_owned() };
        (self.app.id.clone(), name)
    }

    /// What its alphabet lacks, which of our names are the colon and the slash; and its user's own channel.
    fn to_pusher(&self, channel: &str) -> String {
        match channel {
            OWN => format!("#server-to-user-{}", self.user),
            channel => channel.replace(':', "=3A").replace('/', "=2F"),
        }
    }

    fn our_name(&self, channel: &str) -> String {
        match channel.strip_prefix("#server-to-user-") {
            Some(user) if user == self.user => OWN.to_owned(),
            _ => channel.replace("=2F", "/").replace("=3A", ":"),
        }
    }
}

/// The channel on which a user is there.
fn own_channel(user: &str) -> String {
    UserId::parse(user).map_or_else(|_| String::new(), |user| ChannelName::of_user(&user).as_str().to_owned())
}
