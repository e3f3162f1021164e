//! Short statements that would cost a coordinator very much. Each one ends, the process lives, and others are answered.
//!
//! `LODA_HOSTILE_SQL` sets their number, or `LODA_HOSTILE_SECONDS` the time (`just hostile-sql 3600`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use loda::{Client, Config};
use loda_identity::Role;

use crate::doors::flight::client as flight_client;
use crate::support::doors::{Doors, analyst, resident_mib};
use crate::support::{self, Dice};

/// The seconds that a question may take, and that planning may take.
const DEADLINE: u64 = 2;

/// One second more than the deadline, because all share two cores.
const BEYOND: Duration = Duration::from_secs(1);

const F: &str = "(SELECT 1 FROM boroughs WHERE name <> 'x')";

/// The most resident memory of a coordinator.
const MOST_MIB: u64 = 1_024;

fn hostile(dice: &mut Dice) -> String {
    let names = |n: u64| (0..n).map(|i| format!("t{i}")).collect::<Vec<_>>();
    match dice.below(16) {
        // Cross joins of any arity, with and without columns.
        0 => {
            let all = names(dice.below(7) + 3).into_iter().map(|t| format!("{F} {t}")).collect::<Vec<_>>();
            format!("SELECT COUNT(*) FROM {}", all.join(", "))
        }
        1 => {
            let all = names(dice.below(5) + 4).into_iter().map(|t| format!("boroughs {t}")).collect::<Vec<_>>();
            format!("SELECT COUNT(*) FROM {}", all.join(" CROSS JOIN "))
        }
        2 => {
            let all = names(dice.below(5) + 4).into_iter().map(|t| format!("information_schema.columns {t}"));
            format!("SELECT COUNT(*) FROM {}", all.collect::<Vec<_>>().join(", "))
        }
        3 => {
            // Joins on equal columns that are always equal.
            let on = (1..dice.below(4) + 4).map(|i| format!("JOIN boroughs t{i} ON length(t0.gss) = length(t{i}.gss)"));
            format!("SELECT COUNT(*) FROM boroughs t0 {}", on.collect::<Vec<_>>().join(" "))
        }
        4 => {
            let on = (1..dice.below(3) + 4).map(|i| format!("FULL JOIN boroughs t{i} ON t0.gss <> t{i}.gss"));
            format!("SELECT COUNT(*) FROM boroughs t0 {}", on.collect::<Vec<_>>().join(" "))
        }
        // CTEs of any fan-out.
        5 | 6 => {
            let (levels, wide) = (dice.below(16) + 4, dice.below(3) + 2);
            let how = dice.below(4);
            let ctes = (1..=levels).map(|n| {
                let before = format!("c{}", n - 1);
                let body = match how {
                    0 => format!(
                        "SELECT a0.v FROM {}",
                        (0..wide).map(|i| format!("{before} a{i}")).collect::<Vec<_>>().join(", ")
                    ),
                    1 => vec![format!("SELECT v FROM {before}"); wide as usize].join(" UNION ALL "),
                    2 => format!("SELECT v FROM {before} WHERE v IN (SELECT v FROM {before})"),
                    _ => format!("SELECT v + (SELECT MAX(v) FROM {before}) AS v FROM {before}"),
                };
                format!("c{n} AS ({body})")
            });
            let first = std::iter::once("c0 AS (SELECT 1 AS v FROM boroughs)".to_owned());
            format!("WITH {} SELECT COUNT(*) FROM c{levels}", first.chain(ctes).collect::<Vec<_>>().join(", "))
        }
        7 => {
            let op = *dice.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
            vec!["SELECT a.name FROM boroughs a, boroughs b"; dice.index(60) + 4].join(&format!(" {op} "))
        }
        8 => {
            let over =
                "OVER (PARTITION BY a.gss ORDER BY b.gss, c.gss ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)";
            let all = (0..dice.below(10) + 1).map(|i| format!("string_agg(c.name, ',') {over} AS w{i}"));
            format!("SELECT {} FROM boroughs a, boroughs b, boroughs c", all.collect::<Vec<_>>().join(", "))
        }
        9 => {
            let wide = vec!["a.name || b.name || c.name"; dice.index(100) + 10];
            let wide = wide.iter().enumerate().map(|(i, of)| format!("{of} AS w{i}")).collect::<Vec<_>>();
            format!("SELECT {} FROM boroughs a, boroughs b, boroughs c, boroughs d", wide.join(", "))
        }
        10 => {
            let mut sql = "SELECT borough, COUNT(*) AS v FROM residents GROUP BY borough".to_owned();
            for n in 0..dice.below(40) + 5 {
                sql = format!("SELECT borough, v + {n} AS v FROM ({sql}) d{n}");
            }
            sql
        }
        11 => {
            let all = (0..dice.below(900) + 100).map(|i| format!("'{i}'")).collect::<Vec<_>>().join(", ");
            format!(
                "SELECT borough, COUNT(*) FROM residents WHERE ward IN ({all}) OR tenure IN ({all}) GROUP BY borough"
            )
        }
        12 => {
            let keys = "age_band, sex, tenure, ward, borough";
            let how = *dice.pick(&["CUBE", "ROLLUP"]);
            format!("SELECT {keys}, COUNT(*) FROM residents GROUP BY {how} ({keys})")
        }
        13 => {
            let parts = (0..dice.below(6) + 2)
                .map(|n| format!("(SELECT ward, age_band, COUNT(*) AS n FROM residents GROUP BY ward, age_band) p{n}"));
            format!("SELECT COUNT(*) FROM {}", parts.collect::<Vec<_>>().join(", "))
        }
        14 => {
            let n = dice.below(300) + 50;
            let whens = (0..n).map(|i| format!("WHEN name LIKE '%{i}%' THEN {i}")).collect::<Vec<_>>().join(" ");
            format!(
                "SELECT SUM(CASE {whens} ELSE 0 END) FROM (SELECT a.name FROM boroughs a, boroughs b, boroughs c, boroughs d) x"
            )
        }
        _ => {
            let depth = dice.index(60) + 10;
            format!("SELECT {}1{} FROM boroughs", "(1 + ".repeat(depth), ")".repeat(depth))
        }
    }
}

/// The time of the longest step, for each way in.
async fn tried(doors: &Doors, client: &Client, token: &str, way: u64, sql: String) -> Duration {
    let began = Instant::now();
    match way {
        0 => {
            let prepared = client.prepare(&sql, "demo", false).await;
            let planned = began.elapsed();
            let Ok(prepared) = prepared else { return planned };
            let began = Instant::now();
            if let Ok(id) = client.start(&prepared, Some(Duration::from_secs(DEADLINE))).await {
                let _answer = client.await_answer(&id, |_| {}).await;
            }
            planned.max(began.elapsed())
        }
        1 => {
            let _explained = client.prepare(&sql, "demo", true).await;
            began.elapsed()
        }
        2 | 3 => {
            let (address, authority) = (doors.address.clone(), doors.authority.clone());
            let token = token.to_owned();
            let asked = tokio::task::spawn_blocking(move || {
                let door = support::doors::Door { address, authority };
                let body = serde_json::json!({"sql": sql, "purpose": "demo"}).to_string();
                if way == 3 {
                    let _said = door.with(&token, &["--json", &body, "/v1/explanations"]);
                    return began.elapsed();
                }
                let said = door.with(&token, &["--json", &body, "/v1/questions"]);
                let planned = began.elapsed();
                let Some(place) = said.header("location").filter(|_| said.status == 201) else { return planned };
                let began = Instant::now();
                let _ended = door.with(&token, &[&format!("{place}?wait=60")]);
                planned.max(began.elapsed())
            });
            asked.await.unwrap()
        }
        _ => {
            let mut flight = flight_client(&doors.door, token).await;
            let sql = format!("-- purpose: demo\n{sql}");
            if way == 4 {
                if let Ok(mut prepared) = flight.prepare(sql, None).await {
                    let planned = began.elapsed();
                    let began = Instant::now();
                    let _info = prepared.execute().await;
                    return planned.max(began.elapsed());
                }
                return began.elapsed();
            }
            // Planned and run in one call.
            let _info = flight.execute(sql, None).await;
            began.elapsed().saturating_sub(Duration::from_secs(DEADLINE))
        }
    }
}

#[test]
fn nobody_stops_the_coordinator_with_a_statement() {
    let (count, seconds) = (support::rounds("LODA_HOSTILE_SQL", 200), support::rounds("LODA_HOSTILE_SECONDS", 0));
    let doors = Arc::new(Doors::start(2, &format!("[limits]\ndeadline_seconds = {DEADLINE}\n")));
    let (process, token) = (doors.processes.coordinator_id().unwrap(), doors.token(analyst(), &["--purpose", "demo"]));
    let other = doors.certificate(Role::Analyst("other".to_owned())).0.with_extension("toml");
    let done = Arc::new(AtomicBool::new(false));
    let most = Arc::new(AtomicU64::new(0));
    let watching = std::thread::spawn({
        let (done, most) = (Arc::clone(&done), Arc::clone(&most));
        move || {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(resident_mib(process), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let of_doors = Arc::clone(&doors);
    support::run(async move {
        let doors = of_doors;
        let config = Config::load(&doors.layout.client()).unwrap();
        let (client, bystander) =
            (Client::connect(&config).await.unwrap(), Client::connect(&Config::load(&other).unwrap()).await.unwrap());
        let ended = Arc::new(AtomicBool::new(false));
        let beside = tokio::spawn({
            let ended = Arc::clone(&ended);
            async move {
                let mut times = Vec::new();
                while !ended.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let sql = "SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough";
                    let answer = bystander.query(sql, "demo", None, |_| {}).await;
                    times.push(began.elapsed());
                    assert!(answer.is_ok(), "{:?}", answer.err().map(|fault| fault.to_string()));
                    tokio::time::sleep(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
                }
                times.sort();
                times
            }
        });
        let began = Instant::now();
        let number = Arc::new(AtomicU64::new(0));
        let hostile = (0..3).map(|_| {
            let (doors, client, token, number) =
                (Arc::clone(&doors), client.clone(), token.clone(), Arc::clone(&number));
            tokio::spawn(async move {
                let mut slowest = (Duration::ZERO, String::new());
                loop {
                    let number = number.fetch_add(1, Ordering::Relaxed);
                    let goes_on = if seconds > 0 { began.elapsed().as_secs() < seconds } else { number < count };
                    if !goes_on {
                        return slowest;
                    }
                    let mut dice = Dice::new(support::seed().wrapping_mul(1_000_003) + number);
                    let (sql, way) = (hostile(&mut dice), dice.below(6));
                    let took = tried(&doors, &client, &token, way, sql.clone()).await;
                    if took > slowest.0 {
                        slowest = (took, format!("way {way}: {}", sql.chars().take(300).collect::<String>()));
                    }
                }
            })
        });
        let mut slowest = Vec::new();
        for task in hostile.collect::<Vec<_>>() {
            slowest.push(task.await.unwrap());
        }
        ended.store(true, Ordering::Relaxed);
        let times = beside.await.unwrap();
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        let (took, sql) = slowest.into_iter().max_by_key(|(took, _)| *took).unwrap();
        println!(
            "{} statements in {:.0} s; the slowest step {:.2} s ({sql}); {} small questions beside them: median {:.0} ms, p99 {:.0} ms",
            number.load(Ordering::Relaxed).min(count.max(1)),
            began.elapsed().as_secs_f64(),
            took.as_secs_f64(),
            times.len(),
            at(50).as_secs_f64() * 1e3,
            at(99).as_secs_f64() * 1e3
        );
        assert!(took <= Duration::from_secs(DEADLINE) + BEYOND, "{took:?}: {sql}");
        assert!(at(99) < Duration::from_secs(1), "{:?}", at(99));
    });
    done.store(true, Ordering::Relaxed);
    watching.join().unwrap();
    println!("the coordinator: {} MiB at most", most.load(Ordering::Relaxed));
    assert!(most.load(Ordering::Relaxed) < MOST_MIB);
    assert!(std::path::Path::new(&format!("/proc/{process}/status")).exists(), "the coordinator ended");
}
