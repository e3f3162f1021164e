//! Boroughs of made-up people, with all answers that an unlimited asker can get about them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use loda_contract::{Contract, Value};
use loda_disclosure::table::{
    CLASSES, Code, ColumnShape, FunctionalShape, Labelled, MeasureShape, Records, TableShape, UnitShape, statistics,
};
use loda_disclosure::{CellKey, Method, NoiseKey, default_table};
use loda_question::table::{Functional, Lowered, State, Table, TableCells, TableRow};

use crate::support::Dice;

/// A number from 0 to 1.
fn unit(dice: &mut Dice) -> f64 {
    (dice.next() >> 11) as f64 / (1_u64 << 53) as f64
}

fn normal(dice: &mut Dice) -> f64 {
    (-2.0 * unit(dice).max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * unit(dice)).cos()
}

/// A class, weighted.
fn pick(dice: &mut Dice, weights: &[f64]) -> usize {
    let mut left = unit(dice) * weights.iter().sum::<f64>();
    for (place, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return place;
        }
    }
    weights.len() - 1
}

/// All people in a borough: for each column the class of each person, and each person's cost in pence.
pub(super) struct World {
    pub(super) contract: Arc<Contract>,
    pub(super) columns: Vec<(String, Vec<String>)>,
    pub(super) people: Vec<Vec<usize>>,
    pub(super) costs: Vec<i128>,
    method: CellKey,
    epoch: String,
}

/// The number of people and their cost, by classes.
pub(super) type Truths = BTreeMap<Vec<usize>, (i128, i128)>;

/// The highest cost of a person, in pence.
pub(super) const MOST: i128 = 100_000;

impl World {
    pub(super) fn new(
        name: &str,
        columns: Vec<(String, Vec<String>)>,
        people: Vec<Vec<usize>>,
        costs: Vec<i128>,
        seed: u64,
    ) -> Self {
        let quoted = |words: &[String]| words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(", ");
        let of_columns = columns.iter().map(|(name, classes)| {
            format!(
                "[[column]]\nname = {name:?}\ntype = \"text\"\nrole = \"dimension\"\ncodes = [{}]\n",
                quoted(classes)
            )
        });
        let text = format!(
            "dataset = \"people\"\nversion = 1\ntitle = \"{name}\"\ndimensions = 3\nthreshold = 10\n\
             [[unit]]\ndomain = \"person\"\ncolumn = \"person_key\"\nabout = \"people\"\none-row = true\n\
             [[column]]\nname = \"person_key\"\ntype = \"text\"\nrole = \"unit\"\nto = \"person\"\n\
             [[column]]\nname = \"cost\"\ntype = \"decimal\"\nscale = 2\nrole = \"measure\"\nmin = \"0\"\nmax = \"1000\"\n\
             edges = [\"100\", \"200\", \"300\", \"400\", \"500\", \"600\", \"700\", \"800\", \"900\"]\n{}",
            of_columns.collect::<String>()
        );
        let contract = Arc::new(Contract::parse(&text, "people").unwrap_or_else(|e| panic!("{e}: {text}")));
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&seed.to_be_bytes());
        let method =
            CellKey { table: Arc::new(default_table().unwrap()), noise: Some(NoiseKey::new(&secret)), threshold: 10 };
        Self { contract, columns, people, costs, method, epoch: "people 1".to_owned() }
    }

    /// The same people in another epoch.
    pub(super) fn at(&mut self, epoch: usize) {
        self.epoch = format!("people {epoch}");
    }

    pub(super) fn variance(&self) -> f64 {
        self.method.variance()
    }

    /// The people of a borough: nine columns, some of them correlated, and costs that depend on age.
    pub(super) fn synthetic(people: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let wards: Vec<f64> = (0..20).map(|_| (0.25 * normal(&mut dice)).exp()).collect();
        let mixed = |base: &[f64], by: f64, dice: &mut Dice| -> Vec<Vec<f64>> {
            (0..20).map(|_| base.iter().map(|b| b * (by * normal(dice)).exp()).collect()).collect()
        };
        let ethnicities = mixed(&[9.0, 4.0, 3.0, 2.0, 1.2, 0.8, 0.5, 0.3], 0.45, &mut dice);
        let tenures = mixed(&[0.22, 0.28, 0.24, 0.26], 0.5, &mut dice);
        let (mut rows, mut costs) = (Vec::with_capacity(people), Vec::with_capacity(people));
        for _ in 0..people {
            let ward = pick(&mut dice, &wards);
            let age = pick(&mut dice, &[6.0, 13.0, 3.0, 9.0, 18.0, 16.0, 13.0, 10.0, 7.0, 4.0, 1.6]);
            let old = age >= 8;
            let tenure = if old && unit(&mut dice) < 0.4 { 0 } else { pick(&mut dice, &tenures[ward]) };
            let activity = match age {
                0 | 1 => 0,
                8.. => 1,
                _ => 2 + pick(&mut dice, &[0.62, 0.12, 0.2, 0.06]),
            };
            let disabled = usize::from(unit(&mut dice) < if old { 0.35 } else { 0.1 });
            let mut language = 0;
            if unit(&mut dice) >= 0.78 {
                language = 1;
                while language < 11 && unit(&mut dice) > 0.35 {
                    language += 1;
                }
            }
            let size = pick(&mut dice, &[0.2, 0.25, 0.2, 0.2, 0.1, 0.05]);
            let sex = dice.index(2);
            rows.push(vec![
                sex,
                disabled,
                tenure,
                activity,
                pick(&mut dice, &ethnicities[ward]),
                language,
                age,
                ward,
                size,
            ]);
            let cost = 8_000.0 * (1.0 + age as f64 * 0.3) * (0.6 * normal(&mut dice)).exp();
            costs.push((cost as i128).clamp(0, MOST));
        }
        let names = ["sex", "disabled", "tenure", "activity", "ethnicity", "language", "age", "ward", "size"];
        let sizes = [2, 2, 4, 6, 8, 12, 11, 20, 6];
        let columns = names
            .iter()
            .zip(sizes)
            .map(|(name, n)| ((*name).to_owned(), (0..n).map(|c| format!("{name}{c:02}")).collect()));
        Self::new("Made-up people", columns.collect(), rows, costs, seed)
    }

    /// The number of people in a filter and their cost, by the classes of some columns.
    pub(super) fn counts(&self, keys: &[usize], filter: &[(usize, BTreeSet<usize>)]) -> Truths {
        let mut found = Truths::new();
        for (person, cost) in self.people.iter().zip(&self.costs) {
            if filter.iter().all(|(column, classes)| classes.contains(&person[*column])) {
                let (n, costs) = found.entry(keys.iter().map(|key| person[*key]).collect()).or_default();
                *n += 1;
                *costs += cost;
            }
        }
        found
    }

    /// The cells that a node releases for the tables of a question.
    pub(super) fn released(&self, lowered: &Lowered) -> Vec<TableCells> {
        lowered.tables().iter().map(|table| self.table(table)).collect()
    }

    fn table(&self, table: &Table) -> TableCells {
        let presence = Labelled { label: "people.*".to_owned(), datasets: vec![0] };
        let labelled = |label: &str| Labelled { label: label.to_owned(), datasets: vec![0] };
        let mut records = Records { units: vec![(0..self.people.len() as u64).collect()], ..Records::default() };
        let mut columns = Vec::new();
        let mut words: Vec<Vec<Value>> = Vec::new();
        for column in table.columns() {
            let name = column.reference.column.clone().unwrap_or_default();
            let of = self.columns.iter().position(|(known, _)| *known == name);
            let classes: Vec<String> = match of {
                Some(place) => self.columns[place].1.clone(),
                None if name == "cost" => (0..10).map(|band| (band * 10_000).to_string()).collect(),
                None => vec!["true".to_owned()],
            };
            records.columns.push(match of {
                Some(place) => self.people.iter().map(|person| CLASSES + person[place] as Code).collect(),
                None if name == "cost" => self.costs.iter().map(|c| CLASSES + ((c / 10_000).min(9)) as Code).collect(),
                None => vec![CLASSES; self.people.len()],
            });
            words.push(match of {
                Some(_) => classes.iter().map(|c| Value::Text(c.as_str().into())).collect(),
                None if name == "cost" => (0..10).map(|band| Value::Decimal(band * 10_000)).collect(),
                None => vec![Value::Boolean(true)],
            });
            columns.push(ColumnShape {
                value: labelled(&column.reference.to_string()),
                presence: presence.clone(),
                through: None,
                is_presence: name.is_empty(),
                unit: None,
                classes: Arc::new(StringArray::from(classes.clone())) as ArrayRef,
                words: classes,
                listed: false,
            });
        }
        records.measures.push(self.costs.iter().map(|cost| Some(*cost)).collect());
        let functionals = table.functionals().iter().map(|functional| match functional {
            Functional::Units(_) | Functional::Rows => FunctionalShape::Units(0),
            Functional::Present(_) => FunctionalShape::Present(0),
            Functional::Sum(_) => FunctionalShape::Sum(0),
            Functional::Square(_) => FunctionalShape::Square(0),
            Functional::Product(..) => FunctionalShape::Product(0, 0),
        });
        let shape = TableShape {
            domain: Labelled { label: table.domain().table_name(), datasets: Vec::new() },
            columns,
            units: vec![UnitShape { label: "person".to_owned() }],
            measures: vec![MeasureShape {
                value: labelled("people.cost"),
                presence,
                scale: 2,
                lower: 0,
                upper: MOST,
                nullable: false,
            }],
            functionals: functionals.collect(),
            threshold: table.threshold(),
            register: true,
            whole: None,
            max_rows: 1,
            epochs: vec![self.epoch.clone()],
            period: None,
        };
        let mut rows = Vec::new();
        for (subset, cells) in statistics(&shape, &records, &|| false).unwrap() {
            if subset == 0 {
                // A unit's presence alone is never released.
                continue;
            }
            for (codes, of_cell) in cells {
                let Some(figures) = self.method.release_cell(&shape, subset, &codes, &of_cell).unwrap() else {
                    continue;
                };
                let mut codes = codes.iter();
                let cell = words.iter().enumerate().map(|(place, classes)| {
                    (subset >> place & 1 == 1).then(|| {
                        let class = codes.next().unwrap() - CLASSES;
                        (State::Value, classes[class as usize].clone())
                    })
                });
                rows.push(TableRow { cell: cell.collect(), figures });
            }
        }
        TableCells { rows, noise: self.method.variance(), lists: vec![None; words.len()] }
    }
}

/// The position of a column.
pub(super) fn place(world: &World, name: &str) -> usize {
    world.columns.iter().position(|(known, _)| known == name).unwrap()
}

/// Random classes of a column: at least one, and not all.
pub(super) fn some(world: &World, column: usize, dice: &mut Dice) -> BTreeSet<usize> {
    let classes = world.columns[column].1.len();
    loop {
        let chosen: BTreeSet<usize> = (0..classes).filter(|_| dice.one_in(3)).collect();
        if !chosen.is_empty() && chosen.len() < classes {
            return chosen;
        }
    }
}
