//! Decodes the cells that a borough released. An answer must have exactly the shape that the question asks for, or it
//! is rejected.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Cursor;

use anyhow::{Context, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int8Type, Int64Type};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;
use loda_contract::Value;
use loda_question::plan::{CODE_END, CODES, value_at};
use loda_question::table::{Classes, State, Table, TableCells, TableColumn, TableRow};
use loda_question::{Question, wire_schema};

/// Figures by cell. `None`: the figure is withheld.
pub(crate) type ReleasedCells = BTreeMap<Vec<Value>, Vec<Option<i128>>>;

/// The most cells of a question with open keys.
const OPEN_CELLS: u64 = 2_000_000;

/// The largest variance of the noise on a count.
const NOISE: f64 = 1_000_000.0;

/// The most classes of a column that a borough lists.
const LISTED: usize = 10_000;

/// The largest count from one borough, and the largest sums in the smallest units of whole and fractional columns.
/// Totals over all boroughs, and their means, then stay within their types.
const COUNT: i128 = 1_000_000_000_000_000;
const WHOLE: i128 = 100_000_000_000_000_000;
const FRACTIONAL: i128 = 1_000_000_000_000_000_000_000_000_000_000;

/// # Errors
/// The mismatch. It is the node's fault, and only this answer is lost.
pub(crate) fn read(question: &Question, bytes: Vec<u8>) -> anyhow::Result<ReleasedCells> {
    framed(&bytes)?;
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    let found = schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone()));
    ensure!(found.eq(wire_schema::of_question(question)), "the answer has other columns than the question");
    let Some(batch) = reader.next().transpose()? else { return Ok(ReleasedCells::new()) };
    ensure!(reader.next().is_none(), "the answer has more batches than one");
    let most = question.grid().unwrap_or(OPEN_CELLS);
    ensure!(batch.num_rows() as u64 <= most, "the answer has more cells than there are");
    cells_of(question, &batch)
}

/// The cells of a table about people. `noise`: the variance of the noise on a count of units.
///
/// # Errors
/// The mismatch. It is the node's fault, and only this answer is lost.
pub(crate) fn read_table(table: &Table, noise: f64, bytes: Vec<u8>) -> anyhow::Result<TableCells> {
    ensure!((0.0..=NOISE).contains(&noise), "the noise of the answer is none that there is");
    framed(&bytes)?;
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    let found = schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone()));
    ensure!(found.eq(wire_schema::of_table(table)), "the answer has other columns than the table");
    let mut lists = Vec::with_capacity(table.columns().len());
    for (column, field) in table.columns().iter().zip(schema.fields().iter().step_by(2)) {
        let listed = field.metadata().get(CODES);
        lists.push(match &column.classes {
            Classes::Coded(_) | Classes::Presence if column.period.is_none() => None,
            _ => Some(list_of(listed.context("a column comes without its classes")?, column)?),
        });
    }
    let Some(batch) = reader.next().transpose()? else { return Ok(TableCells { rows: Vec::new(), noise, lists }) };
    ensure!(reader.next().is_none(), "the answer has more batches than one");
    ensure!(batch.num_rows() as u64 <= OPEN_CELLS, "the answer has more cells than there are");
    let (columns, figures) = batch.columns().split_at(table.columns().len().saturating_mul(2).min(batch.num_columns()));
    let mut known: Vec<ClassesOf> =
        table.columns().iter().zip(&lists).map(|(of, list)| ClassesOf::new(of, list)).collect();
    let (mut rows, mut seen) = (Vec::with_capacity(batch.num_rows()), HashSet::with_capacity(batch.num_rows()));
    for row in 0..batch.num_rows() {
        let (mut cell, mut numbers) = (Vec::with_capacity(known.len()), Vec::with_capacity(known.len()));
        for (pair, of) in columns.chunks_exact(2).zip(&mut known) {
            let [values, states] = pair else { bail!("a column has no state") };
            let (class, number) = of.class_at(values, states, row)?;
            cell.push(class);
            numbers.push(number);
        }
        ensure!(seen.insert(numbers), "one cell comes twice");
        let figures = figures.iter().map(|values| figure_at(values, row)).collect::<anyhow::Result<Vec<_>>>()?;
        rows.push(TableRow { cell, figures });
    }
    Ok(TableCells { rows, noise, lists })
}

/// The classes of a column as the borough lists them, in order.
fn list_of(text: &str, column: &TableColumn) -> anyhow::Result<Vec<Value>> {
    let list = text.split_terminator(CODE_END).map(|word| Value::parse(word, column.kind));
    let list: Option<Vec<Value>> = list.collect();
    let listed = |value: &Value| match &column.classes {
        Classes::Coded(values) => values.binary_search(value).is_ok(),
        Classes::Presence => false,
        Classes::Open => true,
    };
    let fits = |list: &Vec<Value>| list.len() <= LISTED && list.is_sorted_by(|a, b| a < b) && list.iter().all(listed);
    list.filter(fits).context("the classes of a column are no list of them")
}

/// The classes of a column that were already read. Each class is checked once, and all cells share it.
struct ClassesOf<'a> {
    column: &'a TableColumn,
    list: Option<&'a Vec<Value>>,
    texts: HashMap<&'a str, u32>,
    numbers: HashMap<(State, Value), u32>,
    seen: Vec<(State, Value)>,
}

impl<'a> ClassesOf<'a> {
    fn new(column: &'a TableColumn, list: &'a Option<Vec<Value>>) -> Self {
        Self { column, list: list.as_ref(), texts: HashMap::new(), numbers: HashMap::new(), seen: Vec::new() }
    }

    /// A cell's class in this column, and the class's number. A class that the column does not have is a fault.
    fn class_at(
        &mut self,
        values: &'a ArrayRef,
        states: &ArrayRef,
        row: usize,
    ) -> anyhow::Result<(Option<(State, Value)>, u32)> {
        if states.is_null(row) {
            ensure!(values.is_null(row), "a cell has a class of a column that its table is without");
            return Ok((None, u32::MAX));
        }
        let state = match states.as_primitive::<Int8Type>().value(row) {
            0 => State::Value,
            1 if self.column.optional => State::Absent,
            2 if self.column.reference.via.is_some() => State::Unreached,
            _ => bail!("a cell has a state that its column has not"),
        };
        let text = values.as_string_opt::<i32>().filter(|_| state == State::Value && !values.is_null(row));
        let text = text.map(|texts| texts.value(row));
        let before = text.and_then(|text| self.texts.get(text)).copied();
        let number = match before {
            Some(number) => number,
            None => {
                let value = value_at(values, self.column.kind, row).context("a column came in another type")?;
                self.number(text, (state, value))?
            }
        };
        Ok((self.seen.get(usize::try_from(number)?).cloned(), number))
    }

    fn number(&mut self, text: Option<&'a str>, class: (State, Value)) -> anyhow::Result<u32> {
        if let Some(before) = self.numbers.get(&class) {
            return Ok(*before);
        }
        let (state, value) = &class;
        let fits = match (&self.column.classes, value) {
            (_, Value::Null) => *state != State::Value || self.column.nullable,
            _ if *state != State::Value => false,
            (Classes::Presence, value) => *value == Value::Boolean(true),
            (Classes::Coded(values), value) => values.binary_search(value).is_ok() || values.contains(value),
            (Classes::Open, _) => true,
        };
        ensure!(fits, "a cell has a class that its column has not");
        let listed = self.list.is_none_or(|list| *value == Value::Null || list.binary_search(value).is_ok());
        ensure!(listed, "a cell has a class that is not listed");
        let number = u32::try_from(self.seen.len())?;
        self.numbers.insert(class.clone(), number);
        self.seen.push(class);
        self.texts.extend(text.map(|text| (text, number)));
        Ok(number)
    }
}

/// Checks that a stream consists of uncompressed messages that lie within it. The reader allocates as many bytes as a
/// message claims to hold, and the process ends if it cannot have them.
fn framed(bytes: &[u8]) -> anyhow::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (marker, after) = rest.split_first_chunk::<4>().context("the answer is cut short")?;
        let (length, after) = after.split_first_chunk::<4>().context("the answer is cut short")?;
        ensure!(*marker == [0xff; 4], "the answer is no stream of messages");
        let length = usize::try_from(u32::from_le_bytes(*length))?;
        if length == 0 {
            ensure!(after.is_empty(), "the answer goes on after its end");
            return Ok(());
        }
        let (head, after) = after.split_at_checked(length).context("a message of the answer is cut short")?;
        let message = root_as_message(head).map_err(|_| anyhow::anyhow!("a message of the answer has no head"))?;
        let batch = message.header_as_record_batch();
        ensure!(batch.is_some() || message.header_as_schema().is_some(), "the answer has messages of another kind");
        ensure!(batch.is_none_or(|batch| batch.compression().is_none()), "the answer is compressed");
        let body = usize::try_from(message.bodyLength()).context("a message of the answer has no length")?;
        (_, rest) = after.split_at_checked(body).context("a message of the answer is cut short")?;
    }
    Ok(())
}

/// A repeated cell, a value outside its key's domain, or an impossible figure is a fault.
fn cells_of(question: &Question, batch: &RecordBatch) -> anyhow::Result<ReleasedCells> {
    let mut found = ReleasedCells::new();
    let (keys, figures) = batch.columns().split_at(question.keys().len().min(batch.num_columns()));
    for row in 0..batch.num_rows() {
        let mut cell = Vec::with_capacity(keys.len());
        for (values, key) in keys.iter().zip(question.keys()) {
            let value = value_at(values, key.kind, row).context("a key came in another type")?;
            if key.values.as_ref().is_some_and(|domain| domain.binary_search(&value).is_err()) {
                bail!("a value is outside its key's domain");
            }
            cell.push(value);
        }
        let figures = figures.iter().map(|values| figure_at(values, row)).collect::<anyhow::Result<Vec<_>>>()?;
        if found.insert(cell, figures).is_some() {
            bail!("one cell comes twice");
        }
    }
    Ok(found)
}

fn figure_at(values: &ArrayRef, row: usize) -> anyhow::Result<Option<i128>> {
    if values.is_null(row) {
        return Ok(None);
    }
    let (value, least, most) = match values.data_type() {
        DataType::Int64 => (i128::from(values.as_primitive::<Int64Type>().value(row)), 0, COUNT),
        DataType::Decimal128(_, 0) => (values.as_primitive::<Decimal128Type>().value(row), -WHOLE, WHOLE),
        DataType::Decimal128(..) => (values.as_primitive::<Decimal128Type>().value(row), -FRACTIONAL, FRACTIONAL),
        other => bail!("a figure came as {other}"),
    };
    ensure!((least..=most).contains(&value), "a figure is greater than any there is, or a count below nought");
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

    use super::*;

    fn stream(options: IpcWriteOptions) -> Vec<u8> {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("k0", Arc::new(StringArray::from(vec!["a".repeat(2_000)]))),
            ("f0", Arc::new(Int64Array::from(vec![12]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn a_message_says_no_more_than_it_has() {
        let whole = stream(IpcWriteOptions::default());
        framed(&whole).unwrap();
        // A stream cut at the end of a message is a shorter stream, and the reader accepts it.
        let fits = (0..whole.len()).filter(|at| framed(&whole[..*at]).is_ok()).count();
        assert!(fits <= 3, "{fits}");
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                if framed(&damaged).is_ok() {
                    // The reader allocates no more bytes than there are. Anything else it finds is an error, or a panic
                    // that is caught.
                    let _read =
                        std::panic::catch_unwind(|| StreamReader::try_new(Cursor::new(damaged), None).map(drop));
                }
            }
        }
        let compressed = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        assert!(framed(&stream(compressed)).is_err());
        assert!(framed(&[whole.as_slice(), &[0xff]].concat()).is_err());
    }

    #[test]
    fn figures_are_such_as_there_can_be() {
        let count = |value: i64| figure_at(&(Arc::new(Int64Array::from(vec![value])) as ArrayRef), 0);
        assert_eq!(count(12).unwrap(), Some(12));
        assert!(count(-1).is_err() && count(i64::MAX).is_err());
        let sum = |value: i128, scale| {
            let values = arrow::array::Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap();
            figure_at(&(Arc::new(values) as ArrayRef), 0)
        };
        assert_eq!(sum(-5, 0).unwrap(), Some(-5));
        assert!(
            sum(10_i128.pow(37), 2).is_err() && sum(10_i128.pow(18), 0).is_err() && sum(10_i128.pow(18), 2).is_ok()
        );
    }
}
