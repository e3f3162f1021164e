//! A first round of questions, with their answers.

use std::io::Write;
use std::time::Instant;

use loda::Client;

use crate::datasets::{TOUR_REAL, TOUR_SYNTHETIC};

/// Asks the questions of the tour one by one, and prints the answers.
///
/// # Errors
/// If a question is refused or not answered.
pub async fn tour(client: &Client, real: bool, width: Option<u16>, out: &mut dyn Write) -> anyhow::Result<()> {
    let questions = if real { TOUR_REAL } else { TOUR_SYNTHETIC };
    for (number, (why, sql, purpose)) in questions.iter().enumerate() {
        writeln!(out, "\n── Question {} of {} ─ purpose: {purpose}", number + 1, questions.len())?;
        writeln!(out, "{}\n", loda::render::wrapped(why, width))?;
        writeln!(out, "{}\n", loda::render::laid_out(sql, width))?;
        let started = Instant::now();
        let answer = client.query(sql, purpose, None, |_| {}).await?;
        writeln!(out, "{}", loda::render::table(&answer, width))?;
        let statement = loda::render::statement(&answer.statement, loda::render::Detail::Plain);
        write!(out, "{}", loda::render::wrapped(&statement, width))?;
        writeln!(out, "Answered in {:.2} s", started.elapsed().as_secs_f64())?;
    }
    Ok(())
}
