//! Tests that documents name as `path/of/file.rs::function`: the file is there, and the function, and it is a test.

use super::{Violation, code_spans, numbered};
use crate::workspace::SourceFile;

pub(super) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for document in files.iter().filter(|file| file.extension() == "md") {
        for (line, text) in numbered(&document.text) {
            for name in code_spans(text) {
                let Some((path, test)) = name.split_once(".rs::") else { continue };
                let path = format!("{path}.rs");
                if let Some(message) = missing(files, &path, test) {
                    violations.push(Violation::new(&document.path, line, message));
                }
            }
        }
    }
    violations
}

fn missing(files: &[SourceFile], path: &str, test: &str) -> Option<String> {
    let Some(file) = files.iter().find(|file| file.path == path) else { return Some(format!("there is no {path}")) };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let begins = |line: &str| {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        rest.and_then(|rest| rest.strip_prefix(test)).is_some_and(|rest| rest.starts_with('('))
    };
    let Some(at) = lines.iter().position(|line| begins(line)) else {
        return Some(format!("{path} has no function {test}"));
    };
    let attributes = lines.iter().take(at).rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
    let is_test = attributes.clone().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"));
    (!is_test).then(|| format!("{path}: {test} is not a test"))
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    fn named(name: &str) -> Vec<String> {
        let mut files = planted("a.md", &format!("| attack | `{name}` |\n"));
        let source = "#[test]\nfn one() {}\n\n#[tokio::test(start_paused = true)]\n#[cfg(unix)]\nasync fn two() {}\n\nfn help() {}\n";
        files.extend(planted("lib/x/tests/a.rs", source));
        shown(&check(&files))
    }

    #[test]
    fn tests_that_exist_are_found() {
        for name in ["lib/x/tests/a.rs::one", "lib/x/tests/a.rs::two", "lib/x/tests/a.rs", "one::two"] {
            assert!(named(name).is_empty(), "{name}");
        }
    }

    #[test]
    fn tests_that_do_not_exist_are_told() {
        assert_eq!(named("lib/x/tests/b.rs::one"), ["a.md:1: there is no lib/x/tests/b.rs"]);
        assert_eq!(named("lib/x/tests/a.rs::on"), ["a.md:1: lib/x/tests/a.rs has no function on"]);
        assert_eq!(named("lib/x/tests/a.rs::help"), ["a.md:1: lib/x/tests/a.rs: help is not a test"]);
    }
}
