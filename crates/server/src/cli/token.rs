//! `switchboard token`: signs a token with an application's secret, or asks a development server for one.

use super::client::Trust;
use super::exit::Failure;
use super::http::request;
use crate::clock;
use crate::config::{self, OPERATIONS, Span};
use crate::secret::Secret;
use crate::token::{NewToken, TokenKey, sign};
use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use switchboard_core::{Operations, UserId};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// The user's name
    #[arg(long)]
    user: String,
    /// A channel, or a prefix with `*` at its end; may be given several times
    #[arg(long = "channel", value_name = "PATTERN", default_value = "*", value_parser = parse_match)]
    channels: Vec<String>,
    /// What the user may do there
    #[arg(long, value_delimiter = ',', default_value = "subscribe,publish,presence,history", value_parser = parse_operation)]
    allow: Vec<String>,
    /// How long the token lives, such as 15m, 1h, 7d
    #[arg(long, default_value = "1h", value_parser = Span::parse)]
    ttl: Span,
    /// A JSON object that others see in presence
    #[arg(long, value_name = "JSON", value_parser = parse_object)]
    info: Option<Map<String, Value>>,
    /// The application's id; of a configuration, by default, the default application
    #[arg(long)]
    app: Option<String>,
    /// The key's name in the token's header; of a configuration it also chooses the secret
    #[arg(long)]
    kid: Option<String>,
    /// Take the secret from this configuration
    #[arg(long, value_name = "FILE", env = "SWITCHBOARD_CONFIG", conflicts_with_all = ["secret_file", "server"])]
    config: Option<PathBuf>,
    /// Take the secret from this file; without it, from the environment variable SWITCHBOARD_SECRET
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    secret_file: Option<PathBuf>,
    /// Ask a development server at its admin listener [without any secret: http://127.0.0.1:8081]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

const DEVELOPMENT_SERVER: &str = "http://127.0.0.1:8081";

fn parse_object(raw: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(raw).map_err(|error| format!("not a JSON object: {error}"))
}

fn parse_match(raw: &str) -> Result<String, &'static str> {
    if raw.contains(['+', '#']) {
        return Err(
            "it stands for no channel, since no name has '+' or '#'; use a name, or a prefix with '*' at its end",
        );
    }
    Ok(raw.to_owned())
}

fn parse_operation(raw: &str) -> Result<String, String> {
    Operations::parse(raw).map(|_| raw.to_owned()).ok_or_else(|| format!("it is none of {OPERATIONS}"))
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        let environment = std::env::var("SWITCHBOARD_SECRET").ok();
        let token = match (&self.config, &self.secret_file, &self.server, environment) {
            (_, _, Some(server), _) => self.ask(server)?,
            (_, Some(file), ..) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::usage(format!("--secret-file {}: {error}", file.display())))?;
                self.sign(&TokenKey {
                    kid: self.kid.clone(),
                    secret: Secret::new(text.trim_end_matches(['\r', '\n'])),
                })?
            }
            (Some(file), ..) => self.sign_configured(file)?,
            (None, None, None, Some(secret)) => {
                self.sign(&TokenKey { kid: self.kid.clone(), secret: Secret::new(secret) })?
            }
            (None, None, None, None) => self.ask(DEVELOPMENT_SERVER)?,
        };
        say!("{token}");
        Ok(())
    }

    fn sign_configured(&self, file: &std::path::Path) -> Result<String, Failure> {
        let usage = |error: config::ConfigError| Failure::usage(error.to_string());
        let raw = config::load(Some(file), std::env::vars()).map_err(usage)?;
        let config = config::check(&raw, |name| std::env::var(name).ok()).map_err(usage)?;
        let app = match &self.app {
            Some(id) => config.apps.iter().find(|app| app.app.id.as_str() == id),
            None => config.apps.iter().find(|app| app.default),
        };
        let app = app.ok_or_else(|| Failure::usage(format!("{} has no such application", file.display())))?;
        let key = match &self.kid {
            Some(kid) => app.token_keys.iter().find(|key| key.kid.as_ref() == Some(kid)),
            None => app.token_keys.first(),
        };
        self.sign(key.ok_or_else(|| Failure::usage("the application has no such secret"))?)
    }

    fn sign(&self, key: &TokenKey) -> Result<String, Failure> {
        if key.secret.reveal().len() < crate::token::SECRET_BYTES_MIN {
            return Err(Failure::usage("the secret is shorter than 32 bytes: `openssl rand -hex 32` makes a good one"));
        }
        let user = UserId::parse(&self.user).map_err(|error| Failure::usage(format!("--user: {error}")))?;
        let channels: Vec<_> = self.channels.iter().map(|pattern| (pattern.clone(), self.allow.clone())).collect();
        let (ttl, info, app) = (self.ttl.0, self.info.clone(), self.app.as_deref());
        let new = NewToken { user: &user, channels: &channels, ttl, info, app };
        let (token, _) = sign(key, &new, clock::now()).map_err(|reject| Failure::usage(reject.message))?;
        Ok(token)
    }

    fn ask(&self, server: &str) -> Result<String, Failure> {
        let channels: Vec<Value> =
            self.channels.iter().map(|pattern| json!({ "match": pattern, "allow": self.allow })).collect();
        let mut body = json!({ "user": self.user, "channels": channels, "ttl_seconds": self.ttl.0.as_secs() });
        if let (Some(app), Some(members)) = (&self.app, body.as_object_mut()) {
            members.insert("app".to_owned(), app.as_str().into());
        }
        let trust = Trust::default();
        let asking = request(&trust, Method::POST, server, "/api/console/token", None, body.to_string());
        let (status, answer) = super::block_on(asking).map_err(|failure| {
            let why = failure.message().unwrap_or_default();
            let message = format!(
                "no development server at {server} ({why}). Start one with `switchboard serve`, or name a secret: --config FILE, \
                 --secret-file FILE, or the environment variable SWITCHBOARD_SECRET"
            );
            if failure.code() == 2 { failure } else { Failure::connection(message) }
        })?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        match answer.get("token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => {
                let why = answer.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given");
                let message = format!("{server} answered {status}: {why}");
                Err(if matches!(status, 401 | 403) { Failure::refused(message) } else { Failure::other(message) })
            }
        }
    }
}
