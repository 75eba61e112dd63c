//! Where messages pass, nobody waits for a lock: clippy refuses the types, and whoever needs one all the same is named here.
//!
//! What crates of others do inside cannot be seen so: tokio's channels between shards and h2's streams have locks of their own, for which no two shards wait at once while
//! messages go through.

use super::Violation;
use crate::workspace::{DependencyKind, Graph, SourceFile};

/// The crates that a message passes on its way from a socket to others. The server's own is not among them: what it has to do with messages it submits.
const MESSAGE_PATH: [&str; 8] = [
    "switchboard-ws-proto",
    "switchboard-ws",
    "switchboard-core",
    "switchboard-dialects",
    "switchboard-hub",
    "switchboard-session",
    "switchboard-store",
    "switchboard-net",
];

/// What their `clippy.toml` has to refuse, at least.
const REFUSED_BY_CLIPPY: [&str; 7] = [
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::Barrier",
    "std::sync::LazyLock",
    "std::sync::OnceLock",
    "std::sync::mpsc::Receiver",
];

/// The same for those that link tokio.
const REFUSED_OF_TOKIO: [&str; 3] = ["tokio::sync::Mutex", "tokio::sync::RwLock", "tokio::sync::Semaphore"];

/// Crates of locks, of which clippy would not know.
const LOCKING: [&str; 9] = [
    "async-channel",
    "async-lock",
    "crossbeam-channel",
    "dashmap",
    "flume",
    "kanal",
    "once_cell",
    "parking_lot",
    "spin",
];

/// Files that allow themselves one of the refused types; why stands there.
const EXCEPTIONS: [&str; 9] = [
    // Locked once in the life of a process.
    "crates/hub/src/address.rs",
    // As connections begin and end.
    "crates/net/src/limits.rs",
    // Files, not locks.
    "crates/store/src/disk/file.rs",
    "lib/ws-proto/examples/blocking.rs",
    // Tests and examples, and what only they use.
    "crates/net/tests/api/backend.rs",
    "crates/store/src/disk/faulty.rs",
    "lib/ws/examples/chat.rs",
    "lib/ws/src/connect.rs",
    // For users of the library who read in one task and write in another.
    "lib/ws/src/split.rs",
];

const ALLOWED: &str = "clippy::disallowed_types";

pub(super) fn check(graph: &Graph, files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in graph.members.iter().filter(|member| MESSAGE_PATH.contains(&member.name.as_str())) {
        let asks_for = |name: &str| member.dependencies.contains(&(DependencyKind::Normal, name.to_owned()));
        for locking in LOCKING.into_iter().filter(|name| asks_for(name)) {
            let message = format!("messages pass `{}`: it must not depend on `{locking}`", member.name);
            violations.push(Violation::new(&format!("{}/Cargo.toml", member.folder), 0, message));
        }
        let path = format!("{}/clippy.toml", member.folder);
        let text = files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
        let of_tokio = REFUSED_OF_TOKIO.iter().filter(|_| asks_for("tokio"));
        for refused in REFUSED_BY_CLIPPY.iter().chain(of_tokio).filter(|name| !text.contains(&format!("\"{name}\""))) {
            let message = format!("messages pass `{}`: refuse \"{refused}\" here", member.name);
            violations.push(Violation::new(&path, 0, message));
        }
        let within = format!("{}/", member.folder);
        let sources = files.iter().filter(|file| file.path.starts_with(&within) && file.extension() == "rs");
        for file in sources.filter(|file| file.text.contains(ALLOWED) && !EXCEPTIONS.contains(&file.path.as_str())) {
            let message = format!("`{ALLOWED}` is allowed where `xtask/src/tidy/locks.rs` names the file");
            violations.push(Violation::new(&file.path, 0, message));
        }
        for exception in EXCEPTIONS.into_iter().filter(|path| path.starts_with(&within)) {
            if !files.iter().any(|file| file.path == exception && file.text.contains(ALLOWED)) {
                let message = format!("{exception} needs no exception");
                violations.push(Violation::new("xtask/src/tidy/locks.rs", 0, message));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;
    use crate::workspace::Member;
    use std::collections::BTreeSet;

    fn graph(dependencies: &[&str]) -> Graph {
        let mut graph = Graph::default();
        graph.members.push(Member {
            name: "switchboard-session".into(),
            folder: "crates/session".into(),
            license: String::new(),
            edition: String::new(),
            rust_version: String::new(),
            dependencies: dependencies
                .iter()
                .map(|name| (DependencyKind::Normal, (*name).to_owned()))
                .collect::<BTreeSet<_>>(),
        });
        graph
    }

    fn complete() -> Vec<SourceFile> {
        let names = REFUSED_BY_CLIPPY.iter().chain(&REFUSED_OF_TOKIO);
        let text: String = names.map(|name| format!("\"{name}\",\n")).collect();
        planted("crates/session/clippy.toml", &text)
    }

    #[test]
    fn a_crate_of_locks_is_found() {
        assert!(check(&graph(&["slab", "tokio"]), &complete()).is_empty());
        let found = shown(&check(&graph(&["parking_lot"]), &complete()));
        let expected = "messages pass `switchboard-session`: it must not depend on `parking_lot`";
        assert_eq!(found, [format!("crates/session/Cargo.toml: {expected}")]);
    }

    #[test]
    fn a_lenient_clippy_file_is_found() {
        assert_eq!(check(&graph(&[]), &[]).len(), REFUSED_BY_CLIPPY.len());
        assert_eq!(check(&graph(&["tokio"]), &[]).len(), REFUSED_BY_CLIPPY.len() + REFUSED_OF_TOKIO.len());
    }

    #[test]
    fn an_exception_that_is_not_named_is_found() {
        let mut files = complete();
        files.extend(planted("crates/session/src/a.rs", "#![allow(clippy::disallowed_types)]"));
        let found = shown(&check(&graph(&[]), &files));
        let expected = "`clippy::disallowed_types` is allowed where `xtask/src/tidy/locks.rs` names the file";
        assert_eq!(found, [format!("crates/session/src/a.rs: {expected}")]);
    }
}
