//! A page for residents: which data were used for which purposes. It names nobody, and comes late.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use chrono::{Datelike, Months, NaiveDate};
use loda_answer::plain;
use loda_ledger::End;
use loda_ledger::audit::Question;
use serde_json::{Value, json};

/// Smaller numbers of questions are not told: behind one may stand one person's matter.
const FEWEST: usize = 5;

/// What was asked in one month, of these datasets and for this purpose.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// The number of questions that were answered.
    questions: usize,
    /// The boroughs that answered, as GSS codes.
    boroughs: BTreeSet<String>,
}

/// The uses by month (its first day), purpose and datasets.
pub(super) type Uses = BTreeMap<(NaiveDate, String, String), Use>;

/// The uses of the months that were over by a day.
pub(super) fn uses(found: &[Question], by: NaiveDate) -> Uses {
    let mut all = Uses::new();
    for question in found.iter().filter(|question| matches!(question.end(), Some(End::Answered { .. }))) {
        let begun = &question.begun;
        let day = begun.time.date_naive();
        let Some(month) = day.with_day(1).filter(|month| next(*month).is_some_and(|next| next <= by)) else { continue };
        let datasets: BTreeSet<&str> = begun.what.dataset.split(' ').collect();
        let datasets = datasets.into_iter().collect::<Vec<_>>().join(", ");
        let of = all.entry((month, begun.what.purpose.clone(), datasets)).or_default();
        of.questions = of.questions.saturating_add(1);
        let parts = question.released().map(|released| released.parts).unwrap_or_default();
        let boroughs = parts.into_iter().flat_map(|part| part.boroughs);
        of.boroughs.extend(boroughs.filter(|said| said.answer == "answered").map(|said| said.borough));
    }
    all
}

fn next(month: NaiveDate) -> Option<NaiveDate> {
    month.checked_add_months(Months::new(1))
}

fn told(number: usize) -> String {
    if number < FEWEST { format!("fewer than {FEWEST}") } else { number.to_string() }
}

/// The page for programs.
pub(super) fn to_json(federation: &str, uses: &Uses) -> Value {
    let one = |((month, purpose, datasets), of): (&(NaiveDate, String, String), &Use)| {
        json!({
            "month": month.format("%Y-%m").to_string(),
            "purpose": purpose,
            "datasets": datasets.split(", ").collect::<Vec<_>>(),
            "questions": if of.questions < FEWEST { Value::Null } else { json!(of.questions) },
            "questions_in_words": told(of.questions),
            "boroughs": if of.questions < FEWEST { Value::Null } else { json!(of.boroughs.len()) },
        })
    };
    json!({ "federation": federation, "uses": uses.iter().map(one).collect::<Vec<_>>() })
}

/// The page for people: one file without scripts, that any server can hand out.
pub(super) fn to_html(federation: &str, by: NaiveDate, uses: &Uses) -> String {
    let federation = escaped(federation);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en-GB\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>How your data were used – {federation}</title>\n<style>\n\
         :root {{ color-scheme: light dark }}\n\
         body {{ font: 1.05rem/1.55 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem }}\n\
         .wide {{ overflow-x: auto }}\n\
         table {{ border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }}\n\
         th, td {{ text-align: left; vertical-align: top; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8888 }}\n\
         td.number, th.number {{ text-align: right; padding-right: 0 }}\n</style>\n</head>\n<body>\n<main>\n\
         <h1>How your data were used</h1>\n\
         <p>Councils in <strong>{federation}</strong> answer statistical questions about their data together. No council hands \
         over its records, and no answer is about one person. This page says which data were used, for which purpose, and how \
         often. It leaves out the last weeks, and numbers of questions below {FEWEST}.</p>\n\
         <p>It covers the months that were over by {}.</p>\n",
        by.format("%-d %B %Y")
    );
    if uses.is_empty() {
        page.push_str("<p>There is no such month yet in which a question was answered.</p>\n");
    }
    let months: BTreeSet<NaiveDate> = uses.keys().map(|(month, _, _)| *month).collect();
    for month in months.into_iter().rev() {
        let named = month.format("%B %Y");
        let _written = write!(
            page,
            "<h2>{named}</h2>\n<div class=\"wide\"><table>\n<caption>Uses in {named}</caption>\n<thead><tr><th \
             scope=\"col\">Purpose</th><th scope=\"col\">Data</th><th scope=\"col\" class=\"number\">Questions</th><th \
             scope=\"col\" class=\"number\">Councils</th></tr></thead>\n<tbody>\n"
        );
        for ((_, purpose, datasets), of) in uses.iter().filter(|((of, _, _), _)| *of == month) {
            let _written = writeln!(
                page,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
                escaped(purpose),
                escaped(&datasets.replace('_', " ")),
                told(of.questions),
                if of.questions < FEWEST { "not told".to_owned() } else { of.boroughs.len().to_string() }
            );
        }
        page.push_str("</tbody>\n</table></div>\n");
    }
    page.push_str(
        "<h2>What you can ask</h2>\n<p>You have a right to know what your council holds about you, and to object to its use. \
         Ask your council's data protection officer. Independent auditors can check every question behind this page.</p>\n\
         </main>\n</body>\n</html>\n",
    );
    page
}

fn escaped(text: &str) -> String {
    let text = plain::line(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn uses() -> Uses {
        let of = |questions, boroughs: &[&str]| Use {
            questions,
            boroughs: boroughs.iter().map(|gss| (*gss).to_owned()).collect(),
        };
        let key = |month: &str, purpose: &str, datasets: &str| {
            (month.parse().unwrap(), purpose.to_owned(), datasets.to_owned())
        };
        Uses::from([
            (key("2026-09-01", "housing need", "council_tax, residents"), of(12, &["E09000001", "E09000002"])),
            (key("2026-10-01", "<script>alert(1)</script>", "residents"), of(4, &["E09000001"])),
        ])
    }

    #[test]
    fn a_page_names_uses_and_no_small_numbers() {
        let by = "2026-11-01".parse().unwrap();
        let page = to_html("London & co", by, &uses());
        for part in [
            "<html lang=\"en-GB\">",
            "London &amp; co",
            "<caption>Uses in September 2026</caption>",
            "council tax, residents",
            "<td class=\"number\">12</td><td class=\"number\">2</td>",
            "fewer than 5",
            "&lt;script&gt;",
            "over by 1 November 2026",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script") && !page.contains(">4<"), "{page}");
        assert!(to_html("x", by, &Uses::new()).contains("no such month yet"));
        let told = to_json("x", &uses());
        assert_eq!(told["uses"][0]["questions"], 12);
        assert!(told["uses"][1]["questions"].is_null() && told["uses"][1]["questions_in_words"] == "fewer than 5");
    }
}
