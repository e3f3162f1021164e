//! Checks that contracts agree with each other.

use std::collections::BTreeMap;

use crate::contract::Contract;

/// Checks that contracts agree about shared unit domains (people or things), and about columns that one contract names as the
/// same column or as a code list. A named dataset without a contract belongs to another federation and is not checked.
///
/// # Errors
/// The first fault found, with its dataset and column, and the fix.
pub fn check_together<'c>(contracts: impl Iterator<Item = &'c Contract> + Clone) -> Result<(), String> {
    let mut about: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for contract in contracts.clone() {
        for unit in &contract.units {
            let (first, people) = *about.entry(&unit.domain).or_insert((&contract.dataset, unit.about_people));
            if people != unit.about_people {
                return Err(format!(
                    "unit domain '{}' is about people in one of '{first}' and '{}', and about things in the other: say the same in both",
                    unit.domain, contract.dataset
                ));
            }
        }
    }
    let find = |(dataset, column): &(String, String)| {
        let contract = contracts.clone().find(|c| c.dataset == *dataset)?;
        contract.column(column).map(|column| (contract, column))
    };
    for contract in contracts.clone() {
        for column in &contract.columns {
            let here = format!("{}.{}", contract.dataset, column.name);
            if let Some(other) = &column.attribute.same_as
                && let Some((_, same)) = find(other)
                && (same.kind != column.kind || same.role != column.role || same.attribute.same_as.is_some())
            {
                return Err(format!("{here} is not of the type and values of {}.{}: give it those", other.0, other.1));
            }
            if let Some(other) = &column.attribute.codes_from
                && let Some((list, listed)) = find(other)
                && (!list.protection.is_public() || listed.kind != column.kind)
            {
                return Err(format!(
                    "{here} takes its values from {}.{}, which is not published text",
                    other.0, other.1
                ));
            }
        }
    }
    Ok(())
}
