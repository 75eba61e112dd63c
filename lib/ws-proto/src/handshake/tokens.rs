//! Lists in headers (RFC 9110 §5.6.1): elements between commas, over one line or several, empty ones ignored. One pass, no backtracking.

/// The elements of one line, without the white space around them.
pub(super) fn elements(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|element| !element.is_empty())
}

/// Whether the list on this line names `token`, in any case.
pub(super) fn contains(line: &[u8], token: &str) -> bool {
    core::str::from_utf8(line).is_ok_and(|line| elements(line).any(|element| element.eq_ignore_ascii_case(token)))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn lists() {
        let table: &[(&str, &[&str])] =
            &[("", &[]), (" , ,", &[]), ("chat", &["chat"]), (" a ,\tb,,c d ", &["a", "b", "c d"])];
        for (line, expected) in table {
            assert_eq!(elements(line).collect::<Vec<_>>(), *expected, "{line:?}");
        }
        assert!(contains(b"keep-alive, Upgrade", "upgrade"));
        assert!(!contains(b"upgrades", "upgrade"));
        assert!(!contains(b"\xff, upgrade", "upgrade"));
        assert!(is_token("graphql-transport-ws") && !is_token("a b") && !is_token("") && !is_token("a/b"));
    }
}
