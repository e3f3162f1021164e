//! `loda query`.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use super::connection::connect;
use super::failure::Failure;
use super::files;
use super::session::Session;
use crate::args::{Format, Query};
use crate::client::Client;
use crate::error::ClientError;
use crate::progress::ProgressLine;
use crate::signing::Prepared;
use crate::{exit, render};
use loda_answer::Answer;

/// The number of rows that a table on a terminal shows.
const HEAD: usize = 200;

pub(super) async fn run(query: &Query, config: Option<&Path>, session: &mut Session<'_>) -> Result<u8, Failure> {
    // Faults of the output are found before a question is asked and logged at 33 boroughs.
    check_output(query, session)?;
    let sql = if query.resume.is_some() { String::new() } else { query.question.text()? };
    let client = connect(config).await?;
    if query.detach {
        return detach(&client, &sql, query, session).await;
    }

    let line = ProgressLine::new(session.screen.shows_progress, session.screen.err_width);
    let timeout = query.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let interrupted = async {
        // Without a handler Ctrl-C ends the process, so there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let on_progress = |progress: &_| line.show(progress);
    let asked = match &query.resume {
        // Ctrl-C does not cancel a resumed query, because the asker can resume it again.
        Some(id) => client.await_answer(id, on_progress).await,
        None => {
            let prepared = prepared(&client, &sql, query, session).await?;
            client.ask_until(&prepared, timeout, on_progress, interrupted).await
        }
    };
    line.clear();
    let answer = asked?;
    let recorded = recorded(&client, &answer).await?;

    let for_reading = query.format() == Format::Table && query.out.is_none();
    // Where nobody answered, the statement alone says something.
    if !(for_reading && loda_answer::is_unanswered(&answer.statement)) {
        write_answer(&answer, query, session)?;
    }
    if query.format() != Format::Json {
        session.out.flush()?;
        if for_reading && session.screen.width.is_some() {
            writeln!(session.err)?;
        }
        let detail = if query.verbose { render::Detail::Verbose } else { render::Detail::Plain };
        let statement = render::wrapped(&render::statement(&answer.statement, detail), session.screen.err_width);
        session.err.write_all(statement.as_bytes())?;
        if let Some(recorded) = recorded {
            session.err.write_all(render::wrapped(&recorded, session.screen.err_width).as_bytes())?;
        }
    }
    Ok(exit::of_statement(&answer.statement))
}

/// What the coordinator's log says of an answer. An answer that it contradicts is not shown.
async fn recorded(client: &Client, answer: &Answer) -> Result<Option<String>, Failure> {
    if answer.statement.parts.is_empty() {
        // No borough was asked.
        return Ok(None);
    }
    let sentence = match client.recorded(answer).await {
        Ok(Some(recorded)) => recorded.sentence(),
        Ok(None) => "not shown to be recorded: the coordinator gives no proof that its query log holds this".to_owned(),
        Err(fault @ ClientError::NotRecorded { .. }) => return Err(fault.into()),
        Err(fault) => format!("whether this is recorded could not be checked: {fault}"),
    };
    Ok(Some(format!("{sentence}\n")))
}

/// Plans the question, and says so if it will not be signed.
async fn prepared(client: &Client, sql: &str, query: &Query, session: &mut Session<'_>) -> Result<Prepared, Failure> {
    let prepared = client.prepare(sql, &query.question.purpose, false).await?;
    let prepared = prepared.as_explained(query.as_explained.as_deref())?;
    if prepared.is_unsigned() {
        writeln!(session.err, "not signed: the coordinator's software is of another version than this program")?;
    }
    Ok(prepared)
}

async fn detach(client: &Client, sql: &str, query: &Query, session: &mut Session<'_>) -> Result<u8, Failure> {
    let prepared = prepared(client, sql, query, session).await?;
    let timeout = query.timeout.map(|seconds| Duration::from_secs(seconds.into()));
    let id = client.start_detached(&prepared, timeout).await?;
    writeln!(session.out, "{id}")?;
    session.out.flush()?;
    writeln!(session.err, "asked; for the answer: loda query --resume {id}")?;
    Ok(exit::COMPLETE)
}

fn check_output(query: &Query, session: &Session<'_>) -> Result<(), Failure> {
    let is_binary = matches!(query.format(), Format::Parquet | Format::Arrow | Format::Xlsx);
    if is_binary && query.out.is_none() && session.screen.width.is_some() {
        return Err(Failure::Usage("a terminal cannot show this format\n  fix: add --out FILE, or redirect".into()));
    }
    if let Some(file) = &query.out {
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() || file.is_dir() {
            let wrong = format!("cannot write {}\n  fix: name a file in a folder that exists", file.display());
            return Err(Failure::Usage(wrong));
        }
    }
    Ok(())
}

fn write_answer(answer: &Answer, query: &Query, session: &mut Session<'_>) -> Result<(), Failure> {
    match &query.out {
        Some(file) => {
            let mut bytes = Vec::new();
            write_format(answer, query.format(), None, &mut bytes)?;
            files::replace(file, &bytes)
        }
        None if query.format() == Format::Table && session.screen.width.is_some() => {
            let text = render::table_head(answer, session.screen.width, HEAD);
            session.out.write_all(text.as_bytes())?;
            session.out.flush()?;
            if answer.rows() == 0 {
                writeln!(session.err, "no rows: no group meets the question's conditions")?;
            }
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            if widest > session.screen.width.map_or(usize::MAX, usize::from) {
                let wide = format!(
                    "the table is {widest} characters wide: widen the terminal, ask for fewer columns, or --out FILE.csv\n"
                );
                session.err.write_all(render::wrapped(&wide, session.screen.err_width).as_bytes())?;
            }
            if let Some(more @ 1..) = answer.rows().checked_sub(HEAD) {
                let more = loda_answer::cells::thousands(&more.to_string());
                writeln!(session.err, "… and {more} more rows; for all of them: --out FILE.csv")?;
            }
            Ok(())
        }
        None => write_format(answer, query.format(), session.screen.width, session.out),
    }
}

fn write_format(answer: &Answer, format: Format, width: Option<u16>, out: &mut dyn Write) -> Result<(), Failure> {
    let unwritable =
        |error: &dyn std::error::Error| ClientError::transport("the answer does not fit the format", error);
    match format {
        Format::Table => out.write_all(render::table(answer, width).as_bytes())?,
        Format::Csv => buffered(out, |out| render::csv(answer, out))?,
        Format::Json => buffered(out, |out| render::json(answer, out))?,
        Format::Parquet => out.write_all(&render::parquet(answer).map_err(|error| unwritable(&error))?)?,
        Format::Xlsx => out.write_all(&render::workbook(answer).map_err(|error| unwritable(&error))?)?,
        Format::Arrow => out.write_all(&render::arrow(answer).map_err(|error| unwritable(&error))?)?,
    }
    out.flush()?;
    Ok(())
}

fn buffered(out: &mut dyn Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = io::BufWriter::new(out);
    write(&mut buffer)?;
    buffer.flush()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::Screen;
    use crate::args::Question;
    use loda_answer::sample::sample;

    fn query(format: Format, out: Option<PathBuf>) -> Query {
        let question = Question { sql: None, file: None, purpose: String::new() };
        Query {
            question,
            format: Some(format),
            out,
            timeout: None,
            detach: false,
            resume: None,
            verbose: false,
            as_explained: None,
        }
    }

    fn on(width: Option<u16>, run: impl FnOnce(&mut Session<'_>)) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        run(&mut Session { screen: Screen { width, ..Screen::default() }, out: &mut out, err: &mut err });
        (String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
    }

    #[test]
    fn a_terminal_gets_no_bytes() {
        on(Some(80), |session| assert!(check_output(&query(Format::Arrow, None), session).is_err()));
        on(None, |session| assert!(check_output(&query(Format::Arrow, None), session).is_ok()));
        let nowhere = Some(PathBuf::from("no/such/folder/x.csv"));
        on(None, |session| assert!(check_output(&query(Format::Csv, nowhere), session).is_err()));
    }

    #[test]
    fn a_long_table_on_a_terminal_is_a_head() {
        let mut answer = sample([None; 4]);
        answer.batches = vec![answer.batches[0].clone(); 60];
        let (out, err) = on(Some(80), |session| {
            write_answer(&answer, &query(Format::Table, None), session).unwrap();
        });
        assert_eq!(out.lines().count(), 202);
        assert!(err.contains("40 more rows") && err.contains("--out"), "{err}");
        let (out, err) = on(None, |session| {
            write_answer(&answer, &query(Format::Table, None), session).unwrap();
        });
        assert_eq!((out.lines().count(), err.as_str()), (242, ""));
        answer.batches.clear();
        for (width, words) in [(80, "no rows: "), (8, "characters wide")] {
            let (_, err) = on(Some(width), |session| {
                write_answer(&answer, &query(Format::Table, None), session).unwrap();
            });
            assert!(err.contains(words), "{err}");
        }
    }

    #[test]
    fn a_file_is_whole_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer.csv");
        on(None, |session| {
            write_answer(&sample([None; 4]), &query(Format::Csv, Some(file.clone())), session).unwrap();
        });
        assert!(fs::read_to_string(&file).unwrap().starts_with("outcome,people,share\n"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
