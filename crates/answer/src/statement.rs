//! The statement of a result, in a few lines.

use loda_proto::v1::{BoroughAnswer, Lack, Part, Refusal, Statement};

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

/// For each part its headline, errors, missing boroughs and withheld values. After the parts, the notes and a verdict.
/// Parts that read alike are written once. The text is safe for a terminal.
pub fn statement(statement: &Statement, detail: Detail) -> String {
    let mut parts: Vec<([String; 2], usize)> = Vec::new();
    for part in &statement.parts {
        let words = [headline(part), body(part, detail)];
        match parts.iter_mut().find(|(known, _)| *known == words) {
            Some((_, times)) => *times = times.saturating_add(1),
            None => parts.push((words, 1)),
        }
    }
    let mut text = String::new();
    for ([headline, body], times) in parts {
        let tables = if times > 1 { format!("; {times} tables alike") } else { String::new() };
        text.push_str(&format!("{headline}{tables}\n{body}"));
    }
    for note in &statement.notes {
        text.push_str(&format!("note: {}\n", plain::line(note)));
    }
    text.push_str(&ending(statement));
    text
}

/// As in "council_tax: counts households; 33 of 33 boroughs answered".
fn headline(part: &Part) -> String {
    let asked = part.boroughs.iter().filter(|borough| borough.answer != "not asked").count();
    let answered = part.boroughs.iter().filter(|borough| borough.answer == "answered").count();
    let mut text = format!("{}: ", plain::line(&part.dataset));
    if !part.units.is_empty() {
        text.push_str(&format!("counts {}; ", units_in_words(&part.units)));
    }
    text.push_str(&format!("{answered} of {asked} boroughs answered"));
    if part.london {
        text.push_str("; London figures add up the figures that boroughs released");
    }
    text
}

fn body(part: &Part, detail: Detail) -> String {
    let mut text = protection(part, detail);
    text.push_str(&errors(part));
    if !part.assessed.is_empty() {
        text.push_str(&format!("  assessed: {}\n", plain::line(&part.assessed)));
    }
    text.push_str(&covers(part));
    text.push_str(&missing(part));
    text.push_str(&withheld(part));
    text.push_str(&lacking(part));
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
            format!("protected: each figure is changed a little at random, and {below} are withheld")
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

/// As in "  standard error: COUNT(*) ±2.2; SUM(weekly_cost) ±9546.0 (at most ±12004.1)".
fn errors(part: &Part) -> String {
    if part.errors.is_empty() {
        return String::new();
    }
    let errors: Vec<String> = part.errors.iter().map(|e| plain::line(e)).collect();
    format!("  standard error: {}\n", errors.join("; "))
}

fn withheld(part: &Part) -> String {
    if part.open {
        return "  groups that are too small are not listed, and how many they are is not said\n".to_owned();
    }
    if part.withheld == 0 {
        return String::new();
    }
    let number = |n: u64| thousands(&n.to_string());
    format!("  withheld: {} of {} values, shown as [c]\n", number(part.withheld), number(part.values))
}

fn lacking(part: &Part) -> String {
    let total = part.lacking.max(part.lacks.len() as u64);
    if total == 0 {
        return String::new();
    }
    let shown = part.lacks.len().min(LISTED);
    let which = if (shown as u64) < total { format!(", the first {shown}") } else { String::new() };
    let mut text = format!(
        "  too low: {} London figure{} without every borough's cell{which}:\n",
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
    let anything_withheld = statement.parts.iter().any(|part| part.open || part.withheld > 0 || part.lacking > 0);
    let nobody = !statement.parts.is_empty() && statement.parts.iter().all(asks_nobody);
    let verdict = match (is_whole(statement), anything_withheld) {
        (false, _) if nobody => "NOBODY WAS ASKED: the conditions leave no borough",
        (true, false) => "complete, nothing withheld",
        (true, true) => "complete, with values withheld",
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
        assert_eq!(plain.matches("1 of 1 boroughs answered; 3 tables alike\n").count(), 1, "{plain}");
        assert!(
            plain.contains("at random, and counts below 10 are withheld\n") && !plain.contains("modulus"),
            "{plain}"
        );
        let numbers = " (cell-key: modulus 4096, max noise 8, variance 5, threshold 10)\n";
        assert_eq!(statement(&whole, Detail::Verbose).matches(numbers).count(), 2);
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
            "1 of 5 boroughs answered; London figures add up the figures that boroughs released\n",
            "  refused: Camden (E09000007), Croydon (E09000008): agreement: no agreement covers this purpose\n",
            "  no answer: Hackney (E09000012), Hammersmith and Fulham (E09000013)\n",
            "  withheld: 1,234 of 1,320 values, shown as [c]\n",
            "  too low: 40 London figures without every borough's cell, the first 10:\n",
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
