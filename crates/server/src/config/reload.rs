//! What a running server takes of a configuration that was read again, and what it does not.

use super::{ConfigError, Problem, RawConfig};
use serde_json::Value;

/// Sections that are looked at only when the server starts.
const FIXED: [&str; 5] = ["server", "tls", "http2", "compression", "history"];

/// Puts what a running server cannot change back to what it was. Returns the keys that were written differently.
///
/// # Errors
/// A configuration cannot be shown, which is a fault of ours.
pub fn keep_fixed(running: &RawConfig, read: &mut RawConfig) -> Result<Vec<String>, ConfigError> {
    let shown = |raw: &RawConfig| {
        serde_json::to_value(raw).map_err(|error| ConfigError::Problems(vec![Problem::at("", error.to_string())]))
    };
    let (before, after) = (shown(running)?, shown(read)?);
    let mut changed = Vec::new();
    for section in FIXED {
        let keys = |value: &Value| value.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
        let (before, after) = (keys(&before), keys(&after));
        let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
        changed.extend(differing.map(|name| format!("{section}.{name}")));
    }
    read.server.clone_from(&running.server);
    read.tls.clone_from(&running.tls);
    read.http2.clone_from(&running.http2);
    read.compression.clone_from(&running.compression);
    read.history.clone_from(&running.history);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_only_a_start_reads_stays_and_is_named() {
        let raw = |text: &str| toml::from_str::<RawConfig>(text).unwrap();
        let running = raw("[server]\nlisten = \"0.0.0.0:80\"\n[tls]\ncert = \"a\"\nkey = \"b\"");
        let mut read = raw(
            "[server]\nlisten = \"127.0.0.1:81\"\nshards = 3\n[history]\ndata_dir = \"/x\"\n[limits]\nchannels = 7\n\
             [[apps]]\nid = \"a\"\nsecret = \"CANARY\"",
        );
        let changed = keep_fixed(&running, &mut read).unwrap();
        assert_eq!(changed, ["server.listen", "server.shards", "tls.cert", "tls.key", "history.data_dir"]);
        assert_eq!((read.server.listen.as_str(), read.server.shards.0), ("0.0.0.0:80", 0));
        assert_eq!((read.apps.len(), read.limits.channels.0), (1, 7));
        assert!(keep_fixed(&running, &mut read).unwrap().is_empty());
    }
}
