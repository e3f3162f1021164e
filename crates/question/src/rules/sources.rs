//! Rows at every level: their sources, joins and conditions, checked from the inside out, and the scope that results.
//!
//! *Attack: a unit that nothing protects.* A derivation by unit may leave rows that tell of another unit of which nobody
//! can say how many stand behind a figure ([`units`]). Such rows are refused at the outermost level, unless the data are
//! published.
//!
//! *Attack: a question that overloads a node.* Sources and levels are counted before a contract is looked up.

use super::conditions::Rules;
use super::spelling::spelled;
use super::units;
use crate::draft::{Join, PerUnit, Rows, Source};
use crate::refusal::{Checked, Refusal, Rule};
use crate::scope::{Contracts, Scope};

/// Sources in one question at most, at all levels together.
const SOURCE_LIMIT: usize = 8;

/// Levels of per-unit derivations at most.
const LEVEL_LIMIT: usize = 3;

impl Scope {
    /// Checks rows at every level, spells their conditions, and gives their scope.
    ///
    /// # Errors
    /// The rule that refuses them.
    pub(crate) fn of(rows: Rows, contracts: Contracts<'_>) -> Checked<(Rows, Self)> {
        let mut names = 0;
        count_sources(&rows, 1, &mut names)?;
        let (rows, scope) = Self::build(rows, contracts)?;
        match &scope.loose {
            Some(domain) if !scope.protection.is_public() => Err(Refusal::new(
                Rule::UnitCount,
                format!("a subquery by unit leaves nothing to protect units of domain '{domain}' by"),
                "Group it by a unit that has one row in each table, or pick by it: EXISTS, IN",
            )),
            _ => Ok((rows, scope)),
        }
    }

    /// Checks rows and the rows that they are derived from; units that nothing protects are allowed.
    ///
    /// # Errors
    /// The rule that refuses them.
    pub(crate) fn build(rows: Rows, contracts: Contracts<'_>) -> Checked<(Rows, Self)> {
        let plain = rows.dataset().is_some();
        let Rows { first, joins, filter } = rows;
        let (first, scope) = source(first, contracts)?;
        let mut scope = if plain { scope } else { scope.placed(0) };
        let mut checked = Vec::with_capacity(joins.len());
        for (place, join) in (1_usize..).zip(joins) {
            let (source, right) = source(join.source, contracts)?;
            let join = Join { source, ..join };
            scope = scope.joined(right, place, &join)?;
            checked.push(join);
        }
        let rules = Rules { scope: &scope };
        let filter = filter.and_then(|f| spelled(f, &scope));
        if let Some(filter) = &filter {
            rules.predicate(filter)?;
        }
        Ok((Rows { first, joins: checked, filter }, scope))
    }
}

/// A source checked, and its columns under their bare names.
fn source(source: Source, contracts: Contracts<'_>) -> Checked<(Source, Scope)> {
    match source {
        Source::Dataset { name, filter } => {
            let contract = contracts(&name).ok_or_else(|| {
                Refusal::new(
                    Rule::Unknown,
                    "the dataset is not held here",
                    "See the catalogue for the boroughs that hold it",
                )
            })?;
            let scope = Scope::of_contract(contract);
            let filter = filter.and_then(|f| spelled(f, &scope));
            if let Some(filter) = &filter {
                Rules { scope: &scope }.predicate(filter)?;
            }
            Ok((Source::Dataset { name, filter }, scope))
        }
        Source::PerUnit(per_unit) => {
            let PerUnit { rows, unit, keys, values } = *per_unit;
            let (rows, inner) = Scope::build(rows, contracts)?;
            let (per_unit, scope) = units::derive(PerUnit { rows, unit, keys, values }, inner)?;
            Ok((Source::PerUnit(Box::new(per_unit)), scope))
        }
    }
}

fn count_sources(rows: &Rows, level: usize, seen: &mut usize) -> Checked<()> {
    for (_, source) in rows.sources() {
        *seen += 1;
        if *seen > SOURCE_LIMIT || level > LEVEL_LIMIT {
            return Err(Refusal::new(
                Rule::Join,
                format!("the question reads more than {SOURCE_LIMIT} tables or nests more than {LEVEL_LIMIT} levels"),
                "Ask for parts of it, and join the results",
            ));
        }
        if let Source::PerUnit(per_unit) = source {
            count_sources(&per_unit.rows, level + 1, seen)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use loda_contract::Contract;

    use super::*;
    use crate::draft::JoinKind;

    const ROLL: &str = include_str!("../../../../deploy/contracts/electoral_roll.toml");
    const HOMES: &str = include_str!("../../../../deploy/contracts/properties.toml");

    #[test]
    fn a_published_side_takes_no_unit_of_the_protected_one() {
        let contract = |text: &str| Arc::new(Contract::parse(text, "contract").unwrap());
        let published = HOMES.replace("\"cell-key\"", "\"public\"").replace("\ndimensions = 2\n", "\n");
        let known = [contract(ROLL), contract(&published)];
        let find = |name: &str| known.iter().find(|c| c.dataset == name).cloned();
        let source = |name: &str| Source::Dataset { name: name.to_owned(), filter: None };
        let on = vec![("t0.uprn".to_owned(), "uprn".to_owned())];
        let joins = vec![Join { kind: JoinKind::Inner, source: source("electoral_roll"), on }];
        let rows = Rows { first: source("properties"), joins, filter: None };
        let scope = Scope::of(rows, &find).unwrap().1;
        let domains: Vec<&str> = scope.units.iter().map(|unit| unit.unit.domain.as_str()).collect();
        assert_eq!(domains, ["person", "property"]);
        assert_eq!(scope.unit_index("t1.uprn"), Some(1));
        assert_ne!(scope.unit_index("t0.uprn"), Some(0));
    }
}
