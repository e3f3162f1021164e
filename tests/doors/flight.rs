//! Flight SQL with common clients: ADBC, and arrow-flight's own client in Rust.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::error::FlightError;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetCatalogs, CommandStatementQuery, ProstMessageExt, TicketStatementQuery};
use arrow_flight::{Action, CancelFlightInfoRequest, Criteria, FlightDescriptor, FlightInfo, Ticket};
use futures::TryStreamExt;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use tonic::transport::Channel;

use loda_identity::Role;

use crate::support::doors::{ADBC, CROWD, DOORS, Door, analyst, has, python, resident_mib, superset, works};
use crate::support::folder::{Folder, Trial};

/// Runs a script with the settings that it needs to sign in.
fn script(name: &str, more: &[(&str, String)]) -> bool {
    let Some(python) = python() else { return false };
    let (certificate, key) = DOORS.certificate(analyst());
    let output = Command::new(python)
        .arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients").join(name))
        .env("LODA_ADDRESS", &DOORS.address)
        .env("LODA_CA", &DOORS.authority)
        .env("LODA_CERTIFICATE", certificate)
        .env("LODA_KEY", key)
        .env("LODA_TOKEN", DOORS.token(analyst(), &[]))
        .env("LODA_OTHER", DOORS.token(Role::Analyst("other".to_owned()), &[]))
        .env("LODA_READER", DOORS.token(analyst(), &["--scope", "read"]))
        .envs(more.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{text}");
    assert!(output.status.success(), "{text}");
    true
}

#[test]
fn the_python_package_answers_with_frames_that_keep_their_marks() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let site = package("python", &python, folder.path());
    let tested = Command::new(&python)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(folder.path().join("python/tests"))
        .env("PYTHONPATH", &site)
        .output()
        .unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
    assert!(script("package.py", &[("PYTHONPATH", site.to_str().unwrap().to_owned())]));
    works("the Python package loda", &["data frames with statement, marks and notes; refusals with their rule"]);
}

#[test]
fn superset_explores_the_federation() {
    let Some(python) = superset() else { return };
    let folder = tempfile::tempdir().unwrap();
    let site = package("superset", &python, folder.path());
    let token = folder.path().join("token");
    std::fs::write(&token, DOORS.token(analyst(), &["--purpose", "demo"])).unwrap();
    let output = Command::new(&python)
        .arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients/explore_superset.py"))
        .arg(&DOORS.address)
        .args([&token, &DOORS.authority])
        .arg("--home")
        .arg(folder.path().join("home"))
        .env("PYTHONPATH", &site)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{text}");
    let failed = text.lines().filter(|line| line.contains("FAILED")).collect::<Vec<_>>().join("\n");
    assert!(output.status.success() && text.contains("all as expected"), "{failed}\n{text}");
    works(
        "Apache Superset 6.1",
        &["tables, columns, metrics, filters' values, samples", "charts, time grains and ranges, pivots, SQL Lab"],
    );
}

/// Installs a package of ours, and returns where.
fn package(name: &str, python: &std::path::Path, folder: &std::path::Path) -> std::path::PathBuf {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    // An installation writes beside the sources.
    let (source, site) = (folder.join(name), folder.join("site"));
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(Command::new("cp").arg("-r").arg(&here).arg(&source));
    run(Command::new(python)
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&site)
        .arg(&source));
    site
}

#[test]
fn the_program_flight_sql_client_asks() {
    const PROGRAM: &str = "flight_sql_client";
    if !Command::new(PROGRAM).arg("--help").output().is_ok_and(|output| output.status.success()) {
        crate::support::skip::tool(format!("{PROGRAM} is not installed"));
        return;
    }
    let token = DOORS.token(analyst(), &["--purpose", "demo"]);
    let (_, port) = DOORS.address.rsplit_once(':').unwrap();
    let run = |token: &str, arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .env("SSL_CERT_FILE", &DOORS.authority)
            .args(["--tls", "--host", "localhost", "--port", port, "--token", token])
            .args(arguments)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), text)
    };
    let says = |arguments: &[&str], words: &[&str]| {
        let (done, text) = run(&token, arguments);
        assert!(done && words.iter().all(|word| text.contains(word)), "{arguments:?}: {text}");
        text
    };
    says(&["catalogs"], &["london"]);
    says(&["db-schemas", "london"], &["public"]);
    says(&["tables", "london"], &["residents", "TABLE"]);
    says(&["table-types"], &["TABLE"]);
    says(&["statement-query", "SELECT 1 AS one"], &["| one |", "| 1 "]);
    let people = "SELECT borough, tenure, COUNT(DISTINCT person_key) AS people FROM residents";
    let asked =
        says(&["statement-query", &format!("{people} GROUP BY borough, tenure")], &["tenure", "people", "reason"]);
    assert!(asked.lines().filter(|line| line.starts_with("| ")).count() > 3, "{asked}");
    // The program gives each value the type that the server states.
    let bound = format!("{people} WHERE age_band = $1 AND tenure <> $2 GROUP BY borough, tenure");
    let bound = says(
        &["prepared-statement-query", &bound, "-p", "$1=85 and over", "-p", "$2=Social rented"],
        &["tenure", "people"],
    );
    assert_ne!(asked, bound);
    let (done, text) = run(&token[..token.len() - 1], &["catalogs"]);
    assert!(!done && text.contains("token_not_accepted"), "{text}");
    works(PROGRAM, &["metadata, queries, prepared statements with parameters, over TLS with a token"]);
}

/// Fifty analysts at once, over both doors. `LODA_DOORS_SECONDS` sets the time.
#[test]
fn fifty_at_once_are_answered_over_both_doors() {
    let Some(python) = python() else { return };
    let seconds = std::env::var("LODA_DOORS_SECONDS").unwrap_or_else(|_| "8".to_owned());
    let tokens: Vec<String> =
        (0..CROWD).map(|n| DOORS.token(Role::Analyst(format!("a{n:02}")), &["--purpose", "demo"])).collect();
    let memory = || resident_mib(DOORS.processes.coordinator_id().unwrap());
    let before = memory();
    let mut crowd = Command::new(python);
    crowd.arg(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients/crowd.py"));
    crowd.env("LODA_ADDRESS", &DOORS.address).env("LODA_CA", &DOORS.authority).env("LODA_SECONDS", seconds);
    crowd.env("LODA_TOKENS", tokens.join(" ")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = crowd.spawn().unwrap();
    let mut most = before;
    while running.try_wait().unwrap().is_none() {
        most = most.max(memory());
        std::thread::sleep(Duration::from_millis(200));
    }
    let output = running.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    println!("{text}coordinator: {before} MiB before, {most} at most, {} after", memory());
    assert!(output.status.success(), "{text}");
    assert!(most < 600, "{most} MiB");
}

#[test]
fn adbc_lists_prepares_asks_and_is_kept_out() {
    if !script("adbc.py", &[]) {
        return;
    }
    works(
        ADBC,
        &[
            "server information, catalogues, schemas, tables, columns, table types",
            "queries; their statement in the metadata, in loda.last_statement and loda.coverage",
            "prepared statements, parameters as ? and $1, the schema before anything is asked",
            "purpose by comment, header and session option",
            "token, user name and token, client certificate; wrong ones refused",
            "probes: SELECT 1, SELECT VERSION(), SHOW TABLES, information_schema, qualified names",
        ],
    );
}

/// TLS that trusts the door's authority, for these protocols.
pub fn tls(door: &Door, protocols: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&door.authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// arrow-flight's client.
pub async fn client(door: &Door, token: &str) -> FlightSqlServiceClient<Channel> {
    let (tls, address) = (tls(door, &[b"h2"]), door.address.clone());
    let connect = tower::service_fn(move |_: tonic::transport::Uri| {
        let (tls, address) = (tls.clone(), address.clone());
        async move {
            let line = TcpStream::connect(&address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            std::io::Result::Ok(TokioIo::new(tls.connect(name, line).await?))
        }
    });
    let channel = Channel::from_static("https://localhost").connect_with_connector(connect).await.unwrap();
    let mut client = FlightSqlServiceClient::new(channel);
    client.set_token(token.to_owned());
    client
}

async fn fetched(client: &mut FlightSqlServiceClient<Channel>, info: &FlightInfo) -> Result<usize, FlightError> {
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    assert!(info.endpoint[0].location.is_empty());
    let batches: Vec<_> = client.do_get(ticket).await?.try_collect().await?;
    Ok(batches.iter().map(arrow::array::RecordBatch::num_rows).sum())
}

#[test]
fn ones_statements_are_ones_own() {
    let (mine, other) = (DOORS.token(analyst(), &[]), DOORS.token(Role::Analyst("other".to_owned()), &[]));
    crate::support::run(async move {
        let (mut mine, mut other) = (client(&DOORS, &mine).await, client(&DOORS, &other).await);
        let sql = "-- purpose: demo\nSELECT borough, COUNT(DISTINCT person_key) AS n FROM residents GROUP BY borough";
        let mut prepared = mine.prepare(sql.to_owned(), None).await.unwrap();
        assert_eq!(prepared.dataset_schema().unwrap().fields().len(), 3);
        let info = prepared.execute().await.unwrap();
        assert_eq!(fetched(&mut mine, &info).await.unwrap(), 4);
        // A repeated fetch gives the same answer, and asks no new question.
        assert_eq!(fetched(&mut mine, &info).await.unwrap(), 4);
        let gone = |fault: FlightError| assert!(fault.to_string().contains("there is no such statement"), "{fault}");
        gone(fetched(&mut other, &info).await.unwrap_err());
        // A guessed, forged or truncated handle finds nothing.
        for handle in [&[0; 16][..], &[7; 16], &[1], b"", &[0xff; 400]] {
            let ticket = TicketStatementQuery { statement_handle: handle.to_vec().into() };
            let mut forged = info.clone();
            forged.endpoint[0].ticket = Some(Ticket::new(ticket.as_any().encode_to_vec()));
            gone(fetched(&mut other, &forged).await.unwrap_err());
        }
        // Another asker cannot cancel or close it.
        let cancel = Action::new("CancelFlightInfo", CancelFlightInfoRequest::new(info.clone()).encode_to_vec());
        assert!(other.do_action(cancel.clone()).await.is_err());
        assert_eq!(fetched(&mut mine, &info).await.unwrap(), 4);
        assert!(mine.do_action(cancel).await.is_ok());
        gone(fetched(&mut mine, &info).await.unwrap_err());
        prepared.close().await.unwrap();
        for odd in ["", "SetSessionOptions", "BeginTransaction", "DropTables"] {
            let said = mine.do_action(Action::new(odd, b"\xff\xff".to_vec())).await;
            assert!(said.is_err(), "{odd}");
        }
    });
    works("arrow-flight 59 for Rust", &["prepared statements, queries, fetching again, cancelling"]);
}

#[test]
fn tables_are_listed_and_a_schema_asks_nothing() {
    let (token, reader) =
        (DOORS.token(analyst(), &["--purpose", "demo"]), DOORS.token(analyst(), &["--scope", "read"]));
    crate::support::run(async move {
        let mut plain = client(&DOORS, &token).await;
        let listed = plain.inner_mut().list_flights(signed(Criteria::default(), &reader)).await.unwrap();
        let listed: Vec<FlightInfo> = listed.into_inner().try_collect().await.unwrap();
        let paths: Vec<Vec<String>> = listed.iter().map(|info| info.flight_descriptor.clone().unwrap().path).collect();
        assert!(paths.contains(&["london", "public", "residents"].map(str::to_owned).to_vec()), "{paths:?}");
        assert!(listed.iter().all(|info| info.endpoint.is_empty()), "records are not listed");
        let of_table = FlightDescriptor::new_path(vec!["residents".to_owned()]);
        let sql = "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough";
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let of_sql = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let catalogs = FlightDescriptor::new_cmd(CommandGetCatalogs {}.as_any().encode_to_vec());
        for (descriptor, column) in [(of_table, "tenure"), (of_sql.clone(), "n"), (catalogs, "catalog_name")] {
            let told = plain.inner_mut().get_schema(signed(descriptor, &token)).await.unwrap().into_inner();
            let schema = arrow::datatypes::Schema::try_from(&told).unwrap();
            assert!(schema.field_with_name(column).is_ok(), "{schema:?}");
        }
        // Strangers see nothing, and who may only read plans nothing.
        for (descriptor, token) in [
            (FlightDescriptor::new_path(vec!["residents".to_owned()]), "none"),
            (of_sql, reader.as_str()),
            (FlightDescriptor::new_path(vec!["nothing".to_owned()]), token.as_str()),
            (FlightDescriptor::new_cmd(&b"\xff\xff"[..]), token.as_str()),
            (FlightDescriptor::default(), token.as_str()),
        ] {
            assert!(plain.inner_mut().get_schema(signed(descriptor, token)).await.is_err());
        }
        assert!(plain.inner_mut().list_flights(signed(Criteria::default(), "none")).await.is_err());
    });
    works("arrow-flight 59 for Rust", &["list_flights; get_schema of tables and statements, without asking"]);
}

fn signed<T>(message: T, token: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

#[test]
fn a_token_bound_to_a_purpose_is_not_led_to_another_by_a_handle() {
    let free = DOORS.token(analyst(), &[]);
    let bound = DOORS.token(analyst(), &["--purpose", "demo"]);
    crate::support::run(async move {
        let (mut free, mut bound) = (client(&DOORS, &free).await, client(&DOORS, &bound).await);
        let sql = "SELECT borough, COUNT(DISTINCT person_key) AS n FROM residents GROUP BY borough";
        for (purpose, there) in [("food-safety", false), ("", false), ("demo", true)] {
            let stated = if purpose.is_empty() { sql.to_owned() } else { format!("-- purpose: {purpose}\n{sql}") };
            let mut prepared = free.prepare(stated, None).await.unwrap();
            // Without a purpose it is refused at once, when the boroughs' purposes are known.
            let Ok(info) = prepared.execute().await else {
                assert!(purpose.is_empty());
                continue;
            };
            // On the first run, and for a stored answer.
            for _ in 0..2 {
                let said = fetched(&mut bound, &info).await;
                assert_eq!(said.is_ok(), there, "{purpose}: {said:?}");
                let _mine = fetched(&mut free, &info).await;
            }
        }
        // The engine's settings cannot be asked for.
        for sql in ["SHOW ALL", "SHOW datafusion.execution.batch_size", "SELECT * FROM information_schema.df_settings"]
        {
            let said = free.prepare(sql.to_owned(), None).await;
            assert!(said.is_err_and(|fault| fault.to_string().contains("settings")), "{sql}");
        }
    });
}

const MANY: &str = r#"
dataset = "lamps"
version = 1
title = "Street lamps"
protection = "public"
[[unit]]
domain = "lamp"
about = "things"
[[column]]
name = "number"
type = "text"
role = "dimension"
open = true
[[column]]
name = "watts"
type = "integer"
role = "measure"
min = "0"
max = "1000"
edges = ["100"]
"#;

#[test]
fn a_hundred_thousand_cells_page_and_stream_while_memory_stays_flat() {
    if !has("curl") {
        return;
    }
    let folder = Folder::new("lamps", MANY);
    folder.configure(
        "[[dataset]]\ncontract = \"contracts/lamps.toml\"\nas_at = \"2026-11-01\"\n\
         sql = 'SELECT number, CAST(watts AS BIGINT) AS watts FROM lamps'\n[[dataset.source]]\nname = \"lamps\"\n\
         format = \"csv\"\npath = \"lamps.csv\"",
    );
    let rows: String = (0..100_000).map(|n| format!("L{n:06},{}\n", n % 400)).collect();
    folder.put("lamps.csv", format!("number,watts\n{rows}"));
    let trial = Trial::serve(folder);
    let (door, token) = (&trial.door, trial.token.as_str());
    let sql = "SELECT number, COUNT(*) AS n, SUM(watts) AS watts FROM lamps GROUP BY number";
    let place = door.ask(token, sql, "trial");
    let memory = || resident_mib(trial.coordinator.0.id());
    let paged = || {
        let (mut next, mut count) = (Some(format!("{place}/result?limit=10000")), 0);
        while let Some(at) = next {
            let page = door.with(token, &[&at]);
            count += page.json()["rows"].as_array().unwrap().len();
            next = page.header("link").map(|link| link[1..link.find('>').unwrap()].to_owned());
        }
        count
    };
    // It is also asked once over Flight SQL, and then only fetched.
    let (address, authority) = (door.address.clone(), door.authority.clone());
    let bearer = token.to_owned();
    let (mut flight, info) = crate::support::run(async move {
        let mut client = client(&Door { address, authority }, &bearer).await;
        let info = client.execute(format!("-- purpose: trial\n{sql}"), None).await.unwrap();
        (client, info)
    });
    let mut round = || {
        let csv = door.with(token, &[&format!("{place}/result?format=csv")]).text().lines().count();
        let streamed = crate::support::RUNTIME.block_on(fetched(&mut flight, &info)).unwrap();
        (paged(), csv, streamed)
    };
    let whole = (100_000, 100_001, 100_000);
    (0..3).for_each(|_| assert_eq!(round(), whole));
    let once = memory();
    (0..6).for_each(|_| assert_eq!(round(), whole));
    let after = memory();
    println!("100,000 cells: the coordinator has {once} MiB after three rounds, {after} MiB after nine");
    assert!(after < once + 40, "{once} {after}");
}
