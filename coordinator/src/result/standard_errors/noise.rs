//! Cells with noise on their figures.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Float64Array, Int64Array, PrimitiveArray,
    RecordBatch,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use datafusion::common::Result;

use crate::plan::federated_node::NOTE;

/// The merged cells of a part, and how far its figures are off.
pub(crate) struct Cells {
    /// Without the columns of errors.
    pub(crate) cells: RecordBatch,
    /// By column: the figure that it shows, and its errors.
    errors: BTreeMap<usize, (Option<usize>, Float64Array)>,
    /// By figure: another figure, and the correlations of their errors.
    together: BTreeMap<usize, (usize, Float64Array)>,
}

impl Cells {
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self> {
        let (mut errors, mut together) = (BTreeMap::new(), BTreeMap::new());
        let mut kept = Vec::new();
        for (place, field) in batch.schema_ref().fields().iter().enumerate() {
            let numbers = batch.column(place).as_primitive_opt::<Float64Type>().cloned();
            match (numbered(field.name(), 'e'), numbered(field.name(), 'w'), numbers) {
                (Some((column, figure)), _, Some(numbers)) => drop(errors.insert(column, (figure, numbers))),
                (_, Some((figure, Some(other))), Some(numbers)) => drop(together.insert(figure, (other, numbers))),
                _ => kept.push(place),
            }
        }
        Ok(Self { cells: batch.project(&kept)?, errors, together })
    }

    pub(super) fn is_exact(&self) -> bool {
        self.errors.is_empty()
    }

    /// Tells the figures to a hasher.
    fn hash(&self, hasher: &mut impl Hasher) -> Result<()> {
        for column in self.errors.keys().filter_map(|place| self.cells.columns().get(*place)) {
            let numbers = cast(column, &DataType::Float64)?;
            numbers.as_primitive::<Float64Type>().iter().for_each(|number| number.map(f64::to_bits).hash(hasher));
        }
        Ok(())
    }

    /// The cells with noise on their figures.
    pub(super) fn drawn(&self, dice: &mut Normal) -> Result<RecordBatch> {
        let rows = self.cells.num_rows();
        let mut draws: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        // Columns that show the same figure move together.
        let mut of_figure =
            |figure: usize, dice: &mut Normal| draws.entry(figure).or_insert_with(|| dice.draws(rows)).clone();
        let mut columns = self.cells.columns().to_vec();
        for (place, (figure, errors)) in &self.errors {
            let by = match figure {
                None => dice.draws(rows),
                Some(figure) => {
                    let own = of_figure(*figure, dice);
                    match self.together.get(figure) {
                        None => own,
                        Some((other, correlations)) => together(&own, &of_figure(*other, dice), correlations),
                    }
                }
            };
            if let Some(column) = columns.get_mut(*place) {
                *column = moved(column, errors, &by)?;
            }
        }
        Ok(RecordBatch::try_new(self.cells.schema(), columns)?)
    }
}

/// The numbers in the name of a column of errors.
fn numbered(name: &str, sign: char) -> Option<(usize, Option<usize>)> {
    let numbers = name.strip_prefix(NOTE)?.strip_prefix(sign)?;
    let (of, figure) = numbers.split_once('f').map_or((numbers, None), |(of, figure)| (of, Some(figure)));
    Some((of.parse().ok()?, figure.map(str::parse).transpose().ok()?))
}

/// Draws that go together with others.
fn together(own: &[f64], other: &[f64], correlations: &Float64Array) -> Vec<f64> {
    let both = own.iter().zip(other).zip(correlations);
    both.map(|((own, other), r)| {
        let r = r.unwrap_or(0.0);
        r * other + (1.0 - r * r).max(0.0).sqrt() * own
    })
    .collect()
}

/// Numbers with noise: of each row the error times the draw.
#[allow(clippy::cast_possible_truncation, reason = "noise beyond the type is cut off at its end")]
fn moved(column: &ArrayRef, errors: &Float64Array, by: &[f64]) -> Result<ArrayRef> {
    let noise = |row: usize| if errors.is_valid(row) { errors.value(row) * by.get(row).unwrap_or(&0.0) } else { 0.0 };
    fn each<T: ArrowPrimitiveType>(
        column: &ArrayRef,
        add: impl Fn(usize, T::Native) -> T::Native,
    ) -> Option<PrimitiveArray<T>> {
        let numbers = column.as_primitive_opt::<T>()?;
        Some(numbers.iter().enumerate().map(|(row, number)| number.map(|number| add(row, number))).collect())
    }
    Ok(match column.data_type() {
        DataType::Int64 => {
            let moved = each::<Int64Type>(column, |row, n| n.saturating_add(noise(row).round() as i64));
            moved.map_or_else(|| Arc::clone(column), |moved: Int64Array| Arc::new(moved))
        }
        DataType::Decimal128(precision, scale) => {
            let unit = 10_f64.powi(i32::from(*scale));
            let moved = each::<Decimal128Type>(column, |row, n| n.saturating_add((noise(row) * unit).round() as i128));
            match moved {
                Some(moved) => {
                    let moved: Decimal128Array = moved;
                    Arc::new(moved.with_precision_and_scale(*precision, *scale)?)
                }
                None => Arc::clone(column),
            }
        }
        DataType::Float64 => {
            let moved = each::<Float64Type>(column, |row, n| n + noise(row));
            moved.map_or_else(|| Arc::clone(column), |moved: Float64Array| Arc::new(moved))
        }
        _ => Arc::clone(column),
    })
}

/// Draws from the standard normal distribution (Box and Muller, 1958).
pub(super) struct Normal(fastrand::Rng);

impl Normal {
    pub(super) fn of(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// The figures are the seed: the same answer states the same errors, and over many answers the errors of so few
    /// rounds cancel out.
    pub(super) fn of_figures<'a>(parts: impl IntoIterator<Item = &'a Cells>) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        parts.into_iter().try_for_each(|part| part.hash(&mut hasher))?;
        Ok(Self::of(hasher.finish()))
    }

    pub(super) fn draws(&mut self, many: usize) -> Vec<f64> {
        (0..many).map(|_| self.draw()).collect()
    }

    fn draw(&mut self) -> f64 {
        let length = (-2.0 * (1.0 - self.0.f64()).ln()).sqrt();
        length * (std::f64::consts::TAU * self.0.f64()).cos()
    }
}
