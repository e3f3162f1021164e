//! How far the values of an answer move.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;

use crate::plan::split::SplitPlan;
use crate::result::figure_errors::StandardError;

/// The fewest rounds of which an error can be told.
pub(super) const FEWEST: usize = 8;

/// Values of an answer, and how far they moved.
pub(super) struct Moves {
    /// The columns that are made, and those that name a row.
    made: Vec<usize>,
    keys: Vec<(usize, DataType)>,
    converter: RowConverter,
    /// The place of each row by its keys. `None`: they do not tell rows apart, so that rows keep their places.
    places: Option<HashMap<Vec<u8>, usize>>,
    rows: usize,
    /// For each column and row: the value; the sum of squares, and how many there are.
    values: Vec<Vec<Option<f64>>>,
    moved: Vec<Vec<(f64, usize)>>,
}

impl Moves {
    pub(super) fn of(split: &SplitPlan, made: Vec<usize>, answer: &[RecordBatch]) -> Result<Self> {
        let unprotected = split.rests.iter().enumerate().filter(|(_, rests)| !**rests);
        let kind = |place: usize| Some(answer.first()?.columns().get(place)?.data_type().clone());
        let keys: Vec<_> = unprotected.filter_map(|(place, _)| Some((place, kind(place)?))).collect();
        let kinds = keys.iter().map(|(_, kind)| SortField::new(kind.clone()));
        let converter = RowConverter::new(kinds.collect())?;
        let rows = answer.iter().map(RecordBatch::num_rows).sum();
        let mut moves = Self { made, keys, converter, places: None, rows, values: Vec::new(), moved: Vec::new() };
        let names = moves.names(answer)?;
        let different: BTreeSet<&Vec<u8>> = names.iter().collect();
        if different.len() == names.len() {
            moves.places = Some(names.into_iter().enumerate().map(|(place, name)| (name, place)).collect());
        }
        moves.values = moves.numbers(answer)?;
        moves.moved = vec![vec![(0.0, 0); rows]; moves.made.len()];
        Ok(moves)
    }

    /// The keys of each row, as bytes.
    fn names(&self, batches: &[RecordBatch]) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        for batch in batches {
            let key = |(place, kind): &(usize, DataType)| Some(cast(batch.columns().get(*place)?, kind));
            let keys = self.keys.iter().filter_map(key).collect::<std::result::Result<Vec<ArrayRef>, _>>()?;
            if keys.is_empty() {
                names.extend((0..batch.num_rows()).map(|_| Vec::new()));
                continue;
            }
            names.extend(self.converter.convert_columns(&keys)?.iter().map(|row| row.as_ref().to_vec()));
        }
        Ok(names)
    }

    /// For each column that is made: its numbers.
    fn numbers(&self, batches: &[RecordBatch]) -> Result<Vec<Vec<Option<f64>>>> {
        let mut columns = vec![Vec::new(); self.made.len()];
        for batch in batches {
            for (numbers, place) in columns.iter_mut().zip(&self.made) {
                let Some(column) = batch.columns().get(*place) else { continue };
                let column = cast(column, &DataType::Float64)?;
                numbers.extend(column.as_primitive::<Float64Type>().iter());
            }
        }
        Ok(columns)
    }

    /// Adds what a round made.
    pub(super) fn add(&mut self, batches: &[RecordBatch]) -> Result<()> {
        let names = self.names(batches)?;
        if self.places.is_none() && names.len() != self.rows {
            return Ok(());
        }
        let numbers = self.numbers(batches)?;
        for ((moved, before), after) in self.moved.iter_mut().zip(&self.values).zip(&numbers) {
            for (row, (name, after)) in names.iter().zip(after).enumerate() {
                let place = self.places.as_ref().map_or(Some(row), |places| places.get(name).copied());
                let Some(place) = place else { continue };
                let Some((before, after)) = before.get(place).copied().flatten().zip(*after) else { continue };
                let by = (after - before).powi(2);
                if let Some((sum, number)) = moved.get_mut(place).filter(|_| by.is_finite()) {
                    *sum += by;
                    *number = number.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    pub(super) fn errors(&self) -> BTreeMap<usize, StandardError> {
        let of_column = |(place, rows): (&usize, &Vec<(f64, usize)>)| {
            #[allow(clippy::cast_precision_loss, reason = "an error is a rough figure")]
            let root = |(sum, number): &(f64, usize)| (*number >= FEWEST).then(|| (sum / *number as f64).sqrt());
            let errors: Vec<f64> = rows.iter().filter_map(root).collect();
            Some((*place, StandardError::of(&errors)?))
        };
        self.made.iter().zip(&self.moved).filter_map(of_column).collect()
    }
}
