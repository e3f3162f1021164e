//! The datasets of the demo federation: contracts, the nodes' configuration for them, and the tour.

use std::path::PathBuf;

/// A dataset of the federation, and the text of its contract.
#[derive(Debug)]
pub struct Dataset {
    pub name: &'static str,
    pub contract: &'static str,
}

/// A node's configuration for one dataset.
#[derive(Debug)]
pub struct Held {
    pub dataset: &'static str,
    pub sources: Vec<Source>,
    /// The mapping: one SELECT over the sources that gives the contract's columns, in its order.
    pub sql: String,
    /// The day up to which the records are complete, as YYYY-MM-DD.
    pub as_at: String,
    /// The days that the records cover, where they are records of a time.
    pub covers: Option<Covers>,
}

/// The `[dataset.covers]` section: the column of the time, the first day and the last day, as YYYY-MM-DD.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Covers {
    pub column: &'static str,
    pub from: &'static str,
    pub until: &'static str,
}

/// A file of the borough, and its table name in the mapping.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub path: PathBuf,
    /// `csv` (every column is text, an empty field is NULL) or `parquet`.
    pub format: &'static str,
}

/// Open data, as its publishers wrote it.
pub const REAL: [Dataset; 4] = [
    Dataset { name: "dwelling_fires", contract: include_str!("../contracts/dwelling_fires.toml") },
    Dataset { name: "hmo_households", contract: include_str!("../contracts/hmo_households.toml") },
    Dataset { name: "food_businesses", contract: include_str!("../contracts/food_businesses.toml") },
    Dataset { name: "stop_and_search", contract: include_str!("../contracts/stop_and_search.toml") },
];

/// The synthetic London that `generate` writes.
pub const SYNTHETIC: [Dataset; 11] = [
    Dataset { name: "residents", contract: include_str!("../contracts/residents.toml") },
    Dataset { name: "properties", contract: include_str!("../contracts/properties.toml") },
    Dataset { name: "council_tax", contract: include_str!("../contracts/council_tax.toml") },
    Dataset { name: "electoral_roll", contract: include_str!("../contracts/electoral_roll.toml") },
    Dataset { name: "social_care_clients", contract: include_str!("../contracts/social_care_clients.toml") },
    Dataset { name: "benefits", contract: include_str!("../contracts/benefits.toml") },
    Dataset { name: "damp_sensors", contract: include_str!("../contracts/damp_sensors.toml") },
    Dataset { name: "schools", contract: include_str!("../contracts/schools.toml") },
    Dataset { name: "pension_credit", contract: include_str!("../contracts/pension_credit.toml") },
    Dataset { name: "repairs", contract: include_str!("../contracts/repairs.toml") },
    Dataset { name: "wards", contract: include_str!("../contracts/wards.toml") },
];

/// Questions for a first look at the open data: (title and why, SQL, purpose).
///
/// `CAST(… AS DECIMAL)` rounds, because the engine is built without mathematical functions.
pub const TOUR_REAL: &[(&str, &str, &str)] = &[
    (
        "Fires in unlicensed HMOs per 1,000 HMO households. The question of the 2016 pilot. Years are \
         pooled: year by year, most cells hold fewer than five incidents and would be withheld.",
        "SELECT b.name, f.fires, h.households, \
                CAST(1000.0 * f.fires / h.households AS DECIMAL(10, 2)) AS fires_per_1000 \
         FROM (SELECT borough, COUNT(*) AS fires FROM dwelling_fires \
               WHERE hmo_license = 'HMO - unlicensed' GROUP BY borough) f \
         JOIN (SELECT borough, SUM(households) AS households FROM hmo_households \
               WHERE hmo_size <> 'Does not apply' GROUP BY borough) h ON f.borough = h.borough \
         JOIN boroughs b ON f.borough = b.gss \
         ORDER BY fires_per_1000 DESC NULLS LAST",
        "housing-safety",
    ),
    (
        "Food businesses by rating and borough. Where would a London-wide inspection team begin? Businesses are \
         not people, so these counts are exact; fewer than ten are withheld.",
        "SELECT b.name, r.r5, r.r4, r.r3, r.r2, r.r1, r.r0, \
                CAST(100.0 * r.low / r.rated AS DECIMAL(5, 1)) AS percent_low \
         FROM (SELECT borough, COUNT(*) FILTER (WHERE rating = '5') AS r5, \
                      COUNT(*) FILTER (WHERE rating = '4') AS r4, COUNT(*) FILTER (WHERE rating = '3') AS r3, \
                      COUNT(*) FILTER (WHERE rating = '2') AS r2, COUNT(*) FILTER (WHERE rating = '1') AS r1, \
                      COUNT(*) FILTER (WHERE rating = '0') AS r0, \
                      COUNT(*) FILTER (WHERE rating IN ('0', '1', '2')) AS low, COUNT(*) AS rated \
               FROM food_businesses WHERE rating IN ('0', '1', '2', '3', '4', '5') GROUP BY borough) r \
         JOIN boroughs b ON r.borough = b.gss \
         ORDER BY percent_low DESC NULLS LAST, b.name",
        "food-safety",
    ),
    (
        "Stops by borough and outcome. Stops tell of people, so every count is perturbed by cell keys: up to \
         eight either way, the same whoever asks and however often.",
        "SELECT b.name, s.none, s.arrest, s.summons, s.penalty, s.caution, s.resolution \
         FROM (SELECT borough, \
                      COUNT(*) FILTER (WHERE outcome = 'A no further action disposal') AS none, \
                      COUNT(*) FILTER (WHERE outcome = 'Arrest') AS arrest, \
                      COUNT(*) FILTER (WHERE outcome = 'Summons / charged by post') AS summons, \
                      COUNT(*) FILTER (WHERE outcome = 'Penalty Notice for Disorder') AS penalty, \
                      COUNT(*) FILTER (WHERE outcome = 'Caution (simple or conditional)') AS caution, \
                      COUNT(*) FILTER (WHERE outcome = 'Community resolution') AS resolution \
               FROM stop_and_search GROUP BY borough) s \
         JOIN boroughs b ON s.borough = b.gss ORDER BY b.name",
        "policing-scrutiny",
    ),
    (
        "Share of stops that led to no further action, by borough. A rate is formed after release, from \
         two protected counts.",
        "SELECT b.name, s.stops, s.no_action, \
                CAST(100.0 * s.no_action / s.stops AS DECIMAL(5, 1)) AS percent_no_action \
         FROM (SELECT borough, COUNT(*) AS stops, \
                      COUNT(*) FILTER (WHERE outcome = 'A no further action disposal') AS no_action \
               FROM stop_and_search GROUP BY borough) s \
         JOIN boroughs b ON s.borough = b.gss \
         ORDER BY percent_no_action DESC NULLS LAST",
        "policing-scrutiny",
    ),
    (
        "Stops by self-defined ethnicity, one figure for London. Without borough among its groups a \
         question asks for London; the statement says which boroughs it lacks.",
        "SELECT self_ethnicity, COUNT(*) AS stops FROM stop_and_search \
         GROUP BY self_ethnicity ORDER BY stops DESC NULLS LAST",
        "policing-scrutiny",
    ),
];

/// Questions for a first look at the synthetic London: (title and why, SQL, purpose).
pub const TOUR_SYNTHETIC: &[(&str, &str, &str)] = &[
    (
        "Residents and households by borough. People are counted, not rows, and someone on the registers of two \
         boroughs by both of them.",
        "SELECT b.name, r.people, r.households, \
                CAST(1.0 * r.people / r.households AS DECIMAL(5, 2)) AS household_size \
         FROM (SELECT borough, COUNT(DISTINCT person_key) AS people, \
                      COUNT(DISTINCT household_key) AS households \
               FROM residents GROUP BY borough) r \
         JOIN boroughs b ON r.borough = b.gss \
         ORDER BY r.people DESC NULLS LAST",
        "demo",
    ),
    (
        "Residents of London by age. A resident has one row in a borough, so COUNT(*) counts people. What the City of \
         London withholds is missing, and the answer says so.",
        "SELECT age_band, COUNT(*) AS people FROM residents GROUP BY age_band ORDER BY people DESC NULLS LAST",
        "demo",
    ),
    (
        "Adult social care clients of London by need. Many boroughs support fewer than ten people for the \
         rarer needs: those figures are withheld, and a note says how many boroughs a London figure lacks.",
        "SELECT need, COUNT(*) AS clients FROM social_care_clients \
         GROUP BY need ORDER BY clients DESC NULLS LAST",
        "demo",
    ),
    (
        "Council tax: homes with a single-person discount where two or more adults are registered to vote. Adults \
         are counted for each home first; only the number of homes leaves a borough.",
        "SELECT b.name, COUNT(*) AS discounts, COUNT(*) FILTER (WHERE e.adults >= 2) AS two_adults, \
                CAST(100.0 * COUNT(*) FILTER (WHERE e.adults >= 2) / COUNT(*) AS DECIMAL(5, 1)) AS percent \
         FROM council_tax c \
         LEFT JOIN (SELECT uprn, COUNT(*) FILTER (WHERE adult) AS adults FROM electoral_roll GROUP BY uprn) e \
              ON c.uprn = e.uprn \
         JOIN boroughs b ON c.borough = b.gss \
         WHERE c.single_person_discount GROUP BY b.name ORDER BY percent DESC NULLS LAST, b.name",
        "demo",
    ),
    (
        "Pension Credit that could be claimed and is not: pounds a week, for inner and outer London. Sums are changed \
         at random in each borough by about as much as one household can add, and the statement says how far off they are.",
        "SELECT b.inner_london, COUNT(*) AS households, SUM(p.unclaimed) AS pounds_a_week, \
                AVG(p.unclaimed) AS mean \
         FROM pension_credit p JOIN boroughs b ON p.borough = b.gss GROUP BY b.inner_london",
        "demo",
    ),
    (
        "Damp: homes with a sensor by their hours over 70 % humidity in the year, and how many of them asked for a \
         damp repair. Each home is banded by its own sum before it is counted.",
        "SELECT CASE WHEN s.hours < 168 THEN '1: under a week' WHEN s.hours < 336 THEN '2: one to two weeks' \
                     ELSE '3: two weeks and more' END AS over_70, \
                COUNT(*) AS homes, COUNT(*) FILTER (WHERE r.damp >= 1) AS asked_for_repair \
         FROM (SELECT uprn, SUM(hours_over_70) AS hours FROM damp_sensors GROUP BY uprn) s \
         LEFT JOIN (SELECT uprn, COUNT(*) AS damp FROM repairs WHERE code = 'Damp and mould' GROUP BY uprn) r \
              ON s.uprn = r.uprn \
         GROUP BY 1 ORDER BY 1",
        "demo",
    ),
    (
        "Weekly cost of social care by setting, with its standard deviation. A few packages cost more than all others: \
         above £2,500 a week they count as £2,500, so that no person can move a figure by more.",
        "SELECT setting, COUNT(*) AS clients, AVG(weekly_cost) AS mean, STDDEV(weekly_cost) AS deviation \
         FROM social_care_clients GROUP BY setting ORDER BY clients DESC NULLS LAST",
        "demo",
    ),
    (
        "Pupils eligible for free school meals by inspection result, inner and outer London, with totals. Published \
         figures need no protection and join with anything.",
        "SELECT b.inner_london, s.ofsted, SUM(s.pupils) AS pupils, SUM(s.free_school_meals) AS eligible, \
                CAST(100.0 * SUM(s.free_school_meals) / SUM(s.pupils) AS DECIMAL(5, 1)) AS percent_eligible \
         FROM schools s JOIN boroughs b ON s.borough = b.gss \
         GROUP BY ROLLUP (b.inner_london, s.ofsted) ORDER BY 1, 2",
        "demo",
    ),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_contract_parses_under_its_name() {
        for dataset in REAL.iter().chain(&SYNTHETIC) {
            let contract = loda_contract::Contract::parse(dataset.contract, dataset.name).unwrap();
            assert_eq!(contract.dataset, dataset.name);
        }
    }
}
