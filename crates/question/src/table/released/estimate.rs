//! The sum of some cells, released ones and withheld ones together, and its errors.
//!
//! A figure of one cell is its released figure, to the byte. A figure of several is the sum of the fitted cells, with its
//! variance. Where a withheld cell stands in no released margin nothing is estimated, and the figure lacks it. Squares and
//! products are never estimated.

use std::collections::{BTreeMap, HashMap};

use loda_contract::Value;

use super::cells::{TableCells, TableRow, figure_of, total, within};
use super::figure::{CellFigure, Estimate, FoundCells};
use super::fit::{Fit, Fitted, Margin, NOWHERE};
use crate::table::lower::LoweredFigure;
use crate::table::possible::{Cell, somebody};
use crate::table::{ColumnRef, Functional, RowDomain, Table, TableColumn};

/// Cells of a table that are fitted at most, of each period.
const FITTED: usize = 60_000;

/// A cell with enough units of another kind may hold so many times as many of those that are counted.
const TO_A_UNIT: f64 = 2.5;

/// A figure's cells, and the other released cells of their table.
pub(super) struct Adding<'a> {
    table: &'a Table,
    figure: &'a LoweredFigure,
    answer: &'a TableCells,
    cells: &'a [(Cell, Option<&'a TableRow>)],
}

/// The sums of the fitted cells of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    units: f64,
    doubt: f64,
    withheld: Option<f64>,
    /// Of a sum: the part of estimated units, away from the middle of the bounds, and its variance.
    more: f64,
    variance: f64,
    covariance: f64,
}

/// The fitted cells of a table, by the functionals that are added up and counted.
pub(super) type Fits = BTreeMap<(usize, usize), Vec<Slice>>;

/// Some of the cells, fitted.
pub(super) struct Slice {
    /// Where each cell is here.
    at: HashMap<usize, usize>,
    fitted: Fitted,
    /// For each cell the mean of the summed measure in the released margin that is nearest to it.
    means: Vec<Option<f64>>,
    /// The cells of each margin by its columns: their places in it.
    margins: Vec<(Vec<usize>, HashMap<Cell, usize>)>,
}

impl<'a> Adding<'a> {
    /// A figure over these cells.
    pub(super) fn new(
        table: &'a Table,
        figure: &'a LoweredFigure,
        answer: &'a TableCells,
        cells: &'a [(Cell, Option<&'a TableRow>)],
    ) -> Self {
        Self { table, figure, answer, cells }
    }

    fn functional(&self) -> Option<&Functional> {
        self.table.functionals().get(self.figure.functional)
    }

    /// The figure of each group of cells. `together`: whether one withheld cell is wanted too.
    pub(super) fn figures(
        &self,
        groups: &BTreeMap<Vec<Value>, Vec<usize>>,
        together: bool,
        fits: &mut Fits,
    ) -> FoundCells {
        let estimated = match self.functional() {
            // Units that stand in several cells do not add up, and of moments nothing is estimated.
            Some(Functional::Square(_) | Functional::Product(..)) | None => false,
            Some(Functional::Units(_)) => match self.table.domain() {
                RowDomain::Units(_) => true,
                RowDomain::Rows(of) => self.table.contract(of).is_some_and(|contract| contract.one_row_a_unit()),
            },
            Some(_) => true,
        };
        let withheld = |members: &[usize]| members.iter().any(|place| self.value(*place).is_none());
        let plain = groups.values().all(|members| members.len() <= 1 && !(together && withheld(members)));
        let slices: &[Slice] = match estimated && !plain {
            true => fits.entry((self.figure.functional, self.figure.counted)).or_insert_with(|| self.slices()),
            false => &[],
        };
        let mut estimates = self.estimates(slices, groups.values().map(Vec::as_slice)).into_iter();
        let found = groups.iter().map(|(key, members)| {
            let estimate = estimates.next().flatten();
            let value = total(self.figure.functional, members.iter().filter_map(|place| self.cells.get(*place)?.1));
            let lacks = withheld(members);
            let figure = match (lacks, &estimate) {
                _ if members.is_empty() => CellFigure::default(),
                // One cell by itself.
                _ if members.len() == 1 => CellFigure { value, lacks, estimate },
                (_, Some(of)) => CellFigure { value: Some(of.figure), lacks: false, estimate },
                (true, None) if !self.is_plain() => CellFigure { value: None, lacks, estimate },
                (_, None) => CellFigure { value, lacks, estimate },
            };
            (key.clone(), figure)
        });
        found.collect()
    }

    /// Whether the released part of it may be told where the rest is withheld.
    fn is_plain(&self) -> bool {
        !matches!(self.functional(), Some(Functional::Square(_) | Functional::Product(..)))
    }

    fn value(&self, place: usize) -> Option<i128> {
        self.cells.get(place)?.1.and_then(|row| figure_of(row, self.figure.functional))
    }

    /// The estimate of each group; `None` where a withheld cell stands in no released margin.
    fn estimates<'m>(&self, slices: &[Slice], groups: impl Iterator<Item = &'m [usize]>) -> Vec<Option<Estimate>> {
        let groups: Vec<&[usize]> = groups.collect();
        if slices.is_empty() {
            return groups.iter().map(|members| self.released(members)).collect();
        }
        let mut found: Vec<Option<Known>> = groups.iter().map(|_| Some(Known::default())).collect();
        for slice in slices {
            let members: Vec<Vec<usize>> = groups.iter().map(|of| slice.here(of.iter())).collect();
            let withheld = |of: &&usize| self.value(**of).is_none();
            let lacking: Vec<Vec<usize>> = groups.iter().map(|of| slice.here(of.iter().filter(withheld))).collect();
            let doubts = slice.fitted.errors(&members);
            let mut of_lacking = vec![(0.0, 0.0); groups.len()];
            if self.sums() {
                // The errors of all and of withheld ones covary, as the rest tells.
                let rest: Vec<Vec<usize>> =
                    groups.iter().map(|of| slice.here(of.iter().filter(|place| !withheld(place)))).collect();
                let (own, rest) = (slice.fitted.errors(&lacking), slice.fitted.errors(&rest));
                let both = doubts.iter().zip(own).zip(rest);
                of_lacking = both.map(|((all, own), rest)| (own, (all + own - rest) / 2.0)).collect();
            }
            let each = members.iter().zip(&lacking).zip(doubts.iter().zip(of_lacking));
            for (known, ((members, lacking), (doubt, of_lacking))) in found.iter_mut().zip(each) {
                *known = known.take().and_then(|known| self.with(known, slice, members, lacking, *doubt, of_lacking));
            }
        }
        found
            .into_iter()
            .zip(&groups)
            .map(|(known, members)| match (known, members) {
                // It is its released figure.
                (Some(_), [one]) if self.value(*one).is_some() => self.released(members),
                (Some(known), _) => Some(self.estimate(&known, members)),
                (None, _) => None,
            })
            .collect()
    }

    /// The sums of a group with the part of one slice.
    fn with(
        &self,
        known: Known,
        slice: &Slice,
        members: &[usize],
        lacking: &[usize],
        doubt: f64,
        (of_lacking, with_all): (f64, f64),
    ) -> Option<Known> {
        if !lacking.iter().all(|at| slice.fitted.told.get(*at) == Some(&true)) {
            return None;
        }
        let absent: f64 = slice.values(lacking).sum();
        let mut known = Known {
            units: known.units + slice.values(members).sum::<f64>(),
            doubt: known.doubt + doubt,
            withheld: if lacking.is_empty() { known.withheld } else { Some(known.withheld.unwrap_or(0.0) + absent) },
            ..known
        };
        if self.sums() {
            let means: Vec<f64> =
                lacking.iter().map(|at| slice.means.get(*at).copied().flatten()).collect::<Option<_>>()?;
            let (_, middle) = self.about();
            known.more += slice.values(lacking).zip(&means).map(|(n, mean)| n * (mean - middle)).sum::<f64>();
            let mean = means.iter().sum::<f64>() / as_float(means.len().max(1) as i128);
            let apart = mean - middle;
            known.variance += apart * apart * of_lacking + 2.0 * middle * apart * with_all;
            known.variance += absent.max(0.0) * self.spread(mean);
            known.covariance += apart * with_all;
        }
        Some(known)
    }

    /// Of cells that are all released: their sum.
    fn released(&self, members: &[usize]) -> Option<Estimate> {
        let rows: Vec<&TableRow> = members.iter().filter_map(|place| self.cells.get(*place)?.1).collect();
        if rows.len() < members.len() {
            return None;
        }
        let figure = total(self.figure.functional, rows.iter().copied())?;
        let units = total(self.figure.counted, rows.iter().copied()).unwrap_or(0);
        let n = as_float(rows.len() as i128);
        let doubt = n * self.noise();
        let (half, middle) = self.about();
        let (variance, covariance) = match self.sums() {
            true => (n * half * half * (self.answer.noise + 1.0 / 12.0) + middle * middle * doubt, middle * doubt),
            false => (doubt, doubt),
        };
        Some(Estimate {
            figure,
            variance,
            units: as_float(units),
            doubt,
            covariance,
            with_whole: 0.0,
            withheld: None,
            least: self.least(),
        })
    }

    /// A count is the sum of the fitted cells. A sum is the distance of its values from the middle of their bounds, in
    /// released cells and by the means of margins in others, and the middle for each that is counted.
    fn estimate(&self, known: &Known, members: &[usize]) -> Estimate {
        let (half, middle) = self.about();
        let (figure, variance, covariance) = if self.sums() {
            let rows: Vec<&TableRow> = members.iter().filter_map(|place| self.cells.get(*place)?.1).collect();
            let sum = total(self.figure.functional, rows.iter().copied()).unwrap_or(0);
            let n = as_float(total(self.figure.counted, rows.iter().copied()).unwrap_or(0));
            let of_cells = as_float(rows.len() as i128) * half * half * (self.answer.noise + 1.0 / 12.0);
            let more = known.more + middle * (known.units - n);
            let variance = of_cells + known.variance + middle * middle * known.doubt;
            (sum.saturating_add(rounded(more)), variance.max(0.0), middle * known.doubt + known.covariance)
        } else {
            (rounded(known.units).max(0), known.doubt, known.doubt)
        };
        let Known { units, doubt, withheld, .. } = *known;
        Estimate { figure, variance, units, doubt, covariance, with_whole: 0.0, withheld, least: self.least() }
    }

    /// For each group the covariance of the errors of a count and its whole, where the whole is of the same columns or of
    /// fewer. `groups`: of each the members here, and among the cells of the whole.
    pub(super) fn with_whole(&self, whole: &Self, fits: &Fits, groups: &[(&[usize], &[usize])]) -> Vec<f64> {
        let columns: Option<Vec<usize>> =
            whole.figure.places.iter().map(|place| self.figure.places.iter().position(|own| own == place)).collect();
        let (Some(columns), false) = (columns, self.sums() || whole.sums()) else { return vec![0.0; groups.len()] };
        let same = columns.len() == self.figure.places.len();
        let Some(slices) = fits.get(&(self.figure.functional, self.figure.counted)).filter(|slices| !slices.is_empty())
        else {
            // Released cells alone: the cells that both hold have the same error.
            let both = |(of, others): &(&[usize], &[usize])| of.iter().filter(|place| others.contains(place)).count();
            let noise = if same { self.noise() } else { 0.0 };
            return groups.iter().map(|group| as_float(both(group) as i128) * noise).collect();
        };
        let of_group = |(members, of_whole): &(&[usize], &[usize])| -> f64 {
            let each = slices.iter().filter(|slice| slice.fitted.affords(groups.len())).map(|slice| {
                let own = slice.here(members.iter());
                if same {
                    return slice.fitted.covariance(&own, &slice.here(of_whole.iter()));
                }
                // A figure of one cell is its released figure, and its noise is its own.
                let margin = slice.margins.iter().position(|(of, _)| *of == columns).filter(|_| members.len() > 1);
                let Some((margin, (_, places))) = margin.and_then(|at| Some((at, slice.margins.get(at)?))) else {
                    return 0.0;
                };
                let groups = of_whole.iter().filter_map(|place| places.get(&whole.cells.get(*place)?.0).copied());
                slice.fitted.with_margin(&own, margin, &groups.collect::<Vec<_>>())
            });
            each.sum()
        };
        groups.iter().map(of_group).collect()
    }

    fn sums(&self) -> bool {
        self.figure.functional != self.figure.counted
    }

    /// The cells of each period, or all of them, fitted. None where they are too many.
    fn slices(&self) -> Vec<Slice> {
        let period = self.figure.columns.iter().position(|column| column.period.is_some());
        let mut parts: BTreeMap<Option<Value>, Vec<usize>> = BTreeMap::new();
        for (place, (cell, _)) in self.cells.iter().enumerate() {
            let of = period.and_then(|period| cell.get(period)).map(|(_, value)| value.clone());
            parts.entry(of).or_default().push(place);
        }
        if parts.values().any(|part| part.len() > FITTED) {
            return Vec::new();
        }
        let margins = self.margins(period);
        parts.into_values().map(|part| self.slice(part, &margins)).collect()
    }

    /// Which columns the tables of fewer columns have that a node answers, the most first.
    fn margins(&self, period: Option<usize>) -> Vec<(Vec<usize>, HashMap<Cell, &'a TableRow>)> {
        let width = self.figure.columns.len();
        let register = matches!(self.table.domain(), RowDomain::Units(_));
        let mut subsets: Vec<Vec<usize>> = (0_u32..1 << width.min(16))
            .map(|bits| (0..width).filter(|place| bits >> place & 1 == 1).collect())
            .collect();
        subsets.retain(|of| of.len() < width && period.is_none_or(|period| of.contains(&period)));
        // Of whom no column tells, nobody knows in which register they would be.
        subsets.retain(|of| !(register && of.is_empty()));
        subsets.sort_by_key(|of| std::cmp::Reverse(of.len()));
        subsets
            .into_iter()
            .map(|of| {
                let rows = self.answer.rows.iter().filter_map(|row| Some((within(self.figure, row, &of)?, row)));
                let rows = rows.collect();
                (of, rows)
            })
            .collect()
    }

    fn slice(&self, part: Vec<usize>, margins: &[(Vec<usize>, HashMap<Cell, &'a TableRow>)]) -> Slice {
        let sums = self.sums();
        let mut means = vec![None; part.len()];
        let (mut fitted, mut places_of) = (Vec::with_capacity(margins.len()), Vec::with_capacity(margins.len()));
        for (columns, rows) in margins {
            let of_margin: Vec<TableColumn> =
                columns.iter().filter_map(|c| self.figure.columns.get(*c).cloned()).collect();
            let mut places: HashMap<Cell, usize> = HashMap::new();
            let mut margin = Margin { of: Vec::with_capacity(part.len()), figures: Vec::new() };
            for (at, place) in part.iter().enumerate() {
                let cell: Option<Cell> = self
                    .cells
                    .get(*place)
                    .and_then(|(cell, _)| columns.iter().map(|c| cell.get(*c).cloned()).collect());
                let cell = cell.unwrap_or_default();
                let row = rows.get(&cell).copied();
                let figure = row.map(|row| figure_of(row, self.figure.counted));
                // A cell that tells nothing of the measure's dataset, or that is nobody's, says nothing here.
                if figure == Some(None) || !somebody(&of_margin, &cell) {
                    margin.of.push(NOWHERE);
                    continue;
                }
                let next = places.len();
                let group = *places.entry(cell).or_insert(next);
                if group == next {
                    margin.figures.push(figure.flatten().map(as_float));
                }
                margin.of.push(group);
                let mean = row.filter(|_| sums).and_then(|row| {
                    let n = figure_of(row, self.figure.counted).filter(|n| *n > 0)?;
                    Some(as_float(figure_of(row, self.figure.functional)?) / as_float(n))
                });
                if let (Some(slot @ None), Some(mean)) = (means.get_mut(at), mean) {
                    *slot = Some(mean);
                }
            }
            fitted.push(margin);
            places_of.push((columns.clone(), places));
        }
        let counts = part.iter().map(|place| {
            // A released cell without the measure has none of it.
            self.cells.get(*place)?.1.map(|row| figure_of(row, self.figure.counted).map_or(0.0, as_float))
        });
        let fit = Fit::new(counts.collect(), fitted, self.noise(), self.least() * self.to_a_unit());
        let at = part.into_iter().enumerate().map(|(at, place)| (place, at)).collect();
        Slice { at, fitted: fit.solve(), means, margins: places_of }
    }

    /// The least figure of units that is released.
    fn least(&self) -> f64 {
        f64::from(self.table.threshold())
    }

    /// How many of the units that are counted there may be to one of the units that a cell needs enough of.
    fn to_a_unit(&self) -> f64 {
        match self.table.domain() {
            RowDomain::Units(_) if self.figure.columns.iter().all(|column| column.unit.is_none()) => 1.0,
            RowDomain::Rows(_) if self.most() <= 1.0 => 1.0,
            RowDomain::Units(_) | RowDomain::Rows(_) => TO_A_UNIT,
        }
    }

    /// How many rows of a unit count in a cell at most.
    fn most(&self) -> f64 {
        let RowDomain::Rows(dataset) = self.table.domain() else { return 1.0 };
        let units = self.table.contract(dataset).into_iter().flat_map(|contract| &contract.units);
        let most = units.filter(|unit| unit.about_people).filter_map(|unit| unit.max_rows).min();
        most.map_or(1.0, |most| as_float(i128::from(most)))
    }

    /// The variance of the noise on the count of one cell (`loda-disclosure`).
    fn noise(&self) -> f64 {
        let (units, most) = (self.answer.noise, self.most());
        match self.table.functionals().get(self.figure.counted) {
            Some(Functional::Units(_)) => units,
            Some(Functional::Rows | Functional::Present(_)) => most * most * units + (most * most - 1.0) / 12.0,
            _ => 0.0,
        }
    }

    /// Of a sum, the scale of noise in one cell, and the middle of the bounds that values are kept within.
    fn about(&self) -> (f64, f64) {
        let bounds = match self.functional() {
            Some(Functional::Sum(of)) => self.bounds(of),
            _ => None,
        };
        bounds.map_or((0.0, 0.0), |(lower, upper)| ((upper - lower) / 2.0 * self.most(), (upper + lower) / 2.0))
    }

    /// The variance of values of a mean between their bounds: as if they were spread evenly, or less where they are near to
    /// one end.
    fn spread(&self, mean: f64) -> f64 {
        let Some(Functional::Sum(of)) = self.functional() else { return 0.0 };
        let Some((lower, upper)) = self.bounds(of) else { return 0.0 };
        let (below, above) = ((mean - lower).max(0.0), (upper - mean).max(0.0));
        (below * above / 3.0).min(below * below).min(above * above)
    }

    /// The bounds that each value is kept within, in scaled units.
    fn bounds(&self, of: &ColumnRef) -> Option<(f64, f64)> {
        let column = self.table.contract(&of.dataset)?.column(of.column.as_deref()?)?;
        let loda_contract::Role::Measure { lower, upper, clamp, .. } = &column.role else { return None };
        let (lower, upper) = clamp.unwrap_or((*lower, *upper));
        Some((as_float(lower), as_float(upper)))
    }
}

impl Slice {
    fn here<'p>(&self, places: impl Iterator<Item = &'p usize>) -> Vec<usize> {
        places.filter_map(|place| self.at.get(place).copied()).collect()
    }

    fn values<'s>(&'s self, places: &'s [usize]) -> impl Iterator<Item = f64> + 's {
        places.iter().filter_map(|place| self.fitted.values.get(*place).copied())
    }
}

#[allow(clippy::cast_precision_loss, reason = "an estimate has 53 bits")]
fn as_float(value: i128) -> f64 {
    value as f64
}

#[allow(clippy::cast_possible_truncation, reason = "what is too large for an integer ends at the largest")]
fn rounded(value: f64) -> i128 {
    value.round() as i128
}
