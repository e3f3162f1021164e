//! The worker process: it does one piece of work after another, until its parent ends.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use loda_answer::Answer;
use loda_identity::Gss;
use loda_proto::v1::Statement;
use loda_question::Refusal;
use prost::Message;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::AsyncRead;

use super::arrow_stream::{read, stream_of};
use super::frames::{Format, Page, Said, Start, Told, WorkRequest, receive, send};
use super::pool::PLANNED;
use crate::catalogue::Catalogue;
use crate::config::Limits;
use crate::plan::advice::engine_errors::refusal_inside;
use crate::plan::planner::Planner;
use crate::plan::split::{Split, SplitPlan};
use crate::result::local_query;
use crate::result::post_process::{Finished, finish};

/// The planner recurses over nested SQL.
const STACK: usize = 32 << 20;

/// Memory in addition to the engine's pool, in MiB.
const BESIDE: u64 = 128;

/// The catalogue and planner for the work.
pub(super) struct Bench {
    catalogue: Arc<Catalogue>,
    planner: Arc<Planner>,
}

impl Bench {
    pub(super) fn of(catalogue: Arc<Catalogue>, planner: Arc<Planner>) -> Self {
        Self { catalogue, planner }
    }

    async fn plan(&self, sql: &str, boroughs: Vec<Gss>) -> Result<SplitPlan, Refusal> {
        self.planner.plan_guarded(sql, Split::new(Arc::clone(&self.catalogue), boroughs)).await
    }

    pub(super) async fn finish(
        &self,
        split: &SplitPlan,
        parts: BTreeMap<usize, RecordBatch>,
    ) -> anyhow::Result<(Vec<u8>, Told)> {
        let Finished { schema, batches, notes, errors } = finish(self.planner.state(), split, parts).await?;
        Ok((stream_of(&schema, &batches)?, Told { notes, errors }))
    }

    pub(super) async fn local(
        &self,
        sql: &str,
        last: Option<&(String, Statement)>,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), Refusal> {
        local_query::answer(&self.planner, &self.catalogue, last, sql).await
    }
}

/// Writes an answer as a file. Also returns whether there are more rows.
pub(super) fn write(arrow_ipc: &[u8], statement: Statement, page: Page) -> Option<(Vec<u8>, bool)> {
    let answer = Answer::read(arrow_ipc, statement).ok()?;
    let more = page.format == Format::Json && page.offset.saturating_add(page.limit) < answer.rows();
    let mut bytes = Vec::new();
    match page.format {
        Format::Json => loda_answer::json(&answer.page(page.offset, page.limit), &mut bytes).ok()?,
        Format::Csv => loda_answer::csv(&answer, &mut bytes).ok()?,
        Format::Parquet => bytes = loda_answer::parquet(&answer).ok()?,
        Format::Arrow => bytes = loda_answer::arrow(&answer).ok()?,
        Format::Xlsx => bytes = loda_answer::workbook(&answer).ok()?,
    }
    Some((bytes, more))
}

/// Works until standard input ends.
///
/// # Errors
/// Any fault that keeps it from starting.
pub fn work() -> anyhow::Result<()> {
    end_with_parent();
    let working = std::thread::Builder::new().name("work".to_owned()).stack_size(STACK).spawn(at_work)?;
    working.join().map_err(|_| anyhow::anyhow!("the work stopped"))?
}

fn at_work() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut from, mut to) = (pipe(std::io::stdin())?, pipe(std::io::stdout())?);
        let begun = begin(&mut from).await;
        let said = match &begun {
            Ok(_) => Said::done(),
            Err(fault) => Said::Fault { message: format!("{fault:#}") },
        };
        send(&mut to, &said, &[]).await?;
        let bench = begun?;
        let mut known: VecDeque<(String, SplitPlan)> = VecDeque::new();
        // The parent has ended if no more requests arrive.
        while let Ok((asked, bodies)) = receive::<WorkRequest>(&mut from).await {
            let (said, bodies) = match one(&bench, &mut known, asked, bodies).await {
                Ok((body, said)) => (said, vec![body]),
                Err(fault) => (said_of(&fault), Vec::new()),
            };
            send(&mut to, &said, &bodies).await?;
        }
        Ok(())
    })
}

/// Reads the first message. The memory limit applies from then on.
async fn begin(from: &mut (impl AsyncRead + Unpin)) -> anyhow::Result<Bench> {
    let (Start { files, limits }, _) = receive(from).await?;
    let most = most_memory(&limits);
    setrlimit(Resource::Data, Rlimit { current: Some(most), maximum: Some(most) }).context("limiting memory")?;
    let catalogue = Arc::new(Catalogue::of_files(files)?);
    let planner = Arc::new(Planner::new(&catalogue, &limits)?);
    Ok(Bench::of(catalogue, planner))
}

/// Ends this process at most a second after its parent. In the middle of work it reads no input, so it would not
/// notice.
fn end_with_parent() {
    let parent = parent_id();
    std::thread::spawn(move || {
        while parent_id() == parent {
            std::thread::sleep(Duration::from_secs(1));
        }
        std::process::exit(0);
    });
}

/// The most bytes of memory that a process may have.
pub(super) fn most_memory(limits: &Limits) -> u64 {
    let pool = loda_service::memory::within(limits.memory_mb, "limits.memory_mb");
    u64::try_from(pool).unwrap_or(u64::MAX).saturating_add(BESIDE).saturating_mul(1 << 20)
}

/// A pipe that does not block the runtime.
fn pipe(of: impl AsFd) -> std::io::Result<tokio::fs::File> {
    Ok(tokio::fs::File::from_std(std::fs::File::from(of.as_fd().try_clone_to_owned()?)))
}

async fn one(
    bench: &Bench,
    known: &mut VecDeque<(String, SplitPlan)>,
    asked: WorkRequest,
    bodies: Vec<Vec<u8>>,
) -> anyhow::Result<(Vec<u8>, Said)> {
    match asked {
        WorkRequest::Plan { sql, boroughs } => {
            let boroughs = gss(&boroughs)?;
            let split = bench.plan(&sql, boroughs.clone()).await?;
            keep(known, key(&sql, &boroughs), split);
            Ok((Vec::new(), Said::done()))
        }
        WorkRequest::Columns { sql } => {
            bench.planner.columns(&sql).await?;
            Ok((Vec::new(), Said::done()))
        }
        WorkRequest::Finish { sql, boroughs, parts } => {
            let boroughs = gss(&boroughs)?;
            let key = key(&sql, &boroughs);
            let split = match known.iter().position(|(of, _)| *of == key).and_then(|place| known.remove(place)) {
                Some((_, split)) => split,
                None => bench.plan(&sql, boroughs).await?,
            };
            let mut cells = BTreeMap::new();
            for (number, body) in parts.into_iter().zip(&bodies) {
                let (schema, batches) = read(body)?;
                cells.insert(number, concat_batches(&schema, &batches)?);
            }
            let finished = bench.finish(&split, cells).await;
            keep(known, key, split);
            let (body, told) = finished?;
            Ok((body, Said::Done { more: false, told }))
        }
        WorkRequest::Local { sql, last } => {
            let statement = bodies.first().map_or(&[][..], Vec::as_slice);
            let last = last.map(|sql| anyhow::Ok((sql, Statement::decode(statement)?))).transpose()?;
            let (schema, batches) = bench.local(&sql, last.as_ref()).await?;
            Ok((stream_of(&schema, &batches)?, Said::done()))
        }
        WorkRequest::Write { page } => {
            let [statement, rows] = bodies.as_slice() else { anyhow::bail!("two bodies are wanted") };
            let written = write(rows, Statement::decode(statement.as_slice())?, page);
            let (body, more) = written.context("the answer cannot be written")?;
            Ok((body, Said::Done { more, told: Told::default() }))
        }
    }
}

fn key(sql: &str, boroughs: &[Gss]) -> String {
    format!("{boroughs:?} {sql}")
}

fn keep(known: &mut VecDeque<(String, SplitPlan)>, key: String, split: SplitPlan) {
    known.retain(|(of, _)| *of != key);
    known.push_back((key, split));
    if known.len() > PLANNED {
        known.pop_front();
    }
}

fn gss(names: &[String]) -> anyhow::Result<Vec<Gss>> {
    names.iter().map(|name| name.parse().context("a borough has another code")).collect()
}

/// The reply for a fault: a refusal for the asker, or a message for the operator.
fn said_of(fault: &anyhow::Error) -> Said {
    match refusal_inside(fault.as_ref()) {
        Some(Refusal { rule, message, advice }) => {
            Said::Refused { rule: rule.name().to_owned(), message: message.clone(), advice: advice.clone() }
        }
        None => Said::Fault { message: format!("{fault:#}") },
    }
}
