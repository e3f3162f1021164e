//! Answers a question: logs it, sends it to the boroughs, merges and finishes the cells, and logs the outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use futures::future::join_all;
use loda_identity::Gss;
use loda_ledger::payload::RecordClass;
use loda_ledger::{Asked, End, Entry, Event, Seen, fragment_id};
use loda_proto::v1;
use loda_question::Rule;
use loda_service::{AbortOnDropHandle, compute};
use tokio::time::Instant;

use crate::nodes::dispatch::{Answer, AnsweredTables, NodeRequest, share_periods};
use crate::plan::federated_node::Federated;
use crate::plan::split::{SplitPlan, bundles};
use crate::query::query::Query;
use crate::query::record;
use crate::query::service::{FINISHING, QueryService};
use crate::result::merge::{MergedPart, merge};
use crate::result::query_result::QueryResult;
use crate::result::standard_errors;
use crate::result::statement::statement;

impl QueryService {
    /// log INTENT → dispatch → merge → finish → log OUTCOME → released.
    pub(super) async fn answer(&self, query: &Query, deadline: Instant) -> anyhow::Result<QueryResult> {
        let prepared = &query.prepared;
        if prepared.split.explain {
            query.set(v1::State::Running);
            return self.explain(query).await;
        }
        if !query.resumed() {
            // Nobody is asked before the words and the entry are on disk.
            let words = record::asked(prepared, query.signed.as_deref());
            let asked = Asked::Committed(self.payloads.keep(RecordClass::Question, &words, || words.clone())?);
            self.log.append(&self.entry(Event::Intent { asked }, query))?;
        }
        query.set(v1::State::Running);
        let (mut answers, seen) = self.dispatch(query, deadline).await;
        let leaves = leaves(&prepared.split)?;
        let merged = prepared.split.parts.iter().zip(&leaves).zip(&mut answers);
        let merged = merged.map(|((part, leaf), answers)| merge(part, leaf, answers));
        // Placing cells on a large grid is CPU work. Other queries move to other threads meanwhile.
        let merged = compute(|| merged.collect::<anyhow::Result<Vec<MergedPart>>>())?;
        let mut statement = statement(&query.id.to_string(), &prepared.purpose, &prepared.split, &answers, &merged);
        let mut errors = standard_errors::of_released(&prepared.split, &merged);
        let cells = merged.into_iter().enumerate().map(|(i, m)| (i, m.batch)).collect();
        // A separate task, so that the deadline and a cancellation can end it.
        let (workers, of) = (Arc::clone(&self.workers), Arc::clone(prepared));
        // The caller ends it at the question's own deadline.
        let until = deadline + FINISHING;
        let finishing_at = Instant::now();
        let finishing = tokio::spawn(async move { workers.finish(&of, cells, until).await });
        let (arrow_ipc, told) = AbortOnDropHandle::new(finishing).await.context("finishing stopped")??;
        statement.notes.extend(told.notes);
        errors.extend(told.errors);
        statement.errors = standard_errors::told(&prepared.split, &errors);
        self.times.took("finish", finishing_at.elapsed());
        let mut asked = statement.parts.iter().flat_map(|p| &p.boroughs).filter(|b| b.answer != "not asked").peekable();
        let agreement = |b: &v1::BoroughAnswer| b.refusal.as_ref().is_some_and(|r| r.rule == Rule::Agreement.name());
        if asked.peek().is_some() && asked.all(agreement) {
            self.allowance.unwelcome(&prepared.owner, &prepared.purpose);
        }
        let answered = statement.parts.iter().flat_map(|p| &p.boroughs).filter(|b| b.answer == "answered").count();
        let result = QueryResult { statement, arrow_ipc };
        let words = record::released(&result.statement);
        let released = Some(self.payloads.keep(RecordClass::Result, &words, || words.clone())?);
        anyhow::ensure!(query.close(), "it was cancelled");
        self.registry.keep(query, Some(&result));
        let end = End::Answered { result_sha256: result.sha256(), boroughs: answered as u64, released };
        let outcome = self.entry(Event::Outcome(end), query);
        let outcome = Entry { seen, ..outcome };
        let number = self.log.append(&outcome)?;
        let _first = query.outcome.set(number);
        self.nodes.logs.said(&outcome);
        Ok(result)
    }

    /// Each borough's answer to each part. Also how far the nodes' logs had come: the furthest position of each log.
    async fn dispatch(&self, query: &Query, deadline: Instant) -> (Vec<BTreeMap<Gss, Answer>>, Vec<Seen>) {
        let prepared = &query.prepared;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let bundles = bundles(&prepared.split);
        let errands = bundles.iter().enumerate().flat_map(|(number, bundle)| {
            let targets: Vec<String> = bundle.boroughs.iter().map(Gss::to_string).collect();
            let seen = Arc::clone(&seen);
            bundle.boroughs.iter().map(move |gss| {
                let errand = NodeRequest {
                    query: fragment_id(query.id, number).to_string(),
                    question: query.id.to_string(),
                    analyst: prepared.owner.to_string(),
                    purpose: prepared.purpose.clone(),
                    targets: targets.clone(),
                    fragment: bundle.fragment.clone(),
                    signed: query.signed.clone(),
                    would_sign: false,
                    seen: Arc::clone(&seen),
                };
                (bundle.part, bundle.table, gss, errand)
            })
        });
        let runs = errands.map(|(part, table, gss, errand)| async move {
            let told = |state| {
                query.progress.set(gss, part, state);
                query.touch();
            };
            told(v1::State::Queued);
            let asked_at = Instant::now();
            let answer = self.nodes.run(gss, &errand, deadline, &told).await;
            self.times.borough_took(gss.as_str(), asked_at.elapsed());
            (part, table, gss.clone(), answer)
        });
        let mut answers: Vec<BTreeMap<Gss, Answer>> = prepared
            .split
            .parts
            .iter()
            .map(|part| part.questions.keys().map(|gss| (gss.clone(), Answer::NotAsked)).collect())
            .collect();
        let mut tables = AnsweredTables::new();
        for (part, table, gss, answer) in join_all(runs).await {
            tables.entry((part, gss)).or_default().push((table, answer));
        }
        share_periods(&mut tables, |part, gss| prepared.split.parts.get(part)?.lowered.get(gss).map(AsRef::as_ref));
        for ((part, gss), mut of_borough) in tables {
            of_borough.sort_by_key(|(table, _)| *table);
            let mut of_borough: Vec<Answer> = of_borough.into_iter().map(|(_, answer)| answer).collect();
            let of = prepared.split.parts.get(part);
            let answer = match of.and_then(|part| Some((part, part.lowered.get(&gss)?))) {
                // Evaluating conditions over cells is CPU work.
                Some((part, lowered)) => compute(|| Answer::of_tables(part, lowered, of_borough)),
                None => of_borough.pop().unwrap_or(Answer::None),
            };
            if let Some(of_part) = answers.get_mut(part) {
                of_part.insert(gss, answer);
            }
            // Lets a cancellation end long computing between two boroughs.
            tokio::task::yield_now().await;
        }
        let mut furthest: BTreeMap<String, Seen> = BTreeMap::new();
        for one in std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner)) {
            let of = furthest.entry(one.log.clone()).or_insert_with(|| one.clone());
            if of.mark.entries < one.mark.entries {
                *of = one;
            }
        }
        (answers, furthest.into_values().collect())
    }

    pub(super) async fn cancel_at_nodes(&self, query: &Query) {
        let bundles = bundles(&query.prepared.split);
        let cancels = bundles.iter().enumerate().flat_map(|(number, bundle)| {
            let id = fragment_id(query.id, number).to_string();
            bundle.boroughs.iter().map(move |gss| {
                let id = id.clone();
                async move { self.nodes.cancel(gss, &id).await }
            })
        });
        join_all(cancels).await;
    }
}

fn leaves(split: &SplitPlan) -> anyhow::Result<Vec<Federated>> {
    use datafusion::common::tree_node::TreeNodeRecursion;
    let mut leaves = BTreeMap::new();
    split.plan.apply_with_subqueries(|node| {
        if let datafusion::logical_expr::LogicalPlan::Extension(extension) = node
            && let Some(leaf) = extension.node.as_any().downcast_ref::<Federated>()
        {
            leaves.insert(leaf.part, leaf.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let leaves: Vec<Federated> = leaves.into_values().collect();
    anyhow::ensure!(leaves.len() == split.parts.len(), "a part of the question has no leaf");
    Ok(leaves)
}
