//! Intruders at the doors, and askers who try to reach what belongs to others.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use loda_identity::Role;

use super::sentinel::{unpacked, visits};
use crate::support::doors::{DOORS, Doors, analyst, has, resident_mib};

#[test]
fn nobody_comes_in_with_nothing_or_with_what_is_not_his() {
    if !has("curl") {
        return;
    }
    let good = DOORS.token(analyst(), &[]);
    let status = |header: &str| {
        let said = DOORS.curl(&["-H", header, "/v1/me"]);
        assert!(said.status == 200 || said.header("www-authenticate").is_some(), "{header}");
        said.status
    };
    assert_eq!(DOORS.curl(&["/v1/me"]).status, 401);
    assert_eq!(status(&format!("Authorization: bearer {good}")), 200);
    let basic = |text: &str| {
        let encoded = STANDARD_NO_PAD.encode(text);
        format!("Authorization: Basic {encoded}")
    };
    assert_eq!(status(&basic(&format!("anybody:{good}"))), 200);
    let (id, secret) = good.strip_prefix("loda_").unwrap().split_once('_').unwrap();
    let other = DOORS.token(Role::Analyst("other".to_owned()), &[]);
    let of_other = other.rsplit('_').next().unwrap();
    for wrong in [
        "Authorization: Bearer".to_owned(),
        "Authorization: Bearer ".to_owned(),
        format!("Authorization: Digest {good}"),
        format!("Authorization: Bearer {good} {good}"),
        format!("Authorization: Bearer loda_{id}_"),
        format!("Authorization: Bearer loda_{id}_{of_other}"),
        format!("Authorization: Bearer loda__{secret}"),
        format!("Authorization: Bearer {}", "a".repeat(9_000)),
        basic("anybody:"),
        basic("no colon"),
        "Authorization: Basic ====".to_owned(),
    ] {
        assert_eq!(status(&wrong), 401, "{wrong}");
    }
    // Two tokens in one request are refused, and a good certificate does not repair a bad token.
    let twice = [format!("Authorization: Bearer {good}"), format!("Authorization: Bearer {other}")];
    assert_eq!(DOORS.curl(&["-H", &twice[0], "-H", &twice[1], "/v1/me"]).status, 401);
    let (certificate, key) = DOORS.certificate(analyst());
    let shown = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    assert_eq!(DOORS.curl(&[&shown[..], &["/v1/me"]].concat()).status, 200);
    let both = |token: &str| {
        let header = format!("Authorization: Bearer {token}");
        DOORS.curl(&[&shown[..], &["-H", &header, "/v1/me"]].concat()).status
    };
    assert_eq!((both(&good), both(&other), both("loda_0_0")), (200, 401, 401));
    // A node's certificate opens no door. Neither does a certificate of another authority.
    let node = DOORS.layout.node("E09000001");
    let of_node = ["--cert", node.join("tls.pem").to_str().unwrap(), "--key", node.join("tls.key").to_str().unwrap()]
        .map(str::to_owned);
    let of_node: Vec<&str> = of_node.iter().map(String::as_str).collect();
    assert_eq!(DOORS.curl(&[&of_node[..], &["/v1/me"]].concat()).status, 403);
}

#[test]
fn few_words_cannot_cost_much() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(Role::Analyst("greedy".to_owned()), &[]);
    let post = |sql: &str, path: &str| {
        let body = serde_json::json!({"sql": sql, "purpose": "demo"}).to_string();
        DOORS.with(&token, &["--json", &body, path])
    };
    let nested = |begin: &str, end: &str| format!("SELECT {}1 1{}", begin.repeat(40), end.repeat(40));
    let doubled = (0..7).fold("SELECT 'x' AS x".to_owned(), |sql, _| {
        format!("SELECT {} AS x FROM ({sql}) t", vec!["x"; 16].join(" || "))
    });
    let began = Instant::now();
    for sql in [
        &nested("CEIL(", ")"),
        &nested("POSITION(", " IN 'a')"),
        &nested("(CASE WHEN NOT CAST(", " AS INT) THEN 1 END)"),
        &doubled,
        &format!("SELECT concat({})", vec!["'x'"; 100].join(", ")),
    ] {
        for path in ["/v1/questions", "/v1/explain"] {
            let said = post(sql, path);
            assert_eq!((said.status, &said.json()["code"]), (422, &serde_json::json!("sql")), "{sql:.60}");
        }
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // 400⁴ rows: it ends when the result is too large, before all memory is used.
    let rows = vec!["(1)"; 400].join(", ");
    let began = Instant::now();
    let sql = format!("WITH v(x) AS (VALUES {rows}) SELECT a.x, b.x, c.x, d.x FROM v a, v b, v c, v d");
    let said = post(&sql, "/v1/questions");
    if said.status == 201 {
        let state = DOORS.with(&token, &[&format!("{}?wait=30", said.header("location").unwrap())]).json();
        assert_eq!(state["state"], "not_answered", "{state}");
    } else {
        assert_eq!(said.status, 422, "{}", said.text());
    }
    let held = resident_mib(DOORS.processes.coordinator_id().unwrap());
    println!(
        "a large result: {} after {:.1} s, the coordinator holds {held} MiB",
        said.status,
        began.elapsed().as_secs_f64()
    );
    assert!(began.elapsed() < Duration::from_secs(25) && held < 1_000);
}

#[test]
fn ones_questions_are_ones_own() {
    if !has("curl") {
        return;
    }
    let (mine, other) = (DOORS.token(analyst(), &[]), DOORS.token(Role::Analyst("other".to_owned()), &[]));
    let place = DOORS.ask(&mine, "SELECT COUNT(DISTINCT (borough, person_key)) AS n FROM residents", "demo");
    let (result, cancel) = (format!("{place}/result"), format!("{place}/cancel"));
    let nothing = DOORS.with(&other, &["/v1/questions/00000000-0000-4000-8000-000000000000"]);
    for theft in [&["-X", "GET", place.as_str()][..], &["-X", "POST", &cancel], &["-X", "GET", &result]] {
        // The answer does not show whether an object belongs to someone else or does not exist.
        let said = DOORS.with(&other, theft);
        assert_eq!((said.status, said.body), (404, nothing.body.clone()), "{theft:?}");
        assert_ne!(DOORS.with(&mine, theft).status, 404, "{theft:?}");
    }
    let own = DOORS.with(&other, &["/v1/questions?limit=100"]).text();
    assert!(!own.contains(place.rsplit('/').next().unwrap()), "{own}");
}

#[test]
fn heads_bodies_and_connections_have_their_limits() {
    if !has("curl") {
        return;
    }
    let token = DOORS.token(analyst(), &[]);
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.json");
    std::fs::write(&large, format!("{{\"sql\": \"{}\"}}", "x".repeat(400 << 10))).unwrap();
    let at = format!("@{}", large.display());
    for version in ["--http1.1", "--http2"] {
        let said = DOORS.with(&token, &[version, "--json", &at, "/v1/questions"]);
        // HTTP/2 may end the stream before the client has read the reason.
        assert!([413, 0].contains(&said.status), "{version}: {}", said.text());
        // The same without a length.
        let chunked = ["-H", "Transfer-Encoding: chunked", version, "--json", &at, "/v1/questions"];
        let said = DOORS.with(&token, &chunked);
        assert!([413, 400, 0].contains(&said.status), "{version}: {}", said.status);
        let header = format!("X-Long: {}", "x".repeat(60_000));
        let said = DOORS.with(&token, &[version, "-H", &header, "/v1/me"]);
        assert!([400, 431, 0].contains(&said.status), "{version}: {}", said.status);
        assert_eq!(DOORS.with(&token, &[version, "/v1/me"]).status, 200);
    }
    // No page of another site may use a browser's sign-in.
    let said = DOORS.with(&token, &["-H", "Origin: https://evil.example", "/v1/me"]);
    assert!(said.header("access-control-allow-origin").is_none());
    let asked = DOORS.curl(&["-X", "OPTIONS", "-H", "Origin: https://evil.example", "/v1/me"]);
    assert!(asked.header("access-control-allow-origin").is_none() && asked.body.is_empty(), "{}", asked.head);
}

#[test]
fn a_thousand_that_say_nothing_hold_up_nobody() {
    if !has("curl") {
        return;
    }
    // A separate coordinator, because this would keep other clients of this address out.
    let doors = Doors::start(1, "");
    let token = doors.token(analyst(), &[]);
    let (certificate, key) = doors.certificate(analyst());
    let shown = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let idle: Vec<TcpStream> = (0..1_000).filter_map(|_| TcpStream::connect(&doors.address).ok()).collect();
    assert!(idle.len() > 900, "{}", idle.len());
    // Only a limited number of connections from one address are kept, and each only as long as a handshake may take.
    let began = Instant::now();
    while doors.with(&token, &["/v1/me"]).status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody gets in");
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("1,000 silent connections: the next call came through after {} ms", began.elapsed().as_millis());
    assert_eq!(doors.curl(&[&shown[..], &["/v1/me"]].concat()).status, 200);
    let closed = idle.into_iter().filter_map(|mut line| {
        line.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        line.write_all(b"").ok()?;
        line.read(&mut [0]).ok().filter(|read| *read == 0)
    });
    assert!(closed.count() > 900);
}

#[test]
fn what_stands_in_data_is_never_a_formula() {
    if !has("curl") {
        return;
    }
    let places =
        ["=1+1", "+SUM(A1:A9)", "-2+3", "@SUM(1)", "=HYPERLINK(\"http://evil.example\")", "\u{ff1d}1+1", "Pool"];
    let quoted = |place: &str| format!("\"{}\"", place.replace('"', "\"\""));
    let row = |n: usize| format!("P{n:04},{},5\n", quoted(places[n % places.len()]));
    let trial = visits(&(0..420).map(row).collect::<String>());
    let sql = "SELECT place, COUNT(DISTINCT person_key) AS n FROM visits GROUP BY place ORDER BY place";
    let at = trial.door.ask(&trial.token, sql, "trial");
    let result = |format: &str| trial.door.with(&trial.token, &[&format!("{at}/result?format={format}")]);
    let csv = result("csv").text();
    let first: Vec<&str> = csv.lines().skip(1).map(|line| line.trim_start_matches('"')).collect();
    assert_eq!(first.len(), places.len(), "{csv}");
    assert!(!first.iter().any(|cell| cell.starts_with(['=', '+', '-', '@', '\u{ff1d}'])), "{csv}");
    assert_eq!(first.iter().filter(|cell| cell.starts_with('\'')).count(), places.len() - 1, "{csv}");
    // The workbook has them unchanged, as text: nothing in it is computed.
    let parts = unpacked(&result("xlsx").body);
    assert!(String::from_utf8_lossy(&parts).contains("=1+1"));
    if has("soffice") {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("answer.xlsx"), result("xlsx").body).unwrap();
        let mut soffice = Command::new("soffice");
        // UTF-8.
        let csv = "csv:Text - txt - csv (StarCalc):44,34,76";
        soffice.args(["--headless", "--convert-to", csv, "answer.xlsx"]).env("HOME", dir.path());
        assert!(soffice.current_dir(dir.path()).output().unwrap().status.success());
        let opened = std::fs::read_to_string(dir.path().join("answer.csv")).unwrap();
        assert!(places.iter().all(|place| opened.contains(&place.replace('"', "\"\""))), "{opened}");
    }
}
