//! An answer as one JSON document: `{"columns": […], "rows": [[…], …], "statement": {…}}`.

use std::io::{self, Write};

use loda_proto::v1::{BoroughAnswer, ColumnError, Lack, Part, Refusal, Statement};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::cells::{Cell, CellKind, Column, columns, each_row};
use crate::plain;

/// Writes the document. A row is an array in the order of `columns`, and its last item is the reason. Decimals keep all
/// their digits. NaN and infinities are texts, because JSON has no numbers for them.
///
/// # Errors
/// The errors of `out`.
pub fn json(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    let columns = columns(answer);
    let field_type = |index: usize| answer.schema.fields().get(index).map(|field| field.data_type().to_string());
    let mut described: Vec<_> = columns
        .iter()
        .map(|column| json!({"name": column.name, "type": field_type(column.index), "protected": column.protected}))
        .collect();
    let reason = answer.reason_column().and_then(|index| answer.schema.fields().get(index));
    if let Some(field) = reason {
        described.push(json!({"name": field.name(), "type": "Utf8", "protected": false}));
    }
    write!(out, "{{\"columns\":{},\n\"rows\":[", escaped(&Value::from(described)))?;
    let mut separator = "\n";
    each_row(answer, &columns, usize::MAX, |cells, why| {
        let mut row: Vec<_> = cells.iter().zip(&columns).map(text).collect();
        if reason.is_some() {
            row.push(escaped(&json!(why)));
        }
        write!(out, "{separator}[{}]", row.join(","))?;
        separator = ",\n";
        Ok::<_, io::Error>(())
    })?;
    writeln!(out, "\n],\n\"statement\":{}}}", escaped(&statement_json(&answer.statement)))
}

/// A statement as JSON, with the field names of the wire contract.
pub fn statement_json(statement: &Statement) -> Value {
    json!({
        "query_id": statement.query_id,
        "purpose": statement.purpose,
        "complete": statement.complete,
        "parts": statement.parts.iter().map(part).collect::<Vec<_>>(),
        "errors": statement.errors.iter().map(error).collect::<Vec<_>>(),
        "notes": statement.notes,
    })
}

fn error(error: &ColumnError) -> Value {
    json!({"column": error.column, "standard_error": error.standard_error, "at_most": error.at_most})
}

/// JSON text that a terminal can show. serde_json escapes C0 control characters, and this function escapes the others.
pub fn escaped(value: &Value) -> String {
    safe(value.to_string(), |_| false)
}

/// As [`escaped`], with an indented line for each value.
pub fn escaped_pretty(value: &Value) -> String {
    // Outside strings, the only control characters are the line feeds of the layout.
    safe(format!("{value:#}"), |c| c == '\n')
}

fn safe(text: String, is_layout: impl Fn(char) -> bool) -> String {
    if !text.contains(plain::is_control) {
        return text;
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if plain::is_control(c) && !is_layout(c) {
            // A control character can only be inside a string here. A \u escape means the same there.
            let mut units = [0_u16; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
        } else {
            safe.push(c);
        }
    }
    safe
}

fn text((cell, column): (&Cell, &Column)) -> String {
    match cell {
        Cell::Withheld | Cell::NoAnswer | Cell::NoData | Cell::Null => "null".into(),
        Cell::Value(value) => match column.kind {
            CellKind::Whole | CellKind::Decimal | CellKind::Truth => value.clone(),
            CellKind::Float if value.parse::<f64>().is_ok_and(f64::is_finite) => value.clone(),
            CellKind::Float | CellKind::Text | CellKind::Other => escaped(&json!(value)),
        },
    }
}

fn part(part: &Part) -> Value {
    json!({
        "fragment": part.fragment,
        "dataset": part.dataset,
        "method": part.method,
        "parameters": part.parameters,
        "london": part.london,
        "units": part.units,
        "values": part.values,
        "withheld": part.withheld,
        "boroughs": part.boroughs.iter().map(borough).collect::<Vec<_>>(),
        "lacking": part.lacking,
        "open": part.open,
        "estimated": part.estimated,
        "no_data": part.no_data,
        "in_part": part.in_part,
        "assessed": part.assessed,
        "lacks": part.lacks.iter().map(lack).collect::<Vec<_>>(),
        "notes": part.notes,
    })
}

fn borough(answer: &BoroughAnswer) -> Value {
    json!({
        "borough": answer.borough,
        "answer": answer.answer,
        "refusal": answer.refusal.as_ref().map(refusal),
        "snapshot": answer.snapshot,
        "as_at": answer.as_at,
        "withheld": answer.withheld,
        "covers": answer.covers,
    })
}

fn refusal(refusal: &Refusal) -> Value {
    json!({"rule": refusal.rule, "message": refusal.message, "advice": refusal.advice})
}

fn lack(lack: &Lack) -> Value {
    json!({
        "cell": lack.cell,
        "figure": lack.figure,
        "withheld": lack.withheld,
        "refused": lack.refused,
        "no_answer": lack.no_answer,
        "no_data": lack.no_data,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::sample::sample;

    #[test]
    fn the_document_parses_and_keeps_nulls_and_reasons() {
        let mut out = Vec::new();
        json(&sample([None, Some("c"), None, None]), &mut out).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["columns"][1], json!({"name": "people", "type": "Int64", "protected": true}));
        assert_eq!(document["rows"][0], json!(["Arrest", 1_234_567, 0.25, null]));
        assert_eq!(document["rows"][1], json!(["=1+1", null, 1.0 / 3.0, "c"]));
        assert_eq!(document["rows"].as_array().unwrap().len(), 4);
        assert_eq!(document["statement"]["complete"], true);
    }

    #[test]
    fn an_empty_answer_is_a_document() {
        let mut answer = sample([None; 4]);
        answer.batches.clear();
        let mut out = Vec::new();
        json(&answer, &mut out).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["rows"], json!([]));
    }

    #[test]
    fn controls_are_escaped_and_survive() {
        let value = json!("a\u{1b}[2J\u{9b}\u{202e}\u{e0001}");
        let text = escaped(&value);
        assert!(!text.contains(plain::is_control), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
