//! Secrets: values that no log, no error and no page may show.

use aws_lc_rs::{constant_time, digest, rand};
use core::fmt;
use serde::{Deserialize, Serialize, Serializer};

/// A secret text. Shown as `***`, by whatever way it is shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Makes one of `bytes` random bytes, in hexadecimal digits.
    ///
    /// # Errors
    /// The operating system gives no randomness.
    pub fn generate(bytes: usize) -> anyhow::Result<Self> {
        let mut random = vec![0; bytes];
        rand::fill(&mut random).map_err(|_| anyhow::anyhow!("the operating system gives no random bytes"))?;
        Ok(Self(random.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is the text that was shown, in a time that does not depend on where they differ.
    pub fn matches(&self, shown: &str) -> bool {
        // Digests have one length, so that not even the secret's length is told.
        let digests = [self.0.as_str(), shown].map(|text| digest::digest(&digest::SHA256, text.as_bytes()));
        let [ours, theirs] = &digests;
        constant_time::verify_slices_are_equal(ours.as_ref(), theirs.as_ref()).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("CANARY");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(shown, "*** *** \"***\"");
    }

    #[test]
    fn comparing_is_exact() {
        let secret = Secret::new("abc");
        assert!(secret.matches("abc"));
        for other in ["", "ab", "abcd", "ABC", "abd"] {
            assert!(!secret.matches(other), "{other:?}");
        }
    }

    #[test]
    fn generated_secrets_differ() {
        let [a, b] = [Secret::generate(32).unwrap(), Secret::generate(32).unwrap()];
        assert_eq!(a.reveal().len(), 64);
        assert_ne!(a.reveal(), b.reveal());
    }
}
