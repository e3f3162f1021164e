//! An assessment in words, for readers who are no statisticians.

use std::fmt::Write;

use loda_contract::Contract;

use super::kept::{AssessedColumn, Assessment};
use crate::ingest::config::DatasetConfig;
use crate::ingest::html::escaped;

/// The limits on dimensions that an assessment is compared with.
pub(crate) struct Standing {
    /// The contract's d, the borough's own d, and the steward's decision against the assessment, in words.
    pub(crate) contract: u32,
    pub(crate) own: Option<u32>,
    pub(crate) decided: Option<String>,
}

impl Standing {
    pub(crate) fn of(contract: &Contract, dataset: &DatasetConfig) -> Self {
        let decided = dataset.decision.as_ref();
        Self {
            contract: contract.closure.dimensions,
            own: dataset.dimensions,
            decided: decided
                .map(|of| format!("d = {}, {}, {}: {}", of.dimensions, of.by, of.on.format("%-d %B %Y"), of.why)),
        }
    }

    /// The dimensions that would be served without the assessment.
    pub(crate) fn wanted(&self) -> u32 {
        self.own.unwrap_or(u32::MAX).min(self.contract)
    }
}

impl Assessment {
    pub(crate) fn text(&self, contract: &Contract, standing: &Standing) -> String {
        let mut text = format!("{}: what an unlimited asker would learn\n\n", self.dataset);
        for line in self.opening() {
            wrapped(&mut text, "  ", &line);
        }
        text.push_str("\nOf 100, how many would be guessed right?\n\n");
        let _ = writeln!(
            text,
            "  {:<34} {:>8} {:>8} {:>12} {:>11} {:>11}",
            "", "without", "by who", "by who knows", "the easiest", "by who knows"
        );
        let _ = writeln!(
            text,
            "  {:<34} {:>8} {:>8} {:>12} {:>11} {:>11}",
            "", "the data", "only asks", "all others", "to find", "all but this"
        );
        for (name, lines) in self.by_column() {
            let _ = writeln!(text, "  {name}");
            for line in &lines {
                let mark = if line.gain() > self.margin { "  too much" } else { "" };
                let _ = writeln!(
                    text,
                    "    {:<32} {:>8.0} {:>8.0} {:>12.0} {:>11.0} {:>11.0}{mark}",
                    tables(line.dimensions),
                    line.chance,
                    line.asking,
                    line.typical,
                    line.exposed,
                    line.everything
                );
            }
            if let Some(larger) = not_assessed(&lines) {
                let _ = writeln!(text, "    {larger}");
            }
        }
        text.push_str("\nIn words\n\n");
        for sentence in self.sentences(standing.wanted()) {
            wrapped(&mut text, "  ", &sentence);
            text.push('\n');
        }
        for line in self.verdict(contract, standing) {
            wrapped(&mut text, "", &line);
        }
        text
    }

    pub(crate) fn html(&self, contract: &Contract, standing: &Standing) -> String {
        let mut rows = String::new();
        for (name, lines) in self.by_column() {
            let _ = writeln!(rows, "<tr><th scope=\"rowgroup\" colspan=\"6\">{}</th></tr>", escaped(&name));
            for line in &lines {
                let class = if line.gain() > self.margin { " class=\"bad\"" } else { "" };
                let bar = |share: f64| {
                    format!(
                        "<td>{share:.0}<span class=\"bar\" style=\"width:{share:.0}%\" aria-hidden=\"true\"></span></td>"
                    )
                };
                let _ = writeln!(
                    rows,
                    "<tr{class}><th scope=\"row\">{}</th>{}{}{}{}{}</tr>",
                    tables(line.dimensions),
                    bar(line.chance),
                    bar(line.asking),
                    bar(line.typical),
                    bar(line.exposed),
                    bar(line.everything)
                );
            }
            if let Some(larger) = not_assessed(&lines) {
                let _ = writeln!(rows, "<tr><th scope=\"row\" colspan=\"6\">{larger}</th></tr>");
            }
        }
        let paragraphs =
            |lines: Vec<String>| lines.iter().map(|line| format!("<p>{}</p>\n", escaped(line))).collect::<String>();
        format!(
            "<!doctype html>\n<html lang=\"en-GB\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>Assessment of {name}</title><style>{STYLE}</style></head><body><main>\n\
             <h1>What an unlimited asker would learn from {name}</h1>\n{opening}<h2>Of 100, how many would be guessed right?</h2>\n\
             <table><thead><tr><th scope=\"col\">Tables</th><th scope=\"col\">without the data</th><th scope=\"col\">by who only \
             asks</th><th scope=\"col\">by who knows all others</th><th scope=\"col\">the easiest to find</th><th scope=\"col\">by \
             who knows all but this</th></tr></thead><tbody>\n{rows}</tbody></table>\n<h2>In words</h2>\n{words}<h2>What \
             follows</h2>\n{verdict}</main></body></html>\n",
            name = escaped(&self.dataset),
            opening = paragraphs(self.opening()),
            words = paragraphs(self.sentences(standing.wanted())),
            verdict = paragraphs(self.verdict(contract, standing)),
        )
    }

    fn opening(&self) -> Vec<String> {
        let often = match self.epochs {
            1 => "once".to_owned(),
            n => format!("{n} times, each with other noise"),
        };
        vec![
            format!(
                "At most {} people, homes or other units; served until {}, {often}; cells of fewer than {} are not shown.",
                thousands(self.units),
                self.until.format("%-d %B %Y"),
                self.threshold
            ),
            "An attribute was drawn by lot for some of them, every table was released with noise, and the release was attacked: \
             what is guessed right beyond the guess without data is what tables give away."
                .to_owned(),
        ]
    }

    /// The lines by attribute, in the order of their names.
    fn by_column(&self) -> Vec<(String, Vec<&AssessedColumn>)> {
        let mut found: Vec<(String, Vec<&AssessedColumn>)> = Vec::new();
        for line in &self.lines {
            let name = name(line);
            match found.last_mut().filter(|(last, _)| *last == name) {
                Some((_, lines)) => lines.push(line),
                None => found.push((name, vec![line])),
            }
        }
        found
    }

    fn sentences(&self, wanted: u32) -> Vec<String> {
        let of = |lines: &[&AssessedColumn], dimensions: u32| {
            lines.iter().find(|line| line.dimensions == dimensions).copied().cloned()
        };
        let each = self.by_column().into_iter().filter_map(|(name, lines)| {
            let line = of(&lines, wanted).or_else(|| lines.last().copied().cloned())?;
            let fewer = of(&lines, line.dimensions.saturating_sub(1)).map_or(String::new(), |fewer| {
                format!("; with {} {:.0} and {:.0}", tables(fewer.dimensions), fewer.typical, fewer.exposed)
            });
            let asking = match line.asking - line.chance {
                more if more < 3.0 => "no better".to_owned(),
                _ => format!("{:.0}", line.asking),
            };
            Some(format!(
                "{name}: of 100, how many would be guessed right? Without these data {:.0}. By someone asking clever questions: \
                 {asking}. By someone who knows everything else about everyone, with {}: {:.0}; the easiest to single out \
                 {:.0}{fewer}. {:.0} % stand alone in some table; those cells are never shown.",
                line.chance,
                tables(line.dimensions),
                line.typical,
                line.exposed,
                line.alone
            ))
        });
        let mut all: Vec<String> = each.collect();
        all.push(
            "Someone who knows everything about everybody but one thing of one person guesses that one thing as the last column \
             says. No table of counts withstands this: only a budget of questions would."
                .to_owned(),
        );
        all
    }

    fn verdict(&self, contract: &Contract, standing: &Standing) -> Vec<String> {
        let (wanted, passes) = (standing.wanted(), self.passes());
        if wanted <= passes {
            return vec![format!(
                "Good: {} of {} gain at most {:.0} points.",
                tables(wanted),
                self.dataset,
                self.margin
            )];
        }
        let mut said = Vec::new();
        if let Some(line) = self.worst(wanted.min(*super::DIMENSIONS.end())) {
            said.push(format!(
                "Too much: with {} {} gains {:.0} points, and {:.0} are the most.",
                tables(line.dimensions),
                name(line),
                line.gain(),
                self.margin
            ));
        }
        match &standing.decided {
            Some(why) => said.push(format!("Served all the same, for the steward decided so: {why}.")),
            None if passes == 0 => {
                said.push(format!("The node serves nothing of {} until this is mended.", self.dataset))
            }
            None => said.push(format!("The node serves {} of {} until this is mended.", tables(passes), self.dataset)),
        }
        said.push(format!(
            "To mend it: `dimensions = {}` for {} in node.toml, or in the contract; fewer columns or wider classes; a higher \
             threshold than {}; or the steward's decision: decision = {{ dimensions = {wanted}, by = \"…\", on = \"YYYY-MM-DD\", why = \"…\" }}.",
            passes.max(1),
            self.dataset,
            contract.closure.threshold
        ));
        said
    }
}

/// The words for larger tables, if smaller ones tell far too much.
fn not_assessed(lines: &[&AssessedColumn]) -> Option<&'static str> {
    let last = lines.last()?;
    (last.dimensions < *super::DIMENSIONS.end() && last.gain() > super::FAR).then_some("larger tables: more than that")
}

/// Breaks words into lines that fit a terminal.
fn wrapped(text: &mut String, indent: &str, words: &str) {
    let mut width = 0;
    for word in words.split(' ') {
        let length = word.chars().count();
        if width == 0 || width + 1 + length > WIDTH {
            text.push_str(if width == 0 { indent } else { "\n" });
            text.push_str(if width == 0 { "" } else { indent });
            width = indent.len();
        } else {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
}

/// As in "tenure, of each household" or "outcome, of rows of stops".
fn name(line: &AssessedColumn) -> String {
    if let Some(dataset) = line.column.strip_suffix(".*") {
        return format!("being in {dataset}, of {}", line.domain.replacen("units of", "each", 1));
    }
    let column = line.column.rsplit('.').next().unwrap_or(&line.column);
    match line.domain.strip_prefix("units of ") {
        Some(unit) if line.moved > 1.0 => {
            format!("{column}, of {unit}s whose home has it ({:.1} together)", line.moved)
        }
        Some(unit) => format!("{column}, of each {unit}"),
        None => format!("{column}, of {}", line.domain),
    }
}

fn tables(dimensions: u32) -> String {
    match dimensions {
        1 => "tables of one column".to_owned(),
        2 => "tables of two columns".to_owned(),
        3 => "tables of three columns".to_owned(),
        4 => "tables of four columns".to_owned(),
        n => format!("tables of {n} columns"),
    }
}

/// As in "300,000".
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The number of characters in a line.
const WIDTH: usize = 98;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:1rem;color:#111;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ccc;vertical-align:top}\
thead th{border-bottom:2px solid #111}.bar{display:block;height:.4rem;background:#1d5fa8}.bad .bar{background:#b3261e}\
.bad th::after{content:\" (too much)\";font-weight:normal}";
