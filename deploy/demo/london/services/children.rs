//! Children of compulsory school age (5 to 15) who live in the borough, and the rolls of its schools.

use crate::boroughs::BOROUGHS;

use super::super::home::{For, Home, Person};
use super::super::identity::Identity;
use super::super::moves::{self, Purpose};
use super::{Desk, Scene, Value, Why};

fn of_school_age(person: &Person) -> bool {
    (5..16).contains(&person.age)
}

/// The borough of a child's school, the same when any borough asks. One child in eighty is on no roll.
fn school_borough(home: &Home, person: &Person) -> Option<usize> {
    let origin = home.origin;
    if origin.stream_of(For::Roll, person.slot).below(80) == 0 {
        return None;
    }
    Some(moves::elsewhere(origin, Purpose::Schooling).unwrap_or(origin.borough as usize))
}

pub(crate) fn children(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    for (household, person) in scene.home.people().filter(|(_, p)| of_school_age(p)) {
        desk.tally.children.push(person.key);
        let written = desk.written(scene, person);
        let values = vec![
            written.given(),
            written.surname(),
            written.born(),
            written.number(Identity::upn),
            written.number(Identity::nhs_number),
            scene.uprn(),
            scene.postcode(),
        ];
        desk.person(household, person, values);
    }
}

pub(crate) fn school_roll(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    // Children who moved stay at their school, and so do their records.
    if !matches!(scene.why, Why::Resident { .. } | Why::Visit(Purpose::Schooling)) {
        return;
    }
    for (household, person) in scene.home.people().filter(|(_, p)| of_school_age(p)) {
        if school_borough(scene.home, person) != Some(scene.index) {
            continue;
        }
        desk.tally.rolls.push(person.key);
        let mut random = scene.home.origin.stream_of(For::Roll, 100 + person.slot);
        let schools = BOROUGHS.get(scene.index).map_or(1, |b| u64::from(b.population) / 2_900).max(1);
        let urn = format!("99{:02}{:03}", scene.index + 1, random.below(schools));
        let absence = random.quantile(&[(0, 0), (500, 540), (800, 1_000), (950, 2_400), (1000, 9_000)]);
        let written = desk.written(scene, person);
        let values = vec![
            written.given(),
            written.surname(),
            written.born(),
            written.number(Identity::upn),
            urn.into(),
            Value::Hundredths(absence),
        ];
        desk.person(household, person, values);
    }
}
