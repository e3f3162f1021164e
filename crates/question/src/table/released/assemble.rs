//! All figures of a question, cell by cell.

use std::collections::BTreeMap;

use loda_contract::Value;

use super::adding::{Groups, Laid, nobody};
use super::cells::TableCells;
use super::figure::CellFigure;
use crate::table::lower::Lowered;
use crate::table::{Classes, Functional};

impl Lowered {
    /// The question's cells from the tables' released ones, in the order of [`Lowered::tables`].
    ///
    /// `dense`: an absent cell is withheld, or empty. Otherwise nothing is protected, and an absent cell is empty.
    /// `together`: whether figures of several boroughs are added up, so that a borough's one withheld cell is wanted too.
    /// `wholes`: figures that are divided by others.
    #[must_use]
    pub fn cells(
        &self,
        answers: &[TableCells],
        dense: bool,
        together: bool,
        wholes: &BTreeMap<usize, usize>,
    ) -> BTreeMap<Vec<Value>, Vec<CellFigure>> {
        let mut cells: BTreeMap<Vec<Value>, Vec<Option<CellFigure>>> = BTreeMap::new();
        // Figures of the same columns share their cells and fits: these cost more than all else.
        let mut laid: BTreeMap<(usize, &[usize]), Laid> = BTreeMap::new();
        let mut groups: BTreeMap<usize, Groups> = BTreeMap::new();
        for (place, figure) in self.figures.iter().enumerate() {
            let Some(answer) = answers.get(figure.table).filter(|answer| !nobody(figure, answer)) else { continue };
            let of_columns = (figure.table, figure.places.as_slice());
            let laid = laid.entry(of_columns).or_insert_with(|| Laid::new(figure, answer, dense));
            let (found, of_figure) = self.figure(figure, answer, laid, dense, together);
            groups.insert(place, of_figure);
            for (key, found) in found {
                let row = cells.entry(key).or_insert_with(|| vec![None; self.figures.len()]);
                if let Some(slot) = row.get_mut(place) {
                    *slot = Some(found);
                }
            }
        }
        for (part, whole) in wholes {
            let of = |place: &usize| {
                let figure = self.figures.get(*place)?;
                Some((figure, laid.get(&(figure.table, figure.places.as_slice()))?, groups.get(place)?))
            };
            let (Some(of_part), Some(of_whole)) = (of(part), of(whole)) else { continue };
            let Some(answer) = answers.get(of_part.0.table) else { continue };
            for (key, with_whole) in self.with_whole(answer, of_part, of_whole) {
                let slot = cells.get_mut(key).and_then(|row| row.get_mut(*part)?.as_mut()?.estimate.as_mut());
                slot.into_iter().for_each(|estimate| estimate.with_whole = with_whole);
            }
        }
        let finished = cells.into_iter().map(|(key, row)| {
            let figures = row.into_iter().zip(&self.figures).map(|(found, figure)| {
                // Of a group that another figure names, this one may have cells that only the borough knows.
                let open = figure.columns.iter().any(|column| column.classes == Classes::Open);
                let mut found = found.unwrap_or(CellFigure { lacks: dense && open, ..CellFigure::default() });
                let functional = self.tables.get(figure.table).and_then(|t| t.functionals().get(figure.functional));
                let counts =
                    matches!(functional, Some(Functional::Units(_) | Functional::Rows | Functional::Present(_)));
                // Where nothing can be, there is nothing: no cell is missing.
                if counts && !found.lacks {
                    found.value = found.value.or(Some(0));
                }
                found
            });
            (key, figures.collect())
        });
        finished.collect()
    }
}
