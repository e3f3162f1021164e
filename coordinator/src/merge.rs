//! Borough cells to the cells of the question.
//!
//! A cell of one borough is that borough's released value. A cell of several is the sum of their released
//! values, and says how many it lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use loda_contract::{ColumnType, Value};
use loda_identity::Gss;
use loda_question::plan::{Reading, arrow_type, value_scalar};
use loda_question::{Measure, Predicate};

use crate::derived;
use crate::dispatch::Answer;
use crate::federated::Federated;
use crate::part::{Output, OutputKey, Part};

/// One part after the merge.
pub(crate) struct MergedPart {
    pub(crate) batch: RecordBatch,
    /// Values of boroughs that answered: how many there could be, and how many are withheld.
    pub(crate) values: u64,
    pub(crate) withheld: BTreeMap<Gss, u64>,
    pub(crate) lacks: Vec<Lack>,
    /// Whether some figure adds up cells of which others are not released.
    pub(crate) in_part: bool,
    /// Groups that did not pass are not listed: a key is open.
    pub(crate) open: bool,
}

/// A London figure that lacks cells.
pub(crate) struct Lack {
    pub(crate) cell: Vec<Value>,
    pub(crate) output: usize,
    pub(crate) withheld: u32,
    pub(crate) refused: u32,
    pub(crate) no_answer: u32,
}

/// How a row says that a figure is the sum of released cells, and that others of its cells are not released.
pub(crate) const IN_PART: &str = "in part";

/// Every cell of a grid, in order.
type Grid = Arc<Vec<Vec<Value>>>;

/// What one output cell is made of.
#[derive(Clone, Default)]
struct Group {
    boroughs: u32,
    /// Boroughs whose cells are in it.
    answered: u32,
    /// Boroughs that answered and have no record of it.
    idle: u32,
    sums: Vec<Option<i128>>,
    /// For each figure of the node, how many boroughs withheld it.
    withheld: Vec<u32>,
    /// For each figure of the node, in how many boroughs it lacks cells.
    partial: Vec<u32>,
    refused: u32,
    no_answer: u32,
}

/// Merges the answers of one part. One that does not fit what was asked becomes none.
///
/// # Errors
/// Where figures or columns do not fit their types.
pub(crate) fn merge(part: &Part, leaf: &Federated, answers: &mut BTreeMap<Gss, Answer>) -> anyhow::Result<MergedPart> {
    let figures = part.measures.len();
    let sparse = is_sparse(part, answers);
    let mut groups: BTreeMap<Vec<Value>, Group> = BTreeMap::new();
    let (mut values, mut withheld) = (0_u64, BTreeMap::new());
    let mut grids: BTreeMap<Vec<u8>, Option<Grid>> = BTreeMap::new();
    for (gss, question) in &part.questions {
        let (Some(question), Some(answer)) = (question, answers.get_mut(gss)) else { continue };
        let grid = grids.entry(question.encode()).or_insert_with(|| question.cells().map(Arc::new)).clone();
        // Of periods, those that are closed somewhere: their cells are all there.
        let grid = if sparse || part.is_by_period() { None } else { grid };
        if let Some(fault) = misfit(answer, sparse, grid.as_ref()) {
            tracing::warn!(borough = %gss, "an answer is dropped: {fault}");
            *answer = Answer::None;
        }
        // A figure whose condition cannot hold here (another borough's) is empty by logic: it lacks nothing.
        let figures_here = question.draft().figures.iter();
        let empty: Vec<bool> = figures_here.map(|f| f.condition == Some(Predicate::Constant(Some(false)))).collect();
        let (mut cells, partial) = match answer {
            Answer::Cells { cells, partial, .. } => (std::mem::take(cells), std::mem::take(partial)),
            Answer::Table { .. } | Answer::Refused(_) | Answer::None => Default::default(),
            Answer::NotAsked => continue,
        };
        let answered = matches!(answer, Answer::Cells { .. });
        if answered {
            let of = grid.as_ref().map_or(cells.len(), |g| g.len()) as u64;
            let possible = of.saturating_mul(figures as u64);
            let released = cells.values().flatten().flatten().count() as u64;
            values = values.saturating_add(possible);
            if !sparse {
                withheld.insert(gss.clone(), possible.saturating_sub(released));
            }
            for bins in part.outputs.iter().filter_map(derived::bins) {
                cells.values_mut().for_each(|row| derived::complete(bins, row));
            }
        }
        if let Some(grid) = &grid {
            for cell in grid.iter() {
                cells.entry(cell.clone()).or_insert_with(|| vec![None; figures]);
            }
        }
        for (cell, row) in cells {
            let group = groups.entry(part.output_cell(gss, &cell)).or_default();
            group.add(figures, answer, &row, sparse, &empty)?;
            for (place, count) in group.partial.iter_mut().enumerate() {
                *count += u32::from(partial.contains(&(cell.clone(), place)));
            }
        }
    }
    if part.keys.is_empty() && groups.is_empty() {
        // Without GROUP BY there is one row, also where nobody has a record.
        groups.insert(Vec::new(), Group { sums: vec![None; figures], ..Group::default() });
    }
    add_missing(part, answers, sparse, figures, &mut groups);
    let lacks = lacks(part, &groups);
    let batch = batch(part, leaf, &groups, sparse)?;
    // Of people boroughs say which groups there could be.
    let open = !sparse && part.lowered.is_empty() && part.questions.values().flatten().any(|q| q.grid().is_none());
    let in_part = groups.values().any(|group| group.in_part(&part.outputs) > 0);
    Ok(MergedPart { batch, values, withheld, lacks, in_part, open })
}

/// Whether what is absent from an answer is nothing, and not withheld: of published data, and where no node protects at all.
fn is_sparse(part: &Part, answers: &BTreeMap<Gss, Answer>) -> bool {
    let mut dense = answers.values().filter_map(|answer| match answer {
        Answer::Cells { header, .. } => Some(header.dense),
        _ => None,
    });
    part.scope.protection.is_public() || dense.next().is_some_and(|first| !first && dense.all(|other| !other))
}

/// Why an answer is none to what was asked. What is absent must mean the same from everybody: one borough's word on it would
/// speak for all.
fn misfit(answer: &Answer, sparse: bool, grid: Option<&Grid>) -> Option<&'static str> {
    let Answer::Cells { header, cells, .. } = answer else { return None };
    if header.dense == sparse {
        return Some("it says otherwise than the contract what an absent cell is");
    }
    let outside = grid.is_some_and(|grid| cells.keys().any(|cell| grid.binary_search(cell).is_err()));
    outside.then_some("it has a cell outside the grid")
}

/// A borough that is missing lacks in every London figure, also where nothing says which cells it would have had.
fn add_missing(
    part: &Part,
    answers: &BTreeMap<Gss, Answer>,
    sparse: bool,
    figures: usize,
    groups: &mut BTreeMap<Vec<Value>, Group>,
) {
    let enumerable = part.questions.values().flatten().all(|q| q.grid().is_some()) && !part.is_by_period();
    if !sparse && enumerable {
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
            // An open key: a borough that does not name this group withholds it, or has none. Nobody can tell.
            let silent = of_cell.saturating_sub(group.boroughs);
            group.withheld.resize(figures, 0);
            group.withheld.iter_mut().for_each(|n| *n += silent);
        }
        if sparse || part.lowered.is_empty() {
            group.boroughs = of_cell.max(group.boroughs);
        }
    }
}

impl Group {
    fn add(
        &mut self,
        figures: usize,
        answer: &Answer,
        row: &[Option<i128>],
        sparse: bool,
        empty: &[bool],
    ) -> anyhow::Result<()> {
        self.sums.resize(figures, None);
        self.withheld.resize(figures, 0);
        self.partial.resize(figures, 0);
        self.boroughs += 1;
        match answer {
            Answer::Refused(_) => self.refused += 1,
            Answer::None => self.no_answer += 1,
            _ => {
                self.answered += 1;
                for (((sum, withheld), value), empty) in
                    self.sums.iter_mut().zip(&mut self.withheld).zip(row).zip(empty)
                {
                    match value {
                        Some(value) => {
                            let total = sum.unwrap_or(0).checked_add(*value).context("a sum overflows")?;
                            *sum = Some(total);
                        }
                        None if sparse || *empty => {}
                        None => *withheld += 1,
                    }
                }
            }
        }
        Ok(())
    }

    fn lack(&self, output: &Output) -> u32 {
        let withheld = |figure: usize| self.withheld.get(figure).copied().unwrap_or(0);
        output.needs().into_iter().map(withheld).max().unwrap_or(0)
    }

    /// In how many boroughs an output adds up cells of which some are not released.
    fn in_part(&self, outputs: &[Output]) -> u32 {
        let partial = |figure: usize| self.partial.get(figure).copied().unwrap_or(0);
        outputs.iter().flat_map(Output::needs).map(partial).max().unwrap_or(0)
    }

    /// What the reader of this row must know.
    fn note(&self, outputs: &[Output]) -> Option<String> {
        let withheld = outputs.iter().map(|o| self.lack(o)).max().unwrap_or(0);
        let in_part = self.in_part(outputs);
        if self.boroughs <= 1 {
            return match (self.no_answer, self.refused) {
                (0, 0) if in_part > 0 && withheld > 0 => Some(format!("c; {IN_PART}")),
                (0, 0) if in_part > 0 => Some(IN_PART.to_owned()),
                (0, 0) => (withheld > 0).then(|| "c".to_owned()),
                (0, _) => Some("x: refused".to_owned()),
                _ => Some("x: no answer".to_owned()),
            };
        }
        let parts = [(withheld, "withheld"), (self.refused, "refused"), (self.no_answer, "no answer")];
        let said: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let lacking = withheld.saturating_add(self.refused).saturating_add(self.no_answer);
        let lacks =
            (lacking > 0).then(|| format!("lacks {lacking} of {} boroughs: {}", self.boroughs, said.join(", ")));
        let partial = (in_part > 0).then(|| format!("{IN_PART} in {in_part} of {} boroughs", self.boroughs));
        let notes: Vec<String> = lacks.into_iter().chain(partial).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl Part {
    fn output_cell(&self, gss: &Gss, cell: &[Value]) -> Vec<Value> {
        self.keys
            .iter()
            .map(|key| match key {
                OutputKey::Borough(values) => values.get(gss).cloned().unwrap_or(Value::Null),
                OutputKey::Node { index, .. } => cell.get(*index).cloned().unwrap_or(Value::Null),
            })
            .collect()
    }

    /// Whether a borough contributes to an output cell.
    fn is_of(&self, gss: &Gss, cell: &[Value]) -> bool {
        self.keys.iter().zip(cell).all(|(key, value)| match key {
            OutputKey::Borough(values) => values.get(gss) == Some(value),
            OutputKey::Node { .. } => true,
        })
    }
}

fn lacks(part: &Part, groups: &BTreeMap<Vec<Value>, Group>) -> Vec<Lack> {
    let mut lacks = Vec::new();
    for (cell, group) in groups.iter().filter(|(_, g)| g.boroughs > 1) {
        for (output, of) in part.outputs.iter().enumerate() {
            let lack = Lack {
                cell: cell.clone(),
                output,
                withheld: group.lack(of),
                refused: group.refused,
                no_answer: group.no_answer,
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
        self.withheld.saturating_add(self.refused).saturating_add(self.no_answer)
    }
}

/// The cells in the aggregate's schema, and the note.
fn batch(
    part: &Part,
    leaf: &Federated,
    groups: &BTreeMap<Vec<Value>, Group>,
    sparse: bool,
) -> anyhow::Result<RecordBatch> {
    let schema = Arc::new(leaf.schema.as_arrow().clone());
    let mut columns: Vec<ArrayRef> = Vec::new();
    let type_of = |i: usize| schema.fields().get(i).map(|f| f.data_type().clone()).context("the schema is short");
    for (i, key) in part.keys.iter().enumerate() {
        let values = groups.keys().map(|cell| cell.get(i).cloned().unwrap_or(Value::Null));
        columns.push(cast(&key_array(values, key_type(key))?, &type_of(i)?)?);
    }
    for output in &part.outputs {
        let wanted = type_of(columns.len())?;
        columns.push(cast(&output_array(part, output, groups, sparse, &wanted)?, &wanted)?);
    }
    let notes = groups.values().map(|g| g.note(&part.outputs));
    columns.push(Arc::new(notes.collect::<StringArray>()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn key_type(key: &OutputKey) -> ColumnType {
    match key {
        OutputKey::Node { kind, .. } => *kind,
        OutputKey::Borough(values) => match values.values().find(|v| **v != Value::Null) {
            Some(Value::Integer(_)) => ColumnType::Integer,
            Some(Value::Boolean(_)) => ColumnType::Boolean,
            Some(Value::Date(_)) => ColumnType::Date,
            _ => ColumnType::Text,
        },
    }
}

fn key_array(values: impl Iterator<Item = Value>, kind: ColumnType) -> anyhow::Result<ArrayRef> {
    let mut scalars = values.map(|v| value_scalar(&v, kind)).peekable();
    if scalars.peek().is_none() {
        return Ok(arrow::array::new_empty_array(&arrow_type(kind)));
    }
    Ok(ScalarValue::iter_to_array(scalars)?)
}

fn output_array(
    part: &Part,
    output: &Output,
    groups: &BTreeMap<Vec<Value>, Group>,
    sparse: bool,
    wanted: &DataType,
) -> anyhow::Result<ArrayRef> {
    let at = |group: &Group, figure: usize| group.sums.get(figure).copied().flatten();
    // Where nobody has a record, nobody withholds: SQL's own values for nothing.
    let nothing = |group: &Group| group.boroughs == group.idle;
    let scale_of = |figure: usize| part.scales.get(figure).copied().unwrap_or(0);
    match output {
        Output::Figure { figure, reading } => {
            let figure = *figure;
            let sums = matches!(part.measures.get(figure), Some(Measure::Sum(_)));
            let values = groups.values().map(|g| match (at(g, figure), reading) {
                (None, Reading::Plain | Reading::EachBorough) if nothing(g) && !sums => Some(0),
                (None, Reading::OrZero) if sparse && g.answered > 0 => Some(0),
                (value, _) => value,
            });
            match scale_of(figure) {
                0 if *wanted == DataType::Int64 => {
                    let numbers = values.map(|v| v.map(i64::try_from).transpose());
                    Ok(Arc::new(numbers.collect::<Result<Int64Array, _>>().context("a figure overflows")?))
                }
                scale => Ok(Arc::new(values.collect::<Decimal128Array>().with_precision_and_scale(38, scale)?)),
            }
        }
        Output::Spread(moments) => {
            let scale = moments.sums.first().map_or(0, |sum| scale_of(*sum));
            let scales = (scale, moments.sums.get(1).map_or(scale, |sum| scale_of(*sum)));
            let values = groups.values().map(|g| derived::spread(moments, scales, &|figure| at(g, figure)));
            Ok(Arc::new(values.collect::<Float64Array>()))
        }
        Output::Quantile(bins) => {
            let values = groups.values().map(|g| derived::quantile(bins, &|figure| at(g, figure)));
            Ok(Arc::new(values.collect::<Float64Array>()))
        }
        Output::Average { sum, count } => {
            let (sum, count) = (*sum, *count);
            let pairs = groups.values().map(|g| at(g, sum).zip(at(g, count)).filter(|(_, n)| *n != 0));
            let scale = scale_of(sum);
            if let DataType::Decimal128(precision, wanted_scale) = wanted {
                let factor = u32::try_from(wanted_scale.saturating_sub(scale)).ok();
                let factor =
                    factor.and_then(|f| 10_i128.checked_pow(f)).context("a mean has a smaller scale than its sum")?;
                let means = pairs.map(|pair| {
                    pair.map(|(s, n)| s.checked_mul(factor).and_then(|s| s.checked_div(n)).context("a mean overflows"))
                        .transpose()
                });
                let means = means.collect::<anyhow::Result<Decimal128Array>>()?;
                return Ok(Arc::new(means.with_precision_and_scale(*precision, *wanted_scale)?));
            }
            #[allow(clippy::cast_precision_loss, reason = "a mean is a float: 53 bits are what the type has")]
            let means = pairs.map(|pair| pair.map(|(s, n)| s as f64 / n as f64 / 10_f64.powi(scale.into())));
            Ok(Arc::new(means.collect::<Float64Array>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use loda_proto::v1::ReleasedHeader;

    use super::*;
    use crate::cells::Cells;

    #[test]
    fn an_answer_that_contradicts_its_question_is_none() {
        let cell = |text: &str| vec![Value::Text(text.to_owned())];
        let answer = |dense: bool, of: &str| Answer::Cells {
            header: ReleasedHeader { dense, ..Default::default() },
            cells: Cells::from([(cell(of), vec![Some(12)])]),
            partial: std::collections::BTreeSet::new(),
        };
        let grid: Grid = Arc::new(vec![cell("a"), cell("b")]);
        assert_eq!(misfit(&answer(true, "a"), false, Some(&grid)), None);
        assert!(misfit(&answer(true, "c"), false, Some(&grid)).is_some());
        // One that calls what it withholds nothing speaks for itself alone.
        assert!(misfit(&answer(false, "a"), false, Some(&grid)).is_some());
        assert!(misfit(&answer(true, "a"), true, None).is_some());
        assert_eq!(misfit(&answer(false, "c"), true, None), None);
        assert_eq!(misfit(&Answer::None, false, Some(&grid)), None);
    }
}
