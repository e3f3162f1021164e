//! The shape of one table: keys, unit domains, conditions, measures and figures.

use arrow::array::{ArrayRef, UInt16Array};
use arrow::datatypes::{DataType, FieldRef};

use crate::error::DisclosureError;

/// The largest number of conditions in a question: a mask is a `u16`.
pub const MAX_CONDITIONS: usize = 16;

/// The largest number of decimal places of a Decimal128.
const MAX_SCALE: i8 = 38;

/// The specification of a table. It follows from the question and the contract only, never from the data.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// The group keys: Utf8, Int64, Date32, Decimal128 or Boolean. NULL is a category of its own.
    pub keys: Vec<FieldRef>,
    /// The unit domains that contribute, at least one. Every rule holds for every domain.
    pub domains: Vec<DomainSpec>,
    /// The number of conditions, at most [`MAX_CONDITIONS`], in canonical order: bit i of a mask means that condition i holds. If
    /// conditions must be withheld, bit 0 goes first.
    pub conditions: usize,
    /// The measures that are summed: values first, then their squares and products.
    pub measures: Vec<MeasureSpec>,
    /// The columns of the result after the keys.
    pub figures: Vec<FigureSpec>,
    /// The combinations that contract and logic allow; `None`: every mask is possible in every cell. Only `threshold` uses them.
    pub possible: Option<PossibleMasks>,
}

/// A domain of protected units: person, household, property, business, …
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec {
    /// The domain's name in the contract.
    pub name: String,
    /// The largest number of rows of a unit by contract, after all joins; `None`: any number.
    pub max_rows: Option<u64>,
}

impl DomainSpec {
    pub(crate) fn one_row(&self) -> bool {
        self.max_rows == Some(1)
    }
}

/// A measure whose sums are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureSpec {
    /// The decimal places of its `Decimal128(38, scale)`.
    pub scale: i8,
    /// The declared lower bound, in scaled units (scale 2: pence). Dominance is judged on a unit's contribution above it.
    pub lower: i128,
    /// The declared upper bound, in scaled units.
    pub upper: i128,
    /// The number that each record adds.
    pub moment: Moment,
}

/// The number that each record adds to a sum. Places are those of values in [`TableSpec::measures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The value itself.
    Value,
    /// The square of a value. The bounds are those of the value.
    Square {
        /// The value's place.
        of: usize,
    },
    /// The product of two values, for records that have both.
    Product {
        /// The first value's place.
        a: usize,
        /// The second value's place.
        b: usize,
    },
}

/// The quantity that a figure counts or sums, over the rows of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// The number of records.
    Rows,
    /// The number of distinct units of a domain.
    Units {
        /// The index into [`TableSpec::domains`].
        domain: usize,
    },
    /// The number of records whose measure is not NULL: the divisor of a mean.
    Present {
        /// The index into [`TableSpec::measures`].
        measure: usize,
    },
    /// The sum of a measure, in scaled units.
    Sum {
        /// The index into [`TableSpec::measures`].
        measure: usize,
    },
}

/// One column of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FigureSpec {
    /// The column's name.
    pub name: String,
    /// The quantity that the figure counts or sums.
    pub kind: FigureKind,
    /// The conditions of the figure's set: the rows with `mask & requires == requires`.
    pub requires: u16,
    /// Figures with an equal number are parts of one derived aggregate (AVG = SUM / COUNT). If one part is withheld in a cell,
    /// all parts are.
    pub together: usize,
}

/// The (cell, mask) pairs that contract and logic allow. Any other pair is structurally empty, so its zero discloses nothing.
#[derive(Debug, Clone)]
pub struct PossibleMasks {
    /// One array for each key of the table, each as long as `masks`.
    pub keys: Vec<ArrayRef>,
    /// The masks over all conditions of the table, without nulls.
    pub masks: UInt16Array,
}

impl TableSpec {
    /// Refuses a specification that later steps could read only with special cases.
    pub(crate) fn check(&self) -> Result<(), DisclosureError> {
        let refuse = |problem| Err(DisclosureError::Spec(problem));
        if self.domains.is_empty() {
            return refuse("no unit domain");
        }
        if self.conditions > MAX_CONDITIONS {
            return refuse("more than 16 conditions");
        }
        if !self.keys.iter().all(|key| is_key_type(key.data_type())) {
            return refuse("a key has a type that cannot be grouped by");
        }
        if self.measures.iter().any(|measure| measure.scale > MAX_SCALE) {
            return refuse("a measure has more than 38 decimal places");
        }
        let is_value = |place: usize| self.measures.get(place).is_some_and(|m| m.moment == Moment::Value);
        for measure in &self.measures {
            let refers = match measure.moment {
                Moment::Value => true,
                Moment::Square { of } => is_value(of),
                Moment::Product { a, b } => is_value(a) && is_value(b),
            };
            if !refers || measure.lower > measure.upper {
                return refuse("a moment is not of values, or its bounds are reversed");
            }
        }
        for figure in &self.figures {
            if !self.mask_is_known(figure.requires) {
                return refuse("a figure requires a condition that does not exist");
            }
            match figure.kind {
                FigureKind::Units { domain } if domain >= self.domains.len() => {
                    return refuse("a figure counts a domain that does not exist");
                }
                FigureKind::Present { measure } | FigureKind::Sum { measure } if measure >= self.measures.len() => {
                    return refuse("a figure sums a measure that does not exist");
                }
                _ => {}
            }
        }
        self.possible.as_ref().map_or(Ok(()), |possible| self.check_possible(possible))
    }

    /// Whether every bit of the mask is a condition of this table.
    pub(crate) fn mask_is_known(&self, mask: u16) -> bool {
        u32::from(mask).checked_shr(u32::try_from(self.conditions).unwrap_or(u32::MAX)) == Some(0)
    }

    /// The places of the values in a measure's moment.
    pub(crate) fn values_of(&self, measure: usize) -> Vec<usize> {
        match self.measures.get(measure).map(|m| m.moment) {
            Some(Moment::Value) => vec![measure],
            Some(Moment::Square { of }) => vec![of],
            Some(Moment::Product { a, b }) => vec![a, b],
            None => Vec::new(),
        }
    }

    /// The places of the measures by which a sum is judged: the values in its moment, and the measure itself. The largest square
    /// or product stands out more from the others than its values do.
    pub(crate) fn judged(&self, measure: usize) -> Vec<usize> {
        let mut judged = self.values_of(measure);
        if !judged.contains(&measure) {
            judged.push(measure);
        }
        judged
    }

    /// The least amount that a record adds to a measure, by the declared bounds of its values, in scaled units.
    pub(crate) fn least(&self, measure: usize) -> Result<i128, DisclosureError> {
        let of = |place: usize| self.measures.get(place).ok_or(DisclosureError::Spec("no such measure"));
        let bounds = |place: usize| of(place).map(|m| [m.lower, m.upper]);
        let ends = match of(measure)?.moment {
            Moment::Value => return Ok(of(measure)?.lower),
            Moment::Square { of: value } => {
                let [lower, upper] = bounds(value)?;
                if lower <= 0 && upper >= 0 {
                    return Ok(0);
                }
                [(lower, lower), (upper, upper)].to_vec()
            }
            Moment::Product { a, b } => {
                let (a, b) = (bounds(a)?, bounds(b)?);
                a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))).collect()
            }
        };
        let products = ends.into_iter().map(|(a, b)| a.checked_mul(b));
        products.min().flatten().ok_or(DisclosureError::Overflow)
    }

    /// The conditions that some figure requires. Other conditions do not affect a released set and are not judged.
    pub(crate) fn live_conditions(&self) -> u16 {
        self.figures.iter().fold(0, |live, figure| live | figure.requires)
    }

    fn check_possible(&self, possible: &PossibleMasks) -> Result<(), DisclosureError> {
        let same_keys =
            possible.keys.len() == self.keys.len()
                && possible.keys.iter().zip(&self.keys).all(|(array, field)| {
                    array.data_type() == field.data_type() && array.len() == possible.masks.len()
                });
        if !same_keys {
            return Err(DisclosureError::Spec("possible masks do not have the keys of the table"));
        }
        if !possible.masks.iter().all(|mask| mask.is_some_and(|mask| self.mask_is_known(mask))) {
            return Err(DisclosureError::Spec("a possible mask is null or has an unknown condition"));
        }
        Ok(())
    }
}

fn is_key_type(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Int64 | DataType::Date32 | DataType::Decimal128(_, _) | DataType::Boolean
    )
}
