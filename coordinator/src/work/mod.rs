//! Runs the work that an asker's SQL can make expensive in processes of this program. They have limits on memory and
//! time, and can be ended.
//!
//! ```text
//! plan ──► pool ── frames ──► process ─► planned, or ended        finish ─► pool ─► process ─► answer, or ended
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`pool`] | processes that wait for work, fair turns for askers, an end for work that takes too long |
//! | [`frames`] | the messages to a process and its replies |
//! | [`process`] | the work itself |
//!
//! A statement is planned here only after a process has planned it within its limits: the same SQL costs the same
//! again. The steps after the merge, local answers and the writing of files run in processes only.

mod arrow_stream;
mod frames;
mod pool;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use loda_identity::{Gss, PeerId};
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use loda_service::{Program, Turn};
use prost::Message;
use tokio::time::Instant;

use self::arrow_stream::{read, stream_of};
pub(crate) use self::frames::{Format, Page};
use self::frames::{Said, Start, Told, WorkRequest};
use self::pool::{Answered, Ended, Pool};
use self::process::Bench;
pub use self::process::work;
use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::plan::advice::engine_errors::unplanned;
use crate::plan::planner::Planner;
use crate::plan::split::Prepared;
use crate::result::query_result::QueryResult;

/// The longest time for the steps after the merge, and for writing a file.
const FINISHING: Duration = Duration::from_secs(10);
const WRITING: Duration = Duration::from_secs(20);

/// The workers: processes, or this process if there is no program to start.
pub(crate) struct Workers {
    pool: Option<Pool>,
    bench: Arc<Bench>,
    /// The longest time for planning, and for a local answer.
    planning: Duration,
}

impl Workers {
    pub(crate) fn new(
        catalogue: &Arc<Catalogue>,
        planner: &Arc<Planner>,
        limits: &Limits,
        program: Option<Program>,
    ) -> Self {
        let start = || Start { files: catalogue.files().clone(), limits: *limits };
        let pool = program.map(|program| Pool::new(program, start(), places(limits)));
        let planning = Duration::from_secs(limits.planning_seconds).min(limits.deadline());
        Self { pool, bench: Arc::new(Bench::of(Arc::clone(catalogue), Arc::clone(planner))), planning }
    }

    /// Prepares for the first question.
    pub(crate) async fn warm(&self) {
        if let Some(pool) = &self.pool {
            pool.warm().await;
        }
    }

    /// Checks that a statement can be planned within the limits, by planning it in a process that can be ended. Returns
    /// the asker's place. Hold it until the statement is planned here as well.
    ///
    /// # Errors
    /// The rule that refuses the statement, or that it costs too much.
    pub(crate) async fn try_planning(
        &self,
        asker: &PeerId,
        sql: &str,
        boroughs: &[Gss],
    ) -> Result<Option<Turn>, Refusal> {
        let asked = WorkRequest::Plan { sql: sql.to_owned(), boroughs: names(boroughs) };
        self.tried(asker, &asked).await
    }

    /// The same for a statement with open parameters.
    ///
    /// # Errors
    /// As [`Workers::try_planning`].
    pub(crate) async fn try_columns(&self, asker: &PeerId, sql: &str) -> Result<Option<Turn>, Refusal> {
        self.tried(asker, &WorkRequest::Columns { sql: sql.to_owned() }).await
    }

    async fn tried(&self, asker: &PeerId, asked: &WorkRequest) -> Result<Option<Turn>, Refusal> {
        let Some(pool) = &self.pool else { return Ok(None) };
        let answered = pool.ask(asker, asked, &[], Instant::now() + self.planning).await;
        answered_of(answered).map(|answered| Some(answered.turn))
    }

    /// Runs the steps after the merge. Returns the answer as an Arrow stream, and what its statement says besides.
    ///
    /// # Errors
    /// A fault in the asker's own expressions, a limit, or that the process was ended.
    pub(crate) async fn finish(
        &self,
        prepared: &Arc<Prepared>,
        parts: BTreeMap<usize, RecordBatch>,
        until: Instant,
    ) -> anyhow::Result<(Vec<u8>, Told)> {
        let Some(pool) = &self.pool else { return self.bench.finish(&prepared.split, parts).await };
        let mut bodies = Vec::with_capacity(parts.len());
        let mut numbers = Vec::with_capacity(parts.len());
        for (number, batch) in &parts {
            numbers.push(*number);
            bodies.push(stream_of(&batch.schema(), std::slice::from_ref(batch))?);
        }
        let asked =
            WorkRequest::Finish { sql: prepared.sql.clone(), boroughs: names(&prepared.boroughs), parts: numbers };
        let until = until.min(Instant::now() + FINISHING);
        match pool.ask(&prepared.owner, &asked, &bodies, until).await {
            Ok(Answered { said: Said::Done { told, .. }, body, .. }) => Ok((body, told)),
            Ok(Answered { said: Said::Refused { rule, message, advice }, .. }) => {
                Err(refusal(&rule, message, advice).into())
            }
            Ok(Answered { said: Said::Fault { message }, .. }) => anyhow::bail!("{message}"),
            Err(ended) => Err(ended.into()),
        }
    }

    /// Answers from the catalogue and from the statement of the last answer.
    ///
    /// # Errors
    /// The fault in the SQL, or that it costs too much.
    pub(crate) async fn local(
        &self,
        asker: &PeerId,
        sql: &str,
        last: Option<(String, v1::Statement)>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Refusal> {
        let Some(pool) = &self.pool else { return self.bench.local(sql, last.as_ref()).await };
        let (last, statement) = last.map_or((None, Vec::new()), |(sql, of)| (Some(sql), of.encode_to_vec()));
        let asked = WorkRequest::Local { sql: sql.to_owned(), last };
        let answered = pool.ask(asker, &asked, &[statement], Instant::now() + self.planning).await;
        read(&answered_of(answered)?.body).map_err(|_| unplanned())
    }

    /// Writes an answer as a file, and returns whether there are more rows. `None`: it cannot be written.
    pub(crate) async fn write(&self, asker: &PeerId, result: &QueryResult, page: Page) -> Option<(Vec<u8>, bool)> {
        let Some(pool) = &self.pool else {
            return process::write(&result.arrow_ipc, result.statement.clone(), page);
        };
        let bodies = [result.statement.encode_to_vec(), result.arrow_ipc.clone()];
        match pool.ask(asker, &WorkRequest::Write { page }, &bodies, Instant::now() + WRITING).await {
            Ok(Answered { said: Said::Done { more, .. }, body, .. }) => Some((body, more)),
            Ok(_) | Err(_) => None,
        }
    }
}

/// The number of processes at once. Together they may use at most half of the memory.
fn places(limits: &Limits) -> usize {
    let each = process::most_memory(limits);
    let room =
        loda_service::memory::limit().map_or(usize::MAX, |all| usize::try_from(all / 2 / each.max(1)).unwrap_or(1));
    limits.workers.min(room).max(1)
}

fn names(boroughs: &[Gss]) -> Vec<String> {
    boroughs.iter().map(Gss::to_string).collect()
}

/// The reply, or the refusal for the asker.
fn answered_of(answered: Result<Answered, Ended>) -> Result<Answered, Refusal> {
    let answered = answered.map_err(|ended| too_much(&ended))?;
    match answered.said {
        Said::Done { .. } => Ok(answered),
        Said::Refused { rule, message, advice } => Err(refusal(&rule, message, advice)),
        Said::Fault { .. } => Err(unplanned()),
    }
}

fn refusal(rule: &str, message: String, advice: String) -> Refusal {
    match Rule::from_name(rule) {
        Some(rule) => Refusal { rule, message, advice },
        None => unplanned(),
    }
}

fn too_much(ended: &Ended) -> Refusal {
    let advice = "Write it shorter: fewer joins, fewer references to one CTE, fewer rows side by side";
    match ended {
        Ended::Busy => Refusal::new(Rule::Busy, "as much is under way as may be at once", "Wait for some of it to end"),
        Ended::Late => Refusal::new(Rule::Sql, "this takes too long", advice),
        Ended::Died | Ended::Start(_) => {
            Refusal::new(Rule::Sql, "this takes more memory or time than a question may have", advice)
        }
    }
}
