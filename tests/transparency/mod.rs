//! A query log is a tree that other people's tools check: Go's golang.org/x/mod/sumdb, and aics-tlog of PyPI.

mod bundle;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use loda_identity::SigningKey;
use loda_ledger::tree::checkpoint::{Checkpoint, witnessed};
use loda_ledger::tree::files::{TreeFiles, check, read_note};
use loda_ledger::tree::hash::leaf;
use loda_ledger::tree::note::{Note, Signs, Verifier};
use loda_ledger::tree::{proof, tile};
use loda_ledger::{CHECKPOINT, Entry, Log, PublishedTree, SignedLines, checkpoint_key};

use crate::support;

const ENTRIES: usize = 10_000;
const WITNESSES: usize = 33;

/// When the witnesses sign, in seconds since 1970.
const TIME: u64 = 1_790_000_000;

/// A party's log with its tree, and the keys that verify it.
struct Published {
    dir: tempfile::TempDir,
    log: Verifier,
    witnesses: Vec<(Verifier, SigningKey)>,
}

impl Published {
    fn of(entries: usize) -> Self {
        let (key, _) = SigningKey::generate().unwrap();
        Self::signed_by(&key, entries)
    }

    fn signed_by(key: &SigningKey, entries: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        key.save(&dir.path().join("log.key")).unwrap();
        let log = checkpoint_key("london.example", "coordinator", &key.public_hex()).unwrap();
        let witness = |number: usize| {
            let (key, _) = SigningKey::generate().unwrap();
            let public = hex::decode(key.public_hex()).unwrap().try_into().unwrap();
            (Verifier::new(&format!("london.example/witness/{number}"), Signs::TextAtTime, public).unwrap(), key)
        };
        let published = Self { dir, log, witnesses: (0..WITNESSES).map(witness).collect() };
        published.grow(entries);
        published
    }

    fn key(&self) -> SigningKey {
        SigningKey::load(&self.dir.path().join("log.key")).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Logs entries, publishes them, and has them witnessed.
    fn grow(&self, entries: usize) {
        let lines = self.dir.path().join("log.jsonl");
        let log = SignedLines::open(&lines, self.key()).unwrap();
        for batch in (0..entries).collect::<Vec<_>>().chunks(500) {
            let batch: Vec<Entry> = batch.iter().map(|number| Entry::admin(format!("entry {number}"))).collect();
            log.append_all(&batch).unwrap();
        }
        drop(PublishedTree::open(&lines, &self.folder(), self.key(), self.log.clone()).unwrap());
        let mut note = note(&self.folder());
        for (witness, key) in &self.witnesses {
            note.sign(witness, TIME, &|text| key.sign(text));
        }
        fs::write(self.folder().join(CHECKPOINT), note.to_string()).unwrap();
    }

    /// The keys in a file, the log's first.
    fn keys(&self) -> PathBuf {
        let path = self.dir.path().join("keys");
        let keys = [self.log.to_string()].into_iter().chain(self.witnesses.iter().map(|(key, _)| key.to_string()));
        fs::write(&path, keys.map(|key| format!("{key}\n")).collect::<String>()).unwrap();
        path
    }

    /// What our own check says of a folder: its tree.
    fn tree(&self, folder: &Path) -> Result<TreeFiles, String> {
        let note = read_note(&folder.join(CHECKPOINT)).map_err(|fault| fault.to_string())?;
        let checkpoint = Checkpoint::of_note(&note, &self.log)?;
        let witnesses: Vec<Verifier> = self.witnesses.iter().map(|(key, _)| key.clone()).collect();
        if witnessed(&note, &witnesses) < WITNESSES {
            return Err("too few witnesses".to_owned());
        }
        check(folder, checkpoint.size, &checkpoint.root, &mut |_, _| {}).map_err(|fault| fault.to_string())
    }

    fn checked(&self, folder: &Path) -> Result<u64, String> {
        self.tree(folder).map(|tree| tree.size())
    }
}

fn note(folder: &Path) -> Note {
    read_note(&folder.join(CHECKPOINT)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The verifier in Go, built. `None`: there is no Go here, or not the module.
fn go(dir: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transparency/verify.go");
    let program = dir.join("verify");
    let built = Command::new("go")
        .env("GO111MODULE", "off")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", dir.join("cache"))
        .args(["build", "-o"])
        .args([&program, &source])
        .output();
    let built = built.is_ok_and(|output| output.status.success());
    if !built {
        support::skip::tool("no Go with golang.org/x/mod is installed");
    }
    built.then_some(program)
}

/// Whether aics-tlog accepts a folder's checkpoint with all its witnesses, and the entries with these numbers.
fn accepted(python: &Path, published: &Published, folder: &Path, entries: &[usize]) -> bool {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(python);
        command.args(["-m", "aics_tlog"]).args(arguments);
        command.args(["--log-key", &published.log.to_string(), "--quorum", &WITNESSES.to_string(), "--tiles"]);
        command.arg(folder);
        for (witness, _) in &published.witnesses {
            command.args(["--witness-key", &witness.to_string()]);
        }
        command.output().unwrap().status.success()
    };
    run(&["verify-checkpoint"])
        && entries.iter().all(|number| run(&["verify-inclusion", "--index", &number.to_string()]))
}

/// Changes a file of a folder.
fn change(folder: &Path, name: &str, with: impl FnOnce(&mut Vec<u8>)) {
    let path = folder.join(name);
    let mut bytes = fs::read(&path).unwrap();
    with(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Changes the checkpoint's text.
fn reword(folder: &Path, from: &str, to: &str) {
    let path = folder.join(CHECKPOINT);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} not in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The entries of a bundle, written again after a change.
fn rebundled(folder: &Path, name: &str, width: usize, with: impl FnOnce(&mut Vec<Vec<u8>>)) {
    change(folder, name, |bytes| {
        let mut entries: Vec<Vec<u8>> =
            tile::entries(bytes, width).unwrap().iter().map(|entry| entry.to_vec()).collect();
        with(&mut entries);
        bytes.clear();
        entries.iter().for_each(|entry| bytes.append(&mut tile::bundled(entry).unwrap()));
    });
}

/// A change that somebody could make to a published log, and an entry that it touches.
type Tampering<'a> = (&'a str, usize, Box<dyn Fn(&Path) + 'a>);

const LAST: &str = "tile/entries/039.p/16";

fn tamperings<'a>(published: &'a Published, other: &'a Published) -> Vec<Tampering<'a>> {
    let thief = SigningKey::generate().unwrap().0;
    let text = fs::read_to_string(published.folder().join(CHECKPOINT)).unwrap();
    let line = move |number: usize| text.lines().nth(number).unwrap().to_owned();
    let (size, root, signature, witness) = (line(1), line(2), line(4), line(9));
    let gone = signature.clone();
    vec![
        ("an entry altered", 0, Box::new(|at| change(at, "tile/entries/000", |bytes| bytes[20] ^= 1))),
        ("an entry dropped", 9_999, Box::new(|at| rebundled(at, LAST, 16, |entries| drop(entries.pop())))),
        (
            "two entries swapped",
            300,
            Box::new(|at| rebundled(at, "tile/entries/001", 256, |entries| entries.swap(44, 45))),
        ),
        ("an entry added", 9_999, Box::new(|at| rebundled(at, LAST, 16, |entries| entries.push(b"{}".to_vec())))),
        (
            "an entry written twice",
            9_999,
            Box::new(|at| rebundled(at, LAST, 16, |entries| entries[15] = entries[14].clone())),
        ),
        ("a hash altered", 5, Box::new(|at| change(at, "tile/0/000", |bytes| bytes[5 * 32] ^= 1))),
        ("a hash of a tile altered", 300, Box::new(|at| change(at, "tile/1/000.p/39", |bytes| bytes[32] ^= 1))),
        (
            "an entry altered with its hash",
            7,
            Box::new(|at| {
                rebundled(at, "tile/entries/000", 256, |entries| entries[7] = b"{}".to_vec());
                change(at, "tile/0/000", |bytes| bytes[7 * 32..8 * 32].copy_from_slice(&leaf(b"{}")));
            }),
        ),
        (
            "an entry altered with its hashes up to the last tile",
            7,
            Box::new(|at| {
                rebundled(at, "tile/entries/000", 256, |entries| entries[7] = b"{}".to_vec());
                change(at, "tile/0/000", |bytes| bytes[7 * 32..8 * 32].copy_from_slice(&leaf(b"{}")));
                let hashes = tile::hashes(&fs::read(at.join("tile/0/000")).unwrap(), 256).unwrap();
                change(at, "tile/1/000.p/39", |bytes| bytes[..32].copy_from_slice(&tile::fold(&hashes, 0, 8).unwrap()));
            }),
        ),
        ("a shorter log", 0, Box::new(|at| reword(at, "\n10000\n", "\n9999\n"))),
        ("a longer log", 0, Box::new(|at| reword(at, "\n10000\n", "\n10001\n"))),
        ("another root", 0, Box::new(move |at| reword(at, &root, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))),
        ("another log's name", 0, Box::new(move |at| reword(at, "/log/coordinator\n", "/log/E09000007\n"))),
        (
            "a size written otherwise",
            0,
            Box::new(move |at| reword(at, &format!("\n{size}\n"), &format!("\n0{size}\n"))),
        ),
        ("the log's signature altered", 0, {
            let (end, other) = (signature[signature.len() - 6..].to_owned(), "AAAA==");
            Box::new(move |at| reword(at, &end, other))
        }),
        ("the log's signature left out", 0, Box::new(move |at| reword(at, &format!("{gone}\n"), ""))),
        (
            "signed by another key under the log's name",
            0,
            Box::new(move |at| {
                let forged = checkpoint_key("london.example", "coordinator", &thief.public_hex()).unwrap();
                let mut note = Note::new(note(at).text()).unwrap();
                note.sign(&forged, 0, &|text| thief.sign(text));
                fs::write(at.join(CHECKPOINT), note.to_string()).unwrap();
            }),
        ),
        ("a witness left out", 0, Box::new(move |at| reword(at, &format!("{witness}\n"), ""))),
        (
            "a witness's signature of another checkpoint",
            0,
            Box::new(|at| {
                let forged = note(&other.folder()).to_string();
                let theirs = forged.lines().nth(9).unwrap().to_owned();
                let ours = note(at).to_string().lines().nth(9).unwrap().to_owned();
                let theirs = format!("{} {}", ours.rsplit_once(' ').unwrap().0, theirs.rsplit_once(' ').unwrap().1);
                reword(at, &ours, &theirs);
            }),
        ),
        ("a bundle lost", 9_999, Box::new(|at| fs::remove_file(at.join(LAST)).unwrap())),
        ("a tile lost", 9_999, Box::new(|at| fs::remove_file(at.join("tile/0/039.p/16")).unwrap())),
        ("a tile cut", 300, Box::new(|at| change(at, "tile/0/001", |bytes| bytes.truncate(255 * 32)))),
        ("a bundle cut", 9_999, Box::new(|at| change(at, LAST, |bytes| bytes.truncate(bytes.len() - 1)))),
        (
            "another log's files under the checkpoint",
            0,
            Box::new(|at| {
                fs::remove_dir_all(at.join("tile")).unwrap();
                fs::create_dir(at.join("tile")).unwrap();
                copy(&other.folder().join("tile"), &at.join("tile"));
            }),
        ),
    ]
}

#[test]
fn other_peoples_tools_verify_a_log_and_reject_what_was_tampered_with() {
    let (published, other) = (Published::of(ENTRIES), Published::of(ENTRIES));
    let tools = tempfile::tempdir().unwrap();
    let (go, python) = (go(tools.path()), support::doors::transparency());
    let keys = published.keys();
    let in_go = |folder: &Path| {
        let Some(program) = &go else { return None };
        let output = Command::new(program).arg(folder).arg(&keys).output().unwrap();
        Some((output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    };
    let in_python = |folder: &Path, entries: &[usize]| Some(accepted(python.as_deref()?, &published, folder, entries));
    assert_eq!(published.checked(&published.folder()), Ok(ENTRIES as u64));
    if let Some((good, said)) = in_go(&published.folder()) {
        assert!(good && said == format!("log of {ENTRIES} entries, {WITNESSES} witnesses"), "{said}");
        support::doors::works("Go, golang.org/x/mod/sumdb", &["verifies a query log's tree, proofs and cosignatures"]);
    }
    if let Some(good) = in_python(&published.folder(), &[0, 255, 256, 5_000, ENTRIES - 1]) {
        assert!(good);
        support::doors::works("aics-tlog 0.2.1", &["verifies a query log's checkpoint, witnesses and entries"]);
    }
    let all = tamperings(&published, &other);
    assert!(all.len() >= 20);
    for (what, entry, tamper) in &all {
        let copied = tempfile::tempdir().unwrap();
        copy(&published.folder(), copied.path());
        tamper(copied.path());
        let ours = published.checked(copied.path());
        let (theirs, python) = (in_go(copied.path()), in_python(copied.path(), &[*entry]));
        println!("{what}: {ours:?}; Go: {theirs:?}; aics-tlog accepts: {python:?}");
        assert!(ours.is_err(), "{what}");
        assert!(
            theirs.is_none_or(|(good, said)| !good || !said.ends_with(&format!("{WITNESSES} witnesses"))),
            "{what}"
        );
        assert!(python != Some(true), "{what}");
    }
}

/// The strongest attacker holds the log's key, and has the witnesses sign too: every copy of the log is whole by itself. Who
/// kept an older checkpoint sees that the log is another, or shorter.
#[test]
fn a_party_that_writes_its_log_again_is_found_by_an_older_checkpoint() {
    let honest = Published::of(700);
    let before = Checkpoint::parse(note(&honest.folder()).text()).unwrap();
    let kept = honest.dir.path().join("kept");
    fs::copy(honest.folder().join(CHECKPOINT), &kept).unwrap();
    let python = support::doors::transparency();
    let continues = |published: &Published| {
        let tree = published.tree(&published.folder()).unwrap();
        let now = Checkpoint::parse(note(&published.folder()).text()).unwrap();
        let ours = before.size <= now.size && proof::root(&tree, before.size).unwrap() == before.root;
        // The proof that a witness is sent says the same.
        let sent = tree.consistency(before.size, now.size).unwrap_or_default();
        assert_eq!(proof::continues(before.size, now.size, &sent, &before.root, &now.root), ours);
        let theirs = python.as_ref().map(|python| {
            let mut command = Command::new(python);
            command.args(["-m", "aics_tlog", "verify-consistency", "--old-checkpoint"]).arg(&kept).arg("--tiles");
            command.arg(published.folder()).args(["--log-key", &published.log.to_string()]);
            command.output().unwrap().status.success()
        });
        (ours, theirs.unwrap_or(ours))
    };
    assert_eq!(continues(&honest), (true, true));
    honest.grow(450);
    assert_eq!(continues(&honest), (true, true), "a log may grow");
    // Each of these is signed by the same key, and its files are whole.
    for entries in [10, 699, 700, 701, 1_500] {
        let forked = Published::signed_by(&honest.key(), entries);
        assert_eq!(forked.checked(&forked.folder()), Ok(entries as u64));
        assert_eq!(continues(&forked), (false, false), "{entries} entries");
    }
}
