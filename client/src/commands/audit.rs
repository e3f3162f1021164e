//! `loda audit`: what was asked and released, and proofs that nothing is missing.

mod logs;
mod tree;

use std::path::Path;

use loda_answer::json;
use loda_ledger::audit::{Days, reconcile};

use super::failure::Failure;
use super::session::Session;
use crate::args::ListFormat;
use crate::args::audit::AuditCommand;
use crate::{exit, render};
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
        AuditCommand::Search(wanted) => {
            let logs = Logs::open(config).await?;
            let found = logs.search(wanted).await?;
            let text = match wanted.format {
                ListFormat::Table => render::questions(&found, session.screen.width),
                ListFormat::Json => format!("{}\n", json::escaped_pretty(&render::questions_json(&found))),
            };
            session.out.write_all(text.as_bytes())?;
        }
        AuditCommand::Show { question } => {
            let logs = Logs::open(config).await?;
            let (question, boroughs) = logs.life(question).await?;
            let text = render::question(&question, &boroughs, session.screen.width);
            session.out.write_all(text.as_bytes())?;
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
