//! The statement of a result, in a few lines.

use std::collections::BTreeSet;

use loda_proto::v1::{BoroughAnswer, ColumnError, Lack, Part, Refusal, Statement};

use crate::cells::thousands;
use crate::{boroughs, plain};

/// The number of London figures with missing cells that are listed at most.
const LISTED: usize = 10;

/// How much of a statement is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Protection in plain words.
    Plain,
    /// The method's name and its parameters too.
    Verbose,
}

/// For each part its headline, notes, missing boroughs and withheld values. After the parts, the errors of the answer's
/// columns, the notes and a verdict.
/// Parts with one headline are written under it, each line once. The text is safe for a terminal.
pub fn statement(statement: &Statement, detail: Detail) -> String {
    let mut sections: Vec<(String, Vec<&Part>)> = Vec::new();
    for part in &statement.parts {
        let headline = headline(part);
        match sections.iter_mut().find(|(known, _)| *known == headline) {
            Some((_, parts)) => parts.push(part),
            None => sections.push((headline, vec![part])),
        }
    }
    let mut text = String::new();
    for (headline, parts) in sections {
        let all = |words: &dyn Fn(&Part) -> String| parts.iter().map(|part| words(part)).collect::<String>();
        let body = [all(&|part| body(part, detail)), withheld(&parts), all(&lacking)].concat();
        let mut lines: Vec<String> = Vec::new();
        for item in items(&body) {
            if !lines.contains(&item) {
                lines.push(item);
            }
        }
        text.push_str(&format!("{headline}\n{}", lines.concat()));
    }
    text.push_str(&errors(statement));
    for note in &statement.notes {
        text.push_str(&format!("note: {}\n", plain::line(note)));
    }
    text.push_str(&ending(statement));
    text
}

/// The items of a part's body: each line with the lines that are indented below it.
fn items(body: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in body.split_inclusive('\n') {
        match items.last_mut() {
            Some(item) if line.starts_with("    ") => item.push_str(line),
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// As in "council_tax (as at 2025-12-31): counts households; 33 of 33 boroughs answered".
fn headline(part: &Part) -> String {
    let asked = part.boroughs.iter().filter(|borough| borough.answer != "not asked").count();
    let answered = part.boroughs.iter().filter(|borough| borough.answer == "answered").count();
    let mut text = format!("{}{}: ", plain::line(&part.dataset), as_at(part));
    if !part.units.is_empty() {
        text.push_str(&format!("counts {}; ", units_in_words(&part.units)));
    }
    text.push_str(&format!("{answered} of {asked} borough{} answered", if asked == 1 { "" } else { "s" }));
    if part.london && answered > 1 && part.method != "public" {
        text.push_str("; London figures are made of the figures that boroughs released");
    }
    text
}

/// As in " (as at 2025-11-30 to 2025-12-31)": the days of the boroughs' data.
fn as_at(part: &Part) -> String {
    let days =
        part.boroughs.iter().filter(|borough| borough.answer == "answered").map(|borough| borough.as_at.as_str());
    let days: BTreeSet<&str> = days.filter_map(|day| day.get(..10)).collect();
    match (days.first(), days.last()) {
        (Some(first), Some(last)) if first == last => format!(" (as at {})", plain::line(first)),
        (Some(first), Some(last)) => format!(" (as at {} to {})", plain::line(first), plain::line(last)),
        _ => String::new(),
    }
}

fn body(part: &Part, detail: Detail) -> String {
    let mut text = String::new();
    if !part.boroughs.iter().any(|borough| borough.answer == "answered") {
        text.push_str(&missing(part));
        return text;
    }
    text.push_str(&protection(part, detail));
    for note in &part.notes {
        text.push_str(&format!("  note: {}\n", plain::line(note)));
    }
    if !part.assessed.is_empty() {
        text.push_str(&format!("  assessed: {}\n", plain::line(&part.assessed)));
    }
    text.push_str(&covers(part));
    text.push_str(&missing(part));
    text
}

/// As in "  protected: each figure is changed a little at random, and counts below 10 are withheld". A method of newer
/// software has its own name. Where no borough answered, nothing is to be said.
fn protection(part: &Part, detail: Detail) -> String {
    if part.method.is_empty() {
        return String::new();
    }
    let parameters = plain::line(&part.parameters);
    let threshold = parameters.split(", ").find_map(|one| one.strip_prefix("threshold "));
    let words = match part.method.as_str() {
        "cell-key" => {
            let below = threshold.map_or_else(|| "small counts".to_owned(), |least| format!("counts below {least}"));
            format!(
                "protected: each figure is changed a little at random; {below}, and what is made of them, are withheld"
            )
        }
        "threshold" => "protected: figures of few units, or of few large ones, are withheld".to_owned(),
        "public" => "published: shown as it is".to_owned(),
        "unprotected" => "NOT PROTECTED: exact figures".to_owned(),
        other => format!("protected: {}", plain::line(other)),
    };
    let known = matches!(part.method.as_str(), "cell-key" | "threshold" | "public" | "unprotected");
    let numbers = match (detail, known, parameters.is_empty()) {
        (Detail::Plain, true, _) | (Detail::Plain | Detail::Verbose, false, true) => String::new(),
        (Detail::Plain | Detail::Verbose, false, false) => format!(" ({parameters})"),
        (Detail::Verbose, true, true) => format!(" ({})", part.method),
        (Detail::Verbose, true, false) => format!(" ({}: {parameters})", part.method),
    };
    format!("  {words}{numbers}\n")
}

/// The most periods of data that are listed.
const PERIODS: usize = 6;

/// As in "  data: stop_search until 2020-11-30: Camden (E09000007)".
fn covers(part: &Part) -> String {
    let mut periods: Vec<(&str, Vec<&str>)> = Vec::new();
    for (words, who) in
        part.boroughs.iter().flat_map(|b| b.covers.iter().map(|words| (words.as_str(), b.borough.as_str())))
    {
        match periods.iter_mut().find(|(known, _)| *known == words) {
            Some((_, all)) => all.push(who),
            None => periods.push((words, vec![who])),
        }
    }
    let line = |(words, who): &(&str, Vec<&str>)| {
        let who = if who.len() > MANY { format!("{} boroughs", who.len()) } else { names(who) };
        format!("  data: {}: {who}\n", plain::line(words))
    };
    let more = periods.len().saturating_sub(PERIODS);
    let rest = if more > 0 { format!("  data: {more} more periods\n") } else { String::new() };
    periods.iter().take(PERIODS).map(line).chain([rest]).collect()
}

/// If more boroughs than this give the same reason, the text counts them and does not name them. `--format json` names
/// them.
const MANY: usize = 12;

/// The boroughs that refused, by reason, and the boroughs that did not answer.
fn missing(part: &Part) -> String {
    let mut text = String::new();
    let refusing = part.boroughs.iter().filter(|borough| borough.answer == "refused");
    for (refusal, who) in by_refusal(refusing.map(|b| (b.borough.as_str(), b.refusal.as_ref()))) {
        let who = if who.len() > MANY { format!("{} boroughs", who.len()) } else { names(&who) };
        text.push_str(&format!("  refused: {who}: {}\n", reason(&refusal)));
        if !refusal.advice.is_empty() {
            text.push_str(&format!("    advice: {}\n", plain::line(&refusal.advice)));
        }
    }
    // Any word that is neither an answer nor a refusal counts as no answer. A word of newer software must not hide a
    // gap.
    let is_silent = |b: &&BoroughAnswer| !matches!(b.answer.as_str(), "answered" | "refused" | "not asked");
    let silent: Vec<_> = part.boroughs.iter().filter(is_silent).map(|b| b.borough.as_str()).collect();
    if !silent.is_empty() {
        text.push_str(&format!("  no answer: {}\n", names(&silent)));
    }
    text
}

/// As in "standard error: people ±2.2; share ±0.011 (±0.024 in the least certain row)".
fn errors(statement: &Statement) -> String {
    let of_column = |error: &ColumnError| {
        let column = plain::line(&error.column);
        let mean = rough(error.standard_error);
        let most = if error.at_most > error.standard_error * 1.1 {
            format!(", ±{} in the least certain row", rough(error.at_most))
        } else {
            String::new()
        };
        format!("{column} ±{mean}{most}")
    };
    let errors: Vec<String> = statement.errors.iter().map(of_column).collect();
    if errors.is_empty() {
        return String::new();
    }
    let lacks = statement.parts.iter().any(|part| part.lacking > 0);
    let of = if lacks { ", of what each figure counts" } else { "" };
    format!("standard error{of}: {}. 19 of 20 figures are within twice their error\n", errors.join("; "))
}

/// A number with two significant digits.
fn rough(number: f64) -> String {
    let decimals = decimals_of(number).unwrap_or(0);
    if decimals > 0 {
        return format!("{number:.*}", usize::try_from(decimals).unwrap_or(0));
    }
    let unit = 10_f64.powi(-decimals);
    thousands(&format!("{:.0}", (number / unit).round() * unit))
}

/// The decimals down to the second significant digit of an error; below zero they are digits before the point. `None`:
/// it is not an error.
pub fn decimals_of(error: f64) -> Option<i32> {
    #[allow(clippy::cast_possible_truncation, reason = "the logarithm of a float is a small number")]
    (error.is_finite() && error > 0.0).then(|| (1.0 - error.log10().floor()).clamp(-15.0, 9.0) as i32)
}

/// What the parts of one headline withhold, together: a reader of totals and their rows sees one answer.
fn withheld(parts: &[&Part]) -> String {
    let mut text = String::new();
    if parts.iter().any(|part| part.open) {
        text.push_str("  groups that are too small are not listed, and how many they are is not said\n");
    }
    let sum = |of: &dyn Fn(&Part) -> u64| {
        let told = parts.iter().filter(|part| !part.open).map(|part| of(part));
        told.fold(0, u64::saturating_add)
    };
    let number = |n: u64| thousands(&n.to_string());
    let (withheld, all) = (sum(&|part| part.withheld), sum(&|part| part.values));
    if withheld > 0 {
        text.push_str(&format!(
            "  withheld: {} of the {} figures that this is made of\n",
            number(withheld),
            number(all)
        ));
    }
    text
}

fn lacking(part: &Part) -> String {
    let total = part.lacking.max(part.lacks.len() as u64);
    let answered = part.boroughs.iter().any(|borough| borough.answer == "answered");
    if total == 0 || !answered {
        return String::new();
    }
    let shown = part.lacks.len().min(LISTED);
    let which = if (shown as u64) < total { format!(", the first {shown}") } else { String::new() };
    let mut text = format!(
        "  incomplete: {} London figure{} without every borough's figure{which}:\n",
        thousands(&total.to_string()),
        if total == 1 { "" } else { "s" }
    );
    for lack in part.lacks.iter().take(LISTED) {
        text.push_str(&format!("    {}\n", lack_in_words(lack)));
    }
    text
}

/// As in "outcome = Arrest, people: 2 withheld, 1 no answer".
fn lack_in_words(lack: &Lack) -> String {
    let cell = if lack.cell.is_empty() { "all".into() } else { plain::line(&lack.cell) };
    let numbers = [
        (lack.withheld, "withheld"),
        (lack.refused, "refused"),
        (lack.no_answer, "no answer"),
        (lack.no_data, "no data"),
    ];
    let parts: Vec<_> =
        numbers.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    format!("{cell}, {}: {}", plain::line(&lack.figure), parts.join(", "))
}

fn ending(statement: &Statement) -> String {
    // Of figures that are not listed it is not known why they lack cells.
    let is_no_data = |lack: &Lack| lack.no_data > 0 && [lack.withheld, lack.refused, lack.no_answer] == [0; 3];
    let lacks = |part: &Part| part.lacking > part.lacks.len() as u64 || !part.lacks.iter().all(is_no_data);
    let anything_withheld = statement.parts.iter().any(|part| part.open || part.withheld > 0 || lacks(part));
    let in_part = statement.parts.iter().any(|part| part.in_part);
    let nobody = !statement.parts.is_empty() && statement.parts.iter().all(asks_nobody);
    let unanswered = is_unanswered(statement);
    let estimated = statement.parts.iter().any(|part| part.estimated);
    let no_data = statement.parts.iter().any(|part| part.no_data);
    let is_empty = |part: &Part| part.values == 0 && !part.open && part.method != "public";
    let empty = !statement.parts.is_empty() && statement.parts.iter().all(is_empty);
    let verdict = match (is_whole(statement), anything_withheld) {
        (false, _) if nobody => "NOBODY WAS ASKED: the conditions leave no borough",
        (true, false) if no_data => "all boroughs answered; their data do not reach some figures, which are [z]",
        (true, false) if empty => "all boroughs answered; nothing in their data meets the conditions",
        (true, false) if in_part => "all boroughs answered; figures marked 'in part' leave out small groups",
        (true, false) if estimated => {
            "all boroughs answered; figures marked 'estimated' hold estimates of small groups"
        }
        (true, false) => "complete, nothing withheld",
        (true, true) => "all boroughs answered; some figures are withheld",
        (false, _) if unanswered => "NO ANSWER: no borough that was asked answered",
        (false, _) => "PARTIAL: not every borough that was asked answered",
    };
    let mut text = verdict.to_owned();
    if !statement.purpose.is_empty() {
        text.push_str(&format!("; purpose: {}", plain::line(&statement.purpose)));
    }
    if !statement.query_id.is_empty() {
        text.push_str(&format!("; query {}", plain::line(&statement.query_id)));
    }
    text.push('\n');
    text
}

/// Whether the conditions of a part leave no borough to ask.
fn asks_nobody(part: &Part) -> bool {
    !part.boroughs.is_empty() && part.boroughs.iter().all(|borough| borough.answer == "not asked")
}

/// Whether no borough answered any part: there is no figure to show.
#[must_use]
pub fn is_unanswered(statement: &Statement) -> bool {
    let answered = |part: &Part| part.boroughs.iter().any(|borough| borough.answer == "answered");
    !statement.parts.is_empty() && !statement.parts.iter().any(answered)
}

/// Whether every borough that was asked answered, and each part asked one. A statement that contradicts itself is not
/// whole.
#[must_use]
pub fn is_whole(statement: &Statement) -> bool {
    if statement.parts.iter().any(asks_nobody) {
        return false;
    }
    let answers = statement.parts.iter().flat_map(|part| &part.boroughs).map(|b| b.answer.as_str());
    statement.complete && answers.filter(|answer| *answer != "not asked").all(|answer| answer == "answered")
}

/// Words for unit domains, as in "people", or the contract's own words, as in "incidents, not people".
pub fn units_in_words(units: &[String]) -> String {
    let words = units.iter().map(|unit| match unit.as_str() {
        "person" => "people".to_owned(),
        "household" => "households".to_owned(),
        "property" => "properties".to_owned(),
        "business" => "businesses".to_owned(),
        "row" => "records, not people".to_owned(),
        other if other.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !other.ends_with('s') => {
            format!("{}s", plain::line(other).replace('_', " "))
        }
        other => plain::line(other),
    });
    words.collect::<Vec<_>>().join(" and ")
}

/// Groups the boroughs that gave the same refusal. The groups are in the order of their first boroughs.
pub fn by_refusal<'a>(refusing: impl Iterator<Item = (&'a str, Option<&'a Refusal>)>) -> Vec<(Refusal, Vec<&'a str>)> {
    let mut groups: Vec<(Refusal, Vec<&str>)> = Vec::new();
    for (borough, refusal) in refusing {
        let refusal = refusal.cloned().unwrap_or_default();
        match groups.iter_mut().find(|(known, _)| *known == refusal) {
            Some((_, who)) => who.push(borough),
            None => groups.push((refusal, vec![borough])),
        }
    }
    groups
}

/// The rule and the message, as in "agreement: no agreement covers this purpose".
pub fn reason(refusal: &Refusal) -> String {
    match (refusal.rule.as_str(), refusal.message.as_str()) {
        ("", "") => "no reason given".into(),
        (rule, "") => plain::line(rule),
        ("", message) => plain::line(message),
        (rule, message) => format!("{}: {}", plain::line(rule), plain::line(message)),
    }
}

/// The names and codes of boroughs, separated by commas.
pub fn names(codes: &[&str]) -> String {
    codes.iter().map(|code| boroughs::named(code)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn borough(number: u8, answer: &str) -> BoroughAnswer {
        let refusal = (answer == "refused").then(|| Refusal {
            rule: "agreement".into(),
            message: "no agreement covers this purpose".into(),
            advice: String::new(),
        });
        BoroughAnswer { borough: format!("E090000{number:02}"), answer: answer.into(), refusal, ..Default::default() }
    }

    fn stop_search(boroughs: Vec<BoroughAnswer>) -> Part {
        Part {
            dataset: "stop_search".into(),
            method: "threshold".into(),
            parameters: "t = 10".into(),
            units: vec!["incidents, not people".into()],
            values: 1320,
            boroughs,
            ..Default::default()
        }
    }

    #[test]
    fn all_well_is_three_lines() {
        let parts = vec![stop_search(vec![borough(1, "answered"), borough(2, "answered"), borough(3, "not asked")])];
        let whole = Statement { complete: true, parts, query_id: "q7".into(), ..Default::default() };
        assert_eq!(
            statement(&whole, Detail::Plain),
            "stop_search: counts incidents, not people; 2 of 2 boroughs answered\n  \
               protected: figures of few units, or of few large ones, are withheld\n\
             complete, nothing withheld; query q7\n"
        );
    }

    #[test]
    fn parts_that_read_alike_are_written_once_and_the_methods_numbers_are_told_who_asks() {
        let cells = |dataset: &str| Part {
            dataset: dataset.into(),
            method: "cell-key".into(),
            parameters: "modulus 4096, max noise 8, variance 5, threshold 10".into(),
            ..stop_search(vec![borough(1, "answered")])
        };
        let parts = vec![cells("a"), cells("b"), cells("a"), cells("a")];
        let whole = Statement { complete: true, parts, ..Default::default() };
        let plain = statement(&whole, Detail::Plain);
        assert_eq!(plain.matches("1 of 1 borough answered\n").count(), 2, "{plain}");
        assert!(plain.contains("; counts below 10, and what") && !plain.contains("modulus"), "{plain}");
        let numbers = " (cell-key: modulus 4096, max noise 8, variance 5, threshold 10)\n";
        assert_eq!(statement(&whole, Detail::Verbose).matches(numbers).count(), 2);
    }

    #[test]
    fn what_holds_estimates_or_lacks_data_is_not_told_as_complete() {
        let verdict = |part: Part| {
            let parts = vec![part];
            statement(&Statement { complete: true, parts, ..Default::default() }, Detail::Plain)
        };
        let part = || stop_search(vec![borough(1, "answered")]);
        assert!(verdict(part()).ends_with("complete, nothing withheld\n"));
        let estimated = verdict(Part { estimated: true, ..part() });
        assert!(estimated.ends_with("hold estimates of small groups\n"), "{estimated}");
        let beyond = verdict(Part { estimated: true, no_data: true, ..part() });
        assert!(beyond.ends_with("which are [z]\n"), "{beyond}");
        let in_part = verdict(Part { in_part: true, ..part() });
        assert!(in_part.ends_with("leave out small groups\n"), "{in_part}");
        let after = Lack { no_data: 33, ..Lack::default() };
        // Of figures that no borough's data reach, none could be released.
        let after = verdict(Part { no_data: true, values: 0, lacking: 1, lacks: vec![after], ..part() });
        assert!(after.ends_with("which are [z]\n"), "{after}");
        let nothing = verdict(Part { values: 0, ..part() });
        assert!(nothing.ends_with("nothing in their data meets the conditions\n"), "{nothing}");
    }

    #[test]
    fn parts_with_one_headline_share_it() {
        let part = |withheld: u64| Part { withheld, ..stop_search(vec![borough(1, "answered")]) };
        let parts = vec![part(1), part(2), part(1)];
        let text = statement(&Statement { complete: true, parts, ..Default::default() }, Detail::Plain);
        assert_eq!(text.matches("1 of 1 borough answered").count(), 1, "{text}");
        assert_eq!(text.matches("  protected: ").count(), 1, "{text}");
        assert!(text.contains("  withheld: 4 of the 3,960 figures"), "{text}");
    }

    #[test]
    fn everything_missing_is_named() {
        let answers = [(1, "answered"), (7, "refused"), (8, "refused"), (12, "no answer"), (13, "unheard of")];
        let lack = Lack {
            cell: "outcome = Arrest".into(),
            figure: "n".into(),
            withheld: 2,
            no_answer: 1,
            no_data: 4,
            refused: 0,
        };
        let mut part = Part {
            withheld: 1234,
            lacks: vec![lack; 12],
            lacking: 40,
            london: true,
            ..stop_search(answers.map(|(number, answer)| borough(number, answer)).to_vec())
        };
        if let Some(first) = part.boroughs.first_mut() {
            first.covers = vec!["stop_search until 2020-11-30".into()];
        }
        let notes = vec!["exact counts give no protection against differencing".into()];
        let text = statement(&Statement { parts: vec![part], notes, ..Default::default() }, Detail::Plain);
        for expected in [
            "1 of 5 boroughs answered\n",
            "  refused: Camden (E09000007), Croydon (E09000008): agreement: no agreement covers this purpose\n",
            "  no answer: Hackney (E09000012), Hammersmith and Fulham (E09000013)\n",
            "  withheld: 1,234 of the 1,320 figures that this is made of\n",
            "  incomplete: 40 London figures without every borough's figure, the first 10:\n",
            "    outcome = Arrest, n: 2 withheld, 1 no answer, 4 no data\n",
            "  data: stop_search until 2020-11-30: City of London (E09000001)\n",
            "note: exact counts",
            "PARTIAL",
        ] {
            assert!(text.contains(expected), "{expected:?} not in\n{text}");
        }
        assert_eq!(text.matches("outcome = Arrest").count(), 10);
    }

    #[test]
    fn errors_have_two_digits() {
        let error = |column: &str, standard_error: f64, at_most: f64| ColumnError {
            column: column.into(),
            standard_error,
            at_most,
        };
        let errors =
            vec![error("people", 2.236, 2.3), error("share", 0.011_49, 0.0239), error("cost", 9_546.0, 9_546.0)];
        let text = statement(&Statement { errors, ..Default::default() }, Detail::Plain);
        let expected =
            "standard error: people ±2.2; share ±0.011, ±0.024 in the least certain row; cost ±9,500. 19 of 20 figures";
        assert!(text.contains(expected), "{text}");
        assert_eq!([0.0, -1.0, f64::NAN].map(decimals_of), [None; 3]);
    }

    #[test]
    fn a_question_that_nobody_was_asked_is_not_complete() {
        let parts = vec![stop_search(vec![borough(1, "not asked"), borough(2, "not asked")])];
        let nobody = Statement { complete: true, parts, ..Default::default() };
        assert!(!is_whole(&nobody) && statement(&nobody, Detail::Plain).contains("NOBODY WAS ASKED"));
    }

    #[test]
    fn a_statement_cannot_drive_the_terminal() {
        let part = Part { dataset: "\u{1b}[2Jx".into(), ..stop_search(vec![borough(1, "answered")]) };
        let whole = Statement { parts: vec![part], notes: vec!["a\nb".into()], ..Default::default() };
        let text = statement(&whole, Detail::Verbose);
        assert!(!text.contains('\u{1b}') && text.contains("note: a b\n"), "{text}");
    }
}
