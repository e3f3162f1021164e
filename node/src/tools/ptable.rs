//! `loda-node ptable`: the effects of a perturbation table, before a borough chooses one.

use std::fmt::Write;

use anyhow::Context;
use loda_disclosure::{TableParameters, consequences};

/// The consequences of a table, in words and figures.
///
/// # Errors
/// The parameters give no table. The error names the parameter and the fix.
pub(crate) fn ptable(parameters: &TableParameters) -> anyhow::Result<String> {
    let table = parameters.table().context("no such table")?;
    let summary = table.summary();
    let mut text = String::new();
    writeln!(
        text,
        "Perturbation table: noise up to {}, variance {:.2} (asked: {}), modulus {}, outputs 1 to {} never occur",
        summary.max_noise, summary.variance, parameters.variance, summary.modulus, parameters.blocked_below
    )?;
    writeln!(text, "\nWhat an analyst sees")?;
    let error = summary.expected_error;
    writeln!(
        text,
        "  a count is off by {error:.2} on average: {:.1} % of 20, {:.2} % of 1,000",
        error * 5.0,
        error / 10.0
    )?;
    writeln!(
        text,
        "  a sum is off by about {:.2} half-widths of its measure's bounds, a mean by that over the count",
        error * std::f64::consts::SQRT_2
    )?;
    writeln!(text, "\nWhat an attacker gets who can describe sets with and without one person")?;
    writeln!(text, "  pairs of questions   attribute, averaging   attribute, any change   error of one value")?;
    for c in consequences(&table) {
        writeln!(
            text,
            "  {:>18}   {:>18.1} %   {:>19.1} %   {:>11.2} widths",
            c.pairs,
            c.by_averaging * 100.0,
            c.by_change * 100.0,
            c.value_error
        )?;
    }
    writeln!(
        text,
        "  Without questions: 50 % and 50 %, and 0.29 widths. Quotas, grid limits and the log must keep such"
    )?;
    writeln!(text, "  sets from being described; `dp` is for what must withstand them.")?;
    writeln!(
        text,
        "\nTo use it, in node.toml:\n  [perturbation]\n  max_noise = {}\n  variance = {}",
        parameters.max_noise, parameters.variance
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn more_noise_is_printed_as_more_error() {
        let usual = ptable(&TableParameters::default()).unwrap();
        let more = ptable(&TableParameters { max_noise: 10, variance: 12.0, ..TableParameters::default() }).unwrap();
        let error = |text: &str| -> f64 {
            let line = text.lines().find(|l| l.contains("a count is off by")).unwrap();
            line.split("off by ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
        };
        assert!(error(&more) > 1.5 * error(&usual), "{usual}\n{more}");
        assert!(ptable(&TableParameters { max_noise: 0, ..TableParameters::default() }).is_err());
    }
}
