//! From a draft and its contracts to a question, or a refusal.
//!
//! [`Question::derive`] is the only constructor: the fields are private to this file, so no other code makes a question that
//! the rules have not passed.
//!
//! *Attack: rows.* A question without a figure would list its groups, and with enough keys its records. It is refused.

use loda_contract::Column;

use crate::draft::{Draft, Measure, Predicate, Rows};
use crate::refusal::{Checked, Refusal, Rule};
use crate::rules::{Counted, Key, Rules, spelled, spelled_scalar};
use crate::scope::{Contracts, Scope, scale};

/// A draft with a derivation: the only thing that a node runs.
#[derive(Clone, Debug)]
pub struct Question {
    draft: Draft,
    scope: Scope,
    keys: Vec<Key>,
    conditions: Vec<Predicate>,
    figures: Vec<Counted>,
    grid: Option<u64>,
}

/// The quantity that is added up over records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moment<'a> {
    /// A measure.
    Value(&'a Column),
    /// The square of a measure.
    Square(&'a Column),
    /// The product of a declared pair of measures.
    Product(&'a Column, &'a Column),
}

impl Moment<'_> {
    /// The decimals of the sum.
    #[must_use]
    pub fn scale(self) -> i8 {
        match self {
            Self::Value(of) => scale(of.kind),
            Self::Square(of) => scale(of.kind).saturating_mul(2),
            Self::Product(a, b) => scale(a.kind).saturating_add(scale(b.kind)),
        }
    }
}

impl Question {
    /// Derives a question.
    ///
    /// # Errors
    /// The rule that failed, with advice, from contracts and draft alone.
    pub fn derive(draft: Draft, contracts: Contracts<'_>) -> Checked<Self> {
        let Draft { rows, keys, figures } = draft.normal();
        let (rows, scope) = Scope::of(rows, contracts)?;
        let spell = |f: crate::draft::Figure| crate::draft::Figure {
            condition: f.condition.and_then(|c| spelled(c, &scope)),
            ..f
        };
        let draft = Draft {
            rows,
            keys: keys.into_iter().map(|k| spelled_scalar(k, &scope)).collect(),
            figures: figures.into_iter().map(spell).collect(),
        };
        // Conditions that became others may stand elsewhere, or say nothing.
        let draft = draft.normal();
        let rules = Rules { scope: &scope };
        let keys = draft.keys.iter().map(|k| rules.key(k)).collect::<Checked<Vec<Key>>>()?;
        if draft.figures.is_empty() {
            return Err(Refusal::new(
                Rule::Rows,
                "a question without a figure would list rows",
                "Ask for COUNT(*), COUNT(DISTINCT unit), SUM or AVG of a measure",
            ));
        }
        let conditions = rules.conditions(&draft)?;
        let figures = rules.figures(&draft, &conditions)?;
        let grid = rules.grid(&keys)?;
        Ok(Self { draft, scope, keys, conditions, figures, grid })
    }

    /// The measure that a column of some rows is, whatever their conditions.
    ///
    /// # Errors
    /// Where it is none.
    pub fn measure(rows: &Rows, column: &str, contracts: Contracts<'_>) -> Checked<Column> {
        let open = rows.clone().map_predicates(&|_| Predicate::Constant(Some(true))).normal();
        let (_, scope) = Scope::of(open, contracts)?;
        Rules { scope: &scope }.measure_column(column).cloned()
    }

    /// The draft in normal form.
    #[must_use]
    pub fn draft(&self) -> &Draft {
        &self.draft
    }

    /// The columns and units of the question's rows.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The condition on rows; `None`: every row.
    #[must_use]
    pub fn filter(&self) -> Option<&Predicate> {
        self.draft.rows.filter.as_ref()
    }

    /// The group keys, in the order of the result's columns.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The distinct conditions of all figures, in canonical order; at most 16.
    #[must_use]
    pub fn conditions(&self) -> &[Predicate] {
        &self.conditions
    }

    /// The figures, in the order of the result's columns.
    #[must_use]
    pub fn figures(&self) -> &[Counted] {
        &self.figures
    }

    /// The moments that figures add up: each value that is read, then the squares, then the products.
    #[must_use]
    pub fn moments(&self) -> Vec<Moment<'_>> {
        let mut values = Vec::new();
        let mut rest = Vec::new();
        for figure in &self.figures {
            if matches!(figure.measure, Measure::Units(_)) {
                continue;
            }
            let columns: Vec<&Column> =
                figure.measure.columns().into_iter().filter_map(|name| self.scope.column(name)).collect();
            let moment = match (&figure.measure, columns.as_slice()) {
                (Measure::Square(_), [of]) => Some(Moment::Square(of)),
                (Measure::Product(..), [a, b]) => Some(Moment::Product(a, b)),
                _ => None,
            };
            for column in columns {
                if !values.contains(&Moment::Value(column)) {
                    values.push(Moment::Value(column));
                }
            }
            if let Some(moment) = moment
                && !rest.contains(&moment)
            {
                rest.push(moment);
            }
        }
        rest.sort_by_key(|m| matches!(m, Moment::Product(..)));
        values.into_iter().chain(rest).collect()
    }

    /// The moment that a figure adds up; `None`: it counts.
    #[must_use]
    pub fn moment(&self, figure: &Counted) -> Option<Moment<'_>> {
        let column = |name: &String| self.scope.column(name);
        match &figure.measure {
            Measure::Sum(name) | Measure::Present(name) => Some(Moment::Value(column(name)?)),
            Measure::Square(name) => Some(Moment::Square(column(name)?)),
            Measure::Product(a, b) => Some(Moment::Product(column(a)?, column(b)?)),
            _ => None,
        }
    }

    /// Keeps the cells and drops the conditions of figures.
    pub(crate) fn forget_conditions(&mut self) {
        self.conditions.clear();
    }

    /// The product of the keys' domains; `None` where one is open.
    #[must_use]
    pub fn grid(&self) -> Option<u64> {
        self.grid
    }
}
