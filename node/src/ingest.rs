//! From a borough's sources to a snapshot.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::dataframe::DataFrame;
use datafusion::execution::options::{CsvReadOptions, ParquetReadOptions};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use futures::StreamExt;
use loda_contract::{Contract, Role, Unit};
use loda_question::plan::arrow_type;

use crate::check::{Rejects, conforming};
use crate::config::{DatasetConfig, Format, Source};
use crate::dictionary::{Dictionary, RecordSecret};
use crate::snapshot::{self, Snapshot, is_kept, key_column, unit_column};

/// What became of the rows of one dataset.
#[derive(Clone, Debug)]
pub struct IngestReport {
    pub dataset: String,
    pub snapshot: u64,
    pub read: u64,
    pub kept: u64,
    /// Rows left out: column, reason, how many.
    pub rejected: Vec<(String, &'static str, u64)>,
}

/// Reads the sources, maps, checks, and writes a new snapshot.
///
/// # Errors
/// Where the sources or the mapping fail, or no row keeps the contract: the last good snapshot stays.
pub(crate) async fn ingest(
    state: &Path,
    secret: &RecordSecret,
    contract: &Arc<Contract>,
    config: &DatasetConfig,
) -> anyhow::Result<(Snapshot, IngestReport)> {
    let mapped = map(config).await.with_context(|| format!("dataset '{}'", contract.dataset))?;
    let mut batches = mapped.execute_stream().await?;
    let mut units = Units::open(state, secret, contract)?;
    let schema = snapshot_schema(contract);
    let (mut kept, mut rejects) = (Vec::new(), Rejects::new());
    let (mut rows_read, mut rows_kept) = (0_u64, 0_u64);
    while let Some(batch) = batches.next().await {
        let batch = batch.with_context(|| format!("dataset '{}': the mapping failed", contract.dataset))?;
        rows_read += batch.num_rows() as u64;
        let columns = conforming(contract, &batch, &mut rejects)?;
        let batch = units.identify(contract, columns, &schema)?;
        rows_kept += batch.num_rows() as u64;
        kept.push(batch);
    }
    let replaces = snapshot::newest(state, contract)?.is_some();
    if rows_kept == 0 && (rows_read > 0 || replaces) {
        bail!("dataset '{}': none of {rows_read} rows keeps the contract; the last snapshot stays", contract.dataset);
    }
    units.check_one_row(contract)?;
    units.sync()?;
    let snapshot = snapshot::write(state, contract, config.as_at, &kept, &schema)?;
    let rejected = rejects.into_iter().map(|((column, reason), rows)| (column, reason, rows)).collect();
    let report = IngestReport {
        dataset: contract.dataset.clone(),
        snapshot: snapshot.id,
        read: rows_read,
        kept: rows_kept,
        rejected,
    };
    Ok((snapshot, report))
}

/// The borough's own SQL over its own sources.
async fn map(config: &DatasetConfig) -> anyhow::Result<DataFrame> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    for source in &config.sources {
        register(&context, source).await.with_context(|| format!("source {}", source.path.display()))?;
    }
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    context.sql_with_options(&config.sql, options).await.context("the mapping's SQL")
}

async fn register(context: &SessionContext, source: &Source) -> anyhow::Result<()> {
    let path = source.path.to_str().context("the path is not UTF-8")?;
    if !source.path.is_file() {
        bail!("no such file");
    }
    match source.format {
        Format::Parquet => context.register_parquet(&source.name, path, ParquetReadOptions::default()).await?,
        Format::Csv => {
            let schema = text_columns(&source.path)?;
            let options =
                CsvReadOptions::new().schema(&schema).file_extension(extension(&source.path)).newlines_in_values(true);
            context.register_csv(&source.name, path, options).await?;
        }
    }
    Ok(())
}

/// Every CSV column is text: what it means is the mapping's to say.
fn text_columns(path: &Path) -> anyhow::Result<Schema> {
    let format = arrow::csv::reader::Format::default().with_header(true);
    let (inferred, _) = format.infer_schema(std::fs::File::open(path)?, Some(0))?;
    let text =
        inferred.fields().iter().map(|f| Field::new(f.name().trim_start_matches('\u{feff}'), DataType::Utf8, true));
    Ok(Schema::new(text.collect::<Vec<_>>()))
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
}

pub(crate) fn snapshot_schema(contract: &Contract) -> SchemaRef {
    let columns = contract.columns.iter().filter(|c| is_kept(&c.role));
    let mut fields: Vec<Field> = columns.map(|c| Field::new(&c.name, arrow_type(c.kind), c.nullable)).collect();
    for unit in &contract.units {
        fields.push(Field::new(unit_column(&unit.domain), DataType::UInt64, false));
        fields.push(Field::new(key_column(&unit.domain), DataType::UInt32, false));
    }
    Arc::new(Schema::new(fields))
}

/// Unit ids and record keys for the rows of one dataset.
pub(crate) struct Units {
    secret: RecordSecret,
    domains: Vec<DomainUnits>,
}

struct DomainUnits {
    /// The name under which hashes are keyed: a positional domain is the dataset's own.
    scope: String,
    dictionary: Dictionary,
    /// Rows of this ingest by unit (column domains that must have one row), or by content (positional).
    seen: HashMap<Vec<u8>, u64>,
    repeated: u64,
}

impl Units {
    pub(crate) fn open(state: &Path, secret: &RecordSecret, contract: &Contract) -> anyhow::Result<Self> {
        let folder = state.join("units");
        std::fs::create_dir_all(&folder)?;
        let domains = contract.units.iter().map(|unit| {
            let scope = match unit.column {
                Some(_) => unit.domain.clone(),
                None => format!("{}.{}", contract.dataset, unit.domain),
            };
            let dictionary = Dictionary::open(&folder.join(&scope))?;
            Ok(DomainUnits { scope, dictionary, seen: HashMap::new(), repeated: 0 })
        });
        Ok(Self { secret: secret.clone(), domains: domains.collect::<anyhow::Result<Vec<_>>>()? })
    }

    /// Replaces names and identifiers by ids and keys.
    pub(crate) fn identify(
        &mut self,
        contract: &Contract,
        columns: Vec<ArrayRef>,
        schema: &SchemaRef,
    ) -> anyhow::Result<RecordBatch> {
        let rows = columns.first().map_or(0, |c| c.len());
        let mut kept: Vec<ArrayRef> = Vec::new();
        for (column, values) in contract.columns.iter().zip(&columns) {
            match column.role {
                Role::Text => {
                    let present = (0..rows).map(|row| values.is_valid(row).then_some(""));
                    kept.push(Arc::new(present.collect::<StringArray>()));
                }
                ref role if is_kept(role) => kept.push(Arc::clone(values)),
                _ => {}
            }
        }
        for (unit, domain) in contract.units.iter().zip(&mut self.domains) {
            let names = unit_names(contract, unit, &columns, rows)?;
            let (mut ids, mut keys) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
            for mut name in names {
                let before = domain.seen.entry(name.clone()).or_default();
                if unit.column.is_none() {
                    // Equal records are told apart by how many came before, so that keys survive a refresh.
                    name.extend_from_slice(&before.to_be_bytes());
                } else if *before > 0 {
                    domain.repeated += 1;
                }
                *before += 1;
                let hash = self.secret.unit(&domain.scope, &name);
                ids.push(domain.dictionary.id(hash));
                keys.push(self.secret.record_key(&domain.scope, &hash));
            }
            kept.push(Arc::new(UInt64Array::from(ids)));
            kept.push(Arc::new(UInt32Array::from(keys)));
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), kept)?)
    }

    fn check_one_row(&self, contract: &Contract) -> anyhow::Result<()> {
        for (unit, domain) in contract.units.iter().zip(&self.domains) {
            if unit.one_row && unit.column.is_some() && domain.repeated > 0 {
                bail!(
                    "dataset '{}': {} rows repeat a {} that has a row already, and the contract says one row each: \
                     keep one row a {} in the mapping",
                    contract.dataset,
                    domain.repeated,
                    unit.domain,
                    unit.domain
                );
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.domains.iter_mut().try_for_each(|d| d.dictionary.sync())
    }
}

/// What names the unit of each row: its column, or for a positional domain the whole record.
fn unit_names(contract: &Contract, unit: &Unit, columns: &[ArrayRef], rows: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let of_unit = |name: &str| unit.column.as_ref().is_none_or(|column| column == name);
    let sources = contract.columns.iter().zip(columns).filter(|(c, _)| of_unit(&c.name));
    let options = FormatOptions::default().with_null("\0");
    let formatters = sources.map(|(_, values)| ArrayFormatter::try_new(values.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    let mut names = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut name = Vec::new();
        for formatter in &formatters {
            let text = formatter.value(row).try_to_string()?;
            name.extend_from_slice(&(text.len() as u64).to_be_bytes());
            name.extend_from_slice(text.as_bytes());
        }
        names.push(name);
    }
    Ok(names)
}

impl fmt::Display for IngestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: snapshot {}, {} of {} rows kept", self.dataset, self.snapshot, self.kept, self.read)?;
        for (column, reason, rows) in &self.rejected {
            write!(f, "; {rows} left out where {column} {reason}")?;
        }
        Ok(())
    }
}
