//! The files of a borough: the extracts, the pooled tables, and the truth.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::Outputs;
use super::calendar::AS_AT;
use super::columns::{self, Kind};
use super::dialect::{self, Dialect, Encoding, WEEKS};
use super::home::For;
use super::services::{Row, TABLES, Table, Value};

/// The rows of one batch of a Parquet table, and of one row group.
const BATCH: usize = 4096;
const GROUP: usize = 65_536;
/// The bytes of text that are collected before they are encoded.
const WAITING: usize = 1 << 16;

/// All files of one borough.
pub(crate) struct Files {
    services: Vec<Service>,
    truth: Option<BufWriter<File>>,
    seed: u64,
    index: usize,
    spoiled: u64,
    pub(crate) count: u64,
}

/// The files of one service of the borough.
struct Service {
    dialect: Dialect,
    extracts: Vec<Sink>,
    pooled: Option<ParquetTable>,
    prefix: String,
    records: u64,
}

impl Files {
    pub(crate) fn create(out: &Path, seed: u64, index: usize, outputs: Outputs) -> anyhow::Result<Self> {
        let gss = super::places::gss(index);
        let truth = outputs.truth.then(|| create(&out.join("truth").join(format!("{gss}.csv")))).transpose()?;
        let mut files = Self {
            services: vec![],
            truth: truth.map(BufWriter::new),
            seed,
            index,
            spoiled: dialect::spoiled(seed, index),
            count: u64::from(outputs.truth),
        };
        if let Some(truth) = &mut files.truth {
            writeln!(truth, "service,record_ref,person_key,household_key,holder_key,readable")?;
        }
        for (number, table) in TABLES.iter().enumerate() {
            let dialect = Dialect::of(seed, index, number, table);
            let mut extracts = vec![];
            if outputs.extracts {
                for file in dialect.files() {
                    extracts.push(Sink::create(&out.join("extracts").join(gss).join(file), &dialect)?);
                }
            }
            let path = out.join("pooled").join(table.name).join(format!("{gss}.parquet"));
            let pooled = outputs.pooled.then(|| ParquetTable::create(&path, pooled_columns(table))).transpose()?;
            files.count += extracts.len() as u64 + u64::from(outputs.pooled);
            let initials = table.name.split('_').filter_map(|word| word.chars().next());
            let prefix = initials.collect::<String>().to_uppercase();
            files.services.push(Service { dialect, extracts, pooled, prefix, records: 0 });
        }
        Ok(files)
    }

    /// Writes a record of a service to every output.
    pub(crate) fn record(&mut self, number: usize, row: Row) -> anyhow::Result<()> {
        let (Some(service), Some(table)) = (self.services.get_mut(number), TABLES.get(number)) else {
            anyhow::bail!("there is no service {number}");
        };
        let records = service.records;
        service.records += 1;
        // A permutation of eight digits, so that a reference reveals nothing about the order of homes.
        let reference = format!("{}{:08}", service.prefix, (records * 7_654_321 + 12_345_678) % 100_000_000);
        let place = [self.seed, self.index as u64, number as u64, records, For::Spoiled as u64];
        let mut random = crate::random::Random::at(&place);
        let readable = !random.chance(self.spoiled);
        let keys = [row.person, row.household, row.holder].map(|key| key.map(|key| format!("{key:016x}")));
        if let (Some(truth), true) = (&mut self.truth, keys.iter().any(Option::is_some)) {
            let [person, household, holder] = keys.each_ref().map(|key| key.as_deref().unwrap_or_default());
            writeln!(truth, "{},{reference},{person},{household},{holder},{readable}", table.name)?;
        }
        let mut values = row.values;
        values.insert(0, Value::Text(reference));
        if !service.extracts.is_empty() {
            let mut cells = service.dialect.cells(&values);
            if !readable {
                service.dialect.spoil(&mut cells, &mut random);
            }
            let week = if service.extracts.len() == WEEKS { week(&values) } else { 0 };
            if let Some(sink) = service.extracts.get_mut(week) {
                sink.write(&service.dialect, cells)?;
            }
        }
        if let Some(pooled) = &mut service.pooled {
            values.insert(0, Value::Word(service.dialect.gss()));
            values.extend(keys.map(|key| key.map_or(Value::Null, Value::Text)));
            values.push(Value::Flag(readable));
            pooled.write(values)?;
        }
        Ok(())
    }

    /// Closes all files, and returns the number of rows by service.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<u64>> {
        if let Some(mut truth) = self.truth {
            truth.flush()?;
        }
        let close = |service: Service| {
            service.extracts.into_iter().try_for_each(Sink::finish)?;
            service.pooled.map(ParquetTable::finish).transpose()?;
            Ok(service.records)
        };
        self.services.into_iter().map(close).collect()
    }
}

/// The week of a reading. The first week is 0.
fn week(values: &[Value]) -> usize {
    let day = values.iter().find_map(|value| if let Value::Day(day) = value { Some(*day) } else { None });
    let before = AS_AT - day.unwrap_or(AS_AT);
    WEEKS - 1 - usize::try_from(before / 7).unwrap_or(0).min(WEEKS - 1)
}

fn create(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}

/// The file of an extract.
enum Sink {
    Text { file: BufWriter<File>, waiting: String, encoding: Encoding },
    Parquet(Box<ParquetTable>),
}

impl Sink {
    fn create(path: &Path, dialect: &Dialect) -> anyhow::Result<Self> {
        if dialect.parquet {
            // An export in which all columns are text, as the borough writes them.
            let columns = dialect.header().into_iter().map(|name| (name, Kind::Text)).collect();
            return Ok(Self::Parquet(Box::new(ParquetTable::create(path, columns)?)));
        }
        let mut file = BufWriter::new(create(path)?);
        match dialect.encoding {
            Encoding::Utf8Marked => file.write_all(b"\xef\xbb\xbf")?,
            Encoding::Utf16 => file.write_all(b"\xff\xfe")?,
            Encoding::Utf8 | Encoding::Windows1252 => {}
        }
        Ok(Self::Text { file, waiting: dialect.preamble(), encoding: dialect.encoding })
    }

    fn write(&mut self, dialect: &Dialect, cells: Vec<String>) -> anyhow::Result<()> {
        match self {
            Self::Parquet(table) => table.write(cells.into_iter().map(Value::from).collect()),
            Self::Text { file, waiting, encoding } => {
                dialect.line(&cells, waiting);
                if waiting.len() > WAITING {
                    encode(file, waiting, *encoding)?;
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Parquet(table) => table.finish(),
            Self::Text { mut file, mut waiting, encoding } => {
                encode(&mut file, &mut waiting, encoding)?;
                Ok(file.flush()?)
            }
        }
    }
}

fn encode(file: &mut impl Write, text: &mut String, encoding: Encoding) -> anyhow::Result<()> {
    match encoding {
        Encoding::Utf8 | Encoding::Utf8Marked => file.write_all(text.as_bytes())?,
        Encoding::Windows1252 => file.write_all(&encoding_rs::WINDOWS_1252.encode(text).0)?,
        Encoding::Utf16 => file.write_all(&text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())?,
    }
    text.clear();
    Ok(())
}

/// The canonical columns of a service between the borough and the true keys.
fn pooled_columns(table: &Table) -> Vec<(String, Kind)> {
    let kind = |name: &str| columns::find(name).map_or(Kind::Text, |column| column.kind);
    let before = ["borough", "record_ref"].into_iter();
    let names = before.chain(table.columns.split_whitespace()).chain(["person_key", "household_key", "holder_key"]);
    let mut columns: Vec<_> = names.map(|name| (name.to_owned(), kind(name))).collect();
    columns.push(("readable".to_owned(), Kind::Flag));
    columns
}

/// A Parquet file that is written in batches.
struct ParquetTable {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    kinds: Vec<Kind>,
    waiting: Vec<Vec<Value>>,
}

impl ParquetTable {
    fn create(path: &Path, columns: Vec<(String, Kind)>) -> anyhow::Result<Self> {
        let kinds = columns.iter().map(|(_, kind)| *kind).collect();
        let fields = columns.into_iter().map(|(name, kind)| Field::new(name, data_type(kind), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        // Nothing in the file says when it was written, or by which version.
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(GROUP))
            .set_created_by("synthetic London".to_owned());
        let writer = ArrowWriter::try_new(create(path)?, Arc::clone(&schema), Some(properties.build()))?;
        Ok(Self { writer, schema, kinds, waiting: Vec::new() })
    }

    fn write(&mut self, row: Vec<Value>) -> anyhow::Result<()> {
        self.waiting.push(row);
        if self.waiting.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.waiting);
        let arrays = self.kinds.iter().enumerate().map(|(place, kind)| array(*kind, place, &rows));
        let arrays = arrays.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)?)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        if !self.waiting.is_empty() {
            self.flush()?;
        }
        self.writer.close()?;
        Ok(())
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Day => DataType::Date32,
        Kind::Flag => DataType::Boolean,
        Kind::Whole | Kind::Hour => DataType::Int64,
        Kind::Hundredths | Kind::Money => DataType::Decimal128(18, 2),
        Kind::Text | Kind::Code | Kind::Uprn | Kind::Postcode | Kind::Nhs | Kind::Nino => DataType::Utf8,
    }
}

fn array(kind: Kind, place: usize, rows: &[Vec<Value>]) -> anyhow::Result<ArrayRef> {
    let cells = rows.iter().map(|row| row.get(place).unwrap_or(&Value::Null));
    let number = |value: &Value| match value {
        Value::Whole(number) | Value::Hundredths(number) => i64::try_from(*number).ok(),
        _ => None,
    };
    Ok(match data_type(kind) {
        DataType::Date32 => {
            let days = cells.map(|value| if let Value::Day(day) = value { Some(*day) } else { None });
            Arc::new(days.collect::<Date32Array>())
        }
        DataType::Boolean => {
            let flags = cells.map(|value| if let Value::Flag(flag) = value { Some(*flag) } else { None });
            Arc::new(flags.collect::<BooleanArray>())
        }
        DataType::Int64 => Arc::new(cells.map(number).collect::<Int64Array>()),
        DataType::Decimal128(precision, scale) => {
            let numbers = cells.map(|value| number(value).map(i128::from)).collect::<Decimal128Array>();
            Arc::new(numbers.with_precision_and_scale(precision, scale)?)
        }
        _ => {
            let text = |value: &Value| match value {
                Value::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
                Value::Word(word) => Some((*word).to_owned()),
                Value::Whole(number) => Some(number.to_string()),
                _ => None,
            };
            Arc::new(cells.map(text).collect::<StringArray>())
        }
    })
}
