//! `switchboard subscribe CHANNEL…`

use super::client::ServerArguments;
use super::exit::Failure;
use super::native::{Incoming, Native, one_line, rejected, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Debug, Args)]
pub(super) struct Subscribe {
    /// The channels
    #[arg(required = true)]
    channels: Vec<String>,
    /// End after so many messages
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Begin with what followed this position (of one channel), as EPOCH:OFFSET
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = parse_since)]
    since: Option<Since>,
    /// Print each message whole, as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

#[derive(Clone, Debug)]
pub(super) struct Since {
    pub(super) epoch: String,
    pub(super) offset: u64,
}

pub(super) fn parse_since(raw: &str) -> Result<Since, String> {
    let parsed = raw.split_once(':').and_then(|(epoch, offset)| {
        let offset = offset.parse().ok()?;
        (!epoch.is_empty()).then(|| Since { epoch: epoch.to_owned(), offset })
    });
    parsed.ok_or_else(|| "not of the form EPOCH:OFFSET".to_owned())
}

impl Subscribe {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.since.is_some() && self.channels.len() > 1 {
            return Err(Failure::usage("--since is the position of one channel, and there are several"));
        }
        super::block_on(async {
            tokio::select! {
                result = self.receive() => result,
                _ = tokio::signal::ctrl_c() => Err(Failure::INTERRUPTED),
            }
        })
    }

    async fn receive(&self) -> Result<(), Failure> {
        if self.count == Some(0) {
            return Ok(());
        }
        let mut native = Native::connect(&self.server).await?;
        for (id, channel) in self.channels.iter().enumerate() {
            let mut request = json!({ "type": "subscribe", "id": id, "channel": channel });
            if let (Some(since), Some(members)) = (&self.since, request.as_object_mut()) {
                members.insert("since".to_owned(), json!({ "epoch": since.epoch, "offset": since.offset }));
            }
            native.send(&request).await?;
        }
        let mut printed = 0;
        loop {
            match native.receive().await? {
                Incoming::Json(message, data, whole) => match text(&message, "type") {
                    "message" => {
                        let data = data.as_deref().map_or_else(String::new, one_line);
                        self.print(&message, &data, &whole.replace(['\n', '\r'], " "))?;
                        printed += 1;
                    }
                    "ok" => self.report(&message),
                    "error" => return Err(rejected(&message)),
                    "unsubscribed" => {
                        let (channel, code) = (text(&message, "channel"), text(&message, "code"));
                        return Err(Failure::refused(format!(
                            "the server ended the subscription to {channel}: {code}"
                        )));
                    }
                    "gap" => eprintln!(
                        "messages {} to {} of {} are lost",
                        message.get("from").unwrap_or(&Value::Null),
                        message.get("to").unwrap_or(&Value::Null),
                        text(&message, "channel")
                    ),
                    "disconnect" => eprintln!("the server says goodbye: {}", text(&message, "reason")),
                    _ => {}
                },
                Incoming::Binary(mut header, payload) => {
                    let data = STANDARD.encode(payload);
                    if let Some(members) = header.as_object_mut() {
                        members.insert("data".to_owned(), data.as_str().into());
                        members.insert("encoding".to_owned(), "base64".into());
                    }
                    self.print(&header, &data, &header.to_string())?;
                    printed += 1;
                }
            }
            if self.count.is_some_and(|count| printed >= count) {
                native.close().await;
                return Ok(());
            }
        }
    }

    fn report(&self, answer: &Value) {
        let position = answer.get("position").cloned().unwrap_or_default();
        let offset = position.get("offset").cloned().unwrap_or_default();
        eprintln!("subscribed to {} at {}:{offset}", text(answer, "channel"), text(&position, "epoch"));
        if answer.get("recovered") == Some(&Value::Bool(false)) {
            eprintln!("what followed the given position is no longer kept: only new messages follow");
        }
    }

    /// One line a message, whatever is in it.
    fn print(&self, message: &Value, data: &str, whole: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout();
        let printed = match self.channels.len() {
            _ if self.json => writeln!(out, "{whole}"),
            0 | 1 => writeln!(out, "{data}"),
            _ => writeln!(out, "{}: {data}", text(message, "channel")),
        };
        // Whoever reads may have seen enough (`| head`).
        printed.map_err(|_| Failure::other("nobody reads the output any longer"))
    }
}
