//! Lines in and messages out, on a terminal (with editing, history, and messages that do not break the line being typed) or through pipes.

use super::Failed;
use super::editor::{Editor, Typed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use switchboard_ws::Message;
use tokio::sync::mpsc;

/// Something to send, or the wish to stop. The end of the channel is the end of the input.
#[derive(Debug)]
pub(crate) enum Input {
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
pub(crate) struct Output {
    json: bool,
    /// The line being typed, above which all else is printed.
    screen: Option<Screen>,
    /// How the terminal was before.
    before: Option<Termios>,
}

/// The line being typed, shared by who reads keys and who prints.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Editor>>);

/// Begins to read lines.
pub(crate) fn start(interactive: bool, json: bool) -> Result<(mpsc::Receiver<Input>, Output), Failed> {
    let (sender, inputs) = mpsc::channel(LINES_AHEAD);
    if !interactive {
        std::thread::spawn(move || read_lines(io::stdin().lock(), &sender));
        return Ok((inputs, Output::lines(json)));
    }
    let before = take_keys().map_err(|error| Failed::Other(format!("cannot use the terminal: {error}")))?;
    let screen = Screen::default();
    let typing = screen.clone();
    std::thread::spawn(move || typing.read_keys(&sender));
    Ok((inputs, Output { json, screen: Some(screen), before: Some(before) }))
}

/// Has every key delivered as it is pressed, unseen. Returns how the terminal was.
fn take_keys() -> nix::Result<Termios> {
    let before = tcgetattr(io::stdin())?;
    let mut keys = before.clone();
    keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
    keys.input_flags.remove(InputFlags::ICRNL | InputFlags::IXON);
    tcsetattr(io::stdin(), SetArg::TCSADRAIN, &keys)?;
    Ok(before)
}

impl Screen {
    fn read_keys(&self, lines: &mpsc::Sender<Input>) {
        let mut bytes = [0; 1024];
        loop {
            let Ok(count @ 1..) = io::stdin().lock().read(&mut bytes) else { return };
            for byte in bytes.iter().take(count) {
                let Some(typed) = self.receive(*byte) else { continue };
                let input = match typed {
                    Typed::Line(line) => Input::Text(line),
                    Typed::Interrupted => Input::Interrupted,
                    Typed::End => return,
                };
                // Not under the lock: what arrives has to be shown meanwhile.
                if lines.blocking_send(input).is_err() {
                    return;
                }
            }
            self.draw();
        }
    }

    fn receive(&self, byte: u8) -> Option<Typed> {
        let mut editor = self.lock();
        let typed = editor.receive(byte);
        if let Some(Typed::Line(line)) = &typed {
            // It stays where it was typed.
            let _ = write!(io::stdout(), "\r\x1b[K> {}\n", printable(line));
        }
        typed
    }

    fn draw(&self) {
        // A terminal that is gone is found by the next read.
        let _ = write_line(&self.lock());
    }

    /// Prints above the line being typed.
    fn print(&self, text: &str) -> io::Result<()> {
        let editor = self.lock();
        write!(io::stdout(), "\r\x1b[K{text}\n")?;
        write_line(&editor)
    }

    fn lock(&self) -> MutexGuard<'_, Editor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PROMPT: &str = "> ";

fn write_line(editor: &Editor) -> io::Result<()> {
    let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    let (visible, column) = editor.view(columns.saturating_sub(PROMPT.len()));
    let mut stdout = io::stdout();
    write!(stdout, "\r\x1b[K{PROMPT}{visible}\r\x1b[{}C", PROMPT.len() + column)?;
    stdout.flush()
}

/// Messages that are known already.
pub(crate) fn prepared(messages: &[String]) -> mpsc::Receiver<Input> {
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

impl Output {
    /// Without a line being typed.
    pub(crate) fn lines(json: bool) -> Self {
        Self { json, screen: None, before: None }
    }

    /// A message from the server.
    ///
    /// # Errors
    /// Nobody reads the output.
    pub(crate) fn message(&mut self, message: &Message) -> io::Result<()> {
        if self.json {
            let event = match message {
                Message::Text(text) => json!({ "type": "text", "data": &**text }),
                Message::Binary(bytes) => json!({ "type": "binary", "data": STANDARD.encode(bytes) }),
            };
            return self.line(&event.to_string());
        }
        let terminal = self.screen.is_some() || io::stdout().is_terminal();
        let shown = match message {
            // A server's message shall not move the cursor or change the window's title.
            Message::Text(text) if terminal => printable(text),
            Message::Text(text) => (**text).to_owned(),
            Message::Binary(bytes) => format!("{} bytes, base64: {}", bytes.len(), STANDARD.encode(bytes)),
        };
        let prefix = if self.screen.is_some() { "< " } else { "" };
        self.line(&format!("{prefix}{shown}"))
    }

    /// Whether somebody sits in front of it and types.
    pub(crate) fn is_interactive(&self) -> bool {
        self.screen.is_some()
    }

    /// Something that happened, for programs.
    pub(crate) fn event(&mut self, event: &Value) {
        // The end of the output is found by the next message.
        let _ = self.line(&event.to_string());
    }

    /// Something that happened, for people.
    pub(crate) fn notice(&mut self, text: &str) {
        match &self.screen {
            // A terminal that is gone is found by the next message.
            Some(screen) => drop(screen.print(&printable(text))),
            None => eprintln!("{}", printable(text)),
        }
    }

    /// Leaves the terminal as it was found.
    pub(crate) fn restore(&mut self) {
        if let Some(before) = self.before.take() {
            // There is nothing that could be done about it.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &before);
            print!("\r\x1b[K");
            let _ = io::stdout().flush();
        }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        match &self.screen {
            Some(screen) => screen.print(line),
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
