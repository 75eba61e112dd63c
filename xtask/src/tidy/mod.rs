//! The project's own rules: what neither the compiler, clippy nor rustfmt can see.
//!
//! Each submodule is one family of rules: a function from what was read to violations, with a test that plants one.

mod directions;
mod entry;
mod examples;
mod links;
mod locks;
mod manifests;
mod named_tests;
mod places;
mod purity;
mod sources;
mod text;

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::runner::Outcome;
use crate::workspace::{file_paths, graph, read_text_files};

/// A rule that is broken, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    path: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    message: String,
}

impl Violation {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(formatter, "{}: {}", self.path, self.message)
        } else {
            write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
        }
    }
}

/// Checks everything and prints what is broken.
pub(crate) fn run(root: &Path) -> Result<Outcome> {
    let paths = file_paths(root)?;
    let files = read_text_files(root, &paths)?;
    let graph = graph(root)?;

    let mut violations = Vec::new();
    violations.extend(directions::check(&graph));
    violations.extend(directions::check_page(&files));
    violations.extend(purity::check(&graph, &files));
    violations.extend(locks::check(&graph, &files));
    violations.extend(manifests::check(&graph, &files));
    violations.extend(sources::check(&files));
    violations.extend(text::check(&files));
    violations.extend(entry::check(&files));
    violations.extend(examples::check(&files));
    violations.extend(links::check(&files, &paths));
    violations.extend(named_tests::check(&files));
    violations.extend(places::check(&files, &paths));
    violations.sort();

    for violation in &violations {
        println!("{violation}");
    }
    let packages = graph.members.len();
    println!("tidy: {} files, {packages} packages, {} violations", files.len(), violations.len());
    Ok(if violations.is_empty() { Outcome::Passed } else { Outcome::Failed })
}

/// The lines of a text, counted from 1.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// What stands between two backticks of a line.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[cfg(test)]
fn planted(path: &str, text: &str) -> Vec<crate::workspace::SourceFile> {
    vec![crate::workspace::SourceFile { path: path.to_owned(), text: text.to_owned() }]
}

#[cfg(test)]
fn shown(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(ToString::to_string).collect()
}
