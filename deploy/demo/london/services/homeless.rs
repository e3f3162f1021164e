//! Homelessness: approaches to a person's own borough, contacts on the street in any borough, placements and notices.

use super::super::calendar::AS_AT;
use super::super::home::{For, Home, Household, Person};
use super::super::moves::{self, Purpose};
use super::super::places;
use super::{Desk, Scene, Value, Why};

const REASONS: &str = "End of private tenancy 30|Family or friends no longer able 27|Domestic abuse 15|\
    Relationship breakdown 9|Left an institution 6|Other 13";

/// The person of a home who asks for help.
fn asker(home: &Home) -> Option<(&Household, &Person)> {
    home.people().find(|(_, person)| person.age >= 18)
}

/// An approach, and the number of days until each later contact on a street.
struct Approach {
    on: i32,
    reason: &'static str,
    later: Vec<i32>,
    /// The borough of the street, if it is another borough.
    street: Option<usize>,
}

/// The approach of a home's people to their borough in 2025, if there was one.
fn approach(home: &Home) -> Option<Approach> {
    let origin = home.origin;
    let street = moves::elsewhere(origin, Purpose::Sleeping);
    let mut random = origin.stream(For::Approach);
    let here = random.chance(2);
    if street.is_none() && !here && !random.chance(14) {
        return None;
    }
    // Contacts more than 180 days later must fit into the extract, so these approaches are before midsummer.
    let on = AS_AT - if street.is_some() || here { random.between(210, 360) } else { random.below(365) } as i32;
    let reason = random.code(REASONS);
    // A third are first met after more than 180 days.
    let first = if random.chance(670) { random.below(181) } else { random.between(181, 209) } as i32;
    let mut later = if street.is_some() || here { vec![first] } else { vec![] };
    if !later.is_empty() && random.chance(400) {
        later.push((first + random.between(1, 25) as i32).min(209));
    }
    Some(Approach { on, reason, later, street })
}

pub(crate) fn approaches(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let (Some((household, person)), true) = (asker(scene.home), scene.belongs_here()) else { return };
    let Some(approach) = approach(scene.home) else { return };
    desk.tally.approaches.push((person.key, approach.on));
    let written = desk.written(scene, person);
    let values = vec![
        written.given(),
        written.surname(),
        written.born(),
        written.number(super::Identity::nino),
        Value::Day(approach.on),
        approach.reason.into(),
    ];
    desk.person(household, person, values);
}

pub(crate) fn contacts(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let Some((household, person)) = asker(scene.home) else { return };
    let days: Vec<i32> = match (scene.why, approach(scene.home)) {
        (Why::Visit(Purpose::Sleeping), Some(a)) => a.later.iter().map(|days| a.on + days).collect(),
        (Why::Resident { .. }, Some(a)) if a.street.is_none() => a.later.iter().map(|days| a.on + days).collect(),
        // A person who was met on a street and never made an approach.
        (Why::Resident { .. }, None) => {
            let mut random = scene.stream(For::Approach, 1);
            if random.chance(1) { vec![AS_AT - random.below(365) as i32] } else { vec![] }
        }
        _ => vec![],
    };
    for on in days {
        desk.tally.contacts.push((person.key, on));
        let written = desk.written(scene, person);
        desk.person(household, person, vec![written.given(), written.surname(), written.born(), Value::Day(on)]);
    }
}

/// The day on which a household was placed in another borough.
fn placed_on(home: &Home) -> i32 {
    AS_AT - 30 - home.origin.stream(For::Notice).below(700) as i32
}

pub(crate) fn placements(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let (Some((household, person)), true) = (asker(scene.home), scene.belongs_here()) else { return };
    let Some(to) = moves::elsewhere(scene.home.origin, Purpose::Placement) else { return };
    desk.tally.placements.push((household.key, to));
    let on = placed_on(scene.home);
    let written = desk.written(scene, person);
    let values = vec![written.given(), written.surname(), written.born(), places::gss(to).into(), Value::Day(on)];
    desk.person(household, person, values);
}

/// The receiving borough's records: 780 notices for 1,000 placements.
pub(crate) fn notices(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let (Some((household, person)), Why::Visit(Purpose::Placement)) = (asker(scene.home), scene.why) else { return };
    let mut random = scene.stream(For::Notice, 1);
    if !random.chance(780) {
        return;
    }
    let from = scene.home.origin.borough as usize;
    desk.tally.notices.push((household.key, from));
    let on = placed_on(scene.home) + random.below(28) as i32;
    let written = desk.written(scene, person);
    let values = vec![
        written.given(),
        written.surname(),
        places::gss(from).into(),
        Value::Day(on),
        scene.address(),
        scene.postcode(),
    ];
    desk.person(household, person, values);
}
