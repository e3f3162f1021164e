//! `loda-node decide`: writes into node.toml who decided about findings, and why.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use chrono::NaiveDate;
use loda_contract::Contract;

use crate::config::Config;

/// A decision about one dataset.
pub(crate) struct Decision {
    pub(crate) config: PathBuf,
    /// `None`: the configuration has one dataset.
    pub(crate) dataset: Option<String>,
    /// The keys of findings and questions. Empty: all questions that are open.
    pub(crate) keys: Vec<String>,
    pub(crate) by: String,
    pub(crate) why: String,
    pub(crate) on: NaiveDate,
}

/// Writes the decision. Returns the keys that are decided by it.
///
/// # Errors
/// The configuration has no such dataset, or nothing is left to decide. The file stays as it is.
pub(crate) fn decide(decision: &Decision) -> anyhow::Result<Vec<String>> {
    ensure!(
        !decision.by.trim().is_empty() && !decision.why.trim().is_empty(),
        "say who decides (--by) and why (--why)"
    );
    let config = Config::load(&decision.config)?;
    let mut names = Vec::new();
    for dataset in &config.datasets {
        names.push(Contract::load(&dataset.contract)?.dataset);
    }
    let place = match (&decision.dataset, names.as_slice()) {
        (Some(wanted), _) => names.iter().position(|name| name == wanted),
        (None, [_]) => Some(0),
        (None, _) => None,
    };
    let place = place.with_context(|| format!("name one of the datasets with --dataset: {}", names.join(", ")))?;
    let dataset = config.datasets.get(place).context("the configuration has no such dataset")?;
    let keys: Vec<String> = match decision.keys.is_empty() {
        true => dataset.questions.keys().filter(|key| !dataset.decided.contains_key(*key)).cloned().collect(),
        false => decision.keys.clone(),
    };
    if let Some(known) = keys.iter().find(|key| dataset.decided.contains_key(*key)) {
        bail!("'{known}' is decided already: change it in {}", decision.config.display());
    }
    ensure!(!keys.is_empty(), "no question is open");
    let text = std::fs::read_to_string(&decision.config)?;
    let fresh = written(&text, place, &keys, decision).context("the file has no such [[dataset]]")?;
    // What is written has to be read again.
    let trial = decision.config.with_extension("toml.new");
    std::fs::write(&trial, fresh).with_context(|| format!("writing {}", trial.display()))?;
    let read = Config::load(&trial).map_err(anyhow::Error::from).and_then(|again| {
        let decided = again.datasets.get(place).is_some_and(|of| keys.iter().all(|key| of.decided.contains_key(key)));
        ensure!(decided, "the decision could not be written: write it into [dataset.decided] by hand");
        Ok(())
    });
    match read {
        Ok(()) => std::fs::rename(&trial, &decision.config)?,
        Err(fault) => {
            std::fs::remove_file(&trial)?;
            return Err(fault);
        }
    }
    Ok(keys)
}

/// The file with decisions in its section of the dataset at `place`.
fn written(text: &str, place: usize, keys: &[String], decision: &Decision) -> Option<String> {
    let is = |line: &&str, section: &str| line.trim_start().starts_with(section);
    let lines: Vec<&str> = text.lines().collect();
    let begins: Vec<usize> =
        lines.iter().enumerate().filter(|(_, line)| is(line, "[[dataset]]")).map(|(at, _)| at).collect();
    let begin = *begins.get(place)?;
    let end = begins.get(place.saturating_add(1)).copied().unwrap_or(lines.len());
    let find = |section: &str| (begin..end).find(|at| lines.get(*at).is_some_and(|line| is(line, section)));
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut fresh: Vec<String> = keys
        .iter()
        .map(|key| {
            let (by, why) = (quoted(&decision.by), quoted(&decision.why));
            format!("{} = {{ by = {by}, on = \"{}\", why = {why} }}", quoted(key), decision.on)
        })
        .collect();
    let at = match find("[dataset.decided]") {
        Some(at) => at.saturating_add(1),
        None => {
            fresh.insert(0, "[dataset.decided]".to_owned());
            fresh.push(String::new());
            find("[[dataset.source]]").unwrap_or(end)
        }
    };
    let (before, after) = lines.split_at_checked(at)?;
    let all = before.iter().copied().chain(fresh.iter().map(String::as_str)).chain(after.iter().copied());
    Some(format!("{}\n", all.collect::<Vec<_>>().join("\n")))
}
