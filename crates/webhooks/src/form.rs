//! An event as Pusher's webhooks write it.
//!
//! Owns the JSON. Names of channels and sessions are the Pusher dialect's, so that they mean the same here as on a connection.

use serde::Serialize;
use std::borrow::Cow;
use switchboard_core::{Happened, Notice, Payload, UserId};
use switchboard_dialects::pusher::{data_text, socket_id, to_pusher};

#[derive(Default, Serialize)]
struct Event<'a> {
    name: &'static str,
    channel: &'a str,
    /// The channel as the other protocols write it, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    plain_channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_count: Option<u64>,
}

/// What a publication without an event name is called, as on a Pusher connection.
const EVENT_DEFAULT: &str = "message";

/// One event, without a line break in it.
pub(crate) fn event(notice: &Notice) -> String {
    let plain = notice.channel.as_str();
    let channel = to_pusher(plain);
    let kind = notice.what.kind();
    let name = switchboard_core::NoticeKinds::NAMES.iter().find(|(_, known)| *known == kind);
    let mut event = Event {
        name: name.map_or("", |(name, _)| name),
        channel: &channel,
        plain_channel: (channel != plain).then_some(plain),
        ..Event::default()
    };
    match &notice.what {
        Happened::Occupied | Happened::Vacated | Happened::CacheMiss => {}
        Happened::MemberAdded(user) | Happened::MemberRemoved(user) => event.user_id = Some(user.as_str()),
        Happened::ClientEvent { event: name, payload, publisher, session } => {
            event.event = Some(name.as_deref().filter(|name| !name.is_empty()).unwrap_or(EVENT_DEFAULT));
            event.data = Some(data_text(payload));
            event.encoding = matches!(payload, Payload::Binary(_)).then_some("base64");
            event.socket_id = session.map(socket_id);
            // Whoever has shown nothing has a name that means nothing to the application.
            event.user_id = publisher.as_ref().filter(|user| !user.is_guest()).map(UserId::as_str);
        }
        Happened::SubscriptionCount(count) => event.subscription_count = Some(*count),
    }
    // Only texts and numbers: writing them cannot fail.
    serde_json::to_string(&event).unwrap_or_default()
}

/// A request's body: events that were written before, with the time of the newest.
pub(crate) fn body<'a>(time_ms: u64, events: impl Iterator<Item = &'a str>) -> String {
    let mut body = format!("{{\"time_ms\":{time_ms},\"events\":[");
    for (index, event) in events.enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(event);
    }
    body.push_str("]}");
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use switchboard_core::{AppId, ChannelName, SessionId, Time};

    fn written(channel: &str, what: Happened) -> String {
        let channel = ChannelName::parse(channel).unwrap();
        event(&Notice { app: AppId::new("app"), channel, at: Time::from_secs(1), what })
    }

    fn client_event(channel: &str, event: Option<&str>, payload: Payload, user: &str) -> String {
        let session = Some(SessionId { node: 0, shard: 3, serial: 77 });
        let publisher = Some(UserId::parse(user).unwrap());
        written(channel, Happened::ClientEvent { event: event.map(Into::into), payload, publisher, session })
    }

    #[test]
    fn events_look_as_pusher_documents_them() {
        assert_eq!(written("news", Happened::Occupied), r#"{"name":"channel_occupied","channel":"news"}"#);
        assert_eq!(written("news", Happened::Vacated), r#"{"name":"channel_vacated","channel":"news"}"#);
        assert_eq!(written("cache-a", Happened::CacheMiss), r#"{"name":"cache_miss","channel":"cache-a"}"#);
        let ann = UserId::parse("ann").unwrap();
        assert_eq!(
            written("presence-a", Happened::MemberAdded(ann.clone())),
            r#"{"name":"member_added","channel":"presence-a","user_id":"ann"}"#
        );
        assert_eq!(
            written("presence-a", Happened::MemberRemoved(ann)),
            r#"{"name":"member_removed","channel":"presence-a","user_id":"ann"}"#
        );
        assert_eq!(
            written("news", Happened::SubscriptionCount(7)),
            r#"{"name":"subscription_count","channel":"news","subscription_count":7}"#
        );
        assert_eq!(
            client_event("presence-a", Some("client-x"), Payload::Json(r#"{"a":1}"#.into()), "ann"),
            r#"{"name":"client_event","channel":"presence-a","event":"client-x","data":"{\"a\":1}","socket_id":"3.77","user_id":"ann"}"#
        );
    }

    #[test]
    fn what_other_protocols_can_say_is_said_in_pushers_words() {
        assert_eq!(
            client_event("room:1", None, Payload::Text("17".into()), "guest-3-4d"),
            r#"{"name":"client_event","channel":"room=3A1","plain_channel":"room:1","event":"message","data":"\"17\"","socket_id":"3.77"}"#
        );
        assert_eq!(
            client_event("a", Some(""), Payload::Binary(vec![0, 255].into()), "bob"),
            r#"{"name":"client_event","channel":"a","event":"message","data":"AP8=","encoding":"base64","socket_id":"3.77","user_id":"bob"}"#
        );
        let noise = client_event("a", Some("x\n\u{2028}\"\\"), Payload::Text("a\r\n\0\"".into()), "bob");
        assert!(!noise.contains(['\n', '\r', '\0']), "{noise}");
        let read: serde_json::Value = serde_json::from_str(&noise).unwrap();
        assert_eq!(read["data"], "a\r\n\0\"");
    }

    #[test]
    fn bodies_are_one_object() {
        assert_eq!(body(5, ["{}", "{\"a\":1}"].into_iter()), r#"{"time_ms":5,"events":[{},{"a":1}]}"#);
        assert_eq!(body(5, core::iter::empty()), r#"{"time_ms":5,"events":[]}"#);
    }
}
