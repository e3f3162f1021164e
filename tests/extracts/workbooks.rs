//! Workbooks of other spreadsheets, damaged ones, and rows of several sheets under one line.

use std::process::Command;

use rust_xlsxwriter::Workbook;

use super::{Folder, both, rows};
use crate::support::Dice;
use crate::support::doors::has;

/// A workbook by a real spreadsheet program.
fn converted(folder: &Folder, to: &str) -> Option<Vec<u8>> {
    if !has("soffice") {
        return None;
    }
    let mut text = "Case Ref,Ward,Status,Opened,Net Award\n".to_owned();
    for row in 0..120 {
        let (ward, status) = (["Vauxhall", "Stockwell", "Brixton"][row % 3], ["Open", "Closed"][row % 2]);
        text.push_str(&format!(
            "R{row:05},{ward},{status},{:02}/{:02}/2024,{}.50\n",
            row % 28 + 1,
            row % 12 + 1,
            row * 3 % 97
        ));
    }
    folder.put("cases.csv", text);
    let mut soffice = Command::new("soffice");
    let profile = format!("-env:UserInstallation=file://{}", folder.path().join("profile").display());
    soffice.args(["--headless", &profile, "--convert-to", to, "cases.csv"]).current_dir(folder.path());
    let output = soffice.output().unwrap();
    let bytes = std::fs::read(folder.path().join(format!("cases.{to}")));
    Some(bytes.unwrap_or_else(|_| panic!("{}", both(&output))))
}

#[test]
fn workbooks_of_other_programs_are_read_and_damaged_ones_are_named() {
    let mut dice = Dice::new(11);
    for to in ["xls", "ods"] {
        let folder = Folder::new();
        let Some(good) = converted(&folder, to) else { return };
        folder.init("E09000022", "cases", &[&format!("cases.{to}")]);
        let (report, served) = folder.checked();
        assert!(served && rows(&report) == (120, 120), "{to}: {report}");
        for trial in 0..60 {
            let mut bytes = good.clone();
            (0..=dice.below(20)).for_each(|_| bytes[dice.index(good.len())] = u8::try_from(dice.below(256)).unwrap());
            if trial % 5 == 0 {
                bytes.truncate(dice.index(good.len()));
            }
            folder.put(&format!("cases.{to}"), &bytes);
            let output = folder.node(&["check"]);
            // It is read all the same, or named; or the size that it claims is more than there is.
            let said = both(&output);
            let ended = matches!(output.status.code(), Some(0 | 1)) || said.contains("memory allocation");
            assert!(ended, "{to}, trial {trial}: {said}");
            assert!(output.status.success() || said.contains("cases") || said.contains("memory allocation"), "{said}");
        }
    }
}

/// *Attack: a few bytes that repeat a cell.*
#[test]
fn a_workbook_that_repeats_a_cell_a_million_times_is_not_read() {
    use std::io::Write as _;
    let folder = Folder::new();
    // *Attack: a repetition behind a sign, or behind another attribute of its name.*
    let hidden =
        ["", "office:formula=\"a>b\"", "x:number-columns-repeated=\"1\" xmlns:x=\"x\"", "title='<a b=\"1\"/>'"];
    for ((across, down), before) in [(16_000, 1_000), (1_000, 90_000), (1, 90_000_000), (4_000, 20_000)]
        .into_iter()
        .flat_map(|size| hidden.map(|h| (size, h)))
    {
        let content = format!(
            "<?xml version=\"1.0\"?><office:document-content xmlns:office=\"urn:oasis:names:tc:opendocument:xmlns:office:1.0\" \
             xmlns:table=\"urn:oasis:names:tc:opendocument:xmlns:table:1.0\" \
             xmlns:text=\"urn:oasis:names:tc:opendocument:xmlns:text:1.0\"><office:body><office:spreadsheet><table:table \
             table:name=\"S\"><table:table-row table:number-rows-repeated=\"{down}\"><table:table-cell {before} \
             table:number-columns-repeated=\"{across}\" office:value-type=\"float\" office:value=\"1\"><text:p>1</text:p>\
             </table:table-cell></table:table-row></table:table></office:spreadsheet></office:body></office:document-content>"
        );
        let mut archive = zip::ZipWriter::new(std::fs::File::create(folder.path().join("bomb.ods")).unwrap());
        for (name, text) in [("mimetype", "application/vnd.oasis.opendocument.spreadsheet"), ("content.xml", &content)]
        {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
        let output = folder.node(&["init", "--borough", "E09000022", "--name", "t", "bomb.ods"]);
        let said = both(&output);
        assert!(said.contains("million cells"), "{across} × {down} after {before:?}: {said}");
    }
}

#[test]
fn a_total_of_one_sheet_takes_no_record_of_another() {
    let folder = Folder::new();
    let mut book = Workbook::new();
    let mut of_2023 = 0;
    for year in ["2023", "2024"] {
        let sheet = book.add_worksheet();
        sheet.set_name(year).unwrap();
        for (column, name) in ["Licence", "Ward", "Fee"].into_iter().enumerate() {
            sheet.write(0, u16::try_from(column).unwrap(), name).unwrap();
        }
        let mut sum = 0;
        for row in 1..41_u32 {
            let fee = row * 7 % 31 + if year == "2023" { 2 } else { 3 };
            // A total that only its sheet and line tell apart: a record of the other sheet has as few cells and the same fee,
            // on its line.
            let (name, fee) = match (year, row) {
                ("2023", 40) => ("Fast Food".to_owned(), sum),
                (_, 40) => ("Bar".to_owned(), of_2023),
                _ => (["Fast Food", "Bar", "Shop"][usize::try_from(row % 3).unwrap()].to_owned(), fee),
            };
            sum += fee;
            sheet.write(row, 0, name).unwrap();
            if row < 40 {
                sheet.write(row, 1, ["Vauxhall", "Oval"][usize::try_from(row % 2).unwrap()]).unwrap();
            }
            sheet.write(row, 2, fee).unwrap();
            if (year, row) == ("2023", 40) {
                of_2023 = fee;
            }
        }
    }
    book.save(folder.path().join("licences.xlsx")).unwrap();
    let said = folder.init("E09000022", "licences", &["licences.xlsx"]);
    let (report, served) = folder.checked();
    assert!(folder.read("node.toml").contains("NOT (__file = 'licences.xlsx [2023]' AND __line IN (41))"), "{said}");
    assert!(served && rows(&report).0 == 79, "{said}\n{report}\n{}", folder.read("node.toml"));
}

/// A decision about the rows that a mapping leaves out says nothing of others that it takes.
#[test]
fn a_later_total_of_another_form_stops_again() {
    let folder = Folder::new();
    let extract = |label: &str| {
        let mut text = "Supplier,Ward,Net Award\n".to_owned();
        let mut sum = 0;
        for row in 0..60 {
            let award = row * 37 % 500 + 1;
            sum += award;
            text.push_str(&format!("S{row:03},{},{award}\n", ["Vauxhall", "Oval"][row % 2]));
        }
        text.push_str(&format!("{label},{sum}\n"));
        text
    };
    folder.put("spend.csv", extract(","));
    let said = folder.init("E09000022", "spend", &["spend.csv"]);
    let (report, served) = folder.checked();
    assert!(served && rows(&report) == (60, 60), "{said}\n{report}");
    folder.put("spend.csv", extract("Total,All wards"));
    let (report, served) = folder.check();
    assert!(!served && report.contains("to decide: total:source_1"), "{report}");
}

/// *Attack: a decision that is longer than the log takes.*
#[test]
fn a_decision_has_a_bound() {
    let folder = Folder::new();
    folder.put("a.csv", "Ref,Status\n1,Open\n2,Closed\n3,Open\n");
    folder.init("E09000022", "a", &["a.csv"]);
    let before = folder.read("node.toml");
    let output = folder.node(&["decide", "unit", "--by", "A. Khan", "--why", &"x".repeat(3_000)]);
    assert!(!output.status.success() && both(&output).contains("at most 2000 bytes"), "{}", both(&output));
    let nobody = folder.node(&["decide", "unit", "--by", " ", "--why", "because"]);
    assert!(!nobody.status.success(), "{}", both(&nobody));
    assert_eq!(folder.read("node.toml"), before);
    assert!(!folder.path().join("node.toml.new").exists());
}
