//! The report on the services' records: how many people they describe, in how many services, and which pairs a person
//! must review.

use std::collections::BTreeMap;
use std::fmt::Write;

use loda_linkage::Index;

use super::clerical_review::Pair;
use super::index::Changes;
use crate::ingest::source::SourceReport;

/// A person with more records than this deserves a look: a placeholder may have joined strangers.
const MANY: usize = 12;

/// The index in figures. It stays with the borough.
#[derive(Debug, Default)]
pub(crate) struct ResidentsReport {
    pub(crate) services: Vec<ServiceReport>,
    pub(crate) people: u64,
    /// People by the number of services that know them.
    in_services: BTreeMap<usize, u64>,
    /// The most records of one person, and the number of people with more than `MANY`.
    largest: usize,
    many: u64,
    changes: Changes,
    pub(super) unknown_decisions: u64,
    /// The surest pairs come first.
    pub(crate) review: Vec<Pair>,
}

/// The figures of one service.
#[derive(Debug)]
pub(crate) struct ServiceReport {
    name: String,
    pub(super) records: u64,
    pub(super) without_key: u64,
    pub(super) too_little: u64,
    /// Records of people who are known to another service too.
    elsewhere: u64,
    pub(super) sources: BTreeMap<String, SourceReport>,
    pub(super) unread: BTreeMap<String, BTreeMap<String, u64>>,
}

impl ServiceReport {
    /// The name of the service, and the number of its records.
    pub(super) fn count(&self) -> (String, u64) {
        (self.name.clone(), self.records)
    }

    pub(super) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            records: 0,
            without_key: 0,
            too_little: 0,
            elsewhere: 0,
            sources: BTreeMap::new(),
            unread: BTreeMap::new(),
        }
    }
}

impl ResidentsReport {
    pub(super) fn finish(&mut self, index: &Index, keys: &[(u16, Box<str>)], names: &[String], changes: Changes) {
        let mut services: Vec<Vec<u16>> = vec![Vec::new(); index.count];
        let mut records: Vec<usize> = vec![0; index.count];
        for (person, (service, _)) in index.people.iter().zip(keys) {
            if let Some(known) = services.get_mut(*person).filter(|known| !known.contains(service)) {
                known.push(*service);
            }
            if let Some(count) = records.get_mut(*person) {
                *count += 1;
            }
        }
        for known in &services {
            *self.in_services.entry(known.len()).or_default() += 1;
        }
        for (person, (service, _)) in index.people.iter().zip(keys) {
            if services.get(*person).is_some_and(|known| known.len() > 1)
                && let Some(report) = self.services.get_mut(usize::from(*service))
            {
                report.elsewhere += 1;
            }
        }
        self.people = index.count as u64;
        self.largest = records.iter().copied().max().unwrap_or(0);
        self.many = records.iter().filter(|count| **count > MANY).count() as u64;
        self.changes = changes;
        let reference = |at: usize| {
            let (service, key) = keys.get(at)?;
            Some((names.get(usize::from(*service))?.clone(), key.to_string()))
        };
        let pair = |pair: &loda_linkage::Review| {
            Some(Pair { one: reference(pair.one)?, other: reference(pair.other)?, bits: pair.sure })
        };
        self.review = index.review.iter().filter_map(pair).collect();
    }

    /// One line for the operator's log.
    pub(crate) fn summary(&self) -> String {
        let sum = |of: fn(&ServiceReport) -> u64| self.services.iter().map(of).sum::<u64>();
        let mut line = format!(
            "residents index: {} people in {} records of {} services; {} pairs for review",
            self.people,
            sum(|service| service.records),
            self.services.len(),
            self.review.len()
        );
        let unread = sum(|service| service.sources.values().map(|source| source.bad).sum());
        for (count, what) in [
            (unread, "rows could not be read"),
            (sum(|service| service.without_key), "records have no key"),
            (self.unknown_decisions, "decisions name records that are not there"),
        ] {
            if count > 0 {
                let _infallible = write!(line, "; {count} {what}");
            }
        }
        line
    }

    /// The whole report, for a terminal.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "{}\n\n  {:<24} {:>9} {:>12} {:>14} {:>18}\n",
            self.summary(),
            "service",
            "records",
            "without key",
            "says too little",
            "elsewhere too"
        );
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        for service in &self.services {
            let share = service.elsewhere as f64 * 100.0 / service.records.max(1) as f64;
            line(format!(
                "  {:<24} {:>9} {:>12} {:>14} {:>16.1} %",
                service.name, service.records, service.without_key, service.too_little, share
            ));
            for (name, source) in service.sources.iter().filter(|(_, source)| source.bad > 0) {
                line(format!("    source {name}: {} rows could not be read; `check` names them", source.bad));
            }
            for (function, shapes) in &service.unread {
                let count: u64 = shapes.values().sum();
                let told = shapes.iter().map(|(shape, count)| format!("{shape} ({count})")).collect::<Vec<_>>();
                line(format!("    {count} values became NULL in {function}(); by shape: {}", told.join(", ")));
            }
        }
        line(String::new());
        for (services, people) in &self.in_services {
            line(format!("  {people} people are known to {services} of the services"));
        }
        line(format!("  the most records of one person: {}; {} people have more than {MANY}", self.largest, self.many));
        let Changes { new, joined, parted } = self.changes;
        line(format!("  since the last index: {new} new, {joined} joined with another, {parted} parted from another"));
        if self.unknown_decisions > 0 {
            line(format!("  {} decisions name records that are not there", self.unknown_decisions));
        }
        let _infallible = match self.review.len() {
            0 => writeln!(out, "\n  No pair is left for review."),
            pairs => writeln!(
                out,
                "\n  {pairs} pairs may be one person or two: `loda-node residents --review FILE` lists them by their\n  \
                 references. Write yes or no under `same`, and name the file as `decided` in [residents]."
            ),
        };
        out.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
    }
}
