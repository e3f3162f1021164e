//! Sources to which files are added and none is changed: sensor readings by week, payments by month.
//!
//! A new file's rows come beside those that a snapshot has already. The snapshot is always what a reading of all files that
//! are there would give: that is so where the mapping takes each file by itself, and nothing but new files has changed.
//! Otherwise everything is read again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail, ensure};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType};
use datafusion::logical_expr::{Expr, LogicalPlan};
use ring::digest;
use serde::{Deserialize, Serialize};

use crate::mapping::Mapping;
use crate::report::{EXAMPLES, Report};
use crate::residents;
use crate::snapshot::Snapshot;
use crate::source::{FILE, Source};

/// What the rows of a snapshot were read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReadFrom {
    /// A digest of everything else that they depend on: the mapping, its other sources, who is who, this program.
    basis: String,
    /// Of the source that appends, in the order in which they are read.
    files: Vec<Stamp>,
}

/// A file, and when it was written: equal where it has not changed since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    path: PathBuf,
    bytes: u64,
    written: Option<SystemTime>,
}

/// The stamps of those files that are there.
pub(crate) fn stamps(files: impl Iterator<Item = PathBuf>) -> Vec<Stamp> {
    let stamp = |path: PathBuf| {
        let about = std::fs::metadata(&path).ok()?;
        Some(Stamp { path, bytes: about.len(), written: about.modified().ok() })
    };
    files.filter_map(stamp).collect()
}

impl ReadFrom {
    /// What a mapping would be read from now; none where no source of it appends.
    ///
    /// # Errors
    /// Where files of the source cannot be told apart.
    pub(crate) fn now(mapping: &Mapping, state: &Path) -> anyhow::Result<Option<Self>> {
        let Some(source) = mapping.sources.iter().find(|source| source.appends) else { return Ok(None) };
        let files = source.files()?;
        let mut names = BTreeSet::new();
        for file in &files {
            let name = file.file_name().context("a file has no name")?;
            ensure!(
                names.insert(name),
                "source '{}': two files are called {}: rows are told by the names of their files",
                source.name,
                name.display()
            );
        }
        let others = mapping.sources.iter().filter(|source| !source.appends).filter_map(|source| source.files().ok());
        let residents = mapping.asks_for_residents().then(|| residents::path(state));
        let others = stamps(others.flatten().chain(residents));
        let basis = format!("{} {mapping:?} {others:?}", env!("CARGO_PKG_VERSION"));
        let basis = hex::encode(digest::digest(&digest::SHA256, basis.as_bytes()));
        Ok(Some(Self { basis, files: stamps(files.into_iter()) }))
    }

    /// The files that have come since a snapshot; none where something else has changed too.
    fn since(&self, earlier: &Self) -> Option<Vec<&Stamp>> {
        let unchanged = self.basis == earlier.basis && earlier.files.iter().all(|file| self.files.contains(file));
        // The first file says what the columns are.
        let unchanged = unchanged && self.files.first() == earlier.files.first();
        unchanged.then(|| self.files.iter().filter(|file| !earlier.files.contains(file)).collect())
    }

    /// The mapping over exactly these files, of which those of an earlier reading are passed over.
    pub(crate) fn pin(&self, mapping: &Mapping, earlier: Option<&Self>) -> Mapping {
        let paths = |files: &[Stamp]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        let mut pinned = mapping.clone();
        for source in pinned.sources.iter_mut().filter(|source| source.appends) {
            source.pin(paths(&self.files), earlier.map(|earlier| paths(&earlier.files)).unwrap_or_default());
        }
        pinned
    }
}

/// What is to be read.
pub(crate) enum Reading {
    /// Everything.
    Whole,
    /// New files, whose rows come beside those of the last snapshot.
    New(Snapshot, Report),
    /// Nothing has changed.
    Nothing(Snapshot, Report),
}

impl Reading {
    /// What has changed since the last good snapshot.
    pub(crate) fn since(now: &ReadFrom, last: Option<Snapshot>, report: Option<Report>) -> Self {
        let (Some(last), Some(report)) = (last, report) else { return Self::Whole };
        let new = last.read_from.as_ref().filter(|_| report.snapshot == Some(last.id)).and_then(|from| now.since(from));
        match new {
            None => Self::Whole,
            Some(new) if new.is_empty() => Self::Nothing(last, report),
            Some(_) => Self::New(last, report),
        }
    }
}

/// Refuses a mapping in which one file's rows depend on another's.
///
/// # Errors
/// Which step of the plan puts files together, and what to write instead.
pub(crate) fn ensure_file_by_file(plan: &LogicalPlan, source: &Source) -> anyhow::Result<()> {
    let mut scans = 0;
    plan.apply_with_subqueries(|node| {
        scans += usize::from(reads(node, &source.name));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let within = || format!("source '{}' appends: each of its files is mapped by itself", source.name);
    ensure!(scans == 1, "{}, and the SELECT reads it {scans} times: read it once, or leave out `appends`", within());
    origin(plan, &source.name).with_context(within)?;
    Ok(())
}

fn reads(node: &LogicalPlan, source: &str) -> bool {
    matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == source)
}

/// Follows the source up through a plan: the column that holds its rows' file, if it is still there.
fn origin(plan: &LogicalPlan, source: &str) -> anyhow::Result<Option<Column>> {
    if reads(plan, source) {
        return Ok(plan.schema().columns().into_iter().find(|column| column.name == FILE));
    }
    let inputs = plan.inputs();
    let mut below = None;
    for (place, input) in inputs.iter().enumerate() {
        if input.exists(|node| Ok(reads(node, source)))? {
            below = Some((place, origin(input, source)?));
        }
    }
    let Some((place, file)) = below else { bail!("it is read within an expression: join it instead") };
    let is_file =
        |expr: &Expr| file.as_ref().is_some_and(|file| matches!(expr, Expr::Column(column) if column == file));
    let kept = match plan {
        LogicalPlan::Projection(projection) => {
            let place = projection.expr.iter().position(|expr| match expr {
                Expr::Alias(alias) => is_file(&alias.expr),
                expr => is_file(expr),
            });
            place.and_then(|place| plan.schema().columns().into_iter().nth(place))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let place = file.as_ref().and_then(|file| alias.input.schema().maybe_index_of_column(file));
            place.and_then(|place| plan.schema().columns().into_iter().nth(place))
        }
        LogicalPlan::Filter(_) => file,
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => file,
        LogicalPlan::Join(join) => {
            let kept = match join.join_type {
                JoinType::Inner => true,
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => place == 0,
                JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => place == 1,
                _ => false,
            };
            ensure!(
                kept,
                "an outer join keeps rows for which no file has any: put the source on the side that is kept"
            );
            file
        }
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(is_file) => file,
        LogicalPlan::Window(window) if window.window_expr.iter().all(|expr| partitioned(expr, &is_file)) => file,
        LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(_) => {
            bail!("the SELECT combines rows of all files: put {FILE} among the columns of GROUP BY or PARTITION BY")
        }
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => bail!("LIMIT takes rows of all files: leave it out"),
        LogicalPlan::Union(_) => bail!("UNION would add the other rows with every file: join them instead"),
        other => bail!("the SELECT does with it what cannot be done by file ({})", other.display()),
    };
    Ok(kept)
}

fn partitioned(expr: &Expr, is_file: &impl Fn(&Expr) -> bool) -> bool {
    match expr {
        Expr::Alias(alias) => partitioned(&alias.expr, is_file),
        Expr::WindowFunction(window) => window.params.partition_by.iter().any(is_file),
        _ => false,
    }
}

impl Report {
    /// What was read of earlier files, to what was read of new ones.
    pub(crate) fn add(&mut self, earlier: &Self, mapping: &Mapping) {
        for (name, before) in &earlier.sources {
            let appends = mapping.sources.iter().any(|source| source.appends && source.name == *name);
            if let Some(now) = self.sources.get_mut(name).filter(|_| appends) {
                now.add(before);
            }
        }
        for (function, shapes) in &earlier.unread {
            let now = self.unread.entry(function.clone()).or_default();
            shapes.iter().for_each(|(shape, count)| *now.entry(shape.clone()).or_default() += count);
        }
        self.read = self.read.saturating_add(earlier.read);
        self.kept = self.kept.saturating_add(earlier.kept);
        for before in &earlier.rejected {
            match self.rejected.iter_mut().find(|now| now.column == before.column && now.reason == before.reason) {
                Some(now) => {
                    now.rows = now.rows.saturating_add(before.rows);
                    now.places = before.places.iter().chain(&now.places).take(EXAMPLES).cloned().collect();
                    before.codes.iter().for_each(|(code, rows)| *now.codes.entry(code.clone()).or_default() += rows);
                }
                None => self.rejected.push(before.clone()),
            }
        }
        self.rejected.sort_by_key(|rejected| std::cmp::Reverse(rejected.rows));
        for before in &earlier.columns {
            match self.columns.iter_mut().find(|now| now.name == before.name) {
                Some(now) => {
                    now.filled = now.filled.saturating_add(before.filled);
                    before.bands.iter().for_each(|(band, rows)| *now.bands.entry(band.clone()).or_default() += rows);
                }
                None => self.columns.push(before.clone()),
            }
        }
    }
}
