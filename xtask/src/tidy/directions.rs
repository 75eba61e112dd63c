//! Which package may depend on which. A package that is not in the table is refused, and ARCHITECTURE.md says the same as the table.

use std::collections::BTreeSet;

use super::{Violation, numbered};
use crate::workspace::{DependencyKind, Graph, Member, SourceFile};

/// `package → what it may link`. A crate exists because it forbids something: this is what.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("switchboard-ws-proto", &[]),
    ("switchboard-ws", &["switchboard-ws-proto"]),
    ("switchboard-client", &["switchboard-ws"]),
    ("switchboard-core", &[]),
    ("switchboard-dialects", &["switchboard-core"]),
    ("switchboard-hub", &["switchboard-core"]),
    ("switchboard-session", &["switchboard-dialects", "switchboard-hub", "switchboard-core"]),
    ("switchboard-store", &["switchboard-hub", "switchboard-core"]),
    ("switchboard-webhooks", &["switchboard-dialects", "switchboard-core"]),
    (
        "switchboard-net",
        &["switchboard-ws", "switchboard-ws-proto", "switchboard-session", "switchboard-hub", "switchboard-core"],
    ),
    ("switchboard-workbench", &["switchboard-ws", "switchboard-ws-proto"]),
    (
        "switchboard-server",
        &[
            "switchboard-net",
            // As a client: `connect`, `publish` and `subscribe` of the command line.
            "switchboard-ws",
            "switchboard-session",
            // The names and payloads of protocols that have an HTTP API of their own.
            "switchboard-dialects",
            "switchboard-store",
            "switchboard-workbench",
            "switchboard-webhooks",
            "switchboard-hub",
            "switchboard-core",
        ],
    ),
    (
        "switchboard-testkit",
        &["switchboard-ws-proto", "switchboard-session", "switchboard-dialects", "switchboard-hub", "switchboard-core"],
    ),
    (
        "switchboard-sim",
        &["switchboard-testkit", "switchboard-session", "switchboard-store", "switchboard-hub", "switchboard-core"],
    ),
    ("xtask", &[]),
];

pub(super) fn check(graph: &Graph) -> Vec<Violation> {
    let ours: BTreeSet<&str> = graph.members.iter().map(|member| member.name.as_str()).collect();
    let mut violations = Vec::new();
    for member in &graph.members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        let Some((_, may_link)) = DIRECTIONS.iter().find(|(package, _)| *package == member.name) else {
            let message = format!("`{}` has no place in the table of directions (ARCHITECTURE.md)", member.name);
            violations.push(Violation::new(&manifest, 0, message));
            continue;
        };
        for (kind, asked) in &member.dependencies {
            if ours.contains(asked.as_str())
                && !may_link.contains(&asked.as_str())
                && !only_for_tests(member, *kind, asked)
            {
                let message = format!("`{}` must not depend on `{asked}` (ARCHITECTURE.md)", member.name);
                violations.push(Violation::new(&manifest, 0, message));
            }
        }
    }
    violations
}

/// The table as the page shows it: `a, b → c, d (why)`, by the names of the folders. Each arrow is in both.
pub(super) fn check_page(files: &[SourceFile]) -> Vec<Violation> {
    let Some(page) = files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    let (shown, ours) = (arrows(&page.text), table());
    let lacks = |arrow: &Arrow, where_: &str| format!("{} → {} is not in {where_}", arrow.0, arrow.1);
    let missing = ours.difference(&shown).map(|arrow| Violation::new(PAGE, 0, lacks(arrow, "the page")));
    let invented = shown.difference(&ours).map(|arrow| Violation::new(PAGE, 0, lacks(arrow, "the table")));
    missing.chain(invented).collect()
}

const PAGE: &str = "ARCHITECTURE.md";

type Arrow = (String, String);

fn table() -> BTreeSet<Arrow> {
    let short = |package: &str| package.trim_start_matches("switchboard-").to_owned();
    DIRECTIONS.iter().flat_map(|(from, to)| to.iter().map(move |to| (short(from), short(to)))).collect()
}

fn arrows(page: &str) -> BTreeSet<Arrow> {
    let mut found = BTreeSet::new();
    let mut in_code = false;
    for (_, line) in numbered(page) {
        in_code ^= line.starts_with("```");
        let Some((from, to)) = line.split_once(" → ").filter(|_| in_code) else { continue };
        // What stands in parentheses says why.
        let to: String = to.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
        for from in from.split(',') {
            found.extend(to.split(',').map(|to| (from.trim().to_owned(), to.trim().to_owned())));
        }
    }
    found
}

/// Tests of `crates/` may use the test kit, and the libraries as clients of what they test. `lib/` is published on its
/// own, so not even its tests may need `crates/`.
fn only_for_tests(member: &Member, kind: DependencyKind, asked: &str) -> bool {
    const FOR_TESTS: [&str; 4] =
        ["switchboard-testkit", "switchboard-ws", "switchboard-ws-proto", "switchboard-client"];
    // A package may name itself, to test with more of its features than its users have by default.
    kind == DependencyKind::Development
        && (asked == member.name || member.folder.starts_with("crates/") && FOR_TESTS.contains(&asked))
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    /// A package's name, its folder and what it asks for.
    type Planted<'a> = (&'a str, &'a str, &'a [(DependencyKind, &'a str)]);

    fn graph(members: &[Planted<'_>]) -> Graph {
        let member = |(name, folder, asked): &Planted<'_>| Member {
            name: (*name).to_owned(),
            folder: (*folder).to_owned(),
            license: String::new(),
            edition: String::new(),
            rust_version: String::new(),
            dependencies: asked.iter().map(|(kind, name)| (*kind, (*name).to_owned())).collect(),
        };
        Graph { members: members.iter().map(member).collect(), ..Graph::default() }
    }

    const CORE: Planted<'_> = ("switchboard-core", "crates/core", &[]);
    const TESTKIT: Planted<'_> = ("switchboard-testkit", "crates/testkit", &[]);

    #[test]
    fn the_written_directions_are_allowed() {
        let hub = ("switchboard-hub", "crates/hub", &[(DependencyKind::Normal, "switchboard-core")] as &[_]);
        assert!(check(&graph(&[CORE, hub])).is_empty());
    }

    #[test]
    fn the_page_shows_the_arrows_of_the_table() {
        let mut page = String::from("a → b\n```\n");
        for (from, to) in table() {
            page.push_str(&format!("{from} → {to} (why, or not)\n"));
        }
        assert_eq!(check_page(&planted(PAGE, &page)), []);
        let other = page.replace("net → hub", "net → store");
        assert_eq!(
            shown(&check_page(&planted(PAGE, &other))),
            ["ARCHITECTURE.md: net → hub is not in the page", "ARCHITECTURE.md: net → store is not in the table"]
        );
        let several = arrows("```\na, b → c (as a, b), d\n```\n");
        assert_eq!(several.len(), 4, "{several:?}");
    }

    #[test]
    fn an_arrow_that_points_up_is_refused() {
        let core = ("switchboard-core", "crates/core", &[(DependencyKind::Normal, "switchboard-hub")] as &[_]);
        let found = check(&graph(&[core, ("switchboard-hub", "crates/hub", &[])]));
        assert_eq!(
            shown(&found),
            ["crates/core/Cargo.toml: `switchboard-core` must not depend on `switchboard-hub` (ARCHITECTURE.md)"]
        );
    }

    #[test]
    fn the_test_kit_is_for_tests_of_crates_only() {
        let tested = |kind, name, folder| (name, folder, [(kind, "switchboard-testkit")]);
        let allowed = tested(DependencyKind::Development, "switchboard-hub", "crates/hub");
        assert!(check(&graph(&[TESTKIT, (allowed.0, allowed.1, &allowed.2)])).is_empty());
        for (kind, name, folder) in [
            (DependencyKind::Normal, "switchboard-hub", "crates/hub"),
            (DependencyKind::Development, "switchboard-ws", "lib/ws"),
        ] {
            let planted = tested(kind, name, folder);
            assert_eq!(check(&graph(&[TESTKIT, (planted.0, planted.1, &planted.2)])).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_package_may_test_itself_with_more_features_and_not_need_itself() {
        for (kind, count) in [(DependencyKind::Development, 0), (DependencyKind::Normal, 1)] {
            let itself = [(kind, "switchboard-ws")];
            assert_eq!(check(&graph(&[("switchboard-ws", "lib/ws", &itself)])).len(), count);
        }
    }

    #[test]
    fn a_package_without_a_place_is_refused() {
        let found = shown(&check(&graph(&[("switchboard-extra", "crates/extra", &[])])));
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|line| line.contains("no place in the table")), "{found:?}");
    }
}
