//! `switchboard connect URL`: lines out, messages in, with the flags of wscat and websocat where they mean the same.

use super::client::{Socket, Trust};
use super::exit::Failure;
use super::terminal::{self, Input, Output};
use clap::Args;
use core::pin::pin;
use core::time::Duration;
use serde_json::json;
use std::io::IsTerminal;
use switchboard_ws::{CloseCode, CloseFrame, MaybeTls, Message, Received, Receiver, Sender};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// ws:// or wss://
    url: String,
    /// Send a header, as `Name: value`
    #[arg(short = 'H', long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// Offer a subprotocol; may be given several times
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    subprotocol: Vec<String>,
    /// Send this Origin, as browsers do
    #[arg(short, long)]
    origin: Option<String>,
    /// Send this message once connected, and read no input; may be given several times
    #[arg(short = 'x', long, value_name = "MESSAGE")]
    execute: Vec<String>,
    /// How long to wait for answers once there is no more input; -1 for as long as the server stays
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0, allow_negative_numbers = true)]
    wait: f64,
    /// Stay when the input ends, until the server closes
    #[arg(short, long)]
    no_close: bool,
    /// Send at most one message, and end with the first that arrives
    #[arg(short = '1', long)]
    one_message: bool,
    /// Show pings and pongs; on a terminal and with --json they are shown anyway
    #[arg(short = 'P', long)]
    show_ping_pong: bool,
    /// Print everything that happens as JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: Trust,
}

pub(super) fn parse_header(raw: &str) -> Result<(String, String), String> {
    let (name, value) = raw.split_once(':').ok_or("not of the form 'Name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// How long the server may take to answer our Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

type Halves = (Receiver<MaybeTls<TcpStream>>, Sender<MaybeTls<TcpStream>>);

/// Why sending or receiving is over, if not for a failure.
enum End {
    /// There was no more input, and the wait is over.
    Input,
    /// The user pressed Ctrl-C.
    Interrupted,
    /// The server closed.
    Closed(Option<CloseFrame>),
    /// The one message has come.
    One,
}

impl Connect {
    pub(super) fn run(self) -> Result<(), Failure> {
        super::block_on(async {
            let (socket, subprotocol) = self.connect().await?;
            let interactive =
                self.execute.is_empty() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
            let (inputs, mut output) = if self.execute.is_empty() {
                terminal::start(interactive, self.json)?
            } else {
                (terminal::prepared(&self.execute), Output::lines(self.json))
            };
            self.report_open(&mut output, subprotocol.as_deref(), interactive);
            let result = self.talk(socket.split(), inputs, &mut output, interactive).await;
            output.restore();
            result
        })
    }

    async fn connect(&self) -> Result<(Socket, Option<String>), Failure> {
        let mut connector = self.trust.connector()?.subprotocols(self.subprotocol.iter().map(String::as_str));
        for (name, value) in &self.headers {
            connector = connector.header(name, value);
        }
        if let Some(origin) = &self.origin {
            connector = connector.origin(origin);
        }
        let connected = connector.connect(&self.url).await;
        let (socket, response) = connected.map_err(|error| Failure::connecting(&self.url, &error))?;
        Ok((socket, response.subprotocol))
    }

    fn report_open(&self, output: &mut Output, subprotocol: Option<&str>, interactive: bool) {
        if self.json {
            output.event(&json!({ "type": "open", "subprotocol": subprotocol }));
            return;
        }
        let with = subprotocol.map_or(String::new(), |name| format!(" with the subprotocol {name}"));
        let hint = if interactive { "; Ctrl-D ends" } else { "" };
        output.notice(&format!("connected{with}{hint}"));
    }

    async fn talk(
        &self,
        (mut receiver, mut sender): Halves,
        inputs: mpsc::Receiver<Input>,
        output: &mut Output,
        interactive: bool,
    ) -> Result<(), Failure> {
        // Both at once: a server that waits for us to read must not keep us from reading.
        let mut receiving = pin!(self.receive(&mut receiver, output));
        let end = tokio::select! {
            end = &mut receiving => end?,
            end = self.send(&mut sender, inputs, interactive) => end?,
            _ = tokio::signal::ctrl_c() => End::Interrupted,
        };
        let interrupted = matches!(end, End::Interrupted);
        let frame = match end {
            End::Closed(frame) => frame,
            End::Input | End::Interrupted => {
                close(&mut sender).await?;
                match tokio::time::timeout(CLOSE_TIMEOUT, receiving).await {
                    Ok(Ok(End::Closed(frame))) => frame,
                    Ok(Err(failure)) => return Err(failure),
                    _ => return Err(Failure::connection("the server did not answer the close")),
                }
            }
            End::One => {
                close(&mut sender).await?;
                None
            }
        };
        match frame.map(|frame| (u16::from(frame.code), frame.reason)) {
            _ if interrupted => Err(Failure::INTERRUPTED),
            None | Some((1000 | 1001, _)) => Ok(()),
            Some((4001..=4003, reason)) => {
                Err(Failure::refused(format!("the server ended the connection: {}", &*reason)))
            }
            Some((code, reason)) => {
                Err(Failure::other(format!("the server ended the connection: {code} {}", &*reason)))
            }
        }
    }

    async fn send(
        &self,
        sender: &mut Sender<MaybeTls<TcpStream>>,
        mut inputs: mpsc::Receiver<Input>,
        interactive: bool,
    ) -> Result<End, Failure> {
        while let Some(input) = inputs.recv().await {
            let message: Message = match input {
                Input::Text(text) => text.into(),
                Input::Binary(bytes) => bytes.into(),
                Input::Interrupted => return Ok(End::Interrupted),
            };
            if sender.send(message).await.is_err() {
                // Why, is what the receiving side finds.
                core::future::pending::<()>().await;
            }
            if self.one_message {
                break;
            }
        }
        if self.no_close || self.wait < 0.0 || (self.one_message && !interactive) {
            core::future::pending::<()>().await;
        }
        if !interactive {
            tokio::time::sleep(Duration::try_from_secs_f64(self.wait).unwrap_or(Duration::MAX)).await;
        }
        Ok(End::Input)
    }

    async fn receive(&self, receiver: &mut Receiver<MaybeTls<TcpStream>>, output: &mut Output) -> Result<End, Failure> {
        loop {
            match receiver.recv_event().await {
                Some(Ok(Received::Ping(payload))) => self.report_control(output, "ping", &payload),
                Some(Ok(Received::Pong(payload))) => self.report_control(output, "pong", &payload),
                Some(Ok(Received::Message(message))) => {
                    output.message(&message).map_err(|_| Failure::other("nobody reads the output any longer"))?;
                    if self.one_message {
                        return Ok(End::One);
                    }
                }
                Some(Err(error)) => return Err(Failure::connection(error.to_string())),
                None => {
                    let frame = receiver.close_frame();
                    if let Some(frame) = &frame {
                        self.report_close(output, frame);
                    }
                    return Ok(End::Closed(frame));
                }
            }
        }
    }

    fn report_control(&self, output: &mut Output, kind: &str, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload);
        if self.json {
            output.event(&json!({ "type": kind, "data": text }));
        } else if self.show_ping_pong || output.is_interactive() {
            output.notice(format!("{kind} {text}").trim_end());
        }
    }

    fn report_close(&self, output: &mut Output, frame: &CloseFrame) {
        let code = u16::from(frame.code);
        if self.json {
            output.event(&json!({ "type": "close", "code": code, "reason": &*frame.reason }));
        } else {
            output.notice(format!("closed: {code} {}", &*frame.reason).trim_end());
        }
    }
}

async fn close(sender: &mut Sender<MaybeTls<TcpStream>>) -> Result<(), Failure> {
    sender.close(CloseCode::NORMAL, "").await.map_err(|error| Failure::connection(error.to_string()))
}
