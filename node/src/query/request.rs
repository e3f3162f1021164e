//! From a request's bytes to a typed question, or a refusal, before a row is read.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use loda_disclosure::Released;
use loda_identity::{Asking, Gss, PeerId, SignedQuestion};
use loda_ledger::payload::record::{self, FragmentAsked};
use loda_ledger::{Entry, Event, fragment_id, sha256_hex};
use loda_proto::v1::{self, Coverage, SubmitRequest};
use loda_question::{Fragment, LIMITS, Refusal, Rule};
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

/// What is asked, in words and as SQL, for readers of the log.
pub(crate) fn described(fragment: &Fragment) -> Vec<u8> {
    record::to_text(&FragmentAsked { words: fragment.words(), sql: fragment.sql() })
}

/// A request's own values, with types. A value that does not fit its type makes the request invalid.
pub(crate) struct Asked {
    pub(crate) query: Uuid,
    /// The id of the whole question. `None`: the coordinator is of earlier software.
    question: Option<Uuid>,
    pub(crate) analyst: PeerId,
    pub(crate) purpose: String,
    pub(crate) fragment: Vec<u8>,
    /// The SHA-256 of its bytes, in hexadecimal.
    fragment_sha256: String,
    targets: Vec<Gss>,
    /// The question as its asker is said to have signed it.
    offered: Option<SignedQuestion>,
    /// The SHA-256 of what the asker signed, in hexadecimal, once it is checked. Empty before, and without a signature.
    signed: String,
    /// In a dry run: the asker would sign it.
    would_sign: bool,
}

/// The asker of a signed question, and what they signed, by the certificates that count now.
pub(crate) type AskerOf = Box<dyn Fn(&SignedQuestion) -> Result<(PeerId, Asking), String> + Send + Sync>;

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
        let signed =
            |of: v1::SignedQuestion| SignedQuestion::of_wire(&of.text, of.scheme, &of.signature, &of.certificate);
        let offered = request.signed.map(signed).map(|of| of.ok_or_else(|| fault("the signature is too large")));
        let offered = offered.transpose()?;
        let would_sign = request.dry_run && request.would_sign;
        Ok(Self {
            query,
            question,
            analyst,
            purpose: request.purpose,
            fragment_sha256: sha256_hex(&request.fragment),
            fragment: request.fragment,
            targets,
            offered,
            signed: String::new(),
            would_sign,
        })
    }

    /// The SHA-256 of the fragment's bytes, in hexadecimal.
    pub(crate) fn fragment_hash(&self) -> &str {
        &self.fragment_sha256
    }

    /// Checks the asker's signature, if there is one: it has to be of this very question, of this asker, for these
    /// boroughs, and in time. `now`: in Unix seconds.
    ///
    /// # Errors
    /// Rule `signature`.
    pub(crate) fn check_signature(&mut self, asker_of: &AskerOf, now: i64) -> Result<(), Refusal> {
        let Some(offered) = &self.offered else { return Ok(()) };
        let refused = |what: &str, advice: &str| Refusal::new(Rule::Signature, what, advice);
        const AGAIN: &str = "Ask again with `loda query`, which signs what is sent";
        let (signer, asking) =
            asker_of(offered).map_err(|why| refused(&format!("the asker's signature does not count: {why}"), AGAIN))?;
        let part = |(number, part): (usize, &loda_identity::AskedPart)| {
            part.sha256 == self.fragment_hash()
                && part.boroughs == self.targets
                && fragment_id(asking.question, number) == self.query
        };
        let of_this = signer == self.analyst
            && asking.purpose == self.purpose
            && self.question == Some(asking.question)
            && asking.parts.iter().enumerate().any(part);
        if !of_this {
            return Err(refused("the asker signed another question than this one", AGAIN));
        }
        if !asking.is_in_time(now) {
            return Err(refused(
                "the asker's signature is not for this time",
                "Ask again, with the clock of your machine set right",
            ));
        }
        self.signed = sha256_hex(offered.text.as_bytes());
        Ok(())
    }

    /// Whether a grant for signed questions covers it.
    pub(crate) fn is_signed(&self) -> bool {
        self.would_sign || !self.signed.is_empty()
    }

    /// The text of everything that a query id stands for.
    pub(crate) fn identity(&self) -> String {
        let targets: Vec<&str> = self.targets.iter().map(Gss::as_str).collect();
        let question = self.question.map(|id| format!("|{id}")).unwrap_or_default();
        let signed = if self.signed.is_empty() { String::new() } else { format!("|{}", self.signed) };
        format!("{}|{}|{}|{}{question}{signed}", self.analyst, self.purpose, targets.join(","), self.fragment_hash())
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
            fragment: self.fragment_hash().to_owned(),
            signed: self.signed.clone(),
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
            agreed = agreement.allows(&analyst, &self.purpose, &contract.dataset, today, self.is_signed())?;
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
