//! Double lives: homes whose people also have records in another borough, and the reason.
//!
//! This draw comes before all other facts about a home. So one cheap pass over London finds the people that a borough
//! must draw besides its own. Whether the home has a fitting person (a tenant, a badge holder, a pupil) is decided
//! later, in the same way in both boroughs.

use crate::boroughs::{BOROUGHS, Borough};

use super::calendar::AS_AT;
use super::home::{For, Home, Place, count_homes};
use super::places;

/// The reason why a person of one borough has a record in another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Purpose {
    /// A tenancy or a benefit claim that also runs there.
    Tenancy,
    /// A second blue badge.
    Badge,
    /// Seen sleeping rough there, after a request for help in their own borough.
    Sleeping,
    /// Placed there in temporary accommodation.
    Placement,
    /// A child who goes to school there.
    Schooling,
}

/// Of 10,000 homes, this many are drawn for each purpose. The numbers are invented. Most drawn homes have no fitting
/// person.
const DRAWN: [(Purpose, For, u64); 5] = [
    (Purpose::Tenancy, For::SecondTenancy, 120),
    (Purpose::Badge, For::SecondBadge, 200),
    (Purpose::Sleeping, For::Sleeping, 15),
    (Purpose::Placement, For::Placement, 70),
    (Purpose::Schooling, For::Schooling, 2_000),
];

/// A home in another borough whose people have a record here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Visit {
    pub(crate) purpose: Purpose,
    pub(crate) from: usize,
    pub(crate) home: u64,
}

/// The other borough that knows the people of a home for this purpose.
pub(crate) fn elsewhere(place: Place, purpose: Purpose) -> Option<usize> {
    let (_, stream, often) = *DRAWN.iter().find(|(drawn, ..)| *drawn == purpose)?;
    let mut random = place.stream(stream);
    (random.below(10_000) < often).then(|| places::another(place.borough as usize, &mut random))
}

/// For each borough, the homes of other boroughs that it must draw, in a fixed order.
pub(crate) fn visits(seed: u64, scale: f64) -> Vec<Vec<Visit>> {
    let mut to: Vec<Vec<Visit>> = BOROUGHS.iter().map(|_| Vec::new()).collect();
    for (from, borough) in BOROUGHS.iter().enumerate() {
        for home in 0..count_homes(borough, scale) {
            for (purpose, ..) in DRAWN {
                let there = elsewhere(Place::of(seed, from, home), purpose);
                if let Some(list) = there.and_then(|there| to.get_mut(there)) {
                    list.push(Visit { purpose, from, home });
                }
            }
        }
    }
    to
}

/// The borough to which a home's household has moved, if it has moved. This borough still holds it.
pub(crate) fn gone(home: &Home, scale: f64) -> Option<usize> {
    let from = home.place.borough as usize;
    let to = (from + 1) % BOROUGHS.len();
    let homes = |index| places::borough(index).map_or(0, |b| count_homes(b, scale));
    let moved = !home.shared && !home.households.is_empty() && home.place.moved(homes(from), homes(to));
    moved.then_some(to)
}

/// The day on which a moved household left, within the last two years.
pub(crate) fn left_on(origin: Place) -> i32 {
    AS_AT - 20 - origin.stream(For::Departure).below(700) as i32
}

/// The home into which a household of the borough before moved. Its number comes after this borough's own homes.
pub(crate) fn arrived(seed: u64, index: usize, borough: &Borough, scale: f64, number: u64) -> Option<Home> {
    let before = (index + BOROUGHS.len() - 1) % BOROUGHS.len();
    let homes = count_homes(borough, scale);
    let origin = Place::of(seed, before, number);
    if !origin.moved(count_homes(places::borough(before)?, scale), homes) {
        return None;
    }
    let (shared, households) = super::home::occupants(origin);
    let place = Place::of(seed, index, homes + number);
    (!shared && !households.is_empty()).then(|| Home::with(place, borough, false, households, origin))
}
