//! The true answers, counted while the records are written: the known answers of the acceptance suite.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::home::ward_name;
use super::places;
use super::services::COEFFICIENTS;

/// A street contact within this number of days belongs to an approach.
const WITHIN: i32 = 180;

/// One borough's records, by the true keys of people.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) hmos: BTreeMap<&'static str, u64>,
    pub(crate) enforced: Vec<u64>,
    pub(crate) claimants: Vec<u64>,
    pub(crate) discounts: u64,
    pub(crate) wrong_discounts: u64,
    pub(crate) badges: Vec<u64>,
    pub(crate) deaths: Vec<u64>,
    pub(crate) approaches: Vec<(u64, i32)>,
    pub(crate) contacts: Vec<(u64, i32)>,
    pub(crate) placements: Vec<(u64, usize)>,
    pub(crate) notices: Vec<(u64, usize)>,
    pub(crate) children: Vec<u64>,
    pub(crate) rolls: Vec<u64>,
    /// Unclaimed pence a week, by ward.
    pub(crate) unclaimed: BTreeMap<u64, Vec<u64>>,
    /// Homes by band of hours, EPC band, and whether there was a repair for damp.
    pub(crate) damp: BTreeMap<(&'static str, &'static str, bool), u64>,
    /// Clients, total and largest cost in pence, by need.
    care: BTreeMap<&'static str, (u64, u64, u64)>,
}

impl Tally {
    pub(crate) fn care(&mut self, need: &'static str, cost: u64) {
        let (clients, total, largest) = self.care.entry(need).or_default();
        *clients += 1;
        *total += cost;
        *largest = cost.max(*largest);
    }
}

/// The tallies of the written boroughs, by the boroughs' numbers.
pub(crate) type Tallies = [(usize, Tally)];
type Rows = Vec<Vec<Value>>;

/// A question of the suite: its number, the meaning of its answer, the SQL with this answer, and the answer.
type Question = (u64, &'static str, &'static str, fn(&Tallies) -> Rows);

const QUESTIONS: [Question; 11] = [
    (
        2,
        "The register of shared homes that need a licence, by borough and status; the chance of 'Found unlicensed' \
         among shared homes without a licence follows the coefficients.",
        "SELECT borough, hmo_status, COUNT(*) AS homes FROM hmo_licences GROUP BY borough, hmo_status",
        |all| by_borough(all, |t| t.hmos.iter().map(|(status, n)| vec![json!(status), json!(n)]).collect()),
    ),
    (
        3,
        "Holders with enforcement in both boroughs of a pair, by true key.",
        "SELECT a.borough, b.borough AS other, COUNT(*) AS holders \
         FROM (SELECT DISTINCT borough, holder_key FROM enforcement) a \
         JOIN (SELECT DISTINCT borough, holder_key FROM enforcement) b \
           ON a.holder_key = b.holder_key AND a.borough < b.borough GROUP BY a.borough, b.borough",
        |all| pairs(all, |t| &t.enforced),
    ),
    (
        4,
        "People with a live tenancy or Housing Benefit claim in both boroughs of a pair.",
        "WITH live AS (SELECT borough, person_key FROM tenancies WHERE tenancy_end IS NULL \
         UNION SELECT borough, person_key FROM housing_benefit WHERE benefit = 'Housing Benefit' AND claim_end IS NULL) \
         SELECT a.borough, b.borough AS other, COUNT(*) AS people FROM live a \
         JOIN live b ON a.person_key = b.person_key AND a.borough < b.borough GROUP BY a.borough, b.borough",
        |all| pairs(all, |t| &t.claimants),
    ),
    (
        5,
        "Homes with the discount, and those of them with two or more registered adults, by borough.",
        "SELECT c.borough, COUNT(*) AS discounts, \
         COUNT(*) FILTER (WHERE e.adults >= 2) AS two_adults FROM council_tax c \
         LEFT JOIN (SELECT uprn, COUNT(*) FILTER (WHERE adult) AS adults FROM electoral_roll GROUP BY uprn) e \
           ON c.uprn = e.uprn WHERE c.single_person_discount GROUP BY c.borough",
        |all| by_borough(all, |t| vec![vec![json!(t.discounts), json!(t.wrong_discounts)]]),
    ),
    (
        6,
        "People with a badge that runs on 31 December 2025 in both boroughs of a pair; under 'dead' \
         stand people with such a badge of the borough who have died.",
        "WITH live AS (SELECT DISTINCT borough, person_key FROM blue_badges WHERE expiry_date >= DATE '2025-12-31') \
         SELECT a.borough, b.borough AS other, COUNT(*) AS people FROM live a \
         JOIN live b ON a.person_key = b.person_key AND a.borough < b.borough GROUP BY a.borough, b.borough \
         UNION ALL SELECT l.borough, 'dead' AS other, COUNT(DISTINCT l.person_key) AS people FROM live l \
         JOIN deaths d ON l.person_key = d.person_key GROUP BY l.borough",
        badges,
    ),
    (
        7,
        "People who approached one borough and were met on a street of another, or of the same, within 180 days.",
        "SELECT a.borough, c.borough AS other, COUNT(DISTINCT a.person_key) AS people FROM homelessness_approaches a \
         JOIN rough_sleeping_contacts c ON a.person_key = c.person_key AND c.contact_date >= a.approach_date \
          AND c.contact_date <= a.approach_date + INTERVAL '180 days' GROUP BY a.borough, c.borough",
        sleeping,
    ),
    (
        8,
        "Households placed in another borough that holds no notice from the placing borough.",
        "SELECT p.borough, p.to_borough, COUNT(*) AS households FROM placements p \
         LEFT JOIN s208_notices n ON p.household_key = n.household_key AND n.from_borough = p.borough \
          AND n.borough = p.to_borough WHERE n.household_key IS NULL GROUP BY p.borough, p.to_borough",
        unnoticed,
    ),
    (
        9,
        "Children of school age on no borough's roll, by the borough that holds them as resident.",
        "SELECT c.borough, COUNT(DISTINCT c.person_key) AS children FROM children c \
         LEFT JOIN school_roll r ON c.person_key = r.person_key WHERE r.person_key IS NULL GROUP BY c.borough",
        |all| {
            let rolls: BTreeSet<u64> = all.iter().flat_map(|(_, t)| t.rolls.iter().copied()).collect();
            let missing = |t: &Tally| t.children.iter().filter(|child| !rolls.contains(child)).count();
            by_borough(all, |t| Some(missing(t)).filter(|n| *n > 0).map(|n| vec![json!(n)]).into_iter().collect())
        },
    ),
    (
        10,
        "Households of pension age that could claim Pension Credit and do not: how many, pounds a week in all, and \
         the lower median, by ward.",
        "WITH u AS (SELECT ward, CAST(227 AS DECIMAL(18, 2)) - weekly_income AS unclaimed FROM housing_benefit \
         WHERE pension_age AND NOT pension_credit AND weekly_income < 227), \
         p AS (SELECT ward, unclaimed, ROW_NUMBER() OVER (PARTITION BY ward ORDER BY unclaimed) AS place, \
         COUNT(*) OVER (PARTITION BY ward) AS households, SUM(unclaimed) OVER (PARTITION BY ward) AS total FROM u) \
         SELECT DISTINCT ward, households, total, unclaimed AS median FROM p \
         WHERE 2 * place = households OR 2 * place = households + 1",
        unclaimed,
    ),
    (
        11,
        "Homes with a sensor by hours over 70 % in four weeks, latest EPC band, and whether there was a damp repair.",
        "WITH s AS (SELECT uprn, COUNT(*) FILTER (WHERE rh > 70) AS hours FROM sensor_readings GROUP BY uprn), \
         e AS (SELECT uprn, epc_band, ROW_NUMBER() OVER (PARTITION BY uprn ORDER BY lodged DESC) AS place FROM epc), \
         d AS (SELECT DISTINCT uprn FROM repairs WHERE job = 'Damp and mould') \
         SELECT CASE WHEN s.hours < 24 THEN '1: under a day' WHEN s.hours < 72 THEN '2: one to three days' \
         WHEN s.hours < 168 THEN '3: three days to a week' ELSE '4: a week and more' END AS over_70, \
         COALESCE(e.epc_band, 'None') AS epc_band, d.uprn IS NOT NULL AS damp_repair, COUNT(*) AS homes FROM s \
         LEFT JOIN e ON s.uprn = e.uprn AND e.place = 1 LEFT JOIN d ON s.uprn = d.uprn GROUP BY 1, 2, 3",
        damp,
    ),
    (
        14,
        "Clients, pounds a week in all and the largest package, by borough and need.",
        "SELECT borough, need, COUNT(*) AS clients, SUM(weekly_cost) AS total, MAX(weekly_cost) AS largest \
         FROM social_care GROUP BY borough, need",
        |all| {
            let row = |(need, (n, total, largest)): (&&'static str, &(u64, u64, u64))| {
                vec![json!(need), json!(n), json!(pounds(*total)), json!(pounds(*largest))]
            };
            by_borough(all, |t| t.care.iter().map(row).collect())
        },
    ),
];

/// All answers, as the text of `answers.json`.
pub(crate) fn json(seed: u64, scale: f64, all: &Tallies) -> Value {
    let questions = QUESTIONS.iter().map(|(number, equals, sql, answer)| {
        let sql = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        (number.to_string(), json!({ "equals": equals, "sql": sql, "rows": answer(all) }))
    });
    let questions: serde_json::Map<String, Value> = questions.collect();
    let coefficients: BTreeMap<&str, i64> = COEFFICIENTS.into_iter().collect();
    json!({
        "seed": seed,
        "scale": scale.to_string(),
        "as_at": "2025-12-31",
        "boroughs": all.iter().map(|(index, _)| places::gss(*index)).collect::<Vec<_>>(),
        "coefficients_in_hundredths_of_a_logit": coefficients,
        "questions": questions,
    })
}

fn by_borough(all: &Tallies, rows: impl Fn(&Tally) -> Rows) -> Rows {
    let with = |index: usize, row: Vec<Value>| std::iter::once(json!(places::gss(index))).chain(row).collect();
    all.iter().flat_map(|(index, tally)| rows(tally).into_iter().map(move |row| with(*index, row))).collect()
}

/// The number of keys that each pair of boroughs shares. Each pair is in the order of the list.
fn pairs(all: &Tallies, keys: impl Fn(&Tally) -> &Vec<u64>) -> Rows {
    let held = all.iter().flat_map(|(index, tally)| keys(tally).iter().map(|key| (*key, *index)));
    let mut held: Vec<(u64, usize)> = held.collect();
    held.sort_unstable();
    held.dedup();
    let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for same in held.chunk_by(|a, b| a.0 == b.0) {
        for (place, (_, first)) in same.iter().enumerate() {
            for (_, second) in same.iter().skip(place + 1) {
                *counts.entry((*first, *second)).or_default() += 1;
            }
        }
    }
    matrix(counts)
}

fn matrix(counts: BTreeMap<(usize, usize), u64>) -> Rows {
    let row = |((from, to), n)| vec![json!(places::gss(from)), json!(places::gss(to)), json!(n)];
    counts.into_iter().map(row).collect()
}

fn badges(all: &Tallies) -> Rows {
    let dead: BTreeSet<u64> = all.iter().flat_map(|(_, t)| t.deaths.iter().copied()).collect();
    let mut rows = pairs(all, |t| &t.badges);
    rows.extend(by_borough(all, |t| {
        let held: BTreeSet<&u64> = t.badges.iter().filter(|key| dead.contains(key)).collect();
        if held.is_empty() { vec![] } else { vec![vec![json!("dead"), json!(held.len())]] }
    }));
    rows
}

fn sleeping(all: &Tallies) -> Rows {
    let approaches = all.iter().flat_map(|(from, t)| t.approaches.iter().map(move |(key, on)| (*key, (*from, *on))));
    // One approach for each person: a person approaches only their own borough.
    let approaches: BTreeMap<u64, (usize, i32)> = approaches.collect();
    let mut people = BTreeSet::new();
    for (to, tally) in all {
        for (key, on) in &tally.contacts {
            if let Some((from, _)) = approaches.get(key).filter(|(_, asked)| (0..=WITHIN).contains(&(on - asked))) {
                people.insert((*from, *to, *key));
            }
        }
    }
    let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (from, to, ..) in people {
        *counts.entry((from, to)).or_default() += 1;
    }
    matrix(counts)
}

fn unnoticed(all: &Tallies) -> Rows {
    let notices = all.iter().flat_map(|(to, t)| t.notices.iter().map(move |(key, from)| (*key, *from, *to)));
    let notices: BTreeSet<(u64, usize, usize)> = notices.collect();
    let mut counts: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for (from, tally) in all {
        for (_, to) in tally.placements.iter().filter(|(key, to)| !notices.contains(&(*key, *from, *to))) {
            *counts.entry((*from, *to)).or_default() += 1;
        }
    }
    matrix(counts)
}

fn unclaimed(all: &Tallies) -> Rows {
    let wards = all.iter().flat_map(|(index, t)| t.unclaimed.iter().map(move |(ward, pence)| (*index, *ward, pence)));
    let row = |(index, ward, pence): (usize, u64, &Vec<u64>)| {
        let mut pence = pence.clone();
        pence.sort_unstable();
        let median = pence.get((pence.len().max(1) - 1) / 2).copied().unwrap_or_default();
        let name = places::borough(index).map_or(String::new(), |b| ward_name(b, ward));
        vec![json!(name), json!(pence.len()), json!(pounds(pence.iter().sum())), json!(pounds(median))]
    };
    wards.map(row).collect()
}

fn damp(all: &Tallies) -> Rows {
    let mut homes: BTreeMap<(&str, &str, bool), u64> = BTreeMap::new();
    for (group, count) in all.iter().flat_map(|(_, t)| &t.damp) {
        *homes.entry(*group).or_default() += count;
    }
    homes.into_iter().map(|((hours, epc, damp), n)| vec![json!(hours), json!(epc), json!(damp), json!(n)]).collect()
}

fn pounds(pence: u64) -> String {
    format!("{}.{:02}", pence / 100, pence % 100)
}
