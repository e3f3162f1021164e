//! A table for people who sign, approve and audit, in English and in SQL.

use super::{Functional, Made, RowDomain, Table};

impl Table {
    /// One paragraph of plain English.
    #[must_use]
    pub fn words(&self) -> String {
        let rows = match &self.domain {
            RowDomain::Units(unit) => format!("each {unit} of {}", self.title().replace(' ', " and ")),
            RowDomain::Rows(dataset) => format!("each row of {dataset}"),
        };
        let columns: Vec<String> =
            self.columns.iter().map(|c| format!("{}{}", c.reference.title(), weighed(c.weight))).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(", by {}", columns.join(" and ")) };
        let figures: Vec<String> = self.functionals.iter().map(words).collect();
        format!(
            "Figures over {rows}{columns}, with totals: {}. At most {} may be combined, and this combines {}. Each figure is \
             changed a little at random, and figures of fewer than {} are withheld. Conditions are never sent: they pick from \
             the figures that boroughs release.",
            figures.join("; "),
            match self.dimensions() {
                1 => "1 column".to_owned(),
                most => format!("{most} columns"),
            },
            self.weight(),
            self.threshold
        )
    }

    /// The same as SQL.
    #[must_use]
    pub fn sql(&self) -> String {
        let columns: Vec<String> =
            self.columns.iter().map(|c| self.column_name(c.made == Made::Bands, &c.reference)).collect();
        let columns: Vec<String> = columns.iter().map(|c| format!("\"{c}\"")).collect();
        let figures = self.functionals.iter().map(|f| match f {
            Functional::Units(domain) => format!("COUNT(DISTINCT {domain})"),
            Functional::Rows => "COUNT(*)".to_owned(),
            Functional::Present(of) => format!("COUNT(\"{of}\")"),
            Functional::Sum(of) => format!("SUM(\"{of}\")"),
            Functional::Square(of) => format!("SUM(\"{of}\" * \"{of}\")"),
            Functional::Product(a, b) => format!("SUM(\"{a}\" * \"{b}\")"),
        });
        let select: Vec<String> = columns.iter().cloned().chain(figures).collect();
        let cube = if columns.is_empty() { String::new() } else { format!(" GROUP BY CUBE ({})", columns.join(", ")) };
        format!("SELECT {} FROM \"{}\"{cube}", select.join(", "), self.domain.table_name())
    }
}

/// What a column weighs, where it is not one column.
fn weighed(weight: u32) -> String {
    match weight {
        0 => " (which adds no column)".to_owned(),
        1 => String::new(),
        more => format!(" (which counts as {more} columns, because people share it)"),
    }
}

fn words(functional: &Functional) -> String {
    match functional {
        Functional::Units(domain) => format!("how many there are (each {domain} once)"),
        Functional::Rows => "the number of rows".to_owned(),
        Functional::Present(of) => format!("the number with a {of}"),
        Functional::Sum(of) => format!("the sum of {of}"),
        Functional::Square(of) => format!("the sum of squares of {of}"),
        Functional::Product(a, b) => format!("the sum of products of {a} and {b}"),
    }
}
