//! The way in: the test command that README.md shows is the one that CI runs.

use super::Violation;
use crate::workspace::SourceFile;

const TEST: &str = "cargo xtask test";

/// Where the command has to stand, alone on a line or behind `exec`, and what calls it.
const CALLERS: [(&str, &str); 3] = [("README.md", TEST), (".ci/run", TEST), (".github/workflows/ci.yml", ".ci/run")];

pub(super) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, command) in CALLERS {
        let text = files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
        if !text.lines().any(|line| calls(line, command)) {
            violations.push(Violation::new(path, 0, format!("does not call `{command}`")));
        }
    }
    violations
}

fn calls(line: &str, command: &str) -> bool {
    let line = line.split(" #").next().unwrap_or_default().trim();
    ["", "exec ", "- run: ", "run: "].iter().any(|before| line.strip_prefix(before) == Some(command))
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    fn repository(readme: &str) -> Vec<SourceFile> {
        let mut files = planted("README.md", readme);
        files.extend(planted(".ci/run", "#!/bin/sh\nexec cargo xtask test\n"));
        files.extend(planted(".github/workflows/ci.yml", "    steps:\n      - run: .ci/run\n"));
        files
    }

    #[test]
    fn a_readme_with_another_test_command_is_found() {
        assert!(check(&repository("```sh\ncargo xtask test   # everything\n```\n")).is_empty());
        assert_eq!(shown(&check(&repository("cargo test\n"))), ["README.md: does not call `cargo xtask test`"]);
    }

    #[test]
    fn a_ci_that_runs_something_else_is_found() {
        let mut files = repository("cargo xtask test\n");
        files.retain(|file| file.path != ".ci/run");
        files.extend(planted(".ci/run", "cargo test\n"));
        assert_eq!(shown(&check(&files)), [".ci/run: does not call `cargo xtask test`"]);
    }
}
