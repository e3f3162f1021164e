//! `loda-node assess`: how much an unlimited asker would learn about people from a dataset, before it is opened.
//!
//! Every table that contracts would allow is released from the node's own snapshots, with throwaway noise, and attacked
//! (`loda-assessment`). The results are kept beside the snapshots. The node then answers no larger tables than were
//! found good, unless the configuration has a decision of the steward.
//!
//! | module | content |
//! |---|---|
//! | `closure` | the columns of a register or of rows, and the tables at each number of dimensions |
//! | `people` | the class numbers of each record in these columns |
//! | `kept` | the results, as they are kept and believed |
//! | `report` | the results in words, for readers who are no statisticians |

mod closure;
mod kept;
mod people;
mod report;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use chrono::NaiveDate;
use loda_assessment::known::everything_known;
use loda_assessment::{Attack, AttackScores, Attribute, Rules, attack};
use loda_contract::Contract;
use loda_ledger::{Entry, Head, Log, LogError};
use loda_question::table::{ColumnRef, RowDomain};

use crate::config::Config;
use crate::epochs::{Epochs, Openings, Restated, Surroundings};
use crate::snapshot::{self, Snapshot};
use crate::tables::Tables;

use closure::DIMENSIONS;
use kept::{AssessedColumn, Assessment};
pub(crate) use kept::{Believed, rests_on};
use people::Whom;
pub(crate) use report::Standing;

/// A gain of more points than this is too much. The gain is counted from the guess without data.
const MARGIN: f64 = 15.0;

/// The request of [`assess`].
pub(crate) struct Request<'a> {
    pub(crate) config: &'a Config,
    pub(crate) dataset: &'a str,
    /// One column to assess. `None`: all columns.
    pub(crate) column: Option<&'a str>,
    /// The day until which the data are served.
    pub(crate) until: NaiveDate,
    pub(crate) today: NaiveDate,
}

/// If a gain is greater than this, larger tables are not assessed: they tell even more.
const FAR: f64 = 2.0 * MARGIN;

/// One attribute of one row domain, with the tables for each number of dimensions.
struct Job<'a> {
    people: &'a people::People,
    attribute: usize,
    sizes: Vec<(u32, loda_assessment::Tables)>,
}

impl Job<'_> {
    /// The approximate work, in records times tables.
    fn work(&self) -> f64 {
        self.sizes.iter().map(|(_, tables)| self.work_of(tables)).sum()
    }

    fn work_of(&self, tables: &loda_assessment::Tables) -> f64 {
        tables.0.len().min(80).saturating_mul(self.people.population.records).max(1) as f64
    }
}

/// Assesses a dataset. `told` gets the share that is done.
///
/// # Errors
/// A contract or a snapshot cannot be read, nothing has been read yet, or the dataset has no column about people.
pub(crate) fn assess(request: &Request<'_>, told: &(dyn Fn(f64) + Sync)) -> anyhow::Result<Assessment> {
    let Request { config, dataset, column, until, today } = request;
    let snapshots = served(config, *today)?;
    let snapshot = snapshots.iter().find(|s| s.contract.dataset == *dataset);
    let snapshot = snapshot.with_context(|| {
        format!("nothing has been read of '{dataset}' yet: run `loda-node --ingest-only --config …` first")
    })?;
    let contract = &snapshot.contract;
    ensure!(contract.protection.may_be_about_people(), "'{dataset}' is not about people: there is nothing to assess");
    let epochs = epochs(contract, *today, *until);
    let tables = Tables::new(1);
    let mut all = Vec::new();
    for domain in closure::domains(contract) {
        for whom in [Whom::Held, Whom::All] {
            all.extend(people::read(&tables, domain.clone(), whom, contract, &snapshots)?);
        }
    }
    let mut jobs = Vec::new();
    for people in &all {
        for (attribute, reference) in people.attributes(contract, *column) {
            let sizes = DIMENSIONS.map(|dimensions| {
                let contracts = closure::at(&snapshots, dimensions);
                let of = |name: &str| contracts.get(name).cloned();
                (dimensions, closure::tables(&people.domain, reference, &people.columns, &of))
            });
            let sizes: Vec<_> = sizes.filter(|(_, tables)| !tables.0.is_empty()).collect();
            if !sizes.is_empty() {
                jobs.push(Job { people, attribute, sizes });
            }
        }
    }
    ensure!(
        !jobs.is_empty(),
        "'{dataset}' has no column that tells of people{}",
        match column {
            Some(column) => format!(" by the name '{column}'"),
            None => String::new(),
        }
    );
    // The largest jobs come first, so no thread is left alone with a large one at the end.
    jobs.sort_by(|a, b| b.work().total_cmp(&a.work()));
    let lines = run(&jobs, config, contract, epochs, told)?;
    let (rows, units) = (snapshot.rows()?, all.first().map_or(0, |people| people.population.records as u64));
    Ok(Assessment {
        dataset: (*dataset).to_owned(),
        rests_on: rests_on(contracts(config)?.iter().map(AsRef::as_ref), &config.perturbation),
        made: *today,
        units: units.div_ceil(1_000).saturating_mul(1_000),
        rows: rows.div_ceil(1_000).saturating_mul(1_000),
        until: *until,
        epochs,
        threshold: contract.closure.threshold,
        margin: MARGIN,
        lines,
    })
}

/// Runs the jobs on all cores, at most eight.
fn run(
    jobs: &[Job<'_>],
    config: &Config,
    contract: &Contract,
    epochs: u32,
    told: &(dyn Fn(f64) + Sync),
) -> anyhow::Result<Vec<AssessedColumn>> {
    let noise = config.perturbation.table().context("[perturbation]")?;
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<AssessedColumn>> = Mutex::default();
    let all: f64 = jobs.iter().map(Job::work).sum();
    let done: Mutex<BTreeMap<usize, f64>> = Mutex::default();
    let say = |number: usize, work: f64| {
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(number, work);
        told(done.values().sum::<f64>() / all);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((number, job)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(number).map(|job| (number, job))
                } {
                    let by_period = matches!(job.people.domain, RowDomain::Rows(_)) && contract.period().is_some();
                    let epochs = if by_period { 1 } else { epochs };
                    let rules =
                        Rules { noise: &noise, threshold: contract.closure.threshold, epochs, sums: job.people.sums };
                    let mut before = 0.0;
                    for (dimensions, tables) in &job.sizes {
                        let work = job.work_of(tables);
                        let of = Attack { population: &job.people.population, tables, rules, seed: 1 };
                        let said = attack(&of, Attribute(job.attribute), &mut |share| {
                            say(number, before + share * work);
                            true
                        });
                        before += work;
                        let Some(said) = said else { continue };
                        let line = line(job, *dimensions, &said, epochs, noise.summary().variance);
                        let far = line.gain() > FAR;
                        found.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                        if far {
                            break;
                        }
                    }
                    say(number, job.work());
                }
            });
        }
    });
    let mut lines = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    lines.sort_by(|a, b| (&a.domain, &a.column, a.dimensions).cmp(&(&b.domain, &b.column, b.dimensions)));
    Ok(lines)
}

fn line(job: &Job<'_>, dimensions: u32, found: &AttackScores, epochs: u32, variance: f64) -> AssessedColumn {
    let (moved, most) = job.people.moved(job.attribute);
    let figures = found.figures * f64::from(epochs) * (1.0 + job.people.sums);
    AssessedColumn {
        domain: job.people.domain.table_name(),
        column: job.people.columns.get(job.attribute).map(ColumnRef::to_string).unwrap_or_default(),
        dimensions,
        chance: found.chance,
        asking: found.asking,
        typical: found.typical,
        exposed: found.exposed,
        luck: found.luck,
        alone: found.alone,
        figures,
        moved,
        most,
        everything: 100.0 * everything_known(moved, figures, variance),
    }
}

/// How often the same people are released with other noise from `today` until `until`, at most 64 times.
fn epochs(contract: &Contract, today: NaiveDate, until: NaiveDate) -> u32 {
    let (mut epochs, mut day) = (1, today);
    while let Some(next) = Some(crate::epochs::end(contract.closure.epoch, day)).filter(|next| *next <= until) {
        epochs += 1;
        day = next;
        if epochs >= 64 {
            break;
        }
    }
    epochs
}

fn contracts(config: &Config) -> anyhow::Result<Vec<Arc<Contract>>> {
    config.datasets.iter().map(|dataset| Ok(Arc::new(Contract::load(&dataset.contract)?))).collect()
}

/// The newest snapshot of each dataset about people, as an epoch that opened now would serve it.
fn served(config: &Config, today: NaiveDate) -> anyhow::Result<Vec<Snapshot>> {
    let contracts = contracts(config)?;
    let published = contracts.iter().filter(|contract| contract.protection.is_public()).cloned().collect();
    let epochs = Epochs::open(
        &config.state,
        Surroundings {
            on: false,
            published,
            opened: Openings::default(),
            log: Arc::new(NoLog),
            method: String::new(),
            secret: String::new(),
        },
    )?;
    let mut snapshots = Vec::new();
    for contract in contracts.iter().filter(|contract| contract.protection.may_be_about_people()) {
        let Some(newest) = snapshot::newest(&config.state, contract)? else { continue };
        snapshots.extend(epochs.served(contract, Some(newest), &Restated::default(), today)?);
    }
    Ok(snapshots)
}

/// An assessment opens no epoch, and writes nothing to the log.
struct NoLog;

impl Log for NoLog {
    fn append_all(&self, _entries: &[Entry]) -> Result<u64, LogError> {
        Err(LogError::Stopped)
    }

    fn head(&self, _at: u64) -> Head {
        Head::default()
    }
}
