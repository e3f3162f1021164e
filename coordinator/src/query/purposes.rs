//! The purposes that boroughs have agreed to, as their nodes last told.
//!
//! A node alone decides on its questions. This only tells an asker beforehand what there is to state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use loda_identity::{Gss, PeerId};
use loda_proto::v1;
use loda_question::{Refusal, Rule};

/// The most names of one kind in a grant, and the longest of them. Names of agreements are far below.
const NAMES: usize = 1_000;
const LONGEST: usize = 200;

/// The most purposes of datasets that a node's grants may give together. Each costs work whenever somebody looks.
const PAIRS: usize = 10_000;

/// The most purposes that a refusal lists.
const LISTED: usize = 12;

/// The agreements of the nodes that could be reached.
#[derive(Default)]
pub(crate) struct Purposes(Mutex<BTreeMap<Gss, Vec<v1::Grant>>>);

impl Purposes {
    /// Takes in what a node told. Each answer stands for the whole agreement. `speakable`: whether a question can state
    /// a purpose; a text of another form would only be a message to the asker.
    ///
    /// *Attack: a node that tells a long agreement.* What it costs to look at is counted here, once.
    pub(super) fn note(&self, gss: &Gss, grants: Vec<v1::Grant>, speakable: &dyn Fn(&str) -> bool) {
        let few = |texts: &[String]| texts.len() <= NAMES && texts.iter().all(|text| text.len() <= LONGEST);
        let dated = |text: &str| text.parse::<chrono::NaiveDate>().is_ok();
        let mut pairs = 0_usize;
        let fits = |grant: &v1::Grant| {
            pairs = pairs.saturating_add(grant.purposes.len().saturating_mul(grant.datasets.len()).max(1));
            let names = few(&grant.analysts) && few(&grant.purposes) && few(&grant.datasets);
            let plain = grant.purposes.iter().chain(&grant.datasets).all(|name| speakable(name));
            pairs <= PAIRS && names && plain && dated(&grant.from) && dated(&grant.until)
        };
        let grants = grants.into_iter().filter(fits).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(gss.clone(), grants);
    }

    /// The purposes that a person may state on a day (ISO 8601): for each its datasets, and for these the boroughs.
    pub(crate) fn of(&self, asker: &PeerId, today: &str) -> Vec<v1::Purpose> {
        let asker = asker.to_string();
        // By purpose and dataset: the boroughs, and the day on which the first of their grants ends.
        let mut found: BTreeMap<String, BTreeMap<String, (BTreeSet<&Gss>, String)>> = BTreeMap::new();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (gss, grant) in known.iter().flat_map(|(gss, grants)| grants.iter().map(move |grant| (gss, grant))) {
            // ISO dates are in the order of their texts.
            let in_force = *grant.from <= *today && *today <= *grant.until;
            if !in_force || !grant.analysts.contains(&asker) {
                continue;
            }
            for (purpose, dataset) in grant.purposes.iter().flat_map(|p| grant.datasets.iter().map(move |d| (p, d))) {
                let datasets = found.entry(purpose.clone()).or_default();
                let (boroughs, until) =
                    datasets.entry(dataset.clone()).or_insert_with(|| (BTreeSet::new(), grant.until.clone()));
                boroughs.insert(gss);
                if grant.until < *until {
                    until.clone_from(&grant.until);
                }
            }
        }
        let datasets = |of: BTreeMap<String, (BTreeSet<&Gss>, String)>| {
            let one = |(dataset, (boroughs, until)): (String, (BTreeSet<&Gss>, String))| v1::PurposeDataset {
                dataset,
                boroughs: boroughs.into_iter().map(Gss::to_string).collect(),
                until,
            };
            of.into_iter().map(one).collect()
        };
        found.into_iter().map(|(purpose, of)| v1::Purpose { purpose, datasets: datasets(of) }).collect()
    }

    /// The refusal of a question that states no purpose. `None`: a node may accept that, or no node is known yet.
    pub(super) fn missing(&self, asker: &PeerId, today: &str) -> Option<Refusal> {
        let known: Vec<String> = self.of(asker, today).into_iter().map(|one| one.purpose).collect();
        if known.iter().any(String::is_empty) || self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return None;
        }
        let advice = match known.as_slice() {
            [] => "No borough that can be reached has agreed to a question of yours: ask the boroughs to add you"
                .to_owned(),
            few => {
                let more = if few.len() > LISTED { ", … (loda purposes lists all)" } else { "" };
                let shown: Vec<&str> = few.iter().take(LISTED).map(String::as_str).collect();
                format!("State one with --purpose: {}{more}", shown.join(", "))
            }
        };
        Some(Refusal::new(Rule::Agreement, "the question states no purpose", advice))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::service::is_plain;

    #[test]
    fn an_asker_sees_what_is_agreed_for_them_today() {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let grant = |analyst: &str, purposes: &[&str], until: &str| v1::Grant {
            analysts: texts(&[analyst]),
            purposes: texts(purposes),
            datasets: texts(&["residents"]),
            from: "2026-01-01".to_owned(),
            until: until.to_owned(),
            signed: false,
        };
        let (ann, bob) = ("spiffe://f/analyst/ann", "spiffe://f/analyst/bob");
        let purposes = Purposes::default();
        assert!(purposes.missing(&ann.parse().unwrap(), "2026-06-01").is_none());
        let gss = |number: u8| format!("E090000{number:02}").parse::<Gss>().unwrap();
        let note = |number: u8, grants: Vec<v1::Grant>| purposes.note(&gss(number), grants, &is_plain);
        note(1, vec![grant(ann, &["homes", "care"], "2026-12-31"), grant(bob, &["bobs"], "2026-12-31")]);
        note(2, vec![grant(ann, &["homes"], "2026-06-30"), grant(ann, &["x"], "no day")]);
        // A node in another's hands: names for the asker's terminal, and more of them than an agreement has.
        let many: Vec<String> = (0..NAMES).map(|number| format!("p{number}")).collect();
        let flood = v1::Grant { purposes: many.clone(), datasets: many, ..grant(ann, &[], "2026-12-31") };
        note(3, vec![grant(ann, &["call 0123: \u{1b}[2J"], "2026-12-31"), flood]);
        let ann: PeerId = ann.parse().unwrap();
        let named = |day: &str| {
            let of = purposes.of(&ann, day).into_iter();
            of.map(|p| (p.purpose, p.datasets.iter().map(|d| (d.boroughs.len(), d.until.clone())).collect::<Vec<_>>()))
                .collect::<Vec<_>>()
        };
        let day = |text: &str| text.to_owned();
        assert_eq!(
            named("2026-06-01"),
            [(day("care"), vec![(1, day("2026-12-31"))]), (day("homes"), vec![(2, day("2026-06-30"))])]
        );
        assert_eq!(named("2026-07-01").iter().map(|(_, of)| of.first().unwrap().0).sum::<usize>(), 2);
        assert!(named("2027-01-01").is_empty());
        assert!(purposes.missing(&ann, "2026-06-01").unwrap().advice.ends_with("care, homes"));
        assert!(purposes.missing(&ann, "2027-01-01").unwrap().advice.contains("No borough"));
    }
}
