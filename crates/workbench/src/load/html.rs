//! A report as one page: no script, nothing fetched from anywhere.

use super::report::{PERCENTILES, Summary, short};
use core::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;

pub(super) fn page(summary: &Summary) -> String {
    let mut page = String::from(HEAD);
    let _ = write!(page, "<h1>{}</h1><p>{}</p>", escape(&summary.what), escape(&summary.url));
    let _ = write!(page, "<pre>{}</pre>", escape(&summary.text()));
    let rows = &summary.rows;
    let mut before = 0.0;
    let rates: Vec<(f64, f64)> = rows
        .iter()
        .map(|(at, tally)| {
            let at = at.as_secs_f64();
            let count = tally.received.max(tally.opened) as f64;
            let rate = count / (at - before).max(0.001);
            before = at;
            (at, rate)
        })
        .collect();
    let of = |quantile: f64| -> Vec<(f64, f64)> {
        let told = rows.iter().filter(|(_, tally)| !tally.latency.is_empty());
        told.map(|(at, tally)| (at.as_secs_f64(), tally.latency.value_at_quantile(quantile) as f64 / 1e6)).collect()
    };
    plot(&mut page, "A second", "s", &[("", rates)], |value| format!("{value:.0}"));
    plot(&mut page, "Latency over time, ms", "s", &[("p50", of(0.5)), ("p99", of(0.99))], |value| {
        format!("{value:.2}")
    });
    if !summary.total.latency.is_empty() {
        // The further right, the rarer: 1 of 2, of 10, of 100 …
        let curve = (0..=400).map(|step| {
            let nines = f64::from(step) / 100.0;
            let quantile = 1.0 - 10.0_f64.powf(-nines);
            (nines, summary.total.latency.value_at_quantile(quantile) as f64 / 1e6)
        });
        plot(
            &mut page,
            "Latency by percentile, ms (0, 90, 99, 99.9, 99.99)",
            "nines",
            &[("", curve.collect())],
            |value| format!("{value:.2}"),
        );
        page.push_str("<table><tr><th>percentile</th><th>latency</th></tr>");
        for percentile in PERCENTILES {
            let _ = write!(page, "<tr><td>{percentile}</td><td>{}</td></tr>", short(summary.percentile(percentile)));
        }
        let _ = write!(page, "<tr><td>100</td><td>{}</td></tr></table>", short(summary.total.latency.max()));
    }
    page.push_str("</body></html>\n");
    page
}

fn plot(page: &mut String, title: &str, unit: &str, lines: &[(&str, Vec<(f64, f64)>)], label: fn(f64) -> String) {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let top = points().map(|(_, y)| *y).fold(0.0, f64::max) * 1.05;
    let end = points().map(|(x, _)| *x).fold(0.0, f64::max);
    if top <= 0.0 || end <= 0.0 {
        return;
    }
    let x = |value: f64| LEFT + value / end * (WIDTH - LEFT - 12.0);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - 12.0);
    let _ = write!(
        page,
        "<h2>{}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(title),
        escape(title)
    );
    for step in 0..=4 {
        let value = top * f64::from(step) / 4.0;
        let at = y(value);
        let _ = write!(
            page,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 12.0,
            LEFT - 6.0,
            at + 4.0,
            escape(&label(value))
        );
    }
    let _ =
        write!(page, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{end:.0} {unit}</text>", WIDTH - 12.0, HEIGHT - 8.0);
    for (index, (name, points)) in lines.iter().enumerate() {
        let mut path = String::new();
        for (at, (px, py)) in points.iter().enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { "M" } else { "L" }, x(*px), y(*py));
        }
        let _ = write!(page, "<path class=\"line{index}\" d=\"{path}\"/>");
        if let (false, Some((px, py))) = (name.is_empty(), points.last()) {
            let _ =
                write!(page, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", x(*px), y(*py) - 5.0);
        }
    }
    page.push_str("</svg>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Load</title>\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><style>\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.3rem}h2{font-size:1rem;margin:1.5rem 0 .3rem}pre{overflow:auto;padding:.8rem;border:1px solid #8884;border-radius:6px}\
svg{width:100%;height:auto}svg text{font-size:11px;fill:currentColor;opacity:.75}.grid{stroke:#8884}path{fill:none;stroke-width:1.6}\
.line0{stroke:#2a78d6}.line1{stroke:#d65a2a}table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left}\
</style></head><body>";
