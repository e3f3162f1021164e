//! Merges borough cells into the cells of the question.
//!
//! A cell of one borough is that borough's released value. A cell of several boroughs is the sum of their released
//! values, with the number of boroughs that it lacks.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use loda_contract::Value;
use loda_identity::Gss;
use loda_question::Predicate;
use loda_question::table::CellFigure;

use crate::nodes::dispatch::Answer;
use crate::plan::federated_aggregate::{FederatedAggregate, Output, OutputKey};
use crate::plan::federated_node::Federated;
use crate::result::cell_group::Group;
use crate::result::coverage::Coverage;
use crate::result::derived_statistics;
use crate::result::figure_errors::{self, StandardError};
use crate::result::output_columns;

/// One part after the merge.
pub(crate) struct MergedPart {
    pub(crate) batch: RecordBatch,
    /// The number of values that the answering boroughs could release, and how many of them each withholds.
    pub(crate) values: u64,
    pub(crate) withheld: BTreeMap<Gss, u64>,
    /// The number of values that boroughs released in part and that are not good enough to be told.
    pub(crate) unfit: u64,
    pub(crate) lacks: Vec<Lack>,
    /// Whether a figure adds up cells while others of its cells are not released, and whether a figure holds estimates.
    pub(crate) in_part: bool,
    pub(crate) estimated: bool,
    /// Whether a borough's data do not reach a figure.
    pub(crate) no_data: bool,
    /// For each perturbed output.
    pub(crate) errors: Vec<Option<StandardError>>,
    /// For each output that is a quantile: the edges of the bins in which it lies, one pair for each row.
    pub(crate) bins: Vec<(usize, Vec<(f64, f64)>)>,
    /// Withheld groups are not listed, because a key is open.
    pub(crate) open: bool,
}

/// A figure over several boroughs that lacks cells.
pub(crate) struct Lack {
    pub(crate) cell: Vec<Value>,
    pub(crate) output: usize,
    pub(crate) withheld: u32,
    pub(crate) refused: u32,
    pub(crate) no_answer: u32,
    pub(crate) no_data: u32,
}

/// All cells of a grid, in order.
type Grid = Arc<Vec<Vec<Value>>>;

/// Merges the answers of one part. An answer that does not fit its question becomes `Answer::None`.
///
/// # Errors
/// If figures or columns do not fit their types.
pub(crate) fn merge(
    part: &FederatedAggregate,
    leaf: &Federated,
    answers: &mut BTreeMap<Gss, Answer>,
) -> anyhow::Result<MergedPart> {
    let figures = part.measures.len();
    let sparse = is_sparse(part, answers);
    let mut groups: BTreeMap<Vec<Value>, Group> = BTreeMap::new();
    // The same without the estimates of single cells, for figures that cannot have them all.
    let mut strict: BTreeMap<Vec<Value>, Group> = BTreeMap::new();
    let (mut values, mut withheld) = (0_u64, BTreeMap::new());
    let mut grids: BTreeMap<Vec<u8>, Option<Grid>> = BTreeMap::new();
    let mut without_data: Vec<Gap> = Vec::new();
    for (gss, question) in &part.questions {
        let (Some(question), Some(answer)) = (question, answers.get_mut(gss)) else { continue };
        let grid = grids.entry(question.encode()).or_insert_with(|| question.cells().map(Arc::new)).clone();
        // By period, only periods that a borough has closed exist, and the answers hold all their cells.
        let grid = if sparse || part.is_by_period() { None } else { grid };
        if let Some(fault) = misfit(answer, sparse, grid.as_ref()) {
            tracing::warn!(borough = %gss, "an answer is dropped: {fault}");
            *answer = Answer::None;
        }
        // A figure whose condition cannot hold here (it names another borough) is empty by logic and lacks nothing.
        let figures_here = question.draft().figures.iter();
        let empty: Vec<bool> = figures_here.map(|f| f.condition == Some(Predicate::Constant(Some(false)))).collect();
        let (mut cells, mut known) = match answer {
            Answer::Cells { cells, known, .. } => (std::mem::take(cells), std::mem::take(known)),
            Answer::Table { .. } | Answer::Refused(_) | Answer::None => Default::default(),
            Answer::NotAsked => continue,
        };
        let answered = matches!(answer, Answer::Cells { .. });
        let coverage = Coverage::of(question, answer);
        if answered {
            let of = grid.as_ref().map_or(cells.len(), |g| g.len()) as u64;
            let lacking = coverage.as_ref().zip(grid.as_ref()).map_or(0, |(coverage, grid)| {
                let unreached = |cell: &Vec<Value>| {
                    (0..figures).filter(|f| coverage.beyond(cell, *f, &part.combined).is_some()).count()
                };
                grid.iter().map(unreached).sum::<usize>() as u64
            });
            let possible = of.saturating_mul(figures as u64).saturating_sub(lacking);
            let released = cells.values().flatten().flatten().count() as u64;
            values = values.saturating_add(possible);
            if !sparse {
                withheld.insert(gss.clone(), possible.saturating_sub(released));
            }
            for bins in part.outputs.iter().filter_map(derived_statistics::bins) {
                for (cell, row) in &mut cells {
                    let filled = derived_statistics::complete(bins, row);
                    for figure in known.get_mut(cell).into_iter().flat_map(|known| known.iter_mut().enumerate()) {
                        if filled.contains(&figure.0) {
                            *figure.1 = CellFigure::default();
                        }
                    }
                }
            }
        }
        if let Some(grid) = &grid {
            for cell in grid.iter() {
                cells.entry(cell.clone()).or_insert_with(|| vec![None; figures]);
            }
        }
        let gap = coverage.as_ref().filter(|_| grid.is_none());
        let mut told: BTreeSet<Vec<Value>> = BTreeSet::new();
        for (of_node, row) in cells {
            let known = known.get(&of_node).map_or(&[][..], Vec::as_slice);
            let cell = part.output_cell(gss, &of_node);
            let beyond = |figure: usize| coverage.as_ref()?.beyond(&of_node, figure, &part.combined);
            if gap.is_some() {
                told.insert(cell.clone());
            }
            for (groups, alone) in [(&mut groups, true), (&mut strict, false)] {
                if !alone && part.combined.is_empty() {
                    continue;
                }
                let group = groups.entry(cell.clone()).or_insert_with(|| Group::of(figures));
                let (row, known) = together(&part.combined, &row, known, sparse, &empty, alone);
                group.add(answer, &row, &known, sparse, &empty, &beyond)?;
            }
        }
        if gap.is_some() {
            without_data.extend(coverage.map(|coverage| Gap { gss: gss.clone(), coverage, told }));
        }
    }
    if part.keys.is_empty() && groups.is_empty() {
        // Without GROUP BY there is one row, even if no borough has a record.
        groups.insert(Vec::new(), Group::of(figures));
    }
    for groups in [&mut groups, &mut strict] {
        add_without_data(part, &without_data, groups);
        add_missing(part, answers, sparse, groups);
    }
    for (cell, group) in &mut groups {
        group.settle(&part.measures)?;
        let Some(mut strict) = strict.remove(cell) else { continue };
        strict.settle(&part.measures)?;
        group.reconcile(&part.combined, &strict);
    }
    let unfit = groups.values().flat_map(|group| &group.figures).map(|figure| u64::from(figure.unfit)).sum();
    let lacks = lacks(part, &groups);
    // For data about people, the boroughs list the possible groups.
    let open = !sparse && part.lowered.is_empty() && part.questions.values().flatten().any(|q| q.grid().is_none());
    let missing = missing_cells(part, answers, sparse, open);
    let batch = output_columns::batch(part, leaf, &groups, sparse, missing)?;
    let in_part = groups.values().any(|group| part.outputs.iter().any(|output| group.in_part(output) > 0));
    let estimated = groups.values().any(|group| part.outputs.iter().any(|output| group.estimated(output).is_some()));
    let no_data = groups.values().flat_map(|group| &group.figures).any(|figure| figure.no_data > 0);
    let errors = part.outputs.iter().map(|output| figure_errors::error(part, output, &groups)).collect();
    let of_output = |(place, output): (usize, &Output)| {
        let Output::Quantile(bins) = output else { return None };
        let of_group = |group: &Group| derived_statistics::bin(bins, &|figure| group.figures.get(figure)?.sum);
        Some((place, groups.values().filter_map(of_group).collect()))
    };
    let bins = part.outputs.iter().enumerate().filter_map(of_output).collect();
    Ok(MergedPart { batch, values, withheld, lacks, in_part, estimated, no_data, errors, bins, unfit, open })
}

/// One borough's figures of a cell, without those that are combined with one that it did not release in full. `alone`:
/// the estimate of a single withheld cell counts as released.
fn together<'a>(
    combined: &[BTreeSet<usize>],
    row: &'a [Option<i128>],
    known: &'a [CellFigure],
    sparse: bool,
    empty: &[bool],
    alone: bool,
) -> (Cow<'a, [Option<i128>]>, Cow<'a, [CellFigure]>) {
    let (mut row, mut known) = (Cow::Borrowed(row), Cow::Borrowed(known));
    let lacks = |row: &[Option<i128>], known: &[CellFigure], figure: usize| {
        let of = known.get(figure).copied().unwrap_or_default();
        let none = row.get(figure).copied().flatten().is_none();
        let nothing = sparse || empty.get(figure).copied().unwrap_or(false);
        of.lacks || (none && !nothing && (!alone || of.estimate.is_none()))
    };
    for set in combined {
        if !set.iter().any(|figure| lacks(&row, &known, *figure)) {
            continue;
        }
        for figure in set {
            if let Some(value) = row.to_mut().get_mut(*figure) {
                *value = None;
            }
            if let Some(figure) = known.to_mut().get_mut(*figure) {
                *figure = CellFigure::default();
            }
        }
    }
    (row, known)
}

/// Whether a cell absent from an answer is empty, not withheld. True for published data, and if no node protects its
/// answer.
fn is_sparse(part: &FederatedAggregate, answers: &BTreeMap<Gss, Answer>) -> bool {
    let mut dense = answers.values().filter_map(|answer| match answer {
        Answer::Cells { header, .. } => Some(header.dense),
        _ => None,
    });
    part.scope.protection.is_public() || dense.next().is_some_and(|first| !first && dense.all(|other| !other))
}

/// The reason why an answer does not fit its question. An absent cell must mean the same in all answers: otherwise one
/// borough would decide it for all.
fn misfit(answer: &Answer, sparse: bool, grid: Option<&Grid>) -> Option<&'static str> {
    let Answer::Cells { header, cells, .. } = answer else { return None };
    if header.dense == sparse {
        return Some("it says otherwise than the contract what an absent cell is");
    }
    let outside = grid.is_some_and(|grid| cells.keys().any(|cell| grid.binary_search(cell).is_err()));
    outside.then_some("it has a cell outside the grid")
}

/// Why cells may be missing that nothing names.
fn missing_cells(
    part: &FederatedAggregate,
    answers: &BTreeMap<Gss, Answer>,
    sparse: bool,
    open: bool,
) -> Option<&'static str> {
    let silent = answers.values().any(|answer| matches!(answer, Answer::Refused(_) | Answer::None));
    match open {
        true => Some("may lack groups that are withheld and not listed"),
        false if silent && (sparse || !is_enumerable(part)) => Some("lacks groups of boroughs that did not answer"),
        false => None,
    }
}

/// Whether the question itself says which cells there are.
fn is_enumerable(part: &FederatedAggregate) -> bool {
    part.questions.values().flatten().all(|q| q.grid().is_some()) && !part.is_by_period()
}

/// A borough whose data do not reach every cell, and the cells that it told.
struct Gap {
    gss: Gss,
    coverage: Coverage,
    told: BTreeSet<Vec<Value>>,
}

/// A cell that a borough does not tell is not empty there if the borough's data do not reach it.
fn add_without_data(part: &FederatedAggregate, gaps: &[Gap], groups: &mut BTreeMap<Vec<Value>, Group>) {
    for gap in gaps {
        for (cell, group) in groups.iter_mut().filter(|(cell, _)| !gap.told.contains(*cell)) {
            if !part.is_of(&gap.gss, cell) {
                continue;
            }
            let of_node = part.node_cell(cell);
            group.add_untold(&|figure| gap.coverage.beyond(&of_node, figure, &part.combined));
        }
    }
}

/// A missing borough is missing from every London figure, even if nothing says which cells it would have had.
fn add_missing(
    part: &FederatedAggregate,
    answers: &BTreeMap<Gss, Answer>,
    sparse: bool,
    groups: &mut BTreeMap<Vec<Value>, Group>,
) {
    if !sparse && is_enumerable(part) {
        return;
    }
    let asked: Vec<&Gss> = part.questions.iter().filter(|(_, q)| q.is_some()).map(|(gss, _)| gss).collect();
    for (cell, group) in groups {
        for gss in &asked {
            if !part.is_of(gss, cell) {
                continue;
            }
            match answers.get(gss) {
                Some(Answer::Refused(_)) => group.refused += 1,
                Some(Answer::None) | None => group.no_answer += 1,
                _ => continue,
            }
            group.boroughs += 1;
        }
        let of_cell = u32::try_from(asked.iter().filter(|gss| part.is_of(gss, cell)).count()).unwrap_or(u32::MAX);
        if sparse {
            group.idle = of_cell.saturating_sub(group.boroughs);
        } else if part.lowered.is_empty() {
            // An open key: a borough that does not name this group either withholds it or has no such group. The two
            // cannot be told apart.
            let silent = of_cell.saturating_sub(group.boroughs);
            group.figures.iter_mut().for_each(|figure| figure.withheld += silent);
        }
        if sparse || part.lowered.is_empty() {
            group.boroughs = of_cell.max(group.boroughs);
        }
    }
}

impl FederatedAggregate {
    fn output_cell(&self, gss: &Gss, cell: &[Value]) -> Vec<Value> {
        self.keys
            .iter()
            .map(|key| match key {
                OutputKey::Borough(values) => values.get(gss).cloned().unwrap_or(Value::Null),
                OutputKey::Node { index, .. } => cell.get(*index).cloned().unwrap_or(Value::Null),
            })
            .collect()
    }

    /// The keys of the node's cells in an output cell.
    fn node_cell(&self, cell: &[Value]) -> Vec<Value> {
        let mut of_node: BTreeMap<usize, Value> = BTreeMap::new();
        for (key, value) in self.keys.iter().zip(cell) {
            if let OutputKey::Node { index, .. } = key {
                of_node.insert(*index, value.clone());
            }
        }
        let last = of_node.keys().next_back().map_or(0, |last| last.saturating_add(1));
        (0..last).map(|index| of_node.remove(&index).unwrap_or(Value::Null)).collect()
    }

    /// Whether a borough contributes to an output cell.
    fn is_of(&self, gss: &Gss, cell: &[Value]) -> bool {
        self.keys.iter().zip(cell).all(|(key, value)| match key {
            OutputKey::Borough(values) => values.get(gss) == Some(value),
            OutputKey::Node { .. } => true,
        })
    }
}

fn lacks(part: &FederatedAggregate, groups: &BTreeMap<Vec<Value>, Group>) -> Vec<Lack> {
    let mut lacks = Vec::new();
    for (cell, group) in groups.iter().filter(|(_, g)| g.boroughs > 1) {
        for (output, of) in part.outputs.iter().enumerate() {
            let lack = Lack {
                cell: cell.clone(),
                output,
                withheld: group.lack(of),
                refused: group.refused,
                no_answer: group.no_answer,
                no_data: group.no_data(of),
            };
            if lack.total() > 0 {
                lacks.push(lack);
            }
        }
    }
    lacks.sort_by_key(|lack| std::cmp::Reverse(lack.total()));
    lacks
}

impl Lack {
    fn total(&self) -> u32 {
        self.withheld.saturating_add(self.refused).saturating_add(self.no_answer).saturating_add(self.no_data)
    }
}

#[cfg(test)]
mod tests {
    use loda_proto::v1::ReleasedHeader;

    use super::*;
    use crate::nodes::decode_cells::ReleasedCells;

    #[test]
    fn an_answer_that_contradicts_its_question_is_none() {
        let cell = |text: &str| vec![Value::Text(text.into())];
        let answer = |dense: bool, of: &str| Answer::Cells {
            header: ReleasedHeader { dense, ..Default::default() },
            cells: ReleasedCells::from([(cell(of), vec![Some(12)])]),
            known: BTreeMap::new(),
        };
        let grid: Grid = Arc::new(vec![cell("a"), cell("b")]);
        assert_eq!(misfit(&answer(true, "a"), false, Some(&grid)), None);
        assert!(misfit(&answer(true, "c"), false, Some(&grid)).is_some());
        // A borough that calls its withheld cells empty affects only its own answer.
        assert!(misfit(&answer(false, "a"), false, Some(&grid)).is_some());
        assert!(misfit(&answer(true, "a"), true, None).is_some());
        assert_eq!(misfit(&answer(false, "c"), true, None), None);
        assert_eq!(misfit(&Answer::None, false, Some(&grid)), None);
    }
}
