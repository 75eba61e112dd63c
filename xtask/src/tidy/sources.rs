//! How Rust files are built: a header that says what they own, a size that reads well, nothing left for later.

use super::{Violation, numbered};
use crate::workspace::SourceFile;

const CODE_LINES_MAX: usize = 600;

/// What no file may say, in any language that we write, and why.
const LEFT_FOR_LATER: [&str; 6] = [
    concat!("to", "do!("),
    concat!("un", "implemented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("#[ig", "nore"),
    concat!("dbg", "!("),
];

/// A channel without a bound has no policy for when it is full.
const UNBOUNDED: [&str; 4] = [
    concat!("unbounded", "_channel("),
    concat!("mpsc::un", "bounded("),
    concat!("channel::un", "bounded("),
    concat!("std::sync::mpsc::", "channel("),
];

/// Where `unsafe` may be written in what we ship: small modules with an argument at each block.
const UNSAFE_ALLOWED: [&str; 1] = [
    // Text that is known to be UTF-8 is not checked again.
    "lib/ws-proto/src/message.rs",
];

/// Protocols are named in their own folders and in one registry, `crates/dialects`; what carries them never asks which one.
const PROTOCOLS: [&str; 7] = ["mqtt", "pusher", "socketio", "engineio", "sockjs", "stomp", "graphql"];
const ASKS_NO_PROTOCOL: [&str; 4] = ["crates/core/src/", "crates/hub/src/", "crates/session/src/", "crates/net/src/"];

const SOURCES: [&str; 8] = ["rs", "ts", "tsx", "js", "mjs", "py", "sh", "toml"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| SOURCES.contains(&file.extension())) {
        violations.extend(left_for_later(file));
        if file.extension() == "rs" {
            violations.extend(header(file));
            violations.extend(size(file));
            violations.extend(unbounded(file));
            violations.extend(unsafe_code(file));
            violations.extend(protocol_names(file));
        }
    }
    violations
}

fn left_for_later(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, text) in numbered(&file.text) {
        for mark in LEFT_FOR_LATER.iter().filter(|mark| text.contains(**mark)) {
            violations.push(Violation::new(&file.path, line, format!("`{mark}`: finish it or leave it out")));
        }
    }
    violations
}

fn header(file: &SourceFile) -> Option<Violation> {
    let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let sentence = first.strip_prefix("//! ").unwrap_or_default();
    let missing = sentence.len() < 10;
    missing.then(|| Violation::new(&file.path, 1, "begin with a `//!` header: what the file owns and does not know"))
}

fn size(file: &SourceFile) -> Option<Violation> {
    let count = code_lines(&file.text);
    let message = format!("{count} lines of code; past {CODE_LINES_MAX}, split it by who owns the state");
    (count > CODE_LINES_MAX).then(|| Violation::new(&file.path, 0, message))
}

/// Lines that are neither blank nor only a comment, without the tests at the file's end.
fn code_lines(text: &str) -> usize {
    without_tests(text).lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").and_then(|end| text.get(..end)).unwrap_or(text)
}

fn unbounded(file: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, text) in numbered(&file.text) {
        if let Some(name) = UNBOUNDED.iter().find(|name| text.contains(**name)) {
            let message = format!("`{name}`: every queue has a limit and a policy for when it is full");
            violations.push(Violation::new(&file.path, line, message));
        }
    }
    violations
}

fn unsafe_code(file: &SourceFile) -> Vec<Violation> {
    let shipped = file.path.starts_with("lib/") || file.path.starts_with("crates/");
    if !shipped || is_test(file) || UNSAFE_ALLOWED.contains(&file.path.as_str()) {
        return Vec::new();
    }
    code(&file.text)
        .filter(|(_, text)| begins_unsafe(text))
        .map(|(line, _)| Violation::new(&file.path, line, "this file is not among those that may be unsafe"))
        .collect()
}

/// The keyword before what it is about, not the word in a sentence or in the name of a lint.
fn begins_unsafe(line: &str) -> bool {
    let keyword = concat!("un", "safe");
    line.match_indices(keyword).any(|(at, _)| {
        let rest = line.get(at + keyword.len()..).unwrap_or_default();
        let begins = ["{", "impl ", "fn ", "extern ", "trait "].iter().any(|what| rest.trim_start().starts_with(what));
        begins || rest.starts_with('(')
    })
}

/// A file of tests. It may hold what the product may not.
fn is_test(file: &SourceFile) -> bool {
    file.path.ends_with("/tests.rs") || file.path.contains("/tests/")
}

fn protocol_names(file: &SourceFile) -> Vec<Violation> {
    if is_test(file) || !ASKS_NO_PROTOCOL.iter().any(|folder| file.path.starts_with(folder)) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (line, text) in code(without_tests(&file.text)) {
        let text = text.to_lowercase();
        for protocol in PROTOCOLS.iter().filter(|name| text.contains(**name)) {
            let message = format!("`{protocol}`: this crate never asks which protocol; make it a method of `Dialect`");
            violations.push(Violation::new(&file.path, line, message));
        }
    }
    violations
}

/// The lines that are not only a comment.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    numbered(text).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    #[test]
    fn a_good_file_passes() {
        assert!(check(&planted("a.rs", "//! Owns the letter a.\n\nfn a() {}\n")).is_empty());
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        for mark in LEFT_FOR_LATER {
            let found = check(&planted("a.rs", &format!("//! Owns the letter a.\nfn a() {{ {mark} }}\n")));
            assert_eq!(shown(&found), [format!("a.rs:2: `{mark}`: finish it or leave it out")]);
        }
        assert_eq!(check(&planted("a.py", &format!("# {}: later\n", concat!("TO", "DO")))).len(), 1);
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(check(&planted("a.rs", "fn a() {}\n")).len(), 1);
        assert_eq!(check(&planted("a.rs", "//!\nfn a() {}\n")).len(), 1);
    }

    #[test]
    fn a_file_that_is_too_long_is_found_and_its_comments_and_tests_do_not_count() {
        let lines = |count: usize| "x();\n".repeat(count);
        let header = "//! Owns the letter a.\n";
        assert_eq!(check(&planted("a.rs", &format!("{header}{}", lines(601)))).len(), 1);
        let tests = format!("\n#[cfg(test)]\nmod tests {{\n{}}}\n", lines(300));
        let long = format!("{header}{}{}{tests}", lines(600), "// why\n\n".repeat(50));
        assert!(check(&planted("a.rs", &long)).is_empty());
    }

    #[test]
    fn a_queue_without_a_bound_is_found() {
        for name in UNBOUNDED {
            let found = check(&planted("a.rs", &format!("//! Owns the letter a.\nlet q = {name});\n")));
            assert_eq!(found.len(), 1, "{name}");
        }
    }

    #[test]
    fn code_that_the_compiler_cannot_check_is_found_where_it_has_no_place() {
        let block = concat!("//! Owns the letter a.\nfn a() { un", "safe { b() } }\n");
        assert_eq!(check(&planted("crates/hub/src/a.rs", block)).len(), 1);
        assert!(check(&planted("bench/src/a.rs", block)).is_empty());
        assert!(check(&planted("crates/hub/tests/a.rs", block)).is_empty());
        let talk = concat!(
            "//! Owns the letter a; un",
            "safe elsewhere.\n#![forbid(un",
            "safe_code)]\n\"is un",
            "safe. Stop\"\n"
        );
        assert!(check(&planted("crates/hub/src/a.rs", talk)).is_empty());
    }

    #[test]
    fn a_protocol_that_is_named_in_the_core_is_found() {
        let text = "//! Owns the letter a, unlike MQTT.\nif dialect == Dialect::Mqtt { a(); }\n";
        assert_eq!(check(&planted("crates/hub/src/a.rs", text)).len(), 1);
        assert!(check(&planted("crates/dialects/src/a.rs", text)).is_empty());
        assert!(check(&planted("crates/hub/src/a/tests.rs", text)).is_empty());
        let tested = format!("//! Owns the letter a.\n\n#[cfg(test)]\nmod tests {{\n    {text}}}\n");
        assert!(check(&planted("crates/hub/src/a.rs", &tested)).is_empty());
    }
}
