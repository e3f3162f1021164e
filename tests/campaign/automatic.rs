//! An attacker that looks for what nobody thought of: random questions about somebody over what is released, and for each a rule
//! that is learnt on some people. What does best on others is tried on people whom neither has seen.
//!
//! `LODA_AUTOMATIC_QUESTIONS` sets how many (`just campaign` asks a million).

use std::collections::{BTreeSet, HashMap};

use super::worlds::{Borough, Secret, World};
use crate::support::{self, Dice};

/// What a random question says of one column, of whomever it is about.
#[derive(Clone, Copy, Debug)]
enum Said {
    Same,
    /// The class that is so many further on.
    Further(usize),
    Other,
    /// About half of the classes, with the person's own.
    Half(u64),
}

/// A sum of signed figures.
type Asked = Vec<(f64, Vec<(usize, Said)>)>;

/// One table of a borough: a figure for each cell by number; none where it is withheld.
struct Dense {
    columns: Vec<usize>,
    figures: Vec<Option<f64>>,
}

/// Whom it is guessed of: the borough, the known classes, whether the secret is so.
struct Person {
    borough: usize,
    known: Vec<usize>,
    has: bool,
}

fn dense(borough: &Borough, columns: &BTreeSet<usize>) -> Dense {
    let columns: Vec<usize> = columns.iter().copied().collect();
    let size = columns.iter().map(|column| borough.classes[*column].len()).product();
    let mut figures = vec![None; size];
    for (cell, figure) in &borough.released[&columns.iter().copied().collect::<BTreeSet<usize>>()] {
        figures[number(borough, &columns, cell)] = Some(*figure);
    }
    Dense { columns, figures }
}

fn number(borough: &Borough, columns: &[usize], cell: &[usize]) -> usize {
    columns.iter().zip(cell).fold(0, |number, (column, class)| number * borough.classes[*column].len() + class)
}

/// A random question: one to four figures of tables that hold the secret or not, added and taken away.
fn question(tables: &[BTreeSet<usize>], dice: &mut Dice) -> Asked {
    let terms = 1 + dice.index(4);
    (0..terms)
        .map(|_| {
            let (table, sign) = (dice.pick(tables), if dice.one_in(2) { 1.0 } else { -1.0 });
            let said = table.iter().map(|column| {
                let said = match dice.below(6) {
                    0..3 => Said::Same,
                    3 => Said::Further(1 + dice.index(5)),
                    4 => Said::Other,
                    _ => Said::Half(dice.next()),
                };
                (*column, said)
            });
            (sign, said.collect())
        })
        .collect()
}

/// What is answered of somebody. Of the secret "same" is the value that is looked for.
fn answered(
    asked: &Asked,
    person: &Person,
    borough: &Borough,
    tables: &HashMap<Vec<usize>, Dense>,
    value: usize,
) -> Option<f64> {
    let mut sum = 0.0;
    for (sign, said) in asked {
        let columns: Vec<usize> = said.iter().map(|(column, _)| *column).collect();
        let table = tables.get(&columns)?;
        let mut cells = vec![0_usize];
        for (column, said) in said {
            let classes = borough.classes[*column].len();
            let own = person.known.get(*column).copied().unwrap_or(value);
            let chosen: Vec<usize> = match said {
                Said::Same => vec![own],
                Said::Further(by) => vec![(own + by) % classes],
                Said::Other => (0..classes).filter(|class| *class != own).collect(),
                Said::Half(seed) => {
                    (0..classes).filter(|class| *class == own || (seed >> (class % 64)) & 1 == 1).collect()
                }
            };
            cells = cells.iter().flat_map(|cell| chosen.iter().map(move |class| cell * classes + class)).collect();
        }
        let figures: Vec<f64> = cells.iter().filter_map(|cell| table.figures[*cell]).collect();
        if figures.is_empty() {
            return None;
        }
        sum += sign * figures.iter().sum::<f64>();
    }
    Some(sum)
}

/// A rule: on which side of an edge it is so, and what is said where nothing is released.
#[derive(Clone, Copy)]
struct Learnt {
    edge: f64,
    above: bool,
    nothing: bool,
}

impl Learnt {
    /// The edge that parts those who have it from those who have not best.
    fn of(seen: &[(Option<f64>, bool)]) -> Self {
        let mut values: Vec<(f64, bool)> = seen.iter().filter_map(|(value, has)| Some(((*value)?, *has))).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = values.iter().filter(|(_, has)| *has).count() as i64;
        let (mut below_has, mut below_not, mut best, mut edge, mut above) = (0_i64, 0_i64, -1_i64, 0.0, true);
        for pair in 0..values.len() {
            let right_above = (all - below_has) + below_not;
            let wrong = values.len() as i64 - right_above;
            if right_above.max(wrong) > best {
                (best, edge, above) = (right_above.max(wrong), values[pair].0 - 1e-9, right_above >= wrong);
            }
            if values[pair].1 { below_has += 1 } else { below_not += 1 }
        }
        let nothing: Vec<bool> = seen.iter().filter(|(value, _)| value.is_none()).map(|(_, has)| *has).collect();
        let nothing = nothing.iter().filter(|has| **has).count() * 2 >= nothing.len().max(1);
        Self { edge, above, nothing }
    }

    fn right(&self, seen: &[(Option<f64>, bool)]) -> f64 {
        let guess = |value: &Option<f64>| value.map_or(self.nothing, |value| (value > self.edge) == self.above);
        seen.iter().filter(|(value, has)| guess(value) == *has).count() as f64 / seen.len().max(1) as f64
    }
}

/// People in small groups of what is known, as many with the secret as without in each borough.
fn people(world: &World, boroughs: &[Borough], value: &[Option<usize>], dice: &mut Dice) -> Vec<Person> {
    let mut found = Vec::new();
    for (number, borough) in boroughs.iter().enumerate() {
        let Some(value) = value[number] else { continue };
        let mut groups: HashMap<Vec<usize>, usize> = HashMap::new();
        borough.people.iter().for_each(|(person, _)| *groups.entry(person[world.known()].to_vec()).or_default() += 1);
        let mut of = [Vec::new(), Vec::new()];
        for (person, _) in &borough.people {
            let known = person[world.known()].to_vec();
            if groups[&known] <= 3 {
                let has = person[world.columns.len() - 1] == value;
                of[usize::from(has)].push(Person { borough: number, known, has });
            }
        }
        let fewest = of[0].len().min(of[1].len());
        for mut some in of {
            while some.len() > fewest {
                some.swap_remove(dice.index(some.len()));
            }
            found.append(&mut some);
        }
    }
    for at in (1..found.len()).rev() {
        found.swap(at, dice.index(at + 1));
    }
    found
}

pub(super) fn looked_for(world: &World, boroughs: &[Borough]) {
    let Secret::Is(value) = world.secret else { return };
    let questions = support::rounds("LODA_AUTOMATIC_QUESTIONS", 500);
    let mut dice = Dice::new(support::seed() + 17);
    let values: Vec<Option<usize>> =
        boroughs.iter().map(|b| b.classes[world.columns.len() - 1].iter().position(|class| class == value)).collect();
    let people = people(world, boroughs, &values, &mut dice);
    // Some to learn on, some to choose on, and the rest to be tried on.
    let few = (people.len() / 4).min(300);
    let (learn, rest) = people.split_at(few);
    let (choose, tried) = rest.split_at(few.min(rest.len()));
    let tables: Vec<HashMap<Vec<usize>, Dense>> = boroughs
        .iter()
        .map(|borough| {
            let all = borough.released.keys().map(|columns| dense(borough, columns));
            all.map(|table| (table.columns.clone(), table)).collect()
        })
        .collect();
    let seen = |asked: &Asked, of: &[Person]| -> Vec<(Option<f64>, bool)> {
        let of = of.iter().map(|person| {
            let value = values[person.borough].unwrap_or(0);
            (answered(asked, person, &boroughs[person.borough], &tables[person.borough], value), person.has)
        });
        of.collect()
    };
    let sets: Vec<BTreeSet<usize>> = world.tables();
    // What learns best, and of that what does best on others.
    let mut best: Vec<(f64, Asked, Learnt)> = Vec::new();
    for _ in 0..questions {
        let asked = question(&sets, &mut dice);
        let of_learnt = seen(&asked, learn);
        let rule = Learnt::of(&of_learnt);
        let right = rule.right(&of_learnt);
        if best.len() < 200 || right > best.last().map_or(0.0, |(right, ..)| *right) {
            let at = best.partition_point(|(other, ..)| *other >= right);
            best.insert(at, (right, asked, rule));
            best.truncate(200);
        }
    }
    let chosen = best.iter().max_by(|a, b| {
        let of = |(_, asked, rule): &(f64, Asked, Learnt)| rule.right(&seen(asked, choose));
        of(a).total_cmp(&of(b))
    });
    let Some((learnt, asked, rule)) = chosen else { return };
    let (chose, right) = (rule.right(&seen(asked, choose)), rule.right(&seen(asked, tried)));
    println!(
        "  an automatic attacker, {questions} random questions: the best rule is right for {:.1} % of {few} it was learnt on, \
         {:.1} % of {few} it was chosen on, and {:.1} % of {} others; without questions 50.0 %",
        100.0 * learnt,
        100.0 * chose,
        100.0 * right,
        tried.len()
    );
    let luck = 150.0 / (tried.len().max(1) as f64).sqrt();
    assert!(100.0 * right <= super::BOUND + luck, "{right}: {asked:?}");
}
