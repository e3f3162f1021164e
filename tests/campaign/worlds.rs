//! The attacked data: known columns, the secret beside them, and the cells that an unlimited asker gets.

use std::collections::{BTreeSet, HashMap};

use super::targets::Target;
use crate::pooled::{Pooled, text};
use crate::scenarios::{ask, rows};
use crate::support::Federation;

/// A dataset under attack, and the secret about a person who is known by the other columns.
#[derive(Clone, Copy)]
pub(super) struct World {
    pub(super) name: &'static str,
    pub(super) from: &'static str,
    pub(super) borough: &'static str,
    /// Expressions, and their weights in a table.
    pub(super) columns: &'static [(&'static str, u32)],
    pub(super) secret: Secret,
    /// The number of boroughs under attack.
    pub(super) boroughs: usize,
    pub(super) dimensions: u32,
}

#[derive(Clone, Copy)]
pub(super) enum Secret {
    /// The last column has this value.
    Is(&'static str),
    /// A measure is at least this. Its sums are asked for.
    AtLeast(&'static str, f64),
}

pub(super) const WORLDS: &[World] = &[
    World {
        name: "residents by sex",
        from: "residents",
        borough: "borough",
        columns: &[("ward", 1), ("age_band", 1), ("tenure", 2), ("sex", 1)],
        secret: Secret::Is("Female"),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "residents joined to the register",
        from: "residents r LEFT JOIN electoral_roll e ON r.person_key = e.person_key AND r.borough = e.borough",
        borough: "r.borough",
        columns: &[
            ("r.ward", 1),
            ("r.age_band", 1),
            ("r.sex", 1),
            ("CASE WHEN e.person_key IS NULL THEN 'no' ELSE 'yes' END", 1),
        ],
        secret: Secret::Is("yes"),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "homes by adults (derived)",
        from: "council_tax c LEFT JOIN (SELECT uprn, COUNT(*) FILTER (WHERE adult) AS adults FROM electoral_roll GROUP BY uprn) e \
               ON c.uprn = e.uprn",
        borough: "c.borough",
        columns: &[
            ("c.ward", 1),
            ("c.band", 1),
            ("c.moves_24m", 1),
            ("c.single_person_discount", 1),
            ("CASE WHEN e.adults >= 2 THEN 'two' ELSE 'fewer' END", 1),
        ],
        secret: Secret::Is("two"),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "cost of care (sums)",
        from: "social_care_clients",
        borough: "borough",
        columns: &[("age_band", 1), ("need", 1), ("setting", 1)],
        secret: Secret::AtLeast("weekly_cost", 500.0),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "income of pensioners (sums)",
        from: "pension_credit",
        borough: "borough",
        columns: &[
            ("ward", 1),
            ("pension_credit", 1),
            (
                "CASE WHEN weekly_rent < 0.01 THEN 'none' WHEN weekly_rent < 100 THEN 'low' WHEN weekly_rent < 150 THEN 'some' \
                 WHEN weekly_rent < 200 THEN 'more' ELSE 'much' END",
                1,
            ),
        ],
        secret: Secret::AtLeast("weekly_income", 227.0),
        boroughs: 33,
        dimensions: 3,
    },
    World {
        name: "unclaimed credit (sums)",
        from: "pension_credit",
        borough: "borough",
        columns: &[
            ("ward", 1),
            (
                "CASE WHEN weekly_income < 100 THEN 'a' WHEN weekly_income < 150 THEN 'b' WHEN weekly_income < 200 THEN 'c' \
                 WHEN weekly_income < 227 THEN 'd' WHEN weekly_income < 300 THEN 'e' ELSE 'f' END",
                1,
            ),
            ("CASE WHEN weekly_rent < 0.01 THEN 'none' WHEN weekly_rent < 150 THEN 'some' ELSE 'much' END", 1),
        ],
        secret: Secret::AtLeast("unclaimed", 25.0),
        boroughs: 33,
        dimensions: 3,
    },
];

pub(super) const STOPS: World = World {
    name: "stops by outcome",
    from: "stop_and_search",
    borough: "borough",
    columns: &[
        ("search_type", 1),
        ("legislation", 1),
        ("object_of_search", 1),
        ("gender", 1),
        ("age_range", 1),
        ("officer_ethnicity", 1),
        ("self_ethnicity", 1),
        ("outcome", 1),
    ],
    secret: Secret::Is("Arrest"),
    boroughs: 6,
    dimensions: 3,
};

/// A set of people, by lists of classes.
#[derive(Clone)]
pub(super) enum Set {
    In(usize, Vec<bool>),
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
}

impl Set {
    pub(super) fn holds(&self, of: &dyn Fn(usize) -> usize) -> bool {
        match self {
            Self::In(column, classes) => classes[of(*column)],
            Self::All(sets) => sets.iter().all(|set| set.holds(of)),
            Self::Any(sets) => sets.iter().any(|set| set.holds(of)),
            Self::Not(set) => !set.holds(of),
        }
    }

    pub(super) fn columns(&self, into: &mut BTreeSet<usize>) {
        match self {
            Self::In(column, classes) if !classes.iter().all(|c| *c) => {
                into.insert(*column);
            }
            Self::In(..) => {}
            Self::All(sets) | Self::Any(sets) => sets.iter().for_each(|set| set.columns(into)),
            Self::Not(set) => set.columns(into),
        }
    }

    pub(super) fn sql(&self, world: &World, classes: &[Vec<String>]) -> String {
        let each = |sets: &[Self], word: &str| {
            format!("({})", sets.iter().map(|set| set.sql(world, classes)).collect::<Vec<_>>().join(word))
        };
        match self {
            Self::In(column, of) => {
                let named = classes[*column].iter().zip(of).filter(|(_, there)| **there);
                let is = named.map(|(class, _)| is(world.columns[*column].0, class));
                format!("({})", is.collect::<Vec<_>>().join(" OR "))
            }
            Self::All(sets) => each(sets, " AND "),
            Self::Any(sets) => each(sets, " OR "),
            Self::Not(set) => format!("({}) IS NOT TRUE", set.sql(world, classes)),
        }
    }
}

pub(super) fn is(column: &str, class: &str) -> String {
    match class {
        "NULL" => format!("{column} IS NULL"),
        "true" => column.to_owned(),
        "false" => format!("NOT {column}"),
        number if number.parse::<i64>().is_ok() => format!("{column} = {number}"),
        text => format!("{column} = '{}'", text.replace('\'', "''")),
    }
}

/// One borough: its true people, and the view of an unlimited asker.
pub(super) struct Borough {
    pub(super) classes: Vec<Vec<String>>,
    /// For each person: the class of each column, and the measure.
    pub(super) people: Vec<(Vec<usize>, f64)>,
    pub(super) released: HashMap<BTreeSet<usize>, HashMap<Vec<usize>, f64>>,
    /// Whether an absent cell can be withheld.
    pub(super) protected: bool,
    pub(super) gss: String,
    /// The answers about sets by SQL. `None`: withheld.
    pub(super) told: HashMap<String, Option<f64>>,
}

impl Borough {
    /// The answer about a set: the sum of its released cells. `None`: refused, or no cell is released.
    ///
    /// `blind`: this person's own part is removed from the released cells. Any remaining guess comes from other people.
    pub(super) fn figure(&self, set: &Set, blind: Option<&Target>) -> Option<f64> {
        let mut columns = BTreeSet::new();
        set.columns(&mut columns);
        let cells = self.released.get(&columns)?;
        let places: HashMap<usize, usize> =
            columns.iter().enumerate().map(|(place, column)| (*column, place)).collect();
        let mut sum = None;
        for (cell, value) in cells {
            if set.holds(&|column| places.get(&column).map_or(0, |place| cell[*place])) {
                sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
        if let (Some(target), Some(sum)) = (blind, &mut sum) {
            let cell: Vec<usize> = columns.iter().map(|column| target.person[*column]).collect();
            if cells.contains_key(&cell) && set.holds(&|column| target.person[column]) {
                *sum -= target.adds;
            }
        }
        if self.protected { sum } else { Some(sum.unwrap_or(0.0)) }
    }

    /// The number of cells of a set, and the number of them that are absent.
    pub(super) fn cells(&self, set: &Set) -> (u32, u32) {
        let mut columns = BTreeSet::new();
        set.columns(&mut columns);
        let columns: Vec<usize> = columns.into_iter().collect();
        let released = self.released.get(&columns.iter().copied().collect::<BTreeSet<usize>>());
        let mut cells: Vec<Vec<usize>> = vec![Vec::new()];
        for column in &columns {
            let classes = 0..self.classes[*column].len();
            cells =
                cells.iter().flat_map(|cell| classes.clone().map(move |c| [cell.as_slice(), &[c]].concat())).collect();
        }
        let place = |column: usize| columns.iter().position(|c| *c == column);
        cells.retain(|cell| set.holds(&|column| place(column).map_or(0, |at| cell[at])));
        let lacking = cells.iter().filter(|cell| released.is_none_or(|released| !released.contains_key(*cell)));
        (cells.len() as u32, lacking.count() as u32)
    }

    /// The same from the answers by SQL, if the set was asked.
    pub(super) fn told(&self, world: &World, terms: &[(f64, Set)]) -> Option<f64> {
        let of = |set: &Set| match self.told.get(&set.sql(world, &self.classes)) {
            Some(told) => *told,
            None => self.figure(set, None),
        };
        terms.iter().map(|(sign, set)| Some(sign * of(set)?)).sum()
    }

    pub(super) fn difference(&self, terms: &[(f64, Set)], blind: Option<&Target>) -> Option<f64> {
        terms.iter().map(|(sign, set)| Some(sign * self.figure(set, blind)?)).sum()
    }
}

impl World {
    /// The known columns: all but the last if the secret is a column, otherwise all.
    pub(super) fn known(&self) -> std::ops::Range<usize> {
        match self.secret {
            Secret::Is(_) => 0..self.columns.len() - 1,
            Secret::AtLeast(..) => 0..self.columns.len(),
        }
    }

    pub(super) fn figure(&self) -> String {
        match self.secret {
            Secret::Is(_) => "COUNT(*)".to_owned(),
            Secret::AtLeast(measure, _) => format!("SUM({measure})"),
        }
    }

    pub(super) fn weight(&self, columns: &BTreeSet<usize>) -> u32 {
        columns.iter().map(|column| self.columns[*column].1).sum()
    }

    /// The sets of columns that are an allowed table.
    pub(super) fn tables(&self) -> Vec<BTreeSet<usize>> {
        let all = 0..1_u32 << self.columns.len();
        let sets = all.map(|bits| (0..self.columns.len()).filter(|c| bits >> c & 1 == 1).collect::<BTreeSet<usize>>());
        sets.filter(|set| !set.is_empty() && self.weight(set) <= self.dimensions).collect()
    }

    pub(super) async fn read(&self, federation: &Federation, pooled: &Pooled, gss: &str, protected: bool) -> Borough {
        let exprs: Vec<&str> = self.columns.iter().map(|(expr, _)| *expr).collect();
        let measure = match self.secret {
            Secret::Is(_) => "0",
            Secret::AtLeast(measure, _) => measure,
        };
        let here = format!("FROM {} WHERE {} = '{gss}'", self.from, self.borough);
        let records = text(&pooled.ask(&format!("SELECT {}, {measure} {here}", exprs.join(", "))).await, 99);
        let mut classes: Vec<Vec<String>> = Vec::new();
        for column in 0..exprs.len() {
            let of: BTreeSet<&String> = records.iter().map(|record| &record[column]).collect();
            classes.push(of.into_iter().cloned().collect());
        }
        let number = |column: usize, class: &String| classes[column].iter().position(|c| c == class);
        let people = records.iter().map(|record| {
            let of = (0..exprs.len()).map(|column| number(column, &record[column]).unwrap()).collect();
            (of, record[exprs.len()].parse().unwrap_or(0.0))
        });
        let people = people.collect();
        let mut released = HashMap::new();
        for table in self.tables() {
            let keys: Vec<&str> = table.iter().map(|column| exprs[*column]).collect();
            let places: Vec<String> = (1..=keys.len()).map(|place| place.to_string()).collect();
            let sql =
                format!("SELECT {}, {} AS f {here} GROUP BY {}", keys.join(", "), self.figure(), places.join(", "));
            let answer = ask(&federation.client, &sql).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
            let cells = rows(&answer).into_iter().filter_map(|row| {
                let (value, key) = row.split_last()?;
                let cell: Option<Vec<usize>> =
                    table.iter().zip(key).map(|(column, class)| number(*column, class)).collect();
                Some((cell?, value.parse::<f64>().ok()?))
            });
            let cells: HashMap<Vec<usize>, f64> = cells.collect();
            released.insert(table, cells);
        }
        Borough { classes, people, released, protected, gss: gss.to_owned(), told: HashMap::new() }
    }
}
