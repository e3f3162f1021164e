//! Later input is compared with earlier input: the files of one source with its first file, an extract with the last
//! snapshot, and a second process with the one that runs. The process log holds no values of people.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use crate::sources::{Borough, csv, kept, rows};

fn book(borough: &Borough, name: &str, header: [&str; 4], rows: &[[String; 4]]) {
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    for (column, name) in (0..).zip(header) {
        sheet.write(0, column, name).unwrap();
    }
    for (row, cells) in (1..).zip(rows) {
        for (column, cell) in (0..).zip(cells) {
            sheet.write(row, column, cell).unwrap();
        }
    }
    book.save(borough.path(name)).unwrap();
}

fn parquet(borough: &Borough, name: &str, rows: &[[String; 4]], rents: ArrayRef) {
    let text = |column: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(row[column].as_str())).collect::<StringArray>())
    };
    let columns = [("Ref", text(0)), ("Tenure", text(1)), ("Start", text(2)), ("Rent", rents)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    fs::write(borough.path(name), writer.into_inner().unwrap()).unwrap();
}

#[test]
fn later_files_have_the_columns_and_types_of_the_first() {
    let rows = rows(40);
    let borough = Borough::new("path = \"books\"\nformat = \"xlsx\"\nheader = [\"Ref\", \"Tenure\"]");
    fs::create_dir(borough.path("books")).unwrap();
    book(&borough, "books/1.xlsx", ["Ref", "Tenure", "Start", "Rent"], &rows[..20]);
    book(&borough, "books/2.xlsx", ["Start", "Rent", "Ref", "Tenure"], &[]);
    kept(&borough.check(), 20);
    book(&borough, "books/2.xlsx", ["Case reference", "Tenure", "Start", "Rent"], &rows[20..]);
    let said = borough.check();
    assert!(!said.content && said.text.contains("2.xlsx: sheet 'Sheet1': the sheet has no header"), "{}", said.text);

    borough.configure("path = \"*.parquet\"\nformat = \"parquet\"", "");
    parquet(&borough, "1.parquet", &rows[..20], Arc::new(Int64Array::from_iter_values(80..100)));
    parquet(&borough, "2.parquet", &rows[20..], Arc::new(Int64Array::from_iter_values(80..100)));
    kept(&borough.check(), 40);
    // A warehouse writes whole numbers as floats once one of them is missing.
    parquet(
        &borough,
        "2.parquet",
        &rows[20..],
        Arc::new(Float64Array::from_iter_values((0..20).map(|n| f64::from(n) + 1.9))),
    );
    let said = borough.check();
    let told = "2.parquet: its column 'Rent' is Float64, and Int64 in the first file";
    assert!(!said.content && said.text.contains(told), "{}", said.text);

    borough.configure("path = \"*.db\"\nformat = \"sqlite\"\nquery = \"SELECT * FROM tenancy\"", "");
    for (name, columns, rows) in [
        ("1.db", "Ref TEXT, Tenure TEXT, Start TEXT, Rent TEXT", &rows[..20]),
        ("2.db", "Rent TEXT, Start TEXT, Tenure TEXT, Ref TEXT", &rows[20..]),
    ] {
        let database = rusqlite::Connection::open(borough.path(name)).unwrap();
        database.execute_batch(&format!("CREATE TABLE tenancy ({columns})")).unwrap();
        let insert = "INSERT INTO tenancy (Ref, Tenure, Start, Rent) VALUES (?1, ?2, ?3, ?4)";
        for [reference, tenure, start, rent] in rows {
            database.execute(insert, (reference, tenure, start, rent)).unwrap();
        }
    }
    kept(&borough.check(), 40);
}

#[test]
fn a_log_holds_nobodys_values_and_a_check_says_them() {
    let borough = Borough::new("path = \"people\"\nformat = \"csv\"");
    fs::create_dir(borough.path("people")).unwrap();
    let headless = "Maria Okafor,Social,12/03/1984,90\nT2,Social,12/03/1984,90\n";
    fs::write(borough.path("people/1.csv"), csv(&rows(20))).unwrap();
    fs::write(borough.path("people/2.csv"), headless).unwrap();
    let quoted = |told: &str| {
        let said = borough.check();
        assert!(!said.content && said.text.contains("Maria Okafor"), "{}", said.text);
        let log = borough.ingest();
        assert!(log.contains(told) && !log.contains("Maria"), "{log}");
    };
    quoted("2.csv: its header is not that of the first file: it lacks 4 columns, and has 4 others");
    fs::write(borough.path("people/1.csv"), headless).unwrap();
    fs::remove_file(borough.path("people/2.csv")).unwrap();
    quoted("the mapping's SQL does not fit the columns of its sources");
    fs::write(borough.path("people/1.csv"), "Ref,Tenure,Start,Rent\nT1,Social,12/03/1984,Maria Okafor\n").unwrap();
    let sql = r#"SELECT "Ref" AS ref, "Tenure" AS tenure, uk_date("Start") AS began, CAST("Rent" AS DECIMAL(10,2)) AS rent FROM s"#;
    borough.map(sql, "path = \"people\"\nformat = \"csv\"", "");
    quoted("the mapping failed on a value");
}

#[test]
fn rows_are_counted_once_and_stand_where_they_are_said_to() {
    let borough = Borough::new("path = \"s.csv\"\nformat = \"csv\"");
    let good = csv(&rows(40));
    let (header, rest) = good.split_once('\n').unwrap();
    // The lines: the header, two empty lines, a row with too few cells on line 4, the other rows.
    fs::write(borough.path("s.csv"), format!("{header}\n\n\nT9,Social\n{rest}")).unwrap();
    let said = borough.check();
    assert!(said.content && said.text.contains("s.csv line 4"), "{}", said.text);
    // A single inch mark, and an empty line before the last record.
    let inches = good
        .trim_end()
        .rsplit_once('\n')
        .map(|(most, last)| format!("{most}\nT7 5\" pipe,Social,01/01/2020,90\n\n{last}\n"));
    fs::write(borough.path("s.csv"), inches.unwrap()).unwrap();
    kept(&borough.check(), 41);
    // Two stray quotes on neighbouring rows, and a genuine note of two lines.
    let stray = good.replacen("T00003,Private", "T00003,\"Private", 1).replacen("T00004,Social", "T00004,Social\"", 1);
    fs::write(borough.path("s.csv"), stray).unwrap();
    let said = borough.check();
    assert!(said.text.contains("holds 2 lines in one value") && said.text.contains("s.csv line 5"), "{}", said.text);
    let noted = |(number, line): (usize, &str)| match number {
        0 => format!("{line},Note\n"),
        4 => format!("{line},\"first\nsee a, b, c, d, e\"\n"),
        _ => format!("{line},\n"),
    };
    fs::write(borough.path("s.csv"), good.lines().enumerate().map(noted).collect::<String>()).unwrap();
    kept(&borough.check(), 40);
    // The file is read twice in one statement, at the same time.
    fs::write(borough.path("s.csv"), &good).unwrap();
    let sql = r#"SELECT a."Ref" AS ref, a."Tenure" AS tenure, uk_date(a."Start") AS began, money(a."Rent") AS rent
        FROM s a JOIN (SELECT "Ref" AS r, COUNT(*) AS n FROM s GROUP BY "Ref") b ON a."Ref" = b.r"#;
    borough.map(sql, "path = \"s.csv\"\nformat = \"csv\"", "");
    let said = borough.check();
    kept(&said, 40);
    assert!(said.text.contains("source s: 40 rows read"), "{}", said.text);
    // A code that is not in the contract, from a cast.
    fs::write(borough.path("s.csv"), good.replacen("Social", "Squat", 1)).unwrap();
    let sql = r#"SELECT "Ref" AS ref, CAST("Tenure" AS VARCHAR) AS tenure, uk_date("Start") AS began, money("Rent") AS rent FROM s"#;
    borough.map(sql, "path = \"s.csv\"\nformat = \"csv\"", "thresholds = { rejected = 0.5 }");
    let said = borough.check();
    assert!(said.text.contains("'Squat' (1)"), "{}", said.text);
}

#[test]
fn a_lost_report_and_a_second_process_cost_no_snapshot() {
    let borough = Borough::new("path = \"s.csv\"\nformat = \"csv\"");
    fs::write(borough.path("s.csv"), csv(&rows(200))).unwrap();
    assert!(borough.ingest().contains("snapshot 1, 200 of 200 rows kept"));
    fs::remove_dir_all(borough.path("state/reports")).unwrap();
    fs::write(borough.path("s.csv"), csv(&rows(10))).unwrap();
    let log = borough.ingest();
    assert!(log.contains("10 rows are kept, and the last snapshot has 200") && log.contains("stays in use"), "{log}");
    fs::write(borough.path("s.csv"), csv(&[])).unwrap();
    assert!(borough.ingest().contains("no row is kept"));

    fs::write(borough.path("s.csv"), csv(&rows(210))).unwrap();
    let lock = fs::File::options().append(true).open(borough.path("state/node.lock")).unwrap();
    lock.lock().unwrap();
    let log = borough.ingest();
    assert!(log.contains("a node runs on") && !log.contains("snapshot"), "{log}");
    lock.unlock().unwrap();
    assert!(borough.ingest().contains("snapshot 2, 210 of 210 rows kept"));
}
