//! Admission as a whole: each address, each place of a token, each refusal.

#![allow(clippy::unwrap_used)]

use super::*;
use http::HeaderValue;
use switchboard_core::{AppId, ChannelMatch, Epoch, Grant, Position, Reject, RejectCode, Signed, Since, UserId};

/// `open` takes anybody, `closed` (key `k2`) wants a token, `query` (key `k3`) takes one in the query.
#[derive(Debug)]
struct Apps {
    default: bool,
}

fn app(id: &str) -> Arc<App> {
    let mut app = App::new(AppId::new(id));
    if id == "open" {
        app.anonymous = Some(vec![Grant::new(ChannelMatch::parse("room:*"), Operations::ALL)]);
    }
    Arc::new(app)
}

impl Directory for Apps {
    fn default_app(&self) -> Option<Arc<App>> {
        self.default.then(|| app("open"))
    }

    fn app_by_key(&self, key: &str) -> Option<Arc<App>> {
        match key {
            "k1" => Some(app("open")),
            "k2" => Some(app("closed")),
            "k3" => Some(app("query")),
            _ => None,
        }
    }

    fn origin_allowed(&self, app: &AppId, origin: &str) -> bool {
        app.as_str() == "open" && OriginPattern::parse("https://*.example.com").unwrap().matches(origin)
    }

    fn serves(&self, app: &AppId, protocol: &str) -> bool {
        app.as_str() != "closed" || protocol != "pusher"
    }

    fn check_signed(&self, _: &AppId, _: &Signed) -> Result<(), Reject> {
        Ok(())
    }

    fn query_token_allowed(&self, app: &AppId) -> bool {
        app.as_str() == "query"
    }

    fn raw_path(&self, path: &str) -> Option<(Arc<App>, ChannelName)> {
        (path == "/chat").then(|| (app("open"), ChannelName::parse("room:chat").unwrap()))
    }

    fn authenticate(&self, app: &AppId, token: &str, _: Time) -> Result<Identity, Reject> {
        let name = token.strip_prefix("good-").ok_or(Reject::new(RejectCode::BadToken, "the token is malformed"))?;
        let grants = vec![Grant::new(ChannelMatch::parse(&format!("{app}:*")), Operations::SUBSCRIBE)];
        Ok(Identity { user: UserId::parse(name).unwrap(), info: None, grants, expires: None })
    }
}

fn try_admit(address: &str, headers: &[(&'static str, &str)], default: bool) -> Result<Option<Admission>, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let (path, query) = address.split_once('?').map_or((address, None), |(path, query)| (path, Some(query)));
    let peer = IpAddr::from([192, 0, 2, 1]);
    let request = UpgradeRequest { path, query, headers: &map, peer, secure: false };
    admit(&request, &Apps { default }, &TrustedProxies::default(), Time::from_secs(1))
}

fn admitted(address: &str, headers: &[(&'static str, &str)]) -> Admission {
    try_admit(address, headers, true).unwrap().unwrap()
}

fn refused(address: &str, headers: &[(&'static str, &str)]) -> (u16, &'static str) {
    let refusal = try_admit(address, headers, true).unwrap_err();
    assert!(!refusal.message.is_empty());
    (refusal.status.as_u16(), refusal.code.as_str())
}

const AUTHORIZATION: &str = "authorization";
const PROTOCOL: &str = "sec-websocket-protocol";
const ORIGIN: &str = "origin";

#[test]
fn addresses_lead_to_applications_and_dialects() {
    let admission = admitted("/ws", &[]);
    assert_eq!((admission.app.id.as_str(), &admission.opening), ("open", &Opening::Native { batch: false }));
    assert_eq!(admission.client, IpAddr::from([192, 0, 2, 1]));
    assert_eq!(admitted("/ws/k2?batch=1", &[]).opening, Opening::Native { batch: true });
    assert_eq!(admitted("/ws/k2", &[]).app.id.as_str(), "closed");

    let raw = |name: &str, since, echo| Opening::Raw { channel: ChannelName::parse(name).unwrap(), since, echo };
    assert_eq!(admitted("/raw/room:a%2Fb/c", &[]).opening, raw("room:a/b/c", None, true));
    assert_eq!(admitted("/chat?echo=0", &[]).opening, raw("room:chat", None, false));
    let since = Since::Position(Position { epoch: Epoch(0xe1), offset: 7 });
    assert_eq!(admitted("/chat?since=e1%3A7", &[]).opening, raw("room:chat", Some(since), true));
    for unknown in ["gone:7", "e1:99999999999999999999999"] {
        let opening = admitted(&format!("/chat?since={unknown}"), &[]).opening;
        assert_eq!(opening, raw("room:chat", Some(Since::Unknown), true));
    }
    assert_eq!(admitted("/raw/query:x?app=k3", &[(AUTHORIZATION, "Bearer good-ann")]).app.id.as_str(), "query");
}

#[test]
fn other_paths_are_no_websockets() {
    for path in ["/", "", "/wss", "/ws/a/b", "/rawx", "/chat/", "/api/v1/publish", "/WS"] {
        assert!(matches!(try_admit(path, &[], true), Ok(None)), "{path}");
    }
}

#[test]
fn what_cannot_be_read_or_found_is_refused() {
    for (address, expected) in [
        ("/ws/", (404, "unknown_app")),
        ("/ws/none", (404, "unknown_app")),
        ("/raw/room:a?app=none", (404, "unknown_app")),
        ("/raw", (400, "bad_channel")),
        ("/raw/", (400, "bad_channel")),
        ("/raw/a%23b", (400, "bad_channel")),
        ("/raw/a+b", (400, "bad_channel")),
        ("/raw/a%0d%0ab", (400, "bad_channel")),
        ("/raw/%ff", (400, "bad_channel")),
        ("/raw/%4", (400, "bad_channel")),
        ("/chat?since=7", (400, "bad_request")),
        ("/chat?since=e1:-7", (400, "bad_request")),
        ("/chat?echo=no", (400, "bad_request")),
        ("/ws?batch=2", (400, "bad_request")),
        ("/ws?batch=1&batch=1", (400, "bad_request")),
        ("/ws?x=%", (400, "bad_request")),
        ("/raw/other", (403, "permission_denied")),
    ] {
        assert_eq!(refused(address, &[]), expected, "{address}");
    }
    let long = format!("/raw/{}", "x".repeat(201));
    assert_eq!(refused(&long, &[]), (400, "bad_channel"));
    assert_eq!(try_admit("/ws", &[], false).unwrap_err().status, 404);
}

#[test]
fn pages_of_other_origins_are_refused_and_programs_are_not() {
    admitted("/ws", &[]);
    admitted("/ws", &[(ORIGIN, "https://app.example.com")]);
    for origin in
        ["null", "", "https://example.com", "https://evil-example.com", "https://app.example.com.evil.com", "\u{e9}"]
    {
        assert_eq!(refused("/ws", &[(ORIGIN, origin)]), (403, "origin_not_allowed"), "{origin:?}");
    }
    let twice = [(ORIGIN, "https://app.example.com"), (ORIGIN, "https://evil.com")];
    assert_eq!(refused("/ws", &twice), (403, "origin_not_allowed"));
    // A good token does not help: the page is what is not trusted.
    let token = [(ORIGIN, "https://evil.com"), (AUTHORIZATION, "Bearer good-ann")];
    assert_eq!(refused("/ws", &token), (403, "origin_not_allowed"));
}

#[test]
fn a_token_is_taken_from_the_first_place_that_has_one() {
    let user = |address, headers: &[(&'static str, &str)]| {
        admitted(address, headers).identity.map(|identity| identity.user.as_str().to_owned())
    };
    let protocols = "switchboard.v1.json, switchboard.token.good-bob";
    assert_eq!(user("/ws", &[]), None);
    assert_eq!(user("/ws", &[(AUTHORIZATION, "bearer good-ann")]).as_deref(), Some("ann"));
    assert_eq!(user("/ws", &[(PROTOCOL, protocols)]).as_deref(), Some("bob"));
    assert_eq!(user("/ws/k3?token=good-eve", &[]).as_deref(), Some("eve"));
    let all = [(PROTOCOL, protocols), (AUTHORIZATION, "Bearer good-ann")];
    assert_eq!(user("/ws/k3?token=good-eve", &all).as_deref(), Some("ann"));
    assert_eq!(user("/ws/k3?token=good-eve", &[(PROTOCOL, protocols)]).as_deref(), Some("bob"));
    // A scheme that is not ours.
    assert_eq!(user("/ws", &[(AUTHORIZATION, "Basic YTpi")]), None);
    assert_eq!(
        user("/ws", &[(AUTHORIZATION, "Basic YTpi"), (AUTHORIZATION, "Bearer good-ann")]).as_deref(),
        Some("ann")
    );
}

#[test]
fn bad_tokens_are_refused_without_being_repeated() {
    for (address, headers, expected) in [
        ("/ws", &[(AUTHORIZATION, "Bearer CANARY")][..], (401, "bad_token")),
        ("/ws", &[(AUTHORIZATION, "Bearer ")], (401, "bad_token")),
        ("/ws", &[(PROTOCOL, "switchboard.token.CANARY")], (401, "bad_token")),
        ("/ws", &[(PROTOCOL, "switchboard.token.")], (401, "bad_token")),
        ("/ws/k3?token=CANARY", &[], (401, "bad_token")),
        ("/ws?token=CANARY", &[], (401, "unauthenticated")),
        ("/ws?token=good-CANARY", &[], (401, "unauthenticated")),
        ("/ws/k3?token=CANARY&token=CANARY", &[], (400, "bad_request")),
        ("/ws", &[(AUTHORIZATION, "Bearer CANARY"), (AUTHORIZATION, "Bearer CANARY")], (400, "bad_request")),
        ("/ws", &[(PROTOCOL, "switchboard.token.CANARY,switchboard.token.CANARY")], (400, "bad_request")),
        ("/ws", &[(AUTHORIZATION, "Bearer CANARY\u{e9}")], (400, "bad_request")),
    ] {
        assert_eq!(refused(address, headers), expected, "{address} {headers:?}");
        let refusal = try_admit(address, headers, true).unwrap_err();
        assert!(!format!("{refusal:?}").contains("CANARY"), "{refusal:?}");
    }
}

#[test]
fn who_must_authenticate_may_do_so_later_only_where_there_is_a_first_message() {
    assert!(admitted("/ws/k2", &[]).identity.is_none());
    assert_eq!(refused("/raw/closed:x?app=k2", &[]), (401, "unauthenticated"));
    admitted("/raw/closed:x?app=k2", &[(AUTHORIZATION, "Bearer good-ann")]);
    assert_eq!(refused("/raw/x?app=k2", &[(AUTHORIZATION, "Bearer good-ann")]), (403, "permission_denied"));
    // A token replaces the rights of the anonymous, it does not add to them.
    assert_eq!(refused("/chat", &[(AUTHORIZATION, "Bearer good-ann")]), (403, "permission_denied"));
}

#[test]
fn subprotocols_are_selected_but_never_one_that_carries_a_token() {
    let selected = |address, value: &str| admitted(address, &[(PROTOCOL, value)]).subprotocol;
    assert_eq!(selected("/ws", "switchboard.v1.json"), Some("switchboard.v1.json"));
    assert_eq!(selected("/ws", "mqtt , switchboard.token.good-ann,switchboard.v1.json"), Some("switchboard.v1.json"));
    assert_eq!(selected("/ws", "switchboard.token.good-ann"), None);
    assert_eq!(selected("/ws", "mqtt,,"), None);
    assert_eq!(selected("/chat", "switchboard.v1.json, switchboard.v1.raw"), Some("switchboard.v1.raw"));
    let spread = [(PROTOCOL, "mqtt"), (PROTOCOL, "switchboard.v1.json")];
    assert_eq!(admitted("/ws", &spread).subprotocol, Some("switchboard.v1.json"));
    assert_eq!(refused("/ws", &[(PROTOCOL, &"a,".repeat(33))]), (400, "bad_request"));
    assert_eq!(refused("/ws", &[(PROTOCOL, "\u{e9}")]), (400, "bad_request"));
}

#[test]
fn clients_of_pusher_are_refused_in_their_own_way() {
    use switchboard_dialects::pusher::Refused;
    for (address, refused) in [
        ("/app/k1?protocol=7&client=js&version=8.4.0&flash=false", None),
        ("/app/k1?protocol=5", None),
        ("/app/k1", Some(Refused::NoVersion)),
        ("/app/k1?protocol=x", Some(Refused::BadVersion)),
        ("/app/k1?protocol=4", Some(Refused::UnsupportedVersion)),
        ("/app/k1?protocol=8", Some(Refused::UnsupportedVersion)),
        ("/app/k2?protocol=7", Some(Refused::Disabled)),
        ("/app/nokey?protocol=7", Some(Refused::UnknownApp)),
        ("/app/nokey", Some(Refused::UnknownApp)),
    ] {
        assert_eq!(admitted(address, &[]).opening, Opening::Pusher { refused }, "{address}");
    }
    let page = admitted("/app/nokey?protocol=7", &[(ORIGIN, "https://evil.example")]);
    assert_eq!(page.opening, Opening::Pusher { refused: Some(Refused::UnknownApp) });
    assert_eq!(refused("/app/k2?protocol=7", &[(ORIGIN, "https://evil.example")]), (403, "origin_not_allowed"));
    assert_eq!(refused("/app/k1?protocol=7&protocol=7", &[]), (400, "bad_request"));
    assert_eq!(refused("/app/k1?protocol=7", &[(ORIGIN, "https://evil.example")]), (403, "origin_not_allowed"));
    assert!(try_admit("/app/k1/x?protocol=7", &[], true).unwrap().is_none());
}

#[test]
fn what_an_application_does_not_serve_is_refused() {
    #[derive(Debug)]
    struct Nothing(Apps);
    impl Directory for Nothing {
        fn default_app(&self) -> Option<Arc<App>> {
            self.0.default_app()
        }
        fn app_by_key(&self, key: &str) -> Option<Arc<App>> {
            self.0.app_by_key(key)
        }
        fn origin_allowed(&self, app: &AppId, origin: &str) -> bool {
            self.0.origin_allowed(app, origin)
        }
        fn serves(&self, _: &AppId, _: &str) -> bool {
            false
        }
        fn query_token_allowed(&self, app: &AppId) -> bool {
            self.0.query_token_allowed(app)
        }
        fn raw_path(&self, path: &str) -> Option<(Arc<App>, ChannelName)> {
            self.0.raw_path(path)
        }
        fn authenticate(&self, app: &AppId, token: &str, now: Time) -> Result<Identity, Reject> {
            self.0.authenticate(app, token, now)
        }
        fn check_signed(&self, app: &AppId, signed: &Signed) -> Result<(), Reject> {
            self.0.check_signed(app, signed)
        }
    }
    for path in ["/ws", "/ws/k1", "/raw/room:1", "/chat"] {
        let peer = IpAddr::from([192, 0, 2, 1]);
        let request = UpgradeRequest { path, query: None, headers: &HeaderMap::new(), peer, secure: false };
        let directory = Nothing(Apps { default: true });
        let refusal = admit(&request, &directory, &TrustedProxies::default(), Time::from_secs(1)).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code.as_str()), (403, "protocol_disabled"), "{path}");
    }
}
