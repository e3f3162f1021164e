//! An attacker that searches for unforeseen attacks: random questions about a person over the released cells, with a
//! rule for each that is learnt on some people. The best rules on other people are then tried on people that neither
//! step has seen.
//!
//! `LODA_AUTOMATIC_QUESTIONS` sets their number (`just campaign` asks a million).

use std::collections::{BTreeSet, HashMap};

use super::worlds::{Borough, Secret, World};
use crate::support::{self, Dice};

/// The number of shares of questions that are tried in parallel, and the number of rules that each share keeps.
const SHARES: u64 = 4;
const KEPT: usize = 100;

/// The condition of a random question on one column, relative to the person in question.
#[derive(Clone, Copy, Debug)]
enum Said {
    Same,
    /// The class this many places further on.
    Further(usize),
    Other,
    /// About half of the classes, including the person's own.
    Half(u64),
}

/// A signed figure of one table, with a condition for each of its columns.
#[derive(Clone, Debug)]
struct Term {
    sign: f64,
    table: usize,
    said: Vec<Said>,
}

/// A sum of signed figures.
type Asked = Vec<Term>;

/// One table of a borough: a figure for each cell by number. `None`: the cell is withheld.
struct Dense {
    /// For each column: its position, and its number of classes.
    columns: Vec<(usize, usize)>,
    figures: Vec<Option<f64>>,
}

/// A person to guess about: the borough, the class of each column (for the secret, the value in question), and whether
/// it is true.
struct Person {
    borough: usize,
    classes: Vec<usize>,
    has: bool,
}

fn dense(borough: &Borough, columns: &BTreeSet<usize>) -> Dense {
    let columns: Vec<(usize, usize)> = columns.iter().map(|column| (*column, borough.classes[*column].len())).collect();
    let mut figures = vec![None; columns.iter().map(|(_, classes)| classes).product()];
    for (cell, figure) in &borough.released[&columns.iter().map(|(column, _)| *column).collect::<BTreeSet<usize>>()] {
        let number = columns.iter().zip(cell).fold(0, |number, ((_, classes), class)| number * classes + class);
        figures[number] = Some(*figure);
    }
    Dense { columns, figures }
}

/// A random question: one to four figures, added or subtracted, of tables with or without the secret.
fn question(tables: &[BTreeSet<usize>], dice: &mut Dice) -> Asked {
    let terms = 1 + dice.index(4);
    (0..terms)
        .map(|_| {
            let (table, sign) = (dice.index(tables.len()), if dice.one_in(2) { 1.0 } else { -1.0 });
            let said = tables[table].iter().map(|_| match dice.below(6) {
                0..3 => Said::Same,
                3 => Said::Further(1 + dice.index(5)),
                4 => Said::Other,
                _ => Said::Half(dice.next()),
            });
            Term { sign, table, said: said.collect() }
        })
        .collect()
}

impl Said {
    fn holds(self, class: usize, own: usize, classes: usize) -> bool {
        match self {
            Self::Same => class == own,
            Self::Further(by) => class == (own + by) % classes,
            Self::Other => class != own,
            Self::Half(seed) => class == own || (seed >> (class % 64)) & 1 == 1,
        }
    }
}

/// The answer about a person. For the secret, "same" stands for the value in question.
fn answered(asked: &Asked, person: &Person, tables: &[Dense]) -> Option<f64> {
    let mut sum = 0.0;
    for Term { sign, table, said } in asked {
        let Dense { columns, figures } = &tables[*table];
        let of = Of { columns, said, figures, own: &person.classes };
        sum += sign * of.added(0, 0)?;
    }
    Some(sum)
}

struct Of<'a> {
    columns: &'a [(usize, usize)],
    said: &'a [Said],
    figures: &'a [Option<f64>],
    own: &'a [usize],
}

impl Of<'_> {
    /// The sum of the released cells that begin with these classes. `None`: no such cell is released.
    fn added(&self, at: usize, cell: usize) -> Option<f64> {
        let Some((column, classes)) = self.columns.get(at) else { return self.figures[cell] };
        let (said, own) = (self.said[at], self.own[*column]);
        let there = (0..*classes).filter(|class| said.holds(*class, own, *classes));
        there.filter_map(|class| self.added(at + 1, cell * classes + class)).reduce(|a, b| a + b)
    }
}

/// A rule: the edge, the side of the edge on which the secret is true, and the guess if nothing is released.
#[derive(Clone, Copy)]
struct Learnt {
    edge: f64,
    above: bool,
    nothing: bool,
}

impl Learnt {
    /// The edge that best separates the people with the secret from those without.
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

/// People in small groups by known columns. In each borough as many have the secret as do not.
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
                let classes = [known.as_slice(), &[value]].concat();
                of[usize::from(has)].push(Person { borough: number, classes, has });
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
    // Some people to learn on, some to choose on, and the rest to be tried on.
    let few = (people.len() / 4).min(300);
    let (learn, rest) = people.split_at(few);
    let (choose, tried) = rest.split_at(few.min(rest.len()));
    let sets: Vec<BTreeSet<usize>> = world.tables();
    let tables: Vec<Vec<Dense>> =
        boroughs.iter().map(|borough| sets.iter().map(|set| dense(borough, set)).collect()).collect();
    let seen = |asked: &Asked, of: &[Person]| -> Vec<(Option<f64>, bool)> {
        of.iter().map(|person| (answered(asked, person, &tables[person.borough]), person.has)).collect()
    };
    // The rules that learn best, and among them those that do best on other people. Each share of questions has its own
    // random numbers.
    let search = |share: u64| {
        let mut dice = Dice::new(support::seed() + 1_000 + share);
        let mut best: Vec<(f64, Asked, Learnt)> = Vec::new();
        for _ in 0..questions / SHARES {
            let asked = question(&sets, &mut dice);
            let least = best.get(KEPT - 1).map_or(0.0, |(right, ..)| *right);
            // A question that does badly on a third of them is dropped.
            let first = seen(&asked, &learn[..few / 3]);
            if Learnt::of(&first).right(&first) < least - 0.08 {
                continue;
            }
            let of_learnt = seen(&asked, learn);
            let rule = Learnt::of(&of_learnt);
            let right = rule.right(&of_learnt);
            if right > least {
                let at = best.partition_point(|(other, ..)| *other >= right);
                best.insert(at, (right, asked, rule));
                best.truncate(KEPT);
            }
        }
        best
    };
    let best: Vec<(f64, Asked, Learnt)> = std::thread::scope(|scope| {
        let search = &search;
        let shares: Vec<_> = (0..SHARES).map(|share| scope.spawn(move || search(share))).collect();
        shares.into_iter().flat_map(|share| share.join().unwrap()).collect()
    });
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
