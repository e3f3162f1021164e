//! Texts that stand for nothing, as a source's settings declare them.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::SchemaRef;

/// The texts, without regard to capitals and outer spaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Missing {
    everywhere: HashSet<String>,
    columns: BTreeMap<String, HashSet<String>>,
}

impl Missing {
    pub(super) fn new(everywhere: &[String], columns: &BTreeMap<String, Vec<String>>) -> Self {
        let set = |texts: &[String]| texts.iter().map(|text| folded(text)).collect();
        let columns = columns.iter().map(|(column, texts)| (column.clone(), set(texts)));
        Self { everywhere: set(everywhere), columns: columns.collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.everywhere.is_empty() && self.columns.is_empty()
    }

    /// The columns of its settings that a source does not have.
    pub(super) fn unknown(&self, columns: &SchemaRef) -> Vec<String> {
        self.columns.keys().filter(|name| columns.field_with_name(name).is_err()).cloned().collect()
    }

    /// The texts of each of a source's columns, in their order.
    pub(super) fn of(&self, columns: &SchemaRef) -> Vec<HashSet<String>> {
        let of = |name: &str| self.columns.get(name).into_iter().flatten().chain(&self.everywhere).cloned().collect();
        columns.fields().iter().map(|field| of(field.name())).collect()
    }
}

/// A text without its capitals and outer spaces.
pub(super) fn folded(text: &str) -> String {
    text.trim().to_lowercase()
}
