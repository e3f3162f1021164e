//! The periods that boroughs' data cover, as they declare them, and the cells outside.

use chrono::NaiveDate;
use loda_contract::Value;
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
        let declared = header.snapshots.iter().filter_map(|used| {
            let wire = used.covers.as_ref()?;
            let declared = Declared::parse(wire)?;
            let covered = question.covered(&used.dataset, &wire.column, &declared.period())?;
            Some((declared, covered))
        });
        let all: Vec<_> = declared.collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// Why a figure of a cell has no data. `None`: it has.
    pub(crate) fn beyond(&self, cell: &[Value], figure: usize) -> Option<String> {
        self.0.iter().find_map(|(declared, covered)| Some(declared.beyond(covered.beyond(cell, figure)?)))
    }
}

/// The periods of an answer's datasets, in words.
pub(crate) fn words(header: &v1::ReleasedHeader) -> Vec<String> {
    let of = |used: &v1::SnapshotUsed| {
        let wire = used.covers.as_ref()?;
        Some(format!("{} {}", used.dataset, Declared::parse(wire)?.words()))
    };
    header.snapshots.iter().filter_map(of).collect()
}
