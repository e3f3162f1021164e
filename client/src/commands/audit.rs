//! `loda audit`: what was asked and released, and proofs that nothing is missing.

mod bundle;
mod coverage;
mod logs;
mod transparency;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use loda_answer::{json, plain};
use loda_ledger::audit::{Days, reconcile};

use super::failure::Failure;
use super::files;
use super::session::Session;
use crate::args::ListFormat;
use crate::args::audit::{AuditCommand, AuditConditions, AuditExport, AuditSearch, ExportFormat};
use crate::render::audit_export;
use crate::{exit, render};
use coverage::Coverage;
use logs::Logs;

pub(super) async fn run(
    command: &AuditCommand,
    config: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<u8, Failure> {
    let mut code = exit::COMPLETE;
    match command {
        AuditCommand::Keys { manifest } => tree::print_keys(manifest, session)?,
        AuditCommand::Verify { folder, manifest, since } => {
            tree::verify(folder, manifest, since.as_deref(), session)?;
        }
        AuditCommand::Search(AuditSearch { wanted, format }) => {
            let logs = Logs::open(config).await?;
            let found = logs.search(wanted).await?;
            let text = match format {
                ListFormat::Table => render::questions(&found, session.screen.width),
                ListFormat::Json => {
                    format!("{}\n", json::escaped_pretty(&render::questions_json(&found, logs.manifest())))
                }
            };
            session.out.write_all(text.as_bytes())?;
        }
        AuditCommand::Export(AuditExport { wanted, form, out }) => {
            let logs = Logs::open(config).await?;
            let found = logs.search(wanted).await?;
            let mut text = Vec::new();
            match form {
                ExportFormat::Ndjson => audit_export::ndjson(&found, logs.manifest(), &mut text)?,
                ExportFormat::Csv => audit_export::csv(&found, logs.manifest(), &mut text)?,
                ExportFormat::Ocsf => audit_export::ocsf(&found, logs.manifest(), &mut text)?,
            }
            match out {
                Some(file) => {
                    files::replace(file, &text)?;
                    writeln!(session.err, "wrote {}: {} questions", file.display(), found.len())?;
                }
                None => session.out.write_all(&text)?,
            }
        }
        AuditCommand::Show { question } => {
            let logs = Logs::open(config).await?;
            let (question, boroughs) = logs.life(question).await?;
            let text = render::question(&question, &boroughs, logs.manifest(), session.screen.width);
            session.out.write_all(text.as_bytes())?;
        }
        AuditCommand::Coverage(wanted) => {
            let logs = Logs::open(config).await?;
            let found = logs.coverage(wanted).await?;
            session.out.write_all(covered(&found, session.screen.width).as_bytes())?;
        }
        AuditCommand::Transparency { out, delay } => {
            let logs = Logs::open(config).await?;
            let today = chrono::Utc::now().date_naive();
            let by = today.checked_sub_days(chrono::Days::new((*delay).into())).unwrap_or_default();
            let found = logs.search(&AuditConditions::default()).await?;
            let uses = transparency::uses(&found, by);
            let page = transparency::to_html(&logs.manifest().federation, by, &uses);
            let data = json::escaped_pretty(&transparency::to_json(&logs.manifest().federation, &uses));
            files::make_folder_of(&out.join("index.html"))?;
            files::replace(&out.join("index.html"), page.as_bytes())?;
            files::replace(&out.join("transparency.json"), format!("{data}\n").as_bytes())?;
            writeln!(session.out, "wrote {}: {} uses until {by}", out.display(), uses.len())?;
        }
        AuditCommand::Bundle { question, out } => {
            let logs = Logs::open(config).await?;
            let (bytes, parties, missing) = logs.bundle(question).await?;
            files::replace(out, &bytes)?;
            let lack = if missing > 0 { format!(", without {missing} (its README says why)") } else { String::new() };
            writeln!(session.out, "wrote {}: the entries of {parties} parties with their proofs{lack}", out.display())?;
            if missing > 0 {
                code = exit::PARTIAL;
            }
        }
        AuditCommand::Reconcile { from, until } => {
            let today = chrono::Utc::now().date_naive();
            let until = until.unwrap_or(today);
            let days = Days { from: from.unwrap_or(today).min(until), until };
            let logs = Logs::open(config).await?;
            let (coordinator, read) = logs.all(days, session.screen.shows_progress).await?;
            let (boroughs, unread): (Vec<_>, Vec<_>) = read.into_iter().partition(|(_, log)| log.is_ok());
            let boroughs: Vec<_> = boroughs.into_iter().filter_map(|(_, log)| log.ok()).collect();
            let unread: Vec<_> = unread.into_iter().filter_map(|(name, log)| Some((name, log.err()?))).collect();
            let found = reconcile(&coordinator, &boroughs, days);
            code = match () {
                () if !found.gaps.is_empty() || unread.iter().any(|(_, why)| why.is_damaged()) => exit::DISAGREES,
                () if unread.is_empty() => exit::COMPLETE,
                () => exit::PARTIAL,
            };
            let names = |gss: &str| logs.name(gss);
            let text = render::reconciled(&found, days, boroughs.len(), &unread, &names, session.screen.width);
            session.out.write_all(text.as_bytes())?;
        }
    }
    session.out.flush()?;
    Ok(code)
}

/// A line for each analyst and dataset.
fn covered(found: &BTreeMap<(String, String), Coverage>, width: Option<u16>) -> String {
    let names = ["asker", "dataset", "questions", "tables had", "refused", "not answered", "at night or weekends"]
        .map(str::to_owned);
    let row = |((analyst, dataset), of): (&(String, String), &Coverage)| {
        let tables = match of.of {
            Some(all) => {
                let had = of.covered();
                format!("{had} of {all} ({} %)", had.saturating_mul(100).checked_div(all).unwrap_or(0))
            }
            None => String::new(),
        };
        let count = |number: usize| if number == 0 { String::new() } else { number.to_string() };
        vec![
            plain::line(analyst.rsplit('/').next().unwrap_or(analyst)),
            plain::line(dataset),
            of.asked.to_string(),
            tables,
            count(of.refused),
            count(of.unanswered),
            count(of.unusual),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    let right = [false, false, true, true, true, true, true];
    let note = "tables had: of the tables about people that the dataset's contract allows, those that the analyst was \
                answered or that are part of such a one. Figures of a table that was had once cost nothing more. Tables over \
                several datasets are not counted. All of it is what the coordinator's log says: `loda audit reconcile` \
                compares that with the boroughs'\n";
    format!("{}{}", render::grid(&names, &right, &rows, width), render::wrapped(note, width))
}
