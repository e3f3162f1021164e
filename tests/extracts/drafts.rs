//! Nobody stands in a drafted contract.

use super::Folder;
use crate::support::Dice;

/// How many tables, unless `LODA_DRAFTS` says otherwise.
const TABLES: u64 = 40;

/// A kind of identifying column: words for its name, and its values.
type Identifying = (&'static [&'static str], fn(u64, &mut Dice) -> String);

const GIVEN: [&str; 12] =
    ["Amara", "Bo", "Jonas", "Mo", "Ines", "Tariq", "Lena", "Kofi", "Siobhan", "Wei", "Ngozi", "Piotr"];
const SURNAME: [&str; 12] =
    ["Quill", "Okafor", "Birch", "Amin", "Crane", "Silva", "Novak", "Mensah", "O'Neill", "Zhang", "Eze", "Wójcik"];

const KINDS: [Identifying; 14] = [
    (&["full", "name"], |_, d| format!("{} {}", GIVEN[d.index(12)], SURNAME[d.index(12)])),
    (&["surname"], |_, d| SURNAME[d.index(12)].to_owned()),
    (&["allocated", "worker"], |_, d| format!("{} {}", GIVEN[d.index(4)], SURNAME[d.index(4)])),
    (&["case", "handler"], |_, d| SURNAME[d.index(5)].to_uppercase()),
    (&["col", "seven"], |_, d| format!("{}, {}", SURNAME[d.index(6)].to_uppercase(), GIVEN[d.index(6)])),
    (&["gp"], |_, d| format!("Dr {}", SURNAME[d.index(6)])),
    (&["field", "twelve"], |_, d| SURNAME[d.index(6)].to_owned()),
    (&["nhs", "number"], |row, _| format!("{:010}", 4_000_000_000_u64 + row * 7)),
    (&["ni", "no"], |row, d| format!("QQ{:06}{}", row * 13 % 1_000_000, ["A", "B", "", "C"][d.index(4)])),
    (&["mobile"], |_, d| format!("07700 9{:05}", d.below(40))),
    (&["vrm"], |_, d| format!("LC{:02} XY{}", 50 + d.below(20), ["A", "B", "C"][d.index(3)])),
    (&["acct"], |_, d| format!("{:08}", 12_345_000 + d.below(30))),
    (&["home", "postcode"], |_, d| format!("SW{} {}AB", 1 + d.below(9), d.below(9))),
    (&["contact", "email"], |_, d| format!("{}@example.org", GIVEN[d.index(12)].to_lowercase())),
];

/// Ten styles in which systems write names of columns.
fn styled(words: &[&str], style: u64) -> String {
    let capital = |word: &&str| format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    let capitals: Vec<String> = words.iter().map(capital).collect();
    match style % 10 {
        0 => words.join("_"),
        1 => capitals.join(" "),
        2 => capitals.concat(),
        3 => words.join(" ").to_uppercase(),
        4 => words.join("-"),
        5 => format!("tbl_{}", words.join("_")),
        6 => format!("{} (internal)", capitals.join(" ")),
        7 => words.concat(),
        8 => format!("fld{}", capitals.concat()),
        _ => format!("{}.", capitals.join(".")),
    }
}

#[test]
fn no_value_of_an_identifying_column_stands_in_a_draft() {
    let tables = std::env::var("LODA_DRAFTS").map_or(TABLES, |text| text.parse().unwrap());
    let mut dice = Dice::new(7);
    for table in 0..tables {
        let folder = Folder::new();
        let kinds: Vec<&Identifying> = (0..3).map(|_| &KINDS[dice.index(KINDS.len())]).collect();
        let names: Vec<String> = kinds.iter().map(|(words, _)| styled(words, dice.below(10))).collect();
        let mut text = format!("Ref,{},Status,Amount\n", names.join(","));
        let mut values: Vec<String> = Vec::new();
        for row in 0..200 {
            let cells: Vec<String> = kinds.iter().map(|(_, value)| value(row, &mut dice)).collect();
            let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{cell}\"")).collect();
            let status = ["Open", "Closed"][dice.index(2)];
            text.push_str(&format!("K{row:04},{},{status},{}\n", quoted.join(","), dice.below(900)));
            values.extend(cells);
        }
        folder.put("t.csv", text);
        folder.init("E09000022", "t", &["t.csv"]);
        let drafted = format!("{}\n{}", folder.contract("t"), folder.read("node.toml")).to_lowercase();
        for value in values {
            let found = drafted.contains(&format!("\"{}\"", value.to_lowercase()));
            assert!(!found, "table {table}, columns {names:?}: '{value}' in\n{drafted}");
        }
        assert!(drafted.contains("codes = [\"closed\", \"open\"]"), "{drafted}");
    }
}
