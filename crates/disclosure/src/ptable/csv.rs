//! Reads perturbation tables from CSV.

use super::perturbation_table::{PTable, PTableError, TransitionRow};

/// The header of a table with noise by key.
const BY_KEY: &str = "pcv,ckey_lo,ckey_hi,pvalue";

/// The header of a table whose noise does not depend on the key (rounding rules such as "10-5" of the Office for National
/// Statistics).
const BY_COUNT: &str = "pcv,pvalue";

impl PTable {
    /// Reads a table with one of the headers `pcv,ckey_lo,ckey_hi,pvalue` (keys inclusive) or `pcv,pvalue` (for every key). Fields
    /// are numbers without quotes. Empty lines are ignored.
    ///
    /// # Errors
    /// If the header is another one, a line has too few or too many fields, a field is not a number, or [`PTable::from_rows`]
    /// refuses a row. The error names the line, with the header as line 1.
    pub fn parse_csv(text: &str, modulus: u32) -> Result<Self, PTableError> {
        let mut numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let header = numbered.next().map(|(_, header)| header.trim_start_matches('\u{feff}'));
        let by_key = match header {
            Some(BY_KEY) => true,
            Some(BY_COUNT) => false,
            _ => {
                let problem = "the header is neither of the two that are known";
                return Err(PTableError::Line { line: 1, problem });
            }
        };
        let mut lines = Vec::new();
        for (line, text) in numbered.filter(|(_, text)| !text.is_empty()) {
            lines.push(parse_line(line, text, by_key, modulus)?);
        }
        Self::from_lines(modulus, lines)
    }
}

fn parse_line(line: usize, text: &str, by_key: bool, modulus: u32) -> Result<TransitionRow, PTableError> {
    let mut fields = text.split(',').map(str::trim);
    let pcv = number(line, fields.next())?;
    let (lo, hi) = if by_key {
        (number(line, fields.next())?, number(line, fields.next())?)
    } else {
        (0, modulus.saturating_sub(1))
    };
    let value = number(line, fields.next())?;
    if fields.next().is_some() {
        return Err(PTableError::Line { line, problem: "too many fields" });
    }
    Ok(TransitionRow { line, pcv, lo, hi, value })
}

fn number<N: std::str::FromStr>(line: usize, field: Option<&str>) -> Result<N, PTableError> {
    let field = field.ok_or(PTableError::Line { line, problem: "too few fields" })?;
    field.parse().map_err(|_| PTableError::Line { line, problem: "not a number in range" })
}
