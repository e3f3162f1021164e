//! Takes the cell statistics of a question through its dataset's method of disclosure control.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::{ArrayRef, RecordBatch, UInt16Array};
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use loda_contract::{Column, ColumnType, Protection, Role, Value};
use loda_disclosure::{
    self as spec, CellKey, DomainSpec, FigureKind, FigureSpec, MeasureSpec, Method, NoiseKey, PTable, PossibleMasks,
    Public, Released, Statistics, TableParameters, TableSpec, Threshold, disclose,
};
use loda_question::plan::{arrow_type, value_at, value_scalar};
use loda_question::{Counted, Measure, Moment, Question, wire_schema};

/// The methods of disclosure control that this node applies.
#[derive(Clone)]
pub struct Methods {
    table: Arc<PTable>,
    /// Set by the node that uses the methods, from its own secret.
    noise: Option<NoiseKey>,
    #[cfg(feature = "unprotected")]
    off: bool,
}

impl Methods {
    /// The methods with the federation's default parameters.
    ///
    /// # Errors
    /// The perturbation table cannot be generated.
    pub fn standard() -> anyhow::Result<Self> {
        Self::with(&TableParameters::default())
    }

    /// The methods with a borough's own perturbation table.
    ///
    /// # Errors
    /// The parameters give no table. The error names the parameter and the fix.
    pub fn with(parameters: &TableParameters) -> anyhow::Result<Self> {
        let table = parameters.table().context("generating the perturbation table")?;
        Ok(Self {
            table: Arc::new(table),
            noise: None,
            #[cfg(feature = "unprotected")]
            off: false,
        })
    }

    /// No protection at all, for the tests' comparison with pooled data. No configuration reaches it.
    ///
    /// # Errors
    /// As for [`Methods::standard`].
    #[cfg(feature = "unprotected")]
    pub fn unprotected() -> anyhow::Result<Self> {
        Ok(Self { off: true, ..Self::standard()? })
    }

    /// Whether data about people are pinned for epochs. They are wherever anything is protected.
    pub(crate) fn pins(&self) -> bool {
        #[cfg(feature = "unprotected")]
        if self.off {
            return false;
        }
        true
    }

    /// The same methods with a node's own noise.
    pub(crate) fn with_noise(self, noise: NoiseKey) -> Self {
        Self { noise: Some(noise), ..self }
    }

    /// The fingerprint of the perturbation table.
    pub(crate) fn fingerprint(&self) -> String {
        self.table.fingerprint()
    }

    /// The one method of a dataset.
    pub(crate) fn of(&self, protection: Protection) -> Arc<dyn Method> {
        #[cfg(feature = "unprotected")]
        if self.off {
            return Arc::new(loda_disclosure::Unprotected);
        }
        match protection {
            Protection::Public => Arc::new(Public),
            Protection::Threshold => Arc::new(Threshold::default()),
            Protection::CellKey => {
                Arc::new(CellKey { table: Arc::clone(&self.table), noise: self.noise.clone(), threshold: 10 })
            }
        }
    }
}

/// The released cells of a question.
///
/// # Errors
/// The cell statistics do not fit the question. The asker gets one static code.
pub(crate) fn released(
    question: &Question,
    method: &dyn Method,
    stage: &[RecordBatch],
) -> anyhow::Result<Released<RecordBatch>> {
    let spec = specification(question, method, stage)?;
    Ok(disclose(&spec, stage, method)?)
}

fn specification(question: &Question, method: &dyn Method, stage: &[RecordBatch]) -> anyhow::Result<TableSpec> {
    let scope = question.scope();
    let moments = question.moments();
    let place_of = |figure: &Counted| {
        let moment = question.moment(figure).context("a figure adds nothing up")?;
        moments.iter().position(|m| *m == moment).context("a figure sums no measure")
    };
    let figures = question.figures().iter().enumerate().map(|(i, figure)| {
        let kind = match &figure.measure {
            Measure::Rows => FigureKind::Rows,
            Measure::Units(name) => {
                FigureKind::Units { domain: scope.unit_index(name).context("a figure counts no unit")? }
            }
            Measure::Present(_) => FigureKind::Present { measure: place_of(figure)? },
            Measure::Sum(_) | Measure::Square(_) | Measure::Product(..) => {
                FigureKind::Sum { measure: place_of(figure)? }
            }
            Measure::Least(_) | Measure::Greatest(_) => bail!("a figure that no rule allows"),
        };
        Ok(FigureSpec { name: wire_schema::figure(i), kind, requires: figure.requires, together: figure.together })
    });
    let figures = figures.collect::<anyhow::Result<Vec<_>>>()?;
    let value_of = |column: &Column| {
        let place = moments.iter().position(|m| *m == Moment::Value(column));
        place.context("a moment of no value")
    };
    let measures = moments.iter().map(|moment| {
        let (bounds_of, of) = match *moment {
            Moment::Value(column) => (column, spec::Moment::Value),
            Moment::Square(column) => (column, spec::Moment::Square { of: value_of(column)? }),
            Moment::Product(a, b) => (a, spec::Moment::Product { a: value_of(a)?, b: value_of(b)? }),
        };
        match bounds_of.role {
            Role::Measure { lower, upper, .. } => Ok(MeasureSpec { scale: moment.scale(), lower, upper, moment: of }),
            _ => bail!("a figure sums no measure"),
        }
    });
    Ok(TableSpec {
        keys: question
            .keys()
            .iter()
            .enumerate()
            .map(|(i, key)| Arc::new(Field::new(wire_schema::key(i), arrow_type(key.kind), true)))
            .collect(),
        domains: scope
            .units
            .iter()
            .map(|u| DomainSpec { name: u.unit.domain.clone(), max_rows: u.unit.max_rows })
            .collect(),
        conditions: question.conditions().len(),
        measures: measures.collect::<anyhow::Result<Vec<_>>>()?,
        figures,
        possible: match method.statistics() {
            Statistics::Atoms => possible(question, stage)?,
            Statistics::Totals | Statistics::ClosedCells => None,
        },
    })
}

/// The masks that contract and logic allow in each observed cell. A possible mask without rows counts as low.
fn possible(question: &Question, stage: &[RecordBatch]) -> anyhow::Result<Option<PossibleMasks>> {
    let Some(possible) = question.possible() else { return Ok(None) };
    let kinds: Vec<ColumnType> = question.keys().iter().map(|k| k.kind).collect();
    let mut cells = BTreeSet::new();
    for batch in stage {
        let plain = |(values, kind): (&ArrayRef, &ColumnType)| arrow::compute::cast(values, &arrow_type(*kind));
        let keys = batch.columns().iter().zip(&kinds).map(plain).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = keys.iter().zip(&kinds);
            let cell = cell.map(|(values, kind)| value_at(values, *kind, row).context("a key came in another type"));
            cells.insert(cell.collect::<anyhow::Result<Vec<Value>>>()?);
        }
    }
    let mut keys: Vec<Vec<ScalarValue>> = vec![Vec::new(); kinds.len()];
    let mut masks = Vec::new();
    for cell in &cells {
        for mask in possible.masks(cell).into_iter().flatten() {
            for ((column, value), kind) in keys.iter_mut().zip(cell).zip(&kinds) {
                column.push(value_scalar(value, *kind));
            }
            masks.push(*mask);
        }
    }
    let arrays = keys.into_iter().zip(&kinds).map(|(column, kind)| {
        if column.is_empty() {
            return Ok(arrow::array::new_empty_array(&arrow_type(*kind)));
        }
        Ok(ScalarValue::iter_to_array(column)?)
    });
    Ok(Some(PossibleMasks {
        keys: arrays.collect::<anyhow::Result<Vec<ArrayRef>>>()?,
        masks: UInt16Array::from(masks),
    }))
}
