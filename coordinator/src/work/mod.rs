//! What an asker's words may make expensive, where it can be ended: processes of this program under limits on memory and time.
//!
//! ```text
//! plan ──► pool ── frames ──► process ─► planned, or ended        finish ─► pool ─► process ─► answer, or ended
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`pool`] | processes that wait for work, askers in turn, an end for what takes too long |
//! | [`frames`] | what is said to a process, and what it says |
//! | [`process`] | what it does |
//!
//! A statement is planned here only after a process has planned it within its limits: the same words cost the same once more.
//! Whatever follows the merge, what is answered from the catalogue, and the writing of files happens there alone.

mod frames;
mod pool;
mod process;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use loda_identity::{Gss, PeerId};
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use loda_service::{Program, Turn};
use prost::Message;
use tokio::time::Instant;

use self::frames::{Asked, Said, Start};
pub(crate) use self::frames::{Format, Page};
use self::pool::{Answered, Ended, Pool};
use self::process::Bench;
pub use self::process::work;
use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::plan::{Planner, unplanned};
use crate::query::{Prepared, QueryResult};

/// How long what follows the merge may take, and writing a file.
const FINISHING: Duration = Duration::from_secs(10);
const WRITING: Duration = Duration::from_secs(20);

/// Where it happens: in processes, or here where there is no program to start.
pub(crate) struct Workers {
    pool: Option<Pool>,
    bench: Arc<Bench>,
    /// How long planning may take, and what is answered from the catalogue.
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

    /// Makes ready what the first question needs.
    pub(crate) async fn warm(&self) {
        if let Some(pool) = &self.pool {
            pool.warm().await;
        }
    }

    /// Whether a statement can be planned within the limits, by trying it where it can be ended. The asker's place, to be held
    /// until it is planned here as well.
    ///
    /// # Errors
    /// The rule that refuses it, or that it costs too much.
    pub(crate) async fn try_planning(
        &self,
        asker: &PeerId,
        sql: &str,
        boroughs: &[Gss],
    ) -> Result<Option<Turn>, Refusal> {
        let asked = Asked::Plan { sql: sql.to_owned(), boroughs: names(boroughs) };
        self.tried(asker, &asked).await
    }

    /// The same of a statement whose parameters are open.
    ///
    /// # Errors
    /// As [`Workers::try_planning`].
    pub(crate) async fn try_columns(&self, asker: &PeerId, sql: &str) -> Result<Option<Turn>, Refusal> {
        self.tried(asker, &Asked::Columns { sql: sql.to_owned() }).await
    }

    async fn tried(&self, asker: &PeerId, asked: &Asked) -> Result<Option<Turn>, Refusal> {
        let Some(pool) = &self.pool else { return Ok(None) };
        let answered = pool.ask(asker, asked, &[], Instant::now() + self.planning).await;
        answered_of(answered).map(|answered| Some(answered.turn))
    }

    /// What follows the merge: the answer as an Arrow stream.
    ///
    /// # Errors
    /// What the asker's own expressions lead to, a limit, or that it was ended.
    pub(crate) async fn finish(
        &self,
        prepared: &Arc<Prepared>,
        parts: BTreeMap<usize, RecordBatch>,
        until: Instant,
    ) -> anyhow::Result<Vec<u8>> {
        let Some(pool) = &self.pool else { return self.bench.finish(&prepared.split, parts).await };
        let mut bodies = Vec::with_capacity(parts.len());
        let mut numbers = Vec::with_capacity(parts.len());
        for (number, batch) in &parts {
            numbers.push(*number);
            bodies.push(stream_of(&batch.schema(), std::slice::from_ref(batch))?);
        }
        let asked = Asked::Finish { sql: prepared.sql.clone(), boroughs: names(&prepared.boroughs), parts: numbers };
        let until = until.min(Instant::now() + FINISHING);
        match pool.ask(&prepared.owner, &asked, &bodies, until).await {
            Ok(Answered { said: Said::Done { .. }, body, .. }) => Ok(body),
            Ok(Answered { said: Said::Refused { rule, message, advice }, .. }) => {
                Err(refusal(&rule, message, advice).into())
            }
            Ok(Answered { said: Said::Fault { message }, .. }) => anyhow::bail!("{message}"),
            Err(ended) => Err(ended.into()),
        }
    }

    /// What is answered from the catalogue, and from what the last answer said of itself.
    ///
    /// # Errors
    /// What is wrong with it, or that it costs too much.
    pub(crate) async fn local(
        &self,
        asker: &PeerId,
        sql: &str,
        last: Option<(String, v1::Statement)>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Refusal> {
        let Some(pool) = &self.pool else { return self.bench.local(sql, last.as_ref()).await };
        let (last, statement) = last.map_or((None, Vec::new()), |(sql, of)| (Some(sql), of.encode_to_vec()));
        let asked = Asked::Local { sql: sql.to_owned(), last };
        let answered = pool.ask(asker, &asked, &[statement], Instant::now() + self.planning).await;
        read(&answered_of(answered)?.body).map_err(|_| unplanned())
    }

    /// An answer as a file, and whether there are more rows. None where it cannot be written.
    pub(crate) async fn write(&self, asker: &PeerId, result: &QueryResult, page: Page) -> Option<(Vec<u8>, bool)> {
        let Some(pool) = &self.pool else {
            return process::write(&result.arrow_ipc, result.statement.clone(), page);
        };
        let bodies = [result.statement.encode_to_vec(), result.arrow_ipc.clone()];
        match pool.ask(asker, &Asked::Write { page }, &bodies, Instant::now() + WRITING).await {
            Ok(Answered { said: Said::Done { more }, body, .. }) => Some((body, more)),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Processes at once: no more than half of the memory that there is holds.
fn places(limits: &Limits) -> usize {
    let each = process::most_memory(limits);
    let room =
        loda_service::memory::limit().map_or(usize::MAX, |all| usize::try_from(all / 2 / each.max(1)).unwrap_or(1));
    limits.workers.min(room).max(1)
}

fn names(boroughs: &[Gss]) -> Vec<String> {
    boroughs.iter().map(Gss::to_string).collect()
}

/// What was done, or why an asker is refused.
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

pub(crate) fn stream_of(schema: &SchemaRef, batches: &[RecordBatch]) -> anyhow::Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?)
}

fn read(bytes: &[u8]) -> anyhow::Result<(SchemaRef, Vec<RecordBatch>)> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>().context("an answer cannot be read")?))
}
