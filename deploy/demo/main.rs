//! `cargo run --release`: a working federation of London's boroughs on this machine, and a tour of it.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use loda_demo::boroughs::{self, BOROUGHS};
use loda_demo::layout::{Layout, Options};
use loda_demo::london::{self, DEMO, Outputs, Plan};
use loda_demo::processes::Processes;
use loda_demo::{real, tour};
use loda_service::Program;
use loda_service::stop::end_with_parent;

/// Starts a federation of 33 borough nodes and a coordinator, asks it a round of questions, and serves.
#[derive(Parser)]
#[command(after_help = "Examples:\n  \
    cargo run --release                                  a generated London\n  \
    cargo run --release -- --once                        the tour, and stop\n  \
    cargo run --release -- --data ../shared/data         real open data\n  \
    cargo run --release -- --extracts                    nodes read messy extracts of the generated London\n  \
    cargo run --release -- loda query \"SELECT …\"         ask the federation that is running")]
struct Arguments {
    /// End after the tour.
    #[arg(long)]
    once: bool,
    /// A folder of open data, laid out as the README says; without it, small tables are generated.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Feed the nodes with messy extracts of the generated London: each borough's systems write in their own way, and its
    /// node's mapping reads them.
    #[arg(long, conflicts_with = "data")]
    extracts: bool,
    /// How many boroughs take part.
    #[arg(long, value_name = "N", default_value_t = 33, value_parser = clap::value_parser!(u8).range(1..=33))]
    nodes: u8,
    /// The coordinator's port; the nodes take those that follow.
    #[arg(long, value_name = "P", default_value_t = 24100, value_parser = clap::value_parser!(u16).range(1024..=65000))]
    port: u16,
    /// Where to put certificates, configurations, snapshots and logs; made anew.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    dir: PathBuf,
    /// How many of them listen to nobody, as behind a council's firewall, and dial the coordinator instead.
    #[arg(long, value_name = "N", default_value_t = 3)]
    dialling: u8,
    /// The generator's seed: the same seed gives the same London.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    #[command(subcommand)]
    role: Option<Role>,
}

const FOLDER: &str = "federation";

#[derive(Subcommand)]
enum Role {
    /// What `loda-node` does: serve, check, init, doctor …
    #[command(disable_help_flag = true)]
    Node {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run the coordinator (what `loda-coordinator` does).
    #[command(hide = true)]
    Coordinator {
        #[arg(long)]
        config: PathBuf,
    },
    /// Plans and finishes questions for a coordinator that started it.
    #[command(hide = true)]
    Work,
    /// Write a synthetic London: what the systems of 33 boroughs hold, each in its own dialect, with the truth beside it.
    ///
    /// extracts/GSS: the files of a borough, and a node.toml that maps them; pooled: every table of all boroughs in one
    /// form, with who is truly who; truth: the person behind each record; answers.json: known answers, with their SQL.
    /// The same seed and scale give the same bytes. Nobody in it exists.
    London(London),
    /// The analyst's client, set up for the demo that is running.
    #[command(disable_help_flag = true)]
    Loda {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

#[derive(clap::Args)]
struct London {
    /// The folder to write to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// 1 is all of London: 9 million people, 5.4 GB, some minutes.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    scale: f64,
    /// One borough's extracts alone, by its GSS code; may be given several times.
    #[arg(long, value_name = "CODE")]
    borough: Vec<String>,
    /// Leave out the pooled tables, the truth and the answers.
    #[arg(long)]
    extracts_only: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.role {
        Some(Role::Node { arguments }) => {
            // A node that serves ends with the demo that started it.
            let reads = arguments.iter().any(|argument| argument == "--ingest-only");
            if arguments.first().is_some_and(|first| first == "--config") && !reads {
                end_with_parent();
            }
            Ok(loda_node::command(&["node"], std::iter::once(OsString::from("loda-node")).chain(arguments)))
        }
        Some(Role::Coordinator { config }) => {
            end_with_parent();
            let program = Program::this(&["work"]).map_err(anyhow::Error::from);
            program.and_then(|program| loda_coordinator::run(&config, program)).map(|()| ExitCode::SUCCESS)
        }
        Some(Role::Work) => loda_coordinator::work().map(|()| ExitCode::SUCCESS),
        Some(Role::Loda { arguments }) => client(arguments),
        Some(Role::London(arguments)) => london(&arguments).map(|()| ExitCode::SUCCESS),
        None => demo(&arguments).map(|()| ExitCode::SUCCESS),
    };
    ended.unwrap_or_else(|fault| {
        // If standard error is closed, there is no place to report it.
        let _told = writeln!(std::io::stderr(), "error: {fault:#}");
        ExitCode::FAILURE
    })
}

fn london(arguments: &London) -> anyhow::Result<()> {
    let London { out, seed, scale, borough, extracts_only } = arguments;
    anyhow::ensure!((0.000_1..=2.0).contains(scale), "--scale {scale}: write a share between 0.0001 and 2");
    let find = |gss: &String| {
        let found = boroughs::find(gss).map(|(index, _)| index);
        found.with_context(|| format!("--borough {gss}: no London borough has that code"))
    };
    let mut wanted = borough.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?;
    if wanted.is_empty() {
        wanted = (0..BOROUGHS.len()).collect();
    }
    let more = !extracts_only;
    let outputs = Outputs { extracts: true, pooled: more, truth: more, answers: more };
    let plan = Plan { seed: *seed, scale: *scale, boroughs: wanted, outputs };
    let bar = ProgressBar::new(1);
    bar.set_style(ProgressStyle::with_template("homes {wide_bar} {human_pos} of {human_len}, {eta} left")?);
    let started = Instant::now();
    let summary = london::write(out, &plan, &|done, all| {
        bar.set_length(all);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    let mut told = std::io::stdout();
    for (table, rows) in &summary.rows {
        writeln!(told, "{table:<28} {rows:>12} rows")?;
    }
    writeln!(
        told,
        "\n{} people, {} files in {:.1} s. Try a borough's first hour on one of them:\n\n  \
         loda-node check --config {}/extracts/E09000022/node.toml\n  \
         loda-node residents --config {}/extracts/E09000022/node.toml",
        summary.people,
        summary.files,
        started.elapsed().as_secs_f64(),
        out.display(),
        out.display()
    )?;
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn client(mut arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let names_config = arguments.iter().any(|a| a == "--config") || std::env::var_os("LODA_CONFIG").is_some();
    let demo = Path::new(FOLDER).join("analyst").join("loda.toml");
    if !names_config && demo.exists() && !arguments.is_empty() {
        arguments.extend([OsString::from("--config"), demo.into_os_string()]);
    }
    let all = std::iter::once(OsString::from("loda")).chain(arguments);
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    Ok(ExitCode::from(runtime()?.block_on(loda::run_on(loda::Screen::detect(), all, &mut out, &mut err))))
}

fn demo(arguments: &Arguments) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let started = Instant::now();
    // Clears only the folder of an earlier demo.
    if arguments.dir.join("manifest.toml").exists() && arguments.dir.join("pki").join("coordinator").is_dir() {
        std::fs::remove_dir_all(&arguments.dir).with_context(|| format!("clearing {}", arguments.dir.display()))?;
    }
    let bar = ProgressBar::new(u64::from(arguments.nodes));
    bar.set_style(ProgressStyle::with_template("{msg:40} {wide_bar} {pos}/{len}")?);
    let options = Options {
        dir: arguments.dir.clone(),
        nodes: usize::from(arguments.nodes),
        port: arguments.port,
        data: arguments.data.clone(),
        extracts: arguments.extracts,
        seed: arguments.seed,
        scale: DEMO,
        tables: Vec::new(),
        dialling: usize::from(arguments.dialling),
    };
    let layout = Layout::create(&options, &mut |what| bar.set_message(format!("preparing {what}")))?;
    let binary = std::env::current_exe()?;
    runtime()?.block_on(async {
        let mut processes = Processes::start(&binary, &layout)?;
        bar.set_message("boroughs that have read their data");
        let client = processes.ready(Duration::from_secs(300), &mut |n| bar.set_position(n as u64)).await?;
        bar.finish_and_clear();
        let width = loda::Screen::detect().width;
        let running = format!(
            "{} boroughs' nodes and the coordinator that asks them run here, each a process of its own: {:.0} s.\n",
            layout.boroughs.len(),
            started.elapsed().as_secs_f64()
        );
        write!(out, "{}", loda::render::wrapped(&running, width))?;
        match &arguments.data {
            Some(data) => {
                for note in notes(data).await? {
                    writeln!(out, "Note: {note}")?;
                }
            }
            None => {
                let told = format!(
                    "Their people, homes and records are invented: a London at {:.1} % of its size, so that counts are small. \
                     The lists of schools and wards are whole.\n",
                    DEMO * 100.0
                );
                write!(out, "{}", loda::render::wrapped(&told, width))?;
            }
        }
        tour::tour(&client, arguments.data.is_some(), width, &mut out).await?;
        if arguments.once {
            return Ok(());
        }
        write!(out, "{}", invitation(&arguments.dir, arguments.data.is_some()))?;
        out.flush()?;
        tokio::signal::ctrl_c().await?;
        anyhow::Ok(())
    })
}

/// The records that belong to no borough, so that no node holds them.
async fn notes(data: &Path) -> anyhow::Result<Vec<String>> {
    use datafusion::prelude::{CsvReadOptions, ParquetReadOptions, SessionContext};
    let mut notes = real::notes(data)?;
    let Some(stops) = real::stops(data).filter(|s| s.format == "parquet") else { return Ok(notes) };
    let context = SessionContext::new();
    let path = stops.path.to_str().context("the path is not UTF-8")?;
    match stops.format {
        "csv" => context.register_csv("stop_and_search", path, CsvReadOptions::new()).await?,
        _ => context.register_parquet("stop_and_search", path, ParquetReadOptions::default()).await?,
    }
    let counts = context.sql(real::UNASSIGNED_SQL).await?.collect().await?;
    let count = |column: &str| -> anyhow::Result<u64> {
        use arrow::array::AsArray;
        use arrow::datatypes::Int64Type;
        let values = counts.first().and_then(|b| b.column_by_name(column)).context("no count")?;
        let values = values.as_primitive_opt::<Int64Type>().context("a count is not a number")?;
        Ok(values.iter().flatten().next().and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    };
    notes.extend(real::stops_note(count("unassigned")?, count("records")?));
    Ok(notes)
}

fn invitation(dir: &Path, real: bool) -> String {
    let table = if real { "food_businesses" } else { "residents" };
    let config = match dir == Path::new(FOLDER) {
        true => String::new(),
        false => format!(" --config {}", dir.join("analyst/loda.toml").display()),
    };
    // Cargo names itself to the programs that it runs.
    let program = match (std::env::var_os("CARGO"), std::env::current_exe()) {
        (None, Ok(program)) => program.display().to_string(),
        _ => "cargo run --release --".to_owned(),
    };
    format!(
        "\nThe federation serves until Ctrl-C. In another terminal, in this folder:\n\n  \
         {program} loda{config} catalogue\n  \
         {program} loda{config} purposes\n  \
         {program} loda{config} query -p demo \\\n    \
           \"SELECT borough, COUNT(*) AS n FROM {table} GROUP BY borough\"\n  \
         {program} loda{config} explain -p demo \\\n    \
           \"SELECT borough, COUNT(*) AS n FROM {table} GROUP BY borough\"\n\n\
         Every node's log and settings are in {}/nodes.\n",
        dir.display()
    )
}
