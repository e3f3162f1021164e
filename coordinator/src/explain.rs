//! What a question would ask, of whom, and who would say no: as rows of a table.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use loda_proto::v1;

use crate::federated::NOTE;
use crate::split::{SplitPlan, bundles};

/// The columns of an explanation.
pub(crate) fn explained_schema() -> SchemaRef {
    let field = |name, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("fragment", DataType::Int64),
        field("item", DataType::Utf8),
        field("explanation", DataType::Utf8),
        field("reason", DataType::Utf8),
    ]))
}

/// One row for each thing that an explanation says.
pub(crate) fn explanation(
    split: &SplitPlan,
    verdicts: &[Vec<v1::Verdict>],
) -> anyhow::Result<(SchemaRef, RecordBatch)> {
    let (mut fragments, mut items, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut say = |fragment: Option<i64>, item: &str, text: String| {
        fragments.push(fragment);
        items.push(item.to_owned());
        texts.push(text);
    };
    for (number, (bundle, verdicts)) in (0_i64..).zip(bundles(split).iter().zip(verdicts)) {
        let fragment = Some(number);
        say(fragment, "asks", bundle.question.words());
        say(fragment, "sql", bundle.question.sql());
        let grid = bundle.question.grid().map_or_else(|| "open".to_owned(), |cells| cells.to_string());
        say(fragment, "cells at a borough", grid);
        for (answer, item) in [("yes", "would answer"), ("no", "would refuse"), ("unreachable", "cannot be reached")] {
            let of: Vec<&v1::Verdict> = verdicts.iter().filter(|v| v.answer == answer).collect();
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
    for line in without_notes(&split.plan.display_indent().to_string()).lines() {
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

/// A plan as people read it: without the hidden columns.
pub(crate) fn without_notes(plan: &str) -> String {
    let mut text = String::new();
    for (number, piece) in plan.split(NOTE).enumerate() {
        if number == 0 {
            text.push_str(piece);
            continue;
        }
        let qualifier = text.rfind(", ").filter(|at| !text.get(*at..).unwrap_or_default().contains('\n'));
        text.truncate(qualifier.unwrap_or(text.len()));
        text.push_str(piece.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    text.replace("count(Int64(1))", "count(*)")
}
