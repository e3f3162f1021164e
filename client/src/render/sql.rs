//! A statement laid out for reading: each clause on a line of its own.

/// Words that begin a clause.
const CLAUSES: [&str; 8] = ["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "JOIN"];

/// Words that stand before JOIN.
const SIDES: [&str; 5] = ["LEFT", "RIGHT", "INNER", "FULL", "CROSS"];

/// The clauses of a statement, each on a line with a margin. What is in brackets stays in its line, and texts in quotes
/// are not touched.
pub fn laid_out(sql: &str) -> String {
    let words = words(sql);
    let (mut lines, mut line, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut before = String::new();
    for (place, word) in words.iter().enumerate() {
        let upper = word.to_uppercase();
        let joins = SIDES.contains(&upper.as_str())
            && words
                .get(place.saturating_add(1))
                .is_some_and(|next| ["JOIN", "OUTER"].contains(&&*next.to_uppercase()));
        let begins = CLAUSES.contains(&upper.as_str()) && !SIDES.contains(&before.as_str()) && before != "OUTER";
        if depth == 0 && (joins || begins) && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if !word.starts_with('\'') {
            depth = depth.saturating_add(word.matches('(').count()).saturating_sub(word.matches(')').count());
        }
        before = upper;
    }
    lines.push(line);
    lines.iter().map(|line| format!("    {line}\n")).collect::<String>().trim_end_matches('\n').to_owned()
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
            laid_out(sql),
            "    SELECT b.name, COUNT(*) FILTER (WHERE adult) AS n\n    FROM roll r\n    LEFT JOIN boroughs b ON b.gss = r.borough\n    \
             WHERE kind = 'from  where'\n    GROUP BY b.name\n    ORDER BY n"
        );
    }
}
