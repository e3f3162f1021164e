//! From `loda.fragment.v1` bytes to a draft, under limits. Whatever is not a canonical fragment is refused.

use std::sync::Arc;

use loda_contract::{ColumnType, Contract, Grain, Value};
use loda_proto::fragment as pb;
use pb::logical_expr_node::Expr;
use pb::logical_plan_node::Plan;
use prost::Message;

use crate::derive::Question;
use crate::draft::{Comparison, DatePart, Draft, Figure, Measure, Predicate, Scalar};
use crate::encode::{FIGURE, KEY, PRECISION, op_name};
use crate::refusal::{Refusal, Rule};

/// What a fragment may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: usize,
    /// Expression nodes in all.
    pub nodes: usize,
    /// Nesting; a long AND chain is one level with many operands.
    pub depth: usize,
    /// Operands of one node.
    pub operands: usize,
}

/// The limits that nodes apply.
pub const LIMITS: Limits = Limits { bytes: 64 << 10, nodes: 4_000, depth: 24, operands: 1_024 };

type Decoded<T> = Result<T, Refusal>;

impl Draft {
    /// Decodes a draft.
    ///
    /// # Errors
    /// Rule `fragment`, with what was wrong in words; never a panic.
    pub fn decode(bytes: &[u8], limits: Limits) -> Decoded<Self> {
        if bytes.len() > limits.bytes {
            return Err(fault("the fragment is longer than the limit"));
        }
        let root = pb::LogicalPlanNode::decode(bytes).map_err(|_| fault("the bytes are not a fragment"))?;
        let mut decoder = Decoder { limits, nodes: 0 };
        decoder.draft(root)
    }
}

impl Question {
    /// Decodes, derives, and checks that the bytes are the canonical ones.
    ///
    /// # Errors
    /// Rule `fragment` where the bytes are not canonical, otherwise the rule that failed.
    pub fn decode(bytes: &[u8], limits: Limits, contract: impl FnOnce(&str) -> Option<Arc<Contract>>) -> Decoded<Self> {
        let draft = Draft::decode(bytes, limits)?;
        let contract = contract(&draft.dataset).ok_or_else(|| {
            Refusal::new(
                Rule::Unknown,
                "the dataset is not held here",
                "See the catalogue for the boroughs that hold it",
            )
        })?;
        let question = Self::derive(draft, contract)?;
        if question.encode() == bytes {
            return Ok(question);
        }
        Err(fault("the bytes are not canonical, or the schema is not the contract's"))
    }
}

fn fault(message: &str) -> Refusal {
    Refusal::new(Rule::Fragment, message, "Send the fragment that Prepare returned, unchanged")
}

struct Decoder {
    limits: Limits,
    nodes: usize,
}

impl Decoder {
    fn draft(&mut self, root: pb::LogicalPlanNode) -> Decoded<Draft> {
        let Some(Plan::Aggregate(aggregate)) = root.plan else {
            return Err(Refusal::new(
                Rule::Rows,
                "the fragment does not end in an aggregate, so it would list rows",
                "Ask for figures: COUNT, COUNT(DISTINCT unit), SUM or AVG",
            ));
        };
        let input = aggregate.input.and_then(|i| i.plan).ok_or_else(|| fault("an input is missing"))?;
        let (scan, filter) = match input {
            Plan::CustomScan(scan) => (scan, None),
            Plan::Selection(selection) => match selection.input.and_then(|i| i.plan) {
                Some(Plan::CustomScan(scan)) => {
                    let filter = selection.expr.ok_or_else(|| fault("a filter is empty"))?;
                    (scan, Some(self.predicate(filter, 1)?))
                }
                _ => return Err(operator()),
            },
            Plan::Aggregate(_) => return Err(operator()),
        };
        let dataset = match scan.table_name.and_then(|t| t.reference) {
            Some(pb::table_reference::Reference::Bare(bare)) => bare.table,
            None => return Err(fault("the dataset has no name")),
        };
        self.count_operands(aggregate.group_expr.len().max(aggregate.aggr_expr.len()))?;
        let mut keys = Vec::new();
        for (number, expr) in aggregate.group_expr.into_iter().enumerate() {
            let expr = aliased(expr, KEY, number)?;
            keys.push(self.scalar(expr, 1)?);
        }
        let mut figures = Vec::new();
        for (number, expr) in aggregate.aggr_expr.into_iter().enumerate() {
            let expr = aliased(expr, FIGURE, number)?;
            figures.push(self.figure(expr)?);
        }
        Ok(Draft { dataset, filter, keys, figures })
    }

    fn enter(&mut self, depth: usize) -> Decoded<()> {
        self.nodes = self.nodes.saturating_add(1);
        if depth > self.limits.depth || self.nodes > self.limits.nodes {
            return Err(fault("the fragment has more or deeper expressions than the limit"));
        }
        Ok(())
    }

    fn count_operands(&self, operands: usize) -> Decoded<()> {
        if operands > self.limits.operands {
            return Err(fault("an expression has more operands than the limit"));
        }
        Ok(())
    }

    fn figure(&mut self, expr: pb::LogicalExprNode) -> Decoded<Figure> {
        self.enter(1)?;
        let Some(Expr::AggregateUdf(call)) = expr.expr else {
            return Err(aggregate_rule("something that is not an aggregate"));
        };
        let condition = call.filter.map(|f| self.predicate(*f, 2)).transpose()?;
        let mut arguments = call.args.into_iter();
        let (Some(argument), None) = (arguments.next(), arguments.next()) else {
            return Err(aggregate_rule("an aggregate with more or fewer arguments than one"));
        };
        let measure = match (call.fun_name.as_str(), call.distinct, self.scalar(argument, 2)?) {
            ("count", false, Scalar::Literal(Value::Integer(1), _)) => Measure::Rows,
            ("count", true, Scalar::Column(name)) => Measure::Units(name),
            ("count", false, Scalar::Column(name)) => Measure::Present(name),
            ("sum", false, Scalar::Column(name)) => Measure::Sum(name),
            ("sum", _, _) => {
                return Err(Refusal::new(Rule::MeasureExpression, "SUM is given an expression", "Sum a bare measure"));
            }
            _ => return Err(aggregate_rule("this aggregate")),
        };
        Ok(Figure { measure, condition })
    }

    fn scalar(&mut self, expr: pb::LogicalExprNode, depth: usize) -> Decoded<Scalar> {
        self.enter(depth)?;
        match expr.expr.ok_or_else(|| fault("an expression is empty"))? {
            Expr::Column(column) => Ok(Scalar::Column(column.name)),
            Expr::Literal(value) => literal(value),
            Expr::Cast(cast) => {
                let kind = column_type(cast.arrow_type)?;
                let inner = required(cast.expr)?;
                let Some(Expr::ScalarUdf(call)) = inner.expr else { return Err(function("a cast")) };
                self.enter(depth + 1)?;
                self.date_function(call, kind, depth + 2)
            }
            Expr::ScalarUdf(call) => {
                self.count_operands(call.args.len())?;
                let mut args = Vec::new();
                for arg in call.args {
                    args.push(self.scalar(arg, depth + 1)?);
                }
                scalar_function(&call.fun_name, args)
            }
            Expr::Case(case) => {
                self.count_operands(case.when_then.len())?;
                let mut branches = Vec::new();
                for branch in case.when_then {
                    let when = branch.when.ok_or_else(|| fault("a CASE branch is empty"))?;
                    let then = branch.then.ok_or_else(|| fault("a CASE branch is empty"))?;
                    branches.push((self.predicate(when, depth + 1)?, self.scalar(then, depth + 1)?));
                }
                let otherwise = case.else_expr.map(|e| self.scalar(*e, depth + 1)).transpose()?.map(Box::new);
                Ok(Scalar::Case { branches, otherwise })
            }
            Expr::Alias(_) | Expr::AggregateUdf(_) => Err(function("an expression inside another")),
            Expr::BinaryExpr(_) => Err(function("arithmetic or a comparison as a value")),
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Not(_) | Expr::InList(_) => {
                Err(function("a condition as a value"))
            }
        }
    }

    fn date_function(&mut self, call: pb::ScalarUdfExprNode, kind: ColumnType, depth: usize) -> Decoded<Scalar> {
        let mut args = call.args.into_iter();
        let (Some(name), Some(of), None) = (args.next(), args.next(), args.next()) else {
            return Err(function("a date function with other arguments"));
        };
        let Scalar::Literal(Value::Text(name), _) = self.scalar(name, depth)? else {
            return Err(function("a date function whose part is not a literal"));
        };
        let of = Box::new(self.scalar(of, depth)?);
        match (call.fun_name.as_str(), kind) {
            ("date_trunc", ColumnType::Date) => {
                Grain::from_name(&name).map(|grain| Scalar::DateTrunc(grain, of)).ok_or_else(|| function("this grain"))
            }
            ("date_part", ColumnType::Integer) => DatePart::ALL
                .into_iter()
                .find(|p| p.name() == name)
                .map(|part| Scalar::DatePart(part, of))
                .ok_or_else(|| function("this date part")),
            _ => Err(function("a cast")),
        }
    }

    fn predicate(&mut self, expr: pb::LogicalExprNode, depth: usize) -> Decoded<Predicate> {
        self.enter(depth)?;
        match expr.expr.ok_or_else(|| fault("an expression is empty"))? {
            Expr::BinaryExpr(binary) => self.binary(binary, depth),
            Expr::IsNull(of) => Ok(Predicate::IsNull(self.scalar(required(of.expr)?, depth + 1)?)),
            Expr::IsNotNull(of) => {
                let of = self.scalar(required(of.expr)?, depth + 1)?;
                Ok(Predicate::Not(Box::new(Predicate::IsNull(of))))
            }
            Expr::Not(of) => Ok(Predicate::Not(Box::new(self.predicate(required(of.expr)?, depth + 1)?))),
            Expr::InList(list) => {
                self.count_operands(list.list.len())?;
                let of = self.scalar(required(list.expr)?, depth + 1)?;
                let mut values = Vec::new();
                for item in list.list {
                    match self.scalar(item, depth + 1)? {
                        Scalar::Literal(value, kind) => values.push((value, kind)),
                        _ => return Err(fault("an IN list holds something that is not a literal")),
                    }
                }
                Ok(Predicate::In { of, values })
            }
            Expr::Literal(value) => match literal(value)? {
                Scalar::Literal(Value::Boolean(truth), _) => Ok(Predicate::Constant(Some(truth))),
                Scalar::Literal(Value::Null, ColumnType::Boolean) => Ok(Predicate::Constant(None)),
                _ => Err(fault("a condition is a literal of another type")),
            },
            other => {
                let scalar = self.scalar(pb::LogicalExprNode { expr: Some(other) }, depth)?;
                Ok(Predicate::Truth(scalar))
            }
        }
    }

    fn binary(&mut self, binary: pb::BinaryExprNode, depth: usize) -> Decoded<Predicate> {
        self.count_operands(binary.operands.len())?;
        if let "And" | "Or" = binary.op.as_str() {
            let mut operands = Vec::new();
            for operand in binary.operands {
                operands.push(self.predicate(operand, depth + 1)?);
            }
            return Ok(if binary.op == "And" { Predicate::And(operands) } else { Predicate::Or(operands) });
        }
        let op = Comparison::ALL.into_iter().find(|c| op_name(c.sql()) == binary.op).ok_or_else(|| {
            Refusal::new(
                Rule::Predicate,
                "an operator is neither a comparison nor AND, OR",
                "Compare dimensions with literals, bare",
            )
        })?;
        let mut operands = binary.operands.into_iter();
        let (Some(left), Some(right), None) = (operands.next(), operands.next(), operands.next()) else {
            return Err(fault("a comparison has more or fewer sides than two"));
        };
        Ok(Predicate::Compare { left: self.scalar(left, depth + 1)?, op, right: self.scalar(right, depth + 1)? })
    }
}

fn scalar_function(name: &str, args: Vec<Scalar>) -> Decoded<Scalar> {
    let mut args = args.into_iter();
    match (name, args.next(), args.next()) {
        ("upper", Some(of), None) => Ok(Scalar::Upper(Box::new(of))),
        ("lower", Some(of), None) => Ok(Scalar::Lower(Box::new(of))),
        ("coalesce", Some(first), Some(second)) => {
            Ok(Scalar::Coalesce([first, second].into_iter().chain(args).collect()))
        }
        _ => Err(function("this function")),
    }
}

fn literal(value: pb::ScalarValue) -> Decoded<Scalar> {
    use pb::scalar_value::Value as Wire;
    let (value, kind) = match value.value.ok_or_else(|| fault("a literal is empty"))? {
        Wire::BoolValue(b) => (Value::Boolean(b), ColumnType::Boolean),
        Wire::Utf8Value(t) => (Value::Text(t), ColumnType::Text),
        Wire::Int64Value(i) => (Value::Integer(i), ColumnType::Integer),
        Wire::Date32Value(d) => (Value::Date(d), ColumnType::Date),
        Wire::Decimal128Value(d) => {
            let bytes: [u8; 16] = d.value.try_into().map_err(|_| fault("a decimal is not 16 bytes"))?;
            let scale = i8::try_from(d.s).ok().filter(|s| (0..=18).contains(s));
            let scale = scale.ok_or_else(|| fault("a decimal has an unknown scale"))?;
            if d.p != i64::from(PRECISION) {
                return Err(fault("a decimal has another precision"));
            }
            (Value::Decimal(i128::from_be_bytes(bytes)), ColumnType::Decimal(scale))
        }
        Wire::NullValue(kind) => (Value::Null, column_type(Some(kind))?),
    };
    Ok(Scalar::Literal(value, kind))
}

fn column_type(kind: Option<pb::ArrowType>) -> Decoded<ColumnType> {
    use pb::arrow_type::Kind;
    Ok(match kind.and_then(|k| k.kind).ok_or_else(|| fault("a type is missing"))? {
        Kind::Bool(_) => ColumnType::Boolean,
        Kind::Int64(_) => ColumnType::Integer,
        Kind::Utf8(_) => ColumnType::Text,
        Kind::Date32(_) => ColumnType::Date,
        Kind::Decimal128(d) => {
            let scale = i8::try_from(d.scale).ok().filter(|s| (0..=18).contains(s));
            ColumnType::Decimal(scale.ok_or_else(|| fault("a decimal has an unknown scale"))?)
        }
    })
}

fn aliased(expr: pb::LogicalExprNode, prefix: &str, number: usize) -> Decoded<pb::LogicalExprNode> {
    match expr.expr {
        Some(Expr::Alias(alias)) if alias.alias == format!("{prefix}{number}") => required(alias.expr),
        _ => Err(fault("keys and figures are not named by their positions")),
    }
}

fn required(expr: Option<Box<pb::LogicalExprNode>>) -> Decoded<pb::LogicalExprNode> {
    expr.map(|e| *e).ok_or_else(|| fault("an expression is missing"))
}

fn operator() -> Refusal {
    Refusal::new(
        Rule::Operator,
        "an operator over rows is not in the algebra",
        "Scan one dataset, filter it, and group it",
    )
}

fn function(what: &str) -> Refusal {
    Refusal::new(
        Rule::Function,
        format!("{what} is not on the list of functions"),
        "Use date_trunc, date_part, upper, lower, coalesce or CASE over dimensions",
    )
}

fn aggregate_rule(what: &str) -> Refusal {
    Refusal::new(
        Rule::Aggregate,
        format!("{what} cannot be released"),
        "Use COUNT(*), COUNT(column), COUNT(DISTINCT unit), SUM or AVG of a measure",
    )
}
