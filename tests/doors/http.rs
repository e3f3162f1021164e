//! The HTTP API with curl.

use std::io::Cursor;
use std::process::Command;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use loda_identity::Role;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use crate::support::doors::{DOORS, analyst, has, works};

const PEOPLE: &str = "SELECT borough, tenure, COUNT(DISTINCT person_key) AS people FROM residents GROUP BY borough, tenure \
                      ORDER BY borough, tenure";

#[test]
fn a_question_is_asked_watched_and_fetched_in_every_format() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(analyst(), &[]);
    let me = DOORS.with(&token, &["/v1/me"]).json();
    assert_eq!((&me["role"], &me["by"]), (&json!("analyst"), &json!("token")), "{me}");
    assert_eq!(me["scopes"], json!(["read", "ask"]));
    let place = DOORS.ask(&token, PEOPLE, "demo");
    let result = |format: &str| DOORS.with(&token, &[&format!("{place}/result?format={format}")]);
    let page = DOORS.with(&token, &[&format!("{place}/result")]);
    let rows = page.json()["rows"].as_array().unwrap().len();
    assert!(rows >= 12 && page.json()["statement"]["complete"] == true, "{}", page.text());
    assert_eq!(page.header("content-type").unwrap(), "application/json");
    // The command line prints the same bytes for the same question.
    let printed = DOORS.loda(analyst(), &["query", "-p", "demo", "--format", "csv", PEOPLE]);
    let csv = result("csv");
    assert_eq!(csv.text(), String::from_utf8(printed.stdout).unwrap());
    assert!(csv.header("content-disposition").unwrap().ends_with(".csv\""));
    let counted = |column: &dyn arrow::array::Array| column.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
    let batches = ParquetRecordBatchReaderBuilder::try_new(prost::bytes::Bytes::from(result("parquet").body)).unwrap();
    let batches: Vec<_> = batches.build().unwrap().map(Result::unwrap).collect();
    let parquet: i64 = batches.iter().map(|batch| counted(&batch["people"])).sum();
    let stream = arrow::ipc::reader::StreamReader::try_new(Cursor::new(result("arrow").body), None).unwrap();
    assert!(stream.schema().metadata()["loda.statement"].contains("\"complete\":true"));
    let arrow: i64 = stream.map(|batch| counted(&batch.unwrap()["people"])).sum();
    assert!(parquet == arrow && arrow > 1_000, "{parquet} {arrow}");
    let book = result("xlsx").body;
    assert!(book.starts_with(b"PK"));
    // A header selects the format as well as a parameter does. An answer that the client already has is not sent again.
    let accepted = DOORS.with(&token, &["-H", "Accept: text/csv", &format!("{place}/result")]);
    assert_eq!(accepted.text(), csv.text());
    let tag = format!("If-None-Match: {}", accepted.header("etag").unwrap());
    let again = DOORS.with(&token, &["-H", &tag, "-H", "Accept: text/csv", &format!("{place}/result")]);
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(DOORS.with(&token, &["-H", "Accept: image/png", &format!("{place}/result")]).status, 406);
    // All pages together are the whole answer.
    let (mut next, mut paged) = (Some(format!("{place}/result?limit=5")), Vec::new());
    while let Some(at) = next {
        let page = DOORS.with(&token, &[&at]);
        paged.extend(page.json()["rows"].as_array().unwrap().clone());
        next = page.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
    }
    assert_eq!(&paged, DOORS.with(&token, &[&format!("{place}/result")]).json()["rows"].as_array().unwrap());
    let listed = DOORS.with(&token, &["/v1/questions?limit=100"]).json();
    assert!(listed["questions"].as_array().unwrap().iter().any(|q| place.ends_with(q["id"].as_str().unwrap())));
    // An ended question stays ended.
    let cancelled = DOORS.with(&token, &["-X", "POST", &format!("{place}/cancel")]).json();
    assert_eq!(cancelled["state"], "answered");
    works("curl", &["token; questions, progress, pages; JSON, CSV, Parquet, Arrow, XLSX; entity tags"]);
    if has("soffice") {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("answer.xlsx"), book).unwrap();
        let opened = Command::new("soffice")
            .args(["--headless", "--convert-to", "csv", "answer.xlsx"])
            .env("HOME", dir.path())
            .current_dir(dir.path())
            .output()
            .unwrap();
        let text = std::fs::read_to_string(dir.path().join("answer.csv"));
        let text = text.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&opened.stderr)));
        assert_eq!(text.replace("\"", ""), csv.text().replace("\"", ""), "LibreOffice reads the same figures");
        works("LibreOffice", &["opens the workbook; its figures are those of the CSV"]);
    }
}

#[test]
fn what_cannot_be_asked_says_why_and_what_could() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(analyst(), &[]);
    let post = |body: &str, path: &str| DOORS.with(&token, &["--json", body, path]);
    let refused = post(r#"{"sql": "SELECT * FROM residents", "purpose": "demo"}"#, "/v1/questions");
    assert_eq!(refused.status, 422);
    assert_eq!(refused.header("content-type").unwrap(), "application/problem+json");
    let problem = refused.json();
    assert!(problem["code"] == "rows-stay-home" && !problem["advice"].as_str().unwrap().is_empty(), "{problem}");
    // Boroughs refuse in the explanation, and in the answer's statement.
    let sql = "SELECT borough, COUNT(DISTINCT person_key) AS n FROM residents GROUP BY borough";
    let body = json!({"sql": sql, "purpose": "advertising", "ask_boroughs": true}).to_string();
    let explained = post(&body, "/v1/explain").json();
    let verdict = &explained["fragments"][0]["verdicts"][0];
    assert!(verdict["answer"] == "no" && verdict["rule"] == "agreement", "{explained}");
    for (body, status) in [
        ("{", 400),
        ("[]", 400),
        (r#"{"sql": 1}"#, 400),
        (r#"{"sql": ""}"#, 400),
        (r#"{"sql": "SELECT 1", "purpos": "x"}"#, 400),
        (r#"{"sql": "SELECT 1", "deadline_ms": 0}"#, 400),
        (r#"{"sql": "SELECT FROM WHERE"}"#, 422),
    ] {
        let said = post(body, "/v1/questions");
        assert_eq!((said.status, said.json()["status"].as_u64()), (status, Some(u64::from(status))), "{body}");
    }
    assert_eq!(DOORS.with(&token, &["-d", "{}", "/v1/questions"]).status, 415);
    assert_eq!(DOORS.with(&token, &["-X", "PATCH", "/v1/questions"]).status, 405);
    for nothing in
        ["/", "/v1", "/v1/question", "/v1/questions/1", "/v1/questions/%00", "/v2/me", "//v1/me", "/v1/../v1/me"]
    {
        assert_eq!(DOORS.with(&token, &[nothing]).status, 404, "{nothing}");
    }
    for beyond in ["limit=0", "limit=101", "offset=-1", "limit=x", "offset=99999999999"] {
        assert_eq!(DOORS.with(&token, &[&format!("/v1/questions?{beyond}")]).status, 400, "{beyond}");
    }
}

#[test]
fn tokens_do_what_they_were_made_for_and_no_more() {
    if !has("curl") {
        return;
    }
    let sql = r#"{"sql": "SELECT COUNT(DISTINCT (borough, person_key)) AS n FROM residents"}"#;
    let ask = |token: &str, body: &str| DOORS.with(token, &["--json", body, "/v1/questions"]).status;
    let reads = DOORS.token(analyst(), &["--scope", "read"]);
    assert_eq!((DOORS.with(&reads, &["/v1/catalogue"]).status, ask(&reads, sql)), (200, 403));
    let bound = DOORS.token(analyst(), &["--purpose", "demo"]);
    assert_eq!(ask(&bound, sql), 201);
    assert_eq!(ask(&bound, &sql.replace('}', r#", "purpose": "food-safety"}"#)), 403);
    // A question with another purpose does not exist for this token.
    let free = DOORS.token(analyst(), &[]);
    let food = DOORS.ask(&free, "SELECT COUNT(DISTINCT (borough, person_key)) AS n FROM residents", "food-safety");
    for place in [food.clone(), format!("{food}/result")] {
        assert_eq!((DOORS.with(&free, &[&place]).status, DOORS.with(&bound, &[&place]).status), (200, 404));
    }
    let purposes = |token: &str| {
        let listed = DOORS.with(token, &["/v1/questions?limit=100"]).json();
        let of = |question: &serde_json::Value| question["purpose"].as_str().unwrap().to_owned();
        listed["questions"].as_array().unwrap().iter().map(of).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(purposes(&bound).into_iter().collect::<Vec<_>>(), ["demo"]);
    assert!(purposes(&free).contains("food-safety"));
    // A token cannot make tokens. A certificate can, over both doors.
    let wanted = r#"{"name": "another", "days": 1}"#;
    assert_eq!(DOORS.with(&bound, &["--json", wanted, "/v1/tokens"]).status, 403);
    let (certificate, key) = DOORS.certificate(analyst());
    let shown = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let made = DOORS.curl(&[&shown[..], &["--json", wanted, "/v1/tokens"]].concat());
    assert_eq!(made.status, 201, "{}", made.text());
    let (made, id) =
        (made.json()["token"].as_str().unwrap().to_owned(), made.json()["id"].as_str().unwrap().to_owned());
    assert_eq!(DOORS.with(&made, &["/v1/me"]).status, 200);
    // Only a hash of it is on disk.
    let kept = std::fs::read_to_string(DOORS.layout.coordinator().join("state/tokens.json")).unwrap();
    assert!(kept.contains(&id) && !kept.contains(made.rsplit('_').next().unwrap()));
    for (body, status) in [
        (r#"{"name": "", "days": 1}"#, 400),
        (r#"{"name": "x", "days": 0}"#, 400),
        (r#"{"name": "x", "days": 367}"#, 400),
        (r#"{"name": "x", "days": 1, "scopes": ["audit"]}"#, 400),
    ] {
        assert_eq!(DOORS.curl(&[&shown[..], &["--json", body, "/v1/tokens"]].concat()).status, status, "{body}");
    }
    // It ends at once, and the log says who made it and who ended it.
    let list = String::from_utf8(DOORS.loda(analyst(), &["token", "list"]).stdout).unwrap();
    assert!(list.contains(&id), "{list}");
    assert!(DOORS.loda(analyst(), &["token", "revoke", &id]).status.success());
    assert_eq!(DOORS.with(&made, &["/v1/me"]).status, 401);
    assert!(!DOORS.loda(Role::Analyst("other".to_owned()), &["token", "revoke", &id]).status.success());
    let log = std::fs::read_to_string(DOORS.layout.coordinator().join("state/log.jsonl")).unwrap();
    assert!(log.contains(&format!("token {id} made: read ask until")) && log.contains(&format!("token {id} revoked")));
    assert!(!log.contains(&made));
    works("curl", &["client certificate; tokens made, listed, revoked"]);
}

#[test]
fn an_auditor_finds_what_was_asked_and_can_check_it() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(analyst(), &[]);
    let place = DOORS.ask(&token, "SELECT COUNT(DISTINCT (borough, person_key)) AS n FROM residents", "demo");
    let id = place.rsplit('/').next().unwrap();
    assert_eq!(DOORS.with(&token, &["/v1/log"]).status, 403);
    let auditor = DOORS.token(Role::Auditor("watch".to_owned()), &[]);
    assert_eq!(DOORS.with(&auditor, &["/v1/questions"]).status, 403);
    let found = DOORS.with(&auditor, &[&format!("/v1/log?query={id}&dataset=residents&purpose=demo")]).json();
    let entries = found["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "{found}");
    for (entry, kind) in entries.iter().zip(["INTENT", "OUTCOME"]) {
        let (body, signature) = (entry["entry"].as_str().unwrap(), entry["signature"].as_str().unwrap());
        assert!(body.contains(kind) && body.contains("analyst/demo"), "{body}");
        let signature = hex::decode(signature).unwrap();
        assert!(loda_identity::verify(found["key"].as_str().unwrap(), body.as_bytes(), &signature));
    }
    let today = chrono::Utc::now().date_naive();
    let none = DOORS.with(&auditor, &[&format!("/v1/log?query={id}&to={}", today.pred_opt().unwrap())]).json();
    assert_eq!(none["entries"], json!([]));
    let (mut start, mut seen) = (Some(0), 0);
    while let Some(at) = start {
        let page = DOORS.with(&auditor, &[&format!("/v1/log?limit=3&start={at}")]).json();
        seen += page["entries"].as_array().unwrap().len();
        start = page["next"].as_u64();
    }
    assert!(seen >= 3);
    for bad in ["from=yesterday", "limit=0", "start=-1"] {
        assert_eq!(DOORS.with(&auditor, &[&format!("/v1/log?{bad}")]).status, 400, "{bad}");
    }
    works("curl", &["an auditor's search of the log, and its signatures"]);
}

#[test]
fn purposes_are_listed_and_a_question_without_one_is_refused_with_the_list() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(analyst(), &[]);
    // The coordinator asks the nodes for their agreements every few seconds.
    let began = std::time::Instant::now();
    let purposes = loop {
        let told = DOORS.with(&token, &["/v1/purposes"]).json();
        match told["purposes"].as_array() {
            Some(all) if !all.is_empty() => break told,
            _ => assert!(began.elapsed().as_secs() < 30, "{told}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
    };
    let named: Vec<&str> =
        purposes["purposes"].as_array().unwrap().iter().filter_map(|p| p["purpose"].as_str()).collect();
    assert!(named.contains(&"demo"), "{purposes}");
    let residents =
        purposes["purposes"][0]["datasets"].as_array().unwrap().iter().find(|d| d["dataset"] == "residents");
    assert!(!residents.unwrap()["boroughs"].as_array().unwrap().is_empty(), "{purposes}");
    let body = json!({"sql": PEOPLE}).to_string();
    let refused =
        DOORS.with(&token, &["-X", "POST", "-H", "Content-Type: application/json", "-d", &body, "/v1/questions"]);
    assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("agreement")), "{}", refused.text());
    assert!(refused.json()["advice"].as_str().unwrap().contains("demo"), "{}", refused.text());
    // A token that is bound to one purpose sees this one alone, and needs not state it.
    let bound = DOORS.token(analyst(), &["--purpose", "demo"]);
    assert_eq!(DOORS.with(&bound, &["/v1/purposes"]).json()["purposes"].as_array().unwrap().len(), 1);
    let printed = DOORS.loda(analyst(), &["purposes"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("demo") && printed.contains("residents"), "{printed}");
    let said = DOORS.loda(analyst(), &["query", PEOPLE]);
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("states no purpose") && said.contains("State one with --purpose"), "{said}");
}

#[test]
fn answers_are_compressed_and_pages_of_named_origins_alone_are_let_in() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(analyst(), &[]);
    let plain = DOORS.with(&token, &["/v1/catalogue"]);
    assert!(plain.header("content-encoding").is_none() && plain.body.len() > 2_000, "{}", plain.head);
    for (kind, magic) in [("gzip", &[0x1f, 0x8b][..]), ("zstd", &[0x28, 0xb5, 0x2f, 0xfd])] {
        let packed = DOORS.with(&token, &["-H", &format!("Accept-Encoding: {kind}"), "/v1/catalogue"]);
        assert_eq!(packed.header("content-encoding").as_deref(), Some(kind), "{}", packed.head);
        assert!(packed.body.starts_with(magic) && packed.body.len() * 2 < plain.body.len(), "{kind}");
    }
    let unpacked = DOORS.with(&token, &["--compressed", "-H", "Accept-Encoding: gzip", "/v1/catalogue"]);
    assert_eq!(unpacked.text(), plain.text());
    // A token's secret is never compressed together with what its owner wrote.
    let (certificate, key) = DOORS.certificate(analyst());
    let body = json!({"name": "a".repeat(100), "scopes": ["read"], "purposes": [], "days": 1}).to_string();
    let shown =
        ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap(), "-H", "Accept-Encoding: gzip"];
    let made = ["-X", "POST", "-H", "Content-Type: application/json", "-d", body.as_str(), "/v1/tokens"];
    let made = DOORS.curl(&[&shown[..], &made[..]].concat());
    assert_eq!((made.status, made.header("content-encoding")), (201, None), "{}", made.head);
    // A browser asks first, without credentials.
    let asks = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let headers = ["-H", &origin, "-H", "Access-Control-Request-Method: POST", "-H"];
        let more = ["Access-Control-Request-Headers: authorization,content-type", "/v1/questions"];
        DOORS.curl(&[&["-X", "OPTIONS"], &headers[..], &more[..]].concat())
    };
    let named = asks("https://dashboards.example");
    assert_eq!(
        named.header("access-control-allow-origin").as_deref(),
        Some("https://dashboards.example"),
        "{}",
        named.head
    );
    assert!(named.header("access-control-allow-credentials").is_none(), "{}", named.head);
    for other in ["https://evil.example", "null", "https://dashboards.example.evil.example"] {
        assert!(asks(other).header("access-control-allow-origin").is_none(), "{other}");
    }
}
