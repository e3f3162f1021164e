//! A node's configuration over the extracts of one borough: the residents index over the services that know people, and
//! the demo's datasets that these extracts can supply.

use std::collections::BTreeMap;

use serde::Serialize;

use super::dialect::{Mapping, Source};
use crate::boroughs::Borough;

/// A service that knows people: its name, whether it holds each person once, and the particulars that it has besides a
/// name.
const KNOWN: [(&str, bool, &str); 14] = [
    ("customers", false, "date_of_birth nino uprn address postcode"),
    ("council_tax", true, "uprn address postcode"),
    ("electoral_roll", true, "uprn address postcode"),
    ("tenancies", false, "date_of_birth nino uprn address postcode"),
    ("housing_benefit", false, "date_of_birth nino uprn postcode"),
    ("children", true, "date_of_birth nhs_number uprn postcode"),
    ("school_roll", true, "date_of_birth"),
    ("homelessness_approaches", false, "date_of_birth nino"),
    ("rough_sleeping_contacts", false, "date_of_birth"),
    ("placements", false, "date_of_birth"),
    ("s208_notices", false, "address postcode"),
    ("blue_badges", false, "date_of_birth nino address postcode"),
    ("deaths", true, "date_of_birth nhs_number"),
    ("social_care", true, "date_of_birth nhs_number postcode"),
];

/// A dataset, the services that it uses, and the SELECT over them.
const DATASETS: [(&str, &[&str], &str); 5] = [
    (
        "council_tax",
        &["council_tax"],
        "SELECT uprn, ward, ward_code, band, single_person_discount, moves_24m FROM of_council_tax",
    ),
    (
        "electoral_roll",
        &["electoral_roll"],
        "SELECT resident('electoral_roll', record_ref) AS person_key, uprn, adult, franchise FROM of_electoral_roll",
    ),
    (
        "properties",
        &["properties", "epc", "hmo_licences"],
        "SELECT p.uprn, p.ward, e.epc_band, p.storeys, p.above_shop, COALESCE(h.hmo_licence, 'None') AS hmo_licence \
         FROM of_properties p \
         LEFT JOIN (SELECT uprn, epc_band, ROW_NUMBER() OVER (PARTITION BY uprn ORDER BY lodged DESC, epc_band) AS place \
                    FROM of_epc) e ON p.uprn = e.uprn AND e.place = 1 \
         LEFT JOIN (SELECT uprn, MIN(hmo_status) AS hmo_licence FROM of_hmo_licences \
                    WHERE hmo_status IN ('Mandatory', 'Additional') GROUP BY uprn) h ON p.uprn = h.uprn",
    ),
    ("repairs", &["repairs"], "SELECT uprn, job_date AS month, job AS code, cost FROM of_repairs"),
    (
        "social_care_clients",
        &["social_care"],
        "SELECT resident('social_care', record_ref) AS person_key, \
                CASE WHEN date_of_birth > DATE '1960-12-31' THEN '18-64' \
                     WHEN date_of_birth > DATE '1950-12-31' THEN '65-74' \
                     WHEN date_of_birth > DATE '1940-12-31' THEN '75-84' \
                     WHEN date_of_birth IS NOT NULL THEN '85 and over' END AS age_band, \
                need, setting, weekly_cost FROM of_social_care",
    ),
];

/// Makes `node.toml` for the folder of a borough's extracts. The contracts are in `../../contracts`. `loda federation
/// trial` writes into the same folder.
///
/// # Errors
/// Only on a fault in this program.
pub fn configuration(seed: u64, borough: &Borough) -> anyhow::Result<String> {
    let mappings: BTreeMap<&str, Mapping> = super::mappings(seed, borough).into_iter().collect();
    let services = KNOWN.iter().filter_map(|(service, once, knows)| {
        let mapping = mappings.get(service)?;
        Some(ServiceFile {
            name: service,
            once: *once,
            sql: who(mapping, knows),
            codes: codes(&[mapping]),
            source: [&mapping.source],
        })
    });
    let datasets = DATASETS.iter().map(|(dataset, services, select)| {
        let used: Vec<(&str, &Mapping)> = services.iter().filter_map(|s| Some((*s, mappings.get(s)?))).collect();
        let parts = used.iter().map(|(service, mapping)| format!("of_{service} AS ({})", mapping.select));
        let mappings: Vec<&Mapping> = used.iter().map(|(_, mapping)| *mapping).collect();
        DatasetFile {
            contract: format!("../../contracts/{dataset}.toml"),
            as_at: "2025-12-31",
            sql: format!("WITH {} {select}", parts.collect::<Vec<_>>().join(", ")),
            codes: codes(&mappings),
            source: mappings.iter().map(|mapping| &mapping.source).collect(),
        }
    });
    let file = NodeFile {
        borough: borough.gss,
        listen: "127.0.0.1:7444",
        manifest: "manifest.toml",
        agreement: "agreement.toml",
        state: "state",
        tls: Tls { certificate: "tls.pem", key: "tls.key", revocation_lists: "revocation" },
        residents: Residents { service: services.collect() },
        dataset: datasets.collect(),
    };
    Ok(toml::to_string(&file)?)
}

/// The columns of a service that identify people, in the form that the residents index needs. A property reference
/// identifies a home if the service has one.
fn who(mapping: &Mapping, knows: &str) -> String {
    let part = |column: &str| match column {
        "date_of_birth" => "date_of_birth AS born",
        "nhs_number" => "nhs_number AS nhs",
        "uprn" => "uprn AS number",
        "address" => "address AS street",
        "postcode" => "postcode",
        _ => "nino",
    };
    let parts: Vec<&str> = knows.split(' ').map(part).collect();
    format!(
        "SELECT record_ref AS key, given_name AS given, surname, {} FROM ({}) AS records",
        parts.join(", "),
        mapping.select
    )
}

fn codes<'a>(mappings: &[&'a Mapping]) -> BTreeMap<&'a str, BTreeMap<&'a str, &'a str>> {
    mappings.iter().flat_map(|mapping| mapping.codes.iter()).map(|(list, words)| (*list, words.clone())).collect()
}

#[derive(Serialize)]
struct NodeFile<'a> {
    borough: &'a str,
    listen: &'a str,
    manifest: &'a str,
    agreement: &'a str,
    state: &'a str,
    tls: Tls<'a>,
    residents: Residents<'a>,
    dataset: Vec<DatasetFile<'a>>,
}

#[derive(Serialize)]
struct Tls<'a> {
    certificate: &'a str,
    key: &'a str,
    revocation_lists: &'a str,
}

#[derive(Serialize)]
struct Residents<'a> {
    service: Vec<ServiceFile<'a>>,
}

#[derive(Serialize)]
struct ServiceFile<'a> {
    name: &'a str,
    once: bool,
    sql: String,
    codes: BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>,
    source: [&'a Source; 1],
}

#[derive(Serialize)]
struct DatasetFile<'a> {
    contract: String,
    as_at: &'a str,
    sql: String,
    codes: BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>,
    source: Vec<&'a Source>,
}
