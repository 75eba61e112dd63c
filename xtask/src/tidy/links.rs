//! Links between the repository's own documents: the file is there, and so is the heading; and the index of `docs/` has every page.
//!
//! Does not look at addresses outside: those break without us and must not break us.

use std::collections::{BTreeMap, BTreeSet};

use super::{Violation, numbered};
use crate::workspace::SourceFile;

pub(super) fn check(files: &[SourceFile], paths: &BTreeSet<String>) -> Vec<Violation> {
    let documents = files.iter().filter(|file| file.extension() == "md");
    let headings: BTreeMap<&str, BTreeSet<String>> =
        documents.clone().map(|file| (file.path.as_str(), anchors(&file.text))).collect();
    let mut violations = mentions(files, paths);
    violations.extend(unlisted(files));
    for file in documents {
        for (line, text) in prose(&file.text) {
            for target in targets(text) {
                if let Some(message) = broken(&file.path, target, paths, &headings) {
                    violations.push(Violation::new(&file.path, line, message));
                }
            }
        }
    }
    violations
}

/// Pages that a reader of the index does not find. Decisions have an index of their own.
fn unlisted(files: &[SourceFile]) -> Vec<Violation> {
    let Some(index) = files.iter().find(|file| file.path == INDEX) else { return Vec::new() };
    let links = prose(&index.text).flat_map(|(_, line)| targets(line));
    let listed: BTreeSet<String> = links.filter_map(|target| resolve(INDEX, target.split('#').next()?)).collect();
    let pages = files.iter().map(|file| file.path.as_str()).filter(|path| {
        path.ends_with(".md") && path.starts_with("docs/") && !path.starts_with("docs/decisions/") && *path != INDEX
    });
    pages
        .filter(|path| !listed.contains(*path))
        .map(|path| Violation::new(INDEX, 0, format!("{path} is not listed")))
        .collect()
}

const INDEX: &str = "docs/README.md";

/// Sources name documents by their path from the root, such as `docs/decisions/README.md`.
fn mentions(files: &[SourceFile], paths: &BTreeSet<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let sources = files.iter().filter(|file| ["rs", "py", "ts", "mjs", "toml"].contains(&file.extension()));
    // The tests of these rules name documents that are not there.
    for file in sources.filter(|file| !file.path.starts_with("xtask/src/tidy/")) {
        for (line, text) in numbered(&file.text) {
            let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"/._-".contains(letter));
            for word in words.map(|word| word.trim_end_matches('.')) {
                if word.starts_with("docs/") && word.ends_with(".md") && !paths.contains(word) {
                    violations.push(Violation::new(&file.path, line, format!("there is no {word}")));
                }
            }
        }
    }
    violations
}

fn broken(
    from: &str,
    target: &str,
    paths: &BTreeSet<String>,
    headings: &BTreeMap<&str, BTreeSet<String>>,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let Some(path) = resolve(from, file) else { return Some(format!("`{target}` leads out of the repository")) };
    let folder = format!("{path}/");
    if !paths.contains(&path) && !paths.iter().any(|known| known.starts_with(&folder)) {
        return Some(format!("`{target}`: there is no {path}"));
    }
    let known = headings.get(path.as_str())?;
    let missing = !anchor.is_empty() && !known.contains(anchor);
    missing.then(|| format!("`{target}`: {path} has no heading #{anchor}"))
}

/// The path that `link` in the document `from` leads to, from the repository's root.
fn resolve(from: &str, link: &str) -> Option<String> {
    if link.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = match link.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// The lines outside of fenced code.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    numbered(text).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        if fence {
            in_code = !in_code;
        }
        !in_code && !fence
    })
}

/// The targets of the inline links of a line: `[text](target)`.
fn targets(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    let mut rest = line;
    while let Some(at) = rest.find(['`', ']']) {
        let (_, tail) = rest.split_at(at);
        if tail.starts_with('`') {
            in_code = !in_code;
        } else if let Some(target) = tail.strip_prefix("](").and_then(|inner| inner.split(')').next())
            && !in_code
        {
            found.push(target.split_whitespace().next().unwrap_or_default());
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    found
}

/// The names by which a document's headings are linked: in lower case, blanks as dashes, other signs left out.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, line) in prose(text) {
        let Some(title) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#')) else { continue };
        let Some(title) = title.strip_prefix(' ') else { continue };
        let kept = title.trim().chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        let name: String =
            kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>().to_lowercase();
        let count = counts.entry(name.clone()).or_default();
        found.insert(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    fn check_one(path: &str, text: &str) -> Vec<String> {
        let paths = [path, "README.md", "docs/b.md", "crates/x/src/lib.rs"].into_iter().map(str::to_owned).collect();
        let mut files = planted(path, text);
        files.extend(planted("docs/b.md", "# Title\n## What it *does*, and `why`\n## Again\n## Again\n"));
        shown(&check(&files, &paths))
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# Here\n[a](b.md) [b](../README.md \"title\") [c](b.md#what-it-does-and-why) [d](#here)\n\
                    [e](https://example.com/x) [f](/crates/x) [g](b.md#again-1)\n```\n[x](nowhere.md)\n```\n`[y](nowhere.md)`\n";
        assert_eq!(check_one("docs/a.md", text), Vec::<String>::new());
    }

    #[test]
    fn a_document_that_a_source_names_has_to_be_there() {
        assert_eq!(check_one("a.rs", "//! As docs/b.md says (`docs/b.md`).\n"), Vec::<String>::new());
        assert_eq!(check_one("a.rs", "//! See docs/gone.md.\n"), ["a.rs:1: there is no docs/gone.md"]);
    }

    #[test]
    fn a_page_that_the_index_does_not_list_is_found() {
        let mut files = planted("docs/README.md", "[a](howto/a.md#first)\n`[b](howto/b.md)`\n");
        for path in ["docs/howto/a.md", "docs/howto/b.md", "docs/decisions/0001.md", "lib/README.md"] {
            files.extend(planted(path, "# Title\n"));
        }
        assert_eq!(shown(&unlisted(&files)), ["docs/README.md: docs/howto/b.md is not listed"]);
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        assert_eq!(check_one("docs/a.md", "x\n[a](c.md)\n"), ["docs/a.md:2: `c.md`: there is no docs/c.md"]);
        assert_eq!(
            check_one("docs/a.md", "[a](../../x.md)\n"),
            ["docs/a.md:1: `../../x.md` leads out of the repository"]
        );
    }

    #[test]
    fn a_link_to_a_missing_heading_is_found() {
        assert_eq!(check_one("docs/a.md", "[a](b.md#no)\n"), ["docs/a.md:1: `b.md#no`: docs/b.md has no heading #no"]);
        assert_eq!(check_one("docs/a.md", "[a](#no)\n"), ["docs/a.md:1: `#no`: docs/a.md has no heading #no"]);
    }
}
