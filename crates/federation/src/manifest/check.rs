//! The manifest's rules. Each fault names its place, the problem and the fix.

use std::collections::HashMap;

use super::entries::Manifest;
use crate::anchor::{Anchor, Purpose};
use crate::error::ManifestError;
use crate::peer_id::is_domain;

/// Where in the manifest a fault is.
#[derive(Debug, Clone, Copy)]
pub(super) enum LinePlace {
    Top,
    Coordinator,
    Member(usize),
    Analyst(usize),
    Dataset(usize),
}

/// One broken rule.
pub(super) struct Fault {
    pub(super) place: LinePlace,
    pub(super) problem: String,
    pub(super) fix: &'static str,
}

impl Fault {
    /// The error, with the line from 1 where it is known.
    pub(super) fn into_error(self, origin: &str, line: Option<usize>) -> ManifestError {
        ManifestError::Invalid { origin: origin.to_owned(), line, problem: self.problem, fix: self.fix.to_owned() }
    }
}

type CheckResult = Result<(), Fault>;

impl Manifest {
    /// The first broken rule, in the order of the text.
    pub(super) fn faults(&self) -> CheckResult {
        self.check_heading()?;
        let mut seen = SeenNames::default();
        let SeenNames { addresses, log_keys, authorities } = &mut seen;

        let coordinator = LinePlace::Coordinator;
        check_address(coordinator, &self.coordinator.address, addresses)?;
        check_log_key(coordinator, &self.coordinator.log_key, log_keys)?;
        check_authority(coordinator, &self.coordinator.ca, Purpose::Coordinator, authorities)?;

        let mut boroughs = HashMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let place = LinePlace::Member(index);
            once(place, "borough", member.gss.to_string(), &mut boroughs)?;
            check_label(place, "name", &member.name)?;
            if !member.dials_out() {
                check_address(place, &member.address, addresses)?;
            }
            check_log_key(place, &member.log_key, log_keys)?;
            check_authority(place, &member.ca, Purpose::Node(member.gss.clone()), authorities)?;
        }
        for (index, analyst) in self.analysts.iter().enumerate() {
            check_authority(LinePlace::Analyst(index), &analyst.ca, Purpose::People, authorities)?;
        }
        self.check_datasets()
    }

    fn check_heading(&self) -> CheckResult {
        check_label(LinePlace::Top, "federation", &self.federation)?;
        if !is_domain(&self.domain) {
            return fault(
                LinePlace::Top,
                format!("domain {:?} is not a trust domain", self.domain),
                "use lower-case letters, digits, hyphens and dots, such as london.example",
            );
        }
        // TOML's integers are signed.
        if self.version == 0 || i64::try_from(self.version).is_err() {
            return fault(
                LinePlace::Top,
                format!("version {} is out of range", self.version),
                "number versions from 1",
            );
        }
        if self.previous.as_ref().is_some_and(|hash| !is_hex32(hash)) {
            return fault(LinePlace::Top, "previous is not a SHA-256".to_owned(), "give 64 lower-case hex digits");
        }
        if self.approvals.is_some() && !self.members.is_empty() && !(1..=self.members.len()).contains(&self.quorum()) {
            return fault(
                LinePlace::Top,
                format!("approvals = {} cannot be had", self.quorum()),
                "give a number from 1 to that of the members, or leave it out for more than half",
            );
        }
        let witnesses = self.witnessing().map(|quorum| quorum.members);
        if witnesses.is_some_and(|k| !self.members.is_empty() && !(1..=self.members.len()).contains(&k)) {
            return fault(
                LinePlace::Top,
                format!("witnesses = {} cannot be had", witnesses.unwrap_or(0)),
                "give a number from 1 to that of the members, such as two thirds of them, or leave it out",
            );
        }
        if self.witness_minutes.is_some_and(|minutes| !(1..=1440).contains(&minutes) || witnesses.is_none()) {
            return fault(
                LinePlace::Top,
                "witness_minutes cannot be used".to_owned(),
                "give 1 to 1440 minutes, beside witnesses = …",
            );
        }
        Ok(())
    }

    fn check_datasets(&self) -> CheckResult {
        let mut names = HashMap::new();
        for (index, dataset) in self.datasets.iter().enumerate() {
            let place = LinePlace::Dataset(index);
            if !is_name(&dataset.name) {
                return fault(
                    place,
                    format!("dataset name {:?} cannot be used", dataset.name),
                    "use a lower-case letter, then letters, digits, underscores, dots or hyphens",
                );
            }
            once(place, "dataset", dataset.name.clone(), &mut names)?;
            if !is_hex32(&dataset.contract_sha256) {
                return fault(
                    place,
                    format!("contract_sha256 of {} is not a SHA-256", dataset.name),
                    "give 64 lower-case hex digits",
                );
            }
            if !is_name(&dataset.protection) {
                return fault(
                    place,
                    format!("protection of {} is not the name of a method", dataset.name),
                    "name the method of the contract, such as cell-key",
                );
            }
        }
        Ok(())
    }
}

/// Values that must not occur twice, each with its owner for the message.
#[derive(Default)]
struct SeenNames {
    addresses: HashMap<String, ()>,
    log_keys: HashMap<String, ()>,
    authorities: HashMap<[u8; 32], Purpose>,
}

fn once(place: LinePlace, what: &str, value: String, seen: &mut HashMap<String, ()>) -> CheckResult {
    if seen.contains_key(&value) {
        return fault(
            place,
            format!("{what} {value} occurs twice"),
            "each entry needs its own; remove or correct one of them",
        );
    }
    seen.insert(value, ());
    Ok(())
}

/// An authority has one purpose. If a key stood in the manifest twice, its certificates could be read in two ways.
fn check_authority(
    place: LinePlace,
    pem: &str,
    purpose: Purpose,
    seen: &mut HashMap<[u8; 32], Purpose>,
) -> CheckResult {
    let anchor = match Anchor::parse(pem, purpose.clone()) {
        Ok(anchor) => anchor,
        Err(reason) => {
            return fault(
                place,
                format!("ca of {purpose} {reason}"),
                "give the one PEM certificate of the authority that issues for it",
            );
        }
    };
    // By key and not by certificate: a second certificate for the same key is the same authority.
    if let Some(other) = seen.insert(anchor.key, purpose.clone()) {
        return fault(
            place,
            format!("ca of {purpose} has the same key as the ca of {other}"),
            "an authority may speak for one only; create another for one of them",
        );
    }
    Ok(())
}

fn check_address(place: LinePlace, address: &str, seen: &mut HashMap<String, ()>) -> CheckResult {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    let port_is_good = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|number| number != 0);
    if !host_is_good || !port_is_good {
        return fault(
            place,
            format!("address {address:?} is not host:port"),
            "write it like node.camden.example:7400 or [2001:db8::1]:7400; a node that dials out has \"dial-out\"",
        );
    }
    once(place, "address", address.to_ascii_lowercase(), seen)
}

fn check_log_key(place: LinePlace, key: &str, seen: &mut HashMap<String, ()>) -> CheckResult {
    if !is_hex32(key) {
        return fault(place, "log_key is not an Ed25519 public key".to_owned(), "give 64 lower-case hex digits");
    }
    // A shared key would let one member sign another's log.
    once(place, "log_key", key.to_owned(), seen)
}

fn check_label(place: LinePlace, field: &str, value: &str) -> CheckResult {
    let length = value.chars().count();
    if value.trim() != value || !(1..=200).contains(&length) || value.chars().any(char::is_control) {
        return fault(
            place,
            format!("{field} {value:?} cannot be used"),
            "write 1 to 200 characters on one line without spaces at the ends",
        );
    }
    Ok(())
}

fn is_hex32(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn is_name(text: &str) -> bool {
    let rest_is_good = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b));
    text.len() <= 128 && text.starts_with(|c: char| c.is_ascii_lowercase()) && rest_is_good
}

fn fault<T>(place: LinePlace, problem: String, fix: &'static str) -> Result<T, Fault> {
    Err(Fault { place, problem, fix })
}
