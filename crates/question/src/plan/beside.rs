//! Published records beside records about people: they are joined to released cells, by a class that both have.
//!
//! *Attack: a published column as a condition on people.* No predicate of an asker's reaches a person's record, and a
//! published value of a class (a ward's deprivation) would be one. So people are asked for by the class, the published
//! records by themselves, and the join is made of the results.

use std::collections::{BTreeMap, BTreeSet};

use loda_contract::{Contract, Role};

use super::figures::{FigureReading, ReadAggregate, ReadFigure};
use super::input::{BOROUGH, is_borough, place_of};
use crate::draft::column_name::qualified;
use crate::draft::{Comparison, Join, JoinKind, Measure, Predicate, Rows, Scalar, Source, bare_name};
use crate::refusal::{Refusal, Rule};
use crate::scope::Contracts;

/// The relation of people's keys in expressions after the join: `p.k0`.
pub const PEOPLE: &str = "p";

/// The relation of the published records' keys in expressions after the join: `q.k0`.
pub const PUBLISHED: &str = "q";

/// An aggregate over people and published records: one question of each, and the figures over both results.
#[derive(Clone, Debug)]
pub struct Beside {
    /// The question about people.
    pub people: ReadAggregate,
    /// Its one figure is how many records there are.
    pub published: ReadAggregate,
    /// How the results are joined.
    pub kind: JoinKind,
    /// Keys of people and of published records that are equal, by place.
    pub on: Vec<(usize, usize)>,
    /// Which joined rows count.
    pub filter: Option<Predicate>,
    /// The group keys, over keys of both.
    pub keys: Vec<Scalar>,
    /// In the order of the aggregate's expressions.
    pub figures: Vec<BesideFigure>,
}

/// A figure over joined rows, and which of them it counts.
#[derive(Clone, Debug)]
pub struct BesideFigure {
    /// The figures of people's that it is made of.
    pub value: BesideValue,
    /// Which joined rows; `None`: all.
    pub condition: Option<Predicate>,
}

/// Of which of people's figures it is made, by place.
#[derive(Clone, Copy, Debug)]
pub enum BesideValue {
    /// Once for each published record that a cell is joined to.
    Each(usize),
    /// A count of units: once, however many records a cell is joined to.
    Once(usize),
    /// A sum over a count.
    Mean {
        /// The place of the sum.
        sum: usize,
        /// The place of the count.
        count: usize,
    },
}

impl Beside {
    /// The two sides of an aggregate that joins people to published records; `None` where it does not.
    ///
    /// # Errors
    /// Where the join is by something other than a class, or a figure does not add up.
    #[must_use]
    pub fn of(read: &ReadAggregate, contracts: Contracts<'_>) -> Option<Result<Self, Refusal>> {
        let mut datasets = Vec::new();
        read.rows.datasets(&mut datasets);
        let people = |name: &String| contracts(name).is_some_and(|c| c.protection.may_be_about_people());
        if !datasets.iter().any(people) {
            return None;
        }
        let published = |source: &Source| match source {
            Source::Dataset { name, .. } => contracts(name).is_some_and(|c| c.protection.is_public()),
            Source::PerUnit(_) => false,
        };
        let mut places = read.rows.sources().enumerate().filter(|(_, (_, source))| published(source));
        let (place, _) = places.next()?;
        Some(match places.next() {
            Some(_) => Err(refused("records about people are joined to more than one published table")),
            None => Sides::split(read, place, contracts).and_then(|sides| sides.finish(read)),
        })
    }
}

/// Both sides while they are taken apart.
struct Sides<'a> {
    place: usize,
    contracts: Contracts<'a>,
    kind: JoinKind,
    people: Rows,
    published: Rows,
    filter: Vec<Predicate>,
    /// Columns of the published records, and the class that stands for them.
    stands: BTreeMap<String, String>,
    keys: [Vec<Scalar>; 2],
    on: Vec<(usize, usize)>,
}

impl<'a> Sides<'a> {
    fn split(read: &ReadAggregate, place: usize, contracts: Contracts<'a>) -> Result<Self, Refusal> {
        let Rows { first, joins, filter } = read.rows.clone();
        let mut pairs: Vec<(String, String)> = Vec::new();
        let (mut kind, mut published) = (JoinKind::Inner, None);
        let mut sources: Vec<Join> = Vec::new();
        let first = Join { kind: JoinKind::Inner, source: first, on: Vec::new() };
        for (at, join) in std::iter::once(first).chain(joins).enumerate() {
            if at == place {
                kind = join.kind;
                pairs.extend(join.on);
                published = Some(join.source);
                continue;
            }
            let (of_published, on): (Vec<_>, Vec<_>) =
                join.on.into_iter().partition(|(left, _)| place_of(left) == Some(place));
            if !of_published.is_empty() && join.kind != JoinKind::Inner {
                return Err(refused("a table is joined to published records by LEFT JOIN, EXISTS or IN"));
            }
            pairs.extend(
                of_published.into_iter().map(|(left, right)| (qualified(at, &right), bare_name(&left).to_owned())),
            );
            sources.push(Join { on, ..join });
        }
        let Some(Source::Dataset { name, filter: own }) = published else { return Err(refused("of no table")) };
        let mut sources = sources.into_iter();
        let start = sources.next().filter(|start| start.kind == JoinKind::Inner);
        let start = start.ok_or_else(|| refused("published records stand to the left of a LEFT JOIN of people"))?;
        let mut sides = Self {
            place,
            contracts,
            kind,
            people: Rows { first: start.source, joins: sources.collect(), filter: None },
            published: Rows::of(name, own),
            filter: Vec::new(),
            stands: BTreeMap::new(),
            keys: [Vec::new(), vec![Scalar::Column(BOROUGH.to_owned())]],
            on: vec![(0, 0)],
        };
        let borough = sides.name_of("t0.borough");
        sides.key(0, Scalar::Column(borough));
        for join in &mut sides.people.joins {
            for (left, _) in &mut join.on {
                *left = moved(left, place);
            }
        }
        let mut conditions = Vec::new();
        filter.into_iter().for_each(|filter| flat(filter, &mut conditions));
        conditions.retain(|condition| match sides.equality(condition) {
            Some(pair) if kind == JoinKind::Inner => {
                pairs.push(pair);
                false
            }
            _ => true,
        });
        if pairs.is_empty() {
            return Err(refused("published records are joined by no class that people have"));
        }
        for (left, right) in pairs {
            sides.equate(&left, &right, read)?;
        }
        for condition in conditions {
            sides.narrow(condition);
        }
        Ok(sides)
    }

    /// A column of people's records as their own question names it.
    fn name_of(&self, name: &str) -> String {
        if self.people.joins.is_empty() { bare_name(name).to_owned() } else { moved(name, self.place) }
    }

    fn is_published(&self, name: &str) -> bool {
        place_of(name) == Some(self.place) && !is_borough(name)
    }

    fn reads(&self, columns: &BTreeSet<String>) -> (bool, bool) {
        (columns.iter().any(|c| !self.is_published(c)), columns.iter().any(|c| self.is_published(c)))
    }

    /// `people.column = published.column`.
    fn equality(&self, condition: &Predicate) -> Option<(String, String)> {
        let Predicate::Compare { left: Scalar::Column(a), op: Comparison::Equal, right: Scalar::Column(b) } = condition
        else {
            return None;
        };
        match (self.is_published(a), self.is_published(b)) {
            (false, true) if !is_borough(a) => Some((a.clone(), bare_name(b).to_owned())),
            (true, false) if !is_borough(b) => Some((b.clone(), bare_name(a).to_owned())),
            _ => None,
        }
    }

    /// Makes a class that both have a key of both.
    fn equate(&mut self, left: &str, right: &str, read: &ReadAggregate) -> Result<(), Refusal> {
        let not_a_class = || {
            refused(&format!(
                "'{}' and '{right}' are not a class that the people and the published records have",
                bare_name(left)
            ))
        };
        let source = place_of(left).and_then(|at| read.rows.sources().nth(at)).map(|(_, source)| source);
        let Some(Source::Dataset { name, .. }) = source else { return Err(not_a_class()) };
        let people = (self.contracts)(name).ok_or_else(not_a_class)?;
        let public = self.published.dataset().and_then(self.contracts).ok_or_else(not_a_class)?;
        let (own, theirs) = class_of(&people, &public, bare_name(left), right).ok_or_else(not_a_class)?;
        let column = place_of(left).map(|at| qualified(at, &own)).ok_or_else(not_a_class)?;
        let pair = (self.key(0, Scalar::Column(self.name_of(&column))), self.key(1, Scalar::Column(theirs.clone())));
        self.stands.insert(right.to_owned(), theirs);
        if !self.on.contains(&pair) {
            self.on.push(pair);
        }
        Ok(())
    }

    fn narrow(&mut self, condition: Predicate) {
        let mut columns = BTreeSet::new();
        condition.columns(&mut columns);
        match self.reads(&columns) {
            (_, false) => {
                let condition = condition.renamed(&|name| self.name_of(&name));
                self.people.filter = Predicate::both(self.people.filter.take(), Some(condition));
            }
            (false, true) if self.kind == JoinKind::Inner => {
                let condition = condition.renamed(&|name| bare_name(&name).to_owned());
                self.published.filter = Predicate::both(self.published.filter.take(), Some(condition));
            }
            _ => {
                let condition = self.after(columns, |name| condition.renamed(name));
                self.filter.push(condition);
            }
        }
    }

    /// The place of a key, which is made one where it is none yet.
    fn key(&mut self, side: usize, scalar: Scalar) -> usize {
        let Some(keys) = self.keys.get_mut(side) else { return 0 };
        keys.iter().position(|known| *known == scalar).unwrap_or_else(|| {
            keys.push(scalar);
            keys.len() - 1
        })
    }

    /// Something over columns of both, as something over keys of both.
    fn after<T>(&mut self, columns: BTreeSet<String>, renamed: impl FnOnce(&dyn Fn(String) -> String) -> T) -> T {
        let mut names = BTreeMap::new();
        for column in columns {
            let key = if self.is_published(&column) {
                let bare = bare_name(&column);
                let bare = self.stands.get(bare).cloned().unwrap_or_else(|| bare.to_owned());
                format!("{PUBLISHED}.k{}", self.key(1, Scalar::Column(bare)))
            } else {
                // The borough of the published records is the people's.
                let column = if is_borough(&column) { "t0.borough".to_owned() } else { column.clone() };
                format!("{PEOPLE}.k{}", self.key(0, Scalar::Column(self.name_of(&column))))
            };
            names.insert(column, key);
        }
        renamed(&|name| names.get(&name).cloned().unwrap_or(name))
    }

    fn finish(mut self, read: &ReadAggregate) -> Result<Beside, Refusal> {
        let keys = read.keys.iter().map(|key| self.output_key(key)).collect();
        let mut asked: Vec<ReadFigure> = Vec::new();
        let mut figures = Vec::with_capacity(read.figures.len());
        for figure in &read.figures {
            let (figure, condition) = self.figure(figure)?;
            let mut place = |figure: ReadFigure| {
                asked.iter().position(|known| *known == figure).unwrap_or_else(|| {
                    asked.push(figure);
                    asked.len() - 1
                })
            };
            let value = match figure {
                ReadFigure::Average { column, condition } => {
                    let one = |measure| ReadFigure::One {
                        measure,
                        condition: condition.clone(),
                        reading: FigureReading::Plain,
                    };
                    let sum = place(one(Measure::Sum(column.clone())));
                    BesideValue::Mean { sum, count: place(one(Measure::Present(column))) }
                }
                ReadFigure::One { measure: Measure::Units(_), .. } => BesideValue::Once(place(figure)),
                ReadFigure::One { .. } => BesideValue::Each(place(figure)),
                ReadFigure::Spread { .. } | ReadFigure::Quantile { .. } => {
                    return Err(refused("a variance, correlation or quantile is asked of joined cells"));
                }
            };
            figures.push(BesideFigure { value, condition });
        }
        let [people, published] = self.keys;
        let count = ReadFigure::One { measure: Measure::Rows, condition: None, reading: FigureReading::Plain };
        Ok(Beside {
            people: ReadAggregate { rows: self.people, keys: people, figures: asked },
            published: ReadAggregate { rows: self.published, keys: published, figures: vec![count] },
            kind: self.kind,
            on: self.on,
            filter: (!self.filter.is_empty()).then_some(Predicate::And(self.filter)),
            keys,
            figures,
        })
    }

    fn output_key(&mut self, key: &Scalar) -> Scalar {
        let mut columns = BTreeSet::new();
        key.columns(&mut columns);
        if let ((true, false), false) = (self.reads(&columns), columns.iter().any(|c| is_borough(c))) {
            let own = key.clone().renamed(&|name| self.name_of(&name));
            return Scalar::Column(format!("{PEOPLE}.k{}", self.key(0, own)));
        }
        self.after(columns, |name| key.clone().renamed(name))
    }

    /// A figure of people's, and the part of its condition that waits for the published records.
    fn figure(&mut self, figure: &ReadFigure) -> Result<(ReadFigure, Option<Predicate>), Refusal> {
        let (condition, measured) = match figure {
            ReadFigure::One { measure, condition, .. } => (condition, measure.columns().into_iter().cloned().collect()),
            ReadFigure::Average { column, condition } | ReadFigure::Quantile { column, condition, .. } => {
                (condition, vec![column.clone()])
            }
            ReadFigure::Spread { columns, condition, .. } => (condition, columns.clone()),
        };
        if measured.iter().any(|column| self.is_published(column)) {
            return Err(refused("a figure adds up what is published, once for each person"));
        }
        let mut columns = BTreeSet::new();
        condition.iter().for_each(|condition| condition.columns(&mut columns));
        let later = self.reads(&columns).1;
        let after = match condition {
            Some(condition) if later => Some(self.after(columns, |name| condition.clone().renamed(name))),
            _ => None,
        };
        let bare = |name: String| self.name_of(&name);
        let own = figure.clone().renamed(&bare);
        Ok((if later { own.without_condition() } else { own }, after))
    }
}

/// The columns by which a class of people is the published records': dimensions of one type, or a reference key that the
/// contract says stands for such.
fn class_of(people: &Contract, public: &Contract, own: &str, theirs: &str) -> Option<(String, String)> {
    let column = people.column(own)?;
    let (own, theirs) = match &column.role {
        Role::Reference(_) => {
            let class = column.attribute.stands_for.as_ref()?;
            let (dataset, listed) = people.column(class)?.attribute.codes_from.as_ref()?;
            let same = public.column(theirs).is_some_and(|other| other.role == column.role);
            (*dataset == public.dataset && same).then(|| (class.clone(), listed.clone()))?
        }
        _ => (own.to_owned(), theirs.to_owned()),
    };
    let (a, b) = (people.column(&own)?, public.column(&theirs)?);
    let dimensions = matches!((&a.role, &b.role), (Role::Dimension(_), Role::Dimension(_)));
    (dimensions && a.kind == b.kind).then_some((own, theirs))
}

/// A column's name where the source at a place is taken out.
fn moved(name: &str, place: usize) -> String {
    match place_of(name) {
        Some(at) if at > place => qualified(at - 1, bare_name(name)),
        _ => name.to_owned(),
    }
}

fn flat(predicate: Predicate, into: &mut Vec<Predicate>) {
    match predicate {
        Predicate::And(operands) => operands.into_iter().for_each(|operand| flat(operand, into)),
        other => into.push(other),
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::new(
        Rule::Join,
        why,
        "Join published tables by borough and a class that both have (a.borough = w.borough AND a.ward = w.ward); or group each \
         in a subquery of its own and join the results",
    )
}
