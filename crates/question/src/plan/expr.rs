//! An analyst's expressions over records, as scalars and predicates.
//!
//! A pattern (LIKE) is read as the list of those codes of its column that match it: a node never searches texts. Casts that
//! keep every value are dropped, and a literal takes the exact type of the column that it is compared with.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{Between, BinaryExpr, Case, Expr, ExprSchemable, Like, Operator};
use loda_contract::{ColumnType, Grain, Value};

use super::input::Input;
use super::literal::{Family, bare, column_type, constant, family, keeps_values, rescaled, value};
use super::refusals::{Read, function, subquery};
use crate::draft::{Arithmetic, Comparison, DatePart, Predicate, Scalar};
use crate::refusal::{Refusal, Rule};

/// The metadata of a column that has its codes, for LIKE.
pub const CODES: &str = "loda.codes";

/// Stands between two codes.
pub const CODE_END: char = '\u{1f}';

impl Input {
    /// A column of the plan, over the rows.
    ///
    /// # Errors
    /// The refusal that its expression met, or rule `function-not-allowed` where no one column has the name.
    pub(super) fn column(&self, column: &Column) -> Read<Scalar> {
        let found = self.columns.get(column).or_else(|| {
            let mut same = self.columns.iter().filter(|(c, _)| c.name == column.name);
            same.next().map(|(_, scalar)| scalar).filter(|_| same.next().is_none())
        });
        found.cloned().unwrap_or_else(|| Err(function(&format!("column '{}'", column.name))))
    }

    /// An expression as a scalar.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn scalar(&self, expr: &Expr, schema: &DFSchema) -> Read<Scalar> {
        if let Some(constant) = constant(expr) {
            return value(&constant).map(|(v, kind)| Scalar::Literal(v, kind)).ok_or_else(|| match constant {
                ScalarValue::TimestampNanosecond(..) | ScalarValue::TimestampMicrosecond(..) => Refusal::new(
                    Rule::Function,
                    "a date is compared with a time of a day",
                    "Compare it with a date, as in DATE '2025-01-31' or current_date - INTERVAL '3 months'",
                ),
                _ => function("a constant of this type"),
            });
        }
        match expr {
            Expr::Alias(alias) => self.scalar(&alias.expr, schema),
            Expr::Column(column) => self.column(column),
            Expr::Literal(literal, _) => value(literal)
                .map(|(v, kind)| Scalar::Literal(v, kind))
                .ok_or_else(|| function("a literal of this type")),
            Expr::Cast(cast) => self.cast(&cast.expr, cast.field.data_type(), schema),
            Expr::ScalarFunction(call) => self.call(call, schema),
            Expr::Case(case) => self.case(case, schema),
            Expr::BinaryExpr(b) if arithmetic(b.op) => self.arithmetic(b, schema),
            Expr::BinaryExpr(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::InList(_)
            | Expr::Between(_)
            | Expr::Like(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_) => self.truth(expr, schema),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => Err(subquery()),
            other => Err(function(other.variant_name())),
        }
    }

    /// A condition as a value: true, false or NULL.
    fn truth(&self, expr: &Expr, schema: &DFSchema) -> Read<Scalar> {
        let predicate = self.predicate(expr, schema)?;
        let truth = |b: bool| Scalar::Literal(Value::Boolean(b), ColumnType::Boolean);
        let negated = Predicate::Not(Box::new(predicate.clone()));
        let branches = vec![(predicate, truth(true)), (negated, truth(false))];
        Ok(Scalar::Case { branches, otherwise: None })
    }

    /// An integer dimension and a literal: `age / 10 * 10`.
    fn arithmetic(&self, binary: &BinaryExpr, schema: &DFSchema) -> Read<Scalar> {
        let op = match binary.op {
            Operator::Plus => Arithmetic::Add,
            Operator::Minus => Arithmetic::Subtract,
            Operator::Multiply => Arithmetic::Multiply,
            Operator::Divide => Arithmetic::Divide,
            _ => return Err(function("modulo")),
        };
        let integer = |e: &Expr| e.get_type(schema).is_ok_and(|t| family(&t) == Family::Integer);
        if !integer(&binary.left) || !integer(&binary.right) {
            return Err(function("arithmetic over something other than whole numbers"));
        }
        match (self.scalar(&binary.left, schema)?, self.scalar(&binary.right, schema)?, op) {
            (of, Scalar::Literal(Value::Integer(by), _), op) => Ok(Scalar::Arithmetic(op, Box::new(of), by)),
            (Scalar::Literal(Value::Integer(by), _), of, Arithmetic::Add | Arithmetic::Multiply) => {
                Ok(Scalar::Arithmetic(op, Box::new(of), by))
            }
            _ => Err(function("arithmetic between columns")),
        }
    }

    fn cast(&self, inner: &Expr, to: &DataType, schema: &DFSchema) -> Read<Scalar> {
        let from = inner.get_type(schema).map(|t| family(&t)).unwrap_or(Family::Other);
        if keeps_values(from, family(to)) {
            return self.scalar(inner, schema);
        }
        if let (Ok(Scalar::Literal(v, kind)), Some(to)) = (self.scalar(inner, schema), column_type(to))
            && let Some(v) = rescaled(v, kind, to)
        {
            return Ok(Scalar::Literal(v, to));
        }
        let plain = match family(to) {
            Family::Text => "text",
            Family::Integer => "a whole number",
            Family::Date => "a date",
            Family::Boolean => "true or false",
            Family::Decimal(_) => "a decimal number",
            Family::Other => "another type",
        };
        if let Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) = constant(inner) {
            let message = format!("'{text}' is not {plain}");
            return Err(Refusal::new(Rule::Function, message, "Write dates as DATE '2025-01-31', and numbers bare"));
        }
        Err(function(&format!("CAST of this expression to {plain}")))
    }

    fn call(&self, call: &ScalarFunction, schema: &DFSchema) -> Read<Scalar> {
        let mut args = call.args.iter();
        let name = call.func.name();
        match (name, args.next(), args.next(), args.next()) {
            ("upper", Some(of), None, None) => Ok(Scalar::Upper(Box::new(self.scalar(of, schema)?))),
            ("lower", Some(of), None, None) => Ok(Scalar::Lower(Box::new(self.scalar(of, schema)?))),
            ("floor", Some(of), None, None) if of.get_type(schema).is_ok_and(|t| family(&t) == Family::Integer) => {
                self.scalar(of, schema)
            }
            ("nullif", Some(of), Some(unwanted), None) => {
                let when = self.compare(of, Comparison::Equal, unwanted, schema)?;
                let of = self.scalar(of, schema)?;
                let Some((_, kind)) = constant(unwanted).as_ref().and_then(value) else {
                    return Err(function("nullif of two columns"));
                };
                let branches = vec![(when, Scalar::Literal(Value::Null, kind))];
                Ok(Scalar::Case { branches, otherwise: Some(Box::new(of)) })
            }
            ("coalesce", ..) => {
                let operands = call.args.iter().map(|a| self.scalar(a, schema)).collect::<Read<Vec<_>>>()?;
                Ok(Scalar::Coalesce(operands))
            }
            ("date_trunc" | "date_part", Some(Expr::Literal(part, _)), Some(of), None) => {
                let of = Box::new(self.scalar(of, schema)?);
                let Some((Value::Text(part), _)) = value(part) else { return Err(function(name)) };
                let part = part.to_lowercase();
                let grain = Grain::from_name(&part).map(|grain| Scalar::DateTrunc(grain, of.clone()));
                let date_part = DatePart::ALL.into_iter().find(|p| p.name() == part);
                let date_part = date_part.map(|part| Scalar::DatePart(part, of));
                let chosen = if name == "date_trunc" { grain } else { date_part };
                chosen.ok_or_else(|| function(&format!("{name}('{part}')")))
            }
            _ => Err(function(name)),
        }
    }

    fn case(&self, case: &Case, schema: &DFSchema) -> Read<Scalar> {
        let branches = case
            .when_then_expr
            .iter()
            .map(|(when, then)| Ok((self.when(case, when, schema)?, self.scalar(then, schema)?)));
        let branches = branches.collect::<Read<Vec<(Predicate, Scalar)>>>()?;
        let otherwise = case.else_expr.as_ref().map(|e| self.scalar(e, schema)).transpose()?;
        // The simplifier writes coalesce(a, b) as CASE WHEN a IS NOT NULL THEN a ELSE b END.
        let present = |(when, then): &(Predicate, Scalar)| match when {
            Predicate::Not(of) => **of == Predicate::IsNull(then.clone()),
            _ => false,
        };
        if branches.iter().all(present)
            && let Some(last) = otherwise
        {
            return Ok(Scalar::Coalesce(branches.into_iter().map(|(_, then)| then).chain([last]).collect()));
        }
        Ok(Scalar::Case { branches, otherwise: otherwise.map(Box::new) })
    }

    /// The condition of a branch of CASE.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn when(&self, case: &Case, when: &Expr, schema: &DFSchema) -> Read<Predicate> {
        match &case.expr {
            Some(of) => self.compare(of, Comparison::Equal, when, schema),
            None => self.predicate(when, schema),
        }
    }

    /// An expression as a condition.
    ///
    /// # Errors
    /// The rule that its shape breaks.
    pub(super) fn predicate(&self, expr: &Expr, schema: &DFSchema) -> Read<Predicate> {
        match expr {
            Expr::Alias(alias) => self.predicate(&alias.expr, schema),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                let operands = vec![self.predicate(left, schema)?, self.predicate(right, schema)?];
                Ok(if *op == Operator::And { Predicate::And(operands) } else { Predicate::Or(operands) })
            }
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom),
                right,
            }) if is_known(right) || is_known(left) => {
                // A missing value is distinct from every known one.
                let (of, known) = if is_known(right) { (left, right) } else { (right, left) };
                let missing = Predicate::IsNull(self.scalar(of, schema)?);
                let equal = self.compare(of, Comparison::Equal, known, schema)?;
                let same = Predicate::And(vec![equal, Predicate::Not(Box::new(missing))]);
                Ok(if *op == Operator::IsDistinctFrom { Predicate::Not(Box::new(same)) } else { same })
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let op = match op {
                    Operator::Eq => Comparison::Equal,
                    Operator::NotEq => Comparison::NotEqual,
                    Operator::Lt => Comparison::Less,
                    Operator::LtEq => Comparison::LessOrEqual,
                    Operator::Gt => Comparison::Greater,
                    Operator::GtEq => Comparison::GreaterOrEqual,
                    other => return Err(predicate_rule(&format!("the operator {other}"))),
                };
                self.compare(left, op, right, schema)
            }
            Expr::Not(of) => Ok(Predicate::Not(Box::new(self.predicate(of, schema)?))),
            Expr::IsNull(of) => Ok(Predicate::IsNull(self.scalar(of, schema)?)),
            Expr::IsNotNull(of) => Ok(Predicate::Not(Box::new(Predicate::IsNull(self.scalar(of, schema)?)))),
            Expr::InList(InList { expr, list, negated }) => {
                let options = list.iter().map(|item| self.compare(expr, Comparison::Equal, item, schema));
                let any = Predicate::Or(options.collect::<Read<Vec<_>>>()?);
                Ok(if *negated { Predicate::Not(Box::new(any)) } else { any })
            }
            Expr::Between(Between { expr, negated, low, high }) => {
                let within = Predicate::And(vec![
                    self.compare(expr, Comparison::GreaterOrEqual, low, schema)?,
                    self.compare(expr, Comparison::LessOrEqual, high, schema)?,
                ]);
                Ok(if *negated { Predicate::Not(Box::new(within)) } else { within })
            }
            Expr::Literal(literal, _) => match value(literal) {
                Some((Value::Boolean(truth), _)) => Ok(Predicate::Constant(Some(truth))),
                Some((Value::Null, _)) => Ok(Predicate::Constant(None)),
                _ => Err(predicate_rule("a literal that is not a condition")),
            },
            Expr::Like(like) => self.like(like, schema),
            Expr::SimilarTo(_) => Err(predicate_rule("a pattern")),
            Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) => Err(subquery()),
            Expr::IsTrue(of) => {
                // Never unknown: false where the condition is.
                let truth = self.predicate(of, schema)?;
                Ok(Predicate::Truth(truth_of(truth, false)))
            }
            Expr::IsNotTrue(of) => {
                let truth = self.predicate(of, schema)?;
                Ok(Predicate::Not(Box::new(Predicate::Truth(truth_of(truth, false)))))
            }
            Expr::IsFalse(of) => {
                Ok(Predicate::Truth(truth_of(Predicate::Not(Box::new(self.predicate(of, schema)?)), false)))
            }
            Expr::IsNotFalse(of) => {
                let falsehood = Predicate::Not(Box::new(self.predicate(of, schema)?));
                Ok(Predicate::Not(Box::new(Predicate::Truth(truth_of(falsehood, false)))))
            }
            Expr::IsUnknown(of) => Ok(Predicate::IsNull(self.truth(of, schema)?)),
            Expr::IsNotUnknown(of) => Ok(Predicate::Not(Box::new(Predicate::IsNull(self.truth(of, schema)?)))),
            // An expression that `scalar` passes to this function must not go back to it.
            Expr::Column(_) | Expr::Cast(_) | Expr::ScalarFunction(_) | Expr::Case(_) => {
                Ok(Predicate::Truth(self.scalar(expr, schema)?))
            }
            other => Err(predicate_rule(&format!("{} in this place", other.variant_name()))),
        }
    }

    /// LIKE over a coded column is IN over the codes that match.
    fn like(&self, like: &Like, schema: &DFSchema) -> Read<Predicate> {
        let pattern = constant(&like.pattern).as_ref().and_then(value);
        let (Some((Value::Text(pattern), kind)), Expr::Column(column), None) =
            (pattern, bare(&like.expr), like.escape_char)
        else {
            return Err(predicate_rule("a pattern over something other than a bare column"));
        };
        let field = schema.field_from_column(column).map_err(|_| predicate_rule("a pattern"))?;
        let Some(codes) = field.metadata().get(CODES) else {
            return Err(predicate_rule("a pattern over a column without a code list"));
        };
        let of = self.column(column)?;
        let fold = |text: &str| if like.case_insensitive { text.to_lowercase() } else { text.to_owned() };
        let wanted: Vec<char> = fold(&pattern).chars().collect();
        let matching = codes.split(CODE_END).filter(|code| matches(&wanted, &fold(code).chars().collect::<Vec<_>>()));
        let values: Vec<_> = matching.map(|code| (Value::Text(code.into()), kind)).collect();
        let any = if values.is_empty() {
            // False, and unknown where there is no value.
            let none = Scalar::Literal(Value::Text(CODE_END.to_string().into()), kind);
            Predicate::Compare { left: of, op: Comparison::Equal, right: none }
        } else {
            Predicate::In { of, values }
        };
        Ok(if like.negated { Predicate::Not(Box::new(any)) } else { any })
    }

    fn compare(&self, left: &Expr, op: Comparison, right: &Expr, schema: &DFSchema) -> Read<Predicate> {
        let (mut a, mut b) = (self.scalar(left, schema)?, self.scalar(right, schema)?);
        // A literal takes the exact type of the other side.
        let kind = |e: &Expr| bare(e).get_type(schema).ok().as_ref().and_then(column_type);
        let adapt = |literal: &mut Scalar, other: Option<ColumnType>| {
            if let (Scalar::Literal(v, from), Some(to)) = (&*literal, other)
                && let Some(v) = rescaled(v.clone(), *from, to)
            {
                *literal = Scalar::Literal(v, to);
            }
        };
        if !matches!(a, Scalar::Literal(..)) {
            adapt(&mut b, kind(left));
        } else {
            adapt(&mut a, kind(right));
        }
        Ok(Predicate::Compare { left: a, op, right: b })
    }
}

/// Whether a text matches a pattern of LIKE: `%` stands for any characters, `_` for one.
fn matches(pattern: &[char], text: &[char]) -> bool {
    // For each beginning of the text, whether the pattern so far matches it.
    let mut reach = vec![false; text.len() + 1];
    if let Some(first) = reach.first_mut() {
        *first = true;
    }
    for sign in pattern {
        let mut next = vec![false; text.len() + 1];
        let mut before = false;
        for (place, slot) in next.iter_mut().enumerate() {
            let here = reach.get(place).copied().unwrap_or(false);
            let last = place.checked_sub(1);
            let stepped = last.and_then(|last| reach.get(last)).copied().unwrap_or(false);
            let fits = last.and_then(|last| text.get(last)).is_some_and(|c| *sign == '_' || c == sign);
            before |= here;
            *slot = if *sign == '%' { before } else { stepped && fits };
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

/// A condition as a value that is never NULL.
fn truth_of(condition: Predicate, otherwise: bool) -> Scalar {
    let truth = |b: bool| Scalar::Literal(Value::Boolean(b), ColumnType::Boolean);
    Scalar::Case { branches: vec![(condition, truth(true))], otherwise: Some(Box::new(truth(otherwise))) }
}

fn arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}

fn predicate_rule(what: &str) -> Refusal {
    Refusal::new(
        Rule::Predicate,
        format!("{what} stands in a condition"),
        "Use =, <>, <, <=, >, >=, IN, BETWEEN and IS NULL over dimensions",
    )
}

/// Whether an expression is a literal that is not NULL.
fn is_known(expr: &Expr) -> bool {
    constant(expr).is_some_and(|literal| !literal.is_null())
}
