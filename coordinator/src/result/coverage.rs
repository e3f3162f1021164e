//! The periods that boroughs' data cover, as they declare them, and the cells outside.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::NaiveDate;
use loda_contract::{Contract, Value};
use loda_proto::v1;
use loda_question::{Beyond, Covered, Period, Question};

use crate::nodes::dispatch::Answer;

/// The period of one dataset at one borough.
struct Declared {
    from: Option<NaiveDate>,
    until: Option<NaiveDate>,
}

impl Declared {
    /// A period that is not understood declares nothing.
    fn parse(wire: &v1::Coverage) -> Option<Self> {
        let day = |text: &str| match text {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        };
        Some(Self { from: day(&wire.from)?, until: day(&wire.until)? })
    }

    fn period(&self) -> Period {
        let days = |date: NaiveDate| {
            i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).unwrap_or_default()
        };
        Period { from: self.from.map(days), until: self.until.map(days) }
    }

    fn words(&self) -> String {
        match (self.from, self.until) {
            (Some(from), Some(until)) => format!("{from} to {until}"),
            (Some(from), None) => format!("from {from} on"),
            (None, Some(until)) => format!("until {until}"),
            (None, None) => "all days".to_owned(),
        }
    }

    /// Why a cell has no data, for its mark.
    fn beyond(&self, side: Beyond) -> String {
        match (side, self.from, self.until) {
            (Beyond::After, _, Some(until)) => format!("after the data end ({until})"),
            (Beyond::Before, Some(from), _) => format!("before the data begin ({from})"),
            _ => format!("outside the period of the data ({})", self.words()),
        }
    }
}

/// The cells of one borough's answer that have no data.
pub(crate) struct Coverage(Vec<(Declared, Covered)>);

impl Coverage {
    /// `None`: every cell has data, as far as is declared.
    pub(crate) fn of(question: &Question, answer: &Answer) -> Option<Self> {
        let Answer::Cells { header, .. } = answer else { return None };
        let declared = question.scope().datasets.iter().filter_map(|contract| {
            let (wire, declared) = declared(header, &contract.dataset)?;
            let covered = question.covered(&contract.dataset, &wire.column, &declared.period())?;
            Some((declared, covered))
        });
        let all: Vec<_> = declared.collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// Why a figure of a cell has no data. `None`: it has. Figures that are `combined` lack the same boroughs.
    pub(crate) fn beyond(&self, cell: &[Value], figure: usize, combined: &[BTreeSet<usize>]) -> Option<String> {
        let of = |figure: usize| {
            self.0.iter().find_map(|(declared, covered)| Some(declared.beyond(covered.beyond(cell, figure)?)))
        };
        let together = combined.iter().find(|set| set.contains(&figure));
        of(figure).or_else(|| together?.iter().find_map(|other| of(*other)))
    }
}

/// What a borough declares for a dataset. A node may repeat itself: the first declaration counts.
fn declared<'a>(header: &'a v1::ReleasedHeader, dataset: &str) -> Option<(&'a v1::Coverage, Declared)> {
    let wire = header.snapshots.iter().find(|used| used.dataset == dataset)?.covers.as_ref()?;
    Some((wire, Declared::parse(wire)?))
}

/// The periods of a question's datasets, in words of our own.
pub(crate) fn words(datasets: &[Arc<Contract>], header: &v1::ReleasedHeader) -> Vec<String> {
    let of = |contract: &Arc<Contract>| {
        let (_, declared) = declared(header, &contract.dataset)?;
        Some(format!("{} {}", contract.dataset, declared.words()))
    };
    datasets.iter().filter_map(of).collect()
}
