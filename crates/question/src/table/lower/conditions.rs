//! A question's conditions, keys and measures, as those of the register that its sources hang on.
//!
//! A join, EXISTS or NOT EXISTS becomes presence in a dataset, and a condition on a source becomes one on the source's
//! columns of the register. All of it is evaluated over released cells and never over records.

use std::collections::BTreeSet;
use std::sync::Arc;

use loda_contract::{Role, Value};

use super::attach::{Attached, Attachment};
use super::proposal::ProposedColumn;
use super::several::{Extreme, extreme, mapped, of_several, without_truisms};
use crate::draft::column_name::ColumnName;
use crate::draft::{Comparison, JoinKind, Measure, Predicate, Scalar, bare_name};
use crate::refusal::{Checked, Refusal, Rule};
use crate::table::ColumnRef;

impl Attached<'_> {
    /// Which units are rows of the question, and which of them count.
    ///
    /// # Errors
    /// The rule that refuses one.
    pub(super) fn conditions(
        &self,
        filter: Option<&Predicate>,
        condition: Option<&Predicate>,
    ) -> Checked<(Predicate, Predicate)> {
        let mut there = Vec::new();
        for source in &self.sources {
            match source.join {
                None | Some(JoinKind::Inner | JoinKind::Semi) => {
                    there.push(self.exists(source, source.filter.clone())?)
                }
                Some(JoinKind::Anti) => there.push(not_true(self.exists(source, source.filter.clone())?)),
                Some(JoinKind::Left) => {}
            }
        }
        let mut counts = there.clone();
        let rows_of = |of: Option<&Predicate>| match of {
            Some(Predicate::And(operands)) => operands.clone(),
            Some(other) => vec![other.clone()],
            None => Vec::new(),
        };
        let (filter, condition) = (rows_of(filter), rows_of(condition));
        let both: Vec<Predicate> = filter.iter().chain(&condition).cloned().collect();
        there.extend(self.operands(&filter)?);
        counts.extend(self.operands(&both)?);
        Ok((Predicate::And(there), Predicate::And(counts)))
    }

    /// Conditions over the register. Those that tell of one of several rows of a unit say together that there is such a row.
    fn operands(&self, operands: &[Predicate]) -> Checked<Vec<Predicate>> {
        let mut mapped = Vec::new();
        let mut some: Vec<(usize, Vec<Predicate>)> = Vec::new();
        for operand in operands {
            let several = self.several(operand);
            match several.iter().collect::<Vec<_>>().as_slice() {
                [] => mapped.push(self.predicate(operand)?),
                [one] => match some.iter_mut().find(|(place, _)| place == *one) {
                    Some((_, of)) => of.push(operand.clone()),
                    None => some.push((**one, vec![operand.clone()])),
                },
                _ => return Err(of_several()),
            }
        }
        for (place, operands) in some {
            let source = self.sources.get(place).ok_or_else(of_several)?;
            let mut matched = Vec::new();
            for operand in operands {
                match self.matching(source, &operand) {
                    Some(exists) => {
                        let present = self.exists(source, source.filter.clone())?;
                        mapped.push(if exists { present } else { not_true(present) });
                    }
                    None if source.join == Some(JoinKind::Left) && !is_strict(&operand) => return Err(of_several()),
                    None => {
                        let mut names = BTreeSet::new();
                        operand.columns(&mut names);
                        if names.iter().any(|name| self.source(name).is_none_or(|(of, _)| !std::ptr::eq(of, source))) {
                            return Err(of_several());
                        }
                        matched.push(operand.renamed(&|name| bare_name(&name).to_owned()));
                    }
                }
            }
            if !matched.is_empty() {
                matched.extend(source.filter.clone());
                mapped.push(self.exists(source, Some(Predicate::And(matched).normal()))?);
            }
        }
        Ok(mapped)
    }

    /// After a left join: whether a condition says that there was a match, or that there was none.
    fn matching(&self, source: &Attachment<'_>, operand: &Predicate) -> Option<bool> {
        let (missing, of) = match operand {
            Predicate::IsNull(of) => (true, of),
            Predicate::Not(inner) => match inner.as_ref() {
                Predicate::IsNull(of) => (false, of),
                _ => return None,
            },
            _ => return None,
        };
        let Scalar::Column(name) = of else { return None };
        let nullable = source.contract.column(bare_name(name)).is_none_or(|c| c.nullable);
        (source.join == Some(JoinKind::Left) && !nullable).then_some(!missing)
    }

    /// The sources with several rows a unit of which a condition reads one row.
    fn several(&self, predicate: &Predicate) -> BTreeSet<usize> {
        let mut names = BTreeSet::new();
        predicate.columns(&mut names);
        let mut places = BTreeSet::new();
        for (place, source) in self.sources.iter().enumerate() {
            let of_row = |name: &String| {
                self.source(name).is_some_and(|(of, bare)| {
                    std::ptr::eq(of, source) && !of.once && of.per_unit.is_none() && !of.tells_of_unit(bare)
                })
            };
            if names.iter().any(of_row) {
                places.insert(place);
            }
        }
        places
    }

    fn source<'n>(&self, name: &'n str) -> Option<(&Attachment<'_>, &'n str)> {
        if self.bare {
            return self.sources.first().map(|source| (source, name));
        }
        let ColumnName { source, name } = ColumnName::of(name);
        self.sources.get(source?).map(|source| (source, name))
    }

    /// The column of a measure, whether it may be NULL, and that a unit is where it stands.
    ///
    /// # Errors
    /// Where it is a value of another unit, or of one of several rows.
    pub(super) fn measure(&self, name: &str) -> Checked<(ColumnRef, bool, Predicate)> {
        let (source, bare) = self.source(name).ok_or_else(of_several)?;
        let column = source.contract.column(bare).filter(|c| matches!(c.role, Role::Measure { .. }));
        match column {
            Some(column) if source.via.is_none() && source.once && source.per_unit.is_none() => {
                let present = self.exists(source, source.filter.clone())?;
                Ok((ColumnRef::own(&source.contract.dataset, bare), column.nullable, present))
            }
            _ => Err(Refusal::new(
                Rule::PersonalSum,
                format!("'{}' is a value of another unit than each {}, and is not added up", bare, self.unit),
                "Count units by its bands, or ask of the unit whose value it is",
            )),
        }
    }

    /// That a unit has a row of a source that meets a condition over the source's bare columns, and one of the source that
    /// it is joined to.
    fn exists(&self, source: &Attachment<'_>, filter: Option<Predicate>) -> Checked<Predicate> {
        let mut holds = vec![self.has_row(source, filter)?];
        if let Some(having) = &source.having {
            holds.push(self.mapped_having(source, having)?);
        }
        let parent = source.parent.and_then(|place| self.sources.get(place));
        if let Some(parent) =
            parent.filter(|parent| parent.join == Some(JoinKind::Left) || self.hangs_on_a_match(parent))
        {
            holds.push(self.exists(parent, parent.filter.clone())?);
        }
        Ok(if holds.len() > 1 { Predicate::And(holds) } else { holds.remove(0) })
    }

    /// The other conditions (HAVING) on a subquery's units, over the register.
    fn mapped_having(&self, source: &Attachment<'_>, having: &Predicate) -> Checked<Predicate> {
        let alone = Attachment {
            contract: Arc::clone(&source.contract),
            filter: source.filter.clone(),
            per_unit: source.per_unit,
            join: None,
            via: source.via.clone(),
            unit: source.unit.clone(),
            once: source.once,
            parent: None,
            having: None,
        };
        Attached { sources: vec![alone], unit: self.unit.clone(), bare: false }.predicate(having)
    }

    fn has_row(&self, source: &Attachment<'_>, filter: Option<Predicate>) -> Checked<Predicate> {
        let present = Predicate::Truth(Scalar::Column(source.presence().to_string()));
        let filter = match filter {
            Some(Predicate::Constant(Some(true))) | None => return Ok(present),
            // Of another borough's records, say.
            Some(Predicate::Constant(_)) => return Ok(Predicate::Constant(Some(false))),
            Some(filter) => match without_truisms(filter, &source.contract) {
                Some(filter) => filter,
                None => return Ok(present),
            },
        };
        let mut names = BTreeSet::new();
        filter.columns(&mut names);
        if source.once || names.iter().all(|name| source.tells_of_unit(name)) {
            let map = |name: &str| source.column(name).map(Scalar::Column);
            return Ok(Predicate::And(vec![present, mapped(&filter, &map)?]));
        }
        let extreme = extreme(&source.contract, &filter);
        let wanted = ProposedColumn { measure: &Measure::Rows, filter: Some(filter) };
        let count = match (source.derived(&wanted, &self.unit), extreme) {
            (Err(_), Some(extreme)) => return self.reaches(source, extreme),
            (count, _) => count?,
        };
        let one = Scalar::Literal(Value::Integer(1), loda_contract::ColumnType::Integer);
        Ok(Predicate::Compare { left: Scalar::Column(count), op: Comparison::GreaterOrEqual, right: one })
    }

    /// That the greatest (or least) value of a unit's rows is on that side of an edge.
    fn reaches(&self, source: &Attachment<'_>, extreme: Extreme) -> Checked<Predicate> {
        let Extreme { measure, filter, op, edge } = extreme;
        let name = source.derived(&ProposedColumn { measure: &measure, filter }, &self.unit)?;
        source.at_band(&name, op, &edge)?;
        let kind = measure.columns().first().and_then(|name| source.contract.column(name)).map(|c| c.kind);
        let right = Scalar::Literal(edge, kind.unwrap_or(loda_contract::ColumnType::Integer));
        Ok(Predicate::Compare { left: Scalar::Column(name), op, right })
    }

    /// A condition over the question's columns as one over the register.
    fn predicate(&self, predicate: &Predicate) -> Checked<Predicate> {
        let all = |operands: &Vec<Predicate>| operands.iter().map(|o| self.predicate(o)).collect::<Checked<Vec<_>>>();
        Ok(match predicate {
            Predicate::Constant(_) => predicate.clone(),
            Predicate::Truth(of) => Predicate::Truth(self.scalar(of)?),
            Predicate::IsNull(Scalar::Column(name)) if self.names_unit(name) => {
                let (source, _) = self.source(name).ok_or_else(of_several)?;
                match source.join {
                    Some(JoinKind::Left) => not_true(self.exists(source, source.filter.clone())?),
                    _ => Predicate::Constant(Some(false)),
                }
            }
            Predicate::IsNull(of) => Predicate::IsNull(self.scalar(of)?),
            Predicate::Compare { left, op, right } => {
                self.at_bands(left, *op, right)?;
                Predicate::Compare { left: self.scalar(left)?, op: *op, right: self.scalar(right)? }
            }
            Predicate::In { of, values } => Predicate::In { of: self.scalar(of)?, values: values.clone() },
            Predicate::Not(of) => Predicate::Not(Box::new(self.predicate(of)?)),
            Predicate::And(operands) => Predicate::And(all(operands)?),
            Predicate::Or(operands) => Predicate::Or(all(operands)?),
        })
    }

    /// A value computed from the question's columns as one over the register.
    ///
    /// # Errors
    /// The rule that refuses a column of it.
    pub(super) fn scalar(&self, scalar: &Scalar) -> Checked<Scalar> {
        Ok(match scalar {
            Scalar::Column(name) => self.column(name)?,
            Scalar::Literal(..) => scalar.clone(),
            Scalar::DateTrunc(grain, of) => Scalar::DateTrunc(*grain, Box::new(self.scalar(of)?)),
            Scalar::DatePart(part, of) => Scalar::DatePart(*part, Box::new(self.scalar(of)?)),
            Scalar::Upper(of) => Scalar::Upper(Box::new(self.scalar(of)?)),
            Scalar::Lower(of) => Scalar::Lower(Box::new(self.scalar(of)?)),
            Scalar::Arithmetic(op, of, by) => Scalar::Arithmetic(*op, Box::new(self.scalar(of)?), *by),
            Scalar::Coalesce(operands) => {
                Scalar::Coalesce(operands.iter().map(|o| self.scalar(o)).collect::<Checked<_>>()?)
            }
            Scalar::Case { branches, otherwise } => Scalar::Case {
                branches: branches
                    .iter()
                    .map(|(when, then)| Ok((self.predicate(when)?, self.scalar(then)?)))
                    .collect::<Checked<_>>()?,
                otherwise: otherwise.as_ref().map(|o| Ok::<_, Refusal>(Box::new(self.scalar(o)?))).transpose()?,
            },
        })
    }

    fn names_unit(&self, name: &str) -> bool {
        let found = self.source(name).and_then(|(source, bare)| match source.per_unit {
            Some(per_unit) => Some(bare_name(&per_unit.unit) == bare),
            None => source.contract.column(bare).map(|c| matches!(c.role, Role::Unit(_))),
        });
        found.unwrap_or(false)
    }

    fn column(&self, name: &str) -> Checked<Scalar> {
        let (source, bare) = self.source(name).ok_or_else(of_several)?;
        let value = match source.per_unit {
            Some(per_unit) => {
                let place = bare.strip_prefix('d').and_then(|n| n.parse::<usize>().ok());
                match place.and_then(|place| per_unit.values.get(place)) {
                    Some(value) => source.value(value, &self.unit)?,
                    None => Scalar::Column(source.column(bare)?),
                }
            }
            None if source.once || source.tells_of_unit(bare) => Scalar::Column(source.column(bare)?),
            None => return Err(of_several()),
        };
        // After a left join a unit without a match has no value, whatever its row says that did not match.
        let own = source.join == Some(JoinKind::Left) && (source.filter.is_some() || source.per_unit.is_some());
        let hidden = own || self.hangs_on_a_match(source);
        if !hidden {
            return Ok(value);
        }
        let exists = self.exists(source, source.filter.clone())?;
        Ok(Scalar::Case { branches: vec![(exists, value)], otherwise: None })
    }

    /// Whether a source is joined to one, near or far, that a left join may have found no match in.
    fn hangs_on_a_match(&self, source: &Attachment<'_>) -> bool {
        let parent = source.parent.and_then(|place| self.sources.get(place));
        parent.is_some_and(|parent| parent.join == Some(JoinKind::Left) || self.hangs_on_a_match(parent))
    }

    /// A value of each unit is compared where its declared bands begin.
    fn at_bands(&self, left: &Scalar, op: Comparison, right: &Scalar) -> Checked<()> {
        let (Scalar::Column(name), Scalar::Literal(value, _)) = (left, right) else { return Ok(()) };
        let Some((source, bare)) = self.source(name) else { return Ok(()) };
        let place = bare.strip_prefix('d').and_then(|n| n.parse::<usize>().ok());
        let value_of = source.per_unit.and_then(|p| p.values.get(place?));
        let Some(figure) = value_of else { return Ok(()) };
        if source.once {
            return Ok(());
        }
        let name = source.derived(&source.wanted(figure), &self.unit)?;
        source.at_band(&name, op, value)
    }
}

/// Conditions that do not hold where a value is missing.
fn is_strict(predicate: &Predicate) -> bool {
    match predicate {
        Predicate::Compare { left: Scalar::Column(_), .. }
        | Predicate::In { of: Scalar::Column(_), .. }
        | Predicate::Truth(Scalar::Column(_)) => true,
        Predicate::And(operands) | Predicate::Or(operands) => operands.iter().all(is_strict),
        // The negation of an unknown condition is unknown too.
        Predicate::Not(of) => !matches!(of.as_ref(), Predicate::And(_) | Predicate::Or(_)) && is_strict(of),
        _ => false,
    }
}

/// True where a condition is false or unknown.
fn not_true(predicate: Predicate) -> Predicate {
    let truth = |b: bool| Scalar::Literal(Value::Boolean(b), loda_contract::ColumnType::Boolean);
    Predicate::Not(Box::new(Predicate::Truth(Scalar::Case {
        branches: vec![(predicate, truth(true))],
        otherwise: Some(Box::new(truth(false))),
    })))
}
