//! Limits, deadlines, times and sizes reveal nothing about one person.
//!
//! Pairs of boroughs have the same extracts except for one person. Both get the same requests, at the edge of every
//! limit ([`ORACLES`]). The outcome must be the same in both: answered, refused or not answered, with the same bytes
//! except for figures and their cells. Times are compared by the Kolmogorov–Smirnov test, for each oracle alone.
//! `LODA_ORACLE_PAIRS` and `LODA_ORACLE_QUESTIONS` set the numbers; `just closed` asks 40 pairs 200 questions each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::ipc::reader::StreamReader;
use loda_demo::layout::{Layout, Options};
use loda_proto::v1::node_client::NodeClient;
use loda_proto::v1::told::Word;
use loda_proto::v1::{CancelNodeRequest, DescribeRequest, SubmitRequest};
use loda_question::table::{ColumnRef, Functional, RowDomain, Table};

use super::figures;
use crate::pooled::contract;
use crate::scenarios::ask;
use crate::support::{self, Dice};

const TABLES: [&str; 5] = ["residents", "social_care_clients", "electoral_roll", "properties", "wards"];

/// The side channels that could reveal a person whom the figures do not reveal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Oracle {
    /// The memory pool for tables is one megabyte. Three columns with sums do not fit beside others.
    Memory,
    /// One megabyte for the extracts that are being read.
    Stage,
    /// One megabyte of cached tables. More requests evict other tables.
    Kept,
    /// No time, one millisecond, and just under and just over the shortest deadline that a node accepts.
    NoTime,
    OneMillisecond,
    UnderTheFloor,
    OverTheFloor,
    /// The first table with its columns, the same again, and again after ten others.
    First,
    Again,
    AfterOthers,
    /// Fewer columns than a table that was asked for before. Whether it was prepared with that table must not show.
    Prepared,
    /// A second question while one runs.
    TwoAtOnce,
    /// Cancelled after one millisecond.
    Cancelled,
    /// Judged only, and nothing is read.
    DryRun,
    /// No agreement allows the purpose.
    Purpose,
    /// Bytes that are not a table, more columns than d allows, and sums of a column that is not a measure.
    Damaged,
    TooWide,
    NoSum,
    /// The node's description of its datasets.
    Catalogue,
    /// The number of bytes of an answer, if its cells are the same.
    Bytes,
}

const ORACLES: [Oracle; 20] = [
    Oracle::Memory,
    Oracle::Stage,
    Oracle::Kept,
    Oracle::NoTime,
    Oracle::OneMillisecond,
    Oracle::UnderTheFloor,
    Oracle::OverTheFloor,
    Oracle::First,
    Oracle::Again,
    Oracle::AfterOthers,
    Oracle::Prepared,
    Oracle::TwoAtOnce,
    Oracle::Cancelled,
    Oracle::DryRun,
    Oracle::Purpose,
    Oracle::Damaged,
    Oracle::TooWide,
    Oracle::NoSum,
    Oracle::Catalogue,
    Oracle::Bytes,
];

/// The outcome of a question, without figures and their cells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    states: Vec<i32>,
    refusal: Option<(String, String, String)>,
    /// The method, parameters, snapshots, and columns of the answer.
    answer: Option<(String, Vec<String>)>,
    /// All other text of the answer.
    said: String,
}

/// The cells of an answer, and its number of bytes.
type Size = (Vec<Vec<String>>, usize);

/// A question that both sides get.
#[derive(Clone)]
struct Asked {
    fragment: Vec<u8>,
    deadline_ms: u32,
    purpose: &'static str,
    dry_run: bool,
}

struct Side {
    layout: Layout,
    _dir: tempfile::TempDir,
    times: BTreeMap<Oracle, Vec<f64>>,
}

/// The extract with one person changed.
fn changed(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = 1 + dice.index(lines.len() - 1);
    if dice.one_in(2) {
        lines.remove(at);
    } else {
        // The same person with another person's value in the last column.
        let other = 1 + dice.index(lines.len() - 1);
        let last = lines[other].rsplit(',').next().unwrap().to_owned();
        let (kept, _) = lines[at].rsplit_once(',').unwrap();
        lines[at] = format!("{kept},{last}");
    }
    lines.join("\n") + "\n"
}

async fn side(change: Option<(&str, &mut Dice)>, limits: &str) -> Side {
    let dir = tempfile::tempdir().unwrap();
    let of_test = support::options(dir.path(), 2, None);
    let options = Options { tables: TABLES.to_vec(), ..of_test };
    let layout = support::laid_out(&options);
    let gss = layout.boroughs[1].gss;
    let config = layout.node(gss).join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[tls]", &format!("[limits]\n{limits}\n\n[tls]"))).unwrap();
    if let Some((dataset, dice)) = change {
        let path = layout.node(gss).join(format!("data/{gss}/{dataset}.csv"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, changed(&text, dice)).unwrap();
    }
    let handle = support::RUNTIME.handle().clone();
    let config = loda_node::Config::load(&config).unwrap();
    let node = loda_node::Node::open(config, loda_node::Methods::standard().unwrap(), handle.clone()).await.unwrap();
    let listener = node.bind().await.unwrap();
    handle.spawn(async move { node.serve(listener).await.unwrap() });
    Side { layout, _dir: dir, times: BTreeMap::new() }
}

/// A random table that the contracts allow, with at least this many columns.
fn table(dice: &mut Dice, least: usize) -> Table {
    let of = |name: &str| Some(contract(name)).filter(|contract| TABLES.contains(&contract.dataset.as_str()));
    loop {
        let datasets = ["residents", "social_care_clients", "electoral_roll"];
        let mut columns = BTreeSet::new();
        for _ in 0..=dice.below(3) {
            let dataset = *dice.pick(&datasets);
            let contract = contract(dataset);
            let column = dice.pick(&contract.columns).name.clone();
            let column = if dice.one_in(6) { None } else { Some(column) };
            columns.insert(ColumnRef { via: None, dataset: dataset.to_owned(), column });
        }
        let mut figures = BTreeSet::from([Functional::Units("person".to_owned())]);
        if columns.len() < least {
            continue;
        }
        if least > 0 || dice.one_in(2) {
            figures.insert(Functional::Sum(ColumnRef::parse("social_care_clients.weekly_cost").unwrap()));
        }
        if let Ok(table) = Table::new(RowDomain::Units("person".to_owned()), columns, figures, &of) {
            return table;
        }
    }
}

/// The bytes of a table with more columns than contracts allow, made from three allowed tables.
fn wide(dice: &mut Dice) -> Vec<u8> {
    let of = |name: &str| Some(contract(name));
    let allowed = [table(dice, 3), table(dice, 3), table(dice, 3)];
    let columns = allowed.iter().flat_map(|table| table.columns()).map(|column| column.reference.clone());
    let figures = BTreeSet::from([Functional::Units("person".to_owned())]);
    match Table::new(RowDomain::Units("person".to_owned()), columns.collect::<BTreeSet<_>>(), figures, &of) {
        Ok(table) => table.encode(),
        // A hand-made form: the bytes of the tables one after another.
        Err(_) => allowed.iter().flat_map(Table::encode).collect(),
    }
}

impl Side {
    fn client(&self) -> NodeClient<tonic::transport::Channel> {
        support::node_client(&self.layout, self.layout.boroughs[1].gss, &self.layout.coordinator())
    }

    async fn request(&self, asked: &Asked) -> SubmitRequest {
        let request = SubmitRequest {
            query_id: uuid::Uuid::new_v4().to_string(),
            analyst: "spiffe://demo.london/analyst/demo".to_owned(),
            purpose: asked.purpose.to_owned(),
            fragment: asked.fragment.clone(),
            targets: vec![self.layout.boroughs[1].gss.to_owned()],
            deadline_ms: asked.deadline_ms,
            dry_run: asked.dry_run,
            signed: None,
            would_sign: false,
            log: None,
            question_id: String::new(),
        };
        support::logged(&mut self.client(), &self.layout, request).await
    }

    async fn ask(&self, asked: &Asked) -> (Outcome, Option<Size>) {
        heard(self.client().ask(self.request(asked).await).await).await
    }

    /// Asks in the way of an oracle. The outcome must be the same on both sides. The time is recorded.
    async fn consult(&mut self, oracle: Oracle, asked: &Asked, others: &[Asked]) -> (Outcome, Option<Size>) {
        match oracle {
            Oracle::Again | Oracle::AfterOthers | Oracle::Prepared => {
                let before = if oracle == Oracle::Prepared { &others[0] } else { asked };
                self.ask(before).await;
                for other in others.iter().skip(1).take(if oracle == Oracle::AfterOthers { 10 } else { 0 }) {
                    self.ask(other).await;
                }
            }
            _ => {}
        }
        let began = Instant::now();
        let outcome = match oracle {
            Oracle::Catalogue => {
                let mut client = self.client();
                let mut said = client
                    .describe(DescribeRequest { versions: (0..20).collect(), log: None, ..Default::default() })
                    .await
                    .unwrap()
                    .into_inner();
                // The position of the log differs between the sides.
                said.log = None;
                (Outcome { said: format!("{said:?}"), ..Outcome::default() }, None)
            }
            Oracle::DryRun => {
                let judged = self.client().submit(self.request(asked).await).await.unwrap().into_inner();
                (Outcome { said: format!("{:?}", judged.refusal), ..Outcome::default() }, None)
            }
            Oracle::TwoAtOnce => {
                let (one, other) = tokio::join!(self.ask(asked), self.ask(&others[0]));
                (Outcome { said: format!("{:?}", other.0), ..one.0 }, one.1)
            }
            Oracle::Cancelled => {
                let mut client = self.client();
                let request = self.request(asked).await;
                let query_id = request.query_id.clone();
                let accepted = client.submit(request).await.unwrap().into_inner();
                let ended =
                    client.cancel(CancelNodeRequest { query_id }).await.map(|_| ()).map_err(|status| status.code());
                (Outcome { said: format!("{:?} {ended:?}", accepted.refusal), ..Outcome::default() }, None)
            }
            _ => self.ask(asked).await,
        };
        self.times.entry(oracle).or_default().push(began.elapsed().as_secs_f64());
        outcome
    }
}

type Words = Result<tonic::Response<tonic::Streaming<loda_proto::v1::Told>>, tonic::Status>;

async fn heard(words: Words) -> (Outcome, Option<Size>) {
    let mut words = words.unwrap().into_inner();
    let (mut outcome, mut said, mut bytes) = (Outcome::default(), None, Vec::new());
    while let Some(told) = words.message().await.unwrap() {
        match told.word.unwrap() {
            Word::State(state) if state == i32::from(loda_proto::v1::State::Queued) => {}
            Word::State(state) => outcome.states.push(state),
            Word::Refusal(refusal) => outcome.refusal = Some((refusal.rule, refusal.message, refusal.advice)),
            Word::Chunk(chunk) => {
                let of_header = |h: loda_proto::v1::ReleasedHeader| {
                    format!(
                        "{} {} {} {:?} {} {}",
                        h.method, h.parameters, h.dense, h.snapshots, h.as_at, h.count_variance
                    )
                };
                said = said.or(chunk.header.map(of_header));
                bytes.extend(chunk.arrow_ipc);
            }
        }
    }
    outcome.states.dedup();
    let Some(said) = said else { return (outcome, None) };
    let length = bytes.len();
    let reader = StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
    let schema = reader.schema();
    let rows: Vec<RecordBatch> = reader.map(|batch| batch.unwrap()).collect();
    outcome.answer = Some((said, schema.fields().iter().map(|field| format!("{field:?}")).collect()));
    // Figures are decimals. The other columns of a row identify the cell.
    let cells =
        schema.fields().iter().take_while(|field| !matches!(field.data_type(), DataType::Decimal128(..))).count();
    (outcome, Some((crate::pooled::text(&rows, cells), length)))
}

/// The greatest distance between the distributions of two samples, and the probability that chance gives one as great.
fn apart(a: &[f64], b: &[f64]) -> (f64, f64) {
    let mut all: Vec<(f64, bool)> = a.iter().map(|t| (*t, true)).chain(b.iter().map(|t| (*t, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut below, mut most) = (0.0_f64, 0.0_f64);
    for (_, first) in all {
        below += if first { 1.0 / n } else { -1.0 / m };
        most = most.max(below.abs());
    }
    let root = (n * m / (n + m)).sqrt();
    let lambda = (root + 0.12 + 0.11 / root) * most;
    let terms = (1..100).map(|k| 2.0 * (-1.0_f64).powi(k - 1) * (-2.0 * f64::from(k * k) * lambda * lambda).exp());
    (most, terms.sum::<f64>().clamp(0.0, 1.0))
}

/// A question for an oracle.
fn question(oracle: Oracle, dice: &mut Dice) -> Asked {
    let deadline_ms = match oracle {
        Oracle::NoTime => 0,
        Oracle::OneMillisecond => 1,
        Oracle::UnderTheFloor => 4_999,
        Oracle::OverTheFloor => 5_001,
        _ => 60_000,
    };
    let least = match oracle {
        Oracle::Memory | Oracle::Kept => 3,
        Oracle::NoSum => 1,
        _ => 0,
    };
    let mut fragment = table(dice, least).encode();
    match oracle {
        Oracle::Damaged => {
            let at = dice.index(fragment.len());
            fragment[at] ^= 1 << dice.below(8);
        }
        Oracle::TooWide => fragment = wide(dice),
        Oracle::NoSum => {
            let of = fragment.windows(11).position(|window| window == b"weekly_cost");
            of.into_iter().for_each(|at| fragment[at..at + 11].copy_from_slice(b"weekly_cash"));
        }
        _ => {}
    }
    let purpose = if oracle == Oracle::Purpose { "nobody's" } else { "demo" };
    Asked { fragment, deadline_ms, purpose, dry_run: oracle == Oracle::DryRun }
}

#[test]
fn one_person_changes_no_outcome_and_no_time() {
    support::run(async {
        let pairs = support::rounds("LODA_ORACLE_PAIRS", 2);
        let questions = support::rounds("LODA_ORACLE_QUESTIONS", 60);
        let mut dice = Dice::new(support::seed());
        let (mut times, mut answered, mut same_cells) = ([BTreeMap::new(), BTreeMap::new()], BTreeMap::new(), 0);
        // Each side draws with its own secret, so equal cells occur by chance. More pairs are tried until there are
        // some.
        for pair in 0..10 * pairs {
            if pair >= pairs && same_cells > 0 {
                break;
            }
            let dataset = *dice.pick(&["residents", "social_care_clients", "electoral_roll"]);
            let [memory, stage, kept] = [[1, 64], [1, 64], [1, 256]].map(|of| *dice.pick(&of));
            let limits = format!("memory_mb = {memory}\nstage_mb = {stage}\ntables_mb = {kept}\nrunning = 1");
            let mut sides = [side(None, &limits).await, side(Some((dataset, &mut dice)), &limits).await];
            for number in 0..questions {
                let oracle = ORACLES[number as usize % ORACLES.len()];
                let asked = question(oracle, &mut dice);
                let others: Vec<Asked> = (0..11).map(|_| question(Oracle::First, &mut dice)).collect();
                let first = usize::from(dice.one_in(2));
                let one = sides[first].consult(oracle, &asked, &others).await;
                let other = sides[1 - first].consult(oracle, &asked, &others).await;
                assert_eq!(one.0, other.0, "pair {pair}, {oracle:?}, {limits:?}: {dataset} differs in one person");
                if let (Some((cells, bytes)), Some((of_other, bytes_of_other))) = (one.1, other.1) {
                    *answered.entry(oracle).or_insert(0) += 1;
                    if cells == of_other {
                        same_cells += 1;
                        assert_eq!(bytes, bytes_of_other, "pair {pair}, {oracle:?}: the same cells");
                    }
                }
            }
            for (all, side) in times.iter_mut().zip(&mut sides) {
                for (oracle, mut of) in std::mem::take(&mut side.times) {
                    all.entry(oracle).or_insert_with(Vec::new).append(&mut of);
                }
            }
        }
        println!(
            "{pairs} pairs of extracts that differ in one person, {questions} questions each: the same outcome in all; of \
             {same_cells} answers with the same cells as many bytes"
        );
        let mean = |times: &[f64]| 1_000.0 * times.iter().sum::<f64>() / times.len() as f64;
        let mut least = 1.0_f64;
        for (oracle, of_one) in &times[0] {
            let of_other = &times[1][oracle];
            let (most, chance) = apart(of_one, of_other);
            least = least.min(chance);
            println!(
                "  {:14} {:4} times, {:4} answered: {:7.2} and {:7.2} ms, {most:.3} apart, by chance in {:3.0} of 100",
                format!("{oracle:?}"),
                of_one.len(),
                answered.get(oracle).unwrap_or(&0),
                mean(of_one),
                mean(of_other),
                100.0 * chance
            );
        }
        assert!(answered.len() > 10 && same_cells > 0);
        // The smallest of twenty probabilities.
        assert!(least > 0.001 / ORACLES.len() as f64, "times tell who is there");
    });
}

/// One cell asked for directly, as a group, and by a list of one: one figure and one note.
#[test]
fn a_cell_is_the_same_asked_by_itself_and_by_a_filter() {
    support::run(async {
        let federation = support::synthetic().await.unwrap();
        let mut dice = Dice::new(support::seed());
        let (mut same, mut withheld) = (0, 0);
        for gss in ["E09000001", "E09000022"] {
            let of = format!("FROM residents WHERE borough = '{gss}'");
            let all =
                figures(federation, &format!("SELECT ward, age_band, COUNT(*) {of} GROUP BY ward, age_band")).await;
            for _ in 0..support::rounds("LODA_ORACLE_QUESTIONS", 60) / 4 {
                let row = dice.pick(&all);
                let (ward, age) = (row[0].replace('\'', "''"), &row[1]);
                let condition = match dice.below(3) {
                    0 => format!("ward = '{ward}' AND age_band = '{age}'"),
                    1 => format!("ward IN ('{ward}') AND age_band LIKE '{age}'"),
                    _ => format!("NOT (ward <> '{ward}' OR age_band <> '{age}')"),
                };
                let alone = ask(&federation.client, &format!("SELECT COUNT(*) {of} AND {condition}")).await.unwrap();
                let alone = crate::pooled::text(&alone.batches, 2).remove(0);
                let by_cell = format!("SELECT ward, age_band, COUNT(*) {of} AND {condition} GROUP BY ward, age_band");
                let grouped = ask(&federation.client, &by_cell).await.unwrap();
                let grouped = crate::pooled::text(&grouped.batches, 4);
                assert_eq!(alone[0], row[2], "{condition}");
                assert_eq!(grouped.first().map(|row| row[2..].to_vec()), Some(alone.clone()), "{condition}");
                same += 1;
                withheld += usize::from(alone[1] == "c");
            }
        }
        println!("{same} cells by themselves are what a filter says, {withheld} of them withheld");
        assert!(withheld > 0);
    });
}
