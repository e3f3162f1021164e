//! From a borough's sources to a snapshot.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{Date32Type, SchemaRef, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::StreamExt;
use loda_contract::{Column, Contract, Domain, Role, Unit};

use crate::epochs;
use crate::ingest::columns::judgement::{Uses, of_rows};
use crate::ingest::columns::suspects::Suspicion;
use crate::ingest::config::{DatasetConfig, Thresholds};
use crate::ingest::conformance::report::Report;
use crate::ingest::conformance::{Findings, conforming};
use crate::ingest::dates::DateRange;
use crate::ingest::finding::Finding;
use crate::ingest::incremental::{ReadingPlan, pinned_mapping, read_from_now};
use crate::ingest::mapping::cause;
use crate::ingest::residents::Residents;
use crate::ingest::source::{FILE, Intake, LINE, Source};
use crate::ingest::sql_functions::Helpers;
use crate::ingest::unit_ids::{Dictionary, Hash, RecordSecret};
use crate::snapshot::{self, Snapshot, SnapshotRows, is_kept, kept_type, snapshot_schema};

/// Whether a snapshot is written, or only reported on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `keep`: the number of snapshots of each dataset that stay.
    Write {
        keep: usize,
    },
    Check,
}

/// Reads the sources, maps and checks the rows, and writes a new snapshot. If the report refuses them, the last good
/// snapshot stays. From a source that appends, only new files are read if that gives the same result.
///
/// # Errors
/// The sources or the mapping fail as a whole. The last good snapshot stays.
pub(crate) async fn ingest(
    state: &Path,
    secret: &RecordSecret,
    contract: &Arc<Contract>,
    config: &DatasetConfig,
    residents: Option<&Arc<Residents>>,
    mode: Mode,
) -> anyhow::Result<(Option<Snapshot>, Report)> {
    if let Some(covers) = &config.covers {
        covers.fits(contract).map_err(anyhow::Error::msg)?;
    }
    let read_from = read_from_now(&config.mapping, state)?;
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
        Some(now) if mode != Mode::Check => ReadingPlan::since(now, snapshot::newest(state, contract)?, last.clone()),
        _ => ReadingPlan::Whole,
    };
    let onto = match reading {
        ReadingPlan::Nothing(snapshot, report) => return Ok((Some(snapshot), report)),
        ReadingPlan::New(snapshot, report) => Some((snapshot, report)),
        ReadingPlan::Whole => None,
    };
    let earlier = onto.as_ref().and_then(|(snapshot, _)| snapshot.read_from.as_ref());
    let mapping =
        read_from.as_ref().map_or_else(|| config.mapping.clone(), |now| pinned_mapping(now, &config.mapping, earlier));
    let intake = Arc::new(Intake::default());
    let helpers = Helpers { residents: residents.cloned(), ranges: ranges(contract), ..Helpers::default() };
    let unread = Arc::clone(&helpers.unread);
    let mapped = mapping.rows(&intake, helpers).await?;
    let mut batches = mapped.rows.execute_stream().await?;
    let mut units = Units::open(state, secret, contract, mode, onto.as_ref().map(|(snapshot, _)| snapshot))?;
    let schema = snapshot_schema(contract);
    let (mut kept, mut findings, mut outside) = (Vec::new(), Findings::default(), 0_usize);
    let mut taken = TakenSuspects::default();
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(cause)?;
        taken.look(&batch, &intake);
        let columns = conforming(contract, &batch, &mut findings)?;
        let batch = units.identify(contract, columns, &schema)?;
        outside = outside.saturating_add(config.outside(contract, &batch));
        // A check needs no row any more. It may be one of millions on a small machine.
        if mode != Mode::Check {
            kept.push(batch);
        }
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
        findings: Vec::new(),
        drift: Vec::new(),
        refusals: Vec::new(),
    };
    let uses = Uses { own: Some(config.borough.clone()), ..mapped.uses };
    let of_sources = mapping.sources.iter().flat_map(Source::findings).chain(intake.findings(&uses));
    let unread = unread_too_often(&unread.shares(), &config.thresholds);
    let found = of_sources.chain(taken.findings()).chain(findings.rounded()).chain(unread);
    report.decide(found, &config.questions, &config.decided);
    // The last snapshot's rows count even if its report is lost.
    let last_rows = match &last {
        Some(last) => Some(last.kept),
        None => snapshot::newest(state, contract)?.map(|snapshot| snapshot.rows()).transpose()?,
    };
    report.judge(contract, &config.thresholds, last.as_ref(), last_rows, onto.is_some());
    if let Some(covers) = config.covers.as_ref().filter(|_| outside > 0) {
        report.refusals.push(format!(
            "{outside} rows have a {} outside the period that [dataset.covers] declares: correct the period, or leave the rows \
             out in the mapping",
            covers.column
        ));
    }
    let keep = match mode {
        Mode::Write { keep } if report.refusals.is_empty() => keep,
        _ => return Ok((None, report)),
    };
    units.sync()?;
    let (onto, before) = onto.unzip();
    let rows = SnapshotRows { schema: &schema, batches: kept, onto: onto.as_ref(), read_from };
    let snapshot = snapshot::write(state, contract, as_at, rows, || epochs::retention(state, contract, keep))?;
    report.snapshot = Some(snapshot.id);
    if let Some(before) = before {
        report.add(&before, &config.mapping);
    }
    report.remember(state, contract)?;
    Ok((Some(snapshot), report))
}

/// The days that the contract's columns of dates can have.
fn ranges(contract: &Contract) -> BTreeMap<String, DateRange> {
    let range = |column: &Column| match column.role {
        Role::Dimension(Domain::Dates { from, to, .. }) => {
            let day = |day: i32| Date32Type::to_naive_date_opt(day);
            Some((column.name.clone(), (day(from)?, day(to)?)))
        }
        _ => None,
    };
    contract.columns.iter().filter_map(range).collect()
}

/// Rows that look like no records, and that a mapping takes all the same.
#[derive(Default)]
struct TakenSuspects(BTreeMap<String, BTreeMap<Suspicion, Vec<(String, u64)>>>);

impl TakenSuspects {
    /// Looks at mapped rows. A row is suspected before the mapping has it.
    fn look(&mut self, batch: &RecordBatch, intake: &Intake) {
        let suspects = intake.suspects();
        let files = batch.column_by_name(FILE).and_then(|c| c.as_string_opt::<i32>());
        let lines = batch.column_by_name(LINE).and_then(|c| c.as_primitive_opt::<UInt64Type>());
        let (false, Some(files), Some(lines)) = (suspects.is_empty(), files, lines) else { return };
        for row in (0..batch.num_rows()).filter(|row| files.is_valid(*row) && lines.is_valid(*row)) {
            let place = (files.value(row).to_owned(), lines.value(row));
            if let Some((source, suspicion)) = suspects.get(&place) {
                let lines = self.0.entry(source.clone()).or_default().entry(*suspicion).or_default();
                // A wide table gives several rows of one.
                if lines.last() != Some(&place) {
                    lines.push(place);
                }
            }
        }
    }

    fn findings(self) -> Vec<Finding> {
        self.0.iter().flat_map(|(source, taken)| of_rows(source, taken)).collect()
    }
}

/// Functions that made more values NULL than a threshold allows.
fn unread_too_often(shares: &BTreeMap<String, (u64, u64)>, thresholds: &Thresholds) -> Vec<Finding> {
    let too_often = |(unread, given): &(u64, u64)| *unread as f64 > thresholds.unread * *given as f64;
    let found = shares.iter().filter(|(function, share)| *function != "resident" && too_often(share));
    found
        .map(|(function, (unread, given))| {
            Finding::new(
                format!("unread:{function}"),
                format!("{function}() in the mapping"),
                format!("{unread} of {given} values became NULL; their shapes stand above"),
                format!("correct the mapping; thresholds.unread allows {:.0} %", thresholds.unread * 100.0),
            )
        })
        .collect()
}

/// Unit ids for the rows of one dataset.
pub(crate) struct Units {
    secret: RecordSecret,
    domains: Vec<DomainUnits>,
}

struct DomainUnits {
    /// The name under which hashes are keyed. A positional domain belongs to its dataset alone.
    scope: String,
    /// `None`: nothing is written, and no id is given.
    dictionary: Option<Dictionary>,
    /// The number of rows in this ingest, by the hash of the unit, or of the content in a positional domain.
    seen: HashMap<Hash, u64>,
    repeated: u64,
    /// For a positional domain: the ids in the snapshot that the new rows are added to. The dictionary may know other
    /// ids, of records that are gone or were never served. A reading of all files would number records without them.
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
                Mode::Write { .. } => Some(Dictionary::open(&folder.join(&scope))?),
                Mode::Check => None,
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
            for name in names {
                let named = |before: u64| [name.as_slice(), &before.to_be_bytes()].concat();
                let mut hash = self.secret.unit(&domain.scope, &name);
                let before = domain.seen.entry(hash).or_insert_with(|| {
                    let mut before = 0;
                    if let Some(dictionary) = domain.dictionary.as_ref().filter(|_| !domain.there.is_empty()) {
                        // The records of earlier files have the first numbers.
                        let id = |before| dictionary.get(&self.secret.unit(&domain.scope, &named(before)));
                        let is_there =
                            |id: u64| usize::try_from(id).is_ok_and(|id| domain.there.get(id) == Some(&true));
                        while id(before).is_some_and(is_there) {
                            before += 1;
                        }
                    }
                    before
                });
                if unit.column.is_none() {
                    // Equal records are told apart by how many came before, so their ids survive a refresh.
                    hash = self.secret.unit(&domain.scope, &named(*before));
                } else if *before > 0 {
                    domain.repeated += 1;
                }
                *before += 1;
                ids.push(domain.dictionary.as_mut().map_or(0, |dictionary| dictionary.id(hash)));
            }
            kept.push(Arc::new(UInt64Array::from(ids)));
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), kept)?)
    }

    /// The number of rows that repeat a unit with one row, by domain.
    fn repeated(&self, contract: &Contract) -> Vec<(String, u64)> {
        let domains = contract.units.iter().zip(&self.domains);
        let single = domains.filter(|(unit, domain)| unit.one_row && unit.column.is_some() && domain.repeated > 0);
        single.map(|(unit, domain)| (unit.domain.clone(), domain.repeated)).collect()
    }

    pub(crate) fn sync(&mut self) -> anyhow::Result<()> {
        self.domains.iter_mut().filter_map(|d| d.dictionary.as_mut()).try_for_each(Dictionary::sync)
    }
}

/// The name of the unit of each row: the value of its column, or the whole record in a positional domain.
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
