//! A question in one file, which other people's tools verify offline: OpenSSL and aics-tlog.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use loda_identity::Role;

use crate::support::doors::{DOORS, analyst};

/// The files of a zip, in a folder.
fn unpacked(bytes: &[u8], folder: &Path) -> Vec<PathBuf> {
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    (0..zip.len())
        .map(|number| {
            let mut file = zip.by_index(number).unwrap();
            let path = folder.join(file.name().unwrap().as_ref());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut content = Vec::new();
            file.read_to_end(&mut content).unwrap();
            fs::write(&path, content).unwrap();
            path
        })
        .collect()
}

/// Runs a command of the README in the folder. Whether it succeeds, and what it prints.
fn shell(folder: &Path, command: &str) -> (bool, String) {
    let python = crate::support::doors::transparency();
    let bin = python.as_deref().and_then(Path::parent).map(|bin| bin.display().to_string()).unwrap_or_default();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let said = Command::new("sh").args(["-c", command]).current_dir(folder).env("PATH", path).output().unwrap();
    let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    (said.status.success(), words)
}

/// The README's commands for an entry: its signature, its words, its place in the log.
fn commands(readme: &str, of: (&str, &str), to: (&str, &str)) -> Vec<String> {
    let joined = readme.replace("\\\n", " ");
    let lines =
        joined.lines().map(str::trim).filter(|line| line.starts_with("openssl ") || line.starts_with("aics-tlog "));
    let of_entry = |line: &str| {
        let line = line.replace(&format!("{}/", of.0), &format!("{}/", to.0));
        let line = line.replace(&format!("/{}.", of.1), &format!("/{}.", to.1));
        line.replace(&format!("--index {} ", of.1), &format!("--index {} ", to.1))
    };
    lines.map(of_entry).collect()
}

#[test]
fn a_question_in_one_file_is_verified_by_other_tools() {
    if !Command::new("openssl").arg("version").output().is_ok_and(|said| said.status.success()) {
        return crate::support::skip::tool("openssl is not installed");
    }
    if crate::support::doors::transparency().is_none() {
        return;
    }
    let sql = "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough";
    let asked = DOORS.loda(analyst(), &["query", "-p", "demo", "--format", "csv", sql]);
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let auditor = Role::Auditor("demo".to_owned());
    let found = DOORS.loda(auditor.clone(), &["audit", "search", "--format", "json", "--analyst", "demo"]);
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let ours = found.as_array().unwrap().iter().rev().find(|question| {
        question["asked_words"]["sql"] == sql && question["signature"] == "checked" && question["end"] == "answered"
    });
    let id = ours.unwrap()["id"].as_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("q.zip");
    let made = DOORS.loda(auditor, &["audit", "bundle", &id, "--out", file.to_str().unwrap()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let folder = dir.path().join("q");
    let files = unpacked(&fs::read(&file).unwrap(), &folder);
    let readme = fs::read_to_string(folder.join("README.txt")).unwrap();
    assert!(fs::read_to_string(folder.join("question.txt")).unwrap().contains("FROM residents"), "{files:?}");
    let place = |path: &Path| {
        let party = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        (party, path.file_stem().unwrap().to_str().unwrap().to_owned())
    };
    let is = |path: &&PathBuf, end: &str| path.extension().is_some_and(|is| is == end);
    let entries: Vec<_> = files.iter().filter(|path| is(path, "entry")).map(|path| place(path)).collect();
    let parties: std::collections::BTreeSet<&String> = entries.iter().map(|(party, _)| party).collect();
    assert!(parties.len() == 5 && entries.len() == 10, "the coordinator and four boroughs: {entries:?}");
    // The README shows the last entry of the first party.
    let of = entries.iter().rfind(|(party, _)| *party == entries[0].0).unwrap().clone();
    let commands_for = |to: &(String, String)| commands(&readme, (&of.0, &of.1), (&to.0, &to.1));
    for entry in &entries {
        let [signature, words, inclusion] = <[String; 3]>::try_from(commands_for(entry)).unwrap();
        for command in [&signature, &inclusion] {
            let (good, said) = shell(&folder, command);
            assert!(good, "{command}: {said}");
        }
        let (good, said) = shell(&folder, &words);
        let digest = said.trim().rsplit(' ').next().unwrap().to_owned();
        let signed = fs::read_to_string(folder.join(&entry.0).join(format!("{}.json", entry.1))).unwrap();
        assert!(good && digest.len() == 64 && signed.contains(&digest), "{words}: {said}");
    }

    // Each file that proves something, changed by a byte: the tool that reads it says no.
    let mut tried = 0;
    for path in files.iter().filter(|path| ["entry", "json", "sig", "proof", "words"].iter().any(|end| is(path, end))) {
        let good = fs::read(path).unwrap();
        let mut bad = good.clone();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        fs::write(path, &bad).unwrap();
        let entry = place(path);
        let [signature, words, inclusion] = <[String; 3]>::try_from(commands_for(&entry)).unwrap();
        let refused = match path.extension().unwrap().to_str().unwrap() {
            "json" | "sig" => !shell(&folder, &signature).0,
            "words" => {
                let said = shell(&folder, &words).1;
                let digest = said.trim().rsplit(' ').next().unwrap().to_owned();
                let signed = fs::read_to_string(folder.join(&entry.0).join(format!("{}.json", entry.1))).unwrap();
                !signed.contains(&digest)
            }
            _ => !shell(&folder, &inclusion).0,
        };
        assert!(refused, "{} was changed", path.display());
        fs::write(path, good).unwrap();
        tried += 1;
    }
    println!("{} entries verified by OpenSSL and aics-tlog, {tried} changed files refused", entries.len());
}
