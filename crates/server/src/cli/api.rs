//! The commands that ask the HTTP API: who is where, and what is done to users and their connections.

use super::client::Trust;
use super::exit::Failure;
use super::http::request;
use super::native::one_line;
use super::publish::{WithData, data};
use super::subscribe::{Since, parse_since};
use clap::{ArgGroup, Args};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Which server, as which application.
#[derive(Clone, Debug, Args)]
pub(super) struct Api {
    /// The server's address
    #[arg(short, long, value_name = "URL", env = "SWITCHBOARD_API_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A file with an API key of the application; without it, the environment variable SWITCHBOARD_API_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Without any key, ask a development server for its own at its admin listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    admin: String,
    /// Print answers as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: Trust,
}

impl Api {
    /// Never on the command line: others on the machine could read it there.
    async fn key(&self) -> Result<String, Failure> {
        let key = match &self.key_file {
            Some(file) => Some(
                std::fs::read_to_string(file)
                    .map_err(|error| Failure::usage(format!("--key-file {}: {error}", file.display())))?,
            ),
            None => std::env::var("SWITCHBOARD_API_KEY").ok(),
        };
        if let Some(key) = key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()) {
            return Ok(key);
        }
        let asked = request(&self.trust, Method::GET, &self.admin, "/api/console/info", None, String::new()).await;
        let info: Value = asked.ok().and_then(|(_, body)| serde_json::from_slice(&body).ok()).unwrap_or_default();
        info.get("api_key").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Failure::usage(
                "an API key is needed: name a file with --key-file, or put it into the environment variable SWITCHBOARD_API_KEY. Only a \
                 development server tells its own",
            )
        })
    }

    /// What a method answers.
    async fn ask(&self, key: &str, method: &str, body: &impl Serialize) -> Result<String, Failure> {
        let body = serde_json::to_string(body).map_err(|error| Failure::other(error.to_string()))?;
        let path = format!("/api/v1/{method}");
        let asked = request(&self.trust, Method::POST, &self.url, &path, Some(key), body);
        let (status, body) = asked.await?;
        let text = String::from_utf8_lossy(&body).trim_end().to_owned();
        if status == 200 {
            return Ok(text);
        }
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let part =
            |name| answer.pointer(&format!("/error/{name}")).and_then(Value::as_str).unwrap_or("no reason given");
        let message = format!("{} answered {status}: {} ({})", self.url, part("message"), part("code"));
        Err(if matches!(status, 401 | 403) { Failure::refused(message) } else { Failure::other(message) })
    }

    pub(super) fn run(&self, method: &str, body: &impl Serialize, print: impl FnOnce(&Value)) -> Result<(), Failure> {
        let answer = super::block_on(async { self.ask(&self.key().await?, method, body).await })?;
        if self.json {
            say!("{answer}");
        } else {
            print(&parse(&answer)?);
        }
        Ok(())
    }
}

fn parse<'a, T: Deserialize<'a>>(answer: &'a str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| Failure::connection(format!("the server's answer: {error}")))
}

/// The members that were given.
pub(super) fn members<const N: usize>(given: [(&str, Option<Value>); N]) -> Value {
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<_, _>>())
}

pub(super) fn text(value: &Option<String>) -> Option<Value> {
    value.as_deref().map(Value::from)
}

/// How many sessions it concerned: `1 connection`, `2 connections`.
fn counted(answer: &Value, thing: &str) -> String {
    match number(answer, "sessions") {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}

pub(super) fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

#[derive(Debug, Args)]
pub(super) struct Channels {
    /// What the names begin with
    #[arg(default_value = "")]
    prefix: String,
    /// How many at most; all without it
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<u64>,
    #[command(flatten)]
    api: Api,
}

/// Channels that are asked for at once.
const PAGE: u64 = 1_000;

impl Channels {
    pub(super) fn run(self) -> Result<(), Failure> {
        super::block_on(async {
            let key = self.api.key().await?;
            let (mut left, mut after) = (self.limit.unwrap_or(u64::MAX), None);
            while left > 0 {
                let limit = Some(left.min(PAGE).into());
                let body =
                    members([("prefix", Some(self.prefix.as_str().into())), ("after", text(&after)), ("limit", limit)]);
                let page: Value = parse(&self.api.ask(&key, "channels", &body).await?)?;
                let channels = page.get("channels").and_then(Value::as_array).cloned().unwrap_or_default();
                channels.iter().for_each(|channel| self.print(channel));
                left = left.saturating_sub(channels.len() as u64);
                after = channels.last().and_then(|last| Some(last.get("channel")?.as_str()?.to_owned()));
                if page.get("more") != Some(&Value::Bool(true)) || after.is_none() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn print(&self, channel: &Value) {
        if self.api.json {
            say!("{channel}");
        } else {
            let users = channel.get("users").map_or_else(|| "-".to_owned(), ToString::to_string);
            let name = channel.get("channel").and_then(Value::as_str).unwrap_or_default();
            say!("{name}\t{}\t{users}", number(channel, "subscribers"));
        }
    }
}

/// A channel, or a user's own.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true).args(["channel", "user"]))]
struct Place {
    /// The channel
    channel: Option<String>,
    /// A user's own channel
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Presence {
    #[command(flatten)]
    place: Place,
    /// How many users to list at most
    #[arg(short = 'n', long, value_name = "COUNT")]
    limit: Option<u64>,
    #[command(flatten)]
    api: Api,
}

impl Presence {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Place { channel, user } = &self.place;
        let body = members([("channel", text(channel)), ("user", text(user)), ("limit", self.limit.map(Value::from))]);
        self.api.run("presence", &body, |answer| {
            for user in answer.get("users").and_then(Value::as_array).into_iter().flatten() {
                let name = user.get("user").and_then(Value::as_str).unwrap_or_default();
                let info = user.get("info").map_or_else(String::new, |info| format!("\t{info}"));
                say!("{name}\t{}{info}", number(user, "connections"));
            }
            eprintln!("{} users, {} connections", number(answer, "total"), number(answer, "connections"));
        })
    }
}

#[derive(Debug, Args)]
pub(super) struct Read {
    #[command(flatten)]
    place: Place,
    /// How many messages at most
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 100)]
    limit: u64,
    /// Those that followed this position
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = parse_since, conflicts_with = "before")]
    since: Option<Since>,
    /// Those before this position
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = parse_since)]
    before: Option<Since>,
    #[command(flatten)]
    api: Api,
}

/// Numbers keep their digits.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    publications: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Read {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Place { channel, user } = &self.place;
        let position =
            |since: &Option<Since>| since.as_ref().map(|since| json!({ "epoch": since.epoch, "offset": since.offset }));
        let body = members([
            ("channel", text(channel)),
            ("user", text(user)),
            ("limit", Some(self.limit.into())),
            ("since", position(&self.since)),
            ("before", position(&self.before)),
        ]);
        let answer = super::block_on(async { self.api.ask(&self.api.key().await?, "history", &body).await })?;
        for publication in parse::<Page<'_>>(&answer)?.publications {
            match self.api.json {
                true => say!("{}", publication.get().replace(['\n', '\r'], " ")),
                false => say!("{}", one_line(parse::<Content<'_>>(publication.get())?.data)),
            }
        }
        Ok(())
    }
}

/// A user, or one connection.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["user", "session"]))]
struct Whom {
    /// All connections of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// This connection, as its welcome calls it
    #[arg(long, value_name = "NAME")]
    session: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Disconnect {
    #[command(flatten)]
    whom: Whom,
    /// From 4000 to 4199; from 4100 on the client shall come back [4003]
    #[arg(long, value_name = "CODE")]
    code: Option<u64>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    api: Api,
}

impl Disconnect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Whom { user, session } = &self.whom;
        let body = members([
            ("user", text(user)),
            ("session", text(session)),
            ("code", self.code.map(Value::from)),
            ("reason", text(&self.reason)),
        ]);
        self.api.run("disconnect", &body, |answer| say!("{} ended", counted(answer, "connection")))
    }
}

#[derive(Debug, Args)]
pub(super) struct Unsubscribe {
    /// The channel
    channel: String,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    api: Api,
}

impl Unsubscribe {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Whom { user, session } = &self.whom;
        let channel = Some(self.channel.as_str().into());
        let body = members([("user", text(user)), ("session", text(session)), ("channel", channel)]);
        self.api.run("unsubscribe", &body, |answer| say!("{} ended", counted(answer, "subscription")))
    }
}

#[derive(Debug, Args)]
pub(super) struct Signal {
    /// The channel
    channel: String,
    /// JSON, or any text, which is sent as a string; `-` reads it from stdin
    data: String,
    /// Send the data as a string even if it is JSON
    #[arg(long)]
    text: bool,
    /// A name by which receivers tell kinds of messages apart
    #[arg(long)]
    event: Option<String>,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    api: Api,
}

impl Signal {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Whom { user, session } = &self.whom;
        let body = members([
            ("channel", Some(self.channel.as_str().into())),
            ("event", text(&self.event)),
            ("user", text(user)),
            ("session", text(session)),
        ]);
        let body = WithData { request: body, data: data(&self.data, self.text)? };
        self.api.run("signal", &body, |answer| say!("{} reached", counted(answer, "connection")))
    }
}

#[derive(Debug, Args)]
pub(super) struct Send {
    /// The user
    user: String,
    /// JSON, or any text, which is sent as a string; `-` reads it from stdin
    data: String,
    /// Send the data as a string even if it is JSON
    #[arg(long)]
    text: bool,
    /// A name by which receivers tell kinds of messages apart
    #[arg(long)]
    event: Option<String>,
    #[command(flatten)]
    api: Api,
}

impl Send {
    pub(super) fn run(self) -> Result<(), Failure> {
        let request = members([("user", Some(self.user.as_str().into())), ("event", text(&self.event))]);
        let body = WithData { request, data: data(&self.data, self.text)? };
        self.api.run("send_to_user", &body, |answer| {
            let position = answer.get("position").cloned().unwrap_or_default();
            let epoch = position.get("epoch").and_then(Value::as_str).unwrap_or_default();
            say!("sent to {} at {epoch}:{}", self.user, number(&position, "offset"));
        })
    }
}
