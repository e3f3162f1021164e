//! A plan as text: the effect of a question before it runs.

use loda_proto::v1::{Fragment, PrepareResponse, Verdict};

use loda_answer::cells::thousands;
use loda_answer::statement::{by_refusal, names, reason};
use loda_answer::{Detail, plain};

/// Each fragment with its verdicts, and the coordinator's steps after the merge.
pub fn explanation(prepared: &PrepareResponse, detail: Detail) -> String {
    let mut text = String::new();
    if prepared.fragments.is_empty() {
        text.push_str("No borough is asked: the coordinator answers from its own reference tables.\n\n");
    }
    for fragment in &prepared.fragments {
        text.push_str(&one(fragment, detail));
        text.push('\n');
    }
    if !prepared.after_merge.is_empty() {
        text.push_str(
            "From the figures that boroughs release, the coordinator then makes the answer. The last line is the first step:\n",
        );
        text.push_str(&plain_plan(&prepared.after_merge));
    }
    text
}

fn one(fragment: &Fragment, detail: Detail) -> String {
    let boroughs = match fragment.boroughs.as_slice() {
        [] => "no borough".to_owned(),
        [only] => names(&[only]),
        many => format!("{} boroughs", many.len()),
    };
    let mut text = format!("Question {} goes to {boroughs}\n", fragment.number.saturating_add(1));
    text.push_str(&plain::indented(&fragment.words, "  "));
    if detail == Detail::Verbose {
        text.push_str("\n  as SQL\n");
        text.push_str(&plain::indented(&fragment.sql, "    "));
    }
    text.push_str(&format!("\n  answer  {}\n", grid(fragment.grid)));
    if detail == Detail::Verbose {
        text.push_str(&format!(
            "  in the boroughs' logs it is the one with the SHA-256\n          {}\n",
            plain::line(&fragment.sha256)
        ));
    }
    text.push_str(&verdicts(&fragment.verdicts));
    text
}

fn grid(cells: u64) -> String {
    match cells {
        0 => "a group for each value that a borough has: there is no list of them".into(),
        1 => "1 group from each borough".into(),
        n => format!("{} groups from each borough", thousands(&n.to_string())),
    }
}

fn verdicts(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let said = |answer: &'static str| verdicts.iter().filter(move |verdict| verdict.answer == answer);
    let mut text = "  agreed  ".to_owned();
    let yes = said("yes").count();
    text.push_str(&if yes == verdicts.len() {
        format!("all {yes} boroughs would answer\n")
    } else {
        format!("{yes} of {} boroughs would answer\n", verdicts.len())
    });
    for (refusal, who) in by_refusal(said("no").map(|v| (v.borough.as_str(), v.refusal.as_ref()))) {
        text.push_str(&format!("          {} would not: {}\n", names(&who), reason(&refusal)));
        if !refusal.advice.is_empty() {
            text.push_str(&format!("            advice: {}\n", plain::line(&refusal.advice)));
        }
    }
    let is_unreached = |verdict: &&Verdict| !matches!(verdict.answer.as_str(), "yes" | "no");
    let unreached: Vec<_> = verdicts.iter().filter(is_unreached).map(|v| v.borough.as_str()).collect();
    if !unreached.is_empty() {
        text.push_str(&format!("          not reached: {}\n", names(&unreached)));
    }
    text
}

/// A plan's indentation carries its meaning, and tabs are not expected in it.
fn plain_plan(plan: &str) -> String {
    plain::indented(plan, "  ")
}

#[cfg(test)]
mod tests {
    use loda_proto::v1::Refusal;

    use super::*;

    fn verdict(number: u8, answer: &str) -> Verdict {
        let refusal = (answer == "no").then(|| Refusal {
            rule: "grid".into(),
            message: "3.1 million cells".into(),
            advice: "band age by 10 years".into(),
        });
        Verdict { borough: format!("E090000{number:02}"), answer: answer.into(), refusal }
    }

    #[test]
    fn verdicts_are_grouped() {
        let fragment = Fragment {
            number: 1,
            words: "Count people\nby outcome".into(),
            sql: "SELECT 1\u{1b}[0m".into(),
            sha256: "ab12".into(),
            boroughs: vec!["E09000001".into(), "E09000002".into()],
            grid: 96_000,
            verdicts: vec![verdict(1, "yes"), verdict(7, "no"), verdict(8, "no"), verdict(9, "unreachable")],
            ..Default::default()
        };
        let after_merge = "Sort\n  Projection".into();
        let text = explanation(
            &PrepareResponse { fragments: vec![fragment], after_merge, ..Default::default() },
            Detail::Verbose,
        );
        for expected in [
            "Question 2 goes to 2 boroughs\n  Count people\n  by outcome\n",
            "96,000 groups from each borough",
            "1 of 4 boroughs would answer",
            "Camden (E09000007), Croydon (E09000008) would not: grid: 3.1 million cells\n",
            "advice: band age by 10 years",
            "not reached: Ealing (E09000009)",
            "  Sort\n    Projection\n",
        ] {
            assert!(text.contains(expected), "{expected:?} not in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn one_voice_is_one_line() {
        assert_eq!(verdicts(&[verdict(1, "yes"), verdict(2, "yes")]), "  agreed  all 2 boroughs would answer\n");
    }
}
