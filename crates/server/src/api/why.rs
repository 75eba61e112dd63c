//! `POST /api/v1/why`: what became of a publication, as JSON. What it means is decided in `switchboard-core`.

use super::body::{parse_body, parse_channel, recipient};
use super::{Call, unexpected};
use crate::answer::ApiError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use switchboard_core::{
    About, ChannelName, Command, Epoch, Outcome, Publish, Question, Recipient, SessionId, Standing, Step, Trail, What,
    Whom,
};

const NO_EPOCH: &str = "\"epoch\" is no epoch that a server has given";
/// Publications under one id that are followed.
const PUBLICATIONS_MAX: usize = 10;

#[derive(Debug, Deserialize)]
struct WhyBody<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    offset: Option<u64>,
    #[serde(borrow)]
    epoch: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
}

/// A channel and an offset of it, of the latest epoch that had it where none is given.
type Place = (ChannelName, u64, Option<Epoch>);

impl Call<'_> {
    pub(super) async fn why(&self, body: &[u8]) -> Result<String, ApiError> {
        let WhyBody { channel, offset, epoch, id, session, user } = parse_body(body)?;
        let whom = match (user, session) {
            (None, None) => None,
            (user, session) => Some(match recipient(user.as_deref(), session.as_deref())? {
                Recipient::User(user) => Whom::User(user),
                Recipient::Session(session) => Whom::Session(session),
            }),
        };
        let channel = channel.as_deref().map(parse_channel).transpose()?;
        let epoch =
            epoch.map(|epoch| Epoch::parse(&epoch).ok_or_else(|| ApiError::bad_request(NO_EPOCH))).transpose()?;
        if epoch.is_some() && offset.is_none() {
            return Err(ApiError::bad_request("\"epoch\" says of which \"offset\" it is asked"));
        }
        let (unpublished, places) = match (channel, offset, id) {
            (Some(channel), Some(offset), None) => (Vec::new(), vec![(channel, offset, epoch)]),
            (channel, None, Some(id)) => self.find(id.as_ref(), channel).await?,
            (_, Some(_), Some(_)) => return Err(ApiError::bad_request("\"offset\" and \"id\" exclude each other")),
            _ => return Err(ApiError::bad_request("name a publication by \"channel\" and \"offset\", or by \"id\"")),
        };
        let mut publications = Vec::new();
        for (channel, offset, epoch) in places {
            let about = About::Offset { channel: channel.clone(), offset };
            let mut trail = self.trail(Question { about, whom: whom.clone() }).await?;
            let epoch = epoch.or_else(|| trail.epoch_of(offset));
            if let Some(epoch) = epoch {
                trail.narrow(offset, epoch, self.epoch(channel.clone()).await?);
            }
            let named = match &whom {
                Some(Whom::Session(session)) => Some(*session),
                _ => None,
            };
            publications.push(shown(&channel, (offset, epoch), &trail, named));
        }
        Ok(json!({ "publications": publications, "unpublished": unpublished }).to_string())
    }

    /// In which epoch a channel is.
    async fn epoch(&self, channel: ChannelName) -> Result<Epoch, ApiError> {
        match self.ask(Command::Channel { channel }).await? {
            Outcome::Channel { position, .. } => Ok(position.epoch),
            outcome => Err(unexpected(&outcome)),
        }
    }

    /// Where an id was published, and what was refused under it.
    async fn find(&self, id: &str, channel: Option<ChannelName>) -> Result<(Vec<Value>, Vec<Place>), ApiError> {
        if id.is_empty() || id.len() > Publish::ID_BYTES_MAX {
            let message = format!("\"id\" has {} bytes, not 1 to {}", id.len(), Publish::ID_BYTES_MAX);
            return Err(ApiError::bad_request(message));
        }
        let trail = self.trail(Question { about: About::Id { id: id.into(), channel }, whom: None }).await?;
        let mut places: Vec<Place> = Vec::new();
        let mut refused = Vec::new();
        for step in &trail.steps {
            let place = (step.channel.clone(), step.first, step.epoch);
            match step.what {
                What::Published { .. } | What::Duplicate if !places.contains(&place) => places.push(place),
                What::Refused { .. } => refused.push(step_shown(step)),
                _ => {}
            }
        }
        places.truncate(PUBLICATIONS_MAX);
        Ok((refused, places))
    }

    async fn trail(&self, question: Question) -> Result<Trail, ApiError> {
        match self.ask(Command::Why(question)).await? {
            Outcome::Why(trail) => Ok(trail),
            outcome => Err(unexpected(&outcome)),
        }
    }
}

/// Who was `named` is answered, even if nothing is known.
fn shown(
    channel: &ChannelName,
    (offset, epoch): (u64, Option<Epoch>),
    trail: &Trail,
    named: Option<SessionId>,
) -> Value {
    let known = trail.sessions();
    let named = named.filter(|named| !known.contains(named));
    let (of_ones, steps): (Vec<&Step>, Vec<&Step>) = trail.steps.iter().partition(|step| step.what.is_of_one());
    let sessions = known.into_iter().chain(named).map(|session| {
        let steps = of_ones.iter().filter(|step| step.session == Some(session)).map(|step| step_shown(step));
        let mut told = json!({
            "session": session.to_string(),
            "fate": trail.fate(offset, session).as_str(),
            "steps": steps.collect::<Vec<_>>(),
        });
        let standing = trail.standings.iter().find(|standing| standing.session == session);
        if let (Some(standing), Some(told)) = (standing, told.as_object_mut()) {
            told.insert("now".into(), standing_shown(standing));
        }
        told
    });
    json!({
        "channel": channel.as_str(),
        "offset": offset,
        "epoch": epoch.map(|epoch| epoch.to_string()),
        "steps": steps.into_iter().map(step_shown).collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
        "remembered_since": trail.since.map(switchboard_core::Time::as_millis),
        "more": trail.more,
    })
}

fn step_shown(step: &Step) -> Value {
    let mut shown = Map::new();
    shown.insert("at".into(), step.at.as_millis().into());
    shown.insert("shard".into(), step.shard.into());
    shown.insert("what".into(), step.what.as_str().into());
    shown.insert("text".into(), step.what.to_string().into());
    if matches!(step.what, What::Refused { .. }) {
        shown.insert("channel".into(), step.channel.as_str().into());
    } else if step.first != step.last {
        shown.insert("from".into(), step.first.into());
        shown.insert("to".into(), step.last.into());
    }
    if let Some(session) = step.session.filter(|_| !step.what.is_of_one()) {
        shown.insert("session".into(), session.to_string().into());
    }
    Value::Object(shown)
}

fn standing_shown(standing: &Standing) -> Value {
    json!({
        "subscribed_after": standing.began,
        "handled_to": standing.handled,
        "replaying": standing.replaying,
        "patterns": standing.patterns,
        "waiting_bytes": standing.waiting,
        "given_up": standing.given_up,
    })
}
