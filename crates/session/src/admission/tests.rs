//! Admission as a whole: each address, each place of a token, each refusal.

#![allow(clippy::unwrap_used)]

use super::*;
use switchboard_core::{AppId, ChannelMatch, Epoch, Grant, Position, Reject, RejectCode, Signed, Since, UserId};
use switchboard_dialects::{Form, PostKind, Wanted};

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
        assert!(crate::DIALECTS.contains(&protocol), "{protocol} is a name of no dialect");
        app.as_str() != "closed" || protocol != "pusher"
    }

    fn check_signed(&self, _: &AppId, _: &Signed) -> Result<(), Reject> {
        Ok(())
    }

    fn query_token_allowed(&self, app: &AppId) -> bool {
        app.as_str() == "query"
    }

    fn token_cookie(&self, app: &AppId) -> Option<Arc<str>> {
        (app.as_str() == "query").then(|| "sb_token".into())
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
    let method = if path.starts_with("/client/") { Method::POST } else { Method::GET };
    let request = RequestHead { method: &method, path, query, headers: &map, peer, secure: false };
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
        fn token_cookie(&self, app: &AppId) -> Option<Arc<str>> {
            self.0.token_cookie(app)
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
    for (path, query) in [
        ("/ws", None),
        ("/ws/k1", None),
        ("/raw/room:1", None),
        ("/chat", None),
        ("/sse", Some("channel=room:1")),
        ("/stream", Some("channel=room:1")),
        ("/poll", Some("channel=room:1")),
    ] {
        let peer = IpAddr::from([192, 0, 2, 1]);
        let request =
            RequestHead { method: &Method::GET, path, query, headers: &HeaderMap::new(), peer, secure: false };
        let directory = Nothing(Apps { default: true });
        let refusal = admit(&request, &directory, &TrustedProxies::default(), Time::from_secs(1)).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code.as_str()), (403, "protocol_disabled"), "{path}");
    }
}

#[test]
fn the_reference_names_every_refusal() {
    const REFERENCE: &str = include_str!("../../../../docs/reference/http-api.md");
    for code in [
        RefusalCode::BadRequest,
        RefusalCode::BadChannel,
        RefusalCode::Unauthenticated,
        RefusalCode::BadToken,
        RefusalCode::OriginNotAllowed,
        RefusalCode::PermissionDenied,
        RefusalCode::ProtocolDisabled,
        RefusalCode::UnknownApp,
        RefusalCode::MethodNotAllowed,
    ] {
        let row = format!("| {} | `{}` |", code.status().as_u16(), code.as_str());
        assert!(REFERENCE.contains(&row), "{row}");
    }
}

fn listening(address: &str, headers: &[(&'static str, &str)]) -> (Form, Wanted) {
    match admitted(address, headers).opening {
        Opening::Listen { form, wanted } => (form, wanted),
        other => panic!("{other:?}"),
    }
}

fn since_of(wanted: &Wanted) -> Vec<Option<Since>> {
    wanted.channels.iter().map(|(_, since)| *since).collect()
}

fn at(epoch: u64, offset: u64) -> Option<Since> {
    Some(Since::Position(Position { epoch: Epoch(epoch), offset }))
}

#[test]
fn an_address_of_plain_http_says_what_its_client_hears() {
    let (form, wanted) = listening("/sse?channel=room:1", &[]);
    assert_eq!((form, wanted.returns, since_of(&wanted)), (Form::Data, false, vec![None]));
    assert_eq!(listening("/sse?channel=room:1&format=message", &[]).0, Form::Messages);
    let (form, wanted) =
        listening("/sse?channel=room:1&channel=room:2&pattern=room/%2B&presence=1&rate=5&cached=1", &[]);
    assert_eq!(
        (form, wanted.patterns.len(), wanted.presence, wanted.rate, wanted.cached),
        (Form::Many, 1, true, 5, true)
    );
    assert_eq!(listening("/sse?pattern=room/%23", &[]).0, Form::Many);
    assert_eq!(listening("/stream?channel=room:1", &[]).0, Form::Lines);
    let poll = |address| match admitted(address, &[]).opening {
        Opening::Poll { messages_max, wait, .. } => (messages_max, wait.as_secs()),
        other => panic!("{other:?}"),
    };
    assert_eq!(poll("/poll?channel=room:1"), (100, 25));
    assert_eq!(poll("/poll?channel=room:1&limit=7&wait=0"), (7, 0));
    assert_eq!(admitted("/client/v1/history", &[]).opening, Opening::Post { kind: PostKind::History });
}

#[test]
fn where_a_listener_was_is_in_its_header_or_its_address() {
    let several = "/sse?channel=room:1&channel=room:2";
    let last = |id: &str| since_of(&listening(several, &[("last-event-id", id)]).1);
    assert_eq!(last("e1:7,.0:9"), [at(0xe1, 7), at(0xe1, 9)]);
    assert_eq!(last("e1:7,"), [at(0xe1, 7), None]);
    // Of another server, or of other channels.
    for foreign in ["42", "e1:7", "e1:7,e1:8,e1:9", "\u{e9}"] {
        assert_eq!(last(foreign), [Some(Since::Unknown); 2], "{foreign}");
    }
    let one = "/sse?channel=room:1";
    assert_eq!(since_of(&listening("/sse?channel=room:1&lastEventId=e1:3", &[]).1), [at(0xe1, 3)]);
    assert_eq!(since_of(&listening("/sse?channel=room:1&since=e1:3", &[("last-event-id", "e1:5")]).1), [at(0xe1, 5)]);
    assert_eq!(
        since_of(&listening("/stream?channel=room:1&since=e1:3", &[("last-event-id", "e1:5")]).1),
        [at(0xe1, 3)]
    );
    // As a browser sends it that got no event yet.
    let (_, wanted) = listening(one, &[("last-event-id", "")]);
    assert_eq!((wanted.returns, since_of(&wanted)), (false, vec![None]));
}

#[test]
fn what_plain_http_cannot_do_is_refused_before_anything_begins() {
    for (address, expected) in [
        ("/sse", (400, "bad_request")),
        ("/sse?channel=", (400, "bad_channel")),
        ("/sse?channel=room:%0A", (400, "bad_channel")),
        ("/sse?channel=room:1&channel=room:1", (400, "bad_request")),
        ("/sse?channel=room:1&pattern=a%23", (400, "bad_channel")),
        ("/sse?channel=room:1&pattern=a/%23&pattern=a/%23", (400, "bad_request")),
        ("/sse?channel=room:1&channel=room:2&format=data", (400, "bad_request")),
        ("/sse?channel=room:1&format=xml", (400, "bad_request")),
        ("/sse?channel=room:1&rate=0", (400, "bad_request")),
        ("/sse?channel=room:1&since=7", (400, "bad_request")),
        ("/poll?channel=room:1&since=e1:1,e1:2", (400, "bad_request")),
        ("/poll?channel=room:1&limit=1001", (400, "bad_request")),
        ("/poll?channel=room:1&wait=61", (400, "bad_request")),
        ("/poll?channel=room:1&wait=+1", (400, "bad_request")),
        ("/sse?channel=secret", (403, "permission_denied")),
        ("/sse?channel=room:1&channel=secret", (403, "permission_denied")),
        ("/sse?channel=room:1&app=none", (404, "unknown_app")),
        ("/sse?channel=closed:1&app=k2", (401, "unauthenticated")),
        ("/client/v1/publish?app=k2", (401, "unauthenticated")),
        ("/sse?channel=query:1&app=k2&token=good-ann", (401, "unauthenticated")),
    ] {
        assert_eq!(refused(address, &[]), expected, "{address}");
    }
    let many: String = (0..129).map(|n| format!("&channel=room:{n}")).collect();
    assert_eq!(refused(&format!("/sse?{many}"), &[]), (400, "bad_request"));
    let none = |address| matches!(try_admit(address, &[], true), Ok(None));
    assert!(none("/sse/") && none("/client/v1/") && none("/client/v1/subscribe") && none("/client/v1/publish/x"));
    let request = |method: Method| {
        let headers = HeaderMap::new();
        let head = RequestHead {
            method: &method,
            path: "/sse",
            query: Some("channel=room:1"),
            headers: &headers,
            peer: IpAddr::from([192, 0, 2, 1]),
            secure: false,
        };
        admit(&head, &Apps { default: true }, &TrustedProxies::default(), Time::from_secs(1)).unwrap_err()
    };
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        let refusal = request(method);
        assert_eq!(refusal.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refusal.headers.unwrap().get(header::ALLOW).unwrap(), "GET, OPTIONS");
    }
}

#[test]
fn a_cookie_is_a_token_only_where_it_is_named_and_only_over_plain_http() {
    let cookie = [("cookie", "theme=dark; sb_token=good-ann; sb_token=good-bob")];
    let user = |admission: Admission| admission.identity.map(|identity| identity.user.as_str().to_owned());
    assert_eq!(user(admitted("/sse?app=k3&channel=query:1", &cookie)).as_deref(), Some("ann"));
    let header = [("cookie", "sb_token=good-ann"), (AUTHORIZATION, "Bearer good-eve")];
    assert_eq!(user(admitted("/sse?app=k3&channel=query:1", &header)).as_deref(), Some("eve"));
    // `closed` names none, and a WebSocket takes none.
    assert_eq!(refused("/sse?app=k2&channel=closed:1", &cookie), (401, "unauthenticated"));
    assert_eq!(user(admitted("/ws/k3", &cookie)), None);
    assert_eq!(refused("/poll?app=k3&channel=query:1", &[("cookie", "sb_token=bad")]), (401, "bad_token"));
}

#[test]
fn pages_of_allowed_origins_read_answers_and_refusals_and_others_neither() {
    let good = [(ORIGIN, "https://a.example.com")];
    let allowed = |headers: &HeaderMap| {
        assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://a.example.com");
        assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).unwrap(), "true");
        assert_eq!(headers.get(header::VARY).unwrap(), "origin");
    };
    allowed(&admitted("/sse?channel=room:1", &good).headers);
    let refusal = try_admit("/sse?channel=secret", &good, true).unwrap_err();
    allowed(&refusal.headers.unwrap());
    let refusal = try_admit("/sse?channel=room:1", &[(ORIGIN, "https://evil.example")], true).unwrap_err();
    assert_eq!((refusal.code, refusal.headers), (RefusalCode::OriginNotAllowed, None));
    // Programs have no origin, and a WebSocket's answer needs none.
    let headers = admitted("/sse?channel=room:1", &[]).headers;
    assert!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none() && headers.contains_key(header::VARY));
    assert!(admitted("/ws", &good).headers.is_empty());

    let asked = |method: &Method, path: &str, origin: &'static str| {
        let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        let peer = IpAddr::from([192, 0, 2, 1]);
        let head = RequestHead { method, path, query: None, headers: &headers, peer, secure: false };
        preflight(&head, &Apps { default: true })
    };
    let headers = asked(&Method::OPTIONS, "/client/v1/publish", "https://a.example.com").unwrap().unwrap();
    allowed(&headers);
    assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_METHODS).unwrap(), "POST, OPTIONS");
    assert!(headers.get(header::ACCESS_CONTROL_ALLOW_HEADERS).unwrap().to_str().unwrap().contains("last-event-id"));
    let refusal = asked(&Method::OPTIONS, "/sse", "https://evil.example").unwrap().unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OriginNotAllowed);
    assert!(asked(&Method::GET, "/sse", "https://a.example.com").is_none());
    assert!(asked(&Method::OPTIONS, "/ws", "https://a.example.com").is_none());
}
