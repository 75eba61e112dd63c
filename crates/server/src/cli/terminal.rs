//! Lines in and messages out, on a terminal (with editing, history, and messages that do not break the line being typed) or through pipes.

use super::exit::Failure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use serde_json::{Value, json};
use std::io::{self, BufRead, IsTerminal, Write};
use switchboard_ws::Message;
use tokio::sync::mpsc;

/// Something to send, or the wish to stop. The end of the channel is the end of the input.
#[derive(Debug)]
pub(super) enum Input {
    /// A line.
    Text(String),
    /// A line that is not UTF-8.
    Binary(Vec<u8>),
    /// Ctrl-C while a line was typed.
    Interrupted,
}

/// Lines that are read before they can be sent.
const LINES_AHEAD: usize = 64;

/// Where what arrives is shown.
pub(super) struct Output {
    json: bool,
    /// Prints above the line that is being typed.
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    /// How the terminal was before: whoever types a line leaves it raw when the program ends meanwhile.
    before: Option<Termios>,
}

/// Begins to read lines.
pub(super) fn start(interactive: bool, json: bool) -> Result<(mpsc::Receiver<Input>, Output), Failure> {
    let (sender, inputs) = mpsc::channel(LINES_AHEAD);
    if !interactive {
        std::thread::spawn(move || read_lines(io::stdin().lock(), &sender));
        return Ok((inputs, Output::lines(json)));
    }
    let failed = |error: ReadlineError| Failure::other(format!("cannot use the terminal: {error}"));
    let before = tcgetattr(io::stdin()).ok();
    let mut editor = DefaultEditor::new().map_err(failed)?;
    let printer = editor.create_external_printer().map_err(failed)?;
    std::thread::spawn(move || edit_lines(&mut editor, &sender));
    Ok((inputs, Output { json, printer: Some(Box::new(printer)), before }))
}

/// Messages that are known already.
pub(super) fn prepared(messages: &[String]) -> mpsc::Receiver<Input> {
    let (sender, inputs) = mpsc::channel(messages.len().max(1));
    for message in messages {
        // There is room for all.
        let _ = sender.try_send(Input::Text(message.clone()));
    }
    inputs
}

fn read_lines(mut input: impl BufRead, lines: &mpsc::Sender<Input>) {
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        }
        let input = match String::from_utf8(std::mem::take(&mut line)) {
            Ok(text) => Input::Text(text),
            Err(error) => Input::Binary(error.into_bytes()),
        };
        if lines.blocking_send(input).is_err() {
            return;
        }
    }
}

fn edit_lines(editor: &mut DefaultEditor, lines: &mpsc::Sender<Input>) {
    loop {
        let input = match editor.readline("> ") {
            Ok(line) => {
                // Only what is unlike the last line is kept; that it was kept says nothing.
                let _ = editor.add_history_entry(line.as_str());
                Input::Text(line)
            }
            Err(ReadlineError::Interrupted) => Input::Interrupted,
            Err(_) => return,
        };
        if lines.blocking_send(input).is_err() {
            return;
        }
    }
}

impl Output {
    /// Without a line being typed.
    pub(super) fn lines(json: bool) -> Self {
        Self { json, printer: None, before: None }
    }

    /// A message from the server.
    ///
    /// # Errors
    /// Nobody reads the output.
    pub(super) fn message(&mut self, message: &Message) -> io::Result<()> {
        if self.json {
            let event = match message {
                Message::Text(text) => json!({ "type": "text", "data": &**text }),
                Message::Binary(bytes) => json!({ "type": "binary", "data": STANDARD.encode(bytes) }),
            };
            return self.line(&event.to_string());
        }
        let terminal = self.printer.is_some() || io::stdout().is_terminal();
        let shown = match message {
            // A server's message shall not move the cursor or change the window's title.
            Message::Text(text) if terminal => printable(text),
            Message::Text(text) => (**text).to_owned(),
            Message::Binary(bytes) => format!("{} bytes, base64: {}", bytes.len(), STANDARD.encode(bytes)),
        };
        let prefix = if self.printer.is_some() { "< " } else { "" };
        self.line(&format!("{prefix}{shown}"))
    }

    /// Something that happened, for programs.
    pub(super) fn event(&mut self, event: &Value) {
        // The end of the output is found by the next message.
        let _ = self.line(&event.to_string());
    }

    /// Something that happened, for people.
    pub(super) fn notice(&mut self, text: &str) {
        match &mut self.printer {
            Some(_) => {
                let _ = self.line(&printable(text));
            }
            None => eprintln!("{}", printable(text)),
        }
    }

    /// Leaves the terminal as it was found.
    pub(super) fn restore(&mut self) {
        if let Some(before) = self.before.take() {
            // There is nothing that could be done about it.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &before);
            println!();
        }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        match &mut self.printer {
            Some(printer) => printer.print(format!("{line}\n")).map_err(io::Error::other),
            None => writeln!(io::stdout(), "{line}"),
        }
    }
}

/// Control characters as escapes, but for tabs and new lines.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message() {
        let (sender, mut inputs) = mpsc::channel(8);
        read_lines(&b"one\r\n\ntwo\n\xff\nlast"[..], &sender);
        drop(sender);
        let mut seen = Vec::new();
        while let Ok(input) = inputs.try_recv() {
            seen.push(format!("{input:?}"));
        }
        assert_eq!(seen, ["Text(\"one\")", "Text(\"\")", "Text(\"two\")", "Binary([255])", "Text(\"last\")"]);
    }

    #[test]
    fn what_a_server_sends_does_not_steer_the_terminal() {
        assert_eq!(printable("a\tb\nc\u{1b}[2J\u{7}\u{9b}é"), "a\tb\nc\\u{1b}[2J\\u{7}\\u{9b}é");
    }
}
