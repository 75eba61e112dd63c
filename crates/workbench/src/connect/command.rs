//! What a typed line means: a message, or with a slash before it a command. Owns the commands' names, forms and help, and what Tab adds to them. Sends
//! nothing.

use super::text::{HexError, parse_hex};
use switchboard_ws::CloseCode;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send the line: as text, unless lines are sent as bytes.
    Line(String),
    /// Send bytes.
    Bytes(Vec<u8>),
    /// Send lines as bytes from now on, or as text again.
    Binary,
    Ping(String),
    Close(u16, String),
    /// Send what is in a file.
    File(String),
    /// Show lines that were typed.
    History,
    Frames,
    Pretty,
    Timestamps,
    Help,
    /// Of the native protocol.
    Request(Request),
}

/// What is asked of a Switchboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Subscribe(String),
    Unsubscribe(String),
    Publish(String, String),
    Presence(String),
    History(String, Option<u32>),
}

/// Why a line is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(
        "there is no {0}: /help lists what there is; a line that begins with a slash is sent with a second one before it"
    )]
    Unknown(String),
    #[error("{0} is for a Switchboard, and this server has not said that it is one")]
    NotNative(&'static str),
    #[error("{0} wants {1}")]
    Wants(&'static str, &'static str),
    #[error("/hex: {0}")]
    Hex(#[from] HexError),
    #[error("/close: {0} is not a code that may be sent: 1000 to 1003, 1007 to 1014 or 3000 to 4999")]
    Code(String),
    #[error("{0}: more than {1} bytes do not fit")]
    TooLong(&'static str, usize),
}

/// A command, how it is written, and what it does.
struct Form {
    name: &'static str,
    takes: &'static str,
    does: &'static str,
}

const FORMS: &[Form] = &[
    Form {
        name: "/binary",
        takes: "[TEXT]",
        does: "send the text as a binary message; without it, all lines from now on",
    },
    Form { name: "/close", takes: "[CODE [REASON]]", does: "close the connection" },
    Form { name: "/file", takes: "PATH", does: "send a file: as text if it is UTF-8, else as bytes" },
    Form { name: "/frames", takes: "", does: "show each frame, or no longer" },
    Form { name: "/help", takes: "", does: "show this" },
    Form { name: "/hex", takes: "BYTES", does: "send bytes, as in 0a ff 00" },
    Form { name: "/history", takes: "", does: "show the lines that were typed" },
    Form { name: "/ping", takes: "[TEXT]", does: "send a ping, and show how long its pong takes" },
    Form { name: "/pretty", takes: "", does: "show JSON with a line for each member, or no longer" },
    Form { name: "/timestamps", takes: "", does: "show when things happen, or no longer" },
];

const NATIVE_FORMS: &[Form] = &[
    Form { name: "/history", takes: "CHANNEL [COUNT]", does: "show what was published on a channel" },
    Form { name: "/presence", takes: "CHANNEL", does: "show who is on a channel" },
    Form { name: "/publish", takes: "CHANNEL DATA", does: "publish JSON, or else a text" },
    Form { name: "/subscribe", takes: "CHANNEL", does: "subscribe to a channel, or to a pattern such as sensors/+" },
    Form { name: "/unsubscribe", takes: "CHANNEL", does: "end a subscription" },
];

const KEYS: &str = "\
Enter sends; Alt-Enter, or a backslash at the end, begins another line. Up, Down and Ctrl-R find earlier lines; Tab completes.
//TEXT sends a line that begins with a slash. Ctrl-D on an empty line closes and ends.";

/// RFC 6455 §5.5: what a control frame may carry.
const CONTROL_BYTES_MAX: usize = 125;

/// Understands a line.
pub(crate) fn parse(line: &str, native: bool) -> Result<Command, CommandError> {
    let Some(command) = line.strip_prefix('/') else { return Ok(Command::Line(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Command::Line(command.to_owned()));
    }
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match name {
        "binary" if rest.is_empty() => Ok(Command::Binary),
        "binary" => Ok(Command::Bytes(rest.as_bytes().to_vec())),
        "close" => close(rest),
        "file" if rest.is_empty() => Err(CommandError::Wants("/file", "a path")),
        "file" => Ok(Command::File(rest.to_owned())),
        "frames" => Ok(Command::Frames),
        "help" => Ok(Command::Help),
        "hex" if rest.is_empty() => Err(CommandError::Wants("/hex", "bytes, as in 0a ff 00")),
        "hex" => Ok(Command::Bytes(parse_hex(rest)?)),
        "history" if rest.is_empty() => Ok(Command::History),
        "ping" if rest.len() > CONTROL_BYTES_MAX => Err(CommandError::TooLong("/ping", CONTROL_BYTES_MAX)),
        "ping" => Ok(Command::Ping(rest.to_owned())),
        "pretty" => Ok(Command::Pretty),
        "timestamps" => Ok(Command::Timestamps),
        _ => request(name, rest, native).map(Command::Request),
    }
}

fn close(rest: &str) -> Result<Command, CommandError> {
    let (code, reason) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if code.is_empty() {
        return Ok(Command::Close(1000, String::new()));
    }
    let number = code.parse().ok().filter(|code| CloseCode::new(*code).is_allowed());
    let number = number.ok_or_else(|| CommandError::Code(code.to_owned()))?;
    let reason = reason.trim();
    if reason.len() > CONTROL_BYTES_MAX - 2 {
        return Err(CommandError::TooLong("/close", CONTROL_BYTES_MAX - 2));
    }
    Ok(Command::Close(number, reason.to_owned()))
}

fn request(name: &str, rest: &str, native: bool) -> Result<Request, CommandError> {
    let known = NATIVE_FORMS.iter().find(|form| form.name.strip_prefix('/') == Some(name));
    let form = known.ok_or_else(|| CommandError::Unknown(format!("/{name}")))?;
    if !native {
        return Err(CommandError::NotNative(form.name));
    }
    let (channel, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (owned, more) = (channel.to_owned(), more.trim());
    let wants = CommandError::Wants(form.name, form.takes);
    if channel.is_empty() {
        return Err(wants);
    }
    Ok(match name {
        "publish" if more.is_empty() => return Err(wants),
        "publish" => Request::Publish(owned, more.to_owned()),
        "history" if more.is_empty() => Request::History(owned, None),
        "history" => Request::History(owned, Some(more.parse().map_err(|_| wants)?)),
        _ if !more.is_empty() => return Err(wants),
        "subscribe" => Request::Subscribe(owned),
        "unsubscribe" => Request::Unsubscribe(owned),
        _ => Request::Presence(owned),
    })
}

/// What `/help` shows.
pub(crate) fn help(native: bool) -> String {
    let forms = FORMS.iter().chain(if native { NATIVE_FORMS } else { &[] });
    let lines = forms.map(|Form { name, takes, does }| format!("  {:<30} {does}\n", format!("{name} {takes}")));
    lines.chain([KEYS.to_owned()]).collect()
}

/// What Tab finds for the line before the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Characters before the cursor that a candidate replaces.
    pub(crate) replaces: usize,
    pub(crate) candidates: Vec<String>,
}

/// Completes a command's name, or a channel's behind a command that takes one. `None` where there is nothing to complete, and Tab is a character.
pub(crate) fn complete<'a>(before: &str, native: bool, channels: impl Iterator<Item = &'a str>) -> Option<Completion> {
    if !before.starts_with('/') || before.starts_with("//") {
        return None;
    }
    let forms = || FORMS.iter().chain(if native { NATIVE_FORMS } else { &[] });
    let Some((name, argument)) = before.split_once(' ') else {
        let mut candidates: Vec<String> = forms()
            .map(|form| form.name)
            .filter(|name| name.starts_with(before))
            .map(|name| format!("{name} "))
            .collect();
        candidates.sort_unstable();
        candidates.dedup();
        return Some(Completion { replaces: before.chars().count(), candidates });
    };
    let takes_channel = forms().any(|form| form.name == name && form.takes.starts_with("CHANNEL"));
    let mut candidates: Vec<String> = Vec::new();
    if takes_channel && !argument.contains(' ') {
        candidates
            .extend(channels.filter(|channel| channel.starts_with(argument)).map(|channel| format!("{channel} ")));
        candidates.sort_unstable();
    }
    Some(Completion { replaces: argument.chars().count(), candidates })
}

/// The path behind `/file`, to be completed: its folder (as it was typed, with the slash) and the beginning of a name. Only who can look into folders
/// knows the candidates.
pub(crate) fn path_of(before: &str) -> Option<(&str, &str)> {
    let path = before.strip_prefix("/file ")?.trim_start();
    path.split_at_checked(path.rfind('/').map_or(0, |slash| slash + 1))
}

impl Completion {
    /// What all candidates begin with.
    pub(crate) fn common(&self) -> &str {
        let Some((first, others)) = self.candidates.split_first() else { return "" };
        let mut end = first.len();
        for other in others {
            let same = first.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
            end = end.min(same.map_or(other.len(), |((place, _), _)| place));
        }
        first.get(..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_understood() {
        let line = |text: &str| Ok(Command::Line(text.to_owned()));
        let native = |request| Ok(Command::Request(request));
        for (typed, meant) in [
            ("hello", line("hello")),
            ("", line("")),
            (" /ping", line(" /ping")),
            ("//ping", line("/ping")),
            ("/ping", Ok(Command::Ping(String::new()))),
            ("/ping a b", Ok(Command::Ping("a b".to_owned()))),
            ("/close", Ok(Command::Close(1000, String::new()))),
            ("/close 4001 good bye", Ok(Command::Close(4001, "good bye".to_owned()))),
            ("/close 1005", Err(CommandError::Code("1005".to_owned()))),
            ("/close bye", Err(CommandError::Code("bye".to_owned()))),
            ("/hex 0aff", Ok(Command::Bytes(vec![10, 255]))),
            ("/hex 0", Err(CommandError::Hex(HexError::Half))),
            ("/hex", Err(CommandError::Wants("/hex", "bytes, as in 0a ff 00"))),
            ("/binary", Ok(Command::Binary)),
            ("/binary a b", Ok(Command::Bytes(b"a b".to_vec()))),
            ("/file a b.txt ", Ok(Command::File("a b.txt".to_owned()))),
            ("/history", Ok(Command::History)),
            ("/nope", Err(CommandError::Unknown("/nope".to_owned()))),
            ("/", Err(CommandError::Unknown("/".to_owned()))),
            ("/subscribe a", native(Request::Subscribe("a".to_owned()))),
            ("/publish a {\"x\": 1}", native(Request::Publish("a".to_owned(), "{\"x\": 1}".to_owned()))),
            ("/publish a", Err(CommandError::Wants("/publish", "CHANNEL DATA"))),
            ("/presence a b", Err(CommandError::Wants("/presence", "CHANNEL"))),
            ("/history a 7", native(Request::History("a".to_owned(), Some(7)))),
        ] {
            assert_eq!(parse(typed, true), meant, "{typed}");
        }
        assert_eq!(parse("/subscribe a", false), Err(CommandError::NotNative("/subscribe")));
        assert_eq!(parse("/history a", false), Err(CommandError::NotNative("/history")));
    }

    #[test]
    fn tab_completes_commands_and_channels() {
        let found = |before: &str, native| {
            complete(before, native, ["room:a", "room:b", "news"].into_iter())
                .map(|completion| (completion.common().to_owned(), completion.replaces, completion.candidates.len()))
        };
        assert_eq!(found("/fr", false), Some(("/frames ".to_owned(), 3, 1)));
        assert_eq!(found("/p", false), Some(("/p".to_owned(), 2, 2)));
        assert_eq!(found("/h", true), Some(("/h".to_owned(), 2, 3)));
        assert_eq!(found("/subscribe r", true), Some(("room:".to_owned(), 1, 2)));
        assert_eq!(found("/publish room:a ", true), Some((String::new(), 7, 0)));
        assert_eq!(found("/subscribe r", false), Some((String::new(), 1, 0)));
        assert_eq!(found("hello", true), None);
        assert_eq!(found("//x", true), None);
    }

    #[test]
    fn paths_are_taken_apart() {
        assert_eq!(path_of("/file no"), Some(("", "no")));
        assert_eq!(path_of("/file /tmp/a b/wo"), Some(("/tmp/a b/", "wo")));
        assert_eq!(path_of("/file "), Some(("", "")));
        assert_eq!(path_of("/files x"), None);
        assert_eq!(path_of("/file"), None);
    }

    #[test]
    fn help_names_every_command() {
        let shown = help(true);
        for form in FORMS.iter().chain(NATIVE_FORMS) {
            assert!(shown.contains(form.name), "{}", form.name);
        }
        assert!(!help(false).contains("/publish"));
    }

    proptest! {
        #[test]
        fn a_line_without_a_slash_is_sent_as_it_is(line in "[^/]\\PC{0,40}") {
            prop_assert_eq!(parse(&line, true), Ok(Command::Line(line)));
        }

        #[test]
        fn any_line_can_be_sent(line in "\\PC{0,40}") {
            let typed = if line.starts_with('/') { format!("/{line}") } else { line.clone() };
            prop_assert_eq!(parse(&typed, true), Ok(Command::Line(line)));
        }

        #[test]
        fn candidates_begin_with_what_they_have_in_common(before in "/[a-z]{0,3}( \\PC{0,5})?") {
            if let Some(completion) = complete(&before, true, ["ab", "aé", "aè"].into_iter()) {
                prop_assert!(completion.candidates.iter().all(|candidate| candidate.starts_with(completion.common())));
                prop_assert!(completion.replaces <= before.chars().count());
            }
        }
    }
}
