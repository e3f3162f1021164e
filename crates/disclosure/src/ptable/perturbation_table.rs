//! A perturbation table: lookup, checks and summary.

use std::fmt;

/// The last perturbation cell value (pcv): a table has rows 1..=750.
pub(super) const LAST_PCV: u32 = 750;

/// Counts above [`LAST_PCV`] use the last 250 rows in turn.
const WRAP: u64 = 250;

/// The row of a perturbation table for a count of n units: n itself up to 750, then 501..=750 in turn, so that large counts need
/// no larger table. 0 has no row. Source: Office for National Statistics, cell-key method, step 4.
#[must_use]
pub fn pcv(n: u64) -> u32 {
    let row = if n <= u64::from(LAST_PCV) { n } else { (n - 1) % WRAP + 501 };
    u32::try_from(row).unwrap_or(LAST_PCV)
}

/// The reason why a perturbation table could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PTableError {
    /// A parameter is out of range.
    #[error("invalid perturbation table parameter: {0}")]
    Parameter(&'static str),
    /// A row is wrong.
    #[error("perturbation table, line {line}: {problem}")]
    Line {
        /// For CSV the line of the file, with the header as line 1; otherwise the row's place, from 1.
        line: usize,
        /// The fault.
        problem: &'static str,
    },
    /// The allowed noise of a row is only above or only below zero, or the solver did not converge.
    #[error("no noise with mean zero for a count of {pcv}: widen the noise or block less")]
    NoDistribution {
        /// The row's perturbation cell value.
        pcv: u32,
    },
}

/// A perturbation table for keys in 0..modulus.
#[derive(Clone, PartialEq)]
pub struct PTable {
    modulus: u32,
    /// The row of pcv is at index pcv − 1: intervals by `lo`, without overlap. A key in no interval has noise 0.
    rows: Vec<Vec<Interval>>,
    summary: Summary,
}

/// An inclusive range of cell keys with one noise value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    lo: u32,
    hi: u32,
    value: i32,
}

/// The figures of a table over all rows with uniform keys, for printing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Keys are in 0..modulus.
    pub modulus: u32,
    /// The largest magnitude of the noise.
    pub max_noise: u32,
    /// The largest variance of a row.
    pub variance: f64,
    /// The mean of the row whose mean is furthest from zero.
    pub mean: f64,
    /// The mean error of a large count: the mean magnitude of the noise on the last row.
    pub expected_error: f64,
}

/// A row of input.
pub(super) struct TransitionRow {
    /// The line's number, for errors.
    pub(super) line: usize,
    pub(super) pcv: u32,
    /// The first key.
    pub(super) lo: u32,
    /// The last key.
    pub(super) hi: u32,
    /// The noise.
    pub(super) value: i32,
}

impl PTable {
    /// Makes a table from rows (pcv, first key, last key, noise) in any order. Both keys are inclusive. A key that no row names
    /// has no noise, as in the ONS package.
    ///
    /// # Errors
    /// If a pcv is outside 1..=750, keys are outside 0..modulus or reversed, noise makes a count negative or is above 750, or two
    /// rows share a key. The error names the row's place, from 1.
    pub fn from_rows(modulus: u32, rows: impl Iterator<Item = (u32, u32, u32, i32)>) -> Result<Self, PTableError> {
        let lines = rows.enumerate().map(|(index, (pcv, lo, hi, value))| {
            let line = index + 1;
            TransitionRow { line, pcv, lo, hi, value }
        });
        Self::from_lines(modulus, lines.collect())
    }

    /// The number of keys, M.
    #[must_use]
    pub fn modulus(&self) -> u32 {
        self.modulus
    }

    /// SHA-256 over the table, in hexadecimal. Different tables have different fingerprints.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        digest.update(&self.modulus.to_be_bytes());
        for row in &self.rows {
            digest.update(&(row.len() as u64).to_be_bytes());
            for interval in row {
                digest.update(&interval.lo.to_be_bytes());
                digest.update(&interval.hi.to_be_bytes());
                digest.update(&interval.value.to_be_bytes());
            }
        }
        digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The noise for a count of n units with the cell key `ckey`, taken modulo M; 0 if no row names the key, and for n = 0.
    #[must_use]
    pub fn lookup(&self, n: u64, ckey: u32) -> i32 {
        let key = ckey % self.modulus;
        let row = usize::try_from(pcv(n)).ok().and_then(|pcv| pcv.checked_sub(1));
        let row = row.and_then(|index| self.rows.get(index)).map_or(&[][..], Vec::as_slice);
        let after = row.partition_point(|interval| interval.lo <= key);
        let interval = after.checked_sub(1).and_then(|index| row.get(index));
        interval.filter(|interval| key <= interval.hi).map_or(0, |interval| interval.value)
    }

    /// The table's figures over all rows.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// # Errors
    /// As [`PTable::from_rows`], with the line of each row.
    pub(super) fn from_lines(modulus: u32, mut lines: Vec<TransitionRow>) -> Result<Self, PTableError> {
        if modulus < 2 {
            return Err(PTableError::Parameter("the modulus must be at least 2"));
        }
        for line in &lines {
            line.check(modulus)?;
        }
        lines.sort_unstable_by_key(|line| (line.pcv, line.lo, line.line));
        let mut rows: Vec<Vec<Interval>> = Vec::new();
        rows.resize_with(usize::try_from(LAST_PCV).unwrap_or(0), Vec::new);
        let mut last: Option<&TransitionRow> = None;
        for line in &lines {
            if let Some(last) = last
                && last.pcv == line.pcv
                && line.lo <= last.hi
            {
                let problem = "overlaps another row";
                return Err(PTableError::Line { line: last.line.max(line.line), problem });
            }
            last = Some(line);
            let row = usize::try_from(line.pcv - 1).ok().and_then(|index| rows.get_mut(index));
            if let Some(row) = row {
                row.push(Interval { lo: line.lo, hi: line.hi, value: line.value });
            }
        }
        Ok(Self { modulus, summary: Summary::of(modulus, &rows), rows })
    }
}

impl Summary {
    fn of(modulus: u32, rows: &[Vec<Interval>]) -> Self {
        let mut summary = Self { modulus, max_noise: 0, variance: 0.0, mean: 0.0, expected_error: 0.0 };
        for row in rows {
            let mut first = 0_i64;
            let mut second = 0_i64;
            let mut magnitude = 0_i64;
            for interval in row {
                let width = i64::from(interval.hi) - i64::from(interval.lo) + 1;
                let value = i64::from(interval.value);
                first += width * value;
                second += width * value * value;
                magnitude += width * value.abs();
                summary.max_noise = summary.max_noise.max(interval.value.unsigned_abs());
            }
            let mean = first as f64 / f64::from(modulus);
            let variance = second as f64 / f64::from(modulus) - mean * mean;
            summary.variance = summary.variance.max(variance);
            summary.expected_error = magnitude as f64 / f64::from(modulus);
            if mean.abs() > summary.mean.abs() {
                summary.mean = mean;
            }
        }
        summary
    }
}

impl TransitionRow {
    fn check(&self, modulus: u32) -> Result<(), PTableError> {
        let problem = if !(1..=LAST_PCV).contains(&self.pcv) {
            "pcv is not in 1..=750"
        } else if self.lo > self.hi {
            "the first key is above the last"
        } else if self.hi >= modulus {
            "a key is not below the modulus"
        } else if self.value.unsigned_abs() > LAST_PCV {
            "noise above 750"
        } else if i64::from(self.pcv) + i64::from(self.value) < 0 {
            "noise that makes a count negative"
        } else {
            return Ok(());
        };
        Err(PTableError::Line { line: self.line, problem })
    }
}

/// Prints the summary instead of thousands of intervals.
impl fmt::Debug for PTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PTable").field(&self.summary()).finish()
    }
}
