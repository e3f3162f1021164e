//! Kinds of extracts that went wrong: right figures, or a finding that stops. The cases of ../shared, and others of each kind.

use std::path::{Path, PathBuf};

use loda_demo::boroughs::{BOROUGHS, Borough};

use super::{Folder, rows};
use crate::support;

const LAMBETH: &str = "E09000022";

/// A case of ../shared, if it is beside this checkout.
fn case(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/cases").join(name);
    if folder.is_dir() {
        return Some(folder.canonicalize().unwrap());
    }
    support::skip::host("the cases are not beside this checkout (../shared/cases)");
    None
}

/// Drafts a case, decides, and checks it: the folder, what init said, and the report.
fn drafted(borough: &str, file: &Path, more: &[&str]) -> (Folder, String, String, bool) {
    let folder = Folder::new();
    let file = file.display().to_string();
    let said = folder.init(borough, "t", &[&[file.as_str()], more].concat());
    // Nothing is served before somebody has decided.
    let (open, served) = folder.check();
    assert!(!served && open.contains("to decide: "), "{open}");
    let (report, served) = folder.checked();
    (folder, said, report, served)
}

#[test]
fn headers_with_blank_merged_and_optional_cells() {
    let Some(c01) = case("C01") else { return };
    let (folder, _, report, served) = drafted(LAMBETH, &c01.join("clients.csv"), &[]);
    assert!(served && rows(&report) == (300, 300), "{report}");
    let contract = folder.contract("t");
    assert!(!contract.contains("Amara") && !contract.contains("amara") && !contract.contains("uill"), "{contract}");
    let (folder, _, report, served) = drafted(LAMBETH, &case("C02").unwrap().join("tfl_passengers.csv"), &[]);
    assert!(served && rows(&report) == (85, 85), "{report}\n{}", folder.read("node.toml"));
    let c03 = case("C03").unwrap();
    let (folder, said, report, _) =
        drafted(LAMBETH, &c03.join("E07000187-Mendip_139-04-02_Polling_Stations.xlsx"), &[]);
    assert!(said.contains("'S + F'") && rows(&report).0 >= 59, "{said}\n{report}\n{}", folder.read("node.toml"));
    let (folder, _, report, served) =
        drafted(LAMBETH, &c03.join("E07000004-Aylesbury-Vale_FOI_4192_-_Response.xlsx"), &[]);
    assert!(served && rows(&report) == (112, 112), "{report}\n{}", folder.read("node.toml"));
    let (folder, _, report, served) = drafted(LAMBETH, &case("C04").unwrap().join("cts.csv"), &[]);
    assert!(served && rows(&report) == (200, 200), "{report}");
    assert!(folder.contract("t").contains("\"net_award\""), "{}", folder.contract("t"));
}

#[test]
fn sheets_of_workbooks() {
    let Some(c05) = case("C05") else { return };
    let (folder, said, report, served) = drafted(LAMBETH, &c05.join("licences.xlsx"), &[]);
    assert!(served && rows(&report) == (480, 480), "{said}\n{report}\n{}", folder.read("node.toml"));
    assert!(folder.contract("t").contains("\"sheet\""), "{}", folder.contract("t"));
    let (folder, said, report, _) = drafted(LAMBETH, &c05.join("ukhpi.xlsx"), &[]);
    assert!(said.contains("sheet 'Metadata'") && said.contains("sheet 'Average price'"), "{said}");
    assert!(rows(&report).0 > 23, "{said}\n{report}\n{}", folder.read("node.toml"));
    let (_, _, report, _) = drafted(LAMBETH, &c05.join("licences.xlsx"), &["--sheet", "2023"]);
    assert!(rows(&report).0 < 480, "{report}");
}

#[test]
fn rows_of_ones_own_borough_in_any_spelling() {
    let Some(c06) = case("C06") else { return };
    let (folder, _, report, served) = drafted("E09000030", &c06.join("mf_ward_pollution.csv"), &[]);
    assert!(served && rows(&report) == (17, 17), "{report}\n{}", folder.read("node.toml"));
    let own = |file: &str, spelling: &dyn Fn(&str) -> bool| {
        let text = std::fs::read_to_string(c06.join(file)).unwrap();
        text.lines().filter(|line| spelling(&line.to_lowercase())).count() as u64
    };
    for file in ["incidents.csv", "inc.csv"] {
        let (_, _, report, served) = drafted(LAMBETH, &c06.join(file), &[]);
        let expected = own(file, &|line| line.contains("lambeth"));
        assert!(served && rows(&report) == (expected, expected), "{file}: {expected}\n{report}");
    }
    let c07 = case("C07").unwrap();
    for file in ["pop.csv", "mf_boroughs_ASC.csv"] {
        let (folder, _, report, _) = drafted(LAMBETH, &c07.join(file), &[]);
        assert_eq!(rows(&report), (1, 1), "{report}\n{}", folder.read("node.toml"));
    }
    let c08 = case("C08").unwrap();
    for file in ["lbp_ibm.csv", "mf_london-borough-profiles.csv"] {
        let (folder, _, report, _) = drafted(LAMBETH, &c08.join(file), &[]);
        assert_eq!(rows(&report).0, 1, "{report}\n{}", folder.read("node.toml"));
    }
    let (folder, _, report, served) = drafted(LAMBETH, &case("C21").unwrap().join("claims.csv"), &[]);
    assert!(served && rows(&report) == (10, 10), "{report}\n{}", folder.read("node.toml"));
    // A mapping that loses everything is refused.
    let node = folder.read("node.toml").replace(&format!("= '{LAMBETH}'"), "= 'Lambeth'");
    folder.put("node.toml", node);
    let (report, served) = folder.check();
    assert!(!served && report.contains("no row is kept"), "{report}");
}

#[test]
fn totals_markers_dates_and_delimiters() {
    let Some(c09) = case("C09") else { return };
    let (folder, _, report, served) = drafted(LAMBETH, &c09.join("spend.csv"), &[]);
    assert!(served && rows(&report) == (400, 400), "{report}\n{}", folder.read("node.toml"));
    let c10 = case("C10").unwrap();
    let (folder, said, report, served) = drafted(LAMBETH, &c10.join("awards.csv"), &[]);
    assert!(served && rows(&report) == (400, 400) && said.contains("'NULL'"), "{said}\n{report}");
    assert!(!folder.contract("t").contains("NULL"), "{}", folder.contract("t"));
    let agreed = c10.join("awards.toml").display().to_string();
    let (folder, _, report, served) = drafted(LAMBETH, &c10.join("awards.csv"), &["--contract", &agreed]);
    assert!(served && rows(&report) == (400, 400), "{report}\n{}", folder.read("node.toml"));
    let c11 = case("C11").unwrap();
    let agreed = c11.join("visits.toml").display().to_string();
    let (folder, said, report, served) = drafted(LAMBETH, &c11.join("visits.csv"), &["--contract", &agreed]);
    assert!(said.contains("month first") && served, "{said}\n{report}");
    assert!(folder.read("node.toml").contains("us_date(") && !report.contains("became NULL"), "{report}");
    folder.put("node.toml", folder.read("node.toml").replace("us_date(", "uk_date("));
    let (report, served) = folder.check();
    assert!(!served && report.contains("dates:Visited") && report.contains("month first"), "{report}");
    let (folder, _, report, served) = drafted(LAMBETH, &case("C12").unwrap().join("homes.txt"), &[]);
    assert!(
        served && rows(&report) == (200, 200) && report.contains("delimiter '|'"),
        "{report}\n{}",
        folder.read("node.toml")
    );
}

#[test]
fn damaged_keys_births_and_scales() {
    let Some(c13) = case("C13") else { return };
    let agreed = c13.join("repairs.toml").display().to_string();
    let (folder, said, report, _) = drafted(LAMBETH, &c13.join("repairs.csv"), &["--contract", &agreed]);
    assert!(said.contains("end in 000") && report.contains("rounded:"), "{said}\n{report}");
    folder.put("node.toml", folder.read("node.toml").replace("NULL AS code", "\"Trade\" AS code"));
    let (report, _) = folder.check();
    assert!(report.contains("600 rows; 600 keep the contract"), "{report}");
    let c14 = case("C14").unwrap();
    for (config, tax) in [("mshort.toml", "m_tax.csv"), ("mlong.toml", "m_tax4.csv")] {
        let folder = Folder::new();
        for file in ["care.csv", tax, config] {
            folder.put(file, std::fs::read(c14.join(file)).unwrap());
        }
        let output = folder.node(&["residents", "--config", config]);
        let said = super::both(&output);
        println!("{config}: {said}");
        assert!(output.status.success() && said.contains("590"), "{config}: {said}");
    }
    let (folder, _, report, served) = drafted(LAMBETH, &case("C20").unwrap().join("rates.csv"), &[]);
    assert!(served && folder.contract("t").contains("scale = 7"), "{report}\n{}", folder.contract("t"));
    folder.put("contracts/t.toml", folder.contract("t").replace("scale = 7", "scale = 4"));
    let (report, served) = folder.check();
    assert!(!served, "{report}");
}

/// The commonest table of London's open data: its borough column names the row, and is no unit of a draft.
#[test]
fn tables_of_one_row_for_each_borough() {
    type Row = fn(&Borough) -> Vec<String>;
    fn people(b: &Borough) -> String {
        b.population.to_string()
    }
    let forms: [(&str, &str, Row); 6] = [
        ("codes and names", "Code,Area,Population", |b| vec![b.gss.into(), b.name.into(), people(b)]),
        ("codes alone", "code,population_2021", |b| vec![b.gss.into(), people(b)]),
        ("names alone", "Borough,Population", |b| vec![b.name.into(), people(b)]),
        ("names in capitals", "LA_NAME;POP;INNER", |b| {
            vec![b.name.to_uppercase(), people(b), b.inner_london.to_string()]
        }),
        ("names in words", "Local authority,Homes", |b| vec![format!("London Borough of {}", b.name), people(b)]),
        ("names with signs", "area|people", |b| vec![b.name.replace(' ', "_").to_lowercase(), people(b)]),
    ];
    for (name, header, form) in forms {
        let delimiter = if header.contains(';') {
            ";"
        } else if header.contains('|') {
            "|"
        } else {
            ","
        };
        let lines: Vec<String> = BOROUGHS.iter().map(|b| form(b).join(delimiter)).collect();
        let folder = Folder::new();
        folder.put("a.csv", format!("{header}\n{}\n", lines.join("\n")));
        let said = folder.init(LAMBETH, "t", &["a.csv"]);
        let (report, _) = folder.checked();
        assert_eq!(rows(&report), (1, 1), "{name}: {said}\n{report}\n{}", folder.read("node.toml"));
    }
}

/// The page for a borough's first hour says what the programs say.
#[test]
fn the_example_of_the_first_hour_is_as_the_page_says() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/first-hour.md")).unwrap();
    let blocks = |kind: &str| -> Vec<String> {
        let begins = format!("```{kind}\n");
        page.split(&begins).skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned())).collect()
    };
    let folder = Folder::new();
    let extract = blocks("csv").remove(0);
    let said = folder.put("repairs.csv", extract).init(LAMBETH, "repairs", &["repairs.csv"]);
    let (report, served) = folder.checked();
    assert!(served && rows(&report) == (9, 9), "{said}\n{report}");
    let [asked, kept] = &blocks("text")[..] else { panic!("{page}") };
    for (lines, output) in [(asked, said), (kept, report)] {
        assert!(lines.lines().all(|line| output.contains(line)), "{lines}\nnot in\n{output}");
    }
}
