//! The same people counted through every door and for several analysts: all see one draw of noise.

use std::collections::BTreeSet;
use std::io::Cursor;

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use loda_identity::Role;

use crate::doors::flight::client;
use crate::pooled::text;
use crate::support;
use crate::support::doors::{DOORS, analyst};

const ASKED: [&str; 6] = [
    "SELECT borough, sex, COUNT(*) AS n FROM residents WHERE age_band IN ('25-34', '35-44') GROUP BY borough, sex ORDER BY 1, 2",
    "SELECT borough, tenure, COUNT(*) AS n FROM residents GROUP BY borough, tenure ORDER BY 1, 2",
    "SELECT borough, epc_band, COUNT(*) AS n FROM properties WHERE NOT above_shop GROUP BY borough, epc_band ORDER BY 1, 2",
    "SELECT borough, setting, SUM(weekly_cost) AS cost FROM social_care_clients GROUP BY borough, setting ORDER BY 1, 2",
    "SELECT borough, code, COUNT(*) AS n FROM repairs WHERE month < DATE '2025-07-01' GROUP BY borough, code ORDER BY 1, 2",
    "SELECT e.borough, COUNT(*) AS n FROM electoral_roll e JOIN properties p ON e.uprn = p.uprn WHERE p.epc_band IN ('E', 'F') \
     GROUP BY e.borough ORDER BY 1",
];

fn of_stream(bytes: &[u8]) -> Vec<Vec<String>> {
    let batches: Vec<RecordBatch> =
        arrow::ipc::reader::StreamReader::try_new(Cursor::new(bytes), None).unwrap().map(Result::unwrap).collect();
    text(&batches, 99)
}

#[test]
fn every_door_and_asker_sees_one_draw() {
    let other = Role::Analyst("other".to_owned());
    let tokens = [DOORS.token(analyst(), &[]), DOORS.token(other.clone(), &[])];
    let mut answers: Vec<BTreeSet<Vec<Vec<String>>>> = vec![BTreeSet::new(); ASKED.len()];
    for (sql, seen) in ASKED.iter().zip(&mut answers) {
        for (role, token) in [analyst(), other.clone()].into_iter().zip(&tokens) {
            // HTTP, in a different format from the others.
            let place = DOORS.ask(token, sql, "demo");
            seen.insert(of_stream(&DOORS.with(token, &[&format!("{place}/result?format=arrow")]).body));
            // The program, over gRPC with a certificate.
            let printed = DOORS.loda(role, &["query", "-p", "demo", "--format", "csv", sql]);
            assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
            let csv = DOORS.with(token, &[&format!("{place}/result?format=csv")]).text();
            assert_eq!(String::from_utf8(printed.stdout).unwrap(), csv, "{sql}");
        }
    }
    let again = answers.clone();
    let answers = support::run(async move {
        let mut answers = again;
        for token in tokens {
            let mut client = client(&DOORS, &token).await;
            for (sql, seen) in ASKED.iter().zip(&mut answers) {
                let info = client.execute(format!("-- purpose: demo\n{sql}"), None).await.unwrap();
                let ticket = info.endpoint[0].ticket.clone().unwrap();
                let batches: Vec<RecordBatch> = client.do_get(ticket).await.unwrap().try_collect().await.unwrap();
                seen.insert(text(&batches, 99));
            }
        }
        answers
    });
    for (sql, seen) in ASKED.iter().zip(&answers) {
        assert_eq!(seen.len(), 1, "{sql}: {seen:#?}");
        assert!(seen.iter().flatten().count() >= 4, "{sql}");
    }
}
