//! Pure crates link no clock, no socket and no source of randomness, and clippy refuses the standard library's.

use super::Violation;
use crate::workspace::{Graph, SourceFile};

/// The crates that decide: bytes and time go in, bytes and events come out.
pub(super) const PURE: [&str; 6] = [
    "switchboard-ws-proto",
    "switchboard-core",
    "switchboard-dialects",
    "switchboard-hub",
    "switchboard-session",
    "switchboard-webhooks",
];

/// What none of them may link, directly or through others.
const IMPURE: &[&str] = &[
    "async-io",
    "async-std",
    "axum",
    "chrono",
    "crossbeam-channel",
    "fastrand",
    "futures-executor",
    "getrandom",
    "hyper",
    "hyper-util",
    "mio",
    "native-tls",
    "oorandom",
    "openssl",
    "polling",
    "rand",
    "rand_core",
    "reqwest",
    "rustls",
    "rustls-native-certs",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-rustls",
    "tokio-util",
    "ureq",
];

/// What a pure crate's `clippy.toml` has to refuse, at least.
const REFUSED_BY_CLIPPY: [&str; 7] = [
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::hash::RandomState::new",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::net::TcpStream",
    "std::fs::File",
];

pub(super) fn check(graph: &Graph, files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for member in graph.members.iter().filter(|member| PURE.contains(&member.name.as_str())) {
        let linked = graph.reachable(&member.name);
        for impure in IMPURE.iter().filter(|name| linked.contains(**name)) {
            let message = format!("`{}` is pure and must not link `{impure}`", member.name);
            violations.push(Violation::new(&format!("{}/Cargo.toml", member.folder), 0, message));
        }
        let path = format!("{}/clippy.toml", member.folder);
        let text = files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
        for refused in REFUSED_BY_CLIPPY.iter().filter(|name| !text.contains(&format!("\"{name}\""))) {
            let message = format!("`{}` is pure: refuse \"{refused}\" here", member.name);
            violations.push(Violation::new(&path, 0, message));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{planted, shown};
    use super::*;
    use crate::workspace::Member;

    fn graph(links: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        graph.members.push(Member {
            name: "switchboard-hub".into(),
            folder: "crates/hub".into(),
            license: String::new(),
            edition: String::new(),
            rust_version: String::new(),
            dependencies: BTreeSet::new(),
        });
        for (from, to) in links {
            graph.links.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    }

    fn complete() -> Vec<SourceFile> {
        let text: String = REFUSED_BY_CLIPPY.iter().map(|name| format!("\"{name}\",\n")).collect();
        planted("crates/hub/clippy.toml", &text)
    }

    #[test]
    fn a_runtime_behind_an_innocent_crate_is_found() {
        assert!(check(&graph(&[("switchboard-hub", "slab")]), &complete()).is_empty());
        let found = check(&graph(&[("switchboard-hub", "innocent"), ("innocent", "tokio")]), &complete());
        assert_eq!(shown(&found), ["crates/hub/Cargo.toml: `switchboard-hub` is pure and must not link `tokio`"]);
    }

    #[test]
    fn a_missing_or_lenient_clippy_file_is_found() {
        assert_eq!(check(&graph(&[]), &[]).len(), REFUSED_BY_CLIPPY.len());
        let mut lenient = complete();
        for file in &mut lenient {
            file.text = file.text.replace("std::time::Instant::now", "std::time::Instant::elapsed");
        }
        let found = shown(&check(&graph(&[]), &lenient));
        assert_eq!(
            found,
            ["crates/hub/clippy.toml: `switchboard-hub` is pure: refuse \"std::time::Instant::now\" here"]
        );
    }
}
