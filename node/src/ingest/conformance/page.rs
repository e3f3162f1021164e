//! Conformance reports as a page for a person: a summary, what is to decide and where to look, tables, and bars of how
//! full the columns are. It reads without colour, prints, and needs no script.

use std::fmt::Write as _;

use super::report::{ColumnReport, Rejected, Report, RowPlace};
use super::words::share;
use crate::ingest::finding::{Decided, Finding, listed};
use crate::ingest::html::escaped;

/// The bands of a column that are shown.
const BANDS: usize = 12;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#111;\
background:#fff}h1,h2,h3{line-height:1.25}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}caption{text-align:\
left;font-weight:600;padding:.3rem 0}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #767676;vertical-align:\
top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.track{display:block;min-width:8rem;height:.8rem;border:1px \
solid #444;background:#fff}.bar{display:block;height:100%;background:#1d5fa8}.open{border-left:.4rem solid #8a1c13;\
padding-left:1rem}.decided{border-left:.4rem double #555;padding-left:1rem}a{color:#0b4a8f}code{font:.95em \
ui-monospace,monospace;overflow-wrap:anywhere}details{margin:.2rem 0}.wide{overflow-x:auto}@media print{body{margin:0;\
max-width:none}details>*{display:block}a{color:inherit}.bar{print-color-adjust:exact}section{break-inside:avoid}}";

/// The reports of a borough's datasets.
pub(crate) fn page(reports: &[Report]) -> String {
    let title = match reports {
        [only] => format!("{}: conformance report", only.title),
        _ => "Conformance reports".to_owned(),
    };
    let mut out = format!(
        "<!doctype html><html lang=\"en-GB\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>{}</title><style>{STYLE}</style></head><body><main>",
        escaped(&title)
    );
    if let [_, _, ..] = reports {
        out.push_str("<h1>Conformance reports</h1><nav aria-label=\"Datasets\"><ul>");
        for report in reports {
            let (name, title) = (escaped(&report.dataset), escaped(&report.title));
            let _infallible = write!(out, "<li><a href=\"#{name}\">{title}</a>: {}</li>", verdict(report));
        }
        out.push_str("</ul></nav>");
    }
    let heading = if reports.len() > 1 { 2 } else { 1 };
    reports.iter().for_each(|report| out.push_str(&section(report, heading)));
    out.push_str("</main></body></html>\n");
    out
}

fn verdict(report: &Report) -> String {
    let open = report.findings.iter().filter(|finding| finding.decided.is_none()).count();
    match (report.refusals.len(), open) {
        (0, _) => "this may be served".to_owned(),
        (_, 0) => "this is refused, and the last good snapshot stays in use".to_owned(),
        (_, 1) => "this is refused until 1 finding is decided".to_owned(),
        (_, open) => format!("this is refused until {open} findings are decided"),
    }
}

fn section(report: &Report, level: usize) -> String {
    let name = escaped(&report.dataset);
    let mut out = format!(
        "<section id=\"{name}\"><h{level}>{}</h{level}><p>As at {}: <strong>{}</strong>.</p>",
        escaped(&report.title),
        escaped(&report.as_at),
        verdict(report)
    );
    let rows = [
        ("Rows of the mapping", report.read),
        ("Rows that keep the contract", report.kept),
        ("Rows that do not", report.read.saturating_sub(report.kept)),
        ("Rows that could not be read", report.unreadable()),
    ];
    let cells = rows.map(|(what, rows)| format!("<tr><th scope=\"row\">{what}</th><td class=\"n\">{rows}</td></tr>"));
    let _infallible = write!(out, "<table><caption>Summary</caption><tbody>{}</tbody></table>", cells.concat());
    let level = level.saturating_add(1);
    for refusal in &report.refusals {
        let _infallible = write!(out, "<p class=\"open\"><strong>Refused:</strong> {}</p>", escaped(refusal));
    }
    out.push_str(&findings(report, level));
    out.push_str(&left_out(report, level));
    out.push_str(&columns(report, level));
    if !report.drift.is_empty() {
        let items: String = report.drift.iter().map(|drift| format!("<li>{}</li>", escaped(drift))).collect();
        let _infallible = write!(out, "<h{level}>Changes since the last snapshot</h{level}><ul>{items}</ul>");
    }
    out.push_str(&sources(report, level));
    out.push_str("</section>");
    out
}

/// What is to decide, with a link from each to its place and fix; then what is decided.
fn findings(report: &Report, level: usize) -> String {
    if report.findings.is_empty() {
        return String::new();
    }
    let anchor = |finding: &Finding| {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        format!("{}-{}", escaped(&report.dataset), finding.key.chars().map(plain).collect::<String>())
    };
    let open = || report.findings.iter().filter(|finding| finding.decided.is_none());
    let mut out = String::new();
    if open().next().is_some() {
        let _infallible = write!(out, "<h{level}>To decide</h{level}><ol>");
        for finding in open() {
            let _infallible = write!(
                out,
                "<li><a href=\"#{}\"><code>{}</code></a>: {}</li>",
                anchor(finding),
                escaped(&finding.key),
                escaped(&finding.seen)
            );
        }
        out.push_str("</ol>");
    }
    let below = level.saturating_add(1);
    for finding in open() {
        let _infallible = write!(
            out,
            "<section class=\"open\" id=\"{}\"><h{below}><code>{}</code></h{below}><p><strong>Where:</strong> {}</p><p>\
             <strong>Seen:</strong> {}</p><p><strong>Fix:</strong> {}</p><p>If it is right as it stands: <code>loda-node decide \
             {} --by \"your name\" --why \"the reason\"</code></p></section>",
            anchor(finding),
            escaped(&finding.key),
            escaped(&finding.place),
            escaped(&finding.seen),
            escaped(&finding.fix),
            escaped(&shell_word(&finding.key)),
        );
    }
    let decided = report.findings.iter().filter_map(|finding| Some((finding, finding.decided.as_ref()?)));
    let rows: String = decided
        .map(|(finding, Decided { by, on, why })| {
            format!(
                "<tr id=\"{}\"><th scope=\"row\"><code>{}</code></th><td>{}</td><td>{}</td><td>{on}</td><td>{}</td></tr>",
                anchor(finding),
                escaped(&finding.key),
                escaped(&finding.seen),
                escaped(by),
                escaped(why)
            )
        })
        .collect();
    if !rows.is_empty() {
        let _infallible = write!(
            out,
            "<h{level}>Decided</h{level}><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Decisions\"><table>\
             <thead><tr><th scope=\"col\">Finding</th><th scope=\"col\">Seen</th><th scope=\"col\">By</th><th scope=\"col\">On</th>\
             <th scope=\"col\">Why</th></tr></thead><tbody>{rows}</tbody></table></div>"
        );
    }
    out
}

fn shell_word(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_:.-".contains(c);
    if key.chars().all(plain) { key.to_owned() } else { format!("'{}'", key.replace('\'', "'\\''")) }
}

/// Rows that are not served, with where to look and what to do.
fn left_out(report: &Report, level: usize) -> String {
    let mut rows = String::new();
    for (name, source) in &report.sources {
        for (why, (count, places)) in &source.faults {
            let places = places.iter().map(|(file, line)| RowPlace { file: file.clone(), line: *line }.to_string());
            let _infallible = write!(
                rows,
                "<tr><td class=\"n\">{count}</td><td>source {}: {}</td><td>{}</td><td>Mend the line in the system or the \
                 extract.</td></tr>",
                escaped(name),
                escaped(why),
                escaped(&listed(places, *count))
            );
        }
    }
    for Rejected { column, reason, rows: count, places, codes } in &report.rejected {
        let places = listed(places.iter().map(ToString::to_string), *count);
        let codes: Vec<String> = codes.iter().map(|(code, rows)| format!("'{}' ({rows})", escaped(code))).collect();
        let fix = match reason.as_str() {
            "is not in the code list" => {
                format!("Give each its word in <code>[dataset.codes.{}]</code>: {}.", escaped(column), codes.join(", "))
            }
            "is missing" => "Fill it in the mapping, or propose that the contract takes missing values.".to_owned(),
            "is outside the declared range" => {
                "Correct the value, or propose a wider range in the contract.".to_owned()
            }
            _ => "Read it with one of the mapping's functions.".to_owned(),
        };
        let _infallible = write!(
            rows,
            "<tr><td class=\"n\">{count}</td><td>{} {}</td><td>{}</td><td>{fix}</td></tr>",
            escaped(column),
            escaped(reason),
            escaped(&places)
        );
    }
    for (function, shapes) in &report.unread {
        let count: u64 = shapes.values().sum();
        let told: Vec<String> = shapes.iter().map(|(shape, n)| format!("{} ({n})", escaped(shape))).collect();
        let _infallible = write!(
            rows,
            "<tr><td class=\"n\">{count}</td><td>values became NULL in {}()</td><td>by shape: {}</td><td>9 stands for a digit \
             and A for a letter.</td></tr>",
            escaped(function),
            told.join(", ")
        );
    }
    match rows.is_empty() {
        true => String::new(),
        false => format!(
            "<h{level}>Left out</h{level}><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Rows left out\"><table>\
             <thead><tr><th scope=\"col\" class=\"n\">Number</th><th scope=\"col\">What</th><th scope=\"col\">Where</th>\
             <th scope=\"col\">Fix</th></tr></thead><tbody>{rows}</tbody></table></div>"
        ),
    }
}

/// How full each column is, and its most frequent values.
fn columns(report: &Report, level: usize) -> String {
    let bar = |part: f64| {
        format!(
            "<span class=\"track\" aria-hidden=\"true\"><span class=\"bar\" style=\"width:{part:.1}%\"></span></span>"
        )
    };
    let mut rows = String::new();
    for ColumnReport { name, filled, bands } in &report.columns {
        let part = share(*filled, report.kept);
        let mut sorted: Vec<(&String, &u64)> = bands.iter().collect();
        sorted.sort_by_key(|(band, rows)| (std::cmp::Reverse(**rows), *band));
        let shown: String = sorted
            .iter()
            .take(BANDS)
            .map(|(band, rows)| {
                let part = share(**rows, report.kept);
                format!("<tr><td>{}</td><td class=\"n\">{part:.0} %</td><td>{}</td></tr>", escaped(band), bar(part))
            })
            .collect();
        let more = sorted.len().saturating_sub(BANDS);
        let more = if more > 0 { format!("<p>and {more} more</p>") } else { String::new() };
        let values = match shown.is_empty() {
            true => "no bands: a name, a key or free text".to_owned(),
            false => format!(
                "<details><summary>{} bands</summary><table><tbody>{shown}</tbody></table>{more}</details>",
                sorted.len()
            ),
        };
        let _infallible = write!(
            rows,
            "<tr><th scope=\"row\"><code>{}</code></th><td class=\"n\">{part:.1} %</td><td>{}</td><td>{values}</td></tr>",
            escaped(name),
            bar(part)
        );
    }
    format!(
        "<h{level}>Columns</h{level}><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Columns\"><table><thead><tr>\
         <th scope=\"col\">Column</th><th scope=\"col\" class=\"n\">Filled</th><th scope=\"col\">Chart</th><th scope=\"col\">\
         Values</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn sources(report: &Report, level: usize) -> String {
    let mut rows = String::new();
    for (name, source) in &report.sources {
        for (file, how, count) in &source.files {
            let _infallible = write!(
                rows,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{count}</td></tr>",
                escaped(name),
                escaped(file),
                escaped(how)
            );
        }
    }
    format!(
        "<h{level}>Sources</h{level}><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Sources\"><table><thead><tr>\
         <th scope=\"col\">Source</th><th scope=\"col\">File</th><th scope=\"col\">Read as</th><th scope=\"col\" class=\"n\">Rows\
         </th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}
