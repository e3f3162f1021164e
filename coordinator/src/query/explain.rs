//! Explains a question: its fragments, the boroughs that it asks, and their yes or no.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use futures::future::join_all;
use loda_identity::Gss;
use loda_ledger::payload::RecordClass;
use loda_ledger::{Asked, Entry, Event, sha256_hex};
use loda_proto::v1;
use loda_question::Refusal;
use loda_service::Ended;
use uuid::Uuid;

use crate::nodes::dispatch::{NodeRequest, Verdict};
use crate::plan::split::Prepared;
use crate::plan::split::bundles;
use crate::query::query::Query;
use crate::query::record;
use crate::query::service::{QueryService, datasets};
use crate::result::post_process::explained_schema;
use crate::result::query_result::QueryResult;

/// Asks the boroughs whether they would answer.
#[derive(Clone, Copy)]
pub(crate) struct Verdicts {
    /// Whether the asker would sign the question.
    pub(crate) signed: bool,
}

impl QueryService {
    /// EXPLAIN: a table of each borough's fragments, and whether the borough would answer. Nothing runs.
    pub(crate) async fn explain(&self, query: &Query) -> anyhow::Result<QueryResult> {
        let prepared = &query.prepared;
        let (schema, batch) =
            table(&self.explanation_of(prepared, Some(Verdicts { signed: query.signed.is_some() })).await)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        writer.write(&batch)?;
        let arrow_ipc = writer.into_inner()?;
        let statement = v1::Statement {
            query_id: query.id.to_string(),
            purpose: prepared.purpose.clone(),
            complete: true,
            notes: vec!["An explanation: nothing was asked of the boroughs but their yes or no".to_owned()],
            ..Default::default()
        };
        Ok(QueryResult { statement, arrow_ipc })
    }

    /// The fragments of a question. With `ask`, also whether each borough would answer.
    pub(crate) async fn explained(
        self: &Arc<Self>,
        prepared: Arc<Prepared>,
        ask: Option<Verdicts>,
    ) -> Result<v1::PrepareResponse, Ended> {
        if ask.is_some()
            && let Err(refusal) = self.has_purpose(&prepared)
        {
            return Ok(v1::PrepareResponse { refusal: Some(wire_refusal(&refusal)), ..Default::default() });
        }
        let inner = Arc::clone(self);
        self.tasks.run(async move { inner.explanation_of(&prepared, ask).await }).await
    }

    /// Logs that a question was explained, with its words. The first ones of each asker have an entry each.
    fn log_explained(&self, prepared: &Prepared) -> anyhow::Result<()> {
        let entry = |asked| Entry {
            analyst: prepared.owner.to_string(),
            purpose: prepared.purpose.clone(),
            dataset: datasets(prepared),
            ..Entry::of(Event::Explain { asked })
        };
        if !self.refusals.takes(&entry(Asked::Hashed(String::new()))) {
            return Ok(());
        }
        let words = record::asked(prepared, None);
        let asked = self.payloads.keep(RecordClass::Question, &words, || words.clone())?;
        self.log.append(&entry(Asked::Committed(asked)))?;
        Ok(())
    }

    async fn explanation_of(&self, prepared: &Prepared, ask: Option<Verdicts>) -> v1::PrepareResponse {
        if ask.is_some()
            && let Err(fault) = self.log_explained(prepared)
        {
            tracing::error!("{fault:#}");
        }
        let steps = prepared.split.plan.display_indent().to_string();
        let steps = steps.replace("count(Int64(1))", "count(*)").replace("count(*) AS count(*)", "count(*)");
        // The engine's word stands at the beginning of a line, behind its margin.
        let named = steps.lines().map(|line| match line.split_once("Projection: ") {
            Some((margin, columns)) if margin.trim().is_empty() => format!("{margin}Columns: {columns}"),
            _ => line.to_owned(),
        });
        let after_merge = named.collect::<Vec<_>>().join("\n");
        let verdicts = match ask {
            Some(ask) => self.verdicts(prepared, ask).await,
            None => Vec::new(),
        };
        let mut verdicts = verdicts.into_iter();
        let fragments = bundles(&prepared.split).into_iter().zip(0_u32..).map(|(bundle, number)| {
            let bytes = bundle.fragment.encode();
            v1::Fragment {
                number,
                sha256: sha256_hex(&bytes),
                bytes,
                words: bundle.fragment.words(),
                sql: bundle.fragment.sql(),
                boroughs: bundle.boroughs.iter().map(Gss::to_string).collect(),
                grid: bundle.fragment.grid().unwrap_or(0),
                verdicts: verdicts.next().unwrap_or_default(),
            }
        });
        v1::PrepareResponse { fragments: fragments.collect(), after_merge, ..Default::default() }
    }

    async fn verdicts(&self, prepared: &Prepared, ask: Verdicts) -> Vec<Vec<v1::Verdict>> {
        let bundles = bundles(&prepared.split);
        let asked = bundles.iter().map(|bundle| {
            let targets: Vec<String> = bundle.boroughs.iter().map(Gss::to_string).collect();
            let verdicts = bundle.boroughs.iter().map(move |gss| {
                let errand = NodeRequest {
                    query: Uuid::new_v4().to_string(),
                    question: String::new(),
                    analyst: prepared.owner.to_string(),
                    purpose: prepared.purpose.clone(),
                    targets: targets.clone(),
                    fragment: bundle.fragment.clone(),
                    signed: None,
                    would_sign: ask.signed,
                    seen: Arc::default(),
                };
                async move {
                    let (answer, refusal) = match self.nodes.judge(gss, &errand).await {
                        Verdict::Yes => ("yes", None),
                        Verdict::No(refusal) => ("no", Some(refusal)),
                        Verdict::Unreachable => ("unreachable", None),
                    };
                    v1::Verdict { borough: gss.to_string(), answer: answer.to_owned(), refusal }
                }
            });
            join_all(verdicts)
        });
        join_all(asked).await
    }
}

/// One row for each item of an explanation.
fn table(explained: &v1::PrepareResponse) -> anyhow::Result<(SchemaRef, RecordBatch)> {
    let (mut fragments, mut items, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut say = |fragment: Option<i64>, item: &str, text: String| {
        fragments.push(fragment);
        items.push(item.to_owned());
        texts.push(text);
    };
    for asked in &explained.fragments {
        let fragment = Some(i64::from(asked.number));
        say(fragment, "asks", asked.words.clone());
        say(fragment, "sql", asked.sql.clone());
        let grid = if asked.grid == 0 { "open".to_owned() } else { asked.grid.to_string() };
        say(fragment, "cells at a borough", grid);
        for (answer, item) in [("yes", "would answer"), ("no", "would refuse"), ("unreachable", "cannot be reached")] {
            let of: Vec<&v1::Verdict> = asked.verdicts.iter().filter(|v| v.answer == answer).collect();
            if of.is_empty() {
                continue;
            }
            let names: Vec<&str> = of.iter().map(|v| v.borough.as_str()).collect();
            let reasons: BTreeSet<String> = of
                .iter()
                .filter_map(|v| v.refusal.as_ref())
                .map(|r| format!("{} ({}). {}", r.message, r.rule, r.advice))
                .collect();
            let reasons: String = reasons.iter().map(|r| format!(": {r}")).collect();
            say(fragment, item, format!("{} boroughs: {}{reasons}", of.len(), names.join(" ")));
        }
    }
    for line in explained.after_merge.lines() {
        say(None, "after the merge", line.to_owned());
    }
    let reasons = vec![None::<String>; items.len()];
    let schema = explained_schema();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(fragments)),
        Arc::new(StringArray::from(items)),
        Arc::new(StringArray::from(texts)),
        Arc::new(StringArray::from(reasons)),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok((schema, batch))
}

pub(crate) fn wire_refusal(refusal: &Refusal) -> v1::Refusal {
    v1::Refusal {
        rule: refusal.rule.name().to_owned(),
        message: refusal.message.clone(),
        advice: refusal.advice.clone(),
    }
}
