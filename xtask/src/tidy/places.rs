//! Files and folders that documents name in code, such as `crates/core`: they are there.
//!
//! Knows nothing of links, which lead from one document to another.

use std::collections::BTreeSet;

use super::links::prose;
use super::{Violation, code_spans};
use crate::workspace::SourceFile;

/// Folders that are made by what the documents say, and that git does not keep.
const MADE: [&str; 3] = ["bench/target", "fuzz/corpus", "interop/node_modules"];

pub(super) fn check(files: &[SourceFile], paths: &BTreeSet<String>) -> Vec<Violation> {
    let known = with_folders(paths);
    let mut violations = Vec::new();
    for document in files.iter().filter(|file| file.extension() == "md") {
        for (line, text) in prose(&document.text) {
            for place in code_spans(text).flat_map(places).filter(|place| is_ours(place, &known)) {
                if !known.contains(place) && !MADE.contains(&place) {
                    violations.push(Violation::new(&document.path, line, format!("there is no {place}")));
                }
            }
        }
    }
    violations
}

fn with_folders(paths: &BTreeSet<String>) -> BTreeSet<&str> {
    let mut known = BTreeSet::new();
    for path in paths {
        let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        known.extend(folders.chain([path.as_str()]));
    }
    known
}

/// Words that may be paths. A pattern or a name to be filled in is none.
fn places(code: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "/._-*{}".contains(letter);
    let words = code.split(move |letter| !is_part(letter)).map(|word| word.trim_end_matches(['.', '/']));
    words.filter(|word| !word.contains(['*', '{']) && !word.split('/').any(is_placeholder))
}

/// In capitals, as in `fuzz/seeds/TARGET`.
fn is_placeholder(name: &str) -> bool {
    !name.contains('.') && name.len() > 1 && name.bytes().all(|letter| letter.is_ascii_uppercase())
}

/// A path from the root: it begins with a folder that is there.
fn is_ours(place: &str, known: &BTreeSet<&str>) -> bool {
    place.split_once('/').is_some_and(|(top, _)| known.contains(top))
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    fn check_one(text: &str) -> Vec<String> {
        let paths = ["crates/a/src/lib.rs", "docs/a.md"].map(str::to_owned).into();
        shown(&check(&planted("docs/a.md", text), &paths))
    }

    #[test]
    fn places_that_are_there_pass_and_so_does_what_is_none() {
        let text = "`crates/a`, `crates/a/src/`, `cargo run crates/a/src/lib.rs` and/or `a/b`, `crates/*/src`, `crates/NAME`, crates/b\n\
                    `fuzz/corpus`\n```sh\ncrates/b\n```\n";
        assert_eq!(check_one(text), [""; 0]);
    }

    #[test]
    fn places_that_are_not_there_are_found() {
        assert_eq!(check_one("x\n`crates/a`, `crates/b/src`\n"), ["docs/a.md:2: there is no crates/b/src"]);
    }
}
