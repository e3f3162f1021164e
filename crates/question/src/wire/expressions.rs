//! From expressions on the wire to scalars and conditions.
//!
//! *Attack: a function of one's own.* Functions are taken by name from a closed list; every other name, an
//! aggregate inside a scalar, a literal of an unknown type and a decimal of another precision are refused.

use loda_contract::{ColumnType, Grain, Value};
use loda_proto::fragment as pb;
use pb::logical_expr_node::Expr;

use super::encode::{PRECISION, op_name};
use super::limits::{Decoder, fault};
use crate::draft::column_name::{qualified, source_of};
use crate::draft::{Arithmetic, Comparison, DatePart, Predicate, Scalar};
use crate::refusal::{Checked, Refusal, Rule};

impl Decoder {
    /// A scalar at a depth.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn scalar(&mut self, expr: pb::LogicalExprNode, depth: usize) -> Checked<Scalar> {
        self.enter(depth)?;
        match expr.expr.ok_or_else(|| fault("an expression is empty"))? {
            Expr::Column(column) => Ok(Scalar::Column(column_name(column)?)),
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
            Expr::Alias(_) | Expr::AggregateUdf(_) | Expr::Cube(_) => Err(function("an expression inside another")),
            Expr::BinaryExpr(binary) => {
                let op = Arithmetic::ALL.into_iter().find(|op| op.wire() == binary.op);
                let op = op.ok_or_else(|| function("an operator as a value"))?;
                let mut operands = binary.operands.into_iter();
                let (Some(of), Some(by), None) = (operands.next(), operands.next(), operands.next()) else {
                    return Err(fault("arithmetic has more or fewer sides than two"));
                };
                let of = self.scalar(of, depth + 1)?;
                match self.scalar(by, depth + 1)? {
                    Scalar::Literal(Value::Integer(by), _) => Ok(Scalar::Arithmetic(op, Box::new(of), by)),
                    _ => Err(function("arithmetic with something other than a literal")),
                }
            }
            Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::Not(_) | Expr::InList(_) => {
                Err(function("a condition as a value"))
            }
        }
    }

    fn date_function(&mut self, call: pb::ScalarUdfExprNode, kind: ColumnType, depth: usize) -> Checked<Scalar> {
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
                .find(|p| *p.name() == *name)
                .map(|part| Scalar::DatePart(part, of))
                .ok_or_else(|| function("this date part")),
            _ => Err(function("a cast")),
        }
    }

    /// A condition at a depth.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn predicate(&mut self, expr: pb::LogicalExprNode, depth: usize) -> Checked<Predicate> {
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

    fn binary(&mut self, binary: pb::BinaryExprNode, depth: usize) -> Checked<Predicate> {
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

/// The name of a column, with the place of its source where it has one.
pub(super) fn column_name(column: pb::Column) -> Checked<String> {
    if column.name.contains('.') {
        return Err(fault("a column's name holds a full stop"));
    }
    let Some(relation) = column.relation else { return Ok(column.name) };
    let source = source_of(&relation.relation).ok_or_else(|| fault("a column is of no source"))?;
    Ok(qualified(source, &column.name))
}

fn scalar_function(name: &str, args: Vec<Scalar>) -> Checked<Scalar> {
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

fn literal(value: pb::ScalarValue) -> Checked<Scalar> {
    use pb::scalar_value::Value as Wire;
    let (value, kind) = match value.value.ok_or_else(|| fault("a literal is empty"))? {
        Wire::BoolValue(b) => (Value::Boolean(b), ColumnType::Boolean),
        Wire::Utf8Value(t) => (Value::Text(t.into()), ColumnType::Text),
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

fn column_type(kind: Option<pb::ArrowType>) -> Checked<ColumnType> {
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

/// An expression that may not be missing.
pub(super) fn required(expr: Option<Box<pb::LogicalExprNode>>) -> Checked<pb::LogicalExprNode> {
    expr.map(|e| *e).ok_or_else(|| fault("an expression is missing"))
}

fn function(what: &str) -> Refusal {
    Refusal::new(
        Rule::Function,
        format!("{what} is not on the list of functions"),
        "Use date_trunc, date_part, upper, lower, coalesce or CASE over dimensions",
    )
}
