//! Every package follows the workspace's lints, licence, edition and compiler; every shared dependency has its reason.

use super::{Violation, numbered};
use crate::workspace::{Graph, SourceFile};

const REASONS: &str = "docs/decisions/0001-dependencies.md";

pub(super) fn check(graph: &Graph, files: &[SourceFile]) -> Vec<Violation> {
    let text_of = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    let mut violations = Vec::new();
    for member in &graph.members {
        let path = format!("{}/Cargo.toml", member.folder);
        let mut complain = |message: &str| violations.push(Violation::new(&path, 0, message));
        if !text_of(&path).contains("[lints]\nworkspace = true") {
            complain("say `[lints]` `workspace = true`");
        }
        if member.license != "MIT OR Apache-2.0" {
            complain("say `license.workspace = true`");
        }
        if member.edition != "2024" {
            complain("say `edition.workspace = true`");
        }
        if member.rust_version.is_empty() {
            complain("say `rust-version.workspace = true`");
        }
    }
    violations.extend(unexplained(text_of("Cargo.toml"), text_of(REASONS)));
    violations
}

/// The shared dependencies without a reason, and the reasons without a dependency.
fn unexplained(manifest: &str, reasons: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut asked = Vec::new();
    let mut in_table = false;
    for (line, text) in numbered(manifest) {
        if text.starts_with('[') {
            in_table = text == "[workspace.dependencies]";
            continue;
        }
        let Some((name, _)) = text.split_once('=').filter(|_| in_table && !text.starts_with('#')) else { continue };
        let name = name.trim();
        if name.starts_with("switchboard-") {
            continue;
        }
        asked.push(name);
        if !explained(reasons).any(|(_, known)| known == name) {
            violations.push(Violation::new("Cargo.toml", line, format!("`{name}` has no row in {REASONS}")));
        }
    }
    for (line, name) in explained(reasons) {
        if !asked.contains(&name) {
            let message = format!("`{name}` is not a dependency of the workspace");
            violations.push(Violation::new(REASONS, line, message));
        }
    }
    violations
}

/// The names in the first column of the table of reasons: ``| `name`, `name` | why |``.
fn explained(reasons: &str) -> impl Iterator<Item = (usize, &str)> {
    numbered(reasons).flat_map(|(line, text)| {
        let column = text.strip_prefix("| `").and_then(|rest| rest.split('|').next()).unwrap_or_default();
        column.split(',').map(move |name| (line, name.trim().trim_matches('`'))).filter(|(_, name)| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;
    use crate::workspace::Member;

    #[test]
    fn a_package_that_goes_its_own_way_is_found() {
        let member = |license: &str, edition: &str, rust_version: &str| Graph {
            members: vec![Member {
                name: "a".into(),
                folder: "crates/a".into(),
                license: license.into(),
                edition: edition.into(),
                rust_version: rust_version.into(),
                dependencies: [].into(),
            }],
            ..Graph::default()
        };
        let manifest = planted("crates/a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n");
        assert!(check(&member("MIT OR Apache-2.0", "2024", "1.88"), &manifest).is_empty());
        assert_eq!(check(&member("GPL-3.0", "2021", ""), &planted("crates/a/Cargo.toml", "")).len(), 4);
    }

    #[test]
    fn a_dependency_without_a_reason_is_found_and_a_reason_without_a_dependency_too() {
        let manifest =
            "[workspace.dependencies]\nswitchboard-core = {}\nbytes = \"1\"\nslab = \"0.4\"\n[profile.dev]\nx = 1\n";
        let reasons = "| crate | why |\n|---|---|\n| `bytes`, `http` | shared |\n";
        assert_eq!(
            shown(&unexplained(manifest, reasons)),
            [
                "Cargo.toml:4: `slab` has no row in docs/decisions/0001-dependencies.md",
                "docs/decisions/0001-dependencies.md:3: `http` is not a dependency of the workspace",
            ]
        );
    }
}
