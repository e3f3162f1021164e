//! The structure of the crates: modules use each other in one direction, and folders and files stay small.
//!
//! ```text
//! src/**/*.rs ─ tokens ─ `use` and paths ─► arrows between files ─► circles, arrows to a later room, table
//! ```
//!
//! Only the standard library is used, so that `just structure` compiles it in a second. A re-export counts as a use of
//! the file that defines the item. Uses in tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The most files in a folder, and the most lines of a file outside its tests.
const FILES: usize = 15;
const LINES: usize = 500;

/// The rooms of the two programs. Each room may use the rooms before it.
const ROOMS: [(&str, &[&str]); 2] = [
    ("coordinator", &["config", "catalogue", "plan", "nodes", "result", "work", "query", "doors", "serve", "testing"]),
    (
        "node",
        &[
            "snapshot", "tables", "epochs", "ingest", "config", "assess", "query", "refresh", "tools", "serve", "door",
            "cli", "testing",
        ],
    ),
];

type Module = Vec<String>;

/// One file as a module.
struct File {
    path: PathBuf,
    /// The paths that it uses, from the crate's root.
    uses: BTreeSet<Module>,
    /// The names that it re-exports, and their paths. `*` stands for all names of a module.
    exports: Vec<(String, Module)>,
    lines: usize,
}

/// The findings for one crate.
#[derive(Default)]
struct Found {
    circles: Vec<Vec<String>>,
    upwards: Vec<String>,
    crowded: Vec<String>,
    long: Vec<String>,
    files: usize,
    longest: usize,
    fullest: usize,
}

/// Identifiers and punctuation, without comments, strings, characters and code under `cfg(test)`.
fn words(source: &str) -> Vec<String> {
    let bytes: Vec<char> = source.chars().collect();
    let at = |i: usize| bytes.get(i).copied().unwrap_or('\0');
    let (mut words, mut i) = (Vec::new(), 0);
    while i < bytes.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < bytes.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            while i < bytes.len() && !(at(i) == '*' && at(i + 1) == '/') {
                i += 1;
            }
            i += 2;
        } else if c == '"'
            || (matches!(c, 'r' | 'b') && matches!(at(i + 1), '"' | '#') && !is_word(at(i.wrapping_sub(1))))
        {
            let raw = c == 'r';
            i += usize::from(c != '"');
            let marks = (i..).take_while(|i| at(*i) == '#').count();
            i += marks + 1;
            while i < bytes.len() && !(at(i) == '"' && (1..=marks).all(|mark| at(i + mark) == '#')) {
                i += if at(i) == '\\' && !raw { 2 } else { 1 };
            }
            i += marks + 1;
        } else if c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += 2;
            while i < bytes.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else if is_word(c) {
            let end = (i..).find(|i| !is_word(at(*i))).unwrap_or(i + 1);
            words.push(bytes.get(i..end).unwrap_or_default().iter().collect());
            i = end;
        } else if c == ':' && at(i + 1) == ':' {
            words.push("::".to_owned());
            i += 2;
        } else {
            if !c.is_whitespace() {
                words.push(c.to_string());
            }
            i += 1;
        }
    }
    without_tests(&words)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_tests(words: &[String]) -> Vec<String> {
    let (mut kept, mut i) = (Vec::new(), 0);
    let word = |i: usize| words.get(i).map_or("", String::as_str);
    while i < words.len() {
        let marked = ["#", "[", "cfg", "(", "test", ")", "]"].iter().enumerate().all(|(n, want)| word(i + n) == *want);
        if !marked {
            kept.push(word(i).to_owned());
            i += 1;
            continue;
        }
        // The item ends with its block, or with a semicolon if it has no block.
        let mut depth = 0_usize;
        i += 7;
        while i < words.len() {
            match word(i) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            let over = depth == 0 && matches!(word(i), "}" | ";");
            i += 1;
            if over {
                break;
            }
        }
    }
    kept
}

/// The paths of a `use` tree, each with its local name, from the token after `use` on.
fn tree(words: &[String], i: &mut usize, prefix: &Module, found: &mut Vec<(String, Module)>) {
    let mut path = prefix.clone();
    loop {
        match words.get(*i).map_or(";", String::as_str) {
            "::" => *i += 1,
            "{" => {
                *i += 1;
                while words.get(*i).is_some_and(|word| word != "}") {
                    tree(words, i, &path, found);
                    *i += usize::from(words.get(*i).is_some_and(|word| word == ","));
                }
                *i += 1;
                return;
            }
            "," | "}" | ";" => {
                if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
                    path.pop();
                }
                found.push((path.last().cloned().unwrap_or_default(), path));
                return;
            }
            "as" => {
                let name = words.get(*i + 1).cloned().unwrap_or_default();
                *i += 2;
                found.push((name, path));
                return;
            }
            word => {
                path.push(word.to_owned());
                *i += 1;
            }
        }
    }
}

/// The path from the crate's root, if it belongs to this crate.
fn absolute(module: &Module, path: &Module, names: &BTreeMap<String, Module>) -> Option<Module> {
    let first = path.first()?.as_str();
    let rest = || path.iter().skip(1).cloned();
    match first {
        "crate" => Some(rest().collect()),
        "self" => Some(module.iter().cloned().chain(rest()).collect()),
        "super" => {
            let parent: Module = module.iter().take(module.len().saturating_sub(1)).cloned().collect();
            match path.get(1).map(String::as_str) {
                Some("super") => absolute(&parent, &rest().collect(), names),
                _ => Some(parent.into_iter().chain(rest()).collect()),
            }
        }
        _ => names.get(first).map(|known| known.iter().cloned().chain(rest()).collect()),
    }
}

fn read(path: &Path, module: &Module) -> File {
    let source = std::fs::read_to_string(path).unwrap();
    let words = words(&source);
    let word = |i: usize| words.get(i).map_or("", String::as_str);
    let mut names = BTreeMap::new();
    for i in 0..words.len() {
        if word(i) == "mod" && word(i + 2) == ";" {
            names.insert(word(i + 1).to_owned(), module.iter().cloned().chain([word(i + 1).to_owned()]).collect());
        }
    }
    let (mut uses, mut exports) = (BTreeSet::new(), Vec::new());
    let mut i = 0;
    while i < words.len() {
        // `use<…>` in a type names lifetimes.
        if word(i) == "use" && word(i + 1) != "<" {
            let handed_on = word(i.wrapping_sub(1)) == "pub" || (word(i.wrapping_sub(1)) == ")" && i > 2);
            let mut trees = Vec::new();
            i += 1;
            tree(&words, &mut i, &Vec::new(), &mut trees);
            for (name, path) in trees {
                let Some(path) = absolute(module, &path, &names) else { continue };
                if handed_on {
                    exports.push((name, path));
                } else {
                    names.insert(name.clone(), path.clone());
                    uses.insert(path);
                }
            }
        } else if is_word(word(i).chars().next().unwrap_or(' '))
            && word(i.wrapping_sub(1)) != "::"
            && word(i + 1) == "::"
        {
            let mut path = vec![word(i).to_owned()];
            while word(i + 1) == "::" && is_word(word(i + 2).chars().next().unwrap_or(' ')) {
                path.push(word(i + 2).to_owned());
                i += 2;
            }
            // `pub(in crate::doors)` is not a use.
            if word(i.wrapping_sub(path.len() * 2 - 1)) != "in" {
                uses.extend(absolute(module, &path, &names));
            }
            i += 1;
        } else {
            i += 1;
        }
    }
    let lines = source.lines().take_while(|line| *line != "#[cfg(test)]").count();
    File { path: path.to_owned(), uses, exports, lines }
}

fn load(folder: &Path, module: &Module, files: &mut BTreeMap<Module, File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let below: Module = module.iter().cloned().chain([name.clone()]).collect();
        if path.is_dir() {
            load(&path, &below, files);
        } else if path.extension().is_some_and(|end| end == "rs") && name != "main" {
            let own = if matches!(name.as_str(), "lib" | "mod") { module.clone() } else { below };
            files.insert(own.clone(), read(&path, &own));
        }
    }
}

/// The file that defines the item of a path.
fn home(files: &BTreeMap<Module, File>, path: &Module, depth: usize) -> Option<Module> {
    let module = (0..=path.len()).rev().map(|n| path.get(..n).unwrap_or_default().to_vec());
    let module = module.into_iter().find(|module| files.contains_key(module))?;
    let Some(name) = path.get(module.len()).filter(|_| depth < 8) else { return Some(module) };
    let rest = || path.iter().skip(module.len() + 1).cloned();
    for (known, target) in &files.get(&module)?.exports {
        if known == name {
            return home(files, &target.iter().cloned().chain(rest()).collect(), depth + 1);
        }
    }
    Some(module)
}

/// All modules that can be reached from a module.
fn reached(arrows: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
    while let Some(module) = open.pop() {
        for next in arrows.get(&module).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

fn examine(folder: &Path, rooms: &[&str]) -> Found {
    let mut files = BTreeMap::new();
    load(folder, &Vec::new(), &mut files);
    let mut arrows: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, file) in &files {
        let targets = file.uses.iter().filter_map(|path| home(&files, path, 0)).filter(|target| target != module);
        arrows.insert(module.clone(), targets.collect());
    }
    let mut found = Found { files: files.len(), ..Found::default() };
    let mut done: BTreeSet<Module> = BTreeSet::new();
    let reach: BTreeMap<&Module, BTreeSet<Module>> =
        files.keys().map(|module| (module, reached(&arrows, module))).collect();
    for module in files.keys() {
        let back = |other: &&Module| reach.get(other).is_some_and(|reach| reach.contains(module));
        let circle: Vec<Module> = reach.get(module).into_iter().flatten().filter(back).cloned().collect();
        if circle.len() > 1 && !done.contains(module) {
            done.extend(circle.iter().cloned());
            let told = |from: &Module| {
                let within = arrows.get(from).into_iter().flatten().filter(|to| circle.contains(to));
                let within: Vec<String> = within.map(shown).collect();
                format!("{} → {}", shown(from), within.join(", "))
            };
            found.circles.push(circle.iter().map(told).collect());
        }
    }
    let floor = |module: &Module| rooms.iter().position(|room| module.first().is_some_and(|own| own == room));
    for (from, to) in arrows.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        if let (Some(own), Some(other)) = (floor(from), floor(to))
            && other > own
        {
            found.upwards.push(format!("{} → {}", shown(from), shown(to)));
        }
    }
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for file in files.values() {
        *folders.entry(file.path.parent().unwrap()).or_default() += 1;
        found.longest = found.longest.max(file.lines);
        if file.lines > LINES {
            found.long.push(format!("{}: {} lines", file.path.display(), file.lines));
        }
    }
    found.fullest = folders.values().copied().max().unwrap_or_default();
    let crowded = folders.iter().filter(|(_, count)| **count > FILES);
    found.crowded.extend(crowded.map(|(folder, count)| format!("{}: {count} files", folder.display())));
    found
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

/// The workspace's crates by name, with their sources.
fn crates() -> Vec<(String, PathBuf)> {
    let root = std::env::var_os("HOUSE").or_else(|| std::env::var_os("CARGO_MANIFEST_DIR"));
    let root = root.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let inner = std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let all = ["coordinator", "node", "client"].map(|name| root.join(name)).into_iter().chain(inner);
    let named = all.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path.join("src")));
    let mut named: Vec<_> = named.filter(|(_, source)| source.is_dir()).collect();
    named.sort();
    named
}

#[test]
fn modules_use_each_other_in_one_direction_and_stay_small() {
    let mut faults = Vec::new();
    println!(
        "{:<14} {:>5} {:>8} {:>9} {:>14} {:>14}",
        "crate", "files", "circles", "up-arrows", "fullest folder", "longest file"
    );
    for (name, source) in crates() {
        let rooms = ROOMS.iter().find(|(program, _)| *program == name).map_or(&[][..], |(_, rooms)| *rooms);
        let found = examine(&source, rooms);
        let Found { circles, upwards, crowded, long, files, longest, fullest } = found;
        println!("{name:<14} {files:>5} {:>8} {:>9} {fullest:>14} {longest:>14}", circles.len(), upwards.len());
        faults.extend(circles.iter().map(|circle| format!("{name}: a circle:\n    {}", circle.join("\n    "))));
        faults.extend(upwards.iter().map(|arrow| format!("{name}: to a later room: {arrow}")));
        faults.extend(crowded.into_iter().chain(long));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_circle_an_arrow_upwards_and_a_long_file_are_found() {
    let folder = std::env::temp_dir().join(format!("structure-{}", std::process::id()));
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\nmod c;\npub use b::inner::Thing;\n");
    // Uses through a re-export and through a path in a body count. Comments, strings and tests do not.
    write(
        "a.rs",
        "use crate::Thing;\n// crate::c::x\nconst T: &str = \"crate::c::x\";\n#[cfg(test)]\nmod tests { use crate::c::x; }\n",
    );
    write("b/mod.rs", "pub mod inner;\n");
    write("b/inner.rs", "pub struct Thing;\nfn f() -> usize { crate::a::g() }\n");
    write("c.rs", &"//\n".repeat(LINES + 1));
    let found = examine(&folder, &["a", "b", "c"]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found.circles, [["a → b::inner", "b::inner → a"]]);
    assert_eq!(found.upwards, ["a → b::inner"]);
    assert_eq!(found.long.len(), 1);
    assert_eq!(found.files, 5);
}
