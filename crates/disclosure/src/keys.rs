//! Group keys: from key columns to one number for each cell, and back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use arrow::row::{RowConverter, SortField};
use foldhash::fast::FixedState;

use crate::error::DisclosureError;
use crate::spec::PossibleMasks;

/// A group's key in Arrow's row format: byte order is key order, nulls first. Empty without keys.
pub(crate) type CellKey = Box<[u8]>;

/// A hash table without protection against chosen keys: its keys come from a node's own snapshots, and no outsider chooses them.
type Fast<K> = HashMap<K, u32, FixedState>;

/// Converts between key columns and [`CellKey`].
pub struct KeyCodec {
    /// `None` for a table without keys, because Arrow's converter loses the row count of no columns.
    converter: Option<RowConverter>,
}

impl KeyCodec {
    pub(crate) fn new(keys: &[FieldRef]) -> Result<Self, DisclosureError> {
        if keys.is_empty() {
            return Ok(Self { converter: None });
        }
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        Ok(Self { converter: Some(RowConverter::new(fields)?) })
    }

    fn encode(&self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<CellKey>, DisclosureError> {
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

    /// The possible masks of each cell. A cell that is not in the map has no possible mask.
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

/// Numbers cells in the order of their first row.
pub(crate) struct CellNumbers {
    columns: Vec<Codes>,
    /// After each column: the numbers of the combinations of all columns so far.
    pairs: Vec<Fast<u64>>,
    /// The codes of each cell, one for every column.
    cells: Vec<Vec<u32>>,
}

impl CellNumbers {
    pub(crate) fn new(keys: &[FieldRef]) -> Result<Self, DisclosureError> {
        let columns = keys.iter().map(|key| Codes::new(key.data_type())).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { pairs: vec![Fast::default(); columns.len()], columns, cells: Vec::new() })
    }

    /// The cell of each row.
    pub(crate) fn number(&mut self, columns: &[ArrayRef], row_count: usize) -> Result<Vec<u32>, DisclosureError> {
        let mut numbers = vec![0_u32; row_count];
        let mut codes = Vec::with_capacity(columns.len());
        for (column, known) in columns.iter().zip(&mut self.columns) {
            codes.push(known.codes(column)?);
        }
        for (of_column, pairs) in codes.iter().zip(&mut self.pairs) {
            for (number, code) in numbers.iter_mut().zip(of_column) {
                let pair = (u64::from(*number) << 32) | u64::from(*code);
                let next = u32::try_from(pairs.len()).map_err(|_| DisclosureError::Overflow)?;
                *number = *pairs.entry(pair).or_insert(next);
            }
        }
        for (row, number) in numbers.iter().enumerate() {
            // A new cell has the next number, because the last table of pairs numbers cells in this order.
            if *number as usize == self.cells.len() {
                self.cells.push(codes.iter().filter_map(|codes| codes.get(row).copied()).collect());
            }
        }
        Ok(numbers)
    }

    /// The key of each cell, by its number. In Arrow's row format a row is the concatenation of its columns' encodings.
    pub(crate) fn keys(&self) -> Vec<CellKey> {
        let key = |codes: &Vec<u32>| {
            let parts = codes.iter().zip(&self.columns).filter_map(|(code, column)| column.bytes.get(*code as usize));
            parts.flat_map(|part| part.iter().copied()).collect()
        };
        self.cells.iter().map(key).collect()
    }
}

/// The different values of one key column.
struct Codes {
    kind: DataType,
    converter: RowConverter,
    numbers: Fast<Box<[u8]>>,
    bytes: Vec<Box<[u8]>>,
}

impl Codes {
    fn new(kind: &DataType) -> Result<Self, DisclosureError> {
        let converter = RowConverter::new(vec![SortField::new(kind.clone())])?;
        Ok(Self { kind: kind.clone(), converter, numbers: Fast::default(), bytes: Vec::new() })
    }

    fn codes(&mut self, column: &ArrayRef) -> Result<Vec<u32>, DisclosureError> {
        let Some(coded) = column.as_dictionary_opt::<Int32Type>() else { return self.of_values(column) };
        // In a column that the snapshot has coded, each different value is looked up once.
        let of_values = self.of_values(coded.values())?;
        let null = match coded.null_count() {
            0 => 0,
            _ => *self.of_values(&arrow::array::new_null_array(&self.kind, 1))?.first().unwrap_or(&0),
        };
        let code = |place: Option<i32>| place.and_then(|place| of_values.get(usize::try_from(place).ok()?).copied());
        Ok(coded.keys().iter().map(|place| code(place).unwrap_or(null)).collect())
    }

    fn of_values(&mut self, values: &ArrayRef) -> Result<Vec<u32>, DisclosureError> {
        if values.data_type() != &self.kind {
            return Err(DisclosureError::Stage("a key has another type"));
        }
        let rows = self.converter.convert_columns(&[Arc::clone(values)])?;
        let mut codes = Vec::with_capacity(values.len());
        for row in &rows {
            let code = match self.numbers.get(row.as_ref()) {
                Some(code) => *code,
                None => {
                    let code = u32::try_from(self.bytes.len()).map_err(|_| DisclosureError::Overflow)?;
                    self.numbers.insert(row.as_ref().into(), code);
                    self.bytes.push(row.as_ref().into());
                    code
                }
            };
            codes.push(code);
        }
        Ok(codes)
    }
}
