//! From a request's bytes to a typed question, or a refusal, before a row is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use loda_contract::{Contract, Protection};
use loda_disclosure::Released;
use loda_identity::{Gss, PeerId};
use loda_ledger::payload::record::{self, FragmentAsked};
use loda_ledger::{Entry, Event};
use loda_proto::v1::{Coverage, SubmitRequest};
use loda_question::table::Table;
use loda_question::{Contracts, LIMITS, Question, Refusal, Rule};
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use crate::query::agreement::Agreement;
use crate::snapshot::Snapshot;
use crate::tables;

/// A question that this node will run, under contract and agreement, over pinned snapshots.
pub(crate) struct Accepted {
    pub(crate) fragment: Fragment,
    /// One snapshot for each dataset that is read.
    pub(crate) snapshots: Vec<Snapshot>,
    /// The agreement's id and version.
    pub(crate) agreement: String,
    /// The results for its datasets that were assessed, in words.
    pub(crate) assessed: String,
    /// The periods that its datasets cover, by dataset.
    pub(crate) covers: BTreeMap<String, Coverage>,
    /// The answer, if it is at hand.
    pub(crate) at_hand: Option<AtHand>,
}

/// An answer that needs no record, and the ACCEPT entry of its question. The entry goes to disk together with the one
/// that ends the question: no record is read before, and nothing leaves before.
pub(crate) struct AtHand {
    pub(crate) cells: Released<RecordBatch>,
    pub(crate) accept: Entry,
}

impl Accepted {
    /// The entries that end the question in the log: the ACCEPT entry, if it is not there yet, and `end`.
    pub(crate) fn ended(&self, end: Entry) -> Vec<Entry> {
        self.at_hand.iter().map(|at_hand| at_hand.accept.clone()).chain([end]).collect()
    }
}

/// The meaning of a fragment's bytes. A question about people is a table, and nothing else.
#[derive(Clone)]
pub(crate) enum Fragment {
    Question(Box<Question>),
    Table(Box<Table>),
}

impl Fragment {
    /// Decodes a fragment.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub(crate) fn decode(bytes: &[u8], contracts: Contracts<'_>) -> Result<Self, Refusal> {
        if Table::is_meant(bytes, LIMITS) {
            return Table::decode(bytes, LIMITS, contracts).map(|table| Self::Table(Box::new(table)));
        }
        let question = Question::decode(bytes, LIMITS, contracts)?;
        if question.scope().datasets.iter().any(|c| c.protection.may_be_about_people()) {
            return Err(Refusal::new(
                Rule::Table,
                "data about people are asked for by tables alone",
                "Ask through the coordinator: it asks for tables, and evaluates conditions over what is released",
            ));
        }
        Ok(Self::Question(Box::new(question)))
    }

    pub(crate) fn datasets(&self) -> &[Arc<Contract>] {
        match self {
            Self::Question(question) => &question.scope().datasets,
            Self::Table(table) => table.datasets(),
        }
    }

    pub(crate) fn protection(&self) -> Protection {
        match self {
            Self::Question(question) => question.scope().protection,
            Self::Table(_) => Protection::CellKey,
        }
    }

    /// What is asked, in words and as SQL, for readers of the log.
    pub(crate) fn described(&self) -> Vec<u8> {
        let (words, sql) = match self {
            Self::Question(question) => (question.words(), question.sql()),
            Self::Table(table) => (table.words(), table.sql()),
        };
        record::to_text(&FragmentAsked { words, sql })
    }

    /// The names of the datasets, for logs and people.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Question(question) => question.scope().title(),
            Self::Table(table) => table.title(),
        }
    }
}

/// A request's own values, with types. A value that does not fit its type makes the request invalid.
pub(crate) struct Asked {
    pub(crate) query: Uuid,
    /// The id of the whole question. `None`: the coordinator is of earlier software.
    question: Option<Uuid>,
    pub(crate) analyst: PeerId,
    pub(crate) purpose: String,
    pub(crate) fragment: Vec<u8>,
    targets: Vec<Gss>,
}

const MAX_TARGETS: usize = 64;
const MAX_PURPOSE: usize = 128;

impl Asked {
    /// Parses a request.
    ///
    /// # Errors
    /// Rule `fragment`.
    pub(crate) fn parse(request: SubmitRequest) -> Result<Self, Refusal> {
        let fault = |what: &str| Refusal::new(Rule::Fragment, what, "Send requests as the coordinator makes them");
        let query = Uuid::try_parse(&request.query_id).map_err(|_| fault("the query id is not a UUID"))?;
        let question = Some(&request.question_id).filter(|id| !id.is_empty()).map(|id| Uuid::try_parse(id));
        let question = question.transpose().map_err(|_| fault("the question's id is not a UUID"))?;
        let analyst = request.analyst.parse().map_err(|_| fault("the analyst is not a SPIFFE id"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_. /".contains(c);
        if request.purpose.is_empty() || request.purpose.len() > MAX_PURPOSE || !request.purpose.chars().all(plain) {
            return Err(fault("the purpose is empty, too long or not plain text"));
        }
        if request.targets.len() > MAX_TARGETS || request.fragment.len() > LIMITS.bytes {
            return Err(fault("the request is larger than the limits"));
        }
        let targets = request.targets.iter().map(|t| t.parse().map_err(|_| fault("a target is not a GSS code")));
        let targets = targets.collect::<Result<Vec<Gss>, Refusal>>()?;
        Ok(Self { query, question, analyst, purpose: request.purpose, fragment: request.fragment, targets })
    }

    pub(crate) fn fragment_hash(&self) -> String {
        hex::encode(digest(&SHA256, &self.fragment))
    }

    /// The text of everything that a query id stands for.
    pub(crate) fn identity(&self) -> String {
        let targets: Vec<&str> = self.targets.iter().map(Gss::as_str).collect();
        let question = self.question.map(|id| format!("|{id}")).unwrap_or_default();
        format!("{}|{}|{}|{}{question}", self.analyst, self.purpose, targets.join(","), self.fragment_hash())
    }

    /// A log entry of this query.
    pub(crate) fn entry(&self, event: Event, dataset: &str, agreement: &str) -> Entry {
        Entry {
            event,
            query: self.query.to_string(),
            question: self.question.map(|id| id.to_string()).unwrap_or_default(),
            analyst: self.analyst.to_string(),
            purpose: self.purpose.clone(),
            dataset: dataset.to_owned(),
            agreement: agreement.to_owned(),
            fragment: self.fragment_hash(),
            seen: Vec::new(),
        }
    }

    /// Judges the request by contract and agreement.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub(crate) fn judge(
        &self,
        borough: &Gss,
        agreement: &Agreement,
        snapshots: &dyn Fn(&str) -> Option<Snapshot>,
    ) -> Result<Accepted, Refusal> {
        if !self.targets.contains(borough) {
            return Err(Refusal::new(
                Rule::Target,
                "this borough is not among the query's targets",
                "Name every borough that the query goes to",
            ));
        }
        let contracts = |dataset: &str| snapshots(dataset).map(|s| s.contract);
        let fragment = Fragment::decode(&self.fragment, &contracts)?;
        let today = chrono::Utc::now().date_naive();
        let analyst = self.analyst.to_string();
        let missing = || Refusal::new(Rule::Unknown, "the dataset is not held here", "See the catalogue");
        let (mut pinned, mut agreed) = (Vec::new(), String::new());
        // An asker who may not see a dataset may not filter by it either, so every dataset must be agreed.
        for contract in fragment.datasets() {
            agreed = agreement.allows(&analyst, &self.purpose, &contract.dataset, today)?;
            pinned.push(snapshots(&contract.dataset).filter(|s| s.contract == *contract).ok_or_else(missing)?);
        }
        if let Fragment::Table(table) = &fragment {
            for (dataset, column) in tables::listed(table) {
                let of = pinned.iter().find(|s| s.contract.dataset == dataset);
                if of.is_none_or(|snapshot| !snapshot.lists.contains_key(column)) {
                    return Err(Refusal::new(
                        Rule::Unknown,
                        format!("what lists the values of {dataset}.{column} is not held here"),
                        "Leave out the column, or have the borough hold the list",
                    ));
                }
            }
        }
        Ok(Accepted {
            fragment,
            snapshots: pinned,
            agreement: agreed,
            assessed: String::new(),
            covers: BTreeMap::new(),
            at_hand: None,
        })
    }
}
