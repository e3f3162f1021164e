//! The texts of marks.
//!
//! A leaf's marks are `c` (withheld), `x: …` (a borough did not answer), `z: …` (it has no data), `lacks … of … boroughs: …`, `in part…` and
//! `about … estimated…`. The marks here belong to values that are made from marked ones.

use datafusion::arrow::datatypes::DataType;
use datafusion::functions::string::expr_fn::concat;
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::{Case, Expr, Like, cast, lit};
use loda_answer::reason;

/// The metadata key of merged cells of which rows may be missing. Its text says why.
pub(crate) const MISSING: &str = "loda.missing";

pub(super) const JUDGED: &str = "judged by a figure that is not complete";
pub(super) const RANKED: &str = "ranked among figures that are not complete";
pub(super) const GROUPED: &str = "grouped by figures that are not complete";
pub(super) const JOINED: &str = "joined on figures that are not complete";
pub(super) const UNDECIDED: &str = "lacks rows that could not be judged";

/// The note on rows that a condition leaves out although it is not known whether they meet it.
pub(super) fn undecided(rows: i64) -> String {
    let (of, they) = if rows == 1 { ("1 row", "it is") } else { (&*format!("{rows} rows"), "they are") };
    format!(
        "Of {of} it cannot be told whether a condition holds, because a figure is withheld, incomplete or estimated: \
         {they} left out. OR … IS NULL in the condition keeps those without a figure"
    )
}

/// The note on an answer of which rows may be missing. The other reasons are told by notes of their own.
pub(super) fn rows_missing(why: &str) -> Option<String> {
    let untold = [JUDGED, RANKED, GROUPED, JOINED].contains(&why);
    untold.then(|| format!("Rows of the answer may be missing, because its rows are {why}"))
}

/// The aggregates over the marks of the rows that make one value.
pub(super) struct Tally {
    /// Marks; marks that are estimates; marks of boroughs that did not answer; marks of no data; rows.
    parts: [Expr; 5],
}

impl Tally {
    /// `mark`: the mark of a row. `counted`: something that is not NULL in the rows that count.
    pub(super) fn of(mark: &Expr, counted: Expr) -> Self {
        let like =
            |pattern: &str| Expr::Like(Like::new(false, Box::new(mark.clone()), Box::new(lit(pattern)), None, false));
        let such = |condition: Expr| {
            let branch = (Box::new(condition), Box::new(lit(1_i64)));
            count(Expr::Case(Case::new(None, vec![branch], None)))
        };
        // Every other mark that speaks of estimates says first what is lacking.
        let estimate = like("about %").or(like("%cells estimated"));
        Self { parts: [count(mark.clone()), such(estimate), such(like("x: %")), such(like("z: %")), count(counted)] }
    }

    pub(super) fn aggregates(&self) -> &[Expr] {
        &self.parts
    }

    /// The mark of the value. `column`: the column that holds an aggregate.
    pub(super) fn mark(&self, column: impl Fn(&Expr) -> Expr) -> Expr {
        let [marks, estimates, silent, none, rows] = self.parts.each_ref().map(column);
        let text = |number: Expr| cast(number, DataType::Utf8);
        let lacking = marks.clone() - estimates.clone();
        let case = |branches: Vec<(Expr, Expr)>, rest: Option<Expr>| {
            let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
            Expr::Case(Case::new(None, branches, rest.map(Box::new)))
        };
        let why = case(
            vec![
                ((silent.clone() + none.clone()).eq(lit(0_i64)), lit(" cells: withheld")),
                (silent.clone().gt_eq(lacking.clone()), lit(" cells: no answer")),
                (none.clone().gt_eq(lacking.clone()), lit(" cells: no data")),
                (none.eq(lit(0_i64)), lit(" cells: withheld or no answer")),
            ],
            Some(lit(" cells: withheld, no answer or no data")),
        );
        let lacks = concat(vec![lit("lacks "), text(lacking.clone()), lit(" of "), text(rows.clone()), why]);
        let estimated = concat(vec![text(estimates.clone()), lit(" of "), text(rows), lit(" cells estimated")]);
        case(vec![(lacking.gt(lit(0_i64)), lacks), (estimates.gt(lit(0_i64)), estimated)], None)
    }
}

/// The mark of several rows in one text.
pub(super) fn most(mark: Expr) -> Expr {
    max(mark)
}

/// A value of one row: its column's name, whether the column is protected, whether it is NULL, and its mark.
pub(crate) struct Value<'a> {
    pub(crate) name: &'a str,
    pub(crate) protected: bool,
    pub(crate) is_null: bool,
    pub(crate) mark: Option<String>,
}

/// The text for readers of one row: the marks of its values, and the mark of the row itself. If all protected figures of
/// a row have the same mark, it stands alone; any other mark follows the name of its column.
pub(crate) fn words_of_row(values: Vec<Value<'_>>, row: Option<String>) -> Option<String> {
    let marked: Vec<(&str, bool, Option<String>)> = values
        .into_iter()
        .map(|value| {
            let mark = value.mark.map(|mark| match mark.as_str() {
                _ if value.is_null => mark,
                "c" => "c: made from a withheld figure".to_owned(),
                silent if silent.starts_with("x: ") || silent.starts_with("z: ") => {
                    format!("{silent}: made from a missing figure")
                }
                _ => mark,
            });
            (value.name, value.protected, mark)
        })
        .collect();
    let mut protected = marked.iter().filter(|(_, protected, _)| *protected).map(|(.., mark)| mark);
    let alone =
        protected.next().and_then(Option::as_ref).filter(|first| protected.all(|mark| mark.as_ref() == Some(first)));
    let named = marked.iter().filter(|(_, protected, _)| !protected || alone.is_none());
    let named = named.filter_map(|(name, _, mark)| Some(format!("{}: {}", reason::name(name), mark.as_ref()?)));
    let row = row.map(|row| format!("{}{row}", reason::ROW));
    let parts: Vec<String> = alone.cloned().into_iter().chain(named).chain(row).collect();
    (!parts.is_empty()).then(|| parts.join(reason::BETWEEN))
}
