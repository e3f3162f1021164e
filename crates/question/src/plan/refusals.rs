//! Refusals that several readers of a plan share.

use crate::draft::bare_name;
use crate::refusal::{Refusal, Rule};

/// The result of reading, or the refusal.
pub(super) type Read<T> = Result<T, Refusal>;

/// A function that is on no list.
pub(super) fn function(what: &str) -> Refusal {
    Refusal::new(
        Rule::Function,
        format!("{what} is not on the list of functions"),
        "Use date_trunc, EXTRACT, upper, lower, coalesce or CASE over dimensions; compute on results freely",
    )
}

/// A subquery where none may stand.
pub(super) fn subquery() -> Refusal {
    Refusal::new(
        Rule::Operator,
        "a subquery stands inside a condition on records",
        "Filter by literals, or join the results of two GROUP BY queries",
    )
}

/// An operator over rows that has no rule.
pub(super) fn operator(what: &str, advice: &str) -> Refusal {
    Refusal::new(Rule::Operator, format!("{what} cannot be asked here"), advice)
}

/// LIMIT below an aggregate.
pub(super) fn limit() -> Refusal {
    Refusal::new(
        Rule::Rows,
        "LIMIT over records picks some of them",
        "Put ORDER BY and LIMIT after GROUP BY: they run on results",
    )
}

/// A comparison of records by something other than a unit.
pub(super) fn not_a_key() -> Refusal {
    Refusal::new(
        Rule::Join,
        "records are compared with others by something other than one unit that both have",
        "Join published tables by borough and the column that both have: JOIN wards w ON r.borough = w.borough AND \
         r.ward = w.ward. For records about people, homes or households: column IN (SELECT …), or EXISTS, with an \
         equality of the person, home or household on both sides",
    )
}

/// A unit that may stand in several boroughs.
pub(super) fn linkage(column: &str) -> Refusal {
    let column = bare_name(column);
    Refusal::new(
        Rule::Linkage,
        format!("'{column}' may stand in several boroughs, and is not recognised from one borough to another"),
        format!(
            "Add borough beside it (a.borough = b.borough, GROUP BY borough, {column}): within each borough it is exact"
        ),
    )
}
