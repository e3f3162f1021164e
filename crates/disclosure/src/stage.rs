//! Reads the (cell, unit) stage: typed columns in, cells out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch,
    UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Int64Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::row::{RowConverter, SortField};

use crate::error::DisclosureError;
use crate::spec::{PossibleMasks, TableSpec};
use crate::total::Total;

/// A group's key in Arrow's row format: byte order is key order, nulls first. Empty without keys.
pub(crate) type CellKey = Box<[u8]>;

/// Between key columns and [`CellKey`].
pub(crate) struct KeyCodec {
    /// `None` for a table without keys: Arrow's converter loses the row count of no columns.
    converter: Option<RowConverter>,
}

/// All cells of a table, in key order, and the record key of every unit.
pub(crate) struct Stage {
    pub(crate) cells: BTreeMap<CellKey, Cell>,
    /// For each domain: unit id to record key.
    pub(crate) record_keys: Vec<HashMap<u64, u32>>,
}

/// The stage rows of one cell, by column; all vectors have one value a stage row.
pub(crate) struct Cell {
    masks: Vec<u16>,
    rows: Vec<i64>,
    /// For each domain, unit ids.
    units: Vec<Vec<u64>>,
    /// For each measure, (sum, non-null count).
    moments: Vec<Vec<(i128, i64)>>,
}

/// The sums of one unit.
#[derive(Default)]
pub(crate) struct UnitMoments {
    sums: Vec<Total>,
    /// Records with a value of the first measure.
    pub(crate) count: i128,
}

impl UnitMoments {
    pub(crate) fn sum(&self, place: usize) -> Option<i128> {
        self.sums.get(place).map(|total| total.value())
    }
}

impl KeyCodec {
    pub(crate) fn new(keys: &[FieldRef]) -> Result<Self, DisclosureError> {
        if keys.is_empty() {
            return Ok(Self { converter: None });
        }
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        Ok(Self { converter: Some(RowConverter::new(fields)?) })
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<CellKey>, DisclosureError> {
        let Some(converter) = &self.converter else {
            return Ok(vec![CellKey::default(); row_count]);
        };
        let rows = converter.convert_columns(columns)?;
        Ok(rows.iter().map(|row| CellKey::from(row.as_ref())).collect())
    }

    pub(crate) fn decode<'a>(&self, keys: impl Iterator<Item = &'a CellKey>) -> Result<Vec<ArrayRef>, DisclosureError> {
        let Some(converter) = &self.converter else {
            return Ok(Vec::new());
        };
        let parser = converter.parser();
        let rows: Vec<_> = keys.map(|key| parser.parse(key)).collect();
        Ok(converter.convert_rows(rows)?)
    }

    /// The possible masks of each cell. A cell that is not among them has none.
    pub(crate) fn possible(
        &self,
        possible: &PossibleMasks,
    ) -> Result<BTreeMap<CellKey, BTreeSet<u16>>, DisclosureError> {
        let mut masks_of = BTreeMap::<_, BTreeSet<u16>>::new();
        let keys = self.encode(&possible.keys, possible.masks.len())?;
        for (key, mask) in keys.into_iter().zip(possible.masks.values()) {
            masks_of.entry(key).or_default().insert(*mask);
        }
        Ok(masks_of)
    }
}

impl Stage {
    /// Accumulates all batches.
    ///
    /// # Errors
    /// Wrong columns, a null where none may be, a count out of range, or two record keys of a unit.
    pub(crate) fn read(spec: &TableSpec, codec: &KeyCodec, batches: &[RecordBatch]) -> Result<Self, DisclosureError> {
        let mut stage = Self { cells: BTreeMap::new(), record_keys: vec![HashMap::new(); spec.domains.len()] };
        for batch in batches {
            stage.read_batch(spec, codec, &Columns::of(spec, batch)?)?;
        }
        Ok(stage)
    }

    fn read_batch(&mut self, spec: &TableSpec, codec: &KeyCodec, columns: &Columns<'_>) -> Result<(), DisclosureError> {
        for ((units, keys), known) in columns.domains.iter().zip(&mut self.record_keys) {
            for (unit, key) in units.values().iter().zip(keys.values()) {
                if *known.entry(*unit).or_insert(*key) != *key {
                    return Err(DisclosureError::KeyConflict);
                }
            }
        }
        let cell_keys = codec.encode(&columns.keys, columns.rows.len())?;
        for (index, cell_key) in cell_keys.into_iter().enumerate() {
            let cell = self.cells.entry(cell_key).or_insert_with(|| Cell::new(spec));
            cell.push(spec, columns, index)?;
        }
        Ok(())
    }
}

impl Cell {
    pub(crate) fn new(spec: &TableSpec) -> Self {
        Self {
            masks: Vec::new(),
            rows: Vec::new(),
            units: vec![Vec::new(); spec.domains.len()],
            moments: vec![Vec::new(); spec.measures.len()],
        }
    }

    pub(crate) fn masks(&self) -> &[u16] {
        &self.masks
    }

    /// (mask, unit) of every stage row, with repeats.
    pub(crate) fn mask_units(&self, domain: usize) -> Result<impl Iterator<Item = (u16, u64)>, DisclosureError> {
        let units = self.units.get(domain).ok_or(DisclosureError::Spec("no such domain"))?;
        Ok(self.masks.iter().copied().zip(units.iter().copied()))
    }

    /// The number of records in the set of `requires`.
    pub(crate) fn row_count(&self, requires: u16) -> Result<i64, DisclosureError> {
        let mut counts = self.masks.iter().zip(&self.rows).filter(|(mask, _)| holds(**mask, requires));
        counts.try_fold(0_i64, |total, (_, rows)| total.checked_add(*rows)).ok_or(DisclosureError::Overflow)
    }

    /// The distinct units of a domain in the set of `requires`, ascending.
    pub(crate) fn units(&self, domain: usize, requires: u16) -> Result<Vec<u64>, DisclosureError> {
        let in_set = self.mask_units(domain)?.filter(|(mask, _)| holds(*mask, requires));
        let mut units: Vec<u64> = in_set.map(|(_, unit)| unit).collect();
        units.sort_unstable();
        units.dedup();
        Ok(units)
    }

    /// For each unit of a domain, its records in the set of `requires`.
    pub(crate) fn rows_by_unit(&self, domain: usize, requires: u16) -> Result<HashMap<u64, i64>, DisclosureError> {
        let mut rows_of = HashMap::<u64, i64>::new();
        for ((mask, unit), rows) in self.mask_units(domain)?.zip(&self.rows) {
            if holds(mask, requires) {
                let total = rows_of.entry(unit).or_default();
                *total = total.checked_add(*rows).ok_or(DisclosureError::Overflow)?;
            }
        }
        Ok(rows_of)
    }

    /// The sum of a measure in the set of `requires`; `None` where every value is NULL.
    pub(crate) fn sum(&self, measure: usize, requires: u16) -> Result<Option<i128>, DisclosureError> {
        let mut total = Total::default();
        let mut any = false;
        for (mask, (sum, count)) in self.masks.iter().zip(self.moments(measure)?) {
            if holds(*mask, requires) && *count > 0 {
                total.add(*sum)?;
                any = true;
            }
        }
        Ok(any.then(|| total.value()))
    }

    /// The number of records in the set of `requires` whose measure is not NULL.
    pub(crate) fn present(&self, measure: usize, requires: u16) -> Result<i64, DisclosureError> {
        let moments = self.masks.iter().zip(self.moments(measure)?).filter(|(mask, _)| holds(**mask, requires));
        let mut counts = moments.map(|(_, (_, count))| *count);
        counts.try_fold(0_i64, i64::checked_add).ok_or(DisclosureError::Overflow)
    }

    /// The distinct units of a domain with a record in the set of `requires` whose measure is not NULL, ascending.
    pub(crate) fn units_with(&self, domain: usize, measure: usize, requires: u16) -> Result<Vec<u64>, DisclosureError> {
        let pairs = self.mask_units(domain)?.zip(self.moments(measure)?);
        let present = pairs.filter(|((mask, _), (_, count))| holds(*mask, requires) && *count > 0);
        let mut units: Vec<u64> = present.map(|((_, unit), _)| unit).collect();
        units.sort_unstable();
        units.dedup();
        Ok(units)
    }

    /// For each unit of a domain in the set of `requires`, its sums of some measures, and of how many records.
    pub(crate) fn unit_moments(
        &self,
        domain: usize,
        measures: &[usize],
        requires: u16,
    ) -> Result<BTreeMap<u64, UnitMoments>, DisclosureError> {
        let mut found = BTreeMap::<u64, UnitMoments>::new();
        for (place, measure) in measures.iter().enumerate() {
            for ((mask, unit), (sum, count)) in self.mask_units(domain)?.zip(self.moments(*measure)?) {
                if !holds(mask, requires) || *count == 0 {
                    continue;
                }
                let of = found.entry(unit).or_default();
                of.sums.resize(measures.len(), Total::default());
                if place == 0 {
                    of.count = of.count.checked_add(i128::from(*count)).ok_or(DisclosureError::Overflow)?;
                }
                if let Some(total) = of.sums.get_mut(place) {
                    total.add(*sum)?;
                }
            }
        }
        Ok(found)
    }

    /// For each unit of a domain, what it adds to a sum above the measure's lower bound:
    /// Σ x − lower × (number of non-null x), in scaled units.
    pub(crate) fn contributions(
        &self,
        domain: usize,
        measure: usize,
        lower: i128,
        in_set: impl Fn(u16) -> bool,
    ) -> Result<Vec<i128>, DisclosureError> {
        let mut total_of = HashMap::<u64, Total>::new();
        for ((mask, unit), (sum, count)) in self.mask_units(domain)?.zip(self.moments(measure)?) {
            if in_set(mask) {
                let floor = lower.checked_mul(i128::from(*count));
                let floor = floor.and_then(i128::checked_neg).ok_or(DisclosureError::Overflow)?;
                let total = total_of.entry(unit).or_default();
                total.add(*sum)?;
                total.add(floor)?;
            }
        }
        Ok(total_of.into_values().map(Total::value).collect())
    }

    fn moments(&self, measure: usize) -> Result<&[(i128, i64)], DisclosureError> {
        let moments = self.moments.get(measure).map(Vec::as_slice);
        moments.ok_or(DisclosureError::Spec("no such measure"))
    }

    fn push(&mut self, spec: &TableSpec, columns: &Columns<'_>, index: usize) -> Result<(), DisclosureError> {
        let mask = columns.mask.value(index);
        let rows = columns.rows.value(index);
        if !spec.mask_is_known(mask) {
            return Err(DisclosureError::Stage("a mask has an unknown condition"));
        }
        if rows < 1 {
            return Err(DisclosureError::Stage("a row stands for no record"));
        }
        self.masks.push(mask);
        self.rows.push(rows);
        for ((units, _), column) in columns.domains.iter().zip(&mut self.units) {
            column.push(units.value(index));
        }
        for ((sums, counts), column) in columns.measures.iter().zip(&mut self.moments) {
            let count = counts.value(index);
            if !(0..=rows).contains(&count) || sums.is_null(index) != (count == 0) {
                return Err(DisclosureError::Stage("a sum and its count disagree"));
            }
            column.push((if count == 0 { 0 } else { sums.value(index) }, count));
        }
        Ok(())
    }
}

/// Whether a row with this mask is in the set of `requires`.
pub(crate) fn holds(mask: u16, requires: u16) -> bool {
    mask & requires == requires
}

/// The typed columns of one batch, checked.
struct Columns<'a> {
    keys: Vec<ArrayRef>,
    domains: Vec<(&'a UInt64Array, &'a UInt32Array)>,
    mask: &'a UInt16Array,
    rows: &'a Int64Array,
    measures: Vec<(&'a Decimal128Array, &'a Int64Array)>,
}

impl<'a> Columns<'a> {
    fn of(spec: &TableSpec, batch: &'a RecordBatch) -> Result<Self, DisclosureError> {
        let mut rest = batch.columns().iter();
        let mut keys = Vec::with_capacity(spec.keys.len());
        for field in &spec.keys {
            let column = next(&mut rest)?;
            if column.data_type() != field.data_type() {
                return Err(DisclosureError::Stage("a key has another type"));
            }
            keys.push(Arc::clone(column));
        }
        let mut domains = Vec::with_capacity(spec.domains.len());
        for _ in &spec.domains {
            let units = complete::<UInt64Type>(next(&mut rest)?)?;
            domains.push((units, complete::<UInt32Type>(next(&mut rest)?)?));
        }
        let mask = complete::<UInt16Type>(next(&mut rest)?)?;
        let rows = complete::<Int64Type>(next(&mut rest)?)?;
        let mut measures = Vec::with_capacity(spec.measures.len());
        for measure in &spec.measures {
            let sums = next(&mut rest)?;
            if sums.data_type() != &DataType::Decimal128(38, measure.scale) {
                return Err(DisclosureError::Stage("a sum has another type"));
            }
            let sums = typed::<Decimal128Type>(sums)?;
            measures.push((sums, complete::<Int64Type>(next(&mut rest)?)?));
        }
        if rest.next().is_some() {
            return Err(DisclosureError::Stage("too many columns"));
        }
        Ok(Self { keys, domains, mask, rows, measures })
    }
}

fn next<'a>(columns: &mut impl Iterator<Item = &'a ArrayRef>) -> Result<&'a ArrayRef, DisclosureError> {
    columns.next().ok_or(DisclosureError::Stage("too few columns"))
}

fn typed<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&PrimitiveArray<T>, DisclosureError> {
    column.as_primitive_opt::<T>().ok_or(DisclosureError::Stage("a column has another type"))
}

fn complete<T: ArrowPrimitiveType>(column: &ArrayRef) -> Result<&PrimitiveArray<T>, DisclosureError> {
    let column = typed::<T>(column)?;
    if column.null_count() > 0 {
        return Err(DisclosureError::Stage("a column has a null that may not have one"));
    }
    Ok(column)
}
