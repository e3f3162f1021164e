//! Asks one question with the client library, as an analyst's program would. Prints the rows and the statement.
//!
//! ```text
//! cargo run --release                                  # a demo federation, in another terminal
//! cargo run --release -p loda --example ask -- LODA.TOML PURPOSE "SELECT …"
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use loda::{Client, Config, answer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, purpose, sql] = arguments.as_slice() else {
        eprintln!("usage: ask LODA.TOML PURPOSE SQL");
        return ExitCode::from(2);
    };
    match ask(Path::new(config), purpose, sql).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // A refusal names its rule and the nearest question that would be allowed. A partial answer is not an
            // error.
            eprintln!("ask: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn ask(config: &Path, purpose: &str, sql: &str) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect(&Config::load(config)?).await?;
    let progress = |progress: &loda_proto::v1::Progress| {
        eprintln!("{:?}: {} boroughs", progress.state(), progress.boroughs.len());
    };
    let answered = client.query(sql, purpose, Some(Duration::from_secs(60)), progress).await?;
    let mut rows = Vec::new();
    answer::csv(&answered, &mut rows)?;
    std::io::stdout().write_all(&rows)?;
    println!("\n{}", answer::statement(&answered.statement, answer::Detail::Plain));
    Ok(())
}
