//! `loda explain`.

use std::path::Path;

use loda_proto::v1::PrepareResponse;

use super::connection::connect;
use super::failure::Failure;
use super::session::Session;
use crate::args::Explain;
use crate::{exit, render};

pub(super) async fn run(explain: &Explain, config: Option<&Path>, session: &mut Session<'_>) -> Result<u8, Failure> {
    let sql = explain.question.text()?;
    let client = connect(config).await?;
    let prepared = client.prepare(&sql, &explain.question.purpose, true).await?;
    let detail = if explain.verbose { render::Detail::Verbose } else { render::Detail::Plain };
    let text = render::wrapped(&render::explanation(&prepared, detail), session.screen.width);
    session.out.write_all(text.as_bytes())?;
    if let Some(digest) = prepared.digest() {
        let how = format!("\nTo ask exactly this, and nothing else: loda query --as-explained {digest} …\n");
        session.out.write_all(render::wrapped(&how, session.screen.width).as_bytes())?;
    }
    session.out.flush()?;
    Ok(code(&prepared))
}

/// The exit code that the query itself would have now.
fn code(prepared: &PrepareResponse) -> u8 {
    let verdicts = || prepared.fragments.iter().flat_map(|fragment| &fragment.verdicts).map(|v| v.answer.as_str());
    let (all, any) = (|word: &str| verdicts().all(|answer| answer == word), |word: &str| verdicts().any(|a| a == word));
    if all("yes") {
        exit::COMPLETE
    } else if any("yes") {
        exit::PARTIAL
    } else if all("no") {
        exit::REFUSED
    } else {
        exit::NO_ANSWER
    }
}

#[cfg(test)]
mod tests {
    use loda_proto::v1::{Fragment, Verdict};

    use super::*;

    #[test]
    fn the_code_is_the_one_that_asking_would_give() {
        for (answers, expected) in [
            (&[][..], exit::COMPLETE),
            (&["yes", "yes"], exit::COMPLETE),
            (&["yes", "no"], exit::PARTIAL),
            (&["yes", "unreachable"], exit::PARTIAL),
            (&["no", "no"], exit::REFUSED),
            (&["no", "unreachable"], exit::NO_ANSWER),
        ] {
            let verdicts = answers.iter().map(|answer| Verdict { answer: (*answer).into(), ..Default::default() });
            let fragment = Fragment { verdicts: verdicts.collect(), ..Default::default() };
            assert_eq!(code(&PrepareResponse { fragments: vec![fragment], ..Default::default() }), expected);
        }
    }
}
