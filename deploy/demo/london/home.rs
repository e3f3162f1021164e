//! The population. A home is drawn first, then its households, then their people.
//!
//! Each home has its own random streams, one for each purpose. So one borough can be written alone, and another borough
//! can draw the same people.

use crate::boroughs::{BOROUGHS, Borough};
use crate::random::{Random, fixed};

/// Residents of an average borough at the scale [`SMALL`]. At scale 1 this gives nearly the 8.8 million of the Census.
const RESIDENTS: f64 = 2000.0;
/// The scale of a first look: an average borough has `RESIDENTS` residents.
pub const SMALL: f64 = 0.0075;
/// The scale of the demo: 300,000 residents.
pub const DEMO: f64 = 0.034;
/// Residents of an average home, as `occupants` fills homes. Empty and shared homes are included.
const RESIDENTS_A_HOME: f64 = 2.25;
/// Of 1,000 households, this many moved to the next borough in the list, and both boroughs still hold them.
const MOVED: u64 = 25;

pub(crate) const SOCIAL: &str = "Social rented";
pub(crate) const PRIVATE: &str = "Private rented";

/// The purpose of a random stream. Streams of different purposes are independent. New purposes go at the end.
#[derive(Clone, Copy)]
pub(crate) enum For {
    Borough,
    Dwelling,
    Building,
    Occupants,
    Leaving,
    Account,
    Register,
    Care,
    Benefit,
    Sensor,
    School,
    Pension,
    Repair,
    Ward,
    Address,
    Identity,
    Departure,
    Customer,
    Tenancy,
    Claim,
    Complaint,
    Landlord,
    Enforcement,
    Roll,
    Approach,
    Notice,
    Badge,
    Death,
    Reading,
    Certificate,
    Slip,
    Spoiled,
    SecondTenancy,
    SecondBadge,
    Sleeping,
    Placement,
    Schooling,
}

/// The position of a home. Its random streams and its people's keys start from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) seed: u64,
    pub(crate) borough: u64,
    pub(crate) home: u64,
}

/// A dwelling and its residents.
pub(crate) struct Home {
    pub(crate) place: Place,
    /// The place where its people were drawn. It differs from the home's place if they moved.
    pub(crate) origin: Place,
    pub(crate) uprn: u64,
    pub(crate) ward: u64,
    pub(crate) tenure: &'static str,
    pub(crate) flat: bool,
    pub(crate) shared: bool,
    pub(crate) epc: &'static str,
    pub(crate) households: Vec<Household>,
}

pub(crate) struct Household {
    pub(crate) key: u64,
    pub(crate) people: Vec<Person>,
}

pub(crate) struct Person {
    pub(crate) key: u64,
    pub(crate) age: u64,
    pub(crate) female: bool,
    /// The household's number in the home of origin.
    pub(crate) household: u64,
    /// The person's number in the home of origin, over all its households.
    pub(crate) slot: u64,
}

/// The structure of a dwelling.
pub(crate) struct Building {
    pub(crate) storeys: u64,
    pub(crate) above_shop: bool,
    pub(crate) licence: &'static str,
}

/// A council tax account.
pub(crate) struct Account {
    pub(crate) band: &'static str,
    pub(crate) discount: bool,
    pub(crate) moves: u64,
}

impl Place {
    pub(crate) fn of(seed: u64, borough: usize, home: u64) -> Self {
        Self { seed, borough: borough as u64, home }
    }

    pub(crate) fn stream(self, purpose: For) -> Random {
        Random::at(&[self.seed, self.borough, self.home, purpose as u64])
    }

    /// The stream of one person or thing in a home.
    pub(crate) fn stream_of(self, purpose: For, which: u64) -> Random {
        Random::at(&[self.seed, self.borough, self.home, purpose as u64, which])
    }

    /// A pseudonym. It is the same in all records of the household or person.
    fn key(self, household: u64, person: u64) -> u64 {
        fixed(&[self.seed, self.borough, self.home, household, person])
    }

    /// Whether the household of this home moved to the next borough and is in both boroughs' records. Fewer move to a
    /// small borough: otherwise the City would hold almost nobody else.
    pub(crate) fn moved(self, homes: u64, homes_there: u64) -> bool {
        self.stream(For::Leaving).below(1000 * homes.max(1)) < MOVED * homes.min(homes_there)
    }
}

impl Home {
    /// The home at this place, with the people who belong there.
    pub(crate) fn at(place: Place, borough: &Borough) -> Self {
        let (shared, households) = occupants(place);
        Self::with(place, borough, shared, households, place)
    }

    /// The home at this place, with people of another place.
    pub(crate) fn with(
        place: Place,
        borough: &Borough,
        shared: bool,
        households: Vec<Household>,
        origin: Place,
    ) -> Self {
        let mut random = place.stream(For::Dwelling);
        let old = households.iter().flat_map(|h| &h.people).any(|p| p.age >= 65);
        let tenure = match (shared, old, borough.inner_london) {
            (true, ..) => random.code("Private rented 90|Social rented 10"),
            (_, true, _) => random.code("Owned outright 60|Owned with a mortgage 6|Social rented 28|Private rented 6"),
            (.., true) => random.code("Owned outright 8|Owned with a mortgage 20|Social rented 35|Private rented 37"),
            _ => random.code("Owned outright 16|Owned with a mortgage 36|Social rented 19|Private rented 29"),
        };
        let flat = !shared && random.chance(if borough.inner_london { 720 } else { 370 });
        let epc = match tenure {
            SOCIAL => random.code("B 22|C 48|D 20|E 3| 7"),
            _ => random.code("A 1|B 10|C 27|D 27|E 9|F 2|G 1| 23"),
        };
        let ward = random.between(1, wards_of(borough));
        // Twelve digits like a real number. The 99 marks it as invented.
        let uprn = 990_000_000_000 + (place.borough + 1) * 100_000_000 + place.home;
        Self { place, origin, uprn, ward, tenure, flat, shared, epc, households }
    }

    pub(crate) fn people(&self) -> impl Iterator<Item = (&Household, &Person)> {
        self.households.iter().flat_map(|h| h.people.iter().map(move |p| (h, p)))
    }

    pub(crate) fn rented(&self) -> bool {
        matches!(self.tenure, SOCIAL | PRIVATE)
    }

    pub(crate) fn cold(&self) -> bool {
        matches!(self.epc, "D" | "E" | "F" | "G")
    }

    pub(crate) fn building(&self) -> Building {
        let mut random = self.place.stream(For::Building);
        let storeys = match (self.flat, self.shared) {
            (true, _) => random.quantile(&[(0, 2), (550, 5), (850, 11), (1000, 32)]),
            (_, true) => random.between(2, 4),
            _ => random.pick(&[(1, 5), (2, 75), (3, 20)]),
        };
        let above_shop = random.chance(if self.shared { 210 } else { 60 });
        let licence = match (self.shared && random.chance(550), self.households.len()) {
            (false, _) => "None",
            (true, 5..) => "Mandatory",
            (true, _) => "Additional",
        };
        Building { storeys, above_shop, licence }
    }

    /// Practice differs between councils: `wrong_discounts` of 1,000 homes with two or more adults have the discount
    /// for one.
    pub(crate) fn account(&self, wrong_discounts: u64) -> Account {
        let mut random = self.place.stream(For::Account);
        let band = if self.flat {
            random.code("A 5|B 16|C 31|D 27|E 12|F 5|G 3|H 1")
        } else {
            random.code("B 2|C 12|D 31|E 27|F 16|G 10|H 2")
        };
        let discount = random.chance(match self.people().filter(|(_, p)| p.age >= 18).count() {
            0 => 0,
            1 => 880,
            _ => wrong_discounts,
        });
        let moves = match (self.shared, self.tenure) {
            (true, _) => random.quantile(&[(0, 0), (400, 3), (900, 7), (1000, 10)]),
            (_, PRIVATE) => random.pick(&[(0, 50), (1, 35), (2, 11), (3, 4)]),
            _ => random.pick(&[(0, 92), (1, 7), (2, 1)]),
        };
        Account { band, discount, moves }
    }

    /// The people who are registered to vote, and the elections in which they can vote.
    pub(crate) fn electors(&self) -> Vec<(&Household, &Person, &'static str)> {
        let mut random = self.place.stream(For::Register);
        let (registered, local_only) = match self.tenure {
            PRIVATE => (680, 250),
            SOCIAL => (860, 100),
            _ => (930, 60),
        };
        let mut electors = Vec::new();
        for (household, person) in self.people() {
            let franchise = if random.chance(local_only) { "Local only" } else { "Parliamentary" };
            if random.chance(registered) && person.age >= 16 {
                electors.push((household, person, franchise));
            }
        }
        electors
    }
}

/// The number of homes. At least 10, so that the City of London exists at any scale.
pub(crate) fn count_homes(borough: &Borough, scale: f64) -> u64 {
    let total: u32 = BOROUGHS.iter().map(|b| b.population).sum();
    let share = f64::from(borough.population) * 33.0 / f64::from(total);
    ((RESIDENTS * (scale / SMALL) * share / RESIDENTS_A_HOME).round() as u64).max(10)
}

/// About one ward for 15,000 residents, as in London.
pub(crate) fn wards_of(borough: &Borough) -> u64 {
    (u64::from(borough.population) / 15_000).clamp(2, 25)
}

pub(crate) fn ward_name(borough: &Borough, number: u64) -> String {
    format!("{} {number:02}", borough.name)
}

/// The form of a real code. The 99 marks it as invented.
pub(crate) fn ward_code(borough: u64, number: u64) -> String {
    format!("E0599{:02}{number:02}", borough + 1)
}

/// The people in a home, and whether several households share it. Only the place of origin decides, so that another
/// borough can draw the same people.
pub(crate) fn occupants(place: Place) -> (bool, Vec<Household>) {
    let mut random = place.stream(For::Occupants);
    let kind = random.pick(&[
        (Kind::Empty, 40),
        (Kind::Shared, 60),
        (Kind::Single, 280),
        (Kind::Couple, 270),
        (Kind::Family, 250),
        (Kind::LoneParent, 100),
    ]);
    let count = match kind {
        Kind::Empty => 0,
        Kind::Shared => random.between(3, 6),
        _ => 1,
    };
    let households = (0..count).map(|number| {
        let ages = ages(kind, &mut random);
        let people = ages.into_iter().zip(1..).map(|(age, person)| Person {
            key: place.key(number, person),
            age,
            female: random.chance(510),
            household: number,
            slot: number + person - 1,
        });
        Household { people: people.collect(), key: place.key(number, 0) }
    });
    let households = households.collect();
    (kind == Kind::Shared, households)
}

/// How the people of a home are related.
#[derive(Clone, Copy, Default, PartialEq)]
enum Kind {
    #[default]
    Empty,
    Shared,
    Single,
    Couple,
    Family,
    LoneParent,
}

fn ages(kind: Kind, random: &mut Random) -> Vec<u64> {
    let adult = [(0, 19), (300, 31), (600, 45), (780, 60), (920, 75), (1000, 98)];
    let parent = [(0, 22), (500, 38), (1000, 58)];
    let sharer = [(0, 18), (600, 28), (1000, 55)];
    let mut ages = match kind {
        Kind::Empty => vec![],
        Kind::Shared => vec![random.quantile(&sharer)],
        Kind::Single => vec![random.quantile(&adult)],
        Kind::Couple => {
            let age = random.quantile(&adult);
            vec![age, (age + 3).saturating_sub(random.below(7)).max(18)]
        }
        Kind::Family => vec![random.quantile(&parent), random.quantile(&parent)],
        Kind::LoneParent => vec![random.quantile(&parent)],
    };
    if matches!(kind, Kind::Family | Kind::LoneParent) {
        let children = random.pick(&[(1, 45), (2, 38), (3, 17)]);
        ages.extend((0..children).map(|_| random.below(22)));
    }
    ages
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn small_scale_is_the_demos_and_scale_1_is_london() {
        let (_, lambeth) = crate::boroughs::find("E09000022").unwrap();
        // 2,000 × 317,600 × 33 ÷ 8,800,000 ÷ 2.25, as the demo rounds it.
        assert_eq!(count_homes(lambeth, 0.0075), 1059);
        let all: u64 = BOROUGHS.iter().map(|b| count_homes(b, 1.0)).sum();
        assert!((3_900_000..3_920_000).contains(&all), "{all}");
    }
}
