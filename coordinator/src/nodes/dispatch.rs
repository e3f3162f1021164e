//! Sends fragments to nodes and collects released cells, under one deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use loda_contract::Value;
use loda_identity::{Gss, SignedQuestion};
use loda_ledger::Seen;
use loda_proto::v1::node_client::NodeClient;
use loda_proto::v1::told::Word;
use loda_proto::{VERSIONS, v1};
use loda_question::table::{CellFigure, Lowered, TableCells};
use loda_question::{Fragment, Rule};
use loda_service::heads;
use tokio::time::{Instant, timeout, timeout_at};

use crate::nodes::answer_budget::{AnswerBudget, Taken};
use crate::nodes::channels::{CONNECT, NodeChannel, NodeConnector};
use crate::nodes::decode_cells::{self, ReleasedCells};
use crate::nodes::log_heads::NodeLogs;
use crate::plan::federated_aggregate::FederatedAggregate;

/// The most characters of each text from a node.
const WORDS: usize = 500;

/// The most attempts on a node that has not accepted a query. A node that restarts gets enough of them, and a node that
/// is gone costs little time.
const ATTEMPTS: u32 = 4;

/// How long a node may take for a page of its log.
const READING: Duration = Duration::from_secs(30);

/// The federation's nodes.
pub(crate) struct Nodes {
    lines: Box<dyn NodeConnector>,
    pub(crate) logs: NodeLogs,
    room: AnswerBudget,
}

/// The outcome of one fragment at one borough.
#[derive(Clone)]
pub(crate) enum Answer {
    Cells {
        header: v1::ReleasedHeader,
        cells: ReleasedCells,
        /// For data about people: the estimate for each figure of each cell.
        known: BTreeMap<Vec<Value>, Vec<CellFigure>>,
    },
    /// A table about people, before the cells of a question are computed from it.
    Table {
        header: v1::ReleasedHeader,
        table: TableCells,
    },
    Refused(v1::Refusal),
    /// No usable answer arrived by the deadline, for any reason.
    None,
    /// The question's filter cannot hold there.
    NotAsked,
}

/// A fragment on its way to a borough.
pub(crate) struct NodeRequest {
    pub(crate) query: String,
    /// The id of the whole question.
    pub(crate) question: String,
    pub(crate) analyst: String,
    pub(crate) purpose: String,
    pub(crate) targets: Vec<String>,
    pub(crate) fragment: Fragment,
    /// The question as its asker signed it.
    pub(crate) signed: Option<Arc<SignedQuestion>>,
    /// In a dry run: the asker would sign it.
    pub(crate) would_sign: bool,
    /// How far the logs of the nodes that released an answer had come.
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

/// Whether a node would answer.
pub(crate) enum Verdict {
    Yes,
    No(v1::Refusal),
    /// The node did not say.
    Unreachable,
}

impl Nodes {
    /// `room`: the most bytes of answers that are read at once.
    pub(crate) fn over(lines: Box<dyn NodeConnector>, logs: NodeLogs, room: usize) -> Self {
        Self { lines, logs, room: AnswerBudget::of(room) }
    }

    fn client(&self, gss: &Gss) -> anyhow::Result<NodeClient<NodeChannel>> {
        Ok(NodeClient::new(self.lines.to(gss)?).max_decoding_message_size(4 << 20))
    }

    /// A node's description of itself, if it answers in time and speaks our version. The second value says why its
    /// answers are not used, if its log is in doubt.
    ///
    /// # Errors
    /// Why the node cannot take part.
    pub(crate) async fn describe(
        &self,
        gss: &Gss,
        successors: &[v1::ManifestVersion],
    ) -> Result<(v1::DescribeResponse, Option<String>), &'static str> {
        let sent = self.logs.sent(gss);
        let asked = async {
            let request = v1::DescribeRequest {
                versions: VERSIONS.to_vec(),
                log: Some(sent.told.clone()),
                manifest_version: self.logs.identity().manifest().version,
                successors: successors.to_vec(),
            };
            anyhow::Ok(self.client(gss)?.describe(request).await?.into_inner())
        };
        match timeout(CONNECT, asked).await {
            Ok(Ok(description)) if description.refusal.is_some() => {
                Err("it speaks another protocol version: upgrade the older side")
            }
            Ok(Ok(description)) if description.borough != gss.as_str() => Err("it answers for another borough"),
            Ok(Ok(description)) => {
                let doubt = self.logs.judge(gss, &sent, description.log.as_ref()).err();
                Ok((description, doubt))
            }
            Ok(Err(_)) | Err(_) => Err("it cannot be reached"),
        }
    }

    /// A page of a node's query log, for an auditor.
    ///
    /// # Errors
    /// The node cannot be reached, or does not answer in time.
    pub(crate) async fn read_log(&self, gss: &Gss, request: v1::ReadLogRequest) -> anyhow::Result<v1::ReadLogResponse> {
        let asked = async { anyhow::Ok(self.client(gss)?.read_log(request).await?.into_inner()) };
        timeout(READING, asked).await?
    }

    /// Asks a node to confirm a checkpoint of our log.
    ///
    /// # Errors
    /// The node cannot be reached, does not answer in time, or is of earlier software.
    pub(crate) async fn cosign(&self, gss: &Gss, request: v1::CosignRequest) -> anyhow::Result<v1::CosignResponse> {
        let asked = async { anyhow::Ok(self.client(gss)?.cosign(request).await?.into_inner()) };
        timeout(CONNECT, asked).await?
    }

    /// Asks a node whether it would answer. Nothing runs.
    pub(crate) async fn judge(&self, gss: &Gss, errand: &NodeRequest) -> Verdict {
        let asked = async {
            let request = v1::SubmitRequest { dry_run: true, ..errand.request(CONNECT, None) };
            anyhow::Ok(self.client(gss)?.submit(request).await?.into_inner().refusal)
        };
        match timeout(CONNECT, asked).await {
            Ok(Ok(None)) => Verdict::Yes,
            Ok(Ok(Some(refusal))) => Verdict::No(refusal),
            Ok(Err(_)) | Err(_) => Verdict::Unreachable,
        }
    }

    /// Asks until there is an answer, or until the deadline.
    pub(crate) async fn run(
        &self,
        gss: &Gss,
        errand: &NodeRequest,
        deadline: Instant,
        told: &(dyn Fn(v1::State) + Sync),
    ) -> Answer {
        let answer = match timeout_at(deadline, self.ask(gss, errand, deadline, told)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => {
                tracing::warn!(borough = %gss, query = errand.query, "no answer: {fault:#}");
                Answer::None
            }
            Err(_elapsed) => {
                tracing::warn!(borough = %gss, query = errand.query, "no answer by the deadline");
                Answer::None
            }
        };
        told(match answer {
            Answer::Cells { .. } | Answer::Table { .. } => v1::State::Released,
            Answer::Refused(_) => v1::State::Refused,
            Answer::None | Answer::NotAsked => v1::State::NotAnswered,
        });
        answer
    }

    /// Asks until there is an answer. A lost connection is not an answer, and every request is safe to repeat.
    async fn ask(
        &self,
        gss: &Gss,
        errand: &NodeRequest,
        deadline: Instant,
        told: &(dyn Fn(v1::State) + Sync),
    ) -> anyhow::Result<Answer> {
        let (mut taken, mut failures, mut shown) = (false, 0_u32, false);
        loop {
            let fault = match self.attempt(gss, errand, deadline, told, &mut taken).await {
                // The node has now said how much of our log it has seen. The next attempt can show that our log
                // continues from there.
                Ok(Answer::Refused(refusal)) if refusal.rule == Rule::Log.name() && !shown => {
                    shown = true;
                    continue;
                }
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            failures = failures.saturating_add(1);
            if !is_passing(&fault) || (!taken && failures >= ATTEMPTS) {
                return Err(fault);
            }
            tracing::info!(borough = %gss, query = errand.query, "asking again: {fault:#}");
            tokio::time::sleep(Duration::from_millis(100).saturating_mul(1 << failures.min(4))).await;
        }
    }

    async fn attempt(
        &self,
        gss: &Gss,
        errand: &NodeRequest,
        deadline: Instant,
        told: &(dyn Fn(v1::State) + Sync),
        taken: &mut bool,
    ) -> anyhow::Result<Answer> {
        let mut client = self.client(gss)?;
        // The node gives up a little earlier, so that its last event arrives in time.
        let left = deadline.saturating_duration_since(Instant::now());
        let sent = self.logs.sent(gss);
        let request = errand.request(left.saturating_sub(left / 10), Some(sent.told.clone()));
        let mut words = client.ask(request).await?.into_inner();
        let (mut header, mut bytes, mut seen, mut taken_room) = (None, Vec::new(), None, Taken::default());
        while let Some(word) = words.message().await? {
            if seen.is_none() && word.word.as_ref().is_some_and(heads::comes_with) {
                match self.logs.judge(gss, &sent, word.log.as_ref()) {
                    Ok(now) => seen = Some(now),
                    Err(doubt) => return Ok(Answer::Refused(doubted(doubt))),
                }
            }
            match word.word {
                Some(Word::Refusal(mut refusal)) => {
                    [&mut refusal.rule, &mut refusal.message, &mut refusal.advice].into_iter().for_each(short);
                    return Ok(Answer::Refused(refusal));
                }
                Some(Word::State(state)) => {
                    *taken = true;
                    let state = v1::State::try_from(state).unwrap_or_default();
                    told(state);
                    if !matches!(state, v1::State::Queued | v1::State::Running | v1::State::Held) {
                        return Ok(Answer::None);
                    }
                }
                Some(Word::Chunk(chunk)) => {
                    header = header.or(chunk.header);
                    if header.is_none() {
                        bail!("the answer has no header");
                    }
                    if chunk.arrow_ipc.is_empty() && !bytes.is_empty() {
                        bail!("a part of the answer is empty");
                    }
                    self.room.take(gss, chunk.arrow_ipc.len(), &mut taken_room).await?;
                    bytes.extend_from_slice(&chunk.arrow_ipc);
                }
                None => bail!("the node speaks words that this coordinator does not know"),
            }
        }
        // The node's last event is a refusal, a state that ends the query, or the released cells.
        let mut header = header.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        [&mut header.method, &mut header.parameters, &mut header.as_at, &mut header.assessed]
            .into_iter()
            .for_each(short);
        if let Some(seen) = seen {
            errand.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        }
        // These bytes come from a node: a panic on them ends only this answer.
        let read = std::panic::catch_unwind(AssertUnwindSafe(|| match &errand.fragment {
            Fragment::Question(question) => {
                let cells = decode_cells::read(question, bytes)?;
                anyhow::Ok(Answer::Cells { header, cells, known: BTreeMap::new() })
            }
            Fragment::Table(table) => {
                let table = decode_cells::read_table(table, header.count_variance, bytes)?;
                Ok(Answer::Table { header, table })
            }
        }));
        read.map_err(|_| anyhow::anyhow!("reading the answer stopped"))?
    }

    /// Tells a node to stop. It does not matter whether the message arrives.
    pub(crate) async fn cancel(&self, gss: &Gss, query: &str) {
        if let Ok(mut client) = self.client(gss) {
            let request = v1::CancelNodeRequest { query_id: query.to_owned() };
            let _heard = timeout(Duration::from_secs(1), client.cancel(request)).await;
        }
    }
}

impl Answer {
    /// Makes a borough's answer to its question from the answers to its tables.
    pub(crate) fn of_tables(part: &FederatedAggregate, lowered: &Lowered, answers: Vec<Self>) -> Self {
        let (mut headers, mut tables) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Self::Table { header, table } => {
                    headers.push(header);
                    tables.push(table);
                }
                other => return other,
            }
        }
        let dense = headers.iter().any(|header| header.dense);
        // All tables of a borough are protected, or none is. A mixed answer is dropped.
        if headers.iter().any(|header| header.dense != dense) || tables.len() != lowered.tables().len() {
            return Self::None;
        }
        let Some(mut header) = headers.into_iter().reduce(joined) else { return Self::None };
        header.snapshots.sort_by(|a, b| a.dataset.cmp(&b.dataset));
        let known = lowered.cells(&tables, dense, part.is_london(), &part.wholes);
        let values = |figures: &Vec<CellFigure>| figures.iter().map(|figure| figure.value).collect();
        let cells = known.iter().map(|(cell, figures)| (cell.clone(), values(figures))).collect();
        Self::Cells { header, cells, known }
    }
}

/// The boroughs' answers to the tables of each part.
pub(crate) type AnsweredTables = BTreeMap<(usize, Gss), Vec<(usize, Answer)>>;

/// Boroughs close periods on different days. A period that another borough has already closed counts as missing here,
/// not as empty.
pub(crate) fn share_periods<'a>(answers: &mut AnsweredTables, lowered: impl Fn(usize, &Gss) -> Option<&'a Lowered>) {
    let place = |part: usize, gss: &Gss, table: usize| lowered(part, gss)?.tables().get(table)?.period();
    let mut closed: BTreeMap<(usize, usize), BTreeSet<Value>> = BTreeMap::new();
    for ((part, gss), of_borough) in &*answers {
        for (number, answer) in of_borough {
            let (Answer::Table { table, .. }, Some(place)) = (answer, place(*part, gss, *number)) else { continue };
            let listed = table.lists.get(place).into_iter().flatten().flatten().cloned();
            closed.entry((*part, *number)).or_default().extend(listed);
        }
    }
    for ((part, gss), of_borough) in answers {
        for (number, answer) in of_borough {
            let (Answer::Table { table, .. }, Some(place)) = (answer, place(*part, gss, *number)) else { continue };
            if let (Some(list), Some(closed)) = (table.lists.get_mut(place), closed.get(&(*part, *number))) {
                *list = Some(closed.iter().cloned().collect());
            }
        }
    }
}

/// One header for several answers of one borough: its time is that of the oldest.
fn joined(mut all: v1::ReleasedHeader, one: v1::ReleasedHeader) -> v1::ReleasedHeader {
    if one.as_at < all.as_at {
        all.as_at = one.as_at;
    }
    all.count_error = all.count_error.max(one.count_error);
    all.count_variance = all.count_variance.max(one.count_variance);
    if !all.assessed.contains(&one.assessed) {
        all.assessed = format!("{}; {}", all.assessed, one.assessed);
    }
    for used in one.snapshots {
        if !all.snapshots.contains(&used) {
            all.snapshots.push(used);
        }
    }
    all
}

/// Whether another attempt can help: only if the connection was lost. A status with a source was made on this side.
fn is_passing(fault: &anyhow::Error) -> bool {
    match fault.downcast_ref::<tonic::Status>() {
        Some(status) => std::error::Error::source(status).is_some(),
        None => fault.is::<io::Error>(),
    }
}

impl NodeRequest {
    fn request(&self, time: Duration, log: Option<v1::LogHead>) -> v1::SubmitRequest {
        v1::SubmitRequest {
            query_id: self.query.clone(),
            question_id: self.question.clone(),
            analyst: self.analyst.clone(),
            purpose: self.purpose.clone(),
            fragment: self.fragment.encode(),
            targets: self.targets.clone(),
            deadline_ms: u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
            dry_run: false,
            signed: self.signed.as_deref().map(wire_signed),
            would_sign: self.would_sign,
            log,
        }
    }
}

fn wire_signed(signed: &SignedQuestion) -> v1::SignedQuestion {
    let SignedQuestion { text, scheme, signature, certificate } = signed.clone();
    v1::SignedQuestion { text, scheme: scheme.into(), signature, certificate }
}

/// The refusal in place of an answer from a node whose log is in doubt.
fn doubted(message: String) -> v1::Refusal {
    v1::Refusal {
        rule: Rule::Log.name().to_owned(),
        message,
        advice: "Its answers are not used until its log continues: ask the borough and the auditors what became of it"
            .to_owned(),
    }
}

/// Cuts a node's text to [`WORDS`] characters. It goes into statements and to people.
fn short(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(WORDS) {
        text.truncate(end);
    }
}

/// The state of each borough of a query, for progress.
#[derive(Default)]
pub(crate) struct Progress(Mutex<BTreeMap<(Gss, usize), v1::State>>);

impl Progress {
    pub(crate) fn set(&self, gss: &Gss, part: usize, state: v1::State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((gss.clone(), part), state);
    }

    /// One state for each borough: that of its least finished part.
    pub(crate) fn boroughs(&self) -> Vec<v1::BoroughState> {
        let states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut least: BTreeMap<&Gss, v1::State> = BTreeMap::new();
        for ((gss, _), state) in states.iter() {
            let entry = least.entry(gss).or_insert(*state);
            if rank(*state) < rank(*entry) {
                *entry = *state;
            }
        }
        let wire = |(gss, state): (&Gss, v1::State)| v1::BoroughState { borough: gss.to_string(), state: state.into() };
        least.into_iter().map(wire).collect()
    }
}

fn rank(state: v1::State) -> u8 {
    match state {
        v1::State::Queued | v1::State::Unspecified => 0,
        v1::State::Running | v1::State::Held => 1,
        v1::State::NotAnswered | v1::State::Cancelled => 2,
        v1::State::Refused => 3,
        v1::State::Released => 4,
    }
}
