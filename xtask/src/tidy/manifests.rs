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
    violations.extend(too_new(graph));
    violations.extend(unexplained(text_of("Cargo.toml"), text_of(REASONS)));
    violations
}

/// Dependencies that need a newer compiler than we promise to need.
fn too_new(graph: &Graph) -> Vec<Violation> {
    let promised = graph.members.iter().map(|member| compiler(&member.rust_version)).min().unwrap_or_default();
    let needs_more = graph.compilers.iter().filter(|(_, needed)| compiler(needed) > promised);
    needs_more
        .map(|(release, needed)| {
            let message = format!("{release} needs Rust {needed}, which is more than `rust-version` promises");
            Violation::new("Cargo.lock", 0, message)
        })
        .collect()
}

/// `1.88` or `1.88.1` as numbers; nothing is 0.
fn compiler(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
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

    fn graph_of_one(license: &str, edition: &str, rust_version: &str) -> Graph {
        let member = Member {
            name: "a".into(),
            folder: "crates/a".into(),
            license: license.into(),
            edition: edition.into(),
            rust_version: rust_version.into(),
            dependencies: [].into(),
        };
        Graph { members: vec![member], ..Graph::default() }
    }

    #[test]
    fn a_package_that_goes_its_own_way_is_found() {
        let manifest = planted("crates/a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n");
        assert!(check(&graph_of_one("MIT OR Apache-2.0", "2024", "1.88"), &manifest).is_empty());
        assert_eq!(check(&graph_of_one("GPL-3.0", "2021", ""), &planted("crates/a/Cargo.toml", "")).len(), 4);
    }

    #[test]
    fn a_dependency_that_needs_a_newer_compiler_is_found() {
        let mut graph = graph_of_one("MIT OR Apache-2.0", "2024", "1.88");
        graph.compilers.insert("old 1.0.0".into(), String::new());
        graph.compilers.insert("fine 1.0.0".into(), "1.88.2".into());
        assert!(too_new(&graph).is_empty());
        graph.compilers.insert("new 1.0.0".into(), "1.91".into());
        let found = shown(&too_new(&graph));
        assert_eq!(found, ["Cargo.lock: new 1.0.0 needs Rust 1.91, which is more than `rust-version` promises"]);
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
