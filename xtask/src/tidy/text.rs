//! What holds for every text file: clean lines, no registry's or machine's own addresses.

use super::{Violation, numbered};
use crate::workspace::SourceFile;

/// Where a package comes from is each machine's own business.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("files.", "pythonhosted.org"),
    concat!("pypi.org/", "simple"),
    concat!("deb.", "debian.org"),
    concat!("index.", "crates.io"),
];

/// Folders of the machine on which something was written.
const MACHINE_FOLDERS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

pub(super) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| !is_generated(file)) {
        let mut complain = |line: usize, message: String| violations.push(Violation::new(&file.path, line, message));
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            complain(0, "end the last line with a newline".into());
        }
        for (line, text) in numbered(&file.text) {
            if text.ends_with([' ', '\t', '\r']) {
                complain(line, "blanks at the end of the line".into());
            }
            if file.extension() == "rs" && text.contains('\t') {
                complain(line, "a tab; indent with spaces".into());
            }
            for host in REGISTRY_HOSTS.iter().filter(|host| text.contains(**host)) {
                complain(line, format!("`{host}`: do not name a registry's host"));
            }
            for folder in MACHINE_FOLDERS.iter().filter(|folder| names_folder(text, folder)) {
                complain(line, format!("`{folder}`: a folder of somebody's machine"));
            }
        }
    }
    for file in files.iter().filter(|file| file.path.ends_with("package-lock.json")) {
        for (line, text) in numbered(&file.text) {
            if text.trim_start().starts_with("\"resolved\": \"http")
                || REGISTRY_HOSTS.iter().any(|host| text.contains(host))
            {
                let message =
                    "a registry's address; write the lock file with `npm install --omit-lockfile-registry-resolved`";
                violations.push(Violation::new(&file.path, line, message));
            }
        }
    }
    violations
}

/// Written by tools, in their own style.
fn is_generated(file: &SourceFile) -> bool {
    file.path.ends_with("Cargo.lock")
        || file.path.ends_with("package-lock.json")
        || file.path.contains("/assets/")
        || file.path.contains("/proptest-regressions/")
}

/// An absolute path, not the end of a longer word such as `docs/work/`.
fn names_folder(text: &str, folder: &str) -> bool {
    text.match_indices(folder).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"./_-}~*)".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    #[test]
    fn clean_text_passes() {
        assert!(check(&planted("a.md", "# A\n\nSee docs/work/a.md.\n")).is_empty());
    }

    #[test]
    fn untidy_lines_are_found() {
        assert_eq!(shown(&check(&planted("a.md", "one \ntwo\n"))), ["a.md:1: blanks at the end of the line"]);
        assert_eq!(shown(&check(&planted("a.md", "one"))), ["a.md: end the last line with a newline"]);
        assert_eq!(shown(&check(&planted("a.rs", "\tone\n"))), ["a.rs:1: a tab; indent with spaces"]);
        assert_eq!(check(&planted("a.txt", "one\r\n")).len(), 0, "lines() takes CRLF as one end; git normalises it");
    }

    #[test]
    fn addresses_of_registries_are_found() {
        for host in REGISTRY_HOSTS {
            assert_eq!(check(&planted("a.py", &format!("url = 'https://{host}/x'\n"))).len(), 1, "{host}");
        }
        let lock = "{\n\"resolved\": \"https://mirror.example/ws.tgz\"\n}\n";
        assert_eq!(check(&planted("interop/package-lock.json", lock)).len(), 1);
        assert!(check(&planted("Cargo.lock", &format!("x {}\n", REGISTRY_HOSTS.join(" ")))).is_empty());
    }

    #[test]
    fn folders_of_a_machine_are_found() {
        for folder in MACHINE_FOLDERS {
            assert_eq!(check(&planted("a.md", &format!("cd {folder}main\n"))).len(), 1, "{folder}");
        }
    }
}
