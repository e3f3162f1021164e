//! An answer with every kind of cell, for tests.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use loda_proto::v1::Statement;

use crate::answer::{Answer, PROTECTED};
use crate::reason;

/// Four rows of outcome, people (protected), share and reason. `reasons` are the reasons of the rows.
#[allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "for tests")]
pub fn sample(reasons: [Option<&str>; 4]) -> Answer {
    let protected = HashMap::from([(PROTECTED.to_owned(), "1".to_owned())]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("outcome", DataType::Utf8, true),
        Field::new("people", DataType::Int64, true).with_metadata(protected),
        Field::new("share", DataType::Float64, true),
        reason::field(["outcome"]),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("Arrest"), Some("=1+1"), None, Some("a,\"b\"")])),
        Arc::new(Int64Array::from(vec![Some(1_234_567), None, None, Some(-12)])),
        Arc::new(Float64Array::from(vec![Some(0.25), Some(1.0 / 3.0), None, Some(12_345.5)])),
        Arc::new(StringArray::from(reasons.to_vec())),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let statement = Statement { complete: true, ..Default::default() };
    Answer { schema, batches: vec![batch], statement, sha256: String::new() }
}
