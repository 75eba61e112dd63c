//! Turns runs into figures, and figures into a markdown table and JSON. Knows nothing of how they were measured.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::plan::{Measure, Scenario};

/// What the rounds of one server in one scenario gave; the rounds of all servers of a scenario are in the same order.
#[derive(Debug)]
pub struct Rounds {
    pub server: &'static str,
    pub label: String,
    /// What the load generator reported, round by round.
    pub results: Vec<Value>,
}

impl Rounds {
    fn figures(&self, measure: Measure) -> Vec<f64> {
        let name = match measure {
            Measure::ServerCpu => "server_cpu_ns_each",
            Measure::ServerMemory => "server_rss_bytes_each",
        };
        self.numbers(&[name])
    }

    fn numbers(&self, path: &[&str]) -> Vec<f64> {
        let number = |result: &Value| path.iter().try_fold(result, |value, name| value.get(name))?.as_f64();
        self.results.iter().filter_map(number).collect()
    }
}

/// Over all rounds together: of one alone it is too coarse.
fn user_each(rounds: &Rounds) -> Option<f64> {
    let sum = |name| rounds.numbers(&[name]).iter().sum::<f64>();
    let count = sum("count");
    (count > 0.0 && !rounds.numbers(&["server_user_ns"]).is_empty()).then(|| sum("server_user_ns") / count)
}

/// The median of the ratios of the rounds: each round is compared with the same round of the other, so that what disturbed the
/// machine for a while disturbed both.
fn ratio(rounds: &[f64], of: &[f64]) -> Option<f64> {
    median(&rounds.iter().zip(of).filter(|(_, of)| **of > 0.0).map(|(a, b)| a / b).collect::<Vec<_>>())
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => sorted.get(middle).copied(),
        _ => Some((sorted.get(middle - 1)? + sorted.get(middle)?) / 2.0),
    }
}

/// One scenario as JSON: every round, and what was made of them.
pub fn to_json(scenario: &Scenario, load: &[String], all: &[Rounds]) -> Value {
    let figures = |name: &str| all.iter().find(|r| r.server == name).map(|r| r.figures(scenario.measure));
    let reference = figures(scenario.reference).unwrap_or_default();
    let servers: Vec<Value> = all
        .iter()
        .map(|rounds| {
            let own = rounds.figures(scenario.measure);
            json!({
                "server": rounds.label,
                "each": median(&own),
                "ratio": ratio(&own, &reference),
                "user_each": user_each(rounds),
                "per_second": median(&rounds.numbers(&["per_second"])),
                "reply_bytes": median(&rounds.numbers(&["reply_bytes_each"])),
                "latency_us_p50": median(&rounds.numbers(&["latency_us", "p50"])),
                "latency_us_p99": median(&rounds.numbers(&["latency_us", "p99"])),
                "rounds": rounds.results,
            })
        })
        .collect();
    let goals: Vec<Value> = scenario
        .goals
        .iter()
        .filter_map(|goal| {
            let own = figures(goal.server)?;
            let measured = match goal.of {
                // To the byte: a page more over ten thousand connections is none.
                None => median(&own)?.round(),
                Some(of) => ratio(&own, &figures(of)?)?,
            };
            Some(json!({
                "server": goal.server, "of": goal.of, "measured": measured,
                "limit": goal.limit, "later": goal.later, "met": measured <= goal.limit,
            }))
        })
        .collect();
    json!({
        "scenario": scenario.name,
        "title": scenario.title,
        "unit": unit(scenario),
        "reference": scenario.reference,
        "load": load,
        "servers": servers,
        "goals": goals,
    })
}

fn unit(scenario: &Scenario) -> String {
    match scenario.measure {
        Measure::ServerCpu => format!("CPU ns of the server per {}", scenario.each),
        Measure::ServerMemory => format!("resident bytes of the server per {}", scenario.each),
    }
}

/// A markdown table of what [`to_json`] returned.
pub fn to_markdown(result: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64);
    let servers = list(result, "servers");
    let has = |name: &str| servers.iter().any(|server| number(server, name).is_some());
    let columns: Vec<(&str, &str)> = COLUMNS.iter().filter(|(name, _)| has(name)).copied().collect();
    let latency = has("latency_us_p50");

    let load: Vec<String> = list(result, "load").iter().filter_map(|arg| Some(arg.as_str()?.to_owned())).collect();
    let mut out = format!("### {} (`{}`)\n\n", text(result, "title"), text(result, "scenario"));
    let _ = writeln!(out, "`load {}`\n", load.join(" "));
    let mut head =
        format!("| server | {} | lowest – highest | × {} |", text(result, "unit"), text(result, "reference"));
    let mut rule = "|---|---:|---:|---:|".to_owned();
    for (_, title) in &columns {
        let _ = write!(head, " {title} |");
        rule.push_str("---:|");
    }
    if latency {
        head.push_str(" p50 / p99 µs |");
        rule.push_str("---:|");
    }
    let _ = writeln!(out, "{head}\n{rule}");
    for server in &servers {
        let each = number(server, "each").map_or("–".to_owned(), grouped);
        let ratio = number(server, "ratio").map_or("–".to_owned(), |ratio| format!("{ratio:.3}"));
        let _ = write!(out, "| {} | {each} | {} | {ratio} |", text(server, "server"), spread(server));
        for (name, _) in &columns {
            let _ = write!(out, " {} |", number(server, name).map_or("–".to_owned(), grouped));
        }
        if latency {
            let part = |name| number(server, name).map_or("–".to_owned(), |us| format!("{us:.0}"));
            let _ = write!(out, " {} / {} |", part("latency_us_p50"), part("latency_us_p99"));
        }
        out.push('\n');
    }
    for goal in list(result, "goals") {
        let met = if goal.get("met").and_then(Value::as_bool) == Some(true) { "met" } else { "not met" };
        let part = |name| number(&goal, name).unwrap_or(f64::NAN);
        let later = number(&goal, "later").map_or(String::new(), |later| format!(" (later {later:.2})"));
        let (server, of) = (text(&goal, "server"), text(&goal, "of"));
        let (limit, measured) = (part("limit"), part("measured"));
        let _ = if of.is_empty() {
            write!(out, "\nGoal: {server} ≤ {}{later}: {}, {met}.\n", grouped(limit), grouped(measured))
        } else {
            write!(out, "\nGoal: {server} ≤ {limit:.2} × {of}{later}: {measured:.3}, {met}.\n")
        };
    }
    out
}

/// Of the table, where there is such a figure.
const COLUMNS: &[(&str, &str)] =
    &[("user_each", "of it outside of the kernel"), ("per_second", "per second"), ("reply_bytes", "bytes of a reply")];

fn spread(server: &Value) -> String {
    let rounds = server.get("rounds").and_then(Value::as_array).cloned().unwrap_or_default();
    let each = |round: &Value| round.get("server_cpu_ns_each").or_else(|| round.get("server_rss_bytes_each"))?.as_f64();
    let figures: Vec<f64> = rounds.iter().filter_map(each).collect();
    match (figures.iter().copied().min_by(f64::total_cmp), figures.iter().copied().max_by(f64::total_cmp)) {
        (Some(low), Some(high)) => format!("{} – {}", grouped(low), grouped(high)),
        _ => "–".to_owned(),
    }
}

/// 1234567.8 as 1,234,568.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SCENARIOS;

    fn rounds(server: &'static str, figures: &[f64]) -> Rounds {
        let results = figures.iter().map(|each| json!({ "server_cpu_ns_each": each, "per_second": 1e6 })).collect();
        Rounds { server, label: server.to_owned(), results }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The second round was disturbed for both; the ratio is not.
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "echo-20").unwrap();
        let all = [rounds("switchboard-ws", &[50.0, 500.0, 60.0]), rounds("fastwebsockets", &[100.0, 1000.0, 100.0])];
        let result = to_json(scenario, &[], &all);
        assert_eq!(result["servers"][0]["ratio"], 0.5);
        assert_eq!(result["servers"][0]["each"], 60.0);
        assert_eq!(result["goals"][0]["measured"], 0.5);
        assert_eq!(result["goals"][0]["met"], true);
        let table = to_markdown(&result);
        assert!(table.contains("| switchboard-ws | 60 | 50 – 500 | 0.500 | 1,000,000 |"), "{table}");
        assert!(table.contains("Goal: switchboard-ws ≤ 1.10 × fastwebsockets (later 1.00): 0.500, met."), "{table}");
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "echo-20").unwrap();
        let all = [rounds("switchboard-ws", &[120.0]), rounds("fastwebsockets", &[100.0])];
        let result = to_json(scenario, &[], &all);
        assert_eq!(result["goals"][0]["met"], false);
        assert!(to_markdown(&result).contains("1.200, not met."));
    }

    #[test]
    fn a_goal_may_be_a_number_of_bytes() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "idle").unwrap();
        for (bytes, shown) in [(1024.4, "1,024, met."), (1025.0, "1,025, not met.")] {
            let results = vec![json!({ "server_rss_bytes_each": bytes })];
            let all = [Rounds { server: "switchboard-ws", label: "switchboard-ws".to_owned(), results }];
            let table = to_markdown(&to_json(scenario, &[], &all));
            assert!(table.contains(&format!("Goal: switchboard-ws ≤ 1,024: {shown}")), "{table}");
        }
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
