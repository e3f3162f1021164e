//! The headings of columns that the asker gave no name.

/// How the engine writes a literal of a type.
const LITERALS: [&str; 4] = ["Float64(", "Int64(", "Utf8(", "Boolean("];

/// A column's name without what only the engine needs: the types of literals, and tables before columns.
pub(super) fn heading(name: &str) -> String {
    let mut name = name.replace(" ASC NULLS LAST", "");
    for literal in LITERALS {
        while let Some((before, rest)) = name.split_once(literal) {
            let Some((value, after)) = rest.split_once(')') else { return name };
            name = format!("{before}{value}{after}");
        }
    }
    // A point between two names follows a table.
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(name.len());
    let mut signs = name.chars().peekable();
    while let Some(sign) = signs.next() {
        let next = signs.peek().copied().is_some_and(|next| next.is_ascii_lowercase() || next == '_');
        let table = out.trim_end_matches(is_name).len();
        let before = out.get(table..).unwrap_or_default();
        if sign == '.' && next && before.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') {
            out.truncate(table);
        } else {
            out.push(sign);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_the_engine_stands_over_a_column() {
        for (name, expected) in [
            (
                "percentile_cont(Float64(0.99)) WITHIN GROUP [social_care_clients.weekly_cost ASC NULLS LAST]",
                "percentile_cont(0.99) WITHIN GROUP [weekly_cost]",
            ),
            ("median(repairs.cost)", "median(cost)"),
            ("count(*) * Int64(2) / sum(a.n)", "count(*) * 2 / sum(n)"),
            ("people", "people"),
            ("share of 2.5 %", "share of 2.5 %"),
            ("a.b. c", "b. c"),
            ("Float64(", "Float64("),
        ] {
            assert_eq!(heading(name), expected);
        }
    }
}
