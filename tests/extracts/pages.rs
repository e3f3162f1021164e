//! The pages that a borough's people read, in a real browser.

use std::path::Path;
use std::process::Command;

use super::{Folder, both};
use crate::doors::provider::installed;
use crate::support::doors::has;

/// What axe-core finds wrong with a page, and the page as a picture, if the programs are there.
fn violations(page: &Path) -> Option<String> {
    if !has("chromium") {
        return None;
    }
    let axe = std::fs::read_to_string(installed()?.join("node_modules/axe-core/axe.min.js")).unwrap();
    let text = std::fs::read_to_string(page).unwrap();
    let run = "axe.run().then(r=>{document.title='FOUND '+JSON.stringify(r.violations.map(v=>[v.id,v.nodes.map(n=>n.html)]))\
               +' END';}).catch(e=>{document.title='FOUND '+e+' END';})";
    let trial = page.with_extension("axe.html");
    std::fs::write(&trial, text.replace("</body>", &format!("<script>{axe}</script><script>{run}</script></body>")))
        .unwrap();
    let browser = |arguments: &[&str], page: &Path| {
        let profile = tempfile::tempdir().unwrap();
        let mut chromium = Command::new("chromium");
        chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000"]);
        chromium.arg(format!("--user-data-dir={}", profile.path().display()));
        chromium.args(arguments).arg(format!("file://{}", page.display())).output().unwrap()
    };
    let shown = format!("--screenshot={}", page.with_extension("png").display());
    let pictured = browser(&["--window-size=1100,1600", &shown], page);
    assert!(page.with_extension("png").metadata().is_ok_and(|file| file.len() > 10_000), "{}", both(&pictured));
    let dumped = both(&browser(&["--dump-dom"], &trial));
    let found = dumped.split_once("FOUND ").and_then(|(_, rest)| rest.split_once(" END"));
    Some(
        found
            .unwrap_or_else(|| panic!("axe did not run: {}", dumped.chars().take(2_000).collect::<String>()))
            .0
            .to_owned(),
    )
}

/// Where the pictures stay, for people to look at.
fn keep(folder: &Folder, name: &str) {
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&pictures).unwrap();
    for extension in ["html", "png"] {
        let file = format!("{name}.{extension}");
        std::fs::copy(folder.path().join(&file), pictures.join(&file)).unwrap();
    }
}

#[test]
fn the_report_of_check_and_the_pairs_for_review_are_for_everybody() {
    let folder = Folder::new();
    let mut spend = "Supplier,Ward,Status,Net Award,Paid\n".to_owned();
    let (mut sum, mut care, mut tax) = (0, String::new(), String::new());
    for row in 0..160_i64 {
        let award = if row % 8 == 0 { "NULL".to_owned() } else { (row * 37 % 500 + 1).to_string() };
        sum += award.parse::<i64>().unwrap_or(0);
        let ward = ["Vauxhall", "Stockwell", "Herne Hill"][usize::try_from(row % 3).unwrap()];
        spend.push_str(&format!(
            "S{row:04},{ward},{},{award},{}/{}/2024\n",
            ["Open", "Closed"][usize::try_from(row % 2).unwrap()],
            row % 12 + 1,
            row % 28 + 1
        ));
        let (given, surname) = (["Amara", "Bo", "Jonas"][usize::try_from(row % 3).unwrap()], format!("Quill{row}"));
        care.push_str(&format!("C{row},{given},{surname},05/06/19{:02},{row},Elm Lane,SW1 0AB\n", 30 + row % 60));
        let street = if row % 4 == 0 { "Oak Street" } else { "Elm Lane" };
        let given = if row % 5 == 0 { &given[..1] } else { given };
        tax.push_str(&format!("T{row},{given},{surname},05/06/{:02},{row},{street},SW1 0AB\n", 30 + row % 60));
    }
    spend.push_str(&format!("Total,,,{sum},\n"));
    folder.put("spend.csv", spend);
    folder.init("E09000022", "spend", &["spend.csv"]);
    // One finding is left open, and one is decided.
    let node = folder.read("node.toml").replace("us_date(", "uk_date(");
    folder.put("node.toml", node);
    folder.node(&["decide", "unit", "--by", "A. Khan", "--why", "each row is a payment"]);
    let checked = folder.node(&["check", "--html", "report.html"]);
    let page = folder.read("report.html");
    for has in ["To decide", "dates:Paid", "<strong>Fix:</strong>", "each row is a payment", "class=\"bar\"", "Sources"]
    {
        assert!(page.contains(has), "{has}: {}\n{page}", both(&checked));
    }
    // *Attack: a record that is a page.*
    for (key, file) in [("C900", &mut care), ("T900", &mut tax)] {
        let street =
            if key == "C900" { "<script>alert(1)</script>" } else { "\u{27}\u{22}><img src=x onerror=alert(2)>" };
        file.push_str(&format!("{key},Ann,Quill900,05/06/1950,9,\"{}\",SW1 0AB\n", street.replace('"', "\"\"")));
    }
    let people = "ref,given,surname,dob,no,street,postcode\n";
    folder.put("care.csv", format!("{people}{care}")).put("tax.csv", format!("{people}{tax}"));
    let service = |name: &str| {
        format!(
            "[[residents.service]]\nname = \"{name}\"\nonce = true\nsql = \"SELECT ref AS key, given, surname, uk_date(dob) AS \
             born, no AS number, street, postcode(postcode) AS postcode FROM t\"\n[[residents.service.source]]\nname = \
             \"t\"\npath = \"{name}.csv\"\nformat = \"csv\"\n"
        )
    };
    let node = folder.read("node.toml");
    let (head, _) = node.split_once("[[dataset]]").unwrap();
    folder.put("people.toml", format!("{head}[residents]\n{}{}", service("care"), service("tax")));
    let output =
        folder.node(&["residents", "--config", "people.toml", "--page", "pairs.html", "--review", "pairs.csv"]);
    let (said, pairs, listed) = (both(&output), folder.read("pairs.html"), folder.read("pairs.csv"));
    assert!(output.status.success() && listed.lines().count() > 5, "{said}\n{listed}");
    assert_eq!(pairs.matches("<article").count(), listed.lines().count() - 1, "{said}");
    assert!(
        pairs.contains("<mark>") && pairs.contains("connect-src") || pairs.contains("default-src 'none'"),
        "{pairs}"
    );
    assert!(!pairs.contains("<script>alert") && !pairs.contains("<img"), "{pairs}");
    for name in ["report", "pairs"] {
        let Some(found) = violations(&folder.path().join(format!("{name}.html"))) else { return };
        assert_eq!(found, "[]", "{name}");
        keep(&folder, name);
    }
}
