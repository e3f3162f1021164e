//! Group keys, and the grid of cells that they span.
//!
//! *Attack: a cell for each record.* Grouping by a unit, an identifier or the values of a measure would list records under
//! another name, so these are no keys. The values of a measure are where records are published. Many keys together could do the same, so the product of their values is limited
//! ([`GRID_LIMIT`] cells at a node). The values follow from contracts, so a refusal says nothing of the data. A key whose
//! values the contract does not list is open, and has no grid.

use loda_contract::{ColumnType, GRID_LIMIT, Role, Value};

use super::conditions::Rules;
use crate::draft::{Scalar, bare_name};
use crate::enumerate::image;
use crate::refusal::{Checked, Refusal, Rule};
use crate::text::{scalar_sql, title};

/// A group key with its type and, where enumerable, its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The scalar that rows are grouped by.
    pub scalar: Scalar,
    /// The type of its values.
    pub kind: ColumnType,
    /// The image of its sources' domains, NULL included where it can occur; `None`: open.
    pub values: Option<Vec<Value>>,
}

impl Rules<'_> {
    /// A group key, judged.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub(crate) fn key(&self, scalar: &Scalar) -> Checked<Key> {
        if scalar.is_constant() {
            return Err(Refusal::new(
                Rule::Operator,
                "a group key is a constant",
                "Leave it out of GROUP BY and write it in the SELECT list",
            ));
        }
        if let Scalar::Column(name) = scalar {
            let column = self.column(name)?;
            let name = bare_name(name);
            match column.role {
                Role::Measure { .. } if self.scope.protection.is_public() => {
                    return Ok(Key { scalar: scalar.clone(), kind: column.kind, values: None });
                }
                Role::Unit(_) => {
                    return Err(Refusal::new(
                        Rule::Key,
                        format!("grouping by '{name}' would give a figure for each {}", column.role.name()),
                        format!("Group by a dimension, and count with COUNT(DISTINCT {name})"),
                    ));
                }
                Role::Measure { .. } => {
                    return Err(Refusal::new(
                        Rule::BandEdge,
                        format!("measure '{}' cannot be grouped by its values", title(column)),
                        "Band it at its edges: CASE WHEN value < edge THEN 'low' ELSE 'high' END",
                    ));
                }
                _ => {}
            }
        }
        let kind = self.scalar(scalar)?;
        Ok(Key { scalar: scalar.clone(), kind, values: image(scalar, self.scope)? })
    }

    /// The product of the keys' values; `None` where a key is open.
    ///
    /// # Errors
    /// Rule `grid-too-large`, with the key to leave out or to band.
    pub(crate) fn grid(&self, keys: &[Key]) -> Checked<Option<u64>> {
        let mut product: u64 = 1;
        let mut open = false;
        for key in keys {
            match &key.values {
                Some(values) => product = product.saturating_mul(values.len() as u64),
                None => open = true,
            }
        }
        // Published records are their own list: no value of the contract is added to it.
        if open && self.scope.protection.is_public() {
            return Ok(None);
        }
        if product <= GRID_LIMIT {
            return Ok((!open).then_some(product));
        }
        let largest =
            keys.iter().filter_map(|k| k.values.as_ref().map(|v| (v.len(), &k.scalar))).max_by_key(|(n, _)| *n);
        let advice = largest.map_or_else(String::new, |(size, scalar)| {
            let left = product / u64::try_from(size).unwrap_or(1).max(1);
            let name = scalar_sql(scalar);
            if left <= GRID_LIMIT {
                format!("Leave out or band {name} ({size} values): grid {product} → {left} and upwards")
            } else {
                format!("Group by fewer keys, or band {name} ({size} values)")
            }
        });
        Err(Refusal::new(
            Rule::Grid,
            format!("the group keys span {product} cells at a node; the limit is {GRID_LIMIT}"),
            advice,
        ))
    }
}
