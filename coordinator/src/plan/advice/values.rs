//! Literals beside columns whose values are known. One that no record can have is refused before anybody is asked.
//!
//! A code that does not exist is a condition that nothing meets. Its figures would be zeros, and would be told as complete.
//!
//! The check covers every step of a statement: conditions on records and on results, CASE, lists, patterns, and joins by
//! values. It looks through subqueries, and evaluates an expression over one column for each value that the column has.
//! A condition that every value meets says something that is true, and stays.

use std::cell::Cell;
use std::collections::HashSet;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Like, LogicalPlan, Operator};
use loda_identity::Gss;
use loda_question::plan::{bare, constant};
use loda_question::{Refusal, Rule};

use super::engine_errors::{Cause, Fault, refusal_of};
use super::nearest::{nearest, nearest_part};
use crate::plan::domains::{Domains, Of, Source, Sources};

/// The work for one statement: values times nodes of the expressions over them. Beyond it nothing more is checked.
const MOST_WORK: usize = 5_000_000;

/// The most letters of the values that a refusal lists.
const MOST_LISTED: usize = 400;

/// Refuses a plan with a literal that no record can have.
///
/// # Errors
/// Rule `no-such-value`, with the nearest value that there is.
pub(crate) fn check(
    plan: &LogicalPlan,
    domains: &Domains<'_>,
    state: &SessionState,
    what: Checked,
) -> Result<(), Fault> {
    let work = Cell::new(MOST_WORK);
    let mut refusal = None;
    let walked = plan.apply_with_subqueries(|node| {
        let checker = Checker { sources: Sources::of_node(node, domains), state, work: &work, what };
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                refusal = refusal.take().or_else(|| checker.refusal(e));
                Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    });
    match (refusal, walked) {
        (Some(refusal), _) => Err(refusal),
        (None, Err(fault)) => Err(refusal_of(&fault).into()),
        (None, Ok(_)) => Ok(()),
    }
}

/// What is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Values,
    /// Numbers beside texts alone, where another rule has refused the cast between them.
    Types,
}

/// Checks the expressions of one operator.
struct Checker<'a> {
    sources: Sources<'a>,
    state: &'a SessionState,
    work: &'a Cell<usize>,
    what: Checked,
}

impl Checker<'_> {
    fn refusal(&self, expr: &Expr) -> Option<Fault> {
        if self.what == Checked::Types {
            return match expr {
                Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_order(*op) => {
                    self.number_beside_text(left, right).or_else(|| self.number_beside_text(right, left))
                }
                Expr::Between(between) => self.number_beside_text(&between.expr, &between.low),
                _ => None,
            };
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::Eq => match (constant(left), constant(right)) {
                    (None, Some(literal)) => self.member(left, [literal]),
                    (Some(literal), None) => self.member(right, [literal]),
                    (None, None) => self.meet(left, right),
                    _ => None,
                },
                Operator::NotEq | Operator::IsDistinctFrom | Operator::IsNotDistinctFrom => {
                    match (constant(left), constant(right)) {
                        (None, Some(literal)) => self.member(left, [literal].into_iter().filter(is_said)),
                        (Some(literal), None) => self.member(right, [literal].into_iter().filter(is_said)),
                        _ => None,
                    }
                }
                op if is_order(*op) => match (constant(left).is_some(), constant(right).is_some()) {
                    (false, true) => self.reached(left, expr),
                    (true, false) => self.reached(right, expr),
                    _ => None,
                },
                _ => None,
            },
            Expr::InList(InList { expr, list, negated }) => {
                let literals = list.iter().filter_map(constant).filter(|literal| !negated || is_said(literal));
                self.member(expr, literals)
            }
            // NOT BETWEEN holds for a value outside, which is what it says.
            Expr::Between(Between { expr: of, negated: false, low, high })
                if constant(low).is_some() && constant(high).is_some() =>
            {
                self.reached(of, expr)
            }
            Expr::Like(like) if constant(&like.pattern).is_some() => self.alike(like),
            Expr::Case(case) => {
                let of = case.expr.as_ref()?;
                self.member(of, case.when_then_expr.iter().filter_map(|(when, _)| constant(when)))
            }
            Expr::ScalarFunction(call) if call.func.name() == "nullif" => match call.args.as_slice() {
                [of, unwanted] => self.member(of, constant(unwanted).into_iter().filter(is_said)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Refuses literals of which an expression never has one.
    fn member(&self, of: &Expr, literals: impl IntoIterator<Item = ScalarValue>) -> Option<Fault> {
        let source = self.source(of)?;
        let image = self.image(&source)?;
        let kind = image.first()?.data_type();
        let known: HashSet<&ScalarValue> = image.iter().collect();
        // A literal that is no value of the type is one that the column never has.
        let there = |literal: &ScalarValue| {
            let value = literal.cast_to(&kind).ok()?;
            let back = value.cast_to(&literal.data_type()).ok()?;
            (back == *literal && known.contains(&value)).then_some(())
        };
        let wrong = literals.into_iter().find(|literal| !literal.is_null() && there(literal).is_none())?;
        Some(no_such_value(&source, of, &wrong, &image))
    }

    /// Refuses to order texts by a number: the engine would compare letters.
    fn number_beside_text(&self, of: &Expr, number: &Expr) -> Option<Fault> {
        let is_number = matches!(bare(number), Expr::Literal(literal, _) if literal.data_type().is_numeric());
        let source = self.source(of).filter(|source| is_number && matches!(bare(&source.expr), Expr::Column(_)))?;
        let image = source.known.values.clone();
        if !image.first()?.data_type().is_string() {
            return None;
        }
        let name = &source.column;
        let message = format!("{name} is text, and is compared with a number");
        Some(Refusal::new(Rule::Value, message, values_of(name, &source, &image, None)).into())
    }

    /// Refuses a condition that no value of its column meets.
    fn reached(&self, of: &Expr, condition: &Expr) -> Option<Fault> {
        let source = self.source(of)?;
        let over = self.source(condition)?;
        if self.any(&over)? {
            return None;
        }
        let name = source.words(of);
        let image = self.image(&source)?;
        let message = format!("no value of {name} meets {}", self.said(condition));
        Some(Refusal::new(Rule::Value, message, values_of(&name, &source, &image, None)).into())
    }

    /// Refuses a pattern that no value matches.
    fn alike(&self, like: &Like) -> Option<Fault> {
        let source = self.source(&like.expr)?;
        let pattern = Expr::Like(Like { negated: false, ..like.clone() });
        if self.any(&self.source(&pattern)?)? {
            return None;
        }
        let name = source.words(&like.expr);
        let wanted = constant(&like.pattern)?;
        let image = self.image(&source)?;
        let wanted = text(&wanted);
        // Spreadsheets and old databases write `*` for any letters.
        let pattern = if wanted.contains('%') { wanted.clone() } else { wanted.replace('*', "%") };
        let core = pattern.trim_matches(['%', '_']);
        self.work.set(self.work.get().checked_sub(image.len().checked_mul(core.len().checked_mul(500)?)?)?);
        let texts: Vec<String> = image.iter().map(text).collect();
        let part = nearest_part(core, texts.iter().map(String::as_str));
        let near = part.map(|part| ScalarValue::from(pattern.replacen(core, part, 1)));
        let message = format!("no value of {name} is like '{wanted}'");
        let refusal = Refusal::new(Rule::Value, message, values_of(&name, &source, &image, near.as_ref()));
        let column = column_of(&like.expr);
        let cause = Cause::Value { column, said: wanted, near: near.as_ref().map(sql) };
        Some(Fault { refusal, cause: Box::new(cause) })
    }

    /// Refuses an equality of two columns that have no value in common.
    fn meet(&self, left: &Expr, right: &Expr) -> Option<Fault> {
        let (a, b) = (self.source(left)?, self.source(right)?);
        if !(a.is_column() && b.is_column()) {
            return None;
        }
        let (of_a, of_b) = (self.image(&a)?, self.image(&b)?);
        let known: HashSet<String> = of_a.iter().map(text).collect();
        if of_b.iter().any(|value| known.contains(&text(value))) {
            return None;
        }
        let like = |source: &Source, image: &[ScalarValue]| {
            let first = image.first().map(sql).unwrap_or_default();
            format!("{}.{} has values such as {first}", source.table, source.column)
        };
        let message = format!("{}.{} and {}.{} have no value in common", a.table, a.column, b.table, b.column);
        let advice = format!("Join them on columns with the same values: {}, {}", like(&a, &of_a), like(&b, &of_b));
        Some(Refusal::new(Rule::Value, message, advice).into())
    }

    fn source(&self, expr: &Expr) -> Option<Source> {
        self.sources.of(expr)
    }

    /// The values that an expression has, without NULL, each once and in order of its column's values.
    fn image(&self, source: &Source) -> Option<Vec<ScalarValue>> {
        if source.is_column() {
            self.work.set(self.work.get().checked_sub(source.known.values.len())?);
            return Some(source.known.values.clone());
        }
        let values = self.evaluated(source)?;
        let mut seen = HashSet::new();
        let image = (0..values.len()).filter_map(|row| ScalarValue::try_from_array(&values, row).ok());
        Some(image.filter(|value| !value.is_null() && seen.insert(value.clone())).collect())
    }

    /// Whether a condition holds for a value, or for none that is missing.
    fn any(&self, condition: &Source) -> Option<bool> {
        Some(self.evaluated(condition)?.as_boolean_opt()?.iter().any(|truth| truth == Some(true)))
    }

    /// The expression over each value of its column and over NULL.
    fn evaluated(&self, source: &Source) -> Option<ArrayRef> {
        self.work.set(self.work.get().checked_sub(source.work()?)?);
        source.evaluated(self.state)
    }

    /// A condition as people write it.
    fn said(&self, condition: &Expr) -> String {
        condition.human_display().to_string()
    }
}

fn is_order(op: Operator) -> bool {
    matches!(op, Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq)
}

/// Whether a literal says which value is left out. Tools leave out the empty text, and divisions leave out 0.
fn is_said(literal: &ScalarValue) -> bool {
    !matches!(text(literal).as_str(), "" | "0")
}

/// The column that an expression reads, as the statement names it.
fn column_of(expr: &Expr) -> String {
    expr.column_refs().into_iter().next().map(|column| column.name.clone()).unwrap_or_default()
}

fn no_such_value(source: &Source, of: &Expr, literal: &ScalarValue, image: &[ScalarValue]) -> Fault {
    let name = source.words(of);
    let near = nearest_of(source, &text(literal), image);
    let message = format!("{name} has no {}", sql(literal));
    let refusal = Refusal::new(Rule::Value, message, values_of(&name, source, image, near));
    let cause = Cause::Value { column: column_of(of), said: text(literal), near: near.map(sql) };
    Fault { refusal, cause: Box::new(cause) }
}

/// The value that was meant.
fn nearest_of<'a>(source: &Source, said: &str, image: &'a [ScalarValue]) -> Option<&'a ScalarValue> {
    let first = image.first()?;
    if first.data_type() == DataType::Utf8 || source.known.of == Of::Boroughs {
        let texts: Vec<String> = image.iter().map(text).collect();
        if let Some(now) = Gss::of_old_code(said).filter(|_| source.known.of == Of::Boroughs) {
            return image.iter().find(|value| text(value) == now.as_str());
        }
        let others = source.known.others.iter().filter(|_| source.is_column());
        let near = nearest(said, texts.iter().chain(others).map(String::as_str))?.to_owned();
        let at = texts.iter().chain(&source.known.others).position(|text| *text == near)?;
        // A borough outside the federation is not one inside it that is written like it.
        if source.known.of == Of::Boroughs && Gss::named(said).is_some_and(|_| !is_named(said, &near)) {
            return None;
        }
        return image.get(at.checked_rem(texts.len())?);
    }
    let place = |value: &ScalarValue| match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(place)) => place,
        _ => None,
    };
    // A date within a month, say, is meant to be that month.
    let last = image.iter().rfind(|value| first.data_type() == DataType::Date32 && text(value).as_str() <= said);
    if let Some(last) = last
        && image.last().is_some_and(|end| said <= text(end).as_str())
    {
        return Some(last);
    }
    let wanted = ScalarValue::from(said).cast_to(&first.data_type()).ok().as_ref().and_then(place)?;
    let far = |value| Some((place(value)?.abs_diff(wanted), value));
    image.iter().filter_map(far).min_by_key(|(far, _)| *far).map(|(_, value)| value)
}

fn is_named(said: &str, near: &str) -> bool {
    Gss::named(said) == Gss::named(near)
}

/// The nearest value, and the values that there are.
fn values_of(name: &str, source: &Source, image: &[ScalarValue], near: Option<&ScalarValue>) -> String {
    let meant = near.map(|near| format!("Did you mean {}? ", sql(near))).unwrap_or_default();
    let (first, last) = (image.first().map(sql).unwrap_or_default(), image.last().map(sql).unwrap_or_default());
    if source.known.of == Of::Range && source.is_column() {
        return format!("{meant}{name} goes from {first} to {last}");
    }
    let mut listed = String::new();
    let mut left = image.len();
    for value in image {
        let value = sql(value);
        if listed.len() + value.len() > MOST_LISTED {
            break;
        }
        if !listed.is_empty() {
            listed.push_str(", ");
        }
        listed.push_str(&value);
        left -= 1;
    }
    let more = if left > 0 { format!(" and {left} more: see the catalogue") } else { String::new() };
    let beside = match (source.known.of, source.column.as_str()) {
        (Of::Boroughs, loda_question::plan::BOROUGH) => "; borough_name has the names",
        (Of::Boroughs, _) => "; borough has the codes",
        _ => "",
    };
    format!("{meant}Its values are {listed}{more}{beside}")
}

/// A value as SQL writes it.
fn sql(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Date32(_) => format!("DATE '{value}'"),
        _ if value.data_type().is_string() => format!("'{}'", text(value).replace('\'', "''")),
        other => other.to_string(),
    }
}

fn text(value: &ScalarValue) -> String {
    value.try_as_str().flatten().map_or_else(|| value.to_string(), str::to_owned)
}
