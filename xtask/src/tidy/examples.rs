//! Every public item of the libraries is shown at work: an example in its documentation, which `doc` runs. Constants are shown by what takes
//! them.

use super::{Violation, numbered};
use crate::workspace::SourceFile;

pub(super) fn check(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| is_library(&file.path)) {
        let mut shown = false;
        for (line, text) in numbered(&file.text) {
            let text = text.trim_start();
            if text == "mod tests {" {
                break;
            }
            match text {
                _ if text.starts_with("/// ```") || text.starts_with("#[doc(hidden)]") => shown = true,
                // Of the item that follows, as an attribute over several lines is.
                _ if text.starts_with("//")
                    || text.starts_with("#[")
                    || !text.starts_with("pub ") && is_attribute(text) => {}
                _ => {
                    if let Some(name) = public_item(text).filter(|_| !shown) {
                        let message = format!("`{name}` is public and has no example");
                        violations.push(Violation::new(&file.path, line, message));
                    }
                    shown = false;
                }
            }
        }
    }
    violations
}

fn is_library(path: &str) -> bool {
    path.starts_with("lib/") && path.contains("/src/") && path.ends_with(".rs")
}

/// The inside or the end of an attribute, as rustfmt writes it.
fn is_attribute(text: &str) -> bool {
    text == ")]" || text.starts_with("clippy::") || text.starts_with("reason = ")
}

/// What a line begins to declare. `unreachable_pub` is denied, so `pub` means that somebody outside can name it.
fn public_item(text: &str) -> Option<&str> {
    let mut words = text.strip_prefix("pub ")?.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    loop {
        match words.next()? {
            "fn" | "struct" | "enum" | "trait" | "type" => return words.next(),
            "async" | "const" | "unsafe" => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{planted, shown};
    use super::*;

    fn check_library(text: &str) -> Vec<String> {
        shown(&check(&planted("lib/a/src/b.rs", text)))
    }

    #[test]
    fn what_is_shown_or_private_passes() {
        let text = "/// A.\n///\n/// ```\n/// a();\n/// ```\n#[must_use]\npub const fn a() {}\n\n/// B.\npub const B: u8 = 1;\n\nfn c() {}\n\
                    pub(crate) fn d() {}\npub use e;\npub mod f;\n#[doc(hidden)]\npub trait G {}\nmod tests {\n    pub fn h() {}\n}\n";
        assert_eq!(check_library(text), Vec::<String>::new());
        assert!(check(&planted("crates/a/src/b.rs", "pub fn a() {}\n")).is_empty());
    }

    #[test]
    fn what_is_not_shown_is_named() {
        let text = "/// ```\n/// ```\npub struct A;\n\n/// B.\n#[allow(\n    clippy::b,\n    reason = \"b\"\n)]\npub async fn b() {}\n";
        assert_eq!(check_library(text), ["lib/a/src/b.rs:10: `b` is public and has no example"]);
        for item in ["struct S;", "enum S {", "trait S {", "type S = u8;", "unsafe fn S()", "const fn S()"] {
            let found = check_library(&format!("/// S.\npub {item}\n"));
            assert_eq!(found, ["lib/a/src/b.rs:2: `S` is public and has no example"], "{item}");
        }
    }
}
