//! `cell-key`: perturbed cells of closed tables, for data about people ([`crate::table`]). The key of a cell determines its
//! noise, and a threshold applies to perturbed numbers of units.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::method::{Method, PEOPLE_ALONE, Statistics, sealed};
use crate::error::DisclosureError;
use crate::keys::KeyCodec;
use crate::noise::NoiseKey;
use crate::output::OutputRow;
use crate::ptable::PTable;
use crate::spec::TableSpec;
use crate::stage::Stage;
use crate::table::{
    ABSENT, CLASSES, CellStatistics, Code, FunctionalShape, Labelled, MeasureShape, NULL, TableShape, UNREACHED,
    is_value, there,
};

/// The method for data about people: perturbed cells of closed tables.
#[derive(Debug, Clone)]
pub struct CellKey {
    /// The perturbation by (count, cell key).
    pub table: Arc<PTable>,
    /// The node's secret for the keys of cells. Without it every release fails.
    pub noise: Option<NoiseKey>,
    /// The least perturbed count that is released. The federation's default is 10. A value below 1 is for comparison with other
    /// tools: it releases zeros of observed cells only.
    pub threshold: i64,
}

impl sealed::Sealed for CellKey {}

impl Method for CellKey {
    fn name(&self) -> &'static str {
        "cell-key"
    }

    fn parameters(&self) -> String {
        let table = self.table.summary();
        format!(
            "modulus {}, max noise {}, variance {}, threshold {}",
            table.modulus,
            table.max_noise,
            (table.variance * 10.0).round() / 10.0,
            self.threshold
        )
    }

    fn expected_error(&self) -> f64 {
        self.table.summary().expected_error
    }

    fn variance(&self) -> f64 {
        self.table.summary().variance
    }

    fn draws_noise(&self) -> bool {
        true
    }

    fn absent_is_withheld(&self) -> bool {
        true
    }

    fn statistics(&self) -> Statistics {
        Statistics::ClosedCells
    }

    fn check(&self) -> Result<(), DisclosureError> {
        Err(PEOPLE_ALONE)
    }

    fn release(&self, _spec: &TableSpec, _codec: &KeyCodec, _stage: &Stage) -> Result<Vec<OutputRow>, DisclosureError> {
        Err(PEOPLE_ALONE)
    }

    fn release_cell(
        &self,
        shape: &TableShape,
        subset: u32,
        codes: &[Code],
        statistics: &CellStatistics,
    ) -> Result<Option<Vec<Option<i128>>>, DisclosureError> {
        protected(shape, subset, codes, statistics, self)
    }
}

/// The figures of one cell; `None`: the cell is withheld.
fn protected(
    shape: &TableShape,
    subset: u32,
    codes: &[Code],
    statistics: &CellStatistics,
    rules: &CellKey,
) -> Result<Option<Vec<Option<i128>>>, DisclosureError> {
    let secret = rules.noise.as_ref().ok_or(DisclosureError::Spec("tables about people need the node's noise key"))?;
    let mut present: Vec<(&Labelled, bool)> = Vec::new();
    for (column, code) in there(subset, &shape.columns).into_iter().zip(codes) {
        present.push((&column.presence, is_value(*code)));
        present.extend(column.through.as_ref().map(|through| (through, *code != UNREACHED)));
    }
    let period = period(shape, subset, codes)?;
    let cell = Cell { shape, parts: parts(shape, subset, codes)?, present, period, secret, table: &rules.table };
    let mut needed = BTreeSet::from([0]);
    if shape.register {
        let of_columns = there(subset, &shape.columns).into_iter().zip(codes);
        needed.extend(of_columns.filter(|(column, code)| column.holds(**code)).filter_map(|(column, _)| column.unit));
    } else {
        // Each row belongs to a unit of every domain of its dataset.
        needed.extend(0..shape.units.len());
    }
    let mut counts = BTreeMap::new();
    for unit in needed {
        let count = cell.units(unit, statistics)?;
        if count < i64::from(shape.threshold).max(rules.threshold) {
            return Ok(None);
        }
        counts.insert(unit, count);
    }
    let mut figures = Vec::with_capacity(shape.functionals.len());
    for (place, functional) in shape.functionals.iter().enumerate() {
        if !cell.has_measures(functional)? {
            figures.push(None);
            continue;
        }
        let value = match functional {
            FunctionalShape::Units(unit) => match counts.get(unit) {
                Some(count) => i128::from(*count),
                None => i128::from(cell.units(*unit, statistics)?),
            },
            FunctionalShape::Rows => cell.rows(statistics)?,
            FunctionalShape::Present(measure) => cell.present(*measure, place, statistics)?,
            FunctionalShape::Sum(measure) => cell.sum(*measure, statistics)?,
            FunctionalShape::Square(measure) => cell.square(*measure, place, statistics)?,
            FunctionalShape::Product(a, b) => cell.product(*a, *b, place, statistics)?,
        };
        figures.push(Some(value));
    }
    Ok(Some(figures))
}

/// The identity of a cell, the same in every table: the classes of its units, or their common absence from a dataset.
fn parts<'a>(
    shape: &'a TableShape,
    subset: u32,
    codes: &[Code],
) -> Result<Vec<(&'a Labelled, String)>, DisclosureError> {
    let mut parts: Vec<(&Labelled, String)> = Vec::new();
    for (column, code) in there(subset, &shape.columns).into_iter().zip(codes) {
        parts.push(match *code {
            ABSENT => (&column.presence, "0".to_owned()),
            UNREACHED => (
                column.through.as_ref().ok_or(DisclosureError::Stage("a column is reached through none"))?,
                "0".to_owned(),
            ),
            _ if column.is_presence => (&column.presence, "1".to_owned()),
            NULL => (&column.value, "null".to_owned()),
            class => {
                let place = usize::try_from(class.saturating_sub(CLASSES)).map_err(|_| DisclosureError::Overflow)?;
                let words = column.words.get(place).ok_or(DisclosureError::Stage("a class has no words"))?;
                (&column.value, format!("={words}"))
            }
        });
    }
    parts.sort();
    parts.dedup();
    Ok(parts)
}

/// The epoch of a cell's period, if rows come by period.
fn period<'a>(shape: &'a TableShape, subset: u32, codes: &[Code]) -> Result<Option<&'a str>, DisclosureError> {
    let Some(period) = &shape.period else { return Ok(None) };
    let places: Vec<usize> = (0..shape.columns.len()).collect();
    let place = there(subset, &places).iter().position(|place| **place == period.column);
    let class = place.and_then(|place| codes.get(place)).and_then(|code| code.checked_sub(CLASSES));
    let epoch = class.and_then(|class| period.epochs.get(usize::try_from(class).ok()?));
    epoch.map(|epoch| Some(epoch.as_str())).ok_or(DisclosureError::Stage("a cell is of no closed period"))
}

/// One cell that is being protected.
struct Cell<'a> {
    shape: &'a TableShape,
    parts: Vec<(&'a Labelled, String)>,
    /// The datasets that its columns describe, and whether its units are in them.
    present: Vec<(&'a Labelled, bool)>,
    period: Option<&'a str>,
    secret: &'a NoiseKey,
    table: &'a PTable,
}

impl Cell<'_> {
    /// Whether the units of the cell are in a dataset; `None` if the cell does not tell.
    fn is_in(&self, presence: &Labelled) -> Option<bool> {
        if !self.shape.register {
            return Some(true);
        }
        self.present.iter().find(|(of, _)| *of == presence).map(|(_, present)| *present)
    }

    /// Whether the cell's units can have values of a functional's measures.
    fn has_measures(&self, functional: &FunctionalShape) -> Result<bool, DisclosureError> {
        // If the cell does not tell that its units are in the dataset, only a few of them may be.
        let has = |measure: usize| Ok(self.is_in(&self.measure(measure)?.presence) == Some(true));
        match functional {
            FunctionalShape::Units(_) | FunctionalShape::Rows => Ok(true),
            FunctionalShape::Present(of) | FunctionalShape::Sum(of) | FunctionalShape::Square(of) => has(*of),
            FunctionalShape::Product(a, b) => Ok(has(*a)? && has(*b)?),
        }
    }

    /// The key of a functional in this cell.
    fn key(&self, functional: &str, of: &[&Labelled]) -> Result<[u8; 32], DisclosureError> {
        self.key_of(functional, &self.shape.domain, &self.parts, of)
    }

    fn key_of(
        &self,
        functional: &str,
        domain: &Labelled,
        parts: &[(&Labelled, String)],
        of: &[&Labelled],
    ) -> Result<[u8; 32], DisclosureError> {
        let labelled = parts.iter().map(|(part, _)| *part).chain(of.iter().copied()).chain([domain]);
        let datasets: BTreeSet<usize> = labelled.flat_map(|of| of.datasets.iter().copied()).collect();
        let epochs = datasets.iter().map(|place| {
            self.shape.epochs.get(*place).map(String::as_str).ok_or(DisclosureError::Spec("a dataset has no epoch"))
        });
        let epochs = match self.period {
            Some(period) => vec![period],
            None => epochs.collect::<Result<Vec<&str>, _>>()?,
        };
        let mut words = vec![functional];
        words.push(&domain.label);
        for (part, class) in parts {
            words.push(&part.label);
            words.push(class);
        }
        words.push("epochs");
        words.extend(epochs);
        Ok(self.secret.of_cell(&words))
    }

    /// n + ptable(n, key), never below 0: the perturbed number of units.
    fn units(&self, unit: usize, statistics: &CellStatistics) -> Result<i64, DisclosureError> {
        let label = &self.shape.units.get(unit).ok_or(DisclosureError::Spec("no such unit"))?.label;
        let key = match &self.shape.whole {
            // All units of a dataset form the cell of its presence in their register.
            Some(presence) if self.parts.is_empty() => {
                let register = Labelled { label: format!("units of {label}"), datasets: Vec::new() };
                let parts = vec![(presence, "1".to_owned())];
                self.key_of(&format!("units {label}"), &register, &parts, &[])?
            }
            _ => self.key(&format!("units {label}"), &[])?,
        };
        let count = statistics.units.get(unit).copied().unwrap_or(0);
        let noise = i64::from(self.table.lookup(count, NoiseKey::word(&key, 0) % self.table.modulus()));
        let count = i64::try_from(count).map_err(|_| DisclosureError::Overflow)?;
        Ok(count.checked_add(noise).ok_or(DisclosureError::Overflow)?.max(0))
    }

    fn noisy(&self, functional: &str, of: &[&Labelled], value: i128, bound: i128) -> Result<i128, DisclosureError> {
        let key = self.key(functional, of)?;
        let noise = NoiseKey::scaled(&key, bound, self.table)?;
        value.checked_add(noise).ok_or(DisclosureError::Overflow)
    }

    fn most(&self) -> i128 {
        i128::from(self.shape.max_rows)
    }

    fn rows(&self, statistics: &CellStatistics) -> Result<i128, DisclosureError> {
        if self.shape.register {
            return self.units(0, statistics).map(i128::from);
        }
        Ok(self.noisy("rows", &[], i128::from(statistics.rows), self.most())?.max(0))
    }

    /// The number of records with a value of a measure. If every record has a value, this is the number of records.
    fn present(&self, measure: usize, place: usize, statistics: &CellStatistics) -> Result<i128, DisclosureError> {
        let of = self.measure(measure)?;
        if !of.nullable {
            return self.rows(statistics);
        }
        let present = i128::from(statistics.present.get(place).copied().unwrap_or(0));
        Ok(self.noisy(&format!("present {}", of.value), &[&of.value], present, self.most())?.max(0))
    }

    fn measure(&self, measure: usize) -> Result<&MeasureShape, DisclosureError> {
        self.shape.measures.get(measure).ok_or(DisclosureError::Spec("no such measure"))
    }

    /// The place of a measure's sum among the functionals. Squares and products need the sums of their measures.
    ///
    /// # Errors
    /// If the shape has no such sum.
    fn place_of_sum(&self, measure: usize) -> Result<usize, DisclosureError> {
        let sum = self.shape.functionals.iter().position(|f| *f == FunctionalShape::Sum(measure));
        sum.ok_or(DisclosureError::Spec("a moment without the sum that it rests on"))
    }

    /// Σx: Σ(x − c) with noise, plus c times the perturbed number of values.
    fn sum(&self, measure: usize, statistics: &CellStatistics) -> Result<i128, DisclosureError> {
        let overflow = || DisclosureError::Overflow;
        let of = self.measure(measure)?;
        let place = self.place_of_sum(measure)?;
        let present = self.present(measure, place, statistics)?;
        let (middle, half) = of.about().ok_or_else(overflow)?;
        let bound = half.checked_mul(self.most()).ok_or_else(overflow)?;
        let centred =
            statistics.sums.get(place).copied().ok_or(DisclosureError::Spec("a sum is not among the figures"))?;
        let name = format!("sum {} {}..{}", of.value, of.lower, of.upper);
        let sum = self.noisy(&name, &[&of.value], centred, bound)?;
        let back = middle.checked_mul(present).ok_or_else(overflow)?;
        let sum = sum.checked_add(back).ok_or_else(overflow)?;
        // This number of values between the bounds cannot add up to less or more.
        let (least, most) = (of.lower.checked_mul(present), of.upper.checked_mul(present));
        let (least, most) = least.zip(most).ok_or_else(overflow)?;
        Ok(sum.clamp(least, most))
    }

    /// Σx² = Σ(x − c)² + 2c Σx − c² n, each part protected.
    fn square(&self, measure: usize, place: usize, statistics: &CellStatistics) -> Result<i128, DisclosureError> {
        let overflow = || DisclosureError::Overflow;
        let of = self.measure(measure)?;
        let (middle, half) = of.about().ok_or_else(overflow)?;
        let (sum, present) =
            (self.sum(measure, statistics)?, self.present(measure, self.place_of_sum(measure)?, statistics)?);
        let bound = half.checked_mul(half).and_then(|b| b.checked_mul(self.most())).ok_or_else(overflow)?;
        let centred = statistics.sums.get(place).copied().ok_or(DisclosureError::Spec("no such functional"))?;
        let name = format!("square {} {}..{}", of.value, of.lower, of.upper);
        let squares = self.noisy(&name, &[&of.value], centred, bound)?;
        let twice = middle.checked_mul(2).and_then(|c| c.checked_mul(sum)).ok_or_else(overflow)?;
        let constant = middle.checked_mul(middle).and_then(|c| c.checked_mul(present)).ok_or_else(overflow)?;
        squares.checked_add(twice).and_then(|s| s.checked_sub(constant)).ok_or_else(overflow)
    }

    /// Σxy = Σ(x − c)(y − d) + c Σy + d Σx − cd n.
    fn product(&self, a: usize, b: usize, place: usize, statistics: &CellStatistics) -> Result<i128, DisclosureError> {
        let overflow = || DisclosureError::Overflow;
        let (of_a, of_b) = (self.measure(a)?, self.measure(b)?);
        let ((ca, half_a), (cb, half_b)) = (of_a.about().ok_or_else(overflow)?, of_b.about().ok_or_else(overflow)?);
        let (sum_a, sum_b) = (self.sum(a, statistics)?, self.sum(b, statistics)?);
        let present = self.present(a, self.place_of_sum(a)?, statistics)?;
        let bound = half_a.checked_mul(half_b).and_then(|h| h.checked_mul(self.most())).ok_or_else(overflow)?;
        let centred = statistics.sums.get(place).copied().ok_or(DisclosureError::Spec("no such functional"))?;
        let name = format!(
            "product {} {}..{} {} {}..{}",
            of_a.value, of_a.lower, of_a.upper, of_b.value, of_b.lower, of_b.upper
        );
        let products = self.noisy(&name, &[&of_a.value, &of_b.value], centred, bound)?;
        let back = ca.checked_mul(sum_b).zip(cb.checked_mul(sum_a)).and_then(|(x, y)| x.checked_add(y));
        let constant = ca.checked_mul(cb).and_then(|c| c.checked_mul(present));
        let (back, constant) = back.zip(constant).ok_or_else(overflow)?;
        products.checked_add(back).and_then(|s| s.checked_sub(constant)).ok_or_else(overflow)
    }
}
