//! `loda-node snapshots`: every snapshot of the configured datasets, and which one is served.

use loda_contract::Contract;

use crate::config::Config;
use crate::epochs;
use crate::snapshot::{folder, list, read};

/// The text that `loda-node snapshots` prints: every snapshot of the configured datasets.
///
/// # Errors
/// A contract or a folder cannot be read.
pub(crate) fn snapshots(config: &Config) -> anyhow::Result<String> {
    let mut out =
        format!("{:<28} {:>8}  {:<10} {:>6} {:>12}  {}\n", "dataset", "snapshot", "as at", "pieces", "bytes", "served");
    for dataset in &config.datasets {
        let contract = Contract::load(&dataset.contract)?;
        let folder = folder(&config.state, &contract);
        let kept = list(&folder)?;
        if kept.is_empty() {
            out.push_str(&format!("{:<28} none yet\n", contract.dataset));
        }
        let pin = epochs::pinned(&config.state, &contract.dataset)?.filter(|pin| pin.contract == contract.sha256);
        let last = kept.last().map(|(id, _, _)| *id);
        let periods = match &contract.closure.period {
            None => None,
            Some(_) => Some(epochs::listed(&config.state, &contract)?),
        };
        for (id, as_at, listing) in kept {
            let served = match (&pin, &periods) {
                (_, Some(periods)) if last == Some(id) => match periods.last() {
                    None => "no period is closed yet".to_owned(),
                    Some(last) => format!("{} periods are closed, the last {}", periods.len(), last.period),
                },
                (_, Some(_)) => String::new(),
                (Some(pin), None) if pin.snapshot == id => format!("for epoch {}", pin.until),
                (Some(pin), None) if pin.snapshot < id => "waits for the next epoch".to_owned(),
                (None, None) if last == Some(id) => "yes".to_owned(),
                _ => String::new(),
            };
            let pieces = read(&listing)?.pieces;
            let sizes = pieces.iter().map(|piece| Ok(std::fs::metadata(folder.join(piece))?.len()));
            let bytes = sizes.sum::<std::io::Result<u64>>()?;
            let line = format!("{:<28} {id:>8}  {as_at} {:>7} {bytes:>12}  {served}", contract.dataset, pieces.len());
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    Ok(out)
}
