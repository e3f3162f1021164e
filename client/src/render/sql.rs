//! A statement laid out for reading: each clause on a line of its own.

/// Words that begin a clause.
const CLAUSES: [&str; 8] = ["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "JOIN"];

/// Words that stand before JOIN.
const SIDES: [&str; 5] = ["LEFT", "RIGHT", "INNER", "FULL", "CROSS"];

/// The margin of a clause, and of what follows it on further lines.
const MARGIN: usize = 4;
const FURTHER: usize = 8;

/// The clauses of a statement, each on a line with a margin, and on further lines where it is wider than the terminal.
/// Texts and names in quotes are not touched.
pub fn laid_out(sql: &str, width: Option<u16>) -> String {
    let words = words(sql);
    let width = width.map_or(usize::MAX, usize::from);
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut before = String::new();
    for (place, word) in words.iter().enumerate() {
        let upper = word.to_uppercase();
        let joins = SIDES.contains(&upper.as_str())
            && words
                .get(place.saturating_add(1))
                .is_some_and(|next| ["JOIN", "OUTER"].contains(&&*next.to_uppercase()));
        let begins = CLAUSES.contains(&upper.as_str()) && !SIDES.contains(&before.as_str()) && before != "OUTER";
        let full = line.chars().count().saturating_add(word.chars().count()) >= width;
        if line.is_empty() {
            line = " ".repeat(MARGIN);
        } else if depth == 0 && (joins || begins) {
            lines.push(std::mem::replace(&mut line, " ".repeat(MARGIN)));
        } else if full && line.trim_start().contains(' ') {
            lines.push(std::mem::replace(&mut line, " ".repeat(FURTHER)));
        } else {
            line.push(' ');
        }
        line.push_str(word);
        let mut quoted = false;
        for sign in word.chars() {
            match sign {
                '\'' => quoted = !quoted,
                '(' if !quoted => depth = depth.saturating_add(1),
                ')' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        before = upper;
    }
    lines.push(line);
    lines.join("\n")
}

/// The words of a statement. A text in quotes is part of one word.
fn words(sql: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for sign in sql.chars() {
        match quote {
            Some(end) if sign == end => quote = None,
            None if sign == '\'' || sign == '"' => quote = Some(sign),
            None if sign.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(sign);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_clause_has_a_line_and_texts_stay_whole() {
        let sql = "SELECT b.name, COUNT(*) FILTER (WHERE adult) AS n\n  FROM roll r LEFT JOIN boroughs b ON b.gss = r.borough \
                   WHERE kind = 'from  where' GROUP BY b.name ORDER BY n";
        assert_eq!(
            laid_out(sql, None),
            "    SELECT b.name, COUNT(*) FILTER (WHERE adult) AS n\n    FROM roll r\n    LEFT JOIN boroughs b ON b.gss = r.borough\n    \
             WHERE kind = 'from  where'\n    GROUP BY b.name\n    ORDER BY n"
        );
        let share = "SELECT COUNT(*) FILTER (WHERE tenure = 'Social rented') FROM residents";
        assert!(laid_out(share, None).contains("\n    FROM residents"), "{}", laid_out(share, None));
        let narrow = laid_out(sql, Some(40));
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
        assert!(narrow.contains("\n        ") && narrow.contains("'from  where'"), "{narrow}");
        assert_eq!(laid_out(&narrow, None), laid_out(sql, None));
    }
}
