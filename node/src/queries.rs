//! A query's way through a node: judged, logged, admitted, run in its turn, released or ended.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use loda_disclosure::{Method, Released};
use loda_ledger::{Entry, Kind, Log, LogError, Spool};
use loda_proto::v1;
use loda_question::Refusal;
use loda_service::{Crew, Outcomes, Turns};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use uuid::Uuid;

use crate::config::Limits;
use crate::inspect::{Accepted, Asked};
use crate::jobs::{Admission, History, Job, Jobs};
use crate::release::{Gate, Release};

/// Nobody learns from a deadline whether an answer takes a little longer: none is shorter.
const SHORTEST: Duration = Duration::from_secs(5);

/// Requests that are judged at once.
const JUDGING: usize = 4;

/// What a borough does for a query: the rest is the protocol's.
pub(crate) trait Work: Send + Sync + 'static {
    /// Judges a request by contract and agreement.
    fn judge(&self, asked: &Asked) -> Result<Accepted, Refusal>;

    /// Whether the agreement that is in force now grants what was accepted: it may have ended meanwhile.
    fn agreed(&self, asked: &Asked, accepted: &Accepted) -> Result<(), Refusal>;

    /// The disclosure control that its answer goes through.
    fn method(&self, accepted: &Accepted) -> Arc<dyn Method>;

    /// Answers leave at multiples of this: how long one took says no more of the records than their class of cost does.
    fn step(&self, accepted: &Accepted) -> Option<Duration>;

    /// execute → disclose.
    fn cells<'a>(
        &'a self,
        asked: &'a Asked,
        accepted: &'a Accepted,
    ) -> BoxFuture<'a, anyhow::Result<Released<RecordBatch>>>;
}

/// Everything that was asked of one node, from one start of it to its end.
pub(crate) struct Queries {
    pub(crate) jobs: Jobs,
    pub(crate) outcomes: Outcomes,
    work: Arc<dyn Work>,
    gate: Gate,
    turns: Turns,
    judging: Arc<Semaphore>,
    longest: Duration,
    /// Queries run here, so that gRPC and health answer while they do.
    crew: Crew,
}

impl Queries {
    /// With what an earlier life left behind: what it cut off is ended in the log first.
    ///
    /// # Errors
    /// Where log or spool cannot be used.
    pub(crate) fn open(
        limits: &Limits,
        log: Arc<dyn Log>,
        spool: Spool,
        mut history: History,
        work: Arc<dyn Work>,
        crew: Crew,
    ) -> anyhow::Result<Arc<Self>> {
        for ending in history.endings() {
            log.append(&ending)?;
        }
        Ok(Arc::new(Self {
            jobs: Jobs::new(limits.accepted, spool, history),
            outcomes: Outcomes::default(),
            work,
            gate: Gate::new(log),
            turns: Turns::new(limits.running),
            judging: Arc::new(Semaphore::new(JUDGING)),
            longest: limits.query_time(),
            crew,
        }))
    }

    /// Logs what is no query.
    ///
    /// # Errors
    /// Where the log cannot be written.
    pub(crate) fn note(&self, entry: &Entry) -> Result<(), LogError> {
        self.gate.log().append(entry)
    }

    /// Why nothing can be logged, and so nothing is answered.
    pub(crate) fn log_fault(&self) -> Option<String> {
        self.gate.log().fault()
    }

    /// Completes when this process will never log again.
    pub(crate) async fn log_stopped(&self) {
        while !self.gate.log().is_stopped() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Runs something where queries run, for as long as they do.
    pub(crate) fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.crew.spawn(task);
    }

    pub(crate) fn job(&self, id: &str) -> Result<Arc<Job>, Status> {
        let id = Uuid::try_parse(id).map_err(|_| Status::invalid_argument("query_id"))?;
        self.jobs.get(&id).ok_or_else(|| Status::not_found("unknown_query"))
    }

    /// Judges a request, and starts it where it is no dry run.
    pub(crate) async fn submit(self: &Arc<Self>, request: v1::SubmitRequest) -> Result<Option<Refusal>, Status> {
        // Judging enumerates grids, and the log waits for the disk: neither belongs on the serving thread.
        // Few at a time: a caller that has gone away still costs what it began.
        let permit = Arc::clone(&self.judging).acquire_owned().await.map_err(|_| Status::unavailable("stopping"))?;
        let queries = Arc::clone(self);
        let judged = self.crew.aside(move || {
            let judged = queries.take(request);
            drop(permit);
            judged
        });
        judged.await.map_err(|_| Status::internal("internal"))?
    }

    /// Judges, logs, and starts a query: in that order.
    fn take(self: &Arc<Self>, request: v1::SubmitRequest) -> Result<Option<Refusal>, Status> {
        let (dry_run, deadline) = (request.dry_run, Duration::from_millis(request.deadline_ms.into()));
        let asked = match Asked::parse(request) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let judged = self.work.judge(&asked);
        if dry_run {
            return Ok(judged.err());
        }
        let accepted = match judged {
            Ok(accepted) => accepted,
            Err(refusal) => {
                self.log(&asked, Kind::Refuse, "", "", refusal.rule.name())?;
                self.outcomes.count("refused");
                return Ok(Some(refusal));
            }
        };
        let time = deadline.max(SHORTEST).min(self.longest);
        let job = match self.jobs.admit(asked.query, &asked.identity(), asked.analyst.to_string(), time) {
            Ok(Admission::New(job)) => job,
            Ok(Admission::Known) => return Ok(None),
            Err(refusal) => {
                self.outcomes.count("busy");
                return Ok(Some(refusal));
            }
        };
        let dataset = &accepted.fragment.title();
        if let Err(status) = self.log(&asked, Kind::Accept, dataset, &accepted.agreement, "") {
            job.cancel();
            return Err(status);
        }
        let queries = Arc::clone(self);
        self.crew.spawn(async move { queries.run(&asked, &accepted, &job).await });
        Ok(None)
    }

    fn log(&self, asked: &Asked, kind: Kind, dataset: &str, agreement: &str, detail: &str) -> Result<(), Status> {
        self.gate.log().append(&asked.entry(kind, dataset, agreement, detail)).map_err(|fault| {
            tracing::error!("{fault}");
            Status::unavailable("log_unavailable")
        })
    }

    /// Runs a query to its one end.
    async fn run(&self, asked: &Asked, accepted: &Accepted, job: &Job) {
        let answered = tokio::select! {
            // The cancellation first: what it comes before has no answer.
            biased;
            () = job.cancelled() => Err("cancelled"),
            answered = tokio::time::timeout_at(job.deadline(), self.answer(asked, accepted, job)) => match answered {
                Ok(Ok(release)) => Ok(release),
                Ok(Err(fault)) => {
                    tracing::warn!(query = %asked.query, "not answered: {fault:#}");
                    Err(if fault.is::<Refusal>() { "agreement" } else { "error" })
                }
                Err(_elapsed) => Err("deadline"),
            },
        };
        match answered {
            Ok(release) => {
                self.outcomes.count("released");
                job.released(release);
            }
            Err(detail) => {
                self.outcomes.count(detail);
                let dataset = &accepted.fragment.title();
                // The job ends as not answered whether or not this can be logged: nothing leaves.
                let _logged = self.log(asked, Kind::Fail, dataset, &accepted.agreement, detail);
                job.not_answered().await;
            }
        }
    }

    /// execute → disclose → release.
    async fn answer(&self, asked: &Asked, accepted: &Accepted, job: &Job) -> anyhow::Result<Release> {
        let turn = self.turns.take(&asked.analyst.to_string()).await;
        job.running();
        let began = Instant::now();
        let cells = self.work.cells(asked, accepted).await?;
        drop(turn);
        if let Some(step) = self.work.step(accepted) {
            let steps = began.elapsed().as_nanos().div_ceil(step.as_nanos().max(1)).max(1);
            sleep_until(began + step.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))).await;
        }
        let method = self.work.method(accepted);
        let keep = |release: &Release| self.jobs.keep(&asked.query, &asked.identity(), release);
        let agreed = || self.work.agreed(asked, accepted);
        self.gate.release(asked, accepted, &*method, &cells, &keep, &agreed)
    }
}
