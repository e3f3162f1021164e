//! The statement of a result: who answered, by which method, and which values are withheld or missing.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{ColumnType, Role, Value};
use loda_identity::Gss;
use loda_proto::v1;
use loda_question::{Measure, bare_name};

use crate::nodes::dispatch::Answer;
use crate::plan::federated_aggregate::{FederatedAggregate, OutputKey};
use crate::plan::lineage::{self, shown_names};
use crate::plan::split::SplitPlan;
use crate::result::coverage;
use crate::result::merge::MergedPart;

/// The most lacks that are listed one by one.
const LISTED: usize = 200;

/// The statement of a whole result, without the errors of its columns.
pub(crate) fn statement(
    query: &str,
    purpose: &str,
    split: &SplitPlan,
    answers: &[BTreeMap<Gss, Answer>],
    merged: &[MergedPart],
) -> v1::Statement {
    let numbered = split.parts.iter().zip(answers).zip(merged).enumerate();
    let shown = shown_names(&split.plan);
    let parts: Vec<v1::Part> = numbered
        .map(|(i, ((part, answers), merged))| {
            let names = |place: usize| shown.get(&(i, place)).cloned();
            wire_part(i, part, answers, merged, &names)
        })
        .collect();
    let missing = |a: &Answer| matches!(a, Answer::Refused(_) | Answer::None);
    // Without a borough to ask, a figure of nobody would be told as one of everybody.
    let asked = |answers: &BTreeMap<Gss, Answer>| answers.values().any(|a| !matches!(a, Answer::NotAsked));
    let complete = answers.iter().all(asked) && !answers.iter().flat_map(BTreeMap::values).any(missing);
    let mut notes = split.notes.clone();
    if merged.iter().any(|part| part.in_part) {
        notes.push(
            "Figures marked 'in part' add up groups that were released, without the groups that are too small to be released"
                .to_owned(),
        );
    }
    if merged.iter().any(|part| part.estimated) {
        notes.push(
            "Figures marked 'estimated' include groups that are too small to be released: how many are in them is estimated \
             from the released totals that they are part of, and 'about 5 estimated' says how many"
                .to_owned(),
        );
    }
    if lineage::has_totals(&split.plan) {
        notes.push(
            "A row of a total has no value (NULL) in the columns that it adds up. GROUPING(column) is 1 there, and 0 in \
             the rows of records without a value"
                .to_owned(),
        );
    }
    v1::Statement {
        query_id: query.to_owned(),
        purpose: purpose.to_owned(),
        complete,
        parts,
        notes,
        errors: Vec::new(),
    }
}

fn wire_part(
    number: usize,
    part: &FederatedAggregate,
    answers: &BTreeMap<Gss, Answer>,
    merged: &MergedPart,
    shown: &dyn Fn(usize) -> Option<String>,
) -> v1::Part {
    let headers = answers.values().filter_map(|a| match a {
        Answer::Cells { header, .. } => Some(header),
        _ => None,
    });
    let headers: Vec<&v1::ReleasedHeader> = headers.collect();
    let boroughs = answers.iter().map(|(gss, answer)| {
        let mut said = v1::BoroughAnswer { borough: gss.to_string(), ..Default::default() };
        match answer {
            Answer::Cells { header, .. } => {
                said.answer = "answered".to_owned();
                said.snapshot = header.snapshot;
                said.as_at.clone_from(&header.as_at);
                said.covers = coverage::words(&part.scope.datasets, header);
                said.withheld = merged.withheld.get(gss).copied().unwrap_or(0);
            }
            Answer::Refused(refusal) => {
                said.answer = "refused".to_owned();
                said.refusal = Some(refusal.clone());
            }
            Answer::None | Answer::Table { .. } => said.answer = "no answer".to_owned(),
            Answer::NotAsked => said.answer = "not asked".to_owned(),
        }
        said
    });
    let figures = part.outputs.iter().enumerate();
    let figure_names: Vec<String> = figures
        .map(|(i, output)| shown(part.keys.len().saturating_add(i)).unwrap_or_else(|| part.figure_words(output)))
        .collect();
    let lacks = merged.lacks.iter().take(LISTED).map(|lack| v1::Lack {
        cell: cell_words(part, &lack.cell, shown),
        figure: figure_names.get(lack.output).cloned().unwrap_or_default(),
        withheld: lack.withheld,
        refused: lack.refused,
        no_answer: lack.no_answer,
        no_data: lack.no_data,
    });
    v1::Part {
        fragment: u32::try_from(number).unwrap_or(u32::MAX),
        dataset: part.scope.title(),
        method: each_once(headers.iter().map(|h| h.method.as_str()))
            .unwrap_or_else(|| part.scope.protection.name().to_owned()),
        parameters: each_once(headers.iter().map(|h| h.parameters.as_str())).unwrap_or_default(),
        assessed: each_once(headers.iter().map(|h| h.assessed.as_str()).filter(|said| !said.is_empty()))
            .unwrap_or_default(),
        london: part.is_london(),
        boroughs: boroughs.collect(),
        values: merged.values,
        withheld: merged.withheld.values().sum::<u64>().saturating_add(merged.unfit),
        lacks: lacks.collect(),
        lacking: merged.lacks.len() as u64,
        open: merged.open,
        estimated: merged.estimated,
        no_data: merged.no_data,
        in_part: merged.in_part,
        notes: notes(part, merged, &figure_names),
        units: part.scope.units.iter().map(|u| u.unit.domain.clone()).collect(),
    }
}

/// The boroughs' different texts, joined by "or". At most three are shown.
fn each_once<'a>(said: impl Iterator<Item = &'a str>) -> Option<String> {
    let different: BTreeSet<&str> = said.collect();
    let shown: Vec<&str> = different.iter().copied().take(3).collect();
    let more = if different.len() > shown.len() { ", or other" } else { "" };
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", or ")))
}

/// How a quantile is read.
const EVENLY: &str = "Within a band, values are taken to be spread evenly; the ± does not allow for this";

/// What a reader has to know of a part's figures, besides their errors.
fn notes(part: &FederatedAggregate, merged: &MergedPart, names: &[String]) -> Vec<String> {
    let sums = part.measures.iter().filter_map(|m| if let Measure::Sum(name) = m { Some(name) } else { None });
    let clamped = sums.filter_map(|name| {
        let column = part.scope.column(name)?;
        let Role::Measure { clamp: Some((from, to)), .. } = &column.role else { return None };
        let plain = |units: &i128| match column.kind {
            ColumnType::Decimal(_) => Value::Decimal(*units).plain(column.kind),
            _ => units.to_string(),
        };
        let (name, from, to) = (bare_name(name), plain(from), plain(to));
        Some(format!(
            "in sums, means and deviations a {name} above {to} counts as {to}, and one below {from} as {from}; the error \
             does not include this"
        ))
    });
    let binned = merged.bins.iter().filter_map(|(output, bins)| {
        let widths = bins.iter().map(|(from, to)| to - from);
        let (least, most) = widths.fold((f64::INFINITY, 0.0_f64), |(a, b), width| (a.min(width), b.max(width)));
        let name = names.get(*output)?;
        match bins.as_slice() {
            [] => None,
            [(from, to)] => Some(format!("{name} lies between {from} and {to}. {EVENLY}")),
            _ if least < most => Some(format!("{name} is read from bands {least} to {most} wide. {EVENLY}")),
            _ => Some(format!("{name} is read from bands {least} wide. {EVENLY}")),
        }
    });
    clamped.chain(binned).collect()
}

/// "outcome = Arrest, year = 2019". Empty for the single row of a question without GROUP BY.
fn cell_words(part: &FederatedAggregate, cell: &[Value], shown: &dyn Fn(usize) -> Option<String>) -> String {
    let question = part.questions.values().flatten().next();
    let words = part.keys.iter().zip(cell).enumerate().map(|(place, (key, value))| match key {
        OutputKey::Node { index, kind } => {
            let name = shown(place).or_else(|| question.and_then(|q| q.key_sql(*index))).unwrap_or_default();
            format!("{name} = {}", value.plain(*kind))
        }
        OutputKey::Borough(_) => {
            // A column that a reference table gives for boroughs has the name from the asker's SQL.
            let name = part.schema.fields().get(place).map_or("borough", |f| f.name().as_str());
            format!("{name} = {}", value.plain(ColumnType::Text))
        }
    });
    words.collect::<Vec<_>>().join(", ")
}
