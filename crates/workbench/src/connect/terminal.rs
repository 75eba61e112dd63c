//! Keys and lines in, text out: a terminal whose keys are taken one by one and which gets the line being typed below all else, or pipes. Owns the terminal's
//! mode and gives it back whatever happens. Decides nothing: what to show is given to it.

use super::conversation::Line;
use super::editor::View;
use core::fmt::Write as _;
use nix::sys::signal::{Signal, raise};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, Read, Write};
use tokio::sync::mpsc;

/// What comes in. The end of the channel is the end of the input.
#[derive(Debug)]
pub(crate) enum Input {
    Line(Line),
    Keys(Vec<u8>),
}

/// Lines, or bursts of keys, that are read ahead.
const INPUT_AHEAD: usize = 64;
/// Keys of a burst.
const KEYS_MAX: usize = 4096;

/// Begins to read lines from standard input.
pub(crate) fn lines() -> mpsc::Receiver<Input> {
    let (sender, inputs) = mpsc::channel(INPUT_AHEAD);
    std::thread::spawn(move || read_lines(io::stdin().lock(), &sender));
    inputs
}

/// Begins to read keys from standard input.
pub(crate) fn keys() -> mpsc::Receiver<Input> {
    let (sender, inputs) = mpsc::channel(INPUT_AHEAD);
    std::thread::spawn(move || {
        let mut bytes = [0; KEYS_MAX];
        loop {
            // A terminal that is gone gives an error, or nothing.
            let Ok(count @ 1..) = io::stdin().lock().read(&mut bytes) else { return };
            let keys = bytes.get(..count).unwrap_or_default().to_vec();
            if sender.blocking_send(Input::Keys(keys)).is_err() {
                return;
            }
        }
    });
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
        let line = match String::from_utf8(std::mem::take(&mut line)) {
            Ok(text) => Line::Text(text),
            Err(error) => Line::Binary(error.into_bytes()),
        };
        if lines.blocking_send(Input::Line(line)).is_err() {
            return;
        }
    }
}

/// Where things are shown.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What is to be written with the next `show`.
    waiting: String,
    keys: Option<Keys>,
}

/// A terminal whose keys we have taken.
#[derive(Debug)]
struct Keys {
    /// How it was before.
    before: Termios,
    /// What stands in the last rows: rows above the cursor, and all of it.
    drawn: Option<View>,
}

/// Has the terminal mark what is pasted.
const MARK_PASTES: &str = "\x1b[?2004h";
const MARK_NO_PASTES: &str = "\x1b[?2004l";

impl Output {
    /// Takes the keys of a terminal: each is delivered as it is pressed, unseen.
    ///
    /// # Errors
    /// Standard input is no terminal that can be set so.
    pub(crate) fn take_keys(&mut self) -> io::Result<()> {
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::IEXTEN);
        keys.input_flags.remove(InputFlags::ICRNL | InputFlags::IXON);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &keys)?;
        self.keys = Some(Keys { before, drawn: None });
        self.waiting.push_str(MARK_PASTES);
        Ok(())
    }

    /// A line, or several: as data, or as a notice.
    pub(crate) fn print(&mut self, data: bool, text: &str) -> io::Result<()> {
        if let Some(keys) = &mut self.keys {
            erase(&mut self.waiting, keys.drawn.take().as_ref());
        } else if !data {
            self.flush()?;
            // Nobody misses a notice that cannot be written.
            let _ = writeln!(io::stderr(), "{text}");
            return Ok(());
        }
        self.waiting.push_str(text);
        self.waiting.push('\n');
        Ok(())
    }

    /// Writes what was printed, and the line being typed below it.
    pub(crate) fn show(&mut self, line: impl FnOnce(usize, usize) -> View) -> io::Result<()> {
        if let Some(keys) = &mut self.keys {
            let (columns, rows) = size();
            let view = line(columns, rows.saturating_sub(1));
            if keys.drawn.as_ref() != Some(&view) {
                erase(&mut self.waiting, keys.drawn.take().as_ref());
                draw(&mut self.waiting, &view);
                keys.drawn = Some(view);
            }
        }
        self.flush()
    }

    /// The window has another size: nothing stands any longer where it was.
    pub(crate) fn resized(&mut self) {
        if let Some(keys) = &mut self.keys {
            erase(&mut self.waiting, keys.drawn.take().as_ref());
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(keys) = &mut self.keys {
            keys.drawn = None;
            self.waiting.push_str("\x1b[H\x1b[2J");
        }
    }

    /// Stops this process, as Ctrl-Z does elsewhere, and goes on when it is told to.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        if self.keys.is_none() {
            return Ok(());
        }
        self.restore();
        raise(Signal::SIGTSTP)?;
        self.take_keys()
    }

    /// Leaves the terminal as it was found.
    pub(crate) fn restore(&mut self) {
        if let Some(keys) = self.keys.take() {
            erase(&mut self.waiting, keys.drawn.as_ref());
            self.waiting.push_str(MARK_NO_PASTES);
            // There is nothing that could be done about it.
            let _ = self.flush();
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &keys.before);
        } else {
            let _ = self.flush();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut stdout = io::stdout();
        let written = stdout.write_all(self.waiting.as_bytes()).and_then(|()| stdout.flush());
        self.waiting.clear();
        written
    }
}

/// A panic unwinds through here too.
impl Drop for Output {
    fn drop(&mut self) {
        self.restore();
    }
}

fn size() -> (usize, usize) {
    terminal_size::terminal_size().map_or((80, 24), |(width, height)| (width.0.into(), height.0.into()))
}

/// To the first row of what is drawn, and away with it.
fn erase(out: &mut String, drawn: Option<&View>) {
    let Some(View { row, .. }) = drawn else { return };
    out.push('\r');
    if *row > 0 {
        // Writing into a string does not fail.
        let _ = write!(out, "\x1b[{row}A");
    }
    out.push_str("\x1b[J");
}

fn draw(out: &mut String, View { rows, row, column }: &View) {
    out.push_str(&rows.join("\n"));
    let below = rows.len().saturating_sub(row + 1);
    if below > 0 {
        let _ = write!(out, "\x1b[{below}A");
    }
    out.push('\r');
    if *column > 0 {
        let _ = write!(out, "\x1b[{column}C");
    }
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
        while let Ok(Input::Line(line)) = inputs.try_recv() {
            seen.push(format!("{line:?}"));
        }
        assert_eq!(seen, ["Text(\"one\")", "Text(\"\")", "Text(\"two\")", "Binary([255])", "Text(\"last\")"]);
    }

    #[test]
    fn what_is_drawn_can_be_erased() {
        let view = View { rows: vec!["> a".into(), ". bc".into(), ". d".into()], row: 1, column: 3 };
        let mut out = String::new();
        draw(&mut out, &view);
        assert_eq!(out, "> a\n. bc\n. d\x1b[1A\r\x1b[3C");
        out.clear();
        erase(&mut out, Some(&view));
        assert_eq!(out, "\r\x1b[1A\x1b[J");
        out.clear();
        erase(&mut out, None);
        assert_eq!(out, "");
    }
}
