//! A conversation with any WebSocket server: lines out, messages in.
//!
//! Data goes to stdout, all else to stderr.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a command-line tool says goes there")]

mod editor;
mod terminal;

use core::pin::pin;
use core::time::Duration;
use serde_json::json;
use std::io::IsTerminal;
use switchboard_ws::{
    CloseCode, CloseFrame, ConnectError, Connector, MaybeTls, Message, Received, Receiver, Sender, WebSocket,
};
use terminal::{Input, Output};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Where to, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// ws:// or wss://
    pub url: String,
    /// How the connection is made.
    pub connector: Connector,
    /// Messages to send in place of what is typed or piped in.
    pub execute: Vec<String>,
    /// How long to wait for answers once there is no more input; `None` for as long as the server stays.
    pub wait: Option<Duration>,
    /// Stay when the input ends, until the server closes.
    pub no_close: bool,
    /// Send at most one message, and end with the first that arrives.
    pub one_message: bool,
    /// Show pings and pongs to those who do not type, too.
    pub show_ping_pong: bool,
    /// Print everything that happens as JSON.
    pub json: bool,
}

/// Why it did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// There was no connection.
    #[error(transparent)]
    Connecting(#[from] ConnectError),
    /// The connection broke.
    #[error("{0}")]
    Connection(String),
    /// The server refused who asked, or for want of a right.
    #[error("{0}")]
    Refused(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// Anything else.
    #[error("{0}")]
    Other(String),
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

/// Connects, and sends and shows what there is until one side ends it.
///
/// # Errors
/// [`Failed`].
pub async fn run(options: Options) -> Result<(), Failed> {
    let (socket, subprotocol) = options.connect().await?;
    let interactive = options.execute.is_empty() && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let (inputs, mut output) = if options.execute.is_empty() {
        terminal::start(interactive, options.json)?
    } else {
        (terminal::prepared(&options.execute), Output::lines(options.json))
    };
    options.report_open(&mut output, subprotocol.as_deref(), interactive);
    let result = options.talk(socket.split(), inputs, &mut output, interactive).await;
    output.restore();
    result
}

impl Options {
    async fn connect(&self) -> Result<(WebSocket<MaybeTls<TcpStream>>, Option<String>), Failed> {
        let (socket, response) = self.connector.connect(&self.url).await?;
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
    ) -> Result<(), Failed> {
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
                    Ok(Err(failed)) => return Err(failed),
                    _ => return Err(Failed::Connection("the server did not answer the close".into())),
                }
            }
            End::One => {
                close(&mut sender).await?;
                None
            }
        };
        match frame.map(|frame| (u16::from(frame.code), frame.reason)) {
            _ if interrupted => Err(Failed::Interrupted),
            None | Some((1000 | 1001, _)) => Ok(()),
            Some((4001..=4003, reason)) => {
                Err(Failed::Refused(format!("the server ended the connection: {}", &*reason)))
            }
            Some((code, reason)) => Err(Failed::Other(format!("the server ended the connection: {code} {}", &*reason))),
        }
    }

    async fn send(
        &self,
        sender: &mut Sender<MaybeTls<TcpStream>>,
        mut inputs: mpsc::Receiver<Input>,
        interactive: bool,
    ) -> Result<End, Failed> {
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
        match self.wait {
            Some(wait) if !self.no_close && (interactive || !self.one_message) => {
                if !interactive {
                    tokio::time::sleep(wait).await;
                }
            }
            _ => core::future::pending::<()>().await,
        }
        Ok(End::Input)
    }

    async fn receive(&self, receiver: &mut Receiver<MaybeTls<TcpStream>>, output: &mut Output) -> Result<End, Failed> {
        loop {
            match receiver.recv_event().await {
                Some(Ok(Received::Ping(payload))) => self.report_control(output, "ping", &payload),
                Some(Ok(Received::Pong(payload))) => self.report_control(output, "pong", &payload),
                Some(Ok(Received::Message(message))) => {
                    output.message(&message).map_err(|_| Failed::Other("nobody reads the output any longer".into()))?;
                    if self.one_message {
                        return Ok(End::One);
                    }
                }
                Some(Err(error)) => return Err(Failed::Connection(error.to_string())),
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

async fn close(sender: &mut Sender<MaybeTls<TcpStream>>) -> Result<(), Failed> {
    sender.close(CloseCode::NORMAL, "").await.map_err(|error| Failed::Connection(error.to_string()))
}
