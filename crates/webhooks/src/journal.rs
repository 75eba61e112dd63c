//! What waits, as lines of text that somebody keeps: the queue's form on disk.
//!
//! A line is `HASH WHAT`, where the hash is that of what follows it. A line that was torn or damaged is not taken, and costs nothing but itself: the next begins behind
//! the next line break, and no event has one inside. What the lines say only ever adds and removes, so a line that is lost can cost an event or bring one again.
//!
//! | what | says |
//! |---|---|
//! | `queue 1` | the first line: the form's version |
//! | `webhook N APP URL` | what follows calls this webhook N; both are JSON strings |
//! | `event N SEQUENCE MICROS JSON` | this waits for it, since then |
//! | `gone N FIRST LAST` | these wait no longer |
//! | `lost N COUNT` | so many were dropped that it has not been told of yet |
//! | `is APP CHANNEL`, `was APP CHANNEL` | the servers have been told that the channel is occupied, and vacated |
//! | `is APP CHANNEL USER`, `was APP CHANNEL USER` | … that the user is on it, and has left |

use crate::ledger::Fact;
use core::fmt::Write;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_core::{AppId, ChannelName, Time, UserId};
use twox_hash::XxHash3_64;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// What waits, by webhook.
    pub waiting: Vec<Waiting>,
    /// What the servers have been told is so.
    pub facts: Vec<Fact>,
    /// Lines that are damaged.
    pub damaged: usize,
}

/// What waits for one webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The application's id.
    pub app: String,
    /// Where it is told.
    pub url: String,
    /// Events in their order, each with its time.
    pub events: Vec<(Time, String)>,
    /// Events that were dropped and that it has not been told of.
    pub lost: u64,
}

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It was written by another version of this program.
    #[error("the queue is of version {0:?}, which this program does not read")]
    Version(String),
}

const VERSION: &str = "1";

/// The beginning of a file.
pub fn begin(out: &mut String) {
    line(out, |out| write!(out, "queue {VERSION}"));
}

pub(crate) fn webhook(out: &mut String, number: u32, app: &AppId, url: &str) {
    let [app, url] = [app.as_str(), url].map(|text| serde_json::to_string(text).unwrap_or_default());
    line(out, |out| write!(out, "webhook {number} {app} {url}"));
}

pub(crate) fn event(out: &mut String, number: u32, sequence: u64, at: Time, json: &str) {
    line(out, |out| write!(out, "event {number} {sequence} {} {json}", at.as_micros()));
}

pub(crate) fn gone(out: &mut String, number: u32, first: u64, last: u64) {
    line(out, |out| write!(out, "gone {number} {first} {last}"));
}

pub(crate) fn lost(out: &mut String, number: u32, count: u64) {
    line(out, |out| write!(out, "lost {number} {count}"));
}

pub(crate) fn begins(out: &mut String, fact: &Fact) {
    line(out, |out| write!(out, "is{}", Names(fact)));
}

pub(crate) fn ends(out: &mut String, fact: &Fact) {
    line(out, |out| write!(out, "was{}", Names(fact)));
}

/// A fact's names as JSON strings, a space before each.
struct Names<'a>(&'a Fact);

impl core::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Fact { app, channel, user } = self.0;
        for name in [app.as_str(), channel.as_str()].into_iter().chain(user.as_ref().map(UserId::as_str)) {
            write!(f, " {}", serde_json::to_string(name).unwrap_or_default())?;
        }
        Ok(())
    }
}

fn line(out: &mut String, write: impl FnOnce(&mut String) -> core::fmt::Result) {
    let begin = out.len();
    out.push_str("0000000000000000 ");
    // Writing to a string cannot fail.
    let _ = write(out);
    let hash = hash(out.get(begin + HEAD..).unwrap_or_default());
    out.replace_range(begin..begin + HEAD - 1, &format!("{hash:016x}"));
    out.push('\n');
}

/// The hash and the space behind it.
const HEAD: usize = 17;

fn hash(text: &str) -> u64 {
    XxHash3_64::oneshot(text.as_bytes())
}

/// Reads a file from its beginning.
///
/// # Errors
/// Another version has written it.
pub fn read(bytes: &[u8]) -> Result<Recovered, ReadError> {
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    let mut facts = BTreeSet::new();
    let mut damaged = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let good = sound(line);
        if let Some(version) = good.and_then(|what| what.strip_prefix("queue ")).filter(|version| *version != VERSION) {
            return Err(ReadError::Version(version.to_owned()));
        }
        if good.and_then(|what| take(what, &mut found, &mut facts)).is_none() {
            damaged += 1;
        }
    }
    let waiting = found.into_values().filter(|found| !found.waiting.url.is_empty());
    let waiting =
        waiting.map(|Found { waiting, events }| Waiting { events: events.into_values().collect(), ..waiting });
    Ok(Recovered { waiting: waiting.collect(), facts: facts.into_iter().collect(), damaged })
}

/// One webhook's lines.
#[derive(Default)]
struct Found {
    waiting: Waiting,
    events: BTreeMap<u64, (Time, String)>,
}

fn sound(line: &[u8]) -> Option<&str> {
    let text = core::str::from_utf8(line).ok()?;
    let (shown, what) = text.split_once(' ')?;
    (shown.len() == HEAD - 1 && u64::from_str_radix(shown, 16).ok()? == hash(what)).then_some(what)
}

fn take(what: &str, found: &mut BTreeMap<u32, Found>, facts: &mut BTreeSet<Fact>) -> Option<()> {
    let (kind, rest) = what.split_once(' ')?;
    if kind == "queue" {
        return Some(());
    }
    if let "is" | "was" = kind {
        let fact = fact(rest)?;
        if kind == "is" {
            facts.insert(fact);
        } else {
            facts.remove(&fact);
        }
        return Some(());
    }
    let (number, rest) = rest.split_once(' ')?;
    let found = found.entry(number.parse().ok()?).or_default();
    match kind {
        "webhook" => {
            // Two JSON strings: the reader of the first stops where the second begins.
            let mut texts = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let (app, url) = (texts.next()?.ok()?, texts.next()?.ok()?);
            (found.waiting.app, found.waiting.url) = (app, url);
        }
        "event" => {
            let mut parts = rest.splitn(3, ' ');
            let (sequence, micros, json) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
            found.events.insert(sequence, (Time::from_micros(micros), json.to_owned()));
        }
        "gone" => {
            let (first, last) = rest.split_once(' ')?;
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            let gone: Vec<u64> =
                (first <= last).then(|| found.events.range(first..=last))?.map(|(at, _)| *at).collect();
            gone.iter().for_each(|sequence| _ = found.events.remove(sequence));
        }
        "lost" => found.waiting.lost = rest.parse().ok()?,
        _ => return None,
    }
    Some(())
}

fn fact(names: &str) -> Option<Fact> {
    let mut names = serde_json::Deserializer::from_str(names).into_iter::<String>();
    let (app, channel) = (names.next()?.ok()?, names.next()?.ok()?);
    let user = names.next().map(|user| UserId::parse(&user.ok()?).ok());
    let channel = ChannelName::parse(&channel).ok()?;
    Some(Fact { app: AppId::new(&app), channel, user: if let Some(user) = user { Some(user?) } else { None } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn facts() -> [Fact; 3] {
        let fact = |user: Option<&str>| Fact {
            app: AppId::new("a\"b"),
            channel: ChannelName::parse("room: \"1\"").unwrap(),
            user: user.map(|user| UserId::parse(user).unwrap()),
        };
        [fact(None), fact(Some("ann a")), fact(Some("bob"))]
    }

    fn written() -> String {
        let mut out = String::new();
        begin(&mut out);
        webhook(&mut out, 0, &AppId::new("a\"b"), "https://x.example/?a b");
        webhook(&mut out, 1, &AppId::new("c"), "https://y.example/");
        for sequence in 0..4 {
            event(&mut out, 0, sequence, Time::from_micros(sequence + 7), &format!("{{\"n\": {sequence}}}"));
        }
        event(&mut out, 1, 9, Time::from_micros(1), "{}");
        gone(&mut out, 0, 0, 1);
        lost(&mut out, 1, 3);
        let [room, ann, bob] = facts();
        begins(&mut out, &room);
        begins(&mut out, &ann);
        begins(&mut out, &bob);
        ends(&mut out, &bob);
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let recovered = read(written().as_bytes()).unwrap();
        let [one, other] = &recovered.waiting[..] else { panic!("{recovered:?}") };
        assert_eq!((one.app.as_str(), one.url.as_str(), one.lost), ("a\"b", "https://x.example/?a b", 0));
        let left = [(9, "{\"n\": 2}"), (10, "{\"n\": 3}")].map(|(at, json)| (Time::from_micros(at), json.to_owned()));
        assert_eq!(one.events, left);
        assert_eq!((other.events.len(), other.lost, recovered.damaged), (1, 3, 0));
        let [room, ann, _] = facts();
        assert_eq!(recovered.facts, [room, ann]);
        assert_eq!(read(b""), Ok(Recovered::default()));
    }

    #[test]
    fn a_damaged_byte_costs_one_line_and_a_cut_the_last() {
        let whole = written();
        let lines = whole.lines().count();
        for at in 0..whole.len() {
            for bit in [0, 3, 7] {
                let mut bytes = whole.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let recovered = read(&bytes).unwrap();
                // A line break that was lost joins two lines, one that was made parts one.
                assert!((1..=2).contains(&recovered.damaged), "byte {at}: {recovered:?}");
                let events: usize = recovered.waiting.iter().map(|waiting| waiting.events.len()).sum();
                assert!(events <= 5, "byte {at}");
            }
            let cut = read(&whole.as_bytes()[..at]).unwrap();
            assert!(cut.damaged <= 1 && lines > 0);
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut out = String::new();
        line(&mut out, |out| write!(out, "queue 2"));
        assert_eq!(read(out.as_bytes()), Err(ReadError::Version("2".to_owned())));
    }
}
