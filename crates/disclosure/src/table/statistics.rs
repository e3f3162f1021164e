//! The statistics of each cell that the method needs, from records. They can be merged over parts of the data.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::FixedState;

use super::shape::{Code, FunctionalShape, MAX_COLUMNS, NOBODY, NULL, TableShape, there};
use crate::error::DisclosureError;

/// The records of a row domain, by column. All columns have the same length.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// For each column of K, the code of each record.
    pub columns: Vec<Vec<Code>>,
    /// For each kind of unit, the unit id of each record; [`NOBODY`] if a record has none.
    pub units: Vec<Vec<u64>>,
    /// For each measure, the value of each record, in scaled units.
    pub measures: Vec<Vec<Option<i128>>>,
}

/// The statistics of one cell. They add up over parts of the data (boroughs, or partitions by unit).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellStatistics {
    /// For each kind of unit, the number of distinct units.
    pub units: Vec<u64>,
    /// The number of records. Each unit counts with at most `max_rows`.
    pub rows: u64,
    /// For each functional, the number of records with a value. Each unit counts with at most `max_rows`.
    pub present: Vec<u64>,
    /// For each functional, the sum about the middle of the bounds, in scaled units. Each unit's contribution is clamped.
    pub sums: Vec<i128>,
    /// The same statistics without bounds, only for the tests' comparison with pooled tables.
    #[cfg(feature = "unprotected")]
    pub exact: Exact,
}

/// The statistics of a cell without the contract's bounds.
#[cfg(feature = "unprotected")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    /// The number of records.
    pub rows: u64,
    /// For each functional, the number of records with a value.
    pub present: Vec<u64>,
    /// For each functional, the sum in scaled units; `None` if no record has a value.
    pub sums: Vec<Option<i128>>,
}

/// The cells of a table and of every table of fewer of its columns: by subset of the columns (bits), then by code.
pub type Grouped = BTreeMap<u32, Cells>;

/// The cells of one subset, by the code of each of its columns.
type Cells = BTreeMap<Vec<Code>, CellStatistics>;

impl CellStatistics {
    /// Adds the statistics of another part of the data.
    ///
    /// # Errors
    /// If a sum overflows.
    pub fn merge(&mut self, other: &Self) -> Result<(), DisclosureError> {
        let add = |into: &mut Vec<u64>, from: &[u64]| {
            into.resize(into.len().max(from.len()), 0);
            let mut pairs = into.iter_mut().zip(from);
            pairs.try_for_each(|(a, b)| a.checked_add(*b).map(|sum| *a = sum)).ok_or(DisclosureError::Overflow)
        };
        add(&mut self.units, &other.units)?;
        add(&mut self.present, &other.present)?;
        self.rows = self.rows.checked_add(other.rows).ok_or(DisclosureError::Overflow)?;
        self.sums.resize(self.sums.len().max(other.sums.len()), 0);
        for (a, b) in self.sums.iter_mut().zip(&other.sums) {
            *a = a.checked_add(*b).ok_or(DisclosureError::Overflow)?;
        }
        #[cfg(feature = "unprotected")]
        self.exact.merge(&other.exact)?;
        Ok(())
    }
}

#[cfg(feature = "unprotected")]
impl Exact {
    fn merge(&mut self, other: &Self) -> Result<(), DisclosureError> {
        self.rows = self.rows.checked_add(other.rows).ok_or(DisclosureError::Overflow)?;
        self.present.resize(self.present.len().max(other.present.len()), 0);
        for (a, b) in self.present.iter_mut().zip(&other.present) {
            *a = a.checked_add(*b).ok_or(DisclosureError::Overflow)?;
        }
        self.sums.resize(self.sums.len().max(other.sums.len()), None);
        for (a, b) in self.sums.iter_mut().zip(&other.sums) {
            *a = match (*a, *b) {
                (Some(a), Some(b)) => Some(a.checked_add(b).ok_or(DisclosureError::Overflow)?),
                (a, b) => a.or(b),
            };
        }
        Ok(())
    }
}

/// The statistics of every cell of a table and of its subsets.
///
/// A register has no table without columns, because a figure always needs a dataset that holds its units. Rows that come by
/// period have no table over several periods.
///
/// `stopped` is called between tables. If it returns true, the work ends.
///
/// # Errors
/// If the records do not fit the shape, a sum overflows, or the work is stopped.
pub fn statistics(
    shape: &TableShape,
    records: &Records,
    stopped: &dyn Fn() -> bool,
) -> Result<Grouped, DisclosureError> {
    let columns = shape.columns.len();
    let length = records.units.first().map(Vec::len).ok_or(DisclosureError::Spec("no unit"))?;
    let lengths = records.columns.iter().map(Vec::len).chain(records.units.iter().map(Vec::len));
    let mut lengths = lengths.chain(records.measures.iter().map(Vec::len));
    let fits = columns <= MAX_COLUMNS
        && records.columns.len() == columns
        && records.units.len() == shape.units.len()
        && records.measures.len() == shape.measures.len()
        && lengths.all(|l| l == length);
    if !fits {
        return Err(DisclosureError::Stage("records are not of the table's shape"));
    }
    let mut grouped = Grouped::new();
    // Each unit of a register is in one cell of each table, so that a table is the sum of any table with more columns. Other
    // units, and rows with a limit for each unit, are counted in every table separately.
    let adds_up = shape.register && shape.units.len() == 1;
    for subset in (0..(1_u32 << columns)).rev() {
        let without_period = shape.period.as_ref().is_some_and(|period| subset >> period.column & 1 == 0);
        if subset == 0 && shape.register || without_period {
            continue;
        }
        if stopped() {
            return Err(DisclosureError::Stopped);
        }
        let finer = (0..columns).map(|place| subset | 1 << place).find(|finer| *finer != subset);
        let cells = match finer.and_then(|finer| Some((finer, grouped.get(&finer)?))).filter(|_| adds_up) {
            Some((finer, cells)) => added_up(finer, subset, cells)?,
            None => cells(shape, records, subset, length)?,
        };
        grouped.insert(subset, cells);
    }
    Ok(grouped)
}

/// The cells of a table, added up from those of a table with one more column.
fn added_up(finer: u32, subset: u32, cells: &Cells) -> Result<Cells, DisclosureError> {
    let mut found = Cells::new();
    let bits = (0..u32::BITS).filter(|place| finer >> place & 1 == 1);
    let kept: Vec<bool> = bits.map(|place| subset >> place & 1 == 1).collect();
    for (codes, statistics) in cells {
        let codes = codes.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(code, _)| *code).collect();
        found.entry(codes).or_default().merge(statistics)?;
    }
    Ok(found)
}

/// The cells of one subset of the columns.
fn cells(shape: &TableShape, records: &Records, subset: u32, length: usize) -> Result<Cells, DisclosureError> {
    let of: Vec<&Vec<Code>> = there(subset, &records.columns);
    let (codes, cell_of) = numbered(&of, length);
    let mut found: Vec<CellStatistics> = vec![CellStatistics::default(); codes.len()];
    for statistics in &mut found {
        statistics.units = vec![0; shape.units.len()];
        statistics.present = vec![0; shape.functionals.len()];
        statistics.sums = vec![0; shape.functionals.len()];
        #[cfg(feature = "unprotected")]
        {
            statistics.exact.present = vec![0; shape.functionals.len()];
            statistics.exact.sums = vec![None; shape.functionals.len()];
        }
    }
    for (place, ids) in records.units.iter().enumerate() {
        distinct(place, ids, &cell_of, shape.register && place == 0, &mut found);
    }
    // Sorted by unit if a unit may have several records, so that each unit's contribution can be bounded.
    let mut order: Vec<usize> = (0..length).collect();
    let ids = records.units.first().ok_or(DisclosureError::Spec("no unit"))?;
    let key = |row: usize| (cell_of.get(row).copied().unwrap_or(0), ids.get(row).copied().unwrap_or(NOBODY));
    if !shape.register {
        order.sort_unstable_by_key(|row| key(*row));
    }
    let same = |a: &usize, b: &usize| !shape.register && key(*a) == key(*b);
    for rows in order.chunk_by(same) {
        let Some(statistics) = rows.first().and_then(|row| cell_of.get(*row)).and_then(|cell| found.get_mut(*cell))
        else {
            continue;
        };
        add_unit(shape, records, rows, statistics)?;
    }
    Ok(codes.into_iter().zip(found).collect())
}

/// The largest number of possible cells that are looked up by place.
const PLACES: u64 = 1 << 21;

/// The observed cells, numbered in the order of their first record, and the cell number of each record.
fn numbered(columns: &[&Vec<Code>], length: usize) -> (Vec<Vec<Code>>, Vec<usize>) {
    let mut codes: Vec<Vec<Code>> = Vec::new();
    let mut cell_of: Vec<usize> = Vec::with_capacity(length);
    let mut cell: Vec<Code> = vec![0; columns.len()];
    let classes = columns.iter().map(|column| u64::from(column.iter().copied().max().unwrap_or(0)).saturating_add(1));
    let classes: Vec<u64> = classes.collect();
    let places = classes.iter().copied().fold(1, u64::saturating_mul);
    if places <= PLACES {
        let mut numbers = vec![usize::MAX; usize::try_from(places).unwrap_or(0)];
        for row in 0..length {
            let mut place = 0_u64;
            for ((slot, column), classes) in cell.iter_mut().zip(columns).zip(&classes) {
                *slot = column.get(row).copied().unwrap_or(NULL);
                place = place.saturating_mul(*classes).saturating_add(u64::from(*slot));
            }
            let Some(number) = usize::try_from(place).ok().and_then(|place| numbers.get_mut(place)) else {
                cell_of.push(usize::MAX);
                continue;
            };
            if *number == usize::MAX {
                *number = codes.len();
                codes.push(cell.clone());
            }
            cell_of.push(*number);
        }
        return (codes, cell_of);
    }
    let mut numbers: HashMap<Vec<Code>, usize, FixedState> = HashMap::default();
    for row in 0..length {
        for (slot, column) in cell.iter_mut().zip(columns) {
            *slot = column.get(row).copied().unwrap_or(NULL);
        }
        let number = match numbers.get(cell.as_slice()) {
            Some(number) => *number,
            None => {
                numbers.insert(cell.clone(), codes.len());
                codes.push(cell.clone());
                codes.len() - 1
            }
        };
        cell_of.push(number);
    }
    (codes, cell_of)
}

/// Counts the distinct units of a domain in each cell.
fn distinct(place: usize, ids: &[u64], cell_of: &[usize], single: bool, found: &mut [CellStatistics]) {
    let mut count = |cell: usize| {
        if let Some(count) = found.get_mut(cell).and_then(|s| s.units.get_mut(place)) {
            *count += 1;
        }
    };
    if single {
        cell_of.iter().for_each(|cell| count(*cell));
        return;
    }
    let pairs = cell_of.iter().copied().zip(ids.iter().copied()).filter(|(_, id)| *id != NOBODY);
    let mut pairs: Vec<(usize, u64)> = pairs.collect();
    pairs.sort_unstable();
    pairs.dedup();
    pairs.into_iter().for_each(|(cell, _)| count(cell));
}

/// Adds the records of one unit to a cell.
fn add_unit(
    shape: &TableShape,
    records: &Records,
    rows: &[usize],
    statistics: &mut CellStatistics,
) -> Result<(), DisclosureError> {
    let overflow = || DisclosureError::Overflow;
    let most = shape.max_rows;
    let count = u64::try_from(rows.len()).map_err(|_| overflow())?;
    statistics.rows = statistics.rows.checked_add(count.min(most)).ok_or_else(overflow)?;
    #[cfg(feature = "unprotected")]
    {
        statistics.exact.rows = statistics.exact.rows.checked_add(count).ok_or_else(overflow)?;
    }
    for (place, functional) in shape.functionals.iter().enumerate() {
        let (first, second) = match functional {
            FunctionalShape::Units(_) | FunctionalShape::Rows => continue,
            FunctionalShape::Present(m) | FunctionalShape::Sum(m) | FunctionalShape::Square(m) => (*m, *m),
            FunctionalShape::Product(a, b) => (*a, *b),
        };
        let measure = |m: usize| {
            shape.measures.get(m).zip(records.measures.get(m)).ok_or(DisclosureError::Spec("no such measure"))
        };
        let ((a, of_a), (b, of_b)) = (measure(first)?, measure(second)?);
        let ((middle_a, half_a), (middle_b, half_b)) =
            (a.about().ok_or_else(overflow)?, b.about().ok_or_else(overflow)?);
        let (mut present, mut sum) = (0_u64, 0_i128);
        #[cfg(feature = "unprotected")]
        let mut plain: Option<i128> = None;
        for row in rows {
            let (Some(Some(x)), Some(Some(y))) = (of_a.get(*row), of_b.get(*row)) else { continue };
            present = present.checked_add(1).ok_or_else(overflow)?;
            let (dx, dy) = (
                (*x).clamp(a.lower, a.upper).checked_sub(middle_a).ok_or_else(overflow)?,
                (*y).clamp(b.lower, b.upper).checked_sub(middle_b).ok_or_else(overflow)?,
            );
            let adds = match functional {
                FunctionalShape::Square(_) | FunctionalShape::Product(..) => dx.checked_mul(dy),
                _ => Some(dx),
            };
            sum = adds.and_then(|adds| sum.checked_add(adds)).ok_or_else(overflow)?;
            #[cfg(feature = "unprotected")]
            {
                let adds = match functional {
                    FunctionalShape::Square(_) | FunctionalShape::Product(..) => x.checked_mul(*y),
                    _ => Some(*x),
                };
                plain = Some(plain.unwrap_or(0).checked_add(adds.ok_or_else(overflow)?).ok_or_else(overflow)?);
            }
        }
        let half = match functional {
            FunctionalShape::Square(_) | FunctionalShape::Product(..) => half_a.checked_mul(half_b),
            _ => Some(half_a),
        };
        let bound = half.and_then(|half| half.checked_mul(i128::from(most))).ok_or_else(overflow)?;
        let slot = statistics.present.get_mut(place).zip(statistics.sums.get_mut(place));
        let (slot_present, slot_sum) = slot.ok_or(DisclosureError::Spec("no such functional"))?;
        *slot_present = slot_present.checked_add(present.min(most)).ok_or_else(overflow)?;
        *slot_sum = slot_sum.checked_add(sum.clamp(-bound, bound)).ok_or_else(overflow)?;
        #[cfg(feature = "unprotected")]
        {
            let mut of_functional = vec![0; place];
            of_functional.push(present);
            let mut sums = vec![None; place];
            sums.push(plain);
            statistics.exact.merge(&Exact { rows: 0, present: of_functional, sums })?;
        }
    }
    Ok(())
}
