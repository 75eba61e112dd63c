//! Where the repository is, which files it has and how its packages depend on each other.
//!
//! Owns the reading of `git ls-files` and `cargo metadata`. Knows no rule about what it finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The folder that holds the workspace's `Cargo.toml`.
pub(crate) fn repository_root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = own.parent().context("xtask lies in the repository's root")?;
    Ok(root.to_path_buf())
}

/// One text file of the repository: its path from the root, with `/`, and what is in it.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// Every file that git tracks or would track: what is ignored is nobody's concern.
pub(crate) fn file_paths(root: &Path) -> Result<BTreeSet<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("`git ls-files` did not start")?;
    if !output.status.success() {
        bail!("`git ls-files` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    // A file that is deleted but not yet committed is still listed.
    Ok(listed.split('\0').filter(|path| !path.is_empty() && root.join(path).is_file()).map(str::to_owned).collect())
}

/// The files of `paths` that are text. A file with a NUL byte, or that is not UTF-8, is not.
pub(crate) fn read_text_files(root: &Path, paths: &BTreeSet<String>) -> Result<Vec<SourceFile>> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        if bytes.contains(&0) {
            continue;
        }
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path: path.clone(), text });
        }
    }
    Ok(files)
}

/// How a package depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DependencyKind {
    Normal,
    Build,
    Development,
}

/// A member of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The folder of its manifest, from the root, with `/`.
    pub(crate) folder: String,
    pub(crate) license: String,
    pub(crate) edition: String,
    pub(crate) rust_version: String,
    /// What it asks for directly, by package name.
    pub(crate) dependencies: BTreeSet<(DependencyKind, String)>,
}

/// The workspace as cargo sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    pub(crate) members: Vec<Member>,
    /// For each package name, the names of the packages that it links (normal and build dependencies, as resolved).
    pub(crate) links: BTreeMap<String, BTreeSet<String>>,
    /// For each package of others, `name version`, the oldest compiler that it says it needs.
    pub(crate) compilers: BTreeMap<String, String>,
}

impl Graph {
    /// What `package` links, directly or through others, without itself.
    pub(crate) fn reachable(&self, package: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![package.to_owned()];
        while let Some(name) = waiting.pop() {
            for next in self.links.get(&name).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    waiting.push(next.clone());
                }
            }
        }
        seen.remove(package);
        seen
    }
}

/// Asks cargo. Uses the committed lock file when there is one, and never the network beyond what cargo needs for that.
pub(crate) fn graph(root: &Path) -> Result<Graph> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("`cargo metadata` did not start")?;
    if !output.status.success() {
        bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")?;
    parse_graph(&metadata, root)
}

fn parse_graph(metadata: &Value, root: &Path) -> Result<Graph> {
    let member_ids: BTreeSet<&str> = strings(metadata, "workspace_members").collect();
    let mut names = BTreeMap::new();
    let mut graph = Graph::default();
    for package in array(metadata, "packages") {
        let (id, name) = (string(package, "id"), string(package, "name"));
        names.insert(id, name);
        if !member_ids.contains(id) {
            let release = format!("{name} {}", string(package, "version"));
            graph.compilers.insert(release, string(package, "rust_version").to_owned());
            continue;
        }
        let manifest = Path::new(string(package, "manifest_path"));
        let folder = manifest.parent().and_then(|folder| folder.strip_prefix(root).ok());
        let folder = folder.with_context(|| format!("{name} lies outside of the repository"))?;
        graph.members.push(Member {
            name: name.to_owned(),
            folder: folder.to_string_lossy().replace('\\', "/"),
            license: string(package, "license").to_owned(),
            edition: string(package, "edition").to_owned(),
            rust_version: string(package, "rust_version").to_owned(),
            dependencies: array(package, "dependencies")
                .map(|asked| (kind_of(string(asked, "kind")), string(asked, "name").to_owned()))
                .collect(),
        });
    }
    let nodes = metadata.get("resolve").map(|resolve| array(resolve, "nodes"));
    for node in nodes.into_iter().flatten() {
        let linked = array(node, "deps").filter(|dep| {
            array(dep, "dep_kinds").any(|kind| kind_of(string(kind, "kind")) != DependencyKind::Development)
        });
        let linked = linked.filter_map(|dep| names.get(string(dep, "pkg"))).map(|name| (*name).to_owned());
        let Some(name) = names.get(string(node, "id")) else { continue };
        graph.links.entry((*name).to_owned()).or_default().extend(linked);
    }
    Ok(graph)
}

fn kind_of(word: &str) -> DependencyKind {
    match word {
        "dev" => DependencyKind::Development,
        "build" => DependencyKind::Build,
        _ => DependencyKind::Normal,
    }
}

fn array<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn strings<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    array(value, key).filter_map(Value::as_str)
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn metadata() -> Value {
        serde_json::json!({
            "workspace_members": ["id-a"],
            "packages": [
                {"id": "id-a", "name": "a", "manifest_path": "/r/crates/a/Cargo.toml", "license": "MIT", "edition": "2024",
                 "rust_version": "1.88",
                 "dependencies": [{"name": "b", "kind": null}, {"name": "d", "kind": "dev"}]},
                {"id": "id-b", "name": "b", "version": "2.0.0", "rust_version": "1.70", "manifest_path": "/x/b/Cargo.toml", "dependencies": []},
                {"id": "id-c", "name": "c", "manifest_path": "/x/c/Cargo.toml", "dependencies": []},
                {"id": "id-d", "name": "d", "manifest_path": "/x/d/Cargo.toml", "dependencies": []}
            ],
            "resolve": {"nodes": [
                {"id": "id-a", "deps": [{"pkg": "id-b", "dep_kinds": [{"kind": null}]},
                                        {"pkg": "id-d", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "id-b", "deps": [{"pkg": "id-c", "dep_kinds": [{"kind": "dev"}, {"kind": null}]}]},
                {"id": "id-c", "deps": []}
            ]}
        })
    }

    #[test]
    fn members_carry_their_folder_and_what_they_ask_for() {
        let graph = parse_graph(&metadata(), Path::new("/r")).unwrap();
        assert_eq!(graph.members.len(), 1);
        assert_eq!(graph.members[0].folder, "crates/a");
        assert_eq!(graph.compilers["b 2.0.0"], "1.70");
        assert!(graph.members[0].dependencies.contains(&(DependencyKind::Development, "d".into())));
    }

    #[test]
    fn reachable_follows_what_is_linked_and_not_what_only_tests_use() {
        let graph = parse_graph(&metadata(), Path::new("/r")).unwrap();
        assert_eq!(graph.reachable("a"), BTreeSet::from(["b".into(), "c".into()]));
    }
}
