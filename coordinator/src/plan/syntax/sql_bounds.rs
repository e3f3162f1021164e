//! Bounds on the words of a question, checked before anything recurses over them.

use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use loda_question::{Refusal, Rule};

use crate::plan::federated_node::NOTE;

/// The longest SQL text, in bytes.
pub(crate) const MAX_SQL: usize = 100_000;

/// The longest literal or name, in bytes.
const MAX_TEXT: usize = 1_000;

/// The most texts that `||` or concat may join. Each join can double the length of a value.
const MAX_JOINED: usize = 8;

/// The most full stops in one name. The parser's time doubles with each.
const MAX_DOTS: usize = 4;

/// The most words in a question, and the most operators, brackets and keywords among them. Only these nest.
const MAX_WORDS: usize = 10_000;
const MAX_OPERATORS: usize = 1_000;

/// The most times that the parser may read a word, all words together. If it fails inside a special form (CAST, CASE,
/// POSITION …) or in a bracket within a bracket, it starts again and reads the same words as another form: up to three
/// times at each level.
const MAX_READINGS: usize = 3_000_000;

/// Keywords that start no special form before a bracket.
const PLAIN: [Keyword; 23] = [
    Keyword::ALL,
    Keyword::AND,
    Keyword::AS,
    Keyword::AVG,
    Keyword::BY,
    Keyword::COALESCE,
    Keyword::COUNT,
    Keyword::EXCEPT,
    Keyword::FILTER,
    Keyword::FROM,
    Keyword::HAVING,
    Keyword::IN,
    Keyword::INTERSECT,
    Keyword::JOIN,
    Keyword::MAX,
    Keyword::MIN,
    Keyword::ON,
    Keyword::OR,
    Keyword::OVER,
    Keyword::SUM,
    Keyword::UNION,
    Keyword::USING,
    Keyword::WHERE,
];

/// A form that is still open at a word.
enum OpenBracket {
    Bracket {
        /// Whether the parser may read the content more than once.
        special: bool,
        /// Whether its arguments are joined texts.
        joins: bool,
    },
    Case,
}

/// Refuses SQL that would cost the parser, or an expression, more than one question is allowed to.
///
/// # Errors
/// Rule `sql` or `operator-not-allowed`.
pub(crate) fn readable(sql: &str) -> Result<(), Refusal> {
    if sql.len() > MAX_SQL {
        return Err(Refusal::new(Rule::Sql, "the SQL text is too long", format!("Keep it under {MAX_SQL} bytes")));
    }
    // The planner refuses text that is not SQL.
    bounded(&Tokenizer::new(&GenericDialect {}, sql).tokenize().unwrap_or_default())
}

/// The same for another dialect, whose words may end elsewhere.
///
/// # Errors
/// As for [`readable`], and rule `sql` for a text that is not of the dialect.
pub(crate) fn readable_in(dialect: &dyn Dialect, sql: &str) -> Result<(), Refusal> {
    match Tokenizer::new(dialect, sql).tokenize() {
        Ok(tokens) => bounded(&tokens),
        Err(_) => Err(Refusal::new(Rule::Sql, "this is no SQL of the dialect", "")),
    }
}

fn bounded(tokens: &[Token]) -> Result<(), Refusal> {
    let tokens = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_)));
    let (mut words, mut operators, mut joined) = (0_usize, 0_usize, 0_usize);
    let (mut dots, mut after_dot) = (0_usize, false);
    let (mut open, mut depth, mut deepest) = (Vec::new(), 0_u32, 0_u32);
    let mut before: Option<&Token> = None;
    for token in tokens {
        match token {
            Token::Period => (dots, after_dot) = (dots + 1, true),
            // Another name starts here.
            _ if !after_dot => dots = 0,
            _ => after_dot = false,
        }
        if dots > MAX_DOTS {
            let message = format!("a name has more than {MAX_DOTS} full stops");
            return Err(Refusal::new(Rule::Sql, message, "Write table.column"));
        }
        match token {
            Token::LParen | Token::LBracket => {
                let special = is_special(before);
                depth += u32::from(special);
                open.push(OpenBracket::Bracket { special, joins: is_concat(before) });
            }
            Token::Word(w) if w.keyword == Keyword::CASE && w.quote_style.is_none() => {
                depth += 1;
                open.push(OpenBracket::Case);
            }
            Token::RParen | Token::RBracket => {
                while let Some(OpenBracket::Case) = open.last() {
                    open.pop();
                    depth = depth.saturating_sub(1);
                }
                if let Some(OpenBracket::Bracket { special, .. }) = open.pop() {
                    depth = depth.saturating_sub(u32::from(special));
                }
            }
            Token::Word(w) if w.keyword == Keyword::END && w.quote_style.is_none() => {
                if let Some(OpenBracket::Case) = open.last() {
                    open.pop();
                    depth = depth.saturating_sub(1);
                }
            }
            Token::Comma => {
                joined += usize::from(matches!(open.last(), Some(OpenBracket::Bracket { joins: true, .. })))
            }
            Token::StringConcat => joined += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        match token {
            Token::Word(w) if w.keyword == Keyword::TABLESAMPLE && w.quote_style.is_none() => {
                // The planner would silently ignore it: the answer would not match the question.
                let advice = "Leave out TABLESAMPLE: a sample is the asker's choice of records";
                return Err(Refusal::new(Rule::Operator, "TABLESAMPLE is not understood here", advice));
            }
            Token::Word(w) if w.value.to_lowercase().contains(NOTE) => {
                let message = format!("names with {NOTE} are the federation's own");
                return Err(Refusal::new(Rule::Sql, message, "Use another name"));
            }
            Token::Word(w) if w.keyword == Keyword::NoKeyword => {}
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::Period => {}
            _ => operators += 1,
        }
        if token.to_string().len() > MAX_TEXT {
            let message = format!("a text or a name is longer than {MAX_TEXT} bytes");
            return Err(Refusal::new(Rule::Sql, message, "Compare with shorter ones"));
        }
        words += 1;
        before = Some(token);
    }
    if words > MAX_WORDS || operators > MAX_OPERATORS {
        return Err(Refusal::new(
            Rule::Sql,
            format!("the question has more than {MAX_WORDS} words or {MAX_OPERATORS} operators and keywords"),
            "Use IN (…) instead of long OR chains, or ask several questions",
        ));
    }
    if joined > MAX_JOINED {
        let message = format!("more than {MAX_JOINED} texts are joined");
        return Err(Refusal::new(Rule::Sql, message, "Ask for the columns, and join them afterwards"));
    }
    if 3_usize.saturating_pow(deepest).saturating_mul(words) > MAX_READINGS {
        let advice = "Write fewer brackets, CASE and CAST inside one another, or ask several questions";
        return Err(Refusal::new(Rule::Sql, "the question is nested too deeply for its length", advice));
    }
    Ok(())
}

/// Whether the parser may read the content of a bracket more than once, judged by the word before it.
fn is_special(before: Option<&Token>) -> bool {
    match before {
        Some(Token::Word(w)) => {
            w.quote_style.is_none() && w.keyword != Keyword::NoKeyword && !PLAIN.contains(&w.keyword)
        }
        Some(Token::LParen | Token::LBracket) => true,
        _ => false,
    }
}

fn is_concat(before: Option<&Token>) -> bool {
    let Some(Token::Word(w)) = before else { return false };
    ["concat", "concat_ws"].iter().any(|name| w.value.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::sql::sqlparser::keywords::ALL_KEYWORDS;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    /// Without the limit, many of these forms would each take weeks.
    #[test]
    fn what_is_readable_is_read_in_little_time() {
        let forms = [
            ("(", ")"),
            ("[", "]"),
            ("CASE WHEN ", " THEN 1 END"),
            ("CAST(", " AS INT)"),
            ("POSITION(", " IN 'a')"),
            ("EXISTS(SELECT ", ")"),
            ("(CEIL(CASE WHEN NOT ", " THEN 1 END))"),
            ("POSITION(CASE ", " END)"),
            ("(SELECT * FROM (", "))"),
            ("1 IN (SELECT ", ")"),
            ("SUM(1) OVER (ORDER BY ", ")"),
            ("f((x) -> ", ")"),
            ("NOT ", ""),
            ("INTERVAL ", ""),
        ];
        let keywords = ALL_KEYWORDS.iter().flat_map(|word| [(format!("{word}("), ")"), (format!("{word}["), "]")]);
        let forms = forms.into_iter().map(|(begin, end)| (begin.to_owned(), end)).chain(keywords);
        let began = std::time::Instant::now();
        let (mut parsed, mut refused) = (0, 0);
        for (begin, end) in forms {
            for (head, fill) in [("SELECT ", "1 1"), ("SELECT 1 FROM ", "SELECT 1 1"), ("SELECT ", "1, 1 1")] {
                // The deepest nesting that is accepted. The parser's own limit is 50.
                let deepest = (1..60).rev().find_map(|depth| {
                    let sql = format!("{head}{}{fill}{}", begin.repeat(depth), end.repeat(depth));
                    readable(&sql).is_ok().then_some((depth, sql))
                });
                // `None`: the keyword is refused everywhere.
                let Some((depth, sql)) = deepest else { continue };
                refused += usize::from(depth < 59);
                let _failed = Parser::parse_sql(&GenericDialect {}, &sql);
                parsed += 1;
            }
        }
        println!("{parsed} statements, {refused} of them cut short, in {:.1} s", began.elapsed().as_secs_f64());
        assert!(refused > 100 && began.elapsed().as_secs() < 60);
    }

    #[test]
    fn what_people_write_is_readable() {
        let list = vec!["'E09000001'"; 4_000].join(", ");
        for sql in [
            "SELECT CAST(100.0 * COUNT(*) FILTER (WHERE ((a = 1) OR (b = 2))) / COUNT(*) AS DECIMAL(5, 1)) FROM t",
            "SELECT * FROM ((((SELECT a FROM t WHERE ((((a))))))))",
            "SELECT CASE WHEN a THEN CASE WHEN b THEN CASE WHEN c THEN CAST(CEIL(d) AS INT) END END END FROM t",
            &format!("SELECT CASE WHEN CAST(x AS INT) IN ({list}) THEN 1 END FROM t"),
            "SELECT a || ' ' || b || ' (' || c || ')' FROM t",
        ] {
            assert_eq!(readable(sql).map_err(|refusal| refusal.message), Ok(()), "{sql:.100}");
        }
    }

    #[test]
    fn what_grows_is_refused() {
        let nested = (0..7).fold("SELECT 'x' AS x".to_owned(), |sql, _| {
            format!("SELECT {} AS x FROM ({sql}) t", vec!["x"; 16].join(" || "))
        });
        let concat = format!("SELECT CONCAT({})", vec!["x"; 100].join(", "));
        let long = format!("SELECT '{}'", "a".repeat(2_000));
        for sql in [&nested, &concat, &long, &format!("SELECT \"{}\"", "a".repeat(2_000))] {
            assert!(readable(sql).is_err(), "{sql:.100}");
        }
    }
}
