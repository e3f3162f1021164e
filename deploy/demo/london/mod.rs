//! A synthetic London: the records of 33 boroughs' systems, with the truth and known answers. No person in it exists.
//!
//! home → identity → moves → services → slips → dialect → outputs, with the answers beside them. `node` maps the
//! extracts back. A borough's files depend only on the seed, the scale and the borough's code, so boroughs are written
//! in parallel.

mod answers;
mod calendar;
mod columns;
mod dialect;
pub(crate) mod home;
mod identity;
pub(crate) mod moves;
mod names;
mod node;
mod outputs;
mod places;
pub(crate) mod services;
mod slips;
mod writing;

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use anyhow::Context;

pub use dialect::{Mapping, Source};
pub use home::{DEMO, SMALL};
pub use node::configuration;

use crate::boroughs::{BOROUGHS, Borough};
use crate::datasets::SYNTHETIC;
use answers::Tally;
use dialect::Dialect;
use home::{For, Home, Place, count_homes};
use moves::Visit;
use outputs::Files;
use services::{Scene, TABLES, Why};

/// The number of boroughs that are written at once.
const WORKERS: usize = 2;
/// The number of homes between two progress reports.
const STEP: u64 = 512;

/// The data to write.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// 1 is all of London, 8.8 million people. 0.0075 is the small demo, with 2,000 people in an average borough.
    pub scale: f64,
    /// Positions in the list of boroughs.
    pub boroughs: Vec<usize>,
    pub outputs: Outputs,
}

/// The outputs to write.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    pub extracts: bool,
    pub pooled: bool,
    pub truth: bool,
    pub answers: bool,
}

/// The amount of data written.
#[derive(Debug, Default)]
pub struct Summary {
    pub rows: Vec<(&'static str, u64)>,
    pub files: u64,
    /// Residents, each counted once, at home.
    pub people: u64,
}

/// For each service of a borough: the mapping that turns its extract back into canonical columns.
pub fn mappings(seed: u64, borough: &Borough) -> Vec<(&'static str, Mapping)> {
    let index = BOROUGHS.iter().position(|b| b.gss == borough.gss).unwrap_or_default();
    let of = |(number, table)| Dialect::of(seed, index, number, table).mapping();
    TABLES.iter().enumerate().map(|(number, table)| (table.name, of((number, table)))).collect()
}

/// Writes the plan's boroughs below `out`. `progress` gets the number of finished homes and of all homes.
///
/// # Errors
/// If a file cannot be written.
pub fn write(out: &Path, plan: &Plan, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Summary> {
    let visits = moves::visits(plan.seed, plan.scale);
    let all = plan.boroughs.iter().filter_map(|index| places::borough(*index));
    let all: u64 = all.map(|borough| count_homes(borough, plan.scale)).sum();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    let written = Mutex::new(Vec::new());
    let work = || {
        while let Some(index) = plan.boroughs.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let step = |homes| progress(done.fetch_add(homes, Ordering::Relaxed) + homes, all);
            let visits = visits.get(index).map_or(&[][..], Vec::as_slice);
            let result = write_borough(out, plan, index, visits, &step)
                .with_context(|| format!("cannot write {}", places::gss(index)));
            written.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    let mut written = written.into_inner().unwrap_or_else(PoisonError::into_inner);
    written.sort_by_key(|(index, _)| *index);
    let mut summary = Summary { rows: TABLES.iter().map(|table| (table.name, 0)).collect(), ..Summary::default() };
    let mut tallies = Vec::new();
    for (index, result) in written {
        let (tally, rows, files, people) = result?;
        summary.rows.iter_mut().zip(rows).for_each(|((_, sum), rows)| *sum += rows);
        summary.files += files;
        summary.people += people;
        tallies.push((index, tally));
    }
    if plan.outputs.extracts {
        write_configurations(out, plan)?;
    }
    if plan.outputs.answers {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let answers = serde_json::to_string_pretty(&answers::json(plan.seed, plan.scale, &tallies))?;
        std::fs::write(out.join("answers.json"), answers + "\n").context("cannot write answers.json")?;
        summary.files += 1;
    }
    Ok(summary)
}

/// Writes a node.toml beside each borough's extracts, and the contracts that it names.
fn write_configurations(out: &Path, plan: &Plan) -> anyhow::Result<()> {
    let contracts = out.join("contracts");
    std::fs::create_dir_all(&contracts).with_context(|| format!("cannot make {}", contracts.display()))?;
    for dataset in &SYNTHETIC {
        std::fs::write(contracts.join(format!("{}.toml", dataset.name)), dataset.contract)?;
    }
    for borough in plan.boroughs.iter().filter_map(|index| places::borough(*index)) {
        let file = out.join("extracts").join(borough.gss).join("node.toml");
        std::fs::write(&file, configuration(plan.seed, borough)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// A borough's tally, rows by service, files and people.
type Written = (Tally, Vec<u64>, u64, u64);

fn write_borough(
    out: &Path,
    plan: &Plan,
    index: usize,
    visits: &[Visit],
    progress: &dyn Fn(u64),
) -> anyhow::Result<Written> {
    let borough = places::borough(index).context("no such borough")?;
    let mut files = Files::create(out, plan.seed, index, plan.outputs)?;
    let mut tally = Tally::default();
    let wrong_discounts = Place::of(plan.seed, index, 0).stream(For::Borough).between(30, 60);
    let mut enact = |home: &Home, why, lodging: Option<&Home>| -> anyhow::Result<()> {
        let scene = Scene { seed: plan.seed, index, home, why, lodging, wrong_discounts };
        for (number, table) in TABLES.iter().enumerate() {
            for row in services::rows(number, table, &scene, &mut tally) {
                files.record(number, row)?;
            }
        }
        Ok(())
    };
    let homes = count_homes(borough, plan.scale);
    let mut people = 0;
    for number in 0..homes {
        let home = Home::at(Place::of(plan.seed, index, number), borough);
        people += home.people().count() as u64;
        enact(&home, Why::Resident { gone: moves::gone(&home, plan.scale) }, None)?;
        if (number + 1) % STEP == 0 {
            progress(STEP);
        }
    }
    progress(homes % STEP);
    let before = places::borough((index + BOROUGHS.len() - 1) % BOROUGHS.len());
    for number in 0..before.map_or(0, |b| count_homes(b, plan.scale)) {
        if let Some(home) = moves::arrived(plan.seed, index, borough, plan.scale, number) {
            enact(&home, Why::Arrived, None)?;
        }
    }
    for visit in visits {
        let from = places::borough(visit.from).context("no such borough")?;
        let home = Home::at(Place::of(plan.seed, visit.from, visit.home), from);
        if home.households.is_empty() {
            continue;
        }
        // The address in this borough that its records give.
        let lodging = home.place.stream_of(For::Address, 1 + index as u64).below(homes);
        let lodging = Home::at(Place::of(plan.seed, index, lodging), borough);
        enact(&home, Why::Visit(visit.purpose), Some(&lodging))?;
    }
    let count = files.count;
    Ok((tally, files.finish()?, count, people))
}
