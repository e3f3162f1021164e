//! Functions that can make long texts of short ones, or cost more than their words.
//!
//! *Attack: a value of any size from a few bytes of SQL*, outside the memory pool. `REPLACE(REPLACE(x, 'a', 'aaaa'), …)`,
//! `struct(x, x)` over a subquery of itself, and a format of a date that is itself a value, grow by a factor at each level.
//! Such a function is read where literals bound what it makes.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use loda_question::{Refusal, Rule};

/// The functions that no literal bounds.
pub(crate) const UNBOUNDED: [&str; 3] = ["repeat", "overlay", "translate"];

/// The longest text that is filled up, in characters.
const MOST_FILLED: i64 = 100;

/// The most functions that put values side by side. Each can double the length of a value.
const MOST_DOUBLINGS: usize = 8;

/// The most regular expressions of a statement, the longest, and the most times that one may repeat its parts by number.
const MOST_PATTERNS: usize = 16;
const LONGEST_PATTERN: usize = 200;
const MOST_REPEATS: u32 = 200;

/// Refuses calls that no literal bounds.
///
/// # Errors
/// Rule `function-not-allowed`, as the external error that the engine carries.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let (mut doublings, mut patterns) = (0_usize, 0_usize);
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                let refusal = match pattern(e) {
                    Some(pattern) => {
                        patterns = patterns.saturating_add(1);
                        costly(pattern, patterns)
                    }
                    None => None,
                };
                if doubles(e) {
                    doublings = doublings.saturating_add(1);
                }
                let refusal = refusal.or_else(|| unbounded(e)).or_else(|| too_many(doublings));
                match refusal {
                    Some(refusal) => Err(DataFusionError::External(Box::new(refusal))),
                    None => Ok(TreeNodeRecursion::Continue),
                }
            })
        })
    })?;
    Ok(())
}

fn refusal(said: &str, advice: &str) -> Option<Refusal> {
    Some(Refusal::new(Rule::Function, said, advice))
}

fn unbounded(expr: &Expr) -> Option<Refusal> {
    let Expr::ScalarFunction(call) = expr else { return None };
    match (call.name(), call.args.as_slice()) {
        (name, _) if UNBOUNDED.contains(&name) => refusal(
            &format!("{name} makes texts of any length"),
            "Write || for texts side by side, SUBSTR for a part, or CASE for other words",
        ),
        ("replace", [_, from, to]) => match (text(from), text(to)) {
            (Some(from), Some(to)) if !from.is_empty() && to.len() <= from.len() => None,
            _ => refusal(
                "replace puts a text here that is no longer than the one it takes away",
                "Write both as texts: REPLACE(tenure, 'rented', 'R'); longer names come from CASE",
            ),
        },
        ("regexp_replace", [_, _, to, flags @ ..]) => match text(to) {
            Some("") if flags.iter().all(|flag| text(flag).is_some()) => None,
            _ => refusal(
                "regexp_replace takes parts of a text away here",
                "Write '' for the new text: REGEXP_REPLACE(tenure, ' .*', ''); other names come from CASE",
            ),
        },
        ("lpad" | "rpad", [_, Expr::Literal(ScalarValue::Int64(Some(length)), _), ..]) if *length <= MOST_FILLED => {
            None
        }
        ("lpad" | "rpad", _) => refusal(
            &format!("{} fills a text up to {MOST_FILLED} characters here", call.name()),
            "Write the length as a number: LPAD(CAST(n AS VARCHAR), 5, '0')",
        ),
        ("to_char", [_, format]) if text(format).is_none() => refusal(
            "a format of a date is a text, and no value",
            "Write the format in the statement: TO_CHAR(month, '%Y-%m')",
        ),
        _ => None,
    }
}

fn doubles(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if matches!(call.name(), "struct" | "named_struct" | "make_array"))
}

fn too_many(doublings: usize) -> Option<Refusal> {
    if doublings <= MOST_DOUBLINGS {
        return None;
    }
    refusal(
        &format!("the statement puts values side by side more than {MOST_DOUBLINGS} times"),
        "Write fewer lists such as (borough, person_key)",
    )
}

/// The regular expression that a call or an operator reads.
fn pattern(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.name().starts_with("regexp_") => call.args.get(1),
        Expr::SimilarTo(like) => Some(&like.pattern),
        Expr::BinaryExpr(binary) => matches!(
            binary.op,
            Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch
        )
        .then_some(binary.right.as_ref()),
        _ => None,
    }
}

/// Whether a regular expression costs too much to read. `number`: of those before it, and itself.
fn costly(pattern: &Expr, number: usize) -> Option<Refusal> {
    let Some(text) = text(pattern) else {
        return refusal(
            "a regular expression is a text, and no value",
            "Write it in the statement: tenure ~ '^Social'",
        );
    };
    // Counts inside one another multiply.
    let counts = text.split('{').skip(1).filter_map(|rest| {
        let numbers = rest.split('}').next()?.split(',').filter_map(|count| count.trim().parse::<u32>().ok());
        numbers.max()
    });
    let repeats = counts.fold(1_u32, |repeats, count| repeats.saturating_mul(count.max(1)));
    if number > MOST_PATTERNS || text.len() > LONGEST_PATTERN || repeats > MOST_REPEATS {
        return refusal(
            &format!(
                "regular expressions are bounded: {MOST_PATTERNS} in a statement, {LONGEST_PATTERN} characters each, and \
                 {{counts}} that multiply to {MOST_REPEATS}"
            ),
            "Write fewer or shorter ones, LIKE, or IN with the values",
        );
    }
    None
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(literal, _) => literal.try_as_str().flatten(),
        _ => None,
    }
}
