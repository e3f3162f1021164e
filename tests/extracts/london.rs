//! The extracts of the synthetic London with more dirt on them, by the commands of a borough's first hour: every row is
//! served, or named, and what London counts is the truth.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loda_demo::boroughs::BOROUGHS;
use loda_demo::london::{self, Outputs, Plan};

use super::{BINARY, Folder, both};
use crate::support::{self, Dice, Running};

/// How many files.
const FILES: usize = 30;

/// A text file with a title, a note, a total row and markers where its values are missing. What was done to it.
fn dirtied(text: &str, delimiter: char, dice: &mut Dice) -> (String, Vec<&'static str>) {
    let mut did = Vec::new();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let columns = lines[0].split(delimiter).count();
    let sep = delimiter.to_string();
    if dice.below(2) == 0 {
        let marker = ["NULL", "-", "N/A", ".."][dice.index(4)];
        for line in lines.iter_mut().skip(1).filter(|line| !line.contains('"')) {
            let cells: Vec<&str> = line.split(delimiter).map(|c| if c.is_empty() { marker } else { c }).collect();
            *line = cells.join(&sep);
        }
        did.push(marker);
    }
    let at = (0..columns).find(|at| {
        let cells = lines.iter().skip(1).filter(|line| !line.contains('"')).filter_map(|l| l.split(delimiter).nth(*at));
        let cells: Vec<&str> = cells.collect();
        let number = |cell: &&str| cell.len() < 6 && cell.parse::<i64>().is_ok_and(|n| n > 0);
        cells.len() > 20 && cells.len() + 1 == lines.len() && cells.iter().all(number)
    });
    if let Some(at) = at {
        let number = |line: &String| line.split(delimiter).nth(at).and_then(|c| c.parse::<i64>().ok()).unwrap_or(0);
        let sum: i64 = lines.iter().skip(1).map(number).sum();
        let mut total = vec![String::new(); columns];
        total[at] = sum.to_string();
        lines.push(total.join(&sep));
        did.push("a total");
    }
    if dice.below(3) == 0 {
        let mut note = vec![String::new(); columns];
        note[0] = "Note: taken from the live system, and not checked since".to_owned();
        lines.push(note.join(&sep));
        did.push("a note");
    }
    if dice.below(3) == 0 {
        lines.insert(0, String::new());
        lines.insert(0, "Extract for the London data federation".to_owned());
        did.push("a title");
    }
    (lines.join("\r\n"), did)
}

#[test]
fn thirty_dirty_files_of_a_synthetic_borough_are_served_as_they_are() {
    let began = Instant::now();
    let london = tempfile::tempdir().unwrap();
    let index = BOROUGHS.iter().position(|borough| borough.gss == "E09000022").unwrap();
    let outputs = Outputs { extracts: true, pooled: false, truth: false, answers: false };
    let folder = Folder::new();
    let mut dice = Dice::new(30);
    let (mut made, mut commands, mut kinds) = (Vec::new(), 0, std::collections::BTreeSet::new());
    for seed in 1..9_u64 {
        if made.len() >= FILES {
            break;
        }
        let plan = Plan { seed, scale: 0.004, boroughs: vec![index], outputs };
        let out = london.path().join(seed.to_string());
        let written = london::write(&out, &plan, &|_, _| {}).unwrap();
        for (service, mapping) in london::mappings(seed, &BOROUGHS[index]) {
            let rows = written.rows.iter().find(|(name, _)| *name == service).unwrap().1;
            let source = mapping.source;
            let file = out.join("extracts/E09000022").join(&source.path);
            let plain = source.format == "csv" && !source.path.contains('*') && source.header.is_none() && !source.pad;
            if !plain || rows < 60 || made.len() >= FILES {
                continue;
            }
            // Other encodings stay as they are.
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let (text, did) = dirtied(&text, source.delimiter.unwrap_or(','), &mut dice);
            let name = format!("{service}_{seed}");
            folder.put(&format!("{name}.csv"), text);
            let said = folder.init("E09000022", &name, &[&format!("{name}.csv")]);
            commands += 2;
            let decided =
                folder.node(&["decide", "--dataset", &name, "--by", "A. Khan", "--why", "looked at, and right"]);
            assert!(decided.status.success(), "{name}: {}", both(&decided));
            // Figures about people are not exact. These rows are counted as they are.
            let contract = folder.contract(&name);
            let contract = contract
                .replace("cell-key", "threshold")
                .replace("dimensions = 2\nepoch = \"quarter\"\n", "")
                .replace("about = \"people\"", "about = \"things\"");
            folder.put(&format!("contracts/{name}.toml"), contract);
            kinds.insert(service);
            made.push((name, rows, did, said));
        }
    }
    assert!(made.len() == FILES && kinds.len() >= 10, "{} files of {} kinds", made.len(), kinds.len());
    let (report, served) = folder.check();
    assert!(served, "{report}");
    let mut kept = Vec::new();
    for (name, rows, did, said) in &made {
        let of = report.split(&format!("\n{name} – ")).nth(1).or_else(|| report.strip_prefix(&format!("{name} – ")));
        let of = of.unwrap_or_else(|| panic!("{name}: {report}"));
        let line = of.lines().find(|line| line.contains("mapping: ")).unwrap();
        let numbers: Vec<u64> = line.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        let (given, keeps) = (numbers[0], numbers[1]);
        assert_eq!(given, *rows, "{name} with {did:?}: {said}\n{}", of.chars().take(3_000).collect::<String>());
        assert!(keeps * 100 >= given * 98, "{name} with {did:?}: {}", of.chars().take(3_000).collect::<String>());
        kept.push((name.clone(), keeps));
    }
    let port = support::free_ports();
    let program = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.arg(name).args(arguments).current_dir(folder.path());
        command
    };
    let trial = ["federation", "trial", "--borough", "E09000022", "--port", &port.to_string()];
    let output = program("loda", &trial).output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let node = folder.read("node.toml").replace("127.0.0.1:7444", &format!("127.0.0.1:{}", port + 1));
    folder.put("node.toml", node);
    let serve = |name: &str, config: &str| {
        let mut command = program(name, &["--config", config]);
        Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let _running = (serve("node", "node.toml"), serve("coordinator", "coordinator/coordinator.toml"));
    let served_from = Instant::now();
    let mut left: Vec<(String, u64)> = kept.clone();
    while !left.is_empty() {
        left.retain(|(name, expected)| {
            let sql = format!("SELECT COUNT(*) AS n FROM {name}");
            let asked = program("loda", &["query", "-p", "trial", "--format", "csv", "--config", "loda.toml", &sql]);
            let output = { asked }.output().unwrap();
            if !output.status.success() {
                return true;
            }
            let csv = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(csv.lines().nth(1).unwrap().split(',').next().unwrap(), expected.to_string(), "{name}: {csv}");
            false
        });
        assert!(served_from.elapsed() < Duration::from_secs(120), "not served: {left:?}");
    }
    let rows: u64 = kept.iter().map(|(_, rows)| rows).sum();
    println!(
        "{FILES} dirty files of {} kinds, {rows} rows: {commands} commands of init and decide, check, trial and two servers; \
         {:.1} minutes with the questions",
        kinds.len(),
        began.elapsed().as_secs_f64() / 60.0
    );
}
