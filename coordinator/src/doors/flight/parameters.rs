//! Parameters of prepared statements: `?` and `$1` in the SQL become literals, word by word, so that a value can never be
//! anything but a value.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Parameters of one statement at most.
const MOST: usize = 200;

/// SQL in words, its parameters numbered.
#[derive(Clone)]
pub(super) struct Template {
    words: Vec<Word>,
    pub(super) parameters: usize,
}

#[derive(Clone)]
enum Word {
    Text(String),
    /// From 0.
    Parameter(usize),
}

impl Template {
    /// None where the SQL has no words that can be told apart: it is the planner's to refuse, as it stands.
    pub(super) fn of(sql: &str) -> Option<Self> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize().ok()?;
        let (mut words, mut next, mut parameters) = (Vec::new(), 0_usize, 0_usize);
        for token in tokens {
            let Token::Placeholder(name) = &token else {
                words.push(Word::Text(token.to_string()));
                continue;
            };
            let number = match name.strip_prefix('$') {
                Some(number) => number.parse::<usize>().ok()?.checked_sub(1)?,
                None => {
                    next += 1;
                    next - 1
                }
            };
            if number >= MOST {
                return None;
            }
            parameters = parameters.max(number + 1);
            words.push(Word::Parameter(number));
        }
        Some(Self { words, parameters })
    }

    /// With numbered placeholders.
    pub(super) fn numbered(&self) -> String {
        self.with(|number| format!("${}", number + 1))
    }

    /// With literals.
    pub(super) fn bound(&self, literals: &[String]) -> Option<String> {
        (literals.len() == self.parameters)
            .then(|| self.with(|number| literals.get(number).cloned().unwrap_or_else(|| "NULL".to_owned())))
    }

    fn with(&self, literal: impl Fn(usize) -> String) -> String {
        let word = |word: &Word| match word {
            Word::Text(text) => text.clone(),
            Word::Parameter(number) => literal(*number),
        };
        self.words.iter().map(word).collect()
    }
}

/// The values of a batch's one row as literals.
///
/// # Errors
/// More rows than one, or a type that no column has.
pub(super) fn literals(batch: &RecordBatch) -> Result<Vec<String>, &'static str> {
    if batch.num_rows() != 1 {
        return Err("give one row of parameters");
    }
    batch.columns().iter().map(|column| literal(column.as_ref())).collect()
}

fn literal(column: &dyn Array) -> Result<String, &'static str> {
    let options = FormatOptions::default();
    let text = || {
        let formatter = ArrayFormatter::try_new(column, &options).map_err(|_| "a parameter has no text")?;
        formatter.value(0).try_to_string().map_err(|_| "a parameter has no text")
    };
    if column.is_null(0) {
        return Ok("NULL".to_owned());
    }
    let quoted = |text: String| format!("'{}'", text.replace('\'', "''"));
    Ok(match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => quoted(text()?),
        DataType::Date32 | DataType::Date64 => format!("DATE {}", quoted(text()?.chars().take(10).collect())),
        DataType::Timestamp(_, None) => format!("TIMESTAMP {}", quoted(text()?)),
        DataType::Boolean => text()?.to_uppercase(),
        kind if kind.is_integer() || kind.is_decimal() => bracketed(text()?),
        kind if kind.is_floating() => {
            let text = text()?;
            // No literal has these values.
            if !text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Err("a parameter is not a finite number");
            }
            bracketed(text)
        }
        _ => return Err("a parameter is text, a number, a date, true or false"),
    })
}

/// So that `x -?` with -1 is no comment.
fn bracketed(number: String) -> String {
    if number.starts_with('-') { format!("({number})") } else { number }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn a_value_is_never_anything_else() {
        let template = Template::of("SELECT '?', \"a?\" FROM t -- ?\nWHERE x = ? AND y = $1 AND z=?").unwrap();
        assert_eq!(template.parameters, 2);
        assert_eq!(template.numbered(), "SELECT '?', \"a?\" FROM t -- ?\nWHERE x = $1 AND y = $1 AND z=$2");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(StringArray::from(vec!["o'x'; DROP TABLE t --"]))),
            ("b", Arc::new(Int64Array::from(vec![-5]))),
        ];
        let literals = literals(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let bound = template.bound(&literals).unwrap();
        assert_eq!(
            bound,
            "SELECT '?', \"a?\" FROM t -- ?\nWHERE x = 'o''x''; DROP TABLE t --' AND y = 'o''x''; DROP TABLE t --' AND z=(-5)"
        );
        assert!(template.bound(&literals[..1]).is_none());
    }

    #[test]
    fn types_have_literals_or_are_refused() {
        let of = |column: ArrayRef| literal(column.as_ref());
        assert_eq!(of(Arc::new(Date32Array::from(vec![20_000]))).unwrap(), "DATE '2024-10-04'");
        assert_eq!(of(Arc::new(BooleanArray::from(vec![true]))).unwrap(), "TRUE");
        assert_eq!(of(Arc::new(Int64Array::from(vec![None::<i64>]))).unwrap(), "NULL");
        assert!(of(Arc::new(Float64Array::from(vec![f64::NAN]))).is_err());
    }
}
