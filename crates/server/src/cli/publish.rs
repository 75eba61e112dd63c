//! `switchboard publish CHANNEL DATA`

use super::client::ServerArguments;
use super::exit::Failure;
use super::native::{Native, rejected, text};
use clap::Args;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use std::io::Read;

#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The channel
    channel: String,
    /// JSON, or any text, which is published as a string; `-` reads it from stdin
    data: String,
    /// Publish the data as a string even if it is JSON
    #[arg(long)]
    text: bool,
    /// A name by which receivers tell kinds of messages apart
    #[arg(long)]
    event: Option<String>,
    /// Which earlier message this one replaces for those that fall behind
    #[arg(long)]
    key: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        let data = data(&self.data, self.text)?;
        super::block_on(async {
            let mut native = Native::connect(&self.server).await?;
            let mut request = json!({ "type": "publish", "id": 1, "channel": self.channel });
            for (name, value) in [("event", &self.event), ("key", &self.key)] {
                if let (Some(value), Some(members)) = (value, request.as_object_mut()) {
                    members.insert(name.to_owned(), value.as_str().into());
                }
            }
            native.send(&WithData { request, data }).await?;
            let answer = native.answer().await?;
            native.close().await;
            match text(&answer, "type") {
                "ok" => {
                    self.print(&answer);
                    Ok(())
                }
                "error" => Err(rejected(&answer)),
                _ => Err(Failure::other(format!("the server answered {answer}"))),
            }
        })
    }

    fn print(&self, answer: &Value) {
        if self.json {
            say!("{answer}");
        } else {
            let position = answer.get("position").cloned().unwrap_or_default();
            let offset = position.get("offset").cloned().unwrap_or_default();
            say!("published to {} at {}:{offset}", self.channel, text(&position, "epoch"));
        }
    }
}

/// A request with data in it.
#[derive(Debug, Serialize)]
pub(super) struct WithData {
    #[serde(flatten)]
    pub(super) request: Value,
    pub(super) data: Box<RawValue>,
}

/// What is published, as it was written: JSON, or else a text.
pub(super) fn data(written: &str, as_text: bool) -> Result<Box<RawValue>, Failure> {
    let mut data = written.to_owned();
    if data == "-" {
        data.clear();
        std::io::stdin()
            .read_to_string(&mut data)
            .map_err(|error| Failure::other(format!("cannot read stdin: {error}")))?;
        data.truncate(data.trim_end_matches(['\r', '\n']).len());
    }
    match serde_json::from_str(&data) {
        Ok(json) if !as_text => Ok(json),
        _ => to_raw_value(&data).map_err(|error| Failure::other(error.to_string())),
    }
}
