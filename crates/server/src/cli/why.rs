//! `switchboard why`: what became of a publication.

use super::api::{Api, members, number, text};
use super::exit::Failure;
use clap::Args;
use core::fmt::Write;
use core::str::FromStr;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct Why {
    /// The channel
    #[arg(required_unless_present = "id")]
    channel: Option<String>,
    /// The publication's offset; with its epoch before it where the channel has begun anew since
    #[arg(value_name = "[EPOCH:]OFFSET", required_unless_present = "id", conflicts_with = "id")]
    offset: Option<Place>,
    /// The id (`idempotency_key`) under which it was published, instead of an offset
    #[arg(long)]
    id: Option<String>,
    /// What became of it for this session
    #[arg(long, value_name = "SESSION", conflicts_with = "user")]
    session: Option<String>,
    /// What became of it for this user's sessions
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    #[command(flatten)]
    api: Api,
}

/// An offset, and of which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    epoch: Option<String>,
    offset: u64,
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, offset) = match text.rsplit_once(':') {
            Some((epoch, offset)) => (Some(epoch.to_owned()), offset),
            None => (None, text),
        };
        let offset = offset.parse().map_err(|_| "not of the form OFFSET or EPOCH:OFFSET, such as 42 or 5f0c2a:42")?;
        Ok(Self { epoch, offset })
    }
}

impl Why {
    pub(super) fn run(self) -> Result<(), Failure> {
        let body = members([
            ("channel", text(&self.channel)),
            ("offset", self.offset.as_ref().map(|place| place.offset.into())),
            ("epoch", self.offset.as_ref().and_then(|place| text(&place.epoch))),
            ("id", text(&self.id)),
            ("session", text(&self.session)),
            ("user", text(&self.user)),
        ]);
        self.api.run("why", &body, |answer| super::write_out(format_args!("{}", report(answer))))
    }
}

/// The answer for people.
fn report(answer: &Value) -> String {
    let mut out = String::new();
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for refused in list(answer, "unpublished") {
        let _ = writeln!(out, "{}: not published", shown(&refused, "channel"));
        line(&mut out, &refused);
    }
    let publications = list(answer, "publications");
    for publication in &publications {
        let epoch = publication.get("epoch").and_then(Value::as_str);
        let epoch = epoch.map_or(String::new(), |epoch| format!(" of epoch {epoch}"));
        let _ = writeln!(out, "{} at offset {}{epoch}", shown(publication, "channel"), number(publication, "offset"));
        let steps = list(publication, "steps");
        steps.iter().for_each(|step| line(&mut out, step));
        if steps.is_empty() {
            let _ = match publication.get("remembered_since").and_then(Value::as_u64) {
                None => writeln!(out, "  nothing is remembered: trace.steps is 0"),
                Some(0) => writeln!(out, "  nothing is known of it"),
                Some(since) => {
                    writeln!(out, "  nothing is remembered of it; the oldest that is all there is of {}", clock(since))
                }
            };
        }
        for session in list(publication, "sessions") {
            let _ = writeln!(out, "  session {}: {}", shown(&session, "session"), shown(&session, "fate"));
            list(&session, "steps").iter().for_each(|step| line(&mut out, step));
            if let Some(now) = session.get("now") {
                standing(&mut out, now);
            }
        }
        if publication.get("more") == Some(&Value::Bool(true)) {
            let _ = writeln!(out, "  … and more than is shown");
        }
    }
    if out.is_empty() {
        out.push_str("nothing is remembered under this id\n");
    }
    out
}

fn line(out: &mut String, step: &Value) {
    let at = clock(step.get("at").and_then(Value::as_u64).unwrap_or_default());
    let run = match (step.get("from"), step.get("to")) {
        (Some(from), Some(to)) => format!(" (with {from} to {to})"),
        _ => String::new(),
    };
    let by = step.get("session").and_then(Value::as_str).map_or(String::new(), |session| format!(", by {session}"));
    let _ = writeln!(out, "    {at}  shard {}  {}{by}{run}", number(step, "shard"), shown(step, "text"));
}

fn standing(out: &mut String, now: &Value) {
    let subscribed = match now.get("subscribed_after").and_then(Value::as_u64) {
        Some(after) => format!("subscribed after offset {after}, handled up to {}", number(now, "handled_to")),
        None => "not subscribed to the channel by name".to_owned(),
    };
    let flag = |name: &str| now.get(name) == Some(&Value::Bool(true));
    let more = [(flag("replaying"), ", in a replay"), (flag("given_up"), ", given up")];
    let more: String = more.iter().filter(|(is, _)| *is).map(|(_, text)| *text).collect();
    let _ = writeln!(out, "    now: {subscribed}{more}; {} bytes wait for it", number(now, "waiting_bytes"));
}

fn shown<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The time of day, UTC.
fn clock(millis: u64) -> String {
    let seconds = millis / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60, millis % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_reads_from_the_publication_to_each_session() {
        let step = |what: &str| json!({ "at": 1_700_000_000_123_u64, "shard": 1, "what": what, "text": what });
        let answer = json!({
            "unpublished": [],
            "publications": [{
                "channel": "room:1", "offset": 7, "epoch": "e1", "more": false, "remembered_since": 0,
                "steps": [step("published")],
                "sessions": [{ "session": "1-a", "fate": "dropped", "steps": [step("dropped")],
                    "now": { "subscribed_after": 3, "handled_to": 9, "replaying": false, "patterns": 0,
                             "waiting_bytes": 12, "given_up": false } }],
            }],
        });
        assert_eq!(
            report(&answer),
            "room:1 at offset 7 of epoch e1\n    22:13:20.123  shard 1  published\n  session 1-a: dropped\n    22:13:20.123  shard 1  dropped\n    \
             now: subscribed after offset 3, handled up to 9; 12 bytes wait for it\n"
        );
        assert_eq!(report(&json!({ "publications": [] })), "nothing is remembered under this id\n");
    }
}
