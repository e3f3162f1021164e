//! The tables and columns that a statement can name, and their codes.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Function, FunctionArgumentList, Ident};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use loda_contract::{ColumnType, Role, Value};
use loda_question::plan::{CODE_END, CODES};

use crate::catalogue::Catalogue;

/// The tables and columns of the catalogue.
pub(crate) struct Names {
    columns: BTreeMap<String, Vec<NamedColumn>>,
    /// Columns that name units which may stand in several boroughs.
    in_several: BTreeSet<String>,
    /// Columns that name units.
    units: BTreeSet<String>,
    /// The edges at which a measure may be compared, as SQL, where all measures of the name have the same.
    edges: BTreeMap<String, Vec<String>>,
}

pub(super) struct NamedColumn {
    name: String,
    pub(super) kind: DataType,
    pub(super) codes: Vec<String>,
}

impl Names {
    pub(crate) fn of(catalogue: &Catalogue) -> Self {
        let tables = catalogue.tables().into_iter().map(|(table, provider)| {
            let schema = provider.schema();
            let columns = schema.fields().iter().map(|field| NamedColumn {
                name: field.name().clone(),
                kind: field.data_type().clone(),
                codes: match field.metadata().get(CODES) {
                    Some(codes) => codes.split(CODE_END).map(str::to_owned).collect(),
                    None => Vec::new(),
                },
            });
            (table, columns.collect())
        });
        let units = catalogue.contracts.values().flat_map(|contract| &contract.units);
        let in_several = units.filter(|unit| !unit.borough_exclusive).filter_map(|unit| unit.column.clone());
        let named = catalogue.contracts.values().flat_map(|contract| &contract.units);
        Self {
            columns: tables.collect(),
            in_several: in_several.collect(),
            units: named.filter_map(|unit| unit.column.clone()).collect(),
            edges: edges(catalogue),
        }
    }

    pub(crate) fn tables(&self) -> Vec<String> {
        self.columns.keys().cloned().collect()
    }

    pub(super) fn may_be_in_several(&self, name: &str) -> bool {
        self.in_several.contains(&name.to_lowercase())
    }

    pub(super) fn is_unit(&self, name: &str) -> bool {
        self.units.contains(&name.to_lowercase())
    }

    /// The edges at which a measure of the name may be compared. `None`: there is none.
    pub(super) fn edges(&self, name: &str) -> Option<&[String]> {
        self.edges.get(&name.to_lowercase()).map(Vec::as_slice)
    }

    /// Whether a table has a column.
    pub(super) fn has(&self, table: &str, column: &str) -> bool {
        self.columns.get(&table.to_lowercase()).is_some_and(|columns| columns.iter().any(|c| c.name == column))
    }

    /// The columns of a name, in all tables.
    fn columns(&self, name: &str) -> impl Iterator<Item = &NamedColumn> {
        self.columns.values().flatten().filter(move |column| column.name.eq_ignore_ascii_case(name))
    }
}

/// The edges of measures by name, without names that stand for several measures with different edges.
fn edges(catalogue: &Catalogue) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut different = BTreeSet::new();
    for column in catalogue.contracts.values().flat_map(|contract| &contract.columns) {
        let Role::Measure { edges, .. } = &column.role else { continue };
        let plain = |edge: &i128| match column.kind {
            ColumnType::Decimal(_) => Value::Decimal(*edge).plain(column.kind),
            _ => edge.to_string(),
        };
        let edges: Vec<String> = edges.iter().map(plain).collect();
        let known = found.entry(column.name.clone()).or_insert_with(|| edges.clone());
        if *known != edges || edges.is_empty() {
            different.insert(column.name.clone());
        }
    }
    found.retain(|name, _| !different.contains(name));
    found
}

/// Whether an operator compares two values.
pub(super) fn is_comparison(op: &BinaryOperator) -> bool {
    use BinaryOperator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// The name of a bare column.
pub(super) fn name_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Identifier(name) => Some(&name.value),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.as_str()),
        _ => None,
    }
}

/// The catalogue's column of a name, where all columns of that name have one type.
pub(super) fn column_of<'a>(expr: &Expr, names: &'a Names) -> Option<&'a NamedColumn> {
    let mut columns = names.columns(name_of(expr)?);
    let first = columns.next()?;
    columns.all(|column| column.kind == first.kind).then_some(first)
}

/// A name, quoted where it has to be.
pub(super) fn named(name: &str) -> Ident {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let bare = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain);
    if bare { Ident::new(name) } else { Ident::with_quote('"', name) }
}

/// Whether a call has arguments and nothing that a translation would lose: DISTINCT, FILTER, an order of its own.
pub(super) fn is_plain(call: &Function, list: &FunctionArgumentList) -> bool {
    list.duplicate_treatment.is_none()
        && list.clauses.is_empty()
        && call.filter.is_none()
        && call.within_group.is_empty()
}

/// The longest text of a translated expression. A translation inside another may double it.
const MAX_EXPRESSION: usize = 4_000;

/// A text as an expression.
pub(super) fn parsed(text: &str) -> Option<Expr> {
    if text.len() > MAX_EXPRESSION {
        return None;
    }
    Parser::new(&GenericDialect {}).try_with_sql(text).ok()?.parse_expr().ok()
}
