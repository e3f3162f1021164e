//! Each kind of extract that went wrong, in further inputs: right figures, or a finding that stops.

use rust_xlsxwriter::Workbook;

use super::{Folder, rows};

const LAMBETH: &str = "E09000022";
const ROWS: u64 = 120;
const SURNAMES: [&str; 6] = ["Quill", "Okafor", "Birch", "Amin", "Crane", "Silva"];
const WARDS: [&str; 4] = ["Vauxhall", "Stockwell", "Herne Hill", "Gipsy Hill"];

/// A value of a row, by its number.
type Form = &'static dyn Fn(usize) -> String;

/// A row of a service's list, by its number.
fn record(row: usize) -> Vec<String> {
    let surname = format!("{} {}", ["Amara", "Bo", "Ines"][row % 3], SURNAMES[row % 6]);
    let (ward, status) = (WARDS[row % 4].to_owned(), ["Open", "Closed"][row % 2].to_owned());
    vec![format!("R{row:05}"), surname, ward, status, format!("{}.{:02}", row * 7 % 90 + 1, row % 100)]
}

const HEADER: [&str; 5] = ["Ref", "Tenant Name", "Ward", "Status", "Net Award"];

fn text(delimiter: char, header: &[&str], records: impl Iterator<Item = Vec<String>>) -> String {
    let cell = |text: &str| match text.contains([delimiter, '\n', '"']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let line = |cells: Vec<&str>| cells.into_iter().map(cell).collect::<Vec<_>>().join(&delimiter.to_string());
    let mut lines = vec![line(header.to_vec())];
    lines.extend(records.map(|cells| line(cells.iter().map(String::as_str).collect())));
    lines.join("\n") + "\n"
}

fn records() -> impl Iterator<Item = Vec<String>> {
    (0..usize::try_from(ROWS).unwrap()).map(record)
}

/// Drafts, decides and checks. What was wrong, if anything was: `rows` have to be kept, and no name stands in the contract.
fn kept(borough: &str, file: &str, bytes: &[u8], expected: u64) -> Option<String> {
    let folder = Folder::new();
    folder.put(file, bytes);
    let said = folder.init(borough, "t", &[file]);
    let (report, served) = folder.checked();
    let found = report.lines().any(|line| line.contains("mapping: ")).then(|| rows(&report));
    let named = SURNAMES.iter().find(|name| folder.contract("t").contains(*name));
    let right = served && found == Some((expected, expected)) && named.is_none();
    (!right).then(|| format!("{expected} rows, {named:?}\n{said}\n{report}\n{}", folder.read("node.toml")))
}

fn all_right(kind: &str, inputs: Vec<(String, Option<String>)>) {
    assert!(inputs.len() >= 5, "{kind}: too few inputs");
    let count = inputs.len();
    let wrong: Vec<String> =
        inputs.into_iter().filter_map(|(name, wrong)| Some(format!("{kind}: {name}: {}", wrong?))).collect();
    assert!(wrong.is_empty(), "{} of {count} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn headers_that_lack_names_or_are_wider_than_records() {
    let header = |blank: &[usize]| -> Vec<&str> {
        HEADER.iter().enumerate().map(|(at, name)| if blank.contains(&at) { "" } else { *name }).collect()
    };
    let csv = |header: Vec<&str>| text(',', &header, records());
    let longer = |more: usize| {
        let header: Vec<&str> = HEADER.iter().chain(&["Fax", "Notes"]).copied().collect();
        let with = records().enumerate().map(move |(row, mut cells)| {
            cells.extend([String::new(), if row % more == 0 { "rang back".to_owned() } else { String::new() }]);
            cells
        });
        text(';', &header, with)
    };
    let inputs = [
        ("a blank name first", csv(header(&[0]))),
        ("a blank name in the middle", csv(header(&[2]))),
        ("a blank name last", csv(header(&[4]))),
        ("two blank names", csv(header(&[1, 3]))),
        ("a blank name and one of a year", csv(vec!["Ref", "", "Ward", "Status", "2024"])),
        ("columns that are nearly always empty", longer(40)),
        ("names of years", csv(vec!["Ref", "Tenant Name", "Ward", "Status", "2024"])),
    ];
    let tried = inputs.map(|(name, bytes)| (name.to_owned(), kept(LAMBETH, "a.csv", bytes.as_bytes(), ROWS)));
    all_right("headers", tried.into());
    // The last columns are left out where they are empty, and somebody has to say that it is so.
    let ragged: String = longer(9).lines().map(|line| format!("{}\n", line.trim_end_matches(';'))).collect();
    let folder = Folder::new();
    let said = folder.put("a.csv", ragged).init(LAMBETH, "t", &["a.csv"]);
    let (report, served) = folder.checked();
    assert!(!served && said.contains("pad = true"), "{said}\n{report}");
}

#[test]
fn names_with_breaks_and_spaces_and_long_ones() {
    let long = "Proportion of the households that applied for help with their rent in the year before this one began";
    let names: [(&str, [&str; 2]); 8] = [
        ("a line break", ["Ref", "Net\nAward"]),
        ("two line breaks", ["Case\nRef", "Net\r\nAward\n(£)"]),
        ("no-break spaces", ["Case\u{a0}Ref", "Net\u{a0}\u{a0}Award"]),
        ("spaces around", ["  Ref ", " Net   Award  "]),
        ("a tab", ["Case\tRef", "Net\tAward"]),
        ("a long name", ["Ref", long]),
        ("two long names that begin alike", [long, &format!("{long} again")]),
        ("a long name of other letters", ["Réf", &"Größe der Wohnung in Quadratmetern ".repeat(4)]),
    ];
    let tried = names.map(|(name, [first, last])| {
        let header = [first, "Tenant Name", "Ward", "Status", last];
        let bytes = format!("Claims of the year\n\n{}", text(',', &header, records()));
        (name.to_owned(), kept(LAMBETH, "a.csv", bytes.as_bytes(), ROWS))
    });
    all_right("names", tried.into());
}

/// Writes records from one row to another as a sheet.
fn sheet(book: &mut Workbook, name: &str, header: &[&str], of: std::ops::Range<usize>) {
    let sheet = book.add_worksheet();
    sheet.set_name(name).unwrap();
    for (at, text) in header.iter().enumerate() {
        sheet.write(0, u16::try_from(at).unwrap(), *text).unwrap();
    }
    for (line, row) in (1..).zip(of) {
        for (at, text) in record(row).iter().enumerate() {
            let at = u16::try_from(at).unwrap();
            match text.parse::<f64>() {
                Ok(number) => sheet.write(line, at, number).unwrap(),
                Err(_) => sheet.write(line, at, text).unwrap(),
            };
        }
    }
}

fn notes(book: &mut Workbook, name: &str, lines: usize) {
    let sheet = book.add_worksheet();
    sheet.set_name(name).unwrap();
    for line in 0..lines {
        let text = format!("Note {line}: figures are those of the day on which the system was read.");
        sheet.write(u32::try_from(line).unwrap(), 0, text).unwrap();
    }
}

#[test]
fn workbooks_with_covers_notes_and_a_sheet_for_each_year() {
    let mut tried = Vec::new();
    let mut attempt = |name: &str, fill: &dyn Fn(&mut Workbook)| {
        let mut book = Workbook::new();
        fill(&mut book);
        tried.push((name.to_owned(), kept(LAMBETH, "a.xlsx", &book.save_to_buffer().unwrap(), ROWS)));
    };
    attempt("a cover", &|book| {
        notes(book, "Cover", 6);
        sheet(book, "Data", &HEADER, 0..120);
    });
    attempt("notes after it", &|book| {
        sheet(book, "Data", &HEADER, 0..120);
        notes(book, "Notes", 30);
    });
    attempt("more notes than records", &|book| {
        notes(book, "Metadata", 400);
        sheet(book, "Data", &HEADER, 0..120);
    });
    attempt("a sheet for each year", &|book| {
        [0..40, 40..80, 80..120].into_iter().zip(["2022", "2023", "2024"]).for_each(|(of, name)| {
            sheet(book, name, &HEADER, of);
        });
    });
    attempt("a cover and a sheet for each quarter", &|book| {
        notes(book, "Contents", 5);
        for quarter in 0..4 {
            sheet(book, &format!("Q{}", quarter + 1), &HEADER, quarter * 30..(quarter + 1) * 30);
        }
    });
    attempt("a list of codes beside it", &|book| {
        sheet(book, "Data", &HEADER, 0..120);
        let codes = book.add_worksheet();
        codes.set_name("Lookup").unwrap();
        for (line, (code, words)) in (0..).zip([("Code", "Meaning"), ("O", "Open"), ("C", "Closed")]) {
            codes.write(line, 0, code).unwrap();
            codes.write(line, 1, words).unwrap();
        }
    });
    all_right("workbooks", tried);
}

#[test]
fn ones_own_borough_in_any_spelling() {
    let (tower, kensington, westminster) = ("E09000030", "E09000020", "E09000033");
    let spellings: [(&str, &str, [&str; 3]); 14] = [
        (LAMBETH, "lambeth", ["camden", "brent", "hackney"]),
        (LAMBETH, "LAMBETH ", ["CAMDEN ", "BRENT ", "HACKNEY "]),
        (LAMBETH, "LB Lambeth", ["LB Camden", "LB Brent", "LB Hackney"]),
        (
            LAMBETH,
            "London Borough of Lambeth",
            ["London Borough of Camden", "London Borough of Brent", "City of London"],
        ),
        (LAMBETH, "E09000022", ["E09000007", "E09000005", "E09000012"]),
        (LAMBETH, "00AY", ["00AG", "00AE", "00AM"]),
        (tower, "Tower_Hamlets", ["Barking_and_Dagenham", "Waltham_Forest", "Camden"]),
        (tower, "tower-hamlets", ["barking-and-dagenham", "waltham-forest", "camden"]),
        (tower, "Tower  Hamlets", ["Waltham  Forest", "Camden", "Brent"]),
        (kensington, "Kensington & Chelsea", ["Hammersmith & Fulham", "Barking & Dagenham", "Brent"]),
        (kensington, "Royal Borough of Kensington and Chelsea", ["Royal Borough of Greenwich", "LB Brent", "Camden"]),
        (westminster, "City of Westminster", ["City of London", "Camden", "Brent"]),
        (westminster, "Westminster", ["City of London", "Camden", "Brent"]),
        ("E09000021", "Kingston-upon-Thames", ["Richmond-upon-Thames", "Merton", "Sutton"]),
    ];
    let tried = spellings.map(|(borough, own, others)| {
        let with = records().enumerate().map(|(row, mut cells)| {
            cells.push(if row % 4 == 0 { own } else { others[row % 4 - 1] }.to_owned());
            cells
        });
        let header: Vec<&str> = HEADER.iter().chain(&["Local Authority"]).copied().collect();
        (own.to_owned(), kept(borough, "a.csv", text(',', &header, with).as_bytes(), ROWS / 4))
    });
    all_right("boroughs", tried.into());
}

#[test]
fn totals_of_every_form() {
    let pence = |of: std::ops::Range<usize>| -> usize {
        of.map(|row| record(row)[4].replace('.', "").parse::<usize>().unwrap()).sum()
    };
    let money = |pence: usize| format!("{}.{:02}", pence / 100, pence % 100);
    let grouped = |pence: usize| {
        let text = money(pence);
        format!("£{},{}", &text[..text.len() - 6], &text[text.len() - 6..])
    };
    let total = |first: &str, ward: &str, sum: String| {
        vec![first.to_owned(), String::new(), ward.to_owned(), String::new(), sum]
    };
    let all = pence(0..120);
    let with = |more: Vec<Vec<String>>| text(',', &HEADER, records().chain(more));
    let halves = {
        let first = (0..60).map(record).chain([total("", "Subtotal", money(pence(0..60)))]);
        let second = (60..120).map(record).chain([total("", "Subtotal", money(pence(60..120)))]);
        text(',', &HEADER, first.chain(second).chain([total("", "Grand total", money(all))]))
    };
    let inputs = [
        ("a sum alone", with(vec![total("", "", money(all))])),
        ("Total", with(vec![total("Total", "", money(all))])),
        ("TOTAL in another column", with(vec![total("", "TOTAL", money(all))])),
        ("a sum with signs", with(vec![total("", "", grouped(all))])),
        ("a blank row before it", with(vec![vec![String::new(); 5], total("", "", money(all))])),
        ("parts and a whole", halves),
        ("Grand Total:", with(vec![total("Grand Total:", "", money(all))])),
        ("Sum of Net Award", with(vec![total("Sum of Net Award", "", money(all))])),
    ];
    let tried = inputs.map(|(name, bytes)| (name.to_owned(), kept(LAMBETH, "a.csv", bytes.as_bytes(), ROWS)));
    all_right("totals", tried.into());
}

#[test]
fn markers_are_no_codes() {
    let markers = [
        "NULL",
        "null",
        "\\N",
        "N/A",
        "n/a",
        "-",
        "--",
        "–",
        "..",
        "*",
        "[c]",
        "c",
        "x",
        "#N/A",
        "nil",
        "NaN",
        "not known",
        "(blank)",
    ];
    let mut tried = Vec::new();
    for marker in markers {
        let with = records().enumerate().map(|(row, mut cells)| {
            if row % 9 == 0 {
                cells[3] = marker.to_owned();
            }
            if row % 7 == 0 {
                cells[4] = marker.to_owned();
            }
            cells
        });
        let folder = Folder::new();
        folder.put("a.csv", text(',', &HEADER, with));
        let said = folder.init(LAMBETH, "t", &["a.csv"]);
        let (report, served) = folder.checked();
        let contract = folder.contract("t");
        let right = served
            && rows(&report) == (ROWS, ROWS)
            && !contract.contains(&format!("\"{}\"", marker.replace('\\', "\\\\")))
            && contract.contains("decimal");
        tried.push((marker.to_owned(), (!right).then(|| format!("{said}\n{report}\n{contract}"))));
    }
    all_right("markers", tried);
}

#[test]
fn days_with_the_month_first_and_other_forms_of_them() {
    type Written = fn(usize, usize, usize) -> String;
    let forms: [(&str, Written); 7] = [
        ("3/30/2016", |d, m, y| format!("{m}/{d}/{y}")),
        ("03/30/2016", |d, m, y| format!("{m:02}/{d:02}/{y}")),
        ("3/30/16", |d, m, y| format!("{m}/{d}/{}", y - 2000)),
        ("03-30-2016", |d, m, y| format!("{m:02}-{d:02}-{y}")),
        ("30/03/2016", |d, m, y| format!("{d:02}/{m:02}/{y}")),
        ("30.03.2016", |d, m, y| format!("{d:02}.{m:02}.{y}")),
        ("2016-03-30", |d, m, y| format!("{y}-{m:02}-{d:02}")),
    ];
    let tried = forms.map(|(name, form)| {
        let with = records().enumerate().map(|(row, mut cells)| {
            cells[4] = form(row % 28 + 1, row % 12 + 1, 2016 + row % 8);
            cells
        });
        let folder = Folder::new();
        folder.put("a.csv", text(',', &["Ref", "Tenant Name", "Ward", "Status", "Visited"], with));
        let said = folder.init(LAMBETH, "t", &["a.csv"]);
        let (report, served) = folder.checked();
        let month_first = name.starts_with(['3', '0']) && !name.starts_with("30");
        let right = served
            && rows(&report) == (ROWS, ROWS)
            && !report.contains("became NULL")
            && folder.contract("t").contains("type = \"date\"")
            && said.contains("month first") == month_first;
        (name.to_owned(), (!right).then(|| format!("{said}\n{report}\n{}", folder.read("node.toml"))))
    });
    all_right("days", tried.into());
}

#[test]
fn delimiters_beside_addresses() {
    let address =
        |row: usize| format!("Flat {}, {} High Street, Vauxhall, London, SE11 {}AA", row % 9, row % 80, row % 9);
    let homes = |delimiter: char, header: [&str; 4], decimal: char| {
        let with = (0..120).map(|row| {
            let fee = format!("{}{decimal}{:02}", row * 7 % 90 + 1, row % 100);
            vec![format!("{}", 100_021_000_000_u64 + row as u64 * 37), address(row), WARDS[row % 4].to_owned(), fee]
        });
        // Nothing is quoted that does not have to be.
        text(delimiter, &header, with)
    };
    let names = ["UPRN", "Address", "Ward", "Fee"];
    let inputs = [
        ("bars", homes('|', names, '.')),
        ("tabs", homes('\t', names, '.')),
        ("semicolons", homes(';', names, '.')),
        ("semicolons and decimal commas", homes(';', names, ',')),
        ("commas and quotes", homes(',', names, '.')),
        ("bars and a header with commas", homes('|', ["UPRN", "Address, as in the gazetteer", "Ward", "Fee, £"], '.')),
    ];
    let tried = inputs.map(|(name, bytes)| (name.to_owned(), kept(LAMBETH, "homes.txt", bytes.as_bytes(), ROWS)));
    all_right("delimiters", tried.into());
}

#[test]
fn keys_that_a_spreadsheet_rounded_stop() {
    let of = |id: &dyn Fn(u64) -> String, name: &str| {
        let with = (0..120_u64).map(|row| {
            let mut cells = record(usize::try_from(row).unwrap());
            cells[0] = id(row);
            cells
        });
        text(',', &[name, "Tenant Name", "Ward", "Status", "Net Award"], with)
    };
    let inputs = [
        ("UPRNs of one gazetteer", of(&|row| format!("{}", 100_021_000_000 + row % 3 * 1_000_000), "UPRN")),
        ("UPRNs as 1.00021E+11", of(&|row| format!("1.0002{}E+11", row % 9), "UPRN")),
        ("account numbers of twelve digits", of(&|row| format!("{}000000", 500_100 + row % 7), "Account Number")),
        ("account numbers as 5.001E+11", of(&|row| format!("5.00{}E+11", row % 9), "Account Number")),
        ("references of sixteen digits", of(&|row| format!("{}00000000", 12_345_670 + row % 5), "Case Reference")),
    ];
    let tried = inputs.map(|(name, bytes)| {
        let folder = Folder::new();
        folder.put("a.csv", bytes);
        let said = folder.init(LAMBETH, "t", &["a.csv"]);
        let (report, served) = folder.checked();
        let told = |text: &str| text.contains("rounded") || text.contains("end in 000") || text.contains("E+11");
        let right = told(&said) && (!served && told(&report) || !folder.contract("t").contains("role = \"unit\""));
        (name.to_owned(), (!right).then(|| format!("{said}\n{report}\n{}", folder.contract("t"))))
    });
    all_right("rounded keys", tried.into());
}

#[test]
fn a_scale_that_loses_digits_stops() {
    let forms: [(&str, u32, Form); 5] = [
        ("small rates", 7, &|row| format!("0.{:07}", row * 123 + 1)),
        ("coordinates below zero", 5, &|row| format!("-0.{:05}", row * 211 + 10_001)),
        ("pence", 2, &|row| format!("{}.{:02}", row, row % 97 + 1)),
        ("few with more digits", 6, &|row| if row % 30 == 7 { format!("1.{:06}", row) } else { format!("{row}.5") }),
        ("thousands", 3, &|row| format!("1,{:03}.{:03}", row, row + 1)),
    ];
    let tried = forms.map(|(name, scale, form)| {
        let with = records().enumerate().map(|(row, mut cells)| {
            cells[4] = form(row);
            cells
        });
        let folder = Folder::new();
        folder.put("a.csv", text(',', &["Ref", "Tenant Name", "Ward", "Status", "Rate"], with));
        let said = folder.init(LAMBETH, "t", &["a.csv"]);
        let (report, served) = folder.checked();
        let (contract, written) = (folder.contract("t"), format!("scale = {scale}"));
        let mut right = served && rows(&report) == (ROWS, ROWS) && contract.contains(&written);
        folder.put("contracts/t.toml", contract.replace(&written, &format!("scale = {}", scale - 1)));
        let (less, served) = folder.check();
        right &= !served && !less.contains("panicked");
        (name.to_owned(), (!right).then(|| format!("{said}\n{report}\n{less}\n{contract}")))
    });
    all_right("scales", tried.into());
}

#[test]
fn what_loses_every_row_is_never_served() {
    let header: Vec<&str> = HEADER.iter().chain(&["Local Authority"]).copied().collect();
    let of = |places: &'static [&'static str]| {
        let with = records().enumerate().map(|(row, mut cells)| {
            cells.push(places[row % places.len()].to_owned());
            cells
        });
        text(',', &header, with)
    };
    let mut tried = Vec::new();
    // One's own rows alone, and those of several boroughs.
    for (places, expected) in [(&["Lambeth"][..], ROWS), (&["Lambeth", "Brent", "Camden"], ROWS / 3)] {
        let folder = Folder::new();
        folder.put("a.csv", of(places));
        folder.init(LAMBETH, "t", &["a.csv"]);
        let (report, served) = folder.checked();
        assert!(served && rows(&report) == (expected, expected), "{report}");
        let node = folder.read("node.toml");
        let mut attempt = |name: &str, node: &str, bytes: String| {
            folder.put("node.toml", node);
            folder.put("a.csv", bytes);
            let (report, served) = folder.check();
            tried.push((format!("{name}, where {places:?} were"), served.then_some(report)));
        };
        attempt("another borough's extract", &node, of(&["Camden"]));
        attempt("other boroughs' extract", &node, of(&["Camden", "Hackney"]));
        attempt("an empty file", &node, String::new());
        let with_condition = match node.contains("WHERE ") {
            true => node.replace("WHERE ", "WHERE \"Ref\" = 'R' AND "),
            false => node.replace("FROM source_1", "FROM source_1 WHERE \"Ref\" = 'R'"),
        };
        assert_ne!(with_condition, node);
        attempt("a condition that nothing meets", &with_condition, of(places));
        let other = with_condition.replace("\"Ref\" = 'R'", "\"Local Authority\" <> ''");
        attempt("another borough's, with a condition that takes all", &other, of(&["Camden"]));
        if places.len() > 1 {
            attempt("places that nobody knows", &node, of(&["Londinium"]));
        }
    }
    all_right("no rows", tried);
}
