//! From a borough's sources to a snapshot.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use loda_contract::{ColumnType, Contract, Role, Unit};
use loda_question::plan::arrow_type;

use crate::appending::{ReadFrom, Reading};
use crate::check::{Findings, conforming};
use crate::config::{Config, DatasetConfig};
use crate::dictionary::{Dictionary, RecordSecret};
use crate::functions::Helpers;
use crate::mapping::cause;
use crate::report::Report;
use crate::residents::{self, Residents};
use crate::snapshot::{self, Rows, Snapshot, is_kept, unit_column};
use crate::source::Intake;

/// Whether a snapshot is written, or only what it would be is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Of each dataset so many snapshots stay.
    Write {
        keep: usize,
    },
    Check,
}

/// Reads the sources, maps, checks, and writes a new snapshot; where the report says no, the last good one stays. Of a source
/// that appends, only new files are read where that comes to the same.
///
/// # Errors
/// Where the sources or the mapping fail altogether: the last good snapshot stays.
pub(crate) async fn ingest(
    state: &Path,
    secret: &RecordSecret,
    contract: &Arc<Contract>,
    config: &DatasetConfig,
    residents: Option<&Arc<Residents>>,
    mode: Mode,
) -> anyhow::Result<(Option<Snapshot>, Report)> {
    let read_from = ReadFrom::now(&config.mapping, state)?;
    if let Some(unit) = contract.units.iter().find(|unit| unit.one_row && unit.column.is_some() && read_from.is_some())
    {
        bail!(
            "a source appends, and the contract gives a {} one row: a new file may hold one that is there already. Leave out \
             `appends`",
            unit.domain
        );
    }
    let last = Report::last_good(state, contract);
    let reading = match &read_from {
        Some(now) if mode != Mode::Check => Reading::since(now, snapshot::newest(state, contract)?, last.clone()),
        _ => Reading::Whole,
    };
    let onto = match reading {
        Reading::Nothing(snapshot, report) => return Ok((Some(snapshot), report)),
        Reading::New(snapshot, report) => Some((snapshot, report)),
        Reading::Whole => None,
    };
    let earlier = onto.as_ref().and_then(|(snapshot, _)| snapshot.read_from.as_ref());
    let mapping = read_from.as_ref().map_or_else(|| config.mapping.clone(), |now| now.pin(&config.mapping, earlier));
    let intake = Arc::new(Intake::default());
    let helpers = Helpers { residents: residents.cloned(), ..Helpers::default() };
    let unread = Arc::clone(&helpers.unread);
    let mapped = mapping.rows(&intake, helpers).await?;
    let mut batches = mapped.execute_stream().await?;
    let mut units = Units::open(state, secret, contract, mode, onto.as_ref().map(|(snapshot, _)| snapshot))?;
    let schema = snapshot_schema(contract);
    let (mut kept, mut findings) = (Vec::new(), Findings::default());
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(cause)?;
        let columns = conforming(contract, &batch, &mut findings)?;
        kept.push(units.identify(contract, columns, &schema)?);
    }
    let as_at = config.day();
    let mut report = Report {
        dataset: contract.dataset.clone(),
        title: contract.title.clone(),
        as_at: as_at.to_string(),
        snapshot: None,
        sources: intake.report(),
        unread: unread.report(),
        read: findings.read,
        kept: findings.kept,
        rejected: findings.rejected(),
        columns: findings.columns(contract),
        repeated: units.repeated(contract),
        drift: Vec::new(),
        refusals: Vec::new(),
    };
    // What was served before decides also where its report is lost.
    let last_rows = match &last {
        Some(last) => Some(last.kept),
        None => snapshot::newest(state, contract)?.map(|snapshot| snapshot.rows()).transpose()?,
    };
    report.judge(contract, &config.thresholds, last.as_ref(), last_rows, onto.is_some());
    let keep = match mode {
        Mode::Write { keep } if report.refusals.is_empty() => keep,
        _ => return Ok((None, report)),
    };
    units.sync()?;
    let (onto, before) = onto.unzip();
    let rows = Rows { schema: &schema, batches: kept, onto: onto.as_ref(), read_from };
    let snapshot = snapshot::write(state, contract, as_at, rows, keep)?;
    report.snapshot = Some(snapshot.id);
    if let Some(before) = before {
        report.add(&before, &config.mapping);
    }
    report.remember(state, contract)?;
    Ok((Some(snapshot), report))
}

/// What each dataset of a configuration would become, writing nothing.
///
/// # Errors
/// Where the configuration or a contract cannot be used; a dataset that cannot be read at all is an error of its own.
pub(crate) async fn check(
    config: &Config,
    only: Option<&str>,
) -> anyhow::Result<Vec<(String, anyhow::Result<Report>)>> {
    let secret = RecordSecret::passing()?;
    let wanted = |dataset: &DatasetConfig| dataset.mapping.asks_for_residents();
    let residents = match &config.residents {
        Some(residents) if config.datasets.iter().any(wanted) => Some(residents::look(residents, &secret).await?.0),
        _ => None,
    };
    let mut reports = Vec::new();
    for dataset in &config.datasets {
        let contract = Arc::new(Contract::load(&dataset.contract)?);
        if only.is_some_and(|only| only != contract.dataset) {
            continue;
        }
        let report = ingest(&config.state, &secret, &contract, dataset, residents.as_ref(), Mode::Check).await;
        reports.push((contract.dataset.clone(), report.map(|(_, report)| report)));
    }
    anyhow::ensure!(!reports.is_empty(), "the configuration has no such dataset");
    Ok(reports)
}

/// Texts are coded: a question looks at each word once.
fn kept_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        other => arrow_type(other),
    }
}

pub(crate) fn snapshot_schema(contract: &Contract) -> SchemaRef {
    let columns = contract.columns.iter().filter(|c| is_kept(&c.role));
    let mut fields: Vec<Field> = columns.map(|c| Field::new(&c.name, kept_type(c.kind), c.nullable)).collect();
    for unit in &contract.units {
        fields.push(Field::new(unit_column(&unit.domain), DataType::UInt64, false));
    }
    Arc::new(Schema::new(fields))
}

/// Unit ids for the rows of one dataset.
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
    /// Of a positional domain: which ids are in the snapshot that rows come beside. What a dictionary knows beyond them has
    /// gone, or was never served: a whole reading would number records without it.
    there: Vec<bool>,
}

impl Units {
    pub(crate) fn open(
        state: &Path,
        secret: &RecordSecret,
        contract: &Contract,
        mode: Mode,
        onto: Option<&Snapshot>,
    ) -> anyhow::Result<Self> {
        let folder = state.join("units");
        if mode != Mode::Check {
            std::fs::create_dir_all(&folder)?;
        }
        let domains = contract.units.iter().map(|unit| {
            let scope = match unit.column {
                Some(_) => unit.domain.clone(),
                None => format!("{}.{}", contract.dataset, unit.domain),
            };
            let dictionary = match mode {
                Mode::Write { .. } => Dictionary::open(&folder.join(&scope))?,
                Mode::Check => Dictionary::in_memory(),
            };
            let there = match onto {
                Some(snapshot) if unit.column.is_none() => snapshot.ids(&unit.domain)?,
                _ => Vec::new(),
            };
            Ok(DomainUnits { scope, dictionary, seen: HashMap::new(), repeated: 0, there })
        });
        Ok(Self { secret: secret.clone(), domains: domains.collect::<anyhow::Result<Vec<_>>>()? })
    }

    /// Replaces names and identifiers by ids.
    pub(crate) fn identify(
        &mut self,
        contract: &Contract,
        columns: Vec<ArrayRef>,
        schema: &SchemaRef,
    ) -> anyhow::Result<RecordBatch> {
        let rows = columns.first().map_or(0, |c| c.len());
        let mut kept: Vec<ArrayRef> = Vec::new();
        for (column, values) in contract.columns.iter().zip(&columns).filter(|(column, _)| is_kept(&column.role)) {
            let values = match column.role {
                Role::Text => {
                    let present = (0..rows).map(|row| values.is_valid(row).then_some(""));
                    Arc::new(present.collect::<StringArray>())
                }
                _ => Arc::clone(values),
            };
            kept.push(cast(&values, &kept_type(column.kind))?);
        }
        for (unit, domain) in contract.units.iter().zip(&mut self.domains) {
            let names = unit_names(contract, unit, &columns, rows)?;
            let mut ids = Vec::with_capacity(rows);
            for mut name in names {
                let named = |before: u64| [name.as_slice(), &before.to_be_bytes()].concat();
                let before = domain.seen.entry(name.clone()).or_insert_with(|| {
                    let mut before = 0;
                    if !domain.there.is_empty() {
                        // Records of earlier files have the first numbers.
                        let id = |before| domain.dictionary.get(&self.secret.unit(&domain.scope, &named(before)));
                        let is_there =
                            |id: u64| usize::try_from(id).is_ok_and(|id| domain.there.get(id) == Some(&true));
                        while id(before).is_some_and(is_there) {
                            before += 1;
                        }
                    }
                    before
                });
                if unit.column.is_none() {
                    // Equal records are told apart by how many came before, so that ids survive a refresh.
                    name = named(*before);
                } else if *before > 0 {
                    domain.repeated += 1;
                }
                *before += 1;
                let hash = self.secret.unit(&domain.scope, &name);
                ids.push(domain.dictionary.id(hash));
            }
            kept.push(Arc::new(UInt64Array::from(ids)));
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), kept)?)
    }

    /// Rows that repeat a unit which has one row each, by domain.
    fn repeated(&self, contract: &Contract) -> Vec<(String, u64)> {
        let domains = contract.units.iter().zip(&self.domains);
        let single = domains.filter(|(unit, domain)| unit.one_row && unit.column.is_some() && domain.repeated > 0);
        single.map(|(unit, domain)| (unit.domain.clone(), domain.repeated)).collect()
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
