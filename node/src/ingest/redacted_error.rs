//! Errors whose words may quote a record.

use std::error::Error;

/// `words` are for the terminal of the person who checks, and for no log. `plain` is for both.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(crate) struct RedactedError {
    pub(crate) words: String,
    pub(crate) plain: String,
}

impl RedactedError {
    pub(crate) fn new(words: impl Into<String>, plain: impl Into<String>) -> Self {
        Self { words: words.into(), plain: plain.into() }
    }
}

/// The text of a fault for the log. If it leaves words out, it names the command that prints them.
pub(crate) fn plain(fault: &anyhow::Error, command: &str) -> String {
    match plainly(fault.chain()) {
        (said, true) => format!("{said}; `loda-node {command}` says more"),
        (said, false) => said,
    }
}

/// A copy of a fault that others hold too.
pub(crate) fn copied(fault: &(dyn Error + 'static)) -> anyhow::Error {
    let reasons = || anyhow::Chain::new(fault);
    match plainly(reasons()) {
        (plain, true) => {
            let words: Vec<_> = reasons().map(ToString::to_string).collect();
            RedactedError::new(words.join(": "), plain).into()
        }
        (said, false) => anyhow::anyhow!(said),
    }
}

/// The reasons in plain words, up to the first that may quote a record, and whether there is such a reason. Reasons
/// after it may quote the record again.
fn plainly<'a>(reasons: impl Iterator<Item = &'a (dyn Error + 'static)>) -> (String, bool) {
    let mut said = Vec::new();
    for reason in reasons {
        if let Some(quoting) = reason.downcast_ref::<RedactedError>() {
            said.push(quoting.plain.clone());
            return (said.join(": "), true);
        }
        said.push(reason.to_string());
    }
    (said.join(": "), false)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use datafusion::common::DataFusionError;

    use super::*;
    use crate::ingest::mapping::cause;

    #[test]
    fn a_value_stays_out_of_the_log_however_it_came() {
        let fault = || Err::<(), _>(RedactedError::new("has 'Maria Okafor'", "has another header"));
        let direct = fault().context("people.csv").context("source 'people'").unwrap_err();
        assert_eq!(format!("{direct:#}"), "source 'people': people.csv: has 'Maria Okafor'");
        let told = "source 'people': people.csv: has another header; `loda-node check` says more";
        assert_eq!(plain(&direct, "check"), told);
        let through = DataFusionError::External(direct.into());
        assert_eq!(plain(&cause(through), "check"), told);
        // Both sides of a join hold the fault.
        let again = fault().context("people.csv").context("source 'people'").unwrap_err();
        let shared = std::sync::Arc::new(DataFusionError::External(again.into()));
        let other = std::sync::Arc::clone(&shared);
        assert_eq!(plain(&cause(DataFusionError::Shared(shared)), "check"), told);
        drop(other);
        let value = DataFusionError::Execution("cannot cast 'Maria Okafor'".to_owned());
        assert_eq!(plain(&cause(value), "check"), "the mapping failed on a value; `loda-node check` says more");
    }
}
