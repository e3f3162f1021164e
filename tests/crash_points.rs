//! A party's log under a disk that fails, and a machine that stops, at every call to the file system.
//!
//! A worker process logs, publishes checkpoints, confirms another log, keeps words and destroys them, and says on its
//! standard output what has been acknowledged. strace kills it at one call, or makes that call fail. Then the log is opened
//! as a start opens it, and everything that was said has to hold.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{Days, Utc};
use loda_identity::SigningKey;
use loda_ledger::payload::{Commitment, PayloadStore, RecordClass};
use loda_ledger::tree::checkpoint::Checkpoint;
use loda_ledger::tree::files::TreeFiles;
use loda_ledger::tree::note::{Note, Verifier};
use loda_ledger::tree::proof;
use loda_ledger::{Asked, Entry, Event, Log, Offered, PublishedTree, Search, SignedLines, Witness};
use loda_ledger::{checkpoint_key, search, witness_key};

use crate::support;

/// The worker's folder, in its environment.
const FOLDER: &str = "LODA_CRASH_FOLDER";

/// The entries before the worker's. The first tile fills up on the way.
const BEFORE: usize = 250;

/// The rounds of a worker.
fn rounds() -> usize {
    usize::try_from(support::rounds("LODA_CRASH_ROUNDS", 12)).unwrap()
}

/// The most seconds of a worker. A failed lock holds SQLite up for some.
const LONGEST: &str = "60";

/// The calls that reach the disk, or tell what is on it.
const CALLS: [&str; 18] = [
    "openat",
    "read",
    "write",
    "pread64",
    "pwrite64",
    "lseek",
    "close",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "statx",
    "newfstatat",
    "fcntl",
];

fn key(folder: &Path) -> SigningKey {
    SigningKey::load(&folder.join("log.key")).unwrap()
}

fn log_of(folder: &Path) -> Verifier {
    checkpoint_key("london.example", "coordinator", &key(folder).public_hex()).unwrap()
}

fn entry(number: usize) -> Entry {
    Entry { query: format!("question {number}"), ..Entry::admin("an entry of a worker") }
}

fn tree_of(folder: &Path) -> Result<PublishedTree, loda_ledger::LogError> {
    PublishedTree::open(&folder.join("log.jsonl"), &folder.join("log"), key(folder), log_of(folder))
}

fn witness_of(folder: &Path) -> Witness {
    let own = witness_key("london.example", "E09000007", &key(folder).public_hex()).unwrap();
    Witness::new(&folder.join("witness"), key(folder), own)
}

/// Has the newest checkpoint of a tree confirmed.
fn confirm(tree: &PublishedTree, witness: &Witness, log: &Verifier, old: &mut u64) -> Option<(Checkpoint, Note)> {
    let (checkpoint, note) = tree.newest()?.clone();
    for _ in 0..2 {
        let proof = tree.continuing(*old, checkpoint.size).ok()?;
        let bytes = note.to_string();
        match witness.confirm(log, &Offered { note: bytes.as_bytes(), old: *old, proof: &proof }, 1_790_000_000) {
            Ok(signed) => {
                *old = checkpoint.size;
                return Some((checkpoint, signed));
            }
            Err(loda_ledger::Unconfirmed::ProofFrom(from)) => *old = from,
            Err(_) => return None,
        }
    }
    None
}

/// What a party does in some rounds. After a fault it goes on, as a service does.
fn work(folder: &Path) -> Option<()> {
    let mut out = std::io::stdout().lock();
    let mut tell = |words: String| {
        // The line is whole or not there.
        let _told = out.write_all(format!("told {words}\n").as_bytes()).and_then(|()| out.flush());
    };
    let log = SignedLines::open(&folder.join("log.jsonl"), key(folder)).ok()?;
    let mut tree = tree_of(folder).ok()?;
    let store = PayloadStore::open(&folder.join("payloads.db")).ok()?;
    let (witness, verifier, mut old) = (witness_of(folder), log_of(folder), 0);
    for round in 0..rounds() {
        let text = format!("words of round {round}");
        let Ok(kept) = store.keep(RecordClass::Question, text.as_bytes(), || text.clone().into_bytes()) else {
            continue;
        };
        tell(format!("kept {kept}"));
        let asked = Entry { query: text, ..Entry::of(Event::Intent { asked: Asked::Committed(kept) }) };
        let Ok(number) = log.append_all(&[asked, entry(round)]) else { continue };
        tell(format!("entry {number} words of round {round}"));
        if let Ok(included) = tree.included(number) {
            tell(format!("signed {}", included.checkpoint.text().replace('\n', " ")));
        }
        if round % 2 == 1
            && tree.publish().is_ok()
            && let Some((checkpoint, note)) = confirm(&tree, &witness, &verifier, &mut old)
        {
            tell(format!("signed {}", checkpoint.text().replace('\n', " ")));
            let _kept = tree.keep_confirmed(note).is_ok();
        }
        if round == rounds() / 2 {
            let before = Utc::now().date_naive().checked_add_days(Days::new(1))?;
            if store.erase(RecordClass::Question, before).is_ok() {
                tell("erased".to_owned());
            }
        }
    }
    tell("end".to_owned());
    Some(())
}

/// Not a test by itself: what strace runs.
#[test]
#[ignore = "the worker of another test"]
fn worker() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let _ended = work(Path::new(&folder));
    }
}

/// Runs the worker in a folder under strace.
fn worked(folder: &Path, options: &[String]) -> String {
    // A worker that waits for ever is a fault as well.
    let mut strace = Command::new("timeout");
    strace.args(["-s", "KILL", LONGEST, "strace"]);
    strace.args(["-f", "-qq", "-o"]).arg(folder.join("trace")).args(options).arg(std::env::current_exe().unwrap());
    strace.args([
        concat!(module_path!(), "::worker").split_once("::").unwrap().1,
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    strace.args(["--test-threads", "1"]);
    strace.env(FOLDER, folder).stdin(Stdio::null()).stderr(Stdio::null());
    let output = strace.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    // What `timeout` gives for a process that it killed.
    let kills = options.iter().any(|option| option.contains("KILL"));
    if matches!(output.status.code(), Some(124)) || (!kills && matches!(output.status.code(), Some(137))) {
        return format!("{told}told hung\n");
    }
    told
}

/// Holds what the worker told against what is there after a start.
fn holds(folder: &Path, told: &str) -> Result<(), String> {
    let said = |what: &'static str| move |fault: &dyn std::fmt::Display| format!("{what}: {fault}");
    let path = folder.join("log.jsonl");
    let log = SignedLines::open(&path, key(folder)).map_err(|fault| said("the log does not open")(&fault))?;
    let mut tree = tree_of(folder).map_err(|fault| said("the tree does not open")(&fault))?;
    let store =
        PayloadStore::open(&folder.join("payloads.db")).map_err(|fault| said("the words do not open")(&fault))?;
    let (found, _) = search(&path, &Search::default(), 0, usize::MAX).map_err(|fault| fault.to_string())?;
    let mut whole = TreeFiles::new(&folder.join("again"));
    for one in &found {
        let line = format!("{{\"entry\":{},\"signature\":\"{}\"}}", one.entry, one.signature);
        whole.push(line.as_bytes()).map_err(|fault| fault.to_string())?;
    }
    let reader = store.reader().map_err(|fault| fault.to_string())?;
    let mut kept: Vec<Commitment> = Vec::new();
    let lines: Vec<&str> = told.lines().filter_map(|line| line.split_once("told ").map(|(_, rest)| rest)).collect();
    for line in lines {
        let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
        match what {
            "entry" => {
                let (number, query) = rest.split_once(' ').unwrap();
                let entry = found.get(number.parse::<usize>().unwrap()).and_then(|one| one.read());
                if entry.is_none_or(|entry| entry.what.query != query) {
                    return Err(format!("entry {number} is lost"));
                }
            }
            "signed" => {
                let checkpoint = Checkpoint::parse(&rest.replace(' ', "\n")).ok_or("no checkpoint")?;
                let now = proof::root(&whole, checkpoint.size).map_err(|fault| fault.to_string());
                if checkpoint.size > whole.size() || now? != checkpoint.root {
                    return Err(format!("the log of {} entries was signed otherwise", checkpoint.size));
                }
            }
            "kept" => kept.push(rest.parse().map_err(|_| "no commitment")?),
            "erased" => {
                for gone in kept.drain(..) {
                    if reader.get(&gone).map_err(|fault| fault.to_string())?.is_some() {
                        return Err("erased words are there".to_owned());
                    }
                }
            }
            "hung" => return Err("the worker came to no end".to_owned()),
            _ => {}
        }
    }
    // The last words may have been on their way to be erased.
    let at_erasure = told.contains(&format!("words of round {}", rounds() / 2)) && !told.contains("told erased");
    for words in kept {
        if !at_erasure && reader.get(&words).map_err(|fault| fault.to_string())?.is_none() {
            return Err("kept words are lost".to_owned());
        }
    }
    // Work goes on.
    let number = log.append(&entry(999)).map_err(|fault| said("nothing can be logged")(&fault))?;
    let proven = tree.included(number).map_err(|fault| said("nothing can be proven")(&fault))?;
    let size = Checkpoint::parse(proven.checkpoint.text()).map(|checkpoint| checkpoint.size);
    if size != number.checked_add(1) {
        return Err(format!("{size:?} entries of {number} are signed"));
    }
    tree.publish().map_err(|fault| said("nothing can be published")(&fault))?;
    let mut old = 0;
    match confirm(&tree, &witness_of(folder), &log_of(folder), &mut old) {
        Some(_) => Ok(()),
        None => Err("the log is not confirmed any more".to_owned()),
    }
}

/// The folder of a party with some entries, to be copied for each point.
fn party(folder: &Path) {
    SigningKey::generate().unwrap().0.save(&folder.join("log.key")).unwrap();
    let log = SignedLines::open(&folder.join("log.jsonl"), key(folder)).unwrap();
    log.append_all(&(0..BEFORE).map(entry).collect::<Vec<_>>()).unwrap();
    drop(tree_of(folder).unwrap());
    let store = PayloadStore::open(&folder.join("payloads.db")).unwrap();
    store.keep(RecordClass::Result, b"before", || b"before".to_vec()).unwrap();
    drop(store);
    // Its thread closes the file after it.
    while folder.join("payloads.db-wal").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copied(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

/// How often a worker makes each call that names one of the party's files, or works on an open one: over all its calls.
fn counted(trace: &str) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for call in CALLS {
        let of = trace
            .lines()
            .filter(|line| line.split_whitespace().nth(1).is_some_and(|rest| rest.starts_with(&format!("{call}("))));
        counts.insert(call, of.count());
    }
    counts
}

#[test]
fn no_call_that_fails_loses_an_entry_or_forks_the_log() {
    if !support::doors::has("strace") {
        return;
    }
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|traced| traced.status.success()) {
        return println!("skipped: this machine lets no process be traced");
    }
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    std::fs::create_dir(&base).unwrap();
    party(&base);
    let whole = dir.path().join("whole");
    copied(&base, &whole);
    let told = worked(&whole, &["-e".to_owned(), format!("trace={}", CALLS.join(","))]);
    assert!(told.contains("told end") && told.matches("told entry").count() == rounds(), "{told}");
    holds(&whole, &told).unwrap();
    let counts = counted(&std::fs::read_to_string(whole.join("trace")).unwrap());
    let points: Vec<(&str, usize, &str)> = counts
        .iter()
        .flat_map(|(call, count)| {
            (1..=*count).flat_map(move |at| [(*call, at, "signal=KILL"), (*call, at, "error=EIO")])
        })
        .collect();
    let wanted = usize::try_from(support::rounds("LODA_CRASH_POINTS", 60)).unwrap().min(points.len());
    let step = points.len() / wanted.max(1);
    let chosen: Vec<_> = points.iter().step_by(step.max(1)).collect();
    let (next, interrupted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let faults = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (dir, base, chosen, next, interrupted, faults) =
                (dir.path(), &base, &chosen, &next, &interrupted, &faults);
            scope.spawn(move || {
                let folder = dir.join(format!("point{thread}"));
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((call, at, what)) = chosen.get(number) else { break };
                    if number % 500 == 499 {
                        println!("{} of {} points", number + 1, chosen.len());
                    }
                    let _old = std::fs::remove_dir_all(&folder);
                    copied(base, &folder);
                    let options = [
                        "-e".to_owned(),
                        format!("trace={call}"),
                        "-e".to_owned(),
                        format!("inject={call}:{what}:when={at}"),
                    ];
                    let told = worked(&folder, &options);
                    if !told.contains("told end") || *what != "signal=KILL" {
                        interrupted.fetch_add(1, Ordering::Relaxed);
                    }
                    if let Err(fault) = holds(&folder, &told) {
                        faults.lock().unwrap().push(format!("{call} {at} {what}: {fault}"));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    println!("{} of {} points, {} interrupted: {counts:?}", chosen.len(), points.len(), interrupted.into_inner());
    assert!(faults.is_empty(), "{} points: {:#?}", faults.len(), &faults[..faults.len().min(20)]);
}
