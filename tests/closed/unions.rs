//! Random unions of categories with least squares: the attack that once read a borough's exact table in 20 statements.
//!
//! `LODA_CLOSED_QUESTIONS` sets the number of sets (default 2,400), over `LODA_CLOSED_BOROUGHS` boroughs (default 8).

use std::collections::BTreeSet;

use super::figures;
use crate::pooled::{Holding, contract, holdings, text};
use crate::support::{self, Dice, Federation};

fn list(names: &[&String]) -> String {
    names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect::<Vec<_>>().join(", ")
}

/// All people in the residents register, in four forms.
const SOURCES: [&str; 4] = [
    "residents a",
    "residents a JOIN residents b ON a.person_key = b.person_key AND a.borough = b.borough",
    "residents a LEFT JOIN social_care_clients s ON a.person_key = s.person_key AND a.borough = s.borough",
    "(SELECT * FROM residents r WHERE EXISTS (SELECT 1 FROM residents b WHERE r.person_key = b.person_key AND r.borough = b.borough)) a",
];

/// Bounded least squares, cell by cell: the sum of a set's cells must equal the answer for the set.
fn solved(sets: &[Vec<usize>], answers: &[f64], cells: usize) -> Vec<f64> {
    let (mut shared, mut wanted) = (vec![0.0; cells * cells], vec![0.0; cells]);
    for (set, answer) in sets.iter().zip(answers) {
        for a in set {
            wanted[*a] += answer;
            set.iter().for_each(|b| shared[a * cells + b] += 1.0);
        }
    }
    let mut held = vec![0.5; cells];
    for _ in 0..2_000 {
        for cell in 0..cells {
            let row = &shared[cell * cells..(cell + 1) * cells];
            if row[cell] > 0.0 {
                let off = wanted[cell] - row.iter().zip(&held).map(|(a, b)| a * b).sum::<f64>();
                held[cell] = (held[cell] + off / row[cell]).max(0.0);
            }
        }
    }
    held
}

/// The people of a borough by the two columns in question. A cell is the ward's number × the number of age bands + the
/// age band's number.
struct People {
    gss: String,
    wards: Vec<String>,
    ages: Vec<String>,
    /// The cell, and whether the person is a woman.
    each: Vec<(usize, bool)>,
}

impl People {
    fn of(held: &Holding) -> Self {
        let names: Vec<String> = contract("residents").columns.iter().map(|c| c.name.clone()).collect();
        let [ward, age, sex] = ["ward", "age_band", "sex"].map(|name| names.iter().position(|n| n == name).unwrap());
        let rows = text(&held.rows, 99);
        let of = |column: usize| -> Vec<String> {
            rows.iter().map(|row| row[column].clone()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let (wards, ages) = (of(ward), of(age));
        let place = |of: &[String], word: &String| of.iter().position(|other| other == word).unwrap();
        let each = rows
            .iter()
            .map(|row| (place(&wards, &row[ward]) * ages.len() + place(&ages, &row[age]), row[sex] == "Female"));
        Self { gss: held.gss.clone(), each: each.collect(), wards, ages }
    }

    fn cells(&self) -> usize {
        self.wards.len() * self.ages.len()
    }

    /// A random union of cells, and its wording: the cells in some wards and in some age bands, or in neither.
    fn union(&self, dice: &mut Dice) -> (Vec<usize>, String) {
        let some = |of: &[String], dice: &mut Dice| -> Vec<usize> {
            let chosen: Vec<usize> = (0..of.len()).filter(|_| dice.one_in(2)).collect();
            if chosen.is_empty() { vec![0] } else { chosen }
        };
        let (wards, ages) = (some(&self.wards, dice), some(&self.ages, dice));
        let inside =
            |cell: &usize| wards.contains(&(cell / self.ages.len())) == ages.contains(&(cell % self.ages.len()));
        let set = (0..self.cells()).filter(inside).collect();
        let (ward, age) = (worded("ward", &self.wards, &wards, dice), worded("age_band", &self.ages, &ages, dice));
        let condition = match dice.below(3) {
            0 => format!("({ward}) = ({age})"),
            1 => format!("(({ward}) AND ({age})) OR (NOT ({ward}) AND NOT ({age}))"),
            _ => format!("CASE WHEN {ward} THEN ({age}) ELSE NOT ({age}) END"),
        };
        (set, condition)
    }
}

/// A condition in random words: a column has one of these classes.
fn worded(column: &str, of: &[String], places: &[usize], dice: &mut Dice) -> String {
    let out: Vec<usize> = (0..of.len()).filter(|place| !places.contains(place)).collect();
    let named = |places: &[usize]| list(&places.iter().map(|place| &of[*place]).collect::<Vec<_>>());
    let each = |places: &[usize], is: &str, word: &str| -> String {
        let each = places.iter().map(|place| format!("a.{column} {is} '{}'", of[*place].replace('\'', "''")));
        each.collect::<Vec<_>>().join(word)
    };
    // Only columns with a code list allow patterns.
    let word = match dice.below(if out.is_empty() { 4 } else { 6 }) {
        2 if column == "ward" => 1,
        word => word,
    };
    match word {
        0 => format!("a.{column} IN ({})", named(places)),
        1 => each(places, "=", " OR "),
        2 => each(places, "LIKE", " OR "),
        3 => format!("CASE WHEN a.{column} IN ({}) THEN 1 ELSE 0 END = 1", named(places)),
        4 => each(&out, "<>", " AND "),
        _ => format!("NOT (a.{column} IN ({}))", named(&out)),
    }
}

/// The number of women and men in each cell, reconstructed from the answers to this many random unions.
async fn reconstructed(federation: &Federation, people: &People, sets: u64, dice: &mut Dice) -> [Vec<f64>; 2] {
    let unions: Vec<(Vec<usize>, String)> = (0..sets).map(|_| people.union(dice)).collect();
    let mut answers = [Vec::new(), Vec::new()];
    for (number, some) in unions.chunks(8).enumerate() {
        let counted = some.iter().enumerate().map(|(i, (_, c))| format!("COUNT(*) FILTER (WHERE {c}) AS f{i}"));
        let sql = format!(
            "SELECT a.sex, {} FROM {} WHERE a.borough = '{}' AND a.sex IN ('Female', 'Male') GROUP BY a.sex ORDER BY 1",
            counted.collect::<Vec<_>>().join(", "),
            SOURCES[number % SOURCES.len()],
            people.gss
        );
        for (row, of) in figures(federation, &sql).await.iter().zip(&mut answers) {
            of.extend(row[1..].iter().map(|n| n.parse::<f64>().unwrap_or(0.0)));
        }
    }
    let sets: Vec<Vec<usize>> = unions.into_iter().map(|(set, _)| set).collect();
    answers.map(|answers| solved(&sets, &answers, people.cells()))
}

/// People whose sex is guessed right, people guessed about, and people for whom the most common sex is right.
#[derive(Default)]
struct Score {
    right: f64,
    seen: f64,
    commonest: f64,
}

impl Score {
    fn add(&mut self, people: &People, [women, men]: &[Vec<f64>; 2]) {
        let all = people.each.len() as f64;
        let female = people.each.iter().filter(|(_, female)| *female).count() as f64 / all;
        let mut held = vec![0; people.cells()];
        people.each.iter().for_each(|(cell, _)| held[*cell] += 1);
        for (cell, female_is) in people.each.iter().filter(|(cell, _)| held[*cell] == 1) {
            // If the two numbers are nearly equal, a coin decides.
            let more = women[*cell] - men[*cell];
            self.right += if more.abs() < 0.02 { 0.5 } else { f64::from(u8::from((more > 0.0) == *female_is)) };
            self.commonest += f64::from(u8::from((female > 0.5) == *female_is));
            self.seen += 1.0;
        }
    }

    fn percent(&self) -> [f64; 2] {
        [self.right, self.commonest].map(|right| right * 100.0 / self.seen.max(1.0))
    }
}

/// Guesses the sex of people who are alone in their ward and age band. Lists are worded by IN, OR, LIKE, CASE, NOT and
/// by the classes that they leave out, over joins and EXISTS.
#[test]
fn random_unions_and_least_squares_name_nobody() {
    support::run(async {
        let questions = support::rounds("LODA_CLOSED_QUESTIONS", 2_400);
        let boroughs = support::rounds("LODA_CLOSED_BOROUGHS", 8);
        let mut scores = Vec::new();
        for federation in [support::synthetic().await.unwrap(), support::synthetic_unprotected().await.unwrap()] {
            let mut held: Vec<Holding> = holdings(federation).await;
            held.retain(|held| held.dataset == "residents");
            held.sort_by(|a, b| a.gss.cmp(&b.gss));
            let mut score = Score::default();
            let mut dice = Dice::new(7);
            for held in held.iter().take(boroughs as usize) {
                let people = People::of(held);
                let found = reconstructed(federation, &people, questions / boroughs, &mut dice).await;
                score.add(&people, &found);
            }
            scores.push(score);
        }
        let [protected, exact] = &scores[..] else { panic!() };
        let ([named, commonest], [exactly, _]) = (protected.percent(), exact.percent());
        println!(
            "{questions} random sets over {boroughs} boroughs: the sex of {} people alone in ward and age is named for \
             {named:.1} %, by the commonest for {commonest:.1} %, from exact counts for {exactly:.1} %",
            protected.seen
        );
        assert!(protected.seen >= 40.0 && exactly > 80.0, "the attack does not work on exact counts: {exactly}");
        let luck = 150.0 / protected.seen.sqrt();
        assert!(named <= 53.0 + luck, "{named}");
    });
}
