//! Network failures between a coordinator and 33 nodes. The answer arrives in time and says what is missing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use loda_node::{Methods, Node};

use crate::pooled::text;
use crate::support::proxy::{Proxy, Weather};
use crate::support::{self, Dice};

const BY_BOROUGH: &str = "SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough ORDER BY borough";
const LONDON: &str = "SELECT COUNT(*) AS people FROM residents";
const DEADLINE: Duration = Duration::from_secs(4);

/// 33 boroughs whose nodes are reached through proxies.
async fn start() -> (support::Federation, BTreeMap<&'static str, Proxy>) {
    let dir = tempfile::tempdir().unwrap();
    let layout = support::laid_out(&support::options(dir.path(), 33, None));
    let behind = support::free_ports();
    let handle = support::RUNTIME.handle().clone();
    let (mut nodes, mut proxies) = (Vec::new(), BTreeMap::new());
    for (borough, number) in layout.boroughs.iter().zip(0_u16..) {
        let mut config = loda_node::Config::load(&layout.node(borough.gss).join("node.toml")).unwrap();
        let front = config.listen.replace(format!("127.0.0.1:{}", behind + number)).unwrap();
        let to = config.listen.clone().unwrap();
        let node = Node::open(config, Methods::standard().unwrap(), handle.clone()).await.unwrap();
        let listener = node.bind().await.unwrap();
        let serving = node.clone();
        handle.spawn(async move { serving.serve(listener).await.unwrap() });
        nodes.push(node);
        proxies.insert(borough.gss, Proxy::start(&front, to).await);
    }
    (support::Federation::over(layout, nodes, dir).await, proxies)
}

fn some_weather(dice: &mut Dice) -> Weather {
    match dice.below(7) {
        0 => Weather::Partition,
        1 => Weather::HalfOpen,
        2 => Weather::Latency(Duration::from_secs(10)),
        3 => Weather::Trickle,
        4 => Weather::ResetAfter(dice.index(4000)),
        5 => Weather::Duplicate,
        _ => Weather::Closed,
    }
}

#[test]
fn any_weather_on_any_boroughs_is_bounded_and_never_silently_smaller() {
    support::run(async {
        let (federation, proxies) = start().await;
        let client = &federation.client;
        let ask = |sql| client.query(sql, "demo", Some(DEADLINE), |_| {});
        let whole = ask(BY_BOROUGH).await.unwrap();
        assert!(whole.statement.complete);
        let whole = text(&whole.batches, 99);
        let mut dice = Dice::new(support::seed());
        let (mut answered, mut missing) = (0, 0);
        for round in 0..support::rounds("LODA_NETWORK_ROUNDS", 8) {
            let share = 1 + dice.below(6);
            let mut told = Vec::new();
            for (gss, proxy) in &proxies {
                let weather = if dice.one_in(share) { some_weather(&mut dice) } else { Weather::Clear };
                proxy.set(weather);
                told.push((gss, weather));
            }
            // Some storms begin in mid-query, and some end there.
            if dice.one_in(2) {
                let (gss, _) = told[dice.index(told.len())];
                proxies[gss].set(some_weather(&mut dice));
            }
            let began = Instant::now();
            let each = ask(BY_BOROUGH).await;
            let took = began.elapsed();
            assert!(took < DEADLINE + Duration::from_millis(1500), "round {round}: {took:?}, {told:?}");
            let Ok(each) = each else { continue };
            let rows = text(&each.batches, 99);
            assert_eq!(rows.len(), 33);
            for (row, good) in rows.iter().zip(&whole) {
                assert_eq!(row[0], good[0]);
                // A borough's figure is complete or missing, never between.
                if row[1] == "NULL" {
                    assert_eq!(row[2], "x: no answer", "round {round}: {row:?}");
                    missing += 1;
                } else {
                    assert_eq!(row[1], good[1], "round {round}");
                    answered += 1;
                }
            }
            let absent = rows.iter().filter(|row| row[1] == "NULL").count();
            assert_eq!(each.statement.complete, absent == 0);
            if let Ok(london) = ask(LONDON).await {
                let row = text(&london.batches, 99).remove(0);
                let lacks: usize = london.statement.parts[0].lacks.iter().map(|l| l.no_answer as usize).sum();
                assert_eq!(london.statement.complete, lacks == 0);
                assert_eq!(lacks > 0, row[1].starts_with(&format!("lacks {lacks} of 33")), "{row:?}");
                let sum = |skip: &[&str]| -> i64 {
                    whole.iter().filter(|r| !skip.contains(&r[0].as_str())).map(|r| r[1].parse::<i64>().unwrap()).sum()
                };
                let gone: Vec<&str> = london.statement.parts[0]
                    .boroughs
                    .iter()
                    .filter(|b| b.answer == "no answer")
                    .map(|b| b.borough.as_str())
                    .collect();
                assert_eq!(gone.len(), lacks);
                if row[0] != "NULL" {
                    assert_eq!(row[0].parse::<i64>().unwrap(), sum(&gone), "round {round}: a sum of what came");
                }
            }
        }
        println!("{answered} figures came whole, {missing} were said to be missing");
        assert!(answered > 0 && missing > 0);
        for proxy in proxies.values() {
            // Connections that went wrong end here, and are made again.
            proxy.set(Weather::Closed);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        proxies.values().for_each(|proxy| proxy.set(Weather::Clear));
        let healed = ask(BY_BOROUGH).await.unwrap();
        assert!(healed.statement.complete, "and all is well again");
        assert_eq!(text(&healed.batches, 99), whole);
    });
}
