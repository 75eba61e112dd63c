//! Every error names its key, and what is insecure does not start.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use std::io::Write;
use switchboard_core::{ChannelOptions, Operations, Overflow, Time};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const API_KEY: &str = "CANARY-api-key-0123456789";

fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<RawConfig, ConfigError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Some(file.path()), environment)
}

fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    check(&load_text(text, environment)?, |name| {
        environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

/// The error as one text, with the path of the temporary file cut off.
fn error(text: &str) -> String {
    read(text, &[]).unwrap_err().to_string()
}

#[test]
fn nothing_written_is_a_good_configuration() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin_listen.unwrap().to_string(), "127.0.0.1:8081");
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.channels, Channels::default());
    assert_eq!(config.compression, None);
    assert!(config.apps.is_empty() && config.raw.is_empty() && config.tls.is_none());
}

#[test]
fn everything_written_is_meant() {
    let config = read(
        &format!(
            r#"
            [server]
            listen = "0.0.0.0:443"
            admin_listen = "off"
            shards = 4
            trusted_proxies = ["10.0.0.0/8"]
            drain_window = "1m"
            [tls]
            cert = "/c.pem"
            key = "/k.pem"
            [limits]
            message_bytes = "1MiB"
            outbox_bytes = 4_194_304
            operations_per_second = 0
            [heartbeat]
            interval = "30s"
            [compression]
            enabled = true
            level = 6
            message_bytes_min = "1KiB"
            contexts_max = 100
            [channels]
            history_size = 10
            history_ttl = "1h"
            [[apps]]
            id = "shop"
            key = "shop-key"
            secret = "{SECRET}"
            secrets = [{{ kid = "2", value = "{SECRET}x" }}]
            origins = ["https://shop.example", "https://*.shop.example"]
            anonymous = [{{ match = "news:*", allow = ["subscribe", "history"] }}]
            api_keys = ["{API_KEY}"]
            [apps.channels]
            presence = false
            overflow = "drop_oldest"
            conflate_by = "channel"
            rate = 5
            [[apps]]
            id = "bank"
            default = true
            secret = {{ env = "BANK", kid = "b" }}
            [[raw]]
            path = "/chat"
            channel = "room:lobby"
            app = "shop"
            "#
        ),
        &[("BANK", SECRET)],
    )
    .unwrap();
    assert_eq!((config.shards, config.admin_listen, config.drain_window), (4, None, Duration::from_secs(60)));
    assert!(config.proxies.contains("10.1.1.1".parse().unwrap()));
    assert_eq!(config.tls, Some(TlsFiles { cert: "/c.pem".into(), key: "/k.pem".into() }));
    let [shop, bank] = &config.apps[..] else { panic!("two applications") };
    assert_eq!((shop.key.as_str(), shop.default, bank.key.as_str(), bank.default), ("shop-key", false, "bank", true));
    assert_eq!(shop.app.limits.message_bytes, 1 << 20);
    assert_eq!(shop.app.limits.heartbeat, Duration::from_secs(30));
    assert_eq!(config.compression, Some(Compression { level: 6, message_bytes_min: 1024, contexts_max: 100 }));
    let channels = shop.app.channels.defaults();
    assert_eq!((channels.history_size, channels.presence, channels.overflow), (10, false, Overflow::DropOldest));
    assert_eq!(shop.token_keys.iter().map(|key| key.kid.as_deref()).collect::<Vec<_>>(), [None, Some("2")]);
    assert_eq!(shop.app.anonymous.as_ref().unwrap().len(), 1);
    assert!(bank.app.anonymous.is_none());
    assert_eq!(bank.token_keys[0].secret.reveal(), SECRET);
    assert_eq!(config.raw[0].app.as_deref(), Some("shop"));
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    for (text, expected) in [
        ("[server]\nlissten = 1", "server.lissten: unknown key; did you mean \"listen\"?"),
        ("[server]\nmessage_bytes = 1", "server.message_bytes: unknown key; \"message_bytes\" belongs into [limits]"),
        ("listen = \"x\"", "listen: unknown key; \"listen\" belongs into [server]"),
        ("[sever]\n", "sever: unknown key; did you mean \"server\"?"),
        ("[heartbeat]\nfoo = 1", "heartbeat.foo: unknown key; there are interval, timeout"),
        ("[[apps]]\nid = \"a\"\norigns = []", "apps[0].origns: unknown key; did you mean \"origins\"?"),
        ("[[apps]]\nanonymous = [{ mach = \"x\" }]", "apps[0].anonymous[0].mach: unknown key; did you mean \"match\"?"),
        ("[[apps]]\npresence = true", "apps[0].presence: unknown key; \"presence\" belongs into [channels]"),
        ("[channels]\nhistry_size = 1", "channels.histry_size: unknown key; did you mean \"history_size\"?"),
        ("[[namespaces]]\nprescence = true", "namespaces[0].prescence: unknown key; did you mean \"presence\"?"),
        ("[[apps]]\n[[apps.namespaces]]\nnam = 1", "apps[0].namespaces[0].nam: unknown key; did you mean \"name\"?"),
        ("[[raw]]\n[[raw]]\nchanel = 1", "raw[1].chanel: unknown key; did you mean \"channel\"?"),
        ("[[apps]]\nsecret = { fille = \"x\" }", "apps[0].secret.fille: unknown key; did you mean \"file\"?"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    assert_eq!(error("[server]\na1 = 1\n[tls]\nzzz = 1").lines().count(), 2);
}

#[test]
fn wrong_types_name_their_key() {
    for (text, expected) in [
        ("[server]\nlisten = 1", "server.listen: invalid type: integer `1`, expected a string"),
        ("[server]\nshards = \"many\"", "server.shards: \"many\" is not a whole number"),
        ("[server]\nshards = -1", "server.shards: -1 is not a whole number"),
        ("[heartbeat]\ninterval = 25", "heartbeat.interval: 25 is not a duration with its unit, such as \"25s\""),
        ("[heartbeat]\ninterval = \"25\"", "heartbeat.interval: \"25\" is not a duration"),
        ("[limits]\nmessage_bytes = \"64kb\"", "limits.message_bytes: \"64kb\" is not a number of bytes"),
        ("[limits]\nmessage_bytes = true", "limits.message_bytes: invalid type: boolean `true`"),
        ("[[apps]]\ndefault = 1", "apps[0].default: invalid type: integer `1`, expected a boolean"),
        ("[[apps]]\nchannels = { overflow = \"drop\" }", "apps[0].channels.overflow: unknown variant `drop`"),
        ("[[apps]]\nsecret = 12345", "apps[0].secret: a secret is a text: write it in quotes"),
        ("[[apps]]\nsecret = {}", "apps[0].secret: a secret has exactly one of value, file, env"),
        (
            "[[apps]]\nsecret = { value = \"x\", env = \"Y\" }",
            "apps[0].secret: a secret has exactly one of value, file, env",
        ),
        (
            "[[apps]]\nanonymous = [\"subscribe\"]",
            "apps[0].anonymous[0]: invalid type: string \"subscribe\", expected a table such as { match = \"news:*\", allow = [\"subscribe\"] }",
        ),
        ("apps = 1", "apps: invalid type: integer `1`"),
        ("server = 1", "server: invalid type"),
    ] {
        let shown = error(text);
        assert!(shown.starts_with(expected), "{text}\n  gave {shown}");
    }
}

#[test]
fn wrong_values_name_their_key() {
    let app = |rest: &str| format!("[[apps]]\nid = \"a\"\nsecret = \"{SECRET}\"\n{rest}");
    for (text, expected) in [
        ("[server]\nlisten = \"8080\"".to_owned(), "server.listen: \"8080\" is not an address and port"),
        ("[server]\nadmin_listen = \"x\"".to_owned(), "server.admin_listen: \"x\" is not an address and port"),
        ("[server]\nshards = 5000".to_owned(), "server.shards: 5000 is not between 0 and 1024"),
        ("[server]\nconnections_max = 0".to_owned(), "server.connections_max: 0 is less than 1"),
        (
            "[server]\ntrusted_proxies = [\"::1\", \"10/8\"]".to_owned(),
            "server.trusted_proxies[1]: \"10/8\": not an IP address",
        ),
        ("[http2]\nstreams_max = 0".to_owned(), "http2.streams_max: 0"),
        ("[http2]\nping_interval = \"10ms\"".to_owned(), "http2.ping_interval: 10ms is less than 1s"),
        ("[server]\nposition_check = \"999ms\"".to_owned(), "server.position_check: 999ms is less than 1s"),
        ("[server]\nheader_timeout = \"0s\"".to_owned(), "server.header_timeout: 0s is less than 100ms"),
        ("[tls]\ncert = \"x\"".to_owned(), "tls.key: is missing"),
        ("[tls]\nkey = \"x\"".to_owned(), "tls.cert: is missing"),
        ("[limits]\nmessage_bytes = 0".to_owned(), "limits.message_bytes: 0 is not between 1 and 64MiB"),
        ("[limits]\noutbox_bytes = 10".to_owned(), "limits.outbox_bytes: 10 is less than limits.message_bytes"),
        ("[limits]\nchannels = 0".to_owned(), "limits.channels: 0 is not between"),
        ("[limits]\noperations_burst = 0".to_owned(), "limits.operations_burst: 0 is not between"),
        ("[limits]\nauthentication_timeout = \"1ms\"".to_owned(), "limits.authentication_timeout: 1ms is less than 1s"),
        ("[compression]\nlevel = 0".to_owned(), "compression.level: 0 is not"),
        ("[compression]\nlevel = 10".to_owned(), "compression.level: 10 is not"),
        ("[heartbeat]\ntimeout = \"0s\"".to_owned(), "heartbeat.timeout: 0s is less than 1s"),
        ("[[apps]]\nsecret = \"short\"\nid = \"a\"".to_owned(), "apps[0].secret: has 5 bytes, and needs at least 32"),
        ("[[apps]]\nsecret = { file = \"/nowhere\" }\nid = \"a\"".to_owned(), "apps[0].secret: cannot read /nowhere"),
        (
            "[[apps]]\nsecret = { env = \"NOWHERE\" }\nid = \"a\"".to_owned(),
            "apps[0].secret: the environment variable NOWHERE is not set",
        ),
        ("[[apps]]\nid = \"a\"".to_owned(), "apps[0].secret: is missing"),
        (
            app("anonymous = [{ match = \"a/+\", allow = [\"*\"] }]"),
            "apps[0].anonymous[0].match: \"a/+\" stands for no channel",
        ),
        (
            app("anonymous = [{ match = \"#\", allow = [\"*\"] }]"),
            "apps[0].anonymous[0].match: \"#\" stands for no channel",
        ),
        (
            "[server]\nlisten = \"127.0.0.1:8081\"".to_owned(),
            "server.admin_listen: 127.0.0.1:8081 is server.listen too: choose another port",
        ),
        (format!("[[apps]]\nsecret = \"{SECRET}\""), "apps[0].id: is missing"),
        (format!("[[apps]]\nid = \"a b\"\nsecret = \"{SECRET}\""), "apps[0].id: \"a b\": use 1 to 64 letters"),
        (app("key = \"a/b\""), "apps[0].key: \"a/b\": use 1 to 64 letters"),
        (app("origins = [\"example.com\"]"), "apps[0].origins[0]: \"example.com\": an origin begins with a scheme"),
        (app("anonymous = [{ match = \"x\", allow = [\"read\"] }]"), "apps[0].anonymous[0].allow: \"read\" is none of"),
        (app("anonymous = [{ allow = [\"*\"] }]"), "apps[0].anonymous[0].match: is missing"),
        (app("anonymous = [{ match = \"x\" }]"), "apps[0].anonymous[0].allow: is missing"),
        (app("api_keys = [\"short\"]"), "apps[0].api_keys[0]: has 5 bytes, and needs at least 16"),
        (app(&format!("secrets = [\"{SECRET}\"]")), "apps[0].secrets[0].kid: another secret has the same kid"),
        (app(&app("")), "apps[1].id: \"a\" is the id of another application"),
        (
            app(&app("default = true").replace("\"a\"", "\"b\"")).replacen("id", "default = true\nid", 1),
            "apps[1].default: another application",
        ),
        (
            app(&format!(
                "api_keys = [\"{API_KEY}\"]\n{}",
                app(&format!("api_keys = [\"{API_KEY}\"]")).replace("\"a\"", "\"b\"")
            )),
            "apps[1].api_keys[0]: is a key of another application",
        ),
        ("[[raw]]\npath = \"chat\"\nchannel = \"c\"".to_owned(), "raw[0].path: \"chat\" is not a path"),
        ("[[raw]]\npath = \"/ws/x\"\nchannel = \"c\"".to_owned(), "raw[0].path: \"/ws/x\" is taken"),
        ("[[raw]]\npath = \"/\"\nchannel = \"c\"".to_owned(), "raw[0].path: \"/\" is taken"),
        ("[[raw]]\npath = \"/c\"\nchannel = \"\"".to_owned(), "raw[0].channel: channel name is empty"),
        (
            "[[raw]]\npath = \"/c\"\nchannel = \"c\"\napp = \"x\"".to_owned(),
            "raw[0].app: there is no application \"x\"",
        ),
        ("[[raw]]\npath = \"/c\"\nchannel = \"c\"\n".repeat(2), "raw[1].path: \"/c\" is there twice"),
    ] {
        let shown = error(&text);
        assert!(shown.starts_with(expected), "{text}\n  gave {shown}");
    }
}

#[test]
fn what_others_can_reach_needs_an_application_and_origins() {
    let shown = error("[server]\nlisten = \"0.0.0.0:8080\"");
    assert!(shown.starts_with("apps: is missing") && shown.contains("[[apps]] with id, secret and origins"), "{shown}");
    let shown = error("[server]\nadmin_listen = \"0.0.0.0:8081\"");
    assert!(shown.starts_with("server.admin_listen: 0.0.0.0:8081 can be reached from elsewhere"), "{shown}");
    let any = format!("[[apps]]\nid = \"a\"\nsecret = \"{SECRET}\"\norigins = [\"https://x\", \"*\"]");
    let shown = error(&format!("[server]\nlisten = \"[::]:8080\"\n{any}"));
    assert!(shown.starts_with("apps[0].origins[1]: \"*\" lets every page on the web connect"), "{shown}");
    // On loopback it is the developer's own business.
    assert!(read(&any, &[]).is_ok());
    assert!(read("[server]\nlisten = \"[::1]:8080\"", &[]).is_ok());
}

#[test]
fn all_problems_are_told_at_once() {
    let shown = error("[server]\nlisten = \"x\"\n[tls]\ncert = \"y\"\n[[apps]]\nid = \"a\"");
    assert_eq!(shown.lines().count(), 3, "{shown}");
    // And once: a secret that is no good is not missing as well.
    for secret in ["\"short\"", "{ file = \"/nowhere\" }", "{ env = \"NOWHERE\" }"] {
        let shown = error(&format!("[[apps]]\nid = \"a\"\nsecret = {secret}"));
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn the_environment_wins_and_is_named() {
    let text = format!("[server]\nlisten = \"127.0.0.1:1\"\n[[apps]]\nid = \"a\"\nsecret = \"{SECRET}\"");
    let config = read(
        &text,
        &[
            ("SWITCHBOARD_SERVER__LISTEN", "127.0.0.1:2"),
            ("SWITCHBOARD_SERVER__SHARDS", "3"),
            ("SWITCHBOARD_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]"),
            ("SWITCHBOARD_LIMITS__MESSAGE_BYTES", "32KiB"),
            ("SWITCHBOARD_APPS__0__ALLOW_QUERY_TOKEN", "true"),
            ("SWITCHBOARD_APPS__0__SECRET", "12345678901234567890123456789012"),
            ("SWITCHBOARD_APPS__1__ID", "b"),
            ("SWITCHBOARD_APPS__1__SECRET", SECRET),
            ("SWITCHBOARD_TOKEN", "not configuration"),
            ("OTHER__THING", "x"),
        ],
    )
    .unwrap();
    assert_eq!((config.listen.port(), config.shards, config.limits.message_bytes), (2, 3, 32 * 1024));
    assert!(config.proxies.contains("10.0.0.1".parse().unwrap()));
    assert!(config.apps[0].allow_query_token);
    assert_eq!(config.apps[0].token_keys[0].secret.reveal(), "12345678901234567890123456789012");
    assert_eq!(config.apps[1].app.id.as_str(), "b");

    let shown = |name: &str, value: &str| read(&text, &[(name, value)]).unwrap_err().to_string();
    assert_eq!(
        shown("SWITCHBOARD_SERVER__LISSTEN", "x"),
        "server.lissten (set by SWITCHBOARD_SERVER__LISSTEN): unknown key; did you mean \"listen\"?"
    );
    assert!(
        shown("SWITCHBOARD_SERVER__SHARDS", "x").starts_with("server.shards (set by SWITCHBOARD_SERVER__SHARDS): ")
    );
    assert!(shown("SWITCHBOARD_SERVER__LISTEN__X", "x").contains("cannot be set by"));
    for name in ["SWITCHBOARD_LISTEN", "SWITCHBOARD_SERVER_LISTEN"] {
        let expected = format!("{name}: sets nothing; did you mean SWITCHBOARD_SERVER__LISTEN, for server.listen?");
        assert_eq!(shown(name, "0.0.0.0:80"), expected);
    }
    // The command line's, and what Kubernetes sets for a service of this name.
    for name in ["SECRET", "API_KEY", "URL", "PORT", "SERVICE_HOST", "SERVICE_PORT", "PORT_8080_TCP_ADDR"] {
        assert!(read(&text, &[(&format!("SWITCHBOARD_{name}"), "x")]).is_ok(), "{name}");
    }
    assert!(shown("SWITCHBOARD_APPS__7__ID", "x").contains("cannot be set by"));
    assert!(shown("SWITCHBOARD_SERVER__TRUSTED_PROXIES", "[").starts_with("SWITCHBOARD_SERVER__TRUSTED_PROXIES: "));
}

#[test]
fn secrets_are_in_no_error_and_not_shown() {
    let text = format!("[[apps]]\nid = \"a\"\nsecret = \"CANARY{SECRET}\"\napi_keys = [\"{API_KEY}\"]\n");
    let raw = load_text(&text, &[]).unwrap();
    let shown = format!("{raw:?}{}{:?}", toml::to_string(&raw).unwrap(), read(&text, &[]).unwrap());
    assert!(shown.contains("***") && !shown.contains("CANARY"), "{shown}");
    for broken in [
        format!("{text}x = CANARY"),
        format!("{text}secrets = [{{ kid = 1, value = \"CANARY\" }}]"),
        "[[apps]]\nid = \"a\"\nsecret = [\"CANARY\"]".to_owned(),
        "[[apps]]\nid = \"a\"\nsecret = \"CANARY\"".to_owned(),
        "[[apps]]\nid = \"a\"\nsecret = \"CANARY".to_owned(),
        "[[apps]]\nid = \"a\"\nsecret = { value = \"CANARY\", x = \"CANARY\" }".to_owned(),
    ] {
        let shown = error(&broken);
        assert!(!shown.contains("CANARY"), "{shown}");
    }
}

#[test]
fn a_secret_file_loses_its_newline() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{SECRET}").unwrap();
    let config = read(&format!("[[apps]]\nid = \"a\"\nsecret = {{ file = {:?} }}", file.path()), &[]).unwrap();
    assert_eq!(config.apps[0].token_keys[0].secret.reveal(), SECRET);
}

#[test]
fn files_that_are_not_there_or_no_toml_are_named() {
    let shown = load(Some("/nowhere.toml".as_ref()), []).unwrap_err().to_string();
    assert!(shown.starts_with("cannot read /nowhere.toml: "), "{shown}");
    assert!(error("[server\n").contains("is not TOML: line 1, column"));
}

#[test]
fn what_is_shown_can_be_read_again() {
    let raw = load_text("", &[]).unwrap();
    let again: RawConfig = toml::from_str(&toml::to_string(&raw).unwrap()).unwrap();
    assert_eq!(toml::to_string(&again).unwrap(), toml::to_string(&raw).unwrap());
}

const REFERENCE: &str = include_str!("../../../../docs/reference/configuration.md");

#[test]
fn the_reference_names_every_key() {
    for table in super::raw::TABLES {
        let section = REFERENCE.split("\n## ").find(|section| {
            let title = section.lines().next().unwrap_or_default();
            title == format!("`[{table}]`") || title == format!("`[[{table}]]`")
        });
        let section = section.unwrap_or_else(|| panic!("{table} has no section"));
        for key in super::raw::keys_of(table).unwrap() {
            assert!(section.contains(&format!("\n| `{key}` |")), "{table}.{key} is not described");
        }
    }
}

#[test]
fn the_reference_shows_a_good_configuration() {
    let example = REFERENCE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "{SECRET}").unwrap();
    let example = example.replace("/run/secrets/shop", file.path().to_str().unwrap());
    let config = read(&example, &[("SHOP_API_KEY", API_KEY)]).unwrap();
    assert_eq!((config.apps.len(), config.raw.len()), (1, 1));
}

#[test]
fn what_is_written_closer_to_the_channel_wins() {
    let text = format!(
        r#"
        [channels]
        history_size = 1
        [[namespaces]]
        name = "room"
        history_bytes = 7
        echo = false
        [[namespaces]]
        name = "open"
        anonymous = ["subscribe"]
        [[apps]]
        id = "a"
        secret = "{SECRET}"
        anonymous = []
        [apps.channels]
        history_size = 2
        [[apps.namespaces]]
        name = "room"
        history_size = 3
        allow = ["subscribe", "publish"]
        [[apps]]
        id = "b"
        secret = "{SECRET}x"
        "#
    );
    let variables = [("SWITCHBOARD_APPS__1__CHANNELS__PRESENCE", "false")];
    let config = read(&text, &variables).unwrap();
    let of = |channels: &Channels, name: &str| {
        let options = channels.of(&ChannelName::parse(name).unwrap());
        (options.history_size, options.history_bytes, options.echo, options.presence)
    };
    let all = ChannelOptions::default().history_bytes;
    let [a, b] = &config.apps[..] else { panic!("two applications") };
    assert_eq!(of(&config.channels, "room:1"), (1, 7, false, true));
    assert_eq!(of(&a.app.channels, "room:1"), (3, 7, false, true));
    assert_eq!(of(&a.app.channels, "lobby"), (2, all, true, true));
    assert_eq!(of(&b.app.channels, "room/1"), (1, 7, false, false));
    assert_eq!(of(&b.app.channels, "roomy/1"), (1, all, true, false));
    let room = ChannelName::parse("room:1").unwrap();
    assert!(a.app.channels.of(&room).allow.contains(Operations::PUBLISH));
    assert!(a.app.allows(None, Time::default(), &ChannelName::parse("open:1").unwrap(), Operations::SUBSCRIBE));
}

#[test]
fn faults_of_namespaces_are_told_once_and_named() {
    let app = |rest: &str| format!("[[apps]]\nid = \"a\"\nsecret = \"{SECRET}\"\n{rest}");
    for (text, expected) in [
        ("[[namespaces]]\nhistory_size = 1".to_owned(), "namespaces[0].name: is missing: the part of channels' names"),
        (
            "[[namespaces]]\nname = \"a:\"".to_owned(),
            "namespaces[0].name: \"a:\" is written without what follows it: \"a\"",
        ),
        (
            "[[namespaces]]\nname = \"a:*\"".to_owned(),
            "namespaces[0].name: \"a:*\" is written without what follows it: \"a\"",
        ),
        (
            "[[namespaces]]\nname = \"a:b\"".to_owned(),
            "namespaces[0].name: \"a:b\": use 1 to 100 bytes without ':', '/'",
        ),
        (
            "[[namespaces]]\nname = \"a\"\n[[namespaces]]\nname = \"a\"".to_owned(),
            "namespaces[1].name: \"a\" is there twice",
        ),
        ("[channels]\nallow = [\"read\"]".to_owned(), "channels.allow: \"read\" is none of subscribe, publish"),
        (
            "[channels]\nhistory_size = 10_000_001".to_owned(),
            "channels.history_size: 10000001 is not between 0 and 10000000",
        ),
        (app("[[apps.namespaces]]\nname = \"\""), "apps[0].namespaces[0].name: is missing"),
        (
            app("[[apps.namespaces]]\nname = \"open\"\nanonymous = [\"subscribe\"]"),
            "apps[0].namespaces[0].anonymous: has no effect: clients without a token cannot connect to this application. \
             Set apps[0].anonymous",
        ),
    ] {
        let shown = error(&text);
        assert!(shown.starts_with(expected) && shown.lines().count() == 1, "{text}\n  gave {shown}");
    }
}
