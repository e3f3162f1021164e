//! The canonical bytes of a table: DataFusion's plan of `SELECT K, figures FROM domain GROUP BY CUBE (K)`.
//!
//! *Attack: bytes that carry a condition.* There is one form and no other: a decoded table is encoded again and compared,
//! so that no expression, literal or name of an asker's passes. Bytes are limited in length before they are parsed, and
//! columns in number while they are read.

use std::collections::BTreeSet;

use loda_contract::{ColumnType, Value};
use loda_proto::fragment as pb;
use pb::logical_expr_node::Expr;
use pb::logical_plan_node::Plan;
use prost::Message;

use super::{ColumnRef, Functional, Made, RowDomain, Table};
use crate::refusal::Refusal;
use crate::scope::Contracts;
use crate::wire::encode::{self, FIGURE, alias, node, plan, table};
use crate::wire::{Limits, fault};

/// Follows the name of a measure that is a column of K by its bands.
const BANDS: &str = "/bands";

impl Table {
    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let columns: Vec<(String, ColumnType)> =
            self.columns.iter().map(|c| (self.column_name(c.made == Made::Bands, &c.reference), c.kind)).collect();
        let mut fields: Vec<(String, ColumnType, bool)> =
            columns.iter().map(|(name, kind)| (name.clone(), *kind, true)).collect();
        for functional in &self.functionals {
            match functional {
                Functional::Units(domain) => fields.push((domain.clone(), ColumnType::Integer, false)),
                Functional::Rows => {}
                Functional::Present(of) | Functional::Sum(of) | Functional::Square(of) => {
                    self.measure_field(of, &mut fields)
                }
                Functional::Product(a, b) => {
                    self.measure_field(a, &mut fields);
                    self.measure_field(b, &mut fields);
                }
            }
        }
        let schema = pb::Schema {
            columns: fields
                .into_iter()
                .map(|(name, kind, nullable)| pb::Field { name, arrow_type: Some(encode::arrow_type(kind)), nullable })
                .collect(),
        };
        let scan = plan(Plan::CustomScan(pb::CustomTableScanNode {
            schema: Some(schema),
            custom_table_data: Vec::new(),
            table_name: Some(table(self.domain.table_name())),
        }));
        let cube = node(Expr::Cube(pb::CubeNode { expr: columns.iter().map(|(name, _)| bare(name)).collect() }));
        plan(Plan::Aggregate(Box::new(pb::AggregateNode {
            input: Some(Box::new(scan)),
            group_expr: if columns.is_empty() { Vec::new() } else { vec![cube] },
            aggr_expr: self.functionals.iter().enumerate().map(|(i, f)| alias(aggregate(f), FIGURE, i)).collect(),
        })))
        .encode_to_vec()
    }

    /// Decodes, checks against the contracts, and checks that the bytes are the canonical ones.
    ///
    /// # Errors
    /// Rule `fragment` where the bytes are not canonical, otherwise the rule that failed.
    pub fn decode(bytes: &[u8], limits: Limits, contracts: Contracts<'_>) -> Result<Self, Refusal> {
        let (domain, columns, functionals) = parsed(bytes, limits)?;
        let table = Self::new(domain, columns, functionals, contracts)?;
        if table.encode() == bytes {
            return Ok(table);
        }
        Err(fault("the bytes are not canonical, or the schema is not the contract's"))
    }

    /// Whether bytes are meant as a table, rather than as a question.
    #[must_use]
    pub fn is_meant(bytes: &[u8], limits: Limits) -> bool {
        bytes.len() <= limits.bytes
            && matches!(scan_of(bytes), Some(name) if RowDomain::from_table_name(&name).is_some())
    }

    /// The name of a column on the wire: of a measure by its bands with a suffix.
    pub(super) fn column_name(&self, bands: bool, reference: &ColumnRef) -> String {
        let suffix = if bands { BANDS } else { "" };
        format!("{reference}{suffix}")
    }

    fn measure_field(&self, of: &ColumnRef, fields: &mut Vec<(String, ColumnType, bool)>) {
        let name = of.to_string();
        let column = self.contract(&of.dataset).and_then(|c| c.column(of.column.as_deref()?));
        if let Some(column) = column
            && !fields.iter().any(|(known, _, _)| *known == name)
        {
            fields.push((name, column.kind, true));
        }
    }
}

fn bare(name: &str) -> pb::LogicalExprNode {
    node(Expr::Column(pb::Column { name: name.to_owned(), relation: None }))
}

fn aggregate(functional: &Functional) -> pb::LogicalExprNode {
    let column = |of: &ColumnRef| bare(&of.to_string());
    let product = |a: &ColumnRef, b: &ColumnRef| {
        node(Expr::BinaryExpr(pb::BinaryExprNode { operands: vec![column(a), column(b)], op: "Multiply".to_owned() }))
    };
    let (fun_name, argument, distinct) = match functional {
        Functional::Units(domain) => ("count", bare(domain), true),
        Functional::Rows => ("count", encode::literal(&Value::Integer(1), ColumnType::Integer), false),
        Functional::Present(of) => ("count", column(of), false),
        Functional::Sum(of) => ("sum", column(of), false),
        Functional::Square(of) => ("sum", product(of, of), false),
        Functional::Product(a, b) => ("sum", product(a, b), false),
    };
    node(Expr::AggregateUdf(Box::new(pb::AggregateUdfExprNode {
        fun_name: fun_name.to_owned(),
        args: vec![argument],
        filter: None,
        distinct,
    })))
}

fn scan_of(bytes: &[u8]) -> Option<String> {
    let root = pb::LogicalPlanNode::decode(bytes).ok()?;
    let Some(Plan::Aggregate(aggregate)) = root.plan else { return None };
    scanned(&aggregate)
}

fn scanned(aggregate: &pb::AggregateNode) -> Option<String> {
    let input = aggregate.input.as_ref()?;
    let Some(Plan::CustomScan(scan)) = &input.plan else { return None };
    let Some(pb::table_reference::Reference::Bare(bare)) = &scan.table_name.as_ref()?.reference else { return None };
    Some(bare.table.clone())
}

type Parsed = (RowDomain, BTreeSet<ColumnRef>, BTreeSet<Functional>);

/// The parts of a table, if the bytes are one. Encoding it again decides that.
fn parsed(bytes: &[u8], limits: Limits) -> Result<Parsed, Refusal> {
    if bytes.len() > limits.bytes {
        return Err(fault("the fragment is longer than the limit"));
    }
    let root = pb::LogicalPlanNode::decode(bytes).map_err(|_| fault("the bytes are not a fragment"))?;
    let Some(Plan::Aggregate(aggregate)) = root.plan else { return Err(fault("the bytes are no table")) };
    let domain = scanned(&aggregate).and_then(|name| RowDomain::from_table_name(&name));
    let domain = domain.ok_or_else(|| fault("the table is of no row domain"))?;
    let mut columns = BTreeSet::new();
    match aggregate.group_expr.as_slice() {
        [] => {}
        [pb::LogicalExprNode { expr: Some(Expr::Cube(cube)) }] => {
            for expr in cube.expr.iter().take(super::rules::MAX_COLUMNS.saturating_add(1)) {
                let name = column_of(expr).ok_or_else(|| fault("a column of the table is no bare column"))?;
                let name = name.strip_suffix(BANDS).unwrap_or(name);
                columns.insert(ColumnRef::parse(name).ok_or_else(|| fault("a column has no name of a contract"))?);
            }
        }
        _ => return Err(fault("a table groups by CUBE of its columns, and by nothing else")),
    }
    let mut functionals = BTreeSet::new();
    for expr in &aggregate.aggr_expr {
        functionals.insert(functional(expr).ok_or_else(|| fault("a figure of the table is none that tables have"))?);
    }
    Ok((domain, columns, functionals))
}

fn column_of(expr: &pb::LogicalExprNode) -> Option<&str> {
    match &expr.expr {
        Some(Expr::Column(column)) if column.relation.is_none() => Some(&column.name),
        _ => None,
    }
}

fn functional(expr: &pb::LogicalExprNode) -> Option<Functional> {
    let Some(Expr::Alias(alias)) = &expr.expr else { return None };
    let Some(Expr::AggregateUdf(call)) = &alias.expr.as_ref()?.expr else { return None };
    let [argument] = call.args.as_slice() else { return None };
    let measure = |expr: &pb::LogicalExprNode| ColumnRef::parse(column_of(expr)?);
    match (call.fun_name.as_str(), call.distinct, &argument.expr) {
        ("count", true, _) => Some(Functional::Units(column_of(argument)?.to_owned())),
        ("count", false, Some(Expr::Literal(_))) => Some(Functional::Rows),
        ("count", false, _) => Some(Functional::Present(measure(argument)?)),
        ("sum", false, Some(Expr::BinaryExpr(product))) => {
            let [a, b] = product.operands.as_slice() else { return None };
            let (a, b) = (measure(a)?, measure(b)?);
            Some(if a == b { Functional::Square(a) } else { Functional::Product(a, b) })
        }
        ("sum", false, _) => Some(Functional::Sum(measure(argument)?)),
        _ => None,
    }
}
