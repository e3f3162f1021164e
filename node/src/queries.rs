//! A query's way through a node: judged, logged, admitted, run in its turn, released or ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use loda_disclosure::{Method, Released};
use loda_ledger::{Entry, Hourly, Kind, Log, LogError, OtherLogs, RefusalQuota, Seen, Spool, of_key};
use loda_proto::v1;
use loda_question::{Refusal, Rule};
use loda_service::{Crew, Outcomes, Times, Turns, heads};
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

/// The logs by their keys: this node's as it was when it was opened, the coordinator's as the manifest names it now.
pub(crate) struct LogNames {
    pub(crate) own: String,
    pub(crate) coordinator: Box<dyn Fn() -> String + Send + Sync>,
}

/// Everything that was asked of one node, from one start of it to its end.
pub(crate) struct Queries {
    pub(crate) jobs: Jobs,
    pub(crate) outcomes: Outcomes,
    pub(crate) times: Times,
    work: Arc<dyn Work>,
    gate: Gate,
    /// The coordinator's log, as this node has seen it.
    others: OtherLogs,
    coordinator: Box<dyn Fn() -> String + Send + Sync>,
    /// The log of this node by its key, as it was when it was opened.
    own: String,
    refusals: RefusalQuota,
    /// Questions that were accepted, by asker.
    accepted: Mutex<Hourly>,
    hourly: u32,
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
        names: LogNames,
    ) -> anyhow::Result<Arc<Self>> {
        for ending in history.endings() {
            log.append(&ending)?;
        }
        Ok(Arc::new(Self {
            others: std::mem::take(&mut history.others),
            coordinator: names.coordinator,
            own: names.own,
            refusals: RefusalQuota::default(),
            accepted: Mutex::default(),
            hourly: limits.questions_per_hour,
            jobs: Jobs::new(limits.accepted, spool, history),
            outcomes: Outcomes::default(),
            times: Times::default(),
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

    /// How many entries the log has.
    pub(crate) fn log_entries(&self) -> u64 {
        self.gate.log().head(0).now.entries
    }

    /// What this node holds against the coordinator's log.
    pub(crate) fn coordinator_fault(&self) -> Option<String> {
        let doubt = self.others.doubt(&of_key(&(self.coordinator)()))?;
        Some(format!(
            "the coordinator's query log {doubt}: its questions are refused; ask the federation what became of it"
        ))
    }

    /// How far this node's log has come, for a coordinator that saw so many entries of it.
    pub(crate) fn head(&self, seen: u64) -> v1::LogHead {
        heads::told(&self.own, &self.gate.log().head(seen), self.others.newest(&of_key(&(self.coordinator)())).entries)
    }

    /// Looks after the log, and completes when this process will never log again.
    pub(crate) async fn keep_log(&self) {
        // Looking may read the whole log: not where calls are served.
        loop {
            let log = self.gate.shared();
            if tokio::task::spawn_blocking(move || log.is_stopped()).await.unwrap_or(true) {
                return;
            }
            self.note_refusals(false);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Logs how many refusals do not stand in the log one by one; when their hour is over, or at the `end`.
    pub(crate) fn note_refusals(&self, end: bool) {
        if let Some(Err(fault)) = self.refusals.due(end).map(|entry| self.note(&entry)) {
            tracing::error!("{fault}");
        }
    }

    /// Whether the coordinator's log continues what this node has seen of it; how far it has come then.
    fn continues(&self, told: Option<&v1::LogHead>) -> Result<Seen, Refusal> {
        let log = of_key(&(self.coordinator)());
        let refused = |what: String| {
            Refusal::new(
                Rule::Log,
                format!("the coordinator's query log {what}"),
                "Nothing is answered until it continues: the coordinator's operator and the auditors have to look into it",
            )
        };
        // A question has its INTENT before it is sent.
        let Some(head) = told.and_then(|told| heads::heard(&log, told)).filter(|head| head.now.entries > 0) else {
            return Err(refused(
                "does not say how far it has come, or is not the one that the manifest names".to_owned(),
            ));
        };
        let judged = self.others.judge(&log, &head, None);
        let doubted = judged.doubt.map(|doubt| refused(doubt.to_string()));
        if judged.changed {
            let detail = match &doubted {
                Some(refusal) => refusal.message.clone(),
                None => "the coordinator's query log continues again".to_owned(),
            };
            tracing::error!("{detail}");
            let entry = Entry::admin(detail);
            if self.refusals.takes(&entry)
                && let Err(fault) = self.note(&entry)
            {
                tracing::error!("{fault}");
            }
        }
        doubted.map_or(Ok(Seen { log, mark: head.now }), Err)
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
        let log = request.log.clone();
        let asked = match Asked::parse(request) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Some(refusal)),
        };
        if dry_run {
            return Ok(self.work.judge(&asked).err());
        }
        let judged = self.continues(log.as_ref()).and_then(|seen| Ok((seen, self.work.judge(&asked)?)));
        let (seen, accepted) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                let entry = asked.entry(Kind::Refuse, "", "", refusal.rule.name());
                // Of a log that has only to be shown once more nothing is to be said yet.
                let again = refusal.rule == Rule::Log && self.coordinator_fault().is_none();
                if !again && self.refusals.takes(&entry) {
                    self.append(&entry)?;
                }
                self.outcomes.count("refused");
                return Ok(Some(refusal));
            }
        };
        let time = deadline.max(SHORTEST).min(self.longest);
        let job = match self.jobs.admit(asked.query, &asked.identity(), asked.analyst.to_string(), time) {
            Ok(Admission::New(job)) if self.has_room(&asked.analyst.to_string()) => job,
            Ok(Admission::New(job)) => {
                job.cancel();
                self.outcomes.count("busy");
                let advice =
                    "Go on in an hour, or have the node's operator allow more: questions_per_hour under [limits]";
                let message =
                    "the node has answered as many questions as it does within an hour, of one asker half of them";
                return Ok(Some(Refusal::new(Rule::Busy, message, advice)));
            }
            Ok(Admission::Known) => return Ok(None),
            Err(refusal) => {
                self.outcomes.count("busy");
                return Ok(Some(refusal));
            }
        };
        let dataset = &accepted.fragment.title();
        let accept = asked.entry(Kind::Accept, dataset, &accepted.agreement, "");
        if let Err(status) = self.append(&Entry { seen: vec![seen], ..accept }) {
            job.cancel();
            return Err(status);
        }
        let queries = Arc::clone(self);
        self.crew.spawn(async move { queries.run(&asked, &accepted, &job).await });
        Ok(None)
    }

    /// Whether another question of an asker fits into this hour.
    fn has_room(&self, asker: &str) -> bool {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = accepted.all() < self.hourly && accepted.of(asker) < self.hourly.div_ceil(2);
        if fits {
            accepted.add(asker);
        }
        fits
    }

    fn append(&self, entry: &Entry) -> Result<(), Status> {
        self.gate.log().append(entry).map_err(|fault| {
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
                let _logged = self.append(&asked.entry(Kind::Fail, dataset, &accepted.agreement, detail));
                job.not_answered().await;
            }
        }
    }

    /// execute → disclose → release.
    async fn answer(&self, asked: &Asked, accepted: &Accepted, job: &Job) -> anyhow::Result<Release> {
        let asked_at = Instant::now();
        let turn = self.turns.take(&asked.analyst.to_string()).await;
        self.times.took("wait", asked_at.elapsed());
        job.running();
        let began = Instant::now();
        let cells = self.work.cells(asked, accepted).await?;
        self.times.took("work", began.elapsed());
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
