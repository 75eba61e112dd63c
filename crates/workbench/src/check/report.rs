//! What came of the checks, for people and for machines.

use super::script::{Check, Outcome, Verdict};
use core::fmt::Write;
use serde_json::json;

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
    /// XML as JUnit writes it, for continuous integration.
    Junit,
}

/// The verdicts so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    id: String,
    group: String,
    title: String,
    clause: &'static str,
    verdict: Verdict,
}

impl Report {
    /// Writes down one verdict.
    pub fn add(&mut self, check: &Check, verdict: Verdict) {
        self.rows.push(Row {
            id: check.id.to_string(),
            group: check.group().to_owned(),
            title: check.title.to_string(),
            clause: check.clause,
            verdict,
        });
    }

    /// How many verdicts there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many have this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.verdict.outcome == outcome).count()
    }

    /// Whether nothing failed.
    pub fn is_conformant(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    /// The report. Text has the passed ones too if it is `verbose`; `colour` is for text.
    pub fn print(&self, format: Format, server: &str, verbose: bool, colour: bool) -> String {
        match format {
            Format::Text => self.text(server, verbose, colour),
            Format::Json => self.json(server),
            Format::Junit => self.junit(server),
        }
    }

    fn text(&self, server: &str, verbose: bool, colour: bool) -> String {
        let mut text = String::new();
        let mut group = "";
        for row in self.rows.iter().filter(|row| verbose || row.verdict.outcome != Outcome::Passed) {
            if row.group != group {
                group = &row.group;
                let of_group = || self.rows.iter().filter(|row| row.group == group);
                let passed = of_group().filter(|row| row.verdict.outcome == Outcome::Passed).count();
                let _ = writeln!(text, "\n{group}: {passed} of {} passed", of_group().count());
            }
            let (mark, colour_code) = match row.verdict.outcome {
                Outcome::Passed => ("ok    ", "32"),
                Outcome::Remark => ("remark", "33"),
                Outcome::NotApplicable => ("n/a   ", "90"),
                Outcome::Failed => ("FAILED", "31"),
            };
            let mark = if colour { format!("\x1b[{colour_code}m{mark}\x1b[0m") } else { mark.to_owned() };
            let _ = writeln!(text, "  {mark} {}: {}. [{}]", row.id, row.title, row.clause);
            if !row.verdict.why.is_empty() {
                let _ = writeln!(text, "         {}", row.verdict.why);
            }
        }
        let counts = [Outcome::Passed, Outcome::Remark, Outcome::NotApplicable, Outcome::Failed]
            .map(|outcome| format!("{} {}", self.count(outcome), outcome.as_str()));
        let verdict = if self.is_conformant() { "conformant" } else { "not conformant" };
        let _ = writeln!(text, "\n{server} is {verdict}: {}", counts.join(", "));
        text
    }

    fn json(&self, server: &str) -> String {
        let rows = self.rows.iter().map(|row| {
            json!({
                "id": row.id, "title": row.title, "clause": row.clause,
                "outcome": row.verdict.outcome.as_str(), "why": row.verdict.why,
            })
        });
        let rows: Vec<_> = rows.collect();
        let mut text = json!({ "server": server, "conformant": self.is_conformant(), "checks": rows }).to_string();
        text.push('\n');
        text
    }

    fn junit(&self, server: &str) -> String {
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
            escape(server),
            self.rows.len(),
            self.count(Outcome::Failed),
            self.count(Outcome::NotApplicable)
        );
        for row in &self.rows {
            let _ = write!(xml, "  <testcase classname=\"{}\" name=\"{}\"", escape(&row.group), escape(&row.id));
            let why = escape(&format!("{}. {}: {}", row.title, row.clause, row.verdict.why));
            let _ = match row.verdict.outcome {
                Outcome::Passed => writeln!(xml, "/>"),
                Outcome::Failed => writeln!(xml, "><failure message=\"{why}\"/></testcase>"),
                Outcome::NotApplicable => writeln!(xml, "><skipped message=\"{why}\"/></testcase>"),
                Outcome::Remark => writeln!(xml, "><system-out>{why}</system-out></testcase>"),
            };
        }
        xml.push_str("</testsuite>\n");
        xml
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 has no place for these, not even escaped.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
