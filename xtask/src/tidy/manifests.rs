//! Every package follows the workspace's lints, licence, edition and compiler; every shared dependency has its reason.

use super::{Violation, numbered};
use crate::workspace::{Graph, Member, SourceFile};

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
        for name in unneeded(member, files) {
            complain(&format!("no source of the package names `{name}`"));
        }
    }
    violations.extend(too_new(graph));
    violations.extend(unused(graph, text_of("Cargo.toml")));
    violations.extend(unexplained(text_of("Cargo.toml"), text_of(REASONS)));
    violations
}

/// What a package asks for and none of its sources names.
fn unneeded<'a>(member: &'a Member, files: &[SourceFile]) -> Vec<&'a str> {
    let folder = format!("{}/", member.folder);
    let sources: Vec<&str> = files
        .iter()
        .filter(|file| file.extension() == "rs" && file.path.starts_with(&folder))
        .map(|file| file.text.as_str())
        .collect();
    let is_named = |name: &str| {
        let called = CALLED.iter().find(|(package, _)| *package == name).map(|(_, called)| (*called).to_owned());
        let called = called.unwrap_or_else(|| name.replace('-', "_"));
        sources.iter().any(|text| has_word(text, &called))
    };
    member.dependencies.iter().map(|(_, name)| name.as_str()).filter(|name| !is_named(name)).collect()
}

/// Packages whose library has a name of its own.
const CALLED: [(&str, &str); 1] = [("md-5", "md5")];

fn has_word(text: &str, word: &str) -> bool {
    let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, behind) = (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        !before.ends_with(is_letter) && !behind.starts_with(is_letter)
    })
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

/// The shared dependencies that no package asks for.
fn unused(graph: &Graph, manifest: &str) -> Vec<Violation> {
    let asked =
        |name: &str| graph.members.iter().any(|member| member.dependencies.iter().any(|(_, other)| other == name));
    shared(manifest)
        .filter(|(_, name)| !asked(name))
        .map(|(line, name)| Violation::new("Cargo.toml", line, format!("no package asks for `{name}`")))
        .collect()
}

/// The shared dependencies without a reason, and the reasons without a dependency.
fn unexplained(manifest: &str, reasons: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (line, name) in shared(manifest) {
        if !explained(reasons).any(|(_, known)| known == name) {
            violations.push(Violation::new("Cargo.toml", line, format!("`{name}` has no row in {REASONS}")));
        }
    }
    for (line, name) in explained(reasons) {
        if !shared(manifest).any(|(_, known)| known == name) {
            let message = format!("`{name}` is not a dependency of the workspace");
            violations.push(Violation::new(REASONS, line, message));
        }
    }
    violations
}

/// The names in `[workspace.dependencies]` that are not our own.
fn shared(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_table = false;
    numbered(manifest).filter_map(move |(line, text)| {
        if text.starts_with('[') {
            in_table = text == "[workspace.dependencies]";
        }
        let (name, _) = text.split_once('=').filter(|_| in_table && !text.starts_with(['#', '[']))?;
        let name = name.trim();
        (!name.starts_with("switchboard-")).then_some((line, name))
    })
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
    use crate::workspace::DependencyKind;

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
    fn a_dependency_that_no_source_names_is_found() {
        let mut graph = graph_of_one("MIT OR Apache-2.0", "2024", "1.88");
        let asked = ["http-body", "md-5", "slab"].map(|name| (DependencyKind::Normal, name.to_owned()));
        let Some(member) = graph.members.first_mut() else { unreachable!() };
        member.dependencies = asked.into();
        let mut files = planted("crates/a/src/lib.rs", "use http_body::Body;\nuse md5::Md5;\nlet slabs = 1;\n");
        files.extend(planted("crates/ab/src/lib.rs", "use slab::Slab;\n"));
        assert_eq!(unneeded(member, &files), ["slab"]);
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
    fn a_dependency_that_nobody_asks_for_is_found() {
        let mut graph = graph_of_one("MIT OR Apache-2.0", "2024", "1.88");
        let manifest = "[workspace.dependencies]\nslab = \"0.4\"\n";
        assert_eq!(shown(&unused(&graph, manifest)), ["Cargo.toml:2: no package asks for `slab`"]);
        for member in &mut graph.members {
            member.dependencies.insert((DependencyKind::Development, "slab".into()));
        }
        assert!(unused(&graph, manifest).is_empty());
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
