//! Pusher's signatures, by which an application's own servers vouch for subscriptions and users.
//!
//! Owns how they are made. Knows no route and no channel.

use crate::secret::Secret;
use aws_lc_rs::hmac;

/// Whether `shown` is the hexadecimal HMAC-SHA256 of `text`.
pub(crate) fn is_signed(secret: &Secret, text: &str, shown: &str) -> bool {
    let Some(shown) = unhex(shown) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    // Compares in constant time.
    hmac::verify(&key, text.as_bytes(), &shown).is_ok()
}

/// `KEY:SIGNATURE`, over the text: what subscriptions and users who sign in show.
pub(crate) fn is_signed_by(key: &str, secret: &Secret, text: &str, shown: &str) -> bool {
    shown.split_once(':').is_some_and(|(shown_key, signature)| shown_key == key && is_signed(secret, text, signature))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_documented_signatures_of_subscriptions_are_good() {
        let key = "278d425bdf160c739803";
        let secret = Secret::new("7ad3773142a6692b25b8");
        let private = "278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
        assert!(is_signed_by(key, &secret, "1234.1234:private-foobar", private));
        assert!(!is_signed_by(key, &secret, "1234.1235:private-foobar", private));
        assert!(!is_signed_by("other", &secret, "1234.1234:private-foobar", private));
        assert!(!is_signed_by(key, &secret, "1234.1234:private-foobar", private.split_once(':').unwrap().1));
    }
}
