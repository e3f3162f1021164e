//! Early ends: questions that are cancelled while boroughs work on them, and tokens.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loda_identity::{Authority, Role};
use serde_json::Value;

use super::sentinel::visits;
use crate::support::doors::{ADBC, Doors, has, python, works};
use crate::support::folder::Trial;
use crate::support::{Running, signal};

const PEOPLE: &str = "SELECT place, COUNT(DISTINCT person_key) AS n FROM visits GROUP BY place";

fn trial() -> Trial {
    let row = |n: usize| format!("P{n:04},{},{}\n", ["Library", "Pool"][n % 2], n % 500);
    visits(&(0..400).map(row).collect::<String>())
}

/// Prints the result in ADBC of a statement that is cancelled after a while (`LODA_AFTER`, in seconds; 0: never).
const CANCEL: &str = r#"
import os, threading, time
import adbc_driver_flightsql.dbapi as flight
after = float(os.environ["LODA_AFTER"])
options = {
    "adbc.flight.sql.client_option.tls_root_certs": open(os.environ["LODA_CA"]).read(),
    "adbc.flight.sql.authorization_header": "Bearer " + os.environ["LODA_TOKEN"],
    "adbc.flight.sql.rpc.call_header.loda-purpose": "trial",
}
connection = flight.connect("grpc+tls://" + os.environ["LODA_ADDRESS"], db_kwargs=options, autocommit=True)
cursor = connection.cursor()
if after:
    threading.Timer(after, cursor.adbc_cancel).start()
began = time.monotonic()
try:
    cursor.execute(os.environ["LODA_SQL"])
    print("answered", cursor.fetch_arrow_table().num_rows)
except flight.Error as fault:
    print(f"ended after {time.monotonic() - began:.1f} s: {fault}")
os._exit(0)
"#;

fn adbc(trial: &Trial, after: &str) -> Option<String> {
    let script = trial.folder.path("cancel.py");
    fs::write(&script, CANCEL).unwrap();
    let mut command = Command::new(python()?);
    command.arg(script).env("LODA_ADDRESS", &trial.door.address).env("LODA_CA", &trial.door.authority);
    let output = command.env("LODA_TOKEN", &trial.token).env("LODA_SQL", PEOPLE).env("LODA_AFTER", after).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn log(trial: &Trial) -> String {
    fs::read_to_string(trial.folder.path("coordinator/state/log.jsonl")).unwrap()
}

#[test]
fn a_question_is_cancelled_while_a_borough_works_on_it() {
    if !has("curl") {
        return;
    }
    let trial = trial();
    let (door, token) = (&trial.door, trial.token.as_str());
    signal(trial.node.0.id(), "-STOP");
    let body = serde_json::json!({"sql": PEOPLE, "purpose": "trial"}).to_string();
    let place = door.with(token, &["--json", &body, "/v1/questions"]).header("location").unwrap();
    let state = door.with(token, &[&format!("{place}?wait=1")]).json();
    assert_eq!(state["state"], "running", "{state}");
    assert_eq!(door.with(token, &[&format!("{place}/result")]).json()["code"], "not_ready");
    let began = Instant::now();
    let cancelled = door.with(token, &["-X", "POST", &format!("{place}/cancel")]).json();
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    assert_eq!(door.with(token, &[&format!("{place}/result")]).json()["code"], "not_answered");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    if let Some(said) = adbc(&trial, "1.5") {
        assert!(said.starts_with("ended after 1.") || said.starts_with("ended after 2."), "{said}");
        // No client waits for it any more, so it ends here, too.
        let began = Instant::now();
        while !log(&trial).contains("abandoned") {
            assert!(began.elapsed() < Duration::from_secs(20), "{}", log(&trial));
            std::thread::sleep(Duration::from_millis(100));
        }
        works(ADBC, &["cancelling while boroughs work"]);
    }
    signal(trial.node.0.id(), "-CONT");
    // Nothing remains to block the next question.
    door.ask(token, PEOPLE, "trial");
    if let Some(said) = adbc(&trial, "0") {
        assert_eq!(said.trim(), "answered 2");
    }
}

#[test]
fn a_token_ends_on_its_day() {
    if !has("curl") {
        return;
    }
    let mut trial = trial();
    assert_eq!(trial.door.with(&trial.token, &["/v1/me"]).status, 200);
    // Make the token expire.
    trial.coordinator.stop();
    let file = trial.folder.path("coordinator/state/tokens.json");
    let mut tokens: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for token in tokens.as_object_mut().unwrap().values_mut() {
        token["until"] = Value::from(1_700_000_000);
    }
    fs::write(&file, tokens.to_string()).unwrap();
    let mut again = trial.folder.command(&["coordinator", "--config", "coordinator/coordinator.toml"]);
    trial.coordinator =
        Running(again.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let began = Instant::now();
    let said = loop {
        let said = trial.door.with(&trial.token, &["/v1/me"]);
        if said.status != 0 {
            break said;
        }
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!((said.status, &said.json()["code"]), (401, &Value::from("token_expired")));
    if let Some(said) = adbc(&trial, "0") {
        assert!(said.starts_with("ended after") && said.contains("token_expired"), "{said}");
    }
}

#[test]
fn tokens_of_a_revoked_certificate_stay_ended_and_those_of_a_denied_one_come_back() {
    if !has("curl") {
        return;
    }
    let doors = Doors::start(1, "");
    let analyst = |name: &str| Role::Analyst(name.to_owned());
    let (stays, goes) = (doors.token(analyst("stays"), &[]), doors.token(analyst("goes"), &[]));
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let status = |token: &str| doors.with(token, &["/v1/me"]).status;
    let kept = || -> Value {
        let file = doors.layout.coordinator().join("state/tokens.json");
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    };
    let of = |name: &str| {
        kept().as_object().unwrap().values().find(|t| t["owner"].as_str().unwrap().ends_with(name)).cloned()
    };
    assert_eq!((status(&stays), status(&goes)), (200, 200));

    let denied = doors.layout.coordinator().join("denied.txt");
    fs::write(&denied, "spiffe://demo.london/analyst/stays\n").unwrap();
    let authority = Authority::load(doors.layout.authority("analysts")).unwrap();
    let list = doors.layout.revocation_list("analysts");
    let serial = hex::decode(of("/goes").unwrap()["serial"].as_str().unwrap()).unwrap();
    fs::write(&list, authority.revocation_list(&[serial], 30).unwrap()).unwrap();
    until("both are out", &|| (status(&stays), status(&goes)) == (401, 401));
    until("the revoked one's is struck off", &|| of("/goes").is_none());
    assert!(of("/stays").is_some());

    // The certificate has expired, and newer lists do not name it.
    fs::write(&list, authority.revocation_list(&[], 30).unwrap()).unwrap();
    fs::write(&denied, "# nobody\n").unwrap();
    until("whoever is denied no longer comes back", &|| status(&stays) == 200);
    assert_eq!(status(&goes), 401);
}
