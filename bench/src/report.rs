//! Turns runs into figures, and figures into a markdown table and JSON. Knows nothing of how they were measured.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::plan::{Measure, SCENARIOS, Scenario};

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
        self.numbers(&[measure.figure()])
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
                "latency_us_p999": median(&rounds.numbers(&["latency_us", "p999"])),
                "columns": columns(rounds),
                "rounds": rounds.results,
            })
        })
        .collect();
    let goals: Vec<Value> = scenario
        .goals
        .iter()
        .filter_map(|goal| {
            let figures = |name: &str| {
                let rounds = all.iter().find(|rounds| rounds.server == name)?;
                Some(goal.figure.map_or_else(|| rounds.figures(scenario.measure), |(name, _)| rounds.numbers(&[name])))
            };
            let own = figures(goal.server)?;
            let measured = match goal.of {
                // To the byte: a page more over ten thousand connections is none.
                None if scenario.measure == Measure::ServerMemory => median(&own)?.round(),
                None => median(&own)?,
                Some(of) => ratio(&own, &figures(of)?)?,
            };
            Some(json!({
                "server": goal.server, "of": goal.of, "figure": goal.figure.map(|(_, title)| title), "measured": measured,
                "limit": goal.limit, "later": goal.later, "met": measured <= goal.limit,
            }))
        })
        .collect();
    json!({
        "scenario": scenario.name,
        "title": scenario.title,
        "unit": scenario.measure.unit(scenario.each),
        "figure": scenario.measure.figure(),
        "decimals": scenario.measure.decimals(),
        "split": scenario.split,
        "reference": scenario.reference,
        "load": load,
        "servers": servers,
        "goals": goals,
    })
}

/// What was run, on what and with what, in a line.
pub fn headline(about: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let machine = &about["machine"];
    let mut line = format!(
        "`{}` at {}{}{}: {} CPUs {}, Linux {}, {}, {} mode, {} rounds of {} ms",
        text(&about["command"]),
        text(&about["commit"]),
        about["date"].as_str().map_or(String::new(), |date| format!(" of {date}")),
        if about["uncommitted_changes"] == true { " and uncommitted changes" } else { "" },
        machine["cpus"],
        text(&machine["cpu"]),
        text(&machine["kernel"]),
        text(&about["compiler"]),
        text(&about["mode"]),
        about["rounds"],
        about["duration_ms"],
    );
    if about["profile"] == "debug" {
        line.push_str(" — unoptimised builds, one short round: the figures mean nothing");
    }
    line
}

/// Puts results into a stored run, in place of those of the same scenarios, in the order of the plan. Each says what it was measured with.
pub fn merge(mut run: Value, results: Vec<Value>, about: &Value) -> Value {
    let mut all = run.get("results").and_then(Value::as_array).cloned().unwrap_or_default();
    for mut result in results {
        result["about"] = about.clone();
        all.retain(|known| known["scenario"] != result["scenario"]);
        all.push(result);
    }
    let place = |result: &Value| SCENARIOS.iter().position(|scenario| result["scenario"] == scenario.name);
    all.sort_by_key(|result| place(result).unwrap_or(usize::MAX));
    run["results"] = json!(all);
    run
}

/// A run as it is stored: what it was, and its tables.
pub fn run_to_markdown(run: &Value) -> String {
    let mut text = headline(&run["about"]) + "\n";
    for result in run.get("results").and_then(Value::as_array).into_iter().flatten() {
        text.push('\n');
        text.push_str(&to_markdown(result));
    }
    text
}

/// What only some scenarios report, by title.
fn columns(rounds: &Rounds) -> Value {
    let reported =
        MORE.iter().filter_map(|(path, title)| Some(((*title).to_owned(), json!(median(&rounds.numbers(path))?))));
    Value::Object(reported.collect())
}

/// Numbers of the load generator that are columns where they are reported.
const MORE: &[(&[&str], &str)] = &[
    (&["alone_us", "p99"], "p99 alone, µs"),
    (&["p99_ratio"], "p99 × alone"),
    (&["subscribers"], "subscribers"),
    (&["clients"], "clients"),
    (&["connections"], "connections"),
    (&["publications_per_second"], "publications a second"),
    (&["server_busy_percent"], "server busy, %"),
    (&["seconds"], "seconds"),
    (&["server_rss_bytes_peak"], "bytes at the peak"),
    (&["server_rss_bytes_before"], "bytes before"),
];

/// A markdown table of what [`to_json`] returned.
pub fn to_markdown(result: &Value) -> String {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64);
    let servers = list(result, "servers");
    let has = |name: &str| servers.iter().any(|server| number(server, name).is_some());
    let columns: Vec<(&str, &str)> = COLUMNS.iter().filter(|(name, _)| has(name)).copied().collect();
    let latency = has("latency_us_p50");
    let more: Vec<String> = MORE
        .iter()
        .map(|(_, title)| (*title).to_owned())
        .filter(|title| servers.iter().any(|server| server["columns"].get(title).is_some()))
        .collect();
    let decimals = number(result, "decimals").unwrap_or(0.0) as usize;
    let figure = match text(result, "figure") {
        name if name.is_empty() => "server_cpu_ns_each".to_owned(),
        name => name,
    };

    let load: Vec<String> = list(result, "load").iter().filter_map(|arg| Some(arg.as_str()?.to_owned())).collect();
    let mut out = format!("### {} (`{}`)\n\n", text(result, "title"), text(result, "scenario"));
    let apart = if result["split"] == true { ", the server and the generator each on a CPU of its own" } else { "" };
    let _ = writeln!(out, "`load {}`{apart}\n", load.join(" "));
    if let Some(about) = result.get("about") {
        let _ = writeln!(out, "Measured apart: {}\n", headline(about));
    }
    let mut head =
        format!("| server | {} | lowest – highest | × {} |", text(result, "unit"), text(result, "reference"));
    let mut rule = "|---|---:|---:|---:|".to_owned();
    for (_, title) in &columns {
        let _ = write!(head, " {title} |");
        rule.push_str("---:|");
    }
    if latency {
        head.push_str(" p50 / p99 / p99.9 µs |");
        rule.push_str("---:|");
    }
    for title in &more {
        let _ = write!(head, " {title} |");
        rule.push_str("---:|");
    }
    let _ = writeln!(out, "{head}\n{rule}");
    for server in &servers {
        let each = number(server, "each").map_or("–".to_owned(), |each| with_decimals(each, decimals));
        let ratio = number(server, "ratio").map_or("–".to_owned(), |ratio| format!("{ratio:.3}"));
        let _ =
            write!(out, "| {} | {each} | {} | {ratio} |", text(server, "server"), spread(server, &figure, decimals));
        for (name, _) in &columns {
            let _ = write!(out, " {} |", number(server, name).map_or("–".to_owned(), grouped));
        }
        if latency {
            let part = |name| number(server, name).map_or("–".to_owned(), |us| format!("{us:.0}"));
            let parts = [part("latency_us_p50"), part("latency_us_p99"), part("latency_us_p999")];
            let _ = write!(out, " {} |", parts.join(" / "));
        }
        for title in &more {
            let figure = number(&server["columns"], title)
                .map_or("–".to_owned(), |n| with_decimals(n, if n < 100.0 && n.fract() != 0.0 { 2 } else { 0 }));
            let _ = write!(out, " {figure} |");
        }
        out.push('\n');
    }
    for goal in list(result, "goals") {
        let met = if goal.get("met").and_then(Value::as_bool) == Some(true) { "met" } else { "not met" };
        let part = |name| number(&goal, name).unwrap_or(f64::NAN);
        let later = number(&goal, "later").map_or(String::new(), |later| format!(" (later {later:.2})"));
        let (server, of) = (text(&goal, "server"), text(&goal, "of"));
        let (limit, measured) = (part("limit"), part("measured"));
        let _ = if let Some(figure) = goal.get("figure").and_then(Value::as_str) {
            write!(out, "\nGoal: {server}, {figure} ≤ {limit:.2}{later}: {measured:.3}, {met}.\n")
        } else if of.is_empty() {
            let shown = |number| with_decimals(number, decimals);
            write!(out, "\nGoal: {server} ≤ {}{later}: {}, {met}.\n", shown(limit), shown(measured))
        } else {
            write!(out, "\nGoal: {server} ≤ {limit:.2} × {of}{later}: {measured:.3}, {met}.\n")
        };
    }
    out
}

/// Of the table, where there is such a figure.
const COLUMNS: &[(&str, &str)] =
    &[("user_each", "of it outside of the kernel"), ("per_second", "per second"), ("reply_bytes", "bytes of a reply")];

fn spread(server: &Value, figure: &str, decimals: usize) -> String {
    let rounds = server.get("rounds").and_then(Value::as_array).cloned().unwrap_or_default();
    let each = |round: &Value| round.get(figure)?.as_f64();
    let figures: Vec<f64> = rounds.iter().filter_map(each).collect();
    match (figures.iter().copied().min_by(f64::total_cmp), figures.iter().copied().max_by(f64::total_cmp)) {
        (Some(low), Some(high)) => {
            format!("{} – {}", with_decimals(low, decimals), with_decimals(high, decimals))
        }
        _ => "–".to_owned(),
    }
}

fn with_decimals(number: f64, decimals: usize) -> String {
    if decimals == 0 { grouped(number) } else { format!("{number:.decimals$}") }
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
    fn a_goal_may_be_another_number_than_the_figure() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "beside").unwrap();
        let results = vec![json!({
            "latency_us_p99": 812.0, "latency_us": { "p50": 120.0, "p99": 812.0, "p999": 900.0 },
            "alone_us": { "p99": 400.0 }, "p99_ratio": 2.03, "subscribers": 9000,
        })];
        let all = [Rounds { server: "switchboard-native", label: "switchboard-native".to_owned(), results }];
        let table = to_markdown(&to_json(scenario, &[], &all));
        assert!(table.contains("p99 alone, µs | p99 × alone | subscribers |"), "{table}");
        assert!(table.contains("| 120 / 812 / 900 | 400 | 2.03 | 9,000 |"), "{table}");
        assert!(table.contains("Goal: switchboard-native, p99 beside × p99 alone ≤ 3.00: 2.030, met."), "{table}");
    }

    #[test]
    fn a_ratio_keeps_its_decimals() {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == "resume").unwrap();
        let results = vec![json!({ "memory_ratio": 1.257, "seconds": 2.5 })];
        let all = [Rounds { server: "switchboard-native", label: "switchboard-native".to_owned(), results }];
        let table = to_markdown(&to_json(scenario, &[], &all));
        assert!(table.contains("| switchboard-native | 1.26 | 1.26 – 1.26 | 1.000 |"), "{table}");
        assert!(table.contains("Goal: switchboard-native ≤ 1.30: 1.26, met."), "{table}");
    }

    #[test]
    fn a_scenario_that_is_measured_again_takes_its_place_and_says_with_what() {
        let about = |commit: &str| json!({ "command": "c", "commit": commit, "mode": "split", "rounds": 1 });
        let result = |name: &str, title: &str| json!({ "scenario": name, "title": title });
        let stored =
            json!({ "about": about("old"), "results": [result("echo-20", "kept"), result("connect", "replaced")] });
        let run = merge(stored, vec![result("connect", "new"), result("latency", "added")], &about("new"));
        let text = run_to_markdown(&run);
        let titles: Vec<_> = text.lines().filter(|line| line.starts_with("###")).collect();
        assert_eq!(titles, ["### kept (`echo-20`)", "### added (`latency`)", "### new (`connect`)"]);
        assert_eq!(text.matches("Measured apart: `c` at new").count(), 2, "{text}");
        assert!(text.starts_with("`c` at old:"), "{text}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
