//! Each kind of source against the real software, and inputs with the faults of real extracts.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::folder::{Folder, Said};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

pub const CONTRACT: &str = r#"
dataset = "tenancies"
version = 1
title = "Tenancies"

[[unit]]
domain = "tenancy"
column = "ref"
about = "people"
one-row = true

[[column]]
name = "ref"
type = "text"
role = "unit"
to = "tenancy"
description = "Reference"

[[column]]
name = "tenure"
type = "text"
role = "dimension"
codes = ["Social", "Private"]
description = "Tenure"

[[column]]
name = "began"
type = "date"
role = "dimension"
grain = "month"
min = "2000-01-01"
max = "2030-12-31"
description = "Month in which it began"

[[column]]
name = "rent"
type = "decimal"
scale = 2
role = "measure"
nullable = true
min = "0"
max = "1000"
edges = ["100", "200"]
description = "Weekly rent"
"#;

const SQL: &str = r#"SELECT "Ref" AS ref, "Tenure" AS tenure, uk_date("Start") AS began, money("Rent") AS rent FROM s"#;

/// A borough's folder with one dataset.
pub struct Borough(Folder);

impl Borough {
    /// `source`: the settings of the one source, without its name.
    pub fn new(source: &str) -> Self {
        let borough = Self(Folder::new("tenancies", CONTRACT));
        borough.configure(source, "");
        borough.trial();
        borough
    }

    pub fn configure(&self, source: &str, of_dataset: &str) {
        self.map(SQL, source, of_dataset);
    }

    pub fn map(&self, sql: &str, source: &str, of_dataset: &str) {
        self.0.configure(&format!(
            "[[dataset]]\ncontract = \"contracts/tenancies.toml\"\nas_at = \"2026-11-01\"\nsql = '''{sql}'''\n{of_dataset}\n\
             [[dataset.source]]\nname = \"s\"\n{source}"
        ));
    }
}

impl Deref for Borough {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.0
    }
}

/// Rows as a council's system writes them: reference, tenure, start, rent.
pub fn rows(count: usize) -> Vec<[String; 4]> {
    let row = |n: usize| {
        let tenure = if n.is_multiple_of(3) { "Private" } else { "Social" };
        let start = format!("{:02}/{:02}/20{:02}", 1 + n % 28, 1 + n % 12, 5 + n % 20);
        [format!("T{n:05}"), tenure.to_owned(), start, format!("£{}.{:02}", 80 + n % 200, n % 100)]
    };
    (0..count).map(row).collect()
}

pub fn csv(rows: &[[String; 4]]) -> String {
    let mut text = "Ref,Tenure,Start,Rent\n".to_owned();
    rows.iter().for_each(|row| writeln!(text, "{}", row.join(",")).unwrap());
    text
}

pub fn kept(said: &Said, kept: usize) {
    let told = format!("{kept} keep the contract");
    assert!(said.content && said.text.contains(&told), "{told}: {}", said.text);
}

#[test]
fn every_kind_of_file_gives_the_same_rows() {
    let rows = rows(200);
    let wide = |text: &str| -> Vec<u8> {
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
    };
    // With a quoted thousands separator, a name beyond ASCII, and dates in SQL's form.
    let semicolons = csv(&rows).replace(',', ";");
    let titled = format!("Tenancies; printed 1 November\n\n{semicolons}");
    let latin: Vec<u8> =
        csv(&rows).replace("T00007", "T\u{e9}007").chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let json: String = rows
        .iter()
        .map(|[r, t, s, p]| format!("{}\n", serde_json::json!({"Ref": r, "Tenure": t, "Start": s, "Rent": p})))
        .collect();
    for (name, bytes, keys) in [
        ("plain.csv", csv(&rows).into_bytes(), "format = \"csv\""),
        ("windows.csv", latin, "format = \"csv\""),
        ("wide.csv", wide(&csv(&rows)), "format = \"csv\""),
        ("bom.csv", [b"\xEF\xBB\xBF".as_slice(), csv(&rows).as_bytes()].concat(), "format = \"csv\""),
        ("old-mac.csv", csv(&rows).replace('\n', "\r").into_bytes(), "format = \"csv\""),
        ("titled.csv", titled.into_bytes(), "format = \"csv\"\nheader = [\"Ref\", \"Tenure\"]"),
        (
            "headless.csv",
            csv(&rows).split_once('\n').unwrap().1.as_bytes().to_vec(),
            "format = \"csv\"\ncolumns = [\"Ref\", \"Tenure\", \"Start\", \"Rent\"]",
        ),
        ("lines.ndjson", json.into_bytes(), "format = \"ndjson\""),
    ] {
        let borough = Borough::new(&format!("path = \"{name}\"\n{keys}"));
        fs::write(borough.path(name), bytes).unwrap();
        let said = borough.check();
        kept(&said, 200);
        assert!(borough.ingest().contains("snapshot 1, 200 of 200 rows kept"), "{name}");
    }
}

#[test]
fn workbooks_databases_and_parquet_give_the_same_rows() {
    let rows = rows(200);
    let borough = Borough::new("path = \"book.xlsx\"\nformat = \"xlsx\"\nsheet = \"People\"\nheader = 3");
    let mut book = rust_xlsxwriter::Workbook::new();
    book.add_worksheet().set_name("Notes").unwrap();
    let sheet = book.add_worksheet();
    sheet.set_name("People").unwrap();
    sheet.write(0, 0, "Tenancies").unwrap();
    let date = rust_xlsxwriter::Format::new().set_num_format("dd/mm/yyyy");
    for (column, name) in (0..).zip(["Ref", "Tenure", "Start", "Rent"]) {
        sheet.write(2, column, name).unwrap();
    }
    for (row, [reference, tenure, start, rent]) in (3..).zip(&rows) {
        sheet.write(row, 0, reference).unwrap();
        sheet.write(row, 1, tenure).unwrap();
        let [day, month, year] = start.split('/').collect::<Vec<_>>()[..] else { panic!() };
        let day = rust_xlsxwriter::ExcelDateTime::from_ymd(
            year.parse().unwrap(),
            month.parse().unwrap(),
            day.parse().unwrap(),
        );
        sheet.write_with_format(row, 2, day.unwrap(), &date).unwrap();
        sheet.write(row, 3, rent.trim_start_matches('£').parse::<f64>().unwrap()).unwrap();
    }
    book.save(borough.path("book.xlsx")).unwrap();
    kept(&borough.check(), 200);

    borough.configure("path = \"people.db\"\nformat = \"sqlite\"\nquery = \"SELECT ref AS Ref, tenure AS Tenure, start AS Start, rent AS Rent FROM tenancy\"", "");
    let database = rusqlite::Connection::open(borough.path("people.db")).unwrap();
    database.execute_batch("CREATE TABLE tenancy (ref TEXT, tenure TEXT, start TEXT, rent REAL)").unwrap();
    for [reference, tenure, start, rent] in &rows {
        let rent: f64 = rent.trim_start_matches('£').parse().unwrap();
        database.execute("INSERT INTO tenancy VALUES (?1, ?2, ?3, ?4)", (reference, tenure, start, rent)).unwrap();
    }
    drop(database);
    kept(&borough.check(), 200);
    // A truncated database is refused.
    let bytes = fs::read(borough.path("people.db")).unwrap();
    fs::write(borough.path("people.db"), &bytes[..bytes.len() / 2]).unwrap();
    let said = borough.check();
    assert!(!said.content && said.text.contains("people.db"), "{}", said.text);

    // Parquet from an earlier step, with the types of a warehouse.
    use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
    let text = |column: usize| -> ArrayRef {
        std::sync::Arc::new(rows.iter().map(|row| Some(row[column].as_str())).collect::<StringArray>())
    };
    let days: Date32Array = rows
        .iter()
        .map(|row| {
            let date = chrono::NaiveDate::parse_from_str(&row[2], "%d/%m/%Y").unwrap();
            Some(i32::try_from((date - chrono::NaiveDate::default()).num_days()).unwrap())
        })
        .collect();
    let rents: Float64Array = rows.iter().map(|row| row[3].trim_start_matches('£').parse::<f64>().ok()).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("Ref", text(0)),
        ("Tenure", text(1)),
        ("Start", std::sync::Arc::new(days)),
        ("Rent", std::sync::Arc::new(rents)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    fs::write(borough.path("rows.parquet"), writer.into_inner().unwrap()).unwrap();
    borough.configure("path = \"rows.parquet\"\nformat = \"parquet\"", "");
    kept(&borough.check(), 200);
}

/// An archive with one part of this many zeros: a bomb with a thousandth of its unpacked size.
fn bomb(path: &Path, zeros: u64) {
    let mut archive = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(1)).large_file(true);
    archive.start_file("xl/worksheets/sheet1.xml", options).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), zeros), &mut archive).unwrap();
    archive.finish().unwrap();
}

#[test]
fn a_first_mapping_publishes_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["Aisha Khan", "Ben Carter", "Chi Okoro", "Dita Novak"];
    let mut text = "client_id,tenant name,mobile,email,ward,notes,dob,fee\n".to_owned();
    for n in 0..400 {
        let ward = match n % 100 {
            7 => "Oval West",
            _ if n % 2 == 0 => "Brixton",
            _ => "Streatham",
        };
        let (name, fee) = (names[n % 4], n % 30);
        writeln!(
            text,
            "{:05},{name},0770090{:04},a{}@x.example,{ward},Fled,0{}/02/1980,{fee}",
            n / 2 * 3,
            n % 7,
            n % 4,
            1 + n % 8
        )
        .unwrap();
    }
    text.push_str("Total,,,,,,,12000\n");
    fs::write(dir.path().join("clients.csv"), text).unwrap();
    let output = Command::new(BINARY)
        .args(["node", "init", "--borough", "E09000022", "clients.csv"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let contract = fs::read_to_string(dir.path().join("contracts/clients.toml")).unwrap();
    for private in ["Khan", "x.example", "0770", "Fled", "Oval West", "1980"] {
        assert!(!contract.contains(private), "{private}: {contract}");
    }
    assert!(contract.contains("\"Brixton\", \"Streatham\""), "{contract}");
    // Numbers that identify a person are not measures.
    let column = |name: &str| {
        contract.split("[[column]]").find(|c| c.contains(&format!("name = \"{name}\""))).unwrap().to_owned()
    };
    assert!(!column("client_id").contains("measure") && !column("mobile").contains("measure"), "{contract}");
    assert!(column("fee").contains("measure"), "{contract}");
    assert!(told.contains("'tenant name'") && told.contains("like totals of rows above"), "{told}");
}

enum End {
    /// This many rows are kept, and the report says so.
    Kept(usize),
    /// The last good snapshot stays.
    Refused,
}

#[test]
fn broken_extracts_are_named_and_the_last_good_snapshot_stays() {
    use End::{Kept, Refused};
    let good = csv(&rows(200));
    let lines: Vec<&str> = good.lines().collect();
    let with_line = |at: usize, line: &str| {
        let mut lines: Vec<&str> = good.lines().collect();
        lines[at] = line;
        lines.join("\n")
    };
    let cut = &good[..good.len() - 12];
    let quote = with_line(150, "T99999,\"Social,01/01/2020,£90.00");
    let shifted = with_line(7, "T99999,Social,rent arrears,01/01/2020,£90.00");
    let mut latin = good.clone().into_bytes();
    let at = good.find("T00007").unwrap();
    latin[at + 1] = 0xE9;
    let embedded = with_line(7, "\"T99\n99\",Social,01/01/2020,£90.00").replacen("T00150,", "T00150,x", 1);
    let nulls = (1..=5).fold(good.clone(), |text, n| text.replace(&format!("T0000{n},"), ","));
    let last = with_line(200, "T99999,Social,01/01/2020,to be agreed");
    let day = with_line(9, "T99999,Social,TBC,£90.00");
    let nul = with_line(3, "T9\u{0}999,Social,01/01/2020,£90.00");
    let code = good.replacen("Social", "Squat", 3);
    let (swallowed, windows) = {
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        lines[20] = "T90001,\"Social,01/01/2020,£90.00".to_owned();
        lines[60] = "T90002,end\",01/01/2020,£90.00".to_owned();
        (lines.join("\n"), with_line(199, "T99999,Social,01/01/2020,to be agreed").replace('\n', "\r\n"))
    };
    let comma = good.replace("£90.10", "\"90,10\"");
    let umlauts = {
        let mut bytes = good.replace("T0", "T\u{fc}").into_bytes();
        let at = bytes.iter().rposition(|byte| *byte == b'T').unwrap();
        bytes[at] = 0xFF;
        bytes
    };
    let endless = format!("Ref,Tenure,Start,Rent\n{}", "x".repeat(8 << 20));
    let fewer = lines[..60].join("\n");
    let cases: Vec<(&str, Vec<u8>, &str, End, &str)> = vec![
        ("cut off in a row", cut.into(), "", Kept(199), "line 201"),
        ("cut off in a quote", quote.into(), "", Refused, "line 151: a quote is opened and never closed"),
        (
            "another encoding than declared",
            latin,
            "encoding = \"utf-8\"",
            Kept(199),
            "bytes that are not of the encoding: broken.csv line 9",
        ),
        ("a delimiter within a value", shifted.into(), "", Kept(199), "has 5 of 4 fields"),
        ("a renamed column", good.replacen("Tenure", "Tenure Type", 1).into(), "", Refused, "Tenure"),
        (
            "newlines within quotes, a fault after them",
            embedded.into(),
            "",
            Kept(199),
            "tenure is not in the code list: broken.csv line 153",
        ),
        ("no unit", nulls.into(), "", Kept(195), "5 × ref is missing: broken.csv line 3"),
        ("the same key twice", with_line(9, lines[8]).into(), "", Refused, "1 rows repeat a tenancy"),
        ("another type in the last row", last.into(), "", Kept(199), "rent has another type: broken.csv line 201"),
        ("no date", day.into(), "", Kept(199), "began is missing: broken.csv line 10"),
        ("a NUL byte", nul.into(), "", Kept(199), "has a NUL byte: broken.csv line 4"),
        ("a quote that takes in rows", swallowed.into(), "", Kept(159), "holds 41 lines in one value"),
        ("Windows' line ends", windows.into(), "", Kept(199), "rent has another type: broken.csv line 200"),
        ("a decimal comma", comma.into(), "", Kept(199), "rent has another type"),
        (
            "one byte among letters of UTF-8",
            umlauts,
            "",
            Kept(199),
            "bytes that are not of the encoding: broken.csv line 201",
        ),
        ("unknown codes", code.into(), "", Kept(197), "'Squat' (3)"),
        ("a line without end", endless.into(), "", Refused, "longer than 1 MiB"),
        ("nothing at all", Vec::new(), "", Refused, "it has no header"),
        ("a header alone", lines[0].into(), "", Refused, "no row is kept"),
        ("far fewer rows", fewer.into(), "", Refused, "thresholds.shrink"),
        ("every row of another shape", good.replace("/20", "/x").into(), "", Refused, "rows are left out"),
        ("a picture under the name of a table", vec![0; 5000], "", Refused, "it is no text"),
    ];
    let borough = Borough::new("path = \"good.csv\"\nformat = \"csv\"");
    fs::write(borough.path("good.csv"), &good).unwrap();
    for (case, bytes, keys, end, told) in cases {
        // Each case starts with the good extract of the day before.
        borough.configure("path = \"good.csv\"\nformat = \"csv\"", "");
        assert!(borough.ingest().contains("200 of 200 rows kept"), "{case}");
        let before = borough.snapshots();
        fs::write(borough.path("broken.csv"), bytes).unwrap();
        borough.configure(&format!("path = \"broken.csv\"\nformat = \"csv\"\n{keys}"), "");
        let said = borough.check();
        assert!(said.text.contains(told), "{case}: {told}: {}", said.text);
        let log = borough.ingest();
        match end {
            Kept(rows) => {
                kept(&said, rows);
                assert!(log.contains(&format!("{rows} of ")) && borough.snapshots() != before, "{case}: {log}");
            }
            Refused => {
                assert!(!said.content && said.text.contains("refused"), "{case}: {}", said.text);
                assert!(log.contains("stays in use"), "{case}: {log}");
                assert_eq!(borough.snapshots(), before, "{case}");
            }
        }
    }

    // Several files, and files whose names do not match their content.
    let refused = |source: &str, told: &str| {
        borough.configure(source, "");
        let before = borough.snapshots();
        let said = borough.check();
        assert!(!said.content && said.text.contains(told), "{told}: {}", said.text);
        assert!(borough.ingest().contains("stays in use"), "{told}");
        assert_eq!(borough.snapshots(), before);
    };
    fs::create_dir(borough.path("months")).unwrap();
    fs::write(borough.path("months/01.csv"), lines[..100].join("\n")).unwrap();
    fs::write(borough.path("months/02.csv"), format!("Ref,Tenure,Start,Rent PCM\n{}", lines[100..].join("\n")))
        .unwrap();
    refused("path = \"months\"\nformat = \"csv\"", "02.csv: its header is not that of the first file");
    borough.configure("path = \"months/*.csv\"\nformat = \"csv\"\nrename = { \"Rent PCM\" = \"Rent\" }", "");
    kept(&borough.check(), 200);
    std::os::unix::fs::symlink(borough.path("months/01.csv"), borough.path("months/03.csv")).unwrap();
    refused("path = \"months\"\nformat = \"csv\"", "are one file");
    refused("path = \"gone.csv\"\nformat = \"csv\"", "no such file");
    fs::write(borough.path("book.xlsx"), &good).unwrap();
    refused("path = \"book.xlsx\"\nformat = \"xlsx\"", "it is no XLSX workbook");
    bomb(&borough.path("bomb.xlsx"), 3 << 29);
    refused("path = \"bomb.xlsx\"\nformat = \"xlsx\"", "it unpacks to more than 1024 MiB");
    // Ten gigabytes in one line, as a sparse file.
    let mut huge = fs::File::create(borough.path("huge.csv")).unwrap();
    huge.write_all(b"Ref,Tenure,Start,Rent\n").unwrap();
    huge.set_len(10 << 30).unwrap();
    let began = Instant::now();
    refused("path = \"huge.csv\"\nformat = \"csv\"", "it is no text");
    assert!(began.elapsed() < Duration::from_secs(20));
    fs::remove_file(borough.path("huge.csv")).unwrap();
    fs::write(
        borough.path("late.ndjson"),
        "{\"Ref\":\"T1\",\"Tenure\":\"Social\",\"Start\":\"01/01/2020\",\"Rent\":\"90\"}\n{\"Ref\":\n",
    )
    .unwrap();
    borough.configure("path = \"late.ndjson\"\nformat = \"ndjson\"", "");
    assert!(borough.check().text.contains("is no JSON"));
}

/// A PostgreSQL server for this test alone, from Debian's packages. `None`: it is not installed.
struct Postgres {
    dir: tempfile::TempDir,
    server: std::process::Child,
    port: u16,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The started program may be a wrapper that starts the server as another user. Ending the wrapper does not end
        // the server.
        let lock = fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap_or_default();
        let ended = lock.lines().next().map(|process| Command::new("kill").args(["-QUIT", process]).status());
        if !ended.is_some_and(|sent| sent.is_ok_and(|status| status.success())) {
            let _ended = self.server.kill();
        }
        let _ended = self.server.wait();
    }
}

impl Postgres {
    fn start() -> Option<Self> {
        let bin = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|v| Some(v.ok()?.path().join("bin"))).max()?;
        let dir = tempfile::tempdir().unwrap();
        let port = crate::support::free_ports();
        // The server refuses to run as root.
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let run = |program: &str| {
            let mut command = if root { Command::new("runuser") } else { Command::new(bin.join(program)) };
            if root {
                command.args(["-u", "postgres", "--"]).arg(bin.join(program));
            }
            command
        };
        if root {
            Command::new("chown").arg("postgres").arg(dir.path()).status().ok()?;
        }
        let data = dir.path().join("data");
        let made = run("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "reader", "-A", "trust", "-E", "UTF8", "--no-sync"])
            .output();
        if !made.is_ok_and(|made| made.status.success()) {
            return None;
        }
        let mut server = run("postgres");
        server.arg("-D").arg(&data).args(["-p", &port.to_string(), "-c", "fsync=off"]).arg("-k").arg(dir.path());
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self { dir, server, port })
    }

    fn connection(&self) -> String {
        format!("host={} port={} user=reader dbname=postgres", self.dir.path().display(), self.port)
    }

    fn sql(&self, sql: &str) {
        crate::support::run({
            let (connection, sql) = (self.connection(), sql.to_owned());
            async move {
                let began = Instant::now();
                let client = loop {
                    match tokio_postgres::connect(&connection, tokio_postgres::NoTls).await {
                        Ok((client, line)) => {
                            tokio::spawn(line);
                            break client;
                        }
                        Err(fault) => assert!(began.elapsed() < Duration::from_secs(20), "{fault}"),
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                };
                client.batch_execute(&sql).await.unwrap();
            }
        });
    }
}

#[test]
fn postgresql_is_read_in_one_snapshot_and_killed_in_mid_read_nothing_is_lost() {
    let Some(server) = Postgres::start() else {
        crate::support::skip::tool("PostgreSQL from Debian's packages is not installed here");
        return;
    };
    let mut insert = "CREATE TABLE tenancy (ref text, tenure text, start date, rent numeric);".to_owned();
    for [reference, tenure, start, rent] in rows(200) {
        let date = chrono::NaiveDate::parse_from_str(&start, "%d/%m/%Y").unwrap();
        write!(
            insert,
            "INSERT INTO tenancy VALUES ('{reference}', '{tenure}', '{date}', {});",
            rent.trim_start_matches('£')
        )
        .unwrap();
    }
    server.sql(&insert);
    let source = |query: &str, keys: &str| {
        format!("format = \"postgres\"\nconnection = \"{}\"\nquery = \"{query}\"\n{keys}", server.connection())
    };
    let query = r#"SELECT ref AS \"Ref\", tenure AS \"Tenure\", start AS \"Start\", rent AS \"Rent\" FROM tenancy"#;
    let borough = Borough::new(&source(query, ""));
    kept(&borough.check(), 200);
    assert!(borough.ingest().contains("snapshot 1, 200 of 200 rows kept"));
    let before = borough.snapshots();
    let refused = |source: &str, told: &str| {
        borough.configure(source, "");
        let said = borough.check();
        assert!(!said.content && said.text.contains(told), "{told}: {}", said.text);
        assert!(borough.ingest().contains("stays in use"), "{told}");
        assert_eq!(borough.snapshots(), before);
    };
    // The connection only reads, and only for a limited time. A password in the file, or another host without TLS, is
    // refused.
    refused(&source("DELETE FROM tenancy RETURNING 1", ""), "refused");
    refused(&source(&format!("{query}, pg_sleep(30)"), "timeout_seconds = 1"), "statement timeout");
    let other = source(query, "").replace("host=", "password=open host=");
    refused(&other, "a password stands in it");
    refused(
        &source(query, "").replace(&server.dir.path().display().to_string(), "db.example"),
        "the database is on another host",
    );
    // The address that is connected to decides, not the name beside it.
    let folder = format!("host={}", server.dir.path().display());
    refused(
        &source(query, "").replace(&folder, "host=localhost hostaddr=192.0.2.1"),
        "the database is on another host",
    );
    refused(&source(query, "").replace(&folder, "hostaddr=192.0.2.1"), "the database is on another host");
    // A value larger than any record is refused.
    let large = format!("{query} UNION ALL SELECT repeat('x', 300000000), 'Social', DATE '2020-01-01', 90");
    borough.configure(&source(&large, ""), "");
    let log = borough.ingest();
    assert!(log.contains("longer than 1 MiB") && log.contains("stays in use"), "{log}");
    assert_eq!(borough.snapshots(), before);
    // Bytes outside the encoding end the reading. They do not become missing values.
    server.sql("CREATE DATABASE latin TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    let latin = r#"SELECT 'T' || n AS \"Ref\", CASE WHEN n = 7 THEN convert_from('\\xe9'::bytea, 'SQL_ASCII') ELSE 'Social' END AS \"Tenure\", DATE '2020-01-01' AS \"Start\", 90 AS \"Rent\" FROM generate_series(1, 20) n"#;
    refused(&source(latin, "").replace("dbname=postgres", "dbname=latin"), "invalid byte sequence");
    // The reader is killed while the server sends enough rows, slowly enough.
    server.sql("CREATE FUNCTION slow(n int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN IF n % 1000 = 0 THEN PERFORM pg_sleep(0.05); END IF; RETURN 'T' || n; END $$");
    let slow = r#"SELECT slow(n) AS \"Ref\", 'Social' AS \"Tenure\", DATE '2020-01-01' AS \"Start\", 90 AS \"Rent\" FROM generate_series(1, 1000000) n"#;
    borough.configure(&source(slow, ""), "");
    let reading =
        borough.command(&["node", "--ingest-only", "--config", "node.toml"]).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    drop(server);
    let log = String::from_utf8_lossy(&reading.wait_with_output().unwrap().stderr).into_owned();
    assert!(log.contains("stays in use") && log.contains("PostgreSQL"), "{log}");
    assert_eq!(borough.snapshots(), before);
}
