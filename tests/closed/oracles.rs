//! What limits, deadlines, times and sizes tell of one person: nothing.
//!
//! Pairs of boroughs with the same extracts but for one person are asked the same tables, under small limits: pools, stages and
//! kept tables of a megabyte, deadlines of a millisecond, the same again, and again after others. Whatever is answered, refused
//! or not answered is so in both; times are compared by the Kolmogorov–Smirnov test. `LODA_ORACLE_PAIRS` (40) and
//! `LODA_ORACLE_QUESTIONS` (200) set how many; `just closed` asks all of them.

use std::collections::BTreeSet;
use std::time::Instant;

use arrow::ipc::reader::StreamReader;
use loda_demo::layout::{Layout, Options};
use loda_proto::v1::told::Word;
use loda_question::table::{ColumnRef, Functional, RowDomain, Table};

use crate::pooled::contract;
use crate::support::{self, Dice};

const TABLES: [&str; 5] = ["residents", "social_care_clients", "electoral_roll", "properties", "wards"];

/// What came of a question, without figures and their cells.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    states: Vec<i32>,
    refusal: Option<(String, String, String)>,
    /// Method, parameters, snapshots, and the columns of the answer.
    answer: Option<(String, Vec<String>)>,
}

struct Side {
    layout: Layout,
    _dir: tempfile::TempDir,
    times: Vec<f64>,
}

/// How one person differs.
fn changed(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = 1 + dice.index(lines.len() - 1);
    if dice.one_in(2) {
        lines.remove(at);
    } else {
        // The same person with what another has in the last column.
        let other = 1 + dice.index(lines.len() - 1);
        let last = lines[other].rsplit(',').next().unwrap().to_owned();
        let (kept, _) = lines[at].rsplit_once(',').unwrap();
        lines[at] = format!("{kept},{last}");
    }
    lines.join("\n") + "\n"
}

async fn side(change: Option<(&str, &mut Dice)>) -> Side {
    let dir = tempfile::tempdir().unwrap();
    let of_test = support::options(dir.path(), 2, None);
    let options = Options { tables: TABLES.to_vec(), ..of_test };
    let layout = Layout::create(&options, &mut |_| {}).unwrap();
    let gss = layout.boroughs[1].gss;
    let config = layout.node(gss).join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let limits = "[limits]\nmemory_mb = 1\nstage_mb = 1\ntables_mb = 1\nrunning = 1\n\n[tls]";
    std::fs::write(&config, text.replace("[tls]", limits)).unwrap();
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
    Side { layout, _dir: dir, times: Vec::new() }
}

/// Some table that the contracts allow.
fn table(dice: &mut Dice) -> Table {
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
        if dice.one_in(2) {
            figures.insert(Functional::Sum(ColumnRef::parse("social_care_clients.weekly_cost").unwrap()));
        }
        if let Ok(table) = Table::new(RowDomain::Units("person".to_owned()), columns, figures, &of) {
            return table;
        }
    }
}

impl Side {
    async fn ask(&mut self, fragment: &[u8], deadline_ms: u32) -> Outcome {
        let gss = self.layout.boroughs[1].gss;
        let mut client = support::node_client(&self.layout, gss, &self.layout.coordinator());
        let request = loda_proto::v1::SubmitRequest {
            query_id: uuid::Uuid::new_v4().to_string(),
            analyst: "spiffe://demo.london/analyst/demo".to_owned(),
            purpose: "demo".to_owned(),
            fragment: fragment.to_vec(),
            targets: vec![gss.to_owned()],
            deadline_ms,
            dry_run: false,
            authority: None,
        };
        let began = Instant::now();
        let mut words = client.ask(request).await.unwrap().into_inner();
        let mut outcome = Outcome { states: Vec::new(), refusal: None, answer: None };
        let (mut said, mut bytes) = (None, Vec::new());
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
        self.times.push(began.elapsed().as_secs_f64());
        outcome.answer = said.map(|said| {
            let schema = StreamReader::try_new(std::io::Cursor::new(bytes), None).unwrap().schema();
            (said, schema.fields().iter().map(|field| format!("{field:?}")).collect())
        });
        outcome
    }
}

/// The greatest distance between what two samples are distributed like, and how likely chance has one as great.
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

#[test]
fn one_person_changes_no_outcome_and_no_time() {
    support::run(async {
        let pairs = support::rounds("LODA_ORACLE_PAIRS", 2);
        let questions = support::rounds("LODA_ORACLE_QUESTIONS", 60);
        let mut dice = Dice::new(support::seed());
        let (mut times, mut outcomes) = ([Vec::new(), Vec::new()], BTreeSet::new());
        for pair in 0..pairs {
            let dataset = *dice.pick(&["residents", "social_care_clients", "electoral_roll"]);
            let mut sides = [side(None).await, side(Some((dataset, &mut dice))).await];
            let some: Vec<Vec<u8>> = (0..questions / 3 + 1).map(|_| table(&mut dice).encode()).collect();
            for number in 0..questions {
                // Half of them were asked before, and some are no table at all.
                let mut fragment = dice.pick(&some).clone();
                if dice.one_in(20) {
                    let at = dice.index(fragment.len());
                    fragment[at] ^= 1 << dice.below(8);
                }
                let deadline = *dice.pick(&[0, 1, 50, 1_000, 60_000]);
                let first = usize::from(number % 2 == 1);
                let one = sides[first].ask(&fragment, deadline).await;
                let other = sides[1 - first].ask(&fragment, deadline).await;
                assert_eq!(
                    one, other,
                    "pair {pair}, question {number}, deadline {deadline}: {dataset} differs in one person"
                );
                outcomes.insert(one.answer.as_ref().map_or("refused or not answered", |_| "answered"));
            }
            for (all, side) in times.iter_mut().zip(&mut sides) {
                all.append(&mut side.times);
            }
        }
        let (most, chance) = apart(&times[0], &times[1]);
        let mean = |times: &[f64]| 1_000.0 * times.iter().sum::<f64>() / times.len() as f64;
        println!(
            "{pairs} pairs of extracts that differ in one person, {questions} questions each: the same outcome in all; times \
             {:.1} and {:.1} ms on average, {most:.3} apart, as much by chance in {:.0} of 100",
            mean(&times[0]),
            mean(&times[1]),
            100.0 * chance
        );
        assert_eq!(outcomes.len(), 2);
        assert!(chance > 0.001, "times tell who is there");
    });
}
