//! What somebody at a terminal wants: keys in, messages and commands out. The part of a [`Conversation`] that has a person in it.

use super::command::{self, Command, Completion, Request};
use super::conversation::{Act, Conversation, End, Line, Outgoing, Phase};
use super::editor::{LINE_MAX, Typed};
use super::history::{encode, is_lasting};
use super::text::one_line;
use bytes::Bytes;
use core::time::Duration;
use switchboard_ws::Message;

/// Earlier lines that `/history` shows.
const HISTORY_SHOWN: usize = 50;

impl Conversation {
    /// Keys were pressed.
    pub(crate) fn keys(&mut self, now: Duration, keys: &[u8]) {
        self.typeahead.extend(keys);
        self.type_on(now);
    }

    /// Keys behind one whose meaning is looked for in a folder wait until it is found.
    fn type_on(&mut self, now: Duration) {
        while !self.listing
            && let Some(key) = self.typeahead.pop_front()
        {
            if let Some(typed) = self.editor.receive(key) {
                self.typed(now, typed);
            }
        }
    }

    fn typed(&mut self, now: Duration, typed: Typed) {
        match typed {
            Typed::Line { text, new } => {
                let shown = self.look.typed(now, &text);
                self.acts.push_back(Act::Print { data: true, text: shown });
                if new && is_lasting(&text) {
                    self.acts.push_back(Act::Remember(encode(&text)));
                }
                self.entered(now, &text);
            }
            Typed::Complete => self.complete(now),
            Typed::Interrupted => self.interrupted(now),
            Typed::End if self.input_over || !matches!(self.phase, Phase::Open { .. }) => self.interrupted(now),
            Typed::End => {
                self.input_over = true;
                self.check_linger(now);
            }
            Typed::Clear => self.acts.push_back(Act::Clear),
            Typed::Suspend => self.acts.push_back(Act::Suspend),
            Typed::Full => {
                self.notice(
                    now,
                    &format!("a line takes {LINE_MAX} characters and no more: what is longer, /file sends"),
                );
            }
        }
    }

    fn entered(&mut self, now: Duration, line: &str) {
        match command::parse(line, self.native.is_some()) {
            Ok(command) => self.follow(now, command),
            Err(error) => self.notice(now, &error.to_string()),
        }
    }

    fn follow(&mut self, now: Duration, command: Command) {
        match command {
            Command::Line(line) => {
                self.send_line(now, Line::Text(line));
                if self.manner.one_message {
                    self.input_over = true;
                    self.check_linger(now);
                }
            }
            Command::Bytes(bytes) => drop(self.send(now, Outgoing::Message(bytes.into()))),
            Command::Ping(text) => {
                let payload = if text.is_empty() { self.pings.number() } else { Bytes::from(text) };
                self.ping(now, payload);
            }
            Command::Close(code, reason) if matches!(self.phase, Phase::Open { .. }) => {
                self.close(now, Some((code, reason)), End::Chosen(Some(code)));
            }
            Command::Close(..) => self.interrupted(now),
            Command::File(path) => self.acts.push_back(Act::ReadFile(path)),
            Command::History => self.show_history(now),
            Command::Help => self.notice(now, &command::help(self.native.is_some())),
            Command::Request(request) => self.request(now, request),
            Command::Binary => {
                self.manner.binary = !self.manner.binary;
                let how = if self.manner.binary { "binary messages" } else { "text" };
                self.notice(now, &format!("lines are sent as {how}"));
            }
            Command::Frames => self.look.frames = self.switched(now, "frames", self.look.frames),
            Command::Pretty => self.look.pretty = self.switched(now, "JSON with its lines broken", self.look.pretty),
            Command::Timestamps => self.look.timestamps = self.switched(now, "times", self.look.timestamps),
        }
    }

    fn switched(&mut self, now: Duration, what: &str, was: bool) -> bool {
        self.notice(now, &format!("{what}: {}", if was { "no longer shown" } else { "shown from now on" }));
        !was
    }

    fn request(&mut self, now: Duration, request: Request) {
        let Some(native) = &mut self.native else { return };
        let message = native.request(request);
        self.send(now, Outgoing::Message(message.into()));
    }

    fn show_history(&mut self, now: Duration) {
        let lines: Vec<String> =
            self.editor.history().newest(HISTORY_SHOWN).map(|line| format!("  {}", one_line(line))).collect();
        self.notice(now, &lines.join("\n"));
    }

    /// What is in a file that was asked for, or why it cannot be read.
    pub(crate) fn file_read(&mut self, now: Duration, path: &str, read: Result<Vec<u8>, String>) {
        let message: Message = match read.map(String::from_utf8) {
            Ok(Ok(text)) if self.manner.binary => text.into_bytes().into(),
            Ok(Ok(text)) => text.into(),
            Ok(Err(error)) => error.into_bytes().into(),
            Err(why) => return self.notice(now, &format!("/file {path}: {why}")),
        };
        let kind = if matches!(message, Message::Text(_)) { "text" } else { "a binary message" };
        let said = format!("{} bytes are sent as {kind}", message.len());
        if self.send(now, Outgoing::Message(message)) {
            self.notice(now, &said);
        }
    }

    fn complete(&mut self, now: Duration) {
        let before = self.editor.before_cursor();
        if let Some((folder, name)) = command::path_of(&before) {
            self.listing = true;
            return self.acts.push_back(Act::ListFiles { folder: folder.to_owned(), name: name.to_owned() });
        }
        let channels: Vec<&str> = self.native.iter().flat_map(super::native::Native::channels).collect();
        match command::complete(&before, self.native.is_some(), channels.into_iter()) {
            Some(found) => self.offer(now, &found),
            None => self.editor.replace(0, "\t"),
        }
    }

    /// The names in a folder that begin as the one that is to be completed, those of folders with a slash behind them.
    pub(crate) fn files_listed(&mut self, now: Duration, name: &str, mut found: Vec<String>) {
        // What cannot be typed cannot be completed.
        found.retain(|found| found.starts_with(name) && !found.contains(char::is_control));
        found.sort_unstable();
        self.offer(now, &Completion { replaces: name.chars().count(), candidates: found });
        self.listing = false;
        self.type_on(now);
    }

    fn offer(&mut self, now: Duration, found: &Completion) {
        let common = found.common();
        if found.candidates.len() == 1 || common.chars().count() > found.replaces {
            self.editor.replace(found.replaces, common);
        } else if found.candidates.len() > 1 {
            let shown: Vec<String> = found.candidates.iter().map(|candidate| one_line(candidate.trim_end())).collect();
            self.notice(now, &shown.join("  "));
        }
    }
}
