//! The residents index: one person over all of the borough's services. It gives the unit `person` of the borough's
//! datasets.
//!
//! ```text
//! services' extracts ─ mapping ─► records ─ matchkeys, decisions ─► people ─► the numbers they had before ─► index
//! ```
//!
//! The records are in memory while the index is made, and nowhere afterwards. For each record, a keyed hash and the
//! resident's number stay. They outlive refreshes. A mapping reads the resident with `resident('service', key)`.

pub(crate) mod clerical_review;
mod config;
mod index;
mod report;
pub(crate) mod review_page;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use chrono::Months;
use futures::StreamExt;
use loda_linkage::{Bands, Decision, Record, Records};

use self::clerical_review::Pair;
pub(crate) use self::config::ResidentsEntry;
pub use self::config::{ResidentsConfig, Service};
pub(crate) use self::index::Residents;
pub(crate) use self::report::ResidentsReport;
use self::report::ServiceReport;
use self::review_page::PairInFull;
use crate::ingest::dates::DateRange;
use crate::ingest::mapping::cause;
use crate::ingest::source::Intake;
use crate::ingest::sql_functions::Helpers;
use crate::ingest::unit_ids::{Hash, RecordSecret};

/// If a service has fewer records than this share of the last index's, the last index stays.
const SHRUNK: f64 = 0.5;

/// The file of a node's index.
pub(crate) fn path(state: &Path) -> PathBuf {
    state.join("residents.index")
}

/// Makes a new index, and replaces the last one.
///
/// # Errors
/// A service cannot be read, or has far fewer records than before. The last index stays.
pub(crate) async fn build(
    state: &Path,
    config: &ResidentsConfig,
    secret: &RecordSecret,
) -> anyhow::Result<ResidentsReport> {
    let path = path(state);
    let last = Residents::open(&path, secret, config.names())?;
    let (residents, report) = renew(config, last).await?;
    residents.write(&path)?;
    Ok(report)
}

/// The index as it would be without an earlier one. No file is written.
///
/// # Errors
/// A service cannot be read.
pub(crate) async fn look(
    config: &ResidentsConfig,
    secret: &RecordSecret,
) -> anyhow::Result<(Arc<Residents>, ResidentsReport)> {
    renew(config, Residents::empty(secret, config.names())).await
}

/// Pairs with the records that they name, read once more. Nothing else of the services is kept.
///
/// # Errors
/// A service cannot be read.
pub(crate) async fn in_full(config: &ResidentsConfig, pairs: &[Pair]) -> anyhow::Result<Vec<PairInFull>> {
    let mut wanted: HashMap<(String, String), Option<Record>> =
        pairs.iter().flat_map(|pair| [(pair.one.clone(), None), (pair.other.clone(), None)]).collect();
    for (service, number) in config.services.iter().zip(0_u16..) {
        let helpers = Helpers { ranges: lifetimes(), ..Helpers::default() };
        let mapped = service.mapping.rows(&Arc::new(Intake::default()), helpers).await?;
        let mut batches = mapped.rows.execute_stream().await?;
        while let Some(batch) = batches.next().await {
            let columns = Columns::of(&batch.map_err(cause)?)?;
            for row in 0..columns.rows {
                let key = (service.name.clone(), columns.text(0, row).trim().to_owned());
                if let Some(slot @ None) = wanted.get_mut(&key) {
                    *slot = Some(columns.record(row, number));
                }
            }
        }
    }
    let record = |of: &(String, String)| wanted.get(of).and_then(Option::clone);
    let whole =
        |pair: &Pair| Some(PairInFull { pair: pair.clone(), one: record(&pair.one)?, other: record(&pair.other)? });
    Ok(pairs.iter().filter_map(whole).collect())
}

async fn renew(config: &ResidentsConfig, last: Residents) -> anyhow::Result<(Arc<Residents>, ResidentsReport)> {
    let mut reading = RecordReading::default();
    let mut report = ResidentsReport::default();
    for (service, number) in config.services.iter().zip(0_u16..) {
        let within = || format!("[[residents.service]] '{}'", service.name);
        report.services.push(reading.service(service, number, &last).await.with_context(within)?);
    }
    let counts: BTreeMap<String, u64> = report.services.iter().map(ServiceReport::count).collect();
    for (service, before) in last.counts() {
        let Some(now) = counts.get(service).filter(|now| (**now as f64) < *before as f64 * SHRUNK) else { continue };
        bail!("'{service}' has {now} records, and the last index has {before} of it: its extract is not whole");
    }
    let decided = match &config.decided {
        Some(path) => clerical_review::read(path, &reading.places(&config.services))?,
        None => clerical_review::Decided::default(),
    };
    report.unknown_decisions = decided.unknown;
    let once: Vec<u16> =
        config.services.iter().zip(0_u16..).filter(|(s, _)| s.once).map(|(_, number)| number).collect();
    let names = config.names();
    // A million records take minutes, so this must not block others.
    let work = tokio::task::spawn_blocking(move || {
        let RecordReading { records, hashes, keys, repeats, .. } = reading;
        let decisions = [repeats, decided.decisions].concat();
        let index = records.people(&once, &decisions, Bands::default());
        let (residents, changes) = last.renewed(counts, &hashes, &index.people);
        report.finish(&index, &keys, &names, changes);
        (Arc::new(residents), report)
    });
    // The message of a panic may hold a value.
    work.await.map_err(|_| anyhow::anyhow!("making the residents index ended in a panic"))
}

/// The days on which a living person can be born.
fn lifetimes() -> BTreeMap<String, DateRange> {
    let today = chrono::Utc::now().date_naive();
    let oldest = today.checked_sub_months(Months::new(125 * 12)).unwrap_or(today);
    BTreeMap::from([("born".to_owned(), (oldest, today))])
}

/// The records for the index.
#[derive(Default)]
struct RecordReading {
    records: Records,
    hashes: Vec<Hash>,
    /// The service and key of each record, for the review list.
    keys: Vec<(u16, Box<str>)>,
    seen: HashMap<Hash, usize>,
    /// Records under one key of one service. They are one person, however they are written.
    repeats: Vec<Decision>,
}

impl RecordReading {
    async fn service(&mut self, service: &Service, number: u16, last: &Residents) -> anyhow::Result<ServiceReport> {
        let intake = Arc::new(Intake::default());
        let helpers = Helpers { ranges: lifetimes(), ..Helpers::default() };
        let unread = Arc::clone(&helpers.unread);
        let mut batches = service.mapping.rows(&intake, helpers).await?.rows.execute_stream().await?;
        let mut report = ServiceReport::named(&service.name);
        while let Some(batch) = batches.next().await {
            let columns = Columns::of(&batch.map_err(cause)?)?;
            for row in 0..columns.rows {
                let key = columns.text(0, row);
                let record = columns.record(row, number);
                if key.trim().is_empty() {
                    report.without_key = report.without_key.saturating_add(1);
                    continue;
                }
                let hash = last.hash(&service.name, key);
                report.records = report.records.saturating_add(1);
                report.too_little = report.too_little.saturating_add(u64::from(says_little(&record)));
                let at = self.hashes.len();
                if let Some(earlier) = self.seen.insert(hash, at) {
                    self.repeats.push(Decision { one: earlier, other: at, same: true });
                }
                self.hashes.push(hash);
                self.keys.push((number, key.trim().into()));
                self.records.push(&record);
            }
        }
        report.sources = intake.report();
        report.unread = unread.report();
        Ok(report)
    }

    /// The place of the record of each service and key.
    fn places<'a>(&'a self, services: &'a [Service]) -> HashMap<(&'a str, &'a str), usize> {
        let name = |number: u16| services.get(usize::from(number)).map(|service| service.name.as_str());
        let named = self.keys.iter().enumerate().filter_map(|(at, (number, key))| Some(((name(*number)?, &**key), at)));
        named.collect()
    }
}

/// Whether only chance could join the record with another.
fn says_little(record: &Record) -> bool {
    let where_or_when = [&record.born, &record.postcode, &record.street].iter().any(|part| !part.is_empty());
    record.nhs.is_empty() && record.nino.is_empty() && (record.surname.is_empty() || !where_or_when)
}

/// The columns that a service's SELECT may give. The key is the first, and is required.
const COLUMNS: [&str; 10] = ["key", "given", "surname", "born", "number", "street", "town", "postcode", "nhs", "nino"];

/// The columns of a batch as text, in the order of [`COLUMNS`].
struct Columns {
    texts: Vec<Option<arrow::array::StringArray>>,
    rows: usize,
}

impl Columns {
    fn of(batch: &RecordBatch) -> anyhow::Result<Self> {
        let schema = batch.schema();
        let known = |name: &str| COLUMNS.contains(&name) || name.starts_with("__");
        if let Some(field) = schema.fields().iter().find(|field| !known(field.name())) {
            bail!("the SELECT gives '{}': write AS one of {}", field.name(), COLUMNS.join(", "));
        }
        if batch.column_by_name("key").is_none() {
            bail!("the SELECT gives no `key`: the service's own reference of the record, AS key");
        }
        let texts = COLUMNS.iter().map(|name| {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            Ok(Some(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()))
        });
        Ok(Self { texts: texts.collect::<anyhow::Result<_>>()?, rows: batch.num_rows() })
    }

    fn text(&self, column: usize, row: usize) -> &str {
        let texts = self.texts.get(column).and_then(Option::as_ref);
        texts.filter(|texts| texts.is_valid(row)).map_or("", |texts| texts.value(row))
    }

    fn record(&self, row: usize, service: u16) -> Record {
        let text = |column| self.text(column, row).to_owned();
        Record {
            service,
            given: text(1),
            surname: text(2),
            born: text(3),
            number: text(4),
            street: text(5),
            town: text(6),
            postcode: text(7),
            nhs: text(8),
            nino: text(9),
        }
    }
}
