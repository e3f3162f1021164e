//! The figures of a question gathered into tables.
//!
//! Figures whose columns are some of another's share its table: fewer tables are asked for, and figures of one statement
//! agree.

use std::collections::{BTreeMap, BTreeSet};

use super::depends::FigureDraft;
use super::figures::lowered;
use super::lowered::{Lowered, LoweredFigure};
use crate::derive::Question;
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::Contracts;
use crate::table::readings::readings;
use crate::table::{ColumnRef, Functional, RowDomain, Table, TableColumn};

/// Tables that one question may need.
const MAX_TABLES: usize = 8;

impl Lowered {
    /// The tables of a question about people.
    ///
    /// # Errors
    /// The rule that refuses it, with the nearest that is allowed: columns to leave out, or a derived value to declare.
    pub fn of(question: &Question, contracts: Contracts<'_>) -> Checked<Self> {
        let mut drafts = Vec::new();
        for (place, figure) in question.figures().iter().enumerate() {
            let condition = match figure.requires {
                0 => None,
                bits => question.conditions().get(usize::try_from(bits.trailing_zeros()).unwrap_or(usize::MAX)),
            };
            let draft = lowered(question, &figure.measure, condition, contracts);
            drafts.push(draft.map_err(|refusal| named(refusal, question, place))?);
        }
        Self::gathered(drafts, contracts)
    }

    /// Figures of one row domain whose columns are some of another's share its table.
    fn gathered(drafts: Vec<FigureDraft>, contracts: Contracts<'_>) -> Checked<Self> {
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(drafts.get(*place).map_or(0, |d| d.columns.len())));
        let mut wanted: Vec<(RowDomain, BTreeSet<ColumnRef>, BTreeSet<Functional>)> = Vec::new();
        let mut of_draft: BTreeMap<usize, usize> = BTreeMap::new();
        for place in order {
            let Some(draft) = drafts.get(place) else { continue };
            let fits = |(domain, columns, _): &(RowDomain, BTreeSet<ColumnRef>, _)| {
                *domain == draft.domain && draft.columns.is_subset(columns)
            };
            let table = wanted.iter().position(fits).unwrap_or_else(|| {
                wanted.push((draft.domain.clone(), draft.columns.clone(), BTreeSet::new()));
                wanted.len() - 1
            });
            if let Some((_, _, functionals)) = wanted.get_mut(table) {
                functionals.extend([draft.functional.clone(), draft.counted.clone()]);
            }
            of_draft.insert(place, table);
        }
        if wanted.len() > MAX_TABLES {
            return Err(Refusal::new(
                Rule::Table,
                format!("the figures of one SELECT read more than {MAX_TABLES} different sets of columns"),
                "Ask for some of them in another statement",
            ));
        }
        let tables = wanted
            .into_iter()
            .map(|(domain, columns, functionals)| Table::new(domain, columns, functionals, contracts));
        let tables = tables.collect::<Checked<Vec<Table>>>()?;
        let mut figures = Vec::with_capacity(drafts.len());
        for (place, draft) in drafts.into_iter().enumerate() {
            let table = of_draft.get(&place).copied().unwrap_or_default();
            let Some(of) = tables.get(table) else { continue };
            let position = |reference: &ColumnRef| of.columns().iter().position(|c| c.reference == *reference);
            let places: Vec<usize> = draft.columns.iter().filter_map(position).collect();
            let place_of = |wanted: &Functional| of.functionals().iter().position(|f| f == wanted).unwrap_or_default();
            let (functional, counted) = (place_of(&draft.functional), place_of(&draft.counted));
            let columns: Vec<TableColumn> =
                places.iter().filter_map(|place| of.columns().get(*place).cloned()).collect();
            let readings = readings(&columns, &draft.dropped, &draft.names());
            figures.push(LoweredFigure {
                readings,
                table,
                functional,
                counted,
                columns,
                places,
                rows: draft.rows,
                counts: draft.counts,
                keys: draft.keys,
            });
        }
        Ok(Self { tables, figures })
    }
}

/// A refusal that names its figure, where a question has several.
fn named(refusal: Refusal, question: &Question, figure: usize) -> Refusal {
    match question.figure_sql(figure) {
        Some(words) if question.figures().len() > 1 => {
            Refusal { message: format!("{}: {}", words, refusal.message), ..refusal }
        }
        _ => refusal,
    }
}
