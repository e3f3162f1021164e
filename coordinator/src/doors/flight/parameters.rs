//! Parameters of prepared statements. Each `?` or `$1` in the SQL is replaced by a literal, token by token, so that a
//! value can never be anything but a value.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::ipc::root_as_message;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::plan::syntax::sql_bounds::MAX_SQL;

/// The most parameters of one statement.
const MOST: usize = 200;

/// The most messages that bring the values, and the most bytes in them.
const MESSAGES: usize = 16;
const BYTES: usize = 256 << 10;

/// SQL as tokens, with numbered parameters.
#[derive(Clone)]
pub(super) struct Template {
    words: Vec<Word>,
    pub(super) parameters: usize,
}

#[derive(Clone)]
enum Word {
    Text(String),
    /// The parameter's number, from 0.
    Parameter(usize),
}

impl Template {
    /// `None`: the SQL cannot be split into tokens. The planner then refuses it unchanged.
    pub(super) fn of(sql: &str) -> Option<Self> {
        if sql.len() > MAX_SQL {
            return None;
        }
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
        let mut characters = sql.char_indices();
        let (mut line, mut column) = (1_u64, 1_u64);
        let (mut words, mut copied, mut next, mut parameters) = (Vec::new(), 0_usize, 0_usize, 0_usize);
        for token in tokens {
            let Token::Placeholder(name) = &token.token else { continue };
            // The forms `?`, `$2` and `?2`.
            let number = match name.get(1..)? {
                "" => {
                    next += 1;
                    next - 1
                }
                number => number.parse::<usize>().ok()?.checked_sub(1)?,
            };
            if number >= MOST {
                return None;
            }
            // All other text stays as written, byte for byte. The tokeniser gives positions as line and character.
            let start = loop {
                let (at, character) = characters.next()?;
                let here = (line, column);
                (line, column) = if character == '\n' { (line + 1, 1) } else { (line, column + 1) };
                if here == (token.span.start.line, token.span.start.column) {
                    break at;
                }
            };
            sql.get(start..)?.strip_prefix(name.as_str())?;
            words.extend([Word::Text(sql.get(copied..start)?.to_owned()), Word::Parameter(number)]);
            copied = start.checked_add(name.len())?;
            parameters = parameters.max(number + 1);
        }
        words.push(Word::Text(sql.get(copied..)?.to_owned()));
        Some(Self { words, parameters })
    }

    /// The SQL with numbered placeholders.
    pub(super) fn numbered(&self) -> String {
        self.with(|number| format!(" ${} ", number + 1))
    }

    /// The SQL with literals.
    ///
    /// # Errors
    /// The number of literals differs from the number of parameters, or the SQL would be too long. Its length is
    /// checked before it is made.
    pub(super) fn bound(&self, literals: &[String]) -> Result<String, &'static str> {
        if literals.len() != self.parameters {
            return Err("give one value for each parameter of the statement");
        }
        let size = |word: &Word| match word {
            Word::Text(text) => text.len(),
            Word::Parameter(number) => literals.get(*number).map_or(0, |literal| literal.len().saturating_add(2)),
        };
        if self.words.iter().map(size).fold(0, usize::saturating_add) > MAX_SQL {
            return Err("with these parameters the SQL text is too long");
        }
        // Spaces separate a literal from its neighbours. After a word such as E a text has another meaning, and two
        // adjacent texts become one.
        let literal = |number: usize| literals.get(number).map_or("NULL", String::as_str);
        Ok(self.with(|number| format!(" {} ", literal(number))))
    }

    fn with(&self, literal: impl Fn(usize) -> String) -> String {
        let word = |word: &Word| match word {
            Word::Text(text) => text.clone(),
            Word::Parameter(number) => literal(*number),
        };
        self.words.iter().map(word).collect()
    }
}

/// Reads the values that a client sends.
///
/// # Errors
/// The form that the values should have.
pub(super) async fn received<S>(sent: S) -> Result<Vec<RecordBatch>, &'static str>
where
    S: Stream<Item = Result<FlightData, Status>>,
{
    let mut sent = std::pin::pin!(sent);
    let (mut messages, mut left) = (Vec::new(), BYTES);
    while let Some(message) = sent.next().await {
        let message = message.map_err(|_| "the parameters did not come whole")?;
        let size = message.data_header.len().saturating_add(message.data_body.len());
        left = left.checked_sub(size).ok_or("the parameters are too large")?;
        if messages.len() >= MESSAGES {
            return Err("the parameters are too many messages");
        }
        if is_compressed(&message.data_header) {
            return Err("the parameters are compressed: send them as they are");
        }
        messages.push(Ok(message));
    }
    let batches = FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(messages)).try_collect().await;
    batches.map_err(|_| "the parameters are no Arrow batch")
}

/// Compressed data can become any size.
fn is_compressed(header: &[u8]) -> bool {
    let Ok(message) = root_as_message(header) else { return false };
    let of_dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let batches = [message.header_as_record_batch(), of_dictionary];
    batches.into_iter().flatten().any(|batch| batch.compression().is_some())
}

/// The values of a batch with one row, as literals.
///
/// # Errors
/// More than one row, or a type that no column has.
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
    Ok(match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => quoted(&text()?),
        DataType::Date32 | DataType::Date64 => {
            format!("DATE {}", quoted(&text()?.chars().take(10).collect::<String>()))
        }
        DataType::Timestamp(_, None) => format!("TIMESTAMP {}", quoted(&text()?)),
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

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Brackets keep `x -?` with -1 from becoming a comment.
fn bracketed(number: String) -> String {
    if number.starts_with('-') { format!("({number})") } else { number }
}

/// Whether texts that are bound to parameters stay values, and the rest of the SQL stays unchanged. `None`: they cannot
/// be bound. This is the promise of this module, for tests and fuzzing.
pub(crate) fn stay_values(sql: &str, texts: &[String]) -> Option<bool> {
    let template = Template::of(sql)?;
    let text = |number: usize| texts.get(number.checked_rem(texts.len())?);
    let literals = (0..template.parameters).map(|number| text(number).map(|text| quoted(text)));
    let bound = template.bound(&literals.collect::<Option<Vec<_>>>()?).ok()?;
    let words = |sql: &str| {
        let words = Tokenizer::new(&GenericDialect {}, sql).tokenize().ok()?;
        Some(words.into_iter().filter(|word| !matches!(word, Token::Whitespace(_))).collect::<Vec<_>>())
    };
    // The same template with numbers shows which value belongs where.
    let (before, after) = (words(&template.numbered())?, words(&bound)?);
    let same = |(before, after): (&Token, &Token)| match before {
        Token::Placeholder(name) => {
            let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
            matches!(after, Token::SingleQuotedString(value) if number.and_then(text) == Some(value))
        }
        other => other == after,
    };
    Some(before.len() == after.len() && before.iter().zip(&after).all(same))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;
    use arrow_flight::encode::FlightDataEncoderBuilder;

    use super::*;

    #[test]
    fn a_value_is_never_anything_else() {
        let template = Template::of("SELECT '?', \"a?\" FROM t -- ?\nWHERE x = ? AND y = $1 AND z=?").unwrap();
        assert_eq!(template.parameters, 2);
        assert_eq!(template.numbered(), "SELECT '?', \"a?\" FROM t -- ?\nWHERE x =  $1  AND y =  $1  AND z= $2 ");
        assert_eq!(Template::of("?2 ?1 ?").unwrap().numbered(), " $2   $1   $1 ");
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(StringArray::from(vec!["o'x'; DROP TABLE t --"]))),
            ("b", Arc::new(Int64Array::from(vec![-5]))),
        ];
        let literals = literals(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        let bound = template.bound(&literals).unwrap();
        assert_eq!(
            bound,
            "SELECT '?', \"a?\" FROM t -- ?\nWHERE x =  'o''x''; DROP TABLE t --'  AND y =  'o''x''; DROP TABLE t --'  AND z= (-5) "
        );
        assert!(template.bound(&literals[..1]).is_err());
        let many = Template::of(&format!("SELECT 1 WHERE x IN ({})", vec!["$1"; 990].join(", "))).unwrap();
        assert!(many.bound(&["'a'".to_owned()]).is_ok());
        assert!(many.bound(&[format!("'{}'", "a".repeat(500_000))]).unwrap_err().ends_with("too long"));
    }

    #[test]
    fn whatever_is_beside_a_parameter_its_value_stays_one() {
        let beside = [
            "", " ", "E", "e", "N", "X", "B", "R", "U&", "q", "f", "_utf8", "'a'", "\"a\"", "1", "1.", "x", "-", "--",
            "/", "/*", "*/", "$", "$$", "$a$", "?", ":", "@", "#", "\\", "'", "\"", "`", "[", "::", "=", "\n", "é",
        ];
        let values = ["", "'", "''", "\\' OR 1=1 --", "a\nb", "*/", "$$", "\\", "\u{0}", "?", "$1", "x'41'"];
        let (mut bound, mut not) = (0, 0);
        for (before, after) in beside.iter().flat_map(|before| beside.iter().map(move |after| (before, after))) {
            for (place, value) in
                ["?", "$1", "?1"].iter().flat_map(|place| values.iter().map(move |value| (place, value)))
            {
                let sql = format!("SELECT 'it''s' {before}{place}{after} AND y = $2");
                match stay_values(&sql, &[(*value).to_owned(), "other".to_owned()]) {
                    Some(stays) => {
                        assert!(stays, "{sql} with {value}");
                        bound += 1;
                    }
                    None => not += 1,
                }
            }
        }
        assert!(bound > 10_000 && not > 0, "{bound} {not}");
    }

    #[test]
    fn other_words_stay_as_they_are() {
        for sql in
            ["SELECT 'it''s' WHERE x = ?", "SELECT \"a\"\"b\", E'a\\'b', 1.50e3 /* '? */ -- it's", "a\r\n=\t?", "é = ?"]
        {
            assert_eq!(Template::of(sql).unwrap().with(|_| "?".to_owned()), sql);
        }
    }

    #[test]
    fn values_come_in_few_and_small_messages() {
        let message = |size: usize| Ok(FlightData::new().with_data_body(vec![0; size]));
        let sent = |messages: Vec<_>| futures::executor::block_on(received(futures::stream::iter(messages)));
        assert!(sent(Vec::new()).unwrap().is_empty());
        assert_eq!(sent((0..17).map(|_| message(1)).collect()).unwrap_err(), "the parameters are too many messages");
        assert_eq!(sent(vec![message(200 << 10), message(57 << 10)]).unwrap_err(), "the parameters are too large");
        assert!(sent(vec![message(10)]).is_err());
        let columns: Vec<(&str, ArrayRef)> = vec![("a", Arc::new(StringArray::from(vec!["a".repeat(20_000)])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let written = |compression| {
            let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
            let batches = futures::stream::iter([Ok(batch.clone())]);
            let encoded = FlightDataEncoderBuilder::new().with_options(options).build(batches).map_err(Status::from);
            futures::executor::block_on(received(encoded))
        };
        assert_eq!(written(None).unwrap(), std::slice::from_ref(&batch));
        let compressed = written(Some(CompressionType::ZSTD)).unwrap_err();
        assert_eq!(compressed, "the parameters are compressed: send them as they are");
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
