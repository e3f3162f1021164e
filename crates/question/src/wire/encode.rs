//! To `loda.fragment.v1`: the canonical bytes of a question.
//!
//! The format is a subset of DataFusion's plan encoding. The same draft over the same contracts always has the same bytes.

use loda_contract::{ColumnType, Contract, Value};
use loda_proto::fragment as pb;
use pb::logical_expr_node::Expr;
use pb::logical_plan_node::Plan;
use prost::Message;

use crate::derive::Question;
use crate::draft::column_name::{parts, qualified, relation};
use crate::draft::{Draft, Figure, JoinKind, Measure, Predicate, Rows, Scalar, Source};
use crate::scope::Scope;

impl Question {
    /// The canonical bytes: the same question, however worded, has the same bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        fragment(self.draft(), self.scope()).encode_to_vec()
    }
}

/// Most digits of a decimal, as DataFusion's Decimal128 has them.
pub(crate) const PRECISION: u8 = 38;

/// The prefixes of the positional names that keys and figures have on the wire.
pub(crate) const KEY: &str = "k";
pub(crate) const FIGURE: &str = "f";

/// The prefix of the names that values have in a derivation by unit.
pub(crate) const VALUE: &str = "d";

fn fragment(draft: &Draft, scope: &Scope) -> pb::LogicalPlanNode {
    plan(Plan::Aggregate(Box::new(pb::AggregateNode {
        input: Some(Box::new(rows(&draft.rows, scope))),
        group_expr: draft.keys.iter().enumerate().map(|(i, k)| alias(scalar(k), KEY, i)).collect(),
        aggr_expr: draft.figures.iter().enumerate().map(|(i, f)| alias(figure(f), FIGURE, i)).collect(),
    })))
}

fn rows(rows: &Rows, scope: &Scope) -> pb::LogicalPlanNode {
    let first = source(&rows.first, scope);
    let mut input = if rows.dataset().is_some() { first } else { placed(first, 0) };
    for (place, join) in (1..).zip(&rows.joins) {
        let keys = |side: &dyn Fn(&(String, String)) -> String| join.on.iter().map(|on| column(&side(on))).collect();
        input = plan(Plan::Join(Box::new(pb::JoinNode {
            left: Some(Box::new(input)),
            right: Some(Box::new(placed(source(&join.source, scope), place))),
            join_type: join_type(join.kind).into(),
            left_join_key: keys(&|(left, _)| left.clone()),
            right_join_key: keys(&|(_, right)| qualified(place, right)),
        })));
    }
    selection(input, rows.filter.as_ref())
}

/// The join on the wire.
pub(crate) fn join_type(kind: JoinKind) -> pb::JoinType {
    match kind {
        JoinKind::Inner => pb::JoinType::Inner,
        JoinKind::Left => pb::JoinType::Left,
        JoinKind::Semi => pb::JoinType::Leftsemi,
        JoinKind::Anti => pb::JoinType::Leftanti,
    }
}

fn source(source: &Source, scope: &Scope) -> pb::LogicalPlanNode {
    match source {
        Source::Dataset { name, filter } => {
            let contract = scope.datasets.iter().find(|c| c.dataset == *name);
            let scan = plan(Plan::CustomScan(pb::CustomTableScanNode {
                schema: contract.map(|c| schema(c)),
                custom_table_data: Vec::new(),
                table_name: Some(table(name.clone())),
            }));
            selection(scan, filter.as_ref())
        }
        Source::PerUnit(per_unit) => plan(Plan::Aggregate(Box::new(pb::AggregateNode {
            input: Some(Box::new(rows(&per_unit.rows, scope))),
            group_expr: std::iter::once(&per_unit.unit).chain(&per_unit.keys).map(|k| column(k)).collect(),
            aggr_expr: per_unit.values.iter().enumerate().map(|(i, v)| alias(figure(v), VALUE, i)).collect(),
        }))),
    }
}

fn selection(input: pb::LogicalPlanNode, filter: Option<&Predicate>) -> pb::LogicalPlanNode {
    match filter {
        None => input,
        Some(filter) => plan(Plan::Selection(Box::new(pb::SelectionNode {
            input: Some(Box::new(input)),
            expr: Some(predicate(filter)),
        }))),
    }
}

fn placed(input: pb::LogicalPlanNode, place: usize) -> pb::LogicalPlanNode {
    plan(Plan::SubqueryAlias(Box::new(pb::SubqueryAliasNode {
        input: Some(Box::new(input)),
        alias: Some(table(relation(place))),
    })))
}

/// A table by its bare name.
pub(crate) fn table(name: String) -> pb::TableReference {
    let bare = pb::BareTableReference { table: name };
    pb::TableReference { reference: Some(pb::table_reference::Reference::Bare(bare)) }
}

/// `t0.name` is the column of a relation; a bare name has none.
fn column(name: &str) -> pb::LogicalExprNode {
    let (relation, name) = parts(name);
    let relation = relation.map(|relation| pb::ColumnRelation { relation: relation.to_owned() });
    node(Expr::Column(pb::Column { name: name.to_owned(), relation }))
}

/// A node of the plan.
pub(crate) fn plan(plan: Plan) -> pb::LogicalPlanNode {
    pb::LogicalPlanNode { plan: Some(plan) }
}

/// A node of an expression.
pub(crate) fn node(expr: Expr) -> pb::LogicalExprNode {
    pb::LogicalExprNode { expr: Some(expr) }
}

fn boxed(expr: pb::LogicalExprNode) -> Option<Box<pb::LogicalExprNode>> {
    Some(Box::new(expr))
}

/// An expression under its positional name: the prefix and its number.
pub(crate) fn alias(expr: pb::LogicalExprNode, prefix: &str, number: usize) -> pb::LogicalExprNode {
    node(Expr::Alias(Box::new(pb::AliasNode { expr: boxed(expr), alias: format!("{prefix}{number}") })))
}

/// Every column of the contract, so that the bytes stand alone.
pub(crate) fn schema(contract: &Contract) -> pb::Schema {
    let columns = contract.columns.iter().map(|c| pb::Field {
        name: c.name.clone(),
        arrow_type: Some(arrow_type(c.kind)),
        nullable: c.nullable,
    });
    pb::Schema { columns: columns.collect() }
}

/// The type on the wire.
pub(crate) fn arrow_type(kind: ColumnType) -> pb::ArrowType {
    use pb::arrow_type::Kind;
    let empty = pb::EmptyMessage {};
    let kind = match kind {
        ColumnType::Text => Kind::Utf8(empty),
        ColumnType::Integer => Kind::Int64(empty),
        ColumnType::Date => Kind::Date32(empty),
        ColumnType::Boolean => Kind::Bool(empty),
        ColumnType::Decimal(scale) => {
            Kind::Decimal128(pb::Decimal128Type { precision: PRECISION.into(), scale: scale.into() })
        }
    };
    pb::ArrowType { kind: Some(kind) }
}

fn figure(figure: &Figure) -> pb::LogicalExprNode {
    let product = |a: &str, b: &str| binary("Multiply", vec![column(a), column(b)]);
    let (fun_name, argument, distinct) = match &figure.measure {
        Measure::Rows => ("count", literal(&Value::Integer(1), ColumnType::Integer), false),
        Measure::Units(name) => ("count", column(name), true),
        Measure::Present(name) => ("count", column(name), false),
        Measure::Sum(name) => ("sum", column(name), false),
        Measure::Square(name) => ("sum", product(name, name), false),
        Measure::Product(a, b) => ("sum", product(a, b), false),
        Measure::Least(name) => ("min", column(name), false),
        Measure::Greatest(name) => ("max", column(name), false),
    };
    node(Expr::AggregateUdf(Box::new(pb::AggregateUdfExprNode {
        fun_name: fun_name.to_owned(),
        args: vec![argument],
        filter: figure.condition.as_ref().map(|c| Box::new(predicate(c))),
        distinct,
    })))
}

fn scalar(scalar_: &Scalar) -> pb::LogicalExprNode {
    match scalar_ {
        Scalar::Column(name) => column(name),
        Scalar::Literal(value, kind) => literal(value, *kind),
        // DataFusion's date_trunc gives a timestamp and date_part an Int32: the casts give the contract's types.
        Scalar::DateTrunc(grain, of) => {
            cast(function("date_trunc", vec![text(grain.name()), scalar(of)]), ColumnType::Date)
        }
        Scalar::DatePart(part, of) => {
            cast(function("date_part", vec![text(part.name()), scalar(of)]), ColumnType::Integer)
        }
        Scalar::Upper(of) => function("upper", vec![scalar(of)]),
        Scalar::Lower(of) => function("lower", vec![scalar(of)]),
        Scalar::Arithmetic(op, of, by) => {
            binary(op.wire(), vec![scalar(of), literal(&Value::Integer(*by), ColumnType::Integer)])
        }
        Scalar::Coalesce(operands) => function("coalesce", operands.iter().map(scalar).collect()),
        Scalar::Case { branches, otherwise } => {
            let when_then = branches
                .iter()
                .map(|(when, then)| pb::WhenThen { when: Some(predicate(when)), then: Some(scalar(then)) })
                .collect();
            let else_expr = otherwise.as_ref().map(|o| Box::new(scalar(o)));
            node(Expr::Case(Box::new(pb::CaseNode { when_then, else_expr })))
        }
    }
}

fn text(text: &str) -> pb::LogicalExprNode {
    literal(&Value::Text(text.into()), ColumnType::Text)
}

fn function(name: &str, args: Vec<pb::LogicalExprNode>) -> pb::LogicalExprNode {
    node(Expr::ScalarUdf(pb::ScalarUdfExprNode { fun_name: name.to_owned(), args }))
}

fn cast(expr: pb::LogicalExprNode, kind: ColumnType) -> pb::LogicalExprNode {
    node(Expr::Cast(Box::new(pb::CastNode { expr: boxed(expr), arrow_type: Some(arrow_type(kind)) })))
}

/// A value of a type; decimals as 16 bytes, the most significant first.
pub(crate) fn literal(value: &Value, kind: ColumnType) -> pb::LogicalExprNode {
    use pb::scalar_value::Value as Wire;
    let scale = match kind {
        ColumnType::Decimal(scale) => i64::from(scale),
        _ => 0,
    };
    let value = match value {
        Value::Null => Wire::NullValue(arrow_type(kind)),
        Value::Boolean(b) => Wire::BoolValue(*b),
        Value::Integer(i) => Wire::Int64Value(*i),
        Value::Date(d) => Wire::Date32Value(*d),
        Value::Text(t) => Wire::Utf8Value(t.to_string()),
        Value::Decimal(units) => {
            Wire::Decimal128Value(pb::Decimal128 { value: units.to_be_bytes().to_vec(), p: PRECISION.into(), s: scale })
        }
    };
    node(Expr::Literal(pb::ScalarValue { value: Some(value) }))
}

fn predicate(predicate_: &Predicate) -> pb::LogicalExprNode {
    match predicate_ {
        Predicate::Constant(Some(truth)) => literal(&Value::Boolean(*truth), ColumnType::Boolean),
        Predicate::Constant(None) => literal(&Value::Null, ColumnType::Boolean),
        Predicate::Truth(of) => scalar(of),
        Predicate::Compare { left, op, right } => binary(op_name(op.sql()), vec![scalar(left), scalar(right)]),
        Predicate::In { of, values } => node(Expr::InList(Box::new(pb::InListNode {
            expr: boxed(scalar(of)),
            list: values.iter().map(|(v, kind)| literal(v, *kind)).collect(),
        }))),
        Predicate::IsNull(of) => node(Expr::IsNull(Box::new(pb::IsNull { expr: boxed(scalar(of)) }))),
        Predicate::Not(of) => match of.as_ref() {
            Predicate::IsNull(of) => node(Expr::IsNotNull(Box::new(pb::IsNotNull { expr: boxed(scalar(of)) }))),
            other => node(Expr::Not(Box::new(pb::Not { expr: boxed(predicate(other)) }))),
        },
        Predicate::And(operands) => binary("And", operands.iter().map(predicate).collect()),
        Predicate::Or(operands) => binary("Or", operands.iter().map(predicate).collect()),
    }
}

fn binary(op: &str, operands: Vec<pb::LogicalExprNode>) -> pb::LogicalExprNode {
    node(Expr::BinaryExpr(pb::BinaryExprNode { operands, op: op.to_owned() }))
}

/// DataFusion names operators as its `Operator` enum does.
pub(crate) fn op_name(sql: &str) -> &'static str {
    match sql {
        "=" => "Eq",
        "<>" => "NotEq",
        "<" => "Lt",
        "<=" => "LtEq",
        ">" => "Gt",
        _ => "GtEq",
    }
}
