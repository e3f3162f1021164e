//! Faults whose words may hold what a record holds.

use std::error::Error;

/// The words are for the terminal of whoever checks, and for no log; what is plain is for both.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(crate) struct Quoting {
    pub(crate) words: String,
    pub(crate) plain: String,
}

impl Quoting {
    pub(crate) fn new(words: impl Into<String>, plain: impl Into<String>) -> Self {
        Self { words: words.into(), plain: plain.into() }
    }
}

/// A fault for the log, where the command that is named says more of it.
pub(crate) fn plain(fault: &anyhow::Error, command: &str) -> String {
    match plainly(fault.chain()) {
        (said, true) => format!("{said}; `loda-node {command}` says more"),
        (said, false) => said,
    }
}

/// A fault that others hold too, as one of our own.
pub(crate) fn copied(fault: &(dyn Error + 'static)) -> anyhow::Error {
    let reasons = || anyhow::Chain::new(fault);
    match plainly(reasons()) {
        (plain, true) => {
            let words: Vec<_> = reasons().map(ToString::to_string).collect();
            Quoting::new(words.join(": "), plain).into()
        }
        (said, false) => anyhow::anyhow!(said),
    }
}

/// Reasons in plain words, to the first that quotes, and whether there is one: what comes after it may quote again.
fn plainly<'a>(reasons: impl Iterator<Item = &'a (dyn Error + 'static)>) -> (String, bool) {
    let mut said = Vec::new();
    for reason in reasons {
        if let Some(quoting) = reason.downcast_ref::<Quoting>() {
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
    use crate::mapping::cause;

    #[test]
    fn a_value_stays_out_of_the_log_however_it_came() {
        let fault = || Err::<(), _>(Quoting::new("has 'Maria Okafor'", "has another header"));
        let direct = fault().context("people.csv").context("source 'people'").unwrap_err();
        assert_eq!(format!("{direct:#}"), "source 'people': people.csv: has 'Maria Okafor'");
        let told = "source 'people': people.csv: has another header; `loda-node check` says more";
        assert_eq!(plain(&direct, "check"), told);
        let through = DataFusionError::External(direct.into());
        assert_eq!(plain(&cause(through), "check"), told);
        // Both sides of a join hold it.
        let again = fault().context("people.csv").context("source 'people'").unwrap_err();
        let shared = std::sync::Arc::new(DataFusionError::External(again.into()));
        let other = std::sync::Arc::clone(&shared);
        assert_eq!(plain(&cause(DataFusionError::Shared(shared)), "check"), told);
        drop(other);
        let value = DataFusionError::Execution("cannot cast 'Maria Okafor'".to_owned());
        assert_eq!(plain(&cause(value), "check"), "the mapping failed on a value; `loda-node check` says more");
    }
}
