//! A query's way through a node: it is judged, logged, admitted and run in its turn. Then it is released or ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use chrono::Utc;
use futures::future::BoxFuture;
use loda_disclosure::{Method, Released};
use loda_identity::manifest::Quorum;
use loda_ledger::payload::{Commitment, PayloadStore, RecordClass, Retention};
use loda_ledger::{
    Asked as AskedWords, Entry, Event, FailReason, Hourly, Log, LogError, OtherLogs, RefusalQuota, Refused, Seen,
    Spool, Unconfirmed, of_key,
};
use loda_proto::v1;
use loda_question::{Fragment, Refusal, Rule};
use loda_service::{FairQueue, Outcomes, TaskGroup, Times, heads, retention};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use uuid::Uuid;

use crate::config::Limits;
use crate::query::confirmation::Confirmation;
use crate::query::registry::{Admission, Job, LogRecovery, QueryRegistry};
use crate::query::release::{Gate, Release};
use crate::query::request::{Accepted, Asked, AskerOf, AtHand, described};

/// No deadline is shorter, so nobody learns from a deadline whether an answer takes a little longer.
const SHORTEST: Duration = Duration::from_secs(5);

/// An answer that leaves within this time is told together with its acceptance, so that one message says all.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The number of requests that are judged at once.
const JUDGING: usize = 4;

/// A borough's part of the work for a query. The rest is the protocol's part.
pub(crate) trait Work: Send + Sync + 'static {
    /// Judges a request by contract and agreement.
    fn judge(&self, asked: &Asked) -> Result<Accepted, Refusal>;

    /// What a refused request asked, if that can be read.
    fn meant(&self, asked: &Asked) -> Option<Fragment>;

    /// Refuses if the agreement in force no longer grants the accepted question. It may have ended meanwhile.
    fn agreed(&self, asked: &Asked, accepted: &Accepted) -> Result<(), Refusal>;

    /// The cells of an answer that is at hand, so that no record is read for it.
    fn at_hand(&self, asked: &Asked, accepted: &Accepted) -> Option<Released<RecordBatch>>;

    /// The method of disclosure control for the answer.
    fn method(&self, accepted: &Accepted) -> Arc<dyn Method>;

    /// An answer leaves at a multiple of this time. So its time tells no more about the records than their class of
    /// cost.
    fn step(&self, accepted: &Accepted) -> Option<Duration>;

    /// Executes the question, and discloses its cells.
    fn cells<'a>(
        &'a self,
        asked: &'a Asked,
        accepted: &'a Accepted,
    ) -> BoxFuture<'a, anyhow::Result<Released<RecordBatch>>>;
}

/// The other parties, as manifest and certificates of the moment have them.
pub(crate) struct Parties {
    /// The name of this node's log, by its key, at the opening of the log.
    pub(crate) own: String,
    /// The key of the coordinator's log.
    pub(crate) coordinator: Box<dyn Fn() -> String + Send + Sync>,
    /// The asker of a signed question.
    pub(crate) asker_of: AskerOf,
    /// What the manifest demands of the boroughs as witnesses of the coordinator's log.
    pub(crate) quorum: Box<dyn Fn() -> Option<Quorum> + Send + Sync>,
}

/// All queries of one node, from its start to its end.
pub(crate) struct QueryService {
    pub(crate) registry: QueryRegistry,
    pub(crate) outcomes: Outcomes,
    pub(crate) times: Times,
    work: Arc<dyn Work>,
    gate: Gate,
    /// The coordinator's log, as far as this node has seen it.
    others: OtherLogs,
    parties: Parties,
    /// Why this node does not confirm the coordinator's log.
    unconfirmed: Mutex<Option<String>>,
    /// Whether enough boroughs have confirmed it.
    pub(crate) confirmation: Confirmation,
    refusals: RefusalQuota,
    /// The questions that were accepted within the hour, by asker.
    accepted: Mutex<Hourly>,
    hourly: u32,
    turns: FairQueue,
    judging: Arc<Semaphore>,
    longest: Duration,
    /// Queries run here, so gRPC and health still answer while queries run.
    tasks: TaskGroup,
}

impl QueryService {
    /// Opens the service with the state of earlier runs. Queries that were cut off are first ended in the log.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn open(
        limits: &Limits,
        (log, payloads): (Arc<dyn Log>, Arc<PayloadStore>),
        spool: Spool,
        mut history: LogRecovery,
        work: Arc<dyn Work>,
        tasks: TaskGroup,
        parties: Parties,
    ) -> anyhow::Result<Arc<Self>> {
        for ending in history.endings() {
            log.append(&ending)?;
        }
        Ok(Arc::new(Self {
            others: std::mem::take(&mut history.others),
            parties,
            unconfirmed: Mutex::default(),
            confirmation: Confirmation::default(),
            refusals: RefusalQuota::default(),
            accepted: Mutex::default(),
            hourly: limits.questions_per_hour,
            registry: QueryRegistry::new(limits.accepted, spool, history),
            outcomes: Outcomes::default(),
            times: Times::default(),
            work,
            gate: Gate::new(log, payloads),
            turns: FairQueue::new(limits.running),
            judging: Arc::new(Semaphore::new(JUDGING)),
            longest: limits.query_time(),
            tasks,
        }))
    }

    /// Logs an event that belongs to no query.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn note(&self, entry: &Entry) -> Result<(), LogError> {
        self.gate.log().append(entry).map(drop)
    }

    /// The reason why nothing can be logged. Then nothing is answered either.
    pub(crate) fn log_fault(&self) -> Option<String> {
        self.gate.log().fault()
    }

    /// The number of entries of the log.
    pub(crate) fn log_entries(&self) -> u64 {
        self.gate.log().head(0).now.entries
    }

    /// This node's doubt about the coordinator's log.
    pub(crate) fn coordinator_fault(&self) -> Option<String> {
        let doubt = self.others.doubt(&of_key(&(self.parties.coordinator)())).map(|doubt| doubt.to_string());
        let doubt = doubt.or_else(|| self.unconfirmed())?;
        Some(format!(
            "the coordinator's query log {doubt}: its questions are refused; ask the federation what became of it"
        ))
    }

    fn unconfirmed(&self) -> Option<String> {
        let own = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.or_else(|| self.confirmation.lacks((self.parties.quorum)()))
    }

    /// Keeps whether this node could confirm the newest checkpoint of the coordinator's log. A change is logged.
    pub(crate) fn witnessed(&self, fault: Option<&Unconfirmed>) {
        let doubt = match fault {
            Some(fault @ (Unconfirmed::Back { .. } | Unconfirmed::Forked { .. } | Unconfirmed::Unproven { .. })) => {
                Some(format!("was not confirmed: {fault}"))
            }
            // The caller asks again, or is not the coordinator, or this node's disk is at fault.
            Some(_) => return,
            None => None,
        };
        let before = {
            let mut unconfirmed = self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *unconfirmed, doubt.clone())
        };
        if before.is_some() != doubt.is_some() {
            let what = doubt.as_deref().unwrap_or("is confirmed again");
            self.note_of_coordinator(&format!("the coordinator's query log {what}"));
        }
    }

    fn note_of_coordinator(&self, detail: &str) {
        tracing::error!("{detail}");
        let entry = Entry::admin(detail);
        if self.refusals.takes(&entry)
            && let Err(fault) = self.note(&entry)
        {
            tracing::error!("{fault}");
        }
    }

    /// The most entries of the coordinator's log that this node has been shown.
    pub(crate) fn shown(&self) -> u64 {
        self.others.newest(&of_key(&(self.parties.coordinator)())).entries
    }

    /// The head of this node's log, for a coordinator that has seen `seen` entries of it.
    pub(crate) fn head(&self, seen: u64) -> v1::LogHead {
        heads::told(&self.parties.own, &self.gate.log().head(seen), self.shown())
    }

    /// Destroys the words behind the log when their time is over.
    pub(crate) fn keep_words(&self, keep: Retention) -> impl Future<Output = ()> + Send + 'static {
        retention::keep(self.gate.shared(), Arc::clone(&self.gate.payloads), keep)
    }

    /// Looks after the log. Completes when this process will never log again.
    pub(crate) async fn keep_log(&self) {
        // This may read the whole log, so it must not run where calls are served.
        loop {
            let log = self.gate.shared();
            if tokio::task::spawn_blocking(move || log.is_stopped()).await.unwrap_or(true) {
                return;
            }
            self.note_refusals(false);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Logs the number of refusals without entries of their own, when their hour is over or at the `end`.
    pub(crate) fn note_refusals(&self, end: bool) {
        if let Some(Err(fault)) = self.refusals.due(end).map(|entry| self.note(&entry)) {
            tracing::error!("{fault}");
        }
    }

    /// Checks that the coordinator's log continues the part that this node has seen. Returns how far the log has come.
    fn continues(&self, told: Option<&v1::LogHead>) -> Result<Seen, Refusal> {
        let log = of_key(&(self.parties.coordinator)());
        let refused = |what: String| {
            Refusal::new(
                Rule::Log,
                format!("the coordinator's query log {what}"),
                "Nothing is answered until it continues: the coordinator's operator and the auditors have to look into it",
            )
        };
        // The INTENT of a question comes before the question, so the log has an entry.
        let Some(head) = told.and_then(|told| heads::heard(&log, told)).filter(|head| head.now.entries > 0) else {
            return Err(refused(
                "does not say how far it has come, or is not the one that the manifest names".to_owned(),
            ));
        };
        if let Some(fault) = self.unconfirmed() {
            return Err(refused(fault));
        }
        let judged = self.others.judge(&log, &head, None);
        let doubted = judged.doubt.map(|doubt| refused(doubt.to_string()));
        if judged.changed {
            let detail = match &doubted {
                Some(refusal) => refusal.message.clone(),
                None => "the coordinator's query log continues again".to_owned(),
            };
            self.note_of_coordinator(&detail);
        }
        doubted.map_or(Ok(Seen { log, mark: head.now }), Err)
    }

    /// Runs a task on the queries' runtime, for as long as queries run.
    pub(crate) fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(crate) fn job(&self, id: &str) -> Result<Arc<Job>, Status> {
        let id = Uuid::try_parse(id).map_err(|_| Status::invalid_argument("query_id"))?;
        self.registry.get(&id).ok_or_else(|| Status::not_found("unknown_query"))
    }

    /// Judges a request, and starts it unless it is a dry run.
    pub(crate) async fn submit(self: &Arc<Self>, request: v1::SubmitRequest) -> Result<Option<Refusal>, Status> {
        // Judging enumerates grids, and the log waits for the disk, so neither belongs on the serving thread. It runs
        // where the query then runs: another thread would have to be woken for an answer that is at hand. Few requests
        // are judged at a time, because a caller that has gone away still costs the work that it began.
        let permit = Arc::clone(&self.judging).acquire_owned().await.map_err(|_| Status::unavailable("stopping"))?;
        let queries = Arc::clone(self);
        let id = Uuid::try_parse(&request.query_id);
        let judged = self.tasks.run(async move {
            let judged = queries.take(request);
            drop(permit);
            // Each message wakes the serving thread here and one of the coordinator's.
            if let (Ok(None), Some(job)) = (&judged, id.ok().and_then(|id| queries.registry.get(&id))) {
                let _over = tokio::time::timeout(AT_ONCE, job.over()).await.is_ok();
            }
            judged
        });
        judged.await.map_err(|_| Status::internal("internal"))?
    }

    /// Judges, logs and starts a query, in that order.
    fn take(self: &Arc<Self>, request: v1::SubmitRequest) -> Result<Option<Refusal>, Status> {
        let (dry_run, deadline) = (request.dry_run, Duration::from_millis(request.deadline_ms.into()));
        let log = request.log.clone();
        let mut asked = match Asked::parse(request) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Some(refusal)),
        };
        if dry_run {
            return Ok(self.work.judge(&asked).err());
        }
        let signature = asked.check_signature(&self.parties.asker_of, Utc::now().timestamp());
        let judged = self.continues(log.as_ref()).and_then(|seen| {
            signature?;
            Ok((seen, self.work.judge(&asked)?))
        });
        let (seen, mut accepted) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                // If the log only has to be shown once more, nothing is recorded yet.
                let again = refusal.rule == Rule::Log && self.coordinator_fault().is_none();
                if !again {
                    self.log_refusal(&asked, &refusal)?;
                }
                self.outcomes.count("refused");
                return Ok(Some(refusal));
            }
        };
        let time = deadline.max(SHORTEST).min(self.longest);
        let job = match self.registry.admit(asked.query, &asked.identity(), asked.analyst.to_string(), time) {
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
        let at_hand = self.work.at_hand(&asked, &accepted);
        let begun = self.words(&asked, &accepted.fragment).and_then(|words| {
            let event = Event::Accept { asked: Some(words) };
            let accept = Entry { seen: vec![seen], ..asked.entry(event, dataset, &accepted.agreement) };
            // While the log cannot be written, the asker is told so at once.
            match at_hand.filter(|_| self.log_fault().is_none()) {
                Some(cells) => Ok(Some(AtHand { cells, accept })),
                None => self.append(&[accept]).map(|()| None),
            }
        });
        match begun {
            Ok(at_hand) => accepted.at_hand = at_hand,
            Err(status) => {
                job.cancel();
                return Err(status);
            }
        }
        let queries = Arc::clone(self);
        self.tasks.spawn(async move { queries.run(&asked, &accepted, &job).await });
        Ok(None)
    }

    /// Stores what was asked.
    fn words(&self, asked: &Asked, fragment: &Fragment) -> Result<Commitment, Status> {
        let kept = self.gate.payloads.keep(RecordClass::Question, &asked.fragment, || described(fragment));
        kept.map_err(unavailable)
    }

    /// Logs a refusal, with what was asked.
    fn log_refusal(&self, asked: &Asked, refusal: &Refusal) -> Result<(), Status> {
        let entry = |words: Option<Commitment>, dataset: &str| {
            let rule = refusal.rule.name().to_owned();
            asked.entry(Event::Refuse(Refused::One { rule, asked: words.map(AskedWords::Committed) }), dataset, "")
        };
        if !self.refusals.takes(&entry(None, "")) {
            return Ok(());
        }
        let Some(fragment) = self.work.meant(asked) else { return self.append(&[entry(None, "")]) };
        let words = self.words(asked, &fragment)?;
        self.append(&[entry(Some(words), &fragment.title())])
    }

    /// Logs that an auditor reads what was asked and released.
    ///
    /// # Errors
    /// The log cannot be written.
    pub(crate) fn note_reading(&self, auditor: &str) -> Result<(), Status> {
        let detail = "query log read, with what was asked and released";
        self.append(&[Entry { analyst: auditor.to_owned(), ..Entry::admin(detail) }])
    }

    /// Whether another question of an asker fits into this hour. If so, it counts.
    fn has_room(&self, asker: &str) -> bool {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = accepted.all() < self.hourly && accepted.of(asker) < self.hourly.div_ceil(2);
        if fits {
            accepted.add(asker);
        }
        fits
    }

    fn append(&self, entries: &[Entry]) -> Result<(), Status> {
        self.gate.log().append_all(entries).map(drop).map_err(unavailable)
    }

    /// Runs a query to its single end.
    async fn run(&self, asked: &Asked, accepted: &Accepted, job: &Job) {
        let answered = tokio::select! {
            // The cancellation is polled first. A query that it stops has no answer.
            biased;
            () = job.cancelled() => Err(FailReason::Cancelled),
            answered = tokio::time::timeout_at(job.deadline(), self.answer(asked, accepted, job)) => match answered {
                Ok(Ok(release)) => Ok(release),
                Ok(Err(fault)) => {
                    tracing::warn!(query = %asked.query, "not answered: {fault:#}");
                    Err(if fault.is::<Refusal>() { FailReason::Agreement } else { FailReason::Error })
                }
                Err(_elapsed) => Err(FailReason::Deadline),
            },
        };
        match answered {
            Ok(release) => {
                self.outcomes.count("released");
                job.released(release);
            }
            Err(reason) => {
                self.outcomes.count(reason.name());
                let dataset = &accepted.fragment.title();
                // The job ends as not answered even if this cannot be logged, because nothing leaves.
                let end = asked.entry(Event::Fail(reason), dataset, &accepted.agreement);
                let _logged = self.append(&accepted.ended(end));
                job.not_answered().await;
            }
        }
    }

    /// Executes, discloses and releases.
    async fn answer(&self, asked: &Asked, accepted: &Accepted, job: &Job) -> anyhow::Result<Release> {
        let asked_at = Instant::now();
        let turn = self.turns.take(&asked.analyst.to_string()).await;
        self.times.took("wait", asked_at.elapsed());
        let began = Instant::now();
        let cells = match &accepted.at_hand {
            Some(at_hand) => at_hand.cells.clone(),
            None => {
                job.running();
                self.work.cells(asked, accepted).await?
            }
        };
        self.times.took("work", began.elapsed());
        drop(turn);
        if let Some(step) = self.work.step(accepted) {
            let steps = began.elapsed().as_nanos().div_ceil(step.as_nanos().max(1)).max(1);
            sleep_until(began + step.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX))).await;
        }
        let method = self.work.method(accepted);
        let keep = |release: &Release| self.registry.keep(&asked.query, &asked.identity(), release);
        let agreed = || self.work.agreed(asked, accepted);
        self.gate.release(asked, accepted, &*method, &cells, &keep, &agreed)
    }
}

fn unavailable(fault: impl std::fmt::Display) -> Status {
    tracing::error!("{fault}");
    Status::unavailable("log_unavailable")
}
