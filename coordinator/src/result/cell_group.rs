//! The boroughs' contributions to one output cell.

use std::collections::BTreeSet;

use anyhow::Context;
use loda_answer::cells::thousands;
use loda_question::Measure;
use loda_question::table::{CellFigure, Estimate};

use crate::nodes::dispatch::Answer;
use crate::plan::federated_aggregate::Output;
use crate::plan::federated_node::IN_PART;

/// One output cell.
#[derive(Clone, Default)]
pub(crate) struct Group {
    pub(crate) boroughs: u32,
    /// The number of boroughs with cells in it.
    pub(crate) answered: u32,
    /// The number of boroughs that answered and have no record of it.
    pub(crate) idle: u32,
    pub(crate) refused: u32,
    pub(crate) no_answer: u32,
    /// The node's figures, merged.
    pub(crate) figures: Vec<Merged>,
}

/// One of the node's figures, merged over all boroughs.
#[derive(Clone, Default)]
pub(crate) struct Merged {
    pub(crate) sum: Option<i128>,
    /// The number of boroughs in which the figure is withheld; lacks cells; holds estimates.
    pub(crate) withheld: u32,
    partial: u32,
    estimated: u32,
    /// The number of boroughs whose data end before its time, or begin after.
    pub(crate) no_data: u32,
    /// Why the last of these has none.
    beyond: Option<String>,
    pub(crate) known: Estimate,
    /// The number of boroughs whose single cell is withheld, and their joint estimate.
    alone: u32,
    /// The number of boroughs that released it.
    released: u32,
    /// Whether that estimate is not good enough, or is one borough's.
    dropped: bool,
    /// The number of boroughs whose released figure holds estimates that are not good enough.
    pub(crate) unfit: u32,
    of_alone: Estimate,
}

impl Merged {
    fn add(&mut self, value: i128) -> anyhow::Result<()> {
        self.sum = Some(self.sum.unwrap_or(0).checked_add(value).context("a sum overflows")?);
        Ok(())
    }
}

impl Group {
    pub(crate) fn of(figures: usize) -> Self {
        Self { figures: vec![Merged::default(); figures], ..Self::default() }
    }

    /// Adds one borough's answer. `known`: the estimate for each figure about people.
    pub(crate) fn add(
        &mut self,
        answer: &Answer,
        row: &[Option<i128>],
        known: &[CellFigure],
        sparse: bool,
        empty: &[bool],
        beyond: &dyn Fn(usize) -> Option<String>,
    ) -> anyhow::Result<()> {
        self.boroughs += 1;
        match answer {
            Answer::Refused(_) => self.refused += 1,
            Answer::None => self.no_answer += 1,
            _ => {
                self.answered += 1;
                for (place, ((figure, value), empty)) in self.figures.iter_mut().zip(row).zip(empty).enumerate() {
                    if let Some(why) = beyond(place).filter(|_| !empty) {
                        figure.no_data += 1;
                        figure.beyond = Some(why);
                        continue;
                    }
                    let known = known.get(place).copied().unwrap_or_default();
                    match (value, known.estimate) {
                        (Some(value), estimate) => {
                            figure.add(*value)?;
                            figure.released += 1;
                            figure.partial += u32::from(known.lacks);
                            if let Some(estimate) = estimate {
                                figure.known = figure.known.and(&estimate);
                                figure.estimated += u32::from(estimate.withheld.is_some());
                            }
                        }
                        (None, _) if sparse || *empty => {}
                        (None, Some(estimate)) => {
                            figure.alone += 1;
                            figure.of_alone = figure.of_alone.and(&estimate);
                        }
                        (None, None) => figure.withheld += 1,
                    }
                }
            }
        }
        Ok(())
    }

    /// Decides which estimates are shown. The estimate of one borough's single cell is never shown. An estimate over
    /// several boroughs is shown if it is good enough.
    pub(crate) fn settle(&mut self, measures: &[Measure]) -> anyhow::Result<()> {
        for (figure, measure) in self.figures.iter_mut().zip(measures) {
            let in_part = figure.estimated;
            if figure.alone > 0 {
                let with = figure.known.and(&figure.of_alone);
                // A combined figure may lack all boroughs but this one.
                let several = figure.released.saturating_add(figure.alone) > 1;
                if several && with.will_do() {
                    figure.add(figure.of_alone.figure)?;
                    figure.known = with;
                    figure.estimated += figure.alone;
                } else {
                    figure.withheld += figure.alone;
                    figure.dropped = true;
                }
            }
            if figure.estimated > 0 && !figure.known.will_do() {
                figure.withheld += figure.estimated;
                figure.unfit = in_part;
                (figure.sum, figure.estimated, figure.partial) = (None, 0, 0);
            }
            let counts = matches!(measure, Measure::Rows | Measure::Units(_) | Measure::Present(_));
            if counts {
                figure.sum = figure.sum.map(|sum| sum.max(0));
            }
        }
        Ok(())
    }

    /// Takes the figures of `strict` that are combined, where this group has not the same boroughs in all of them.
    pub(crate) fn reconcile(&mut self, combined: &[BTreeSet<usize>], strict: &Self) {
        for set in combined {
            let dropped = |figure: &usize| self.figures.get(*figure).is_some_and(|figure| figure.dropped);
            if !set.iter().any(dropped) {
                continue;
            }
            for figure in set {
                if let (Some(own), Some(other)) = (self.figures.get_mut(*figure), strict.figures.get(*figure)) {
                    *own = other.clone();
                }
            }
        }
    }

    /// The number of boroughs in which an output is withheld.
    pub(crate) fn lack(&self, output: &Output) -> u32 {
        self.most(output, |figure| figure.withheld)
    }

    /// The number of boroughs that have no data for an output.
    pub(crate) fn no_data(&self, output: &Output) -> u32 {
        self.most(output, |figure| figure.no_data)
    }

    /// A borough that answered, told nothing of the cell, and has no data for some of its figures.
    pub(crate) fn add_untold(&mut self, beyond: &dyn Fn(usize) -> Option<String>) {
        let lacking = self.figures.iter_mut().enumerate().filter_map(|(place, figure)| Some((figure, beyond(place)?)));
        let mut lacks = false;
        for (figure, why) in lacking {
            figure.no_data += 1;
            figure.beyond = Some(why);
            lacks = true;
        }
        if lacks {
            self.boroughs += 1;
            self.answered += 1;
        }
    }

    /// The number of boroughs in which an output adds up cells and some of them are not released.
    pub(crate) fn in_part(&self, output: &Output) -> u32 {
        self.most(output, |figure| figure.partial)
    }

    /// The number of boroughs in which an output holds estimates, and the number of units estimated.
    pub(crate) fn estimated(&self, output: &Output) -> Option<(u32, f64)> {
        let needed = output.needs().into_iter().filter_map(|place| self.figures.get(place));
        let held = needed.filter(|figure| figure.estimated > 0);
        held.map(|figure| (figure.estimated, figure.known.withheld.unwrap_or(0.0)))
            .reduce(|a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    fn most(&self, output: &Output, of: impl Fn(&Merged) -> u32) -> u32 {
        let needed = output.needs().into_iter().filter_map(|place| self.figures.get(place));
        needed.map(of).max().unwrap_or(0)
    }

    /// The mark of an output: why it is not the value that complete cells would give.
    pub(crate) fn mark(&self, output: &Output) -> Option<String> {
        let withheld = self.lack(output);
        let no_data = self.no_data(output);
        let in_part = self.in_part(output);
        let estimated = self.estimated(output).map(|(boroughs, units)| (boroughs, units.round().max(1.0)));
        let one = self.boroughs <= 1;
        let lacks = match (one, self.no_answer, self.refused) {
            (true, 0, 0) if no_data > 0 => {
                let mut needed = output.needs().into_iter().filter_map(|place| self.figures.get(place));
                return needed.find_map(|figure| Some(format!("z: {}", figure.beyond.as_ref()?)));
            }
            (true, 0, 0) => (withheld > 0).then(|| "c".to_owned()),
            (true, 0, _) => return Some("x: refused".to_owned()),
            (true, ..) => return Some("x: no answer".to_owned()),
            (false, no_answer, refused) => {
                let parts =
                    [(withheld, "withheld"), (refused, "refused"), (no_answer, "no answer"), (no_data, "no data")];
                let said = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
                let said: Vec<String> = said.collect();
                let lacking = withheld.saturating_add(refused).saturating_add(no_answer).saturating_add(no_data);
                (lacking > 0).then(|| format!("lacks {lacking} of {} boroughs: {}", self.boroughs, said.join(", ")))
            }
        };
        let of_boroughs = |n: u32| if one { String::new() } else { format!(" in {n} of {} boroughs", self.boroughs) };
        let partial = (in_part > 0).then(|| format!("{IN_PART}{}", of_boroughs(in_part)));
        let estimated = estimated.map(|(boroughs, units)| {
            format!("about {} estimated{}", thousands(&units.to_string()), of_boroughs(boroughs))
        });
        let notes: Vec<String> = lacks.into_iter().chain(partial).chain(estimated).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::BTreeMap;

    use loda_proto::v1::ReleasedHeader;

    use super::*;

    /// A figure that is combined with another may lose all boroughs but one. The estimate of its single withheld cell
    /// is not shown then, though many boroughs have answered.
    #[test]
    fn the_estimate_of_one_boroughs_single_cell_is_never_shown() {
        let answer =
            Answer::Cells { header: ReleasedHeader::default(), cells: BTreeMap::new(), known: BTreeMap::new() };
        let estimate = Estimate { figure: 4, withheld: Some(4.0), ..Estimate::default() };
        assert!(estimate.will_do());
        let withheld = CellFigure { value: None, lacks: false, estimate: Some(estimate) };
        let shown = |alone: usize| {
            let mut group = Group::of(1);
            for borough in 0..33 {
                let known = if borough < alone { withheld } else { CellFigure::default() };
                group.add(&answer, &[None], &[known], false, &[false], &|_| None).unwrap();
            }
            group.settle(&[Measure::Rows]).unwrap();
            group.figures[0].sum
        };
        assert_eq!((shown(1), shown(2)), (None, Some(8)));
    }
}
