//! Systems that know people: the customer index, tenancies, benefits, badges, deaths and social care.

use super::super::calendar::AS_AT;
use super::super::home::{For, Home, Household, PRIVATE, Person, Place, SOCIAL};
use super::super::identity::Identity;
use super::super::moves::{self, Purpose};
use super::{Desk, Scene, Value, Why};

const HOUSING: &str = "Housing Benefit";
const COUNCIL_TAX: &str = "Council Tax Support";
const DISCRETIONARY: &str = "Discretionary Housing Payment";
/// The guarantee of Pension Credit for one person, in pence a week: about £227.
pub(crate) const GUARANTEE: u64 = 22_700;

const NEEDS_UNDER_65: &str = "Learning disability support 42|Mental health support 28|Physical support 22|\
    Social support 5|Sensory support 3";
const NEEDS_FROM_65: &str = "Physical support 66|Support with memory and cognition 21|\
    Mental health support 5|Social support 4|Sensory support 4";

/// Pence a week for care in the community. A few packages cost as much as twenty usual ones.
const WEEKLY_COST: [(u64, u64); 7] =
    [(0, 4_000), (250, 12_000), (500, 24_000), (750, 42_000), (980, 120_000), (990, 420_000), (1000, 980_000)];

/// The customer index: two adults in five. Nobody tells the council when a person leaves.
pub(crate) fn customers(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    for (household, person) in scene.home.people().filter(|(_, p)| p.age >= 18) {
        let mut random = scene.stream(For::Customer, person.slot);
        // One customer in twenty-five was entered twice.
        let entries = if random.chance(420) { 1 + u64::from(random.chance(40)) } else { 0 };
        for _ in 0..entries {
            let written = desk.written(scene, person);
            let nino = if random.chance(350) { written.number(Identity::nino) } else { Value::Null };
            let values = vec![
                written.given(),
                written.surname(),
                written.born(),
                nino,
                scene.uprn(),
                scene.address(),
                scene.postcode(),
            ];
            desk.person(household, person, values);
        }
    }
}

/// The first adult of a household.
fn claimant(household: &Household) -> Option<&Person> {
    household.people.iter().find(|person| person.age >= 18)
}

/// Whether the double life is a tenancy (otherwise a claim), and whether it still runs.
fn double(origin: Place) -> (bool, bool) {
    let mut random = origin.stream_of(For::SecondTenancy, 1);
    (random.chance(500), random.chance(700))
}

/// The day on which a household's tenancy or claim in this borough ended, if it ended. Most households that left gave
/// notice.
fn ended(scene: &Scene<'_>, purpose: For, noticed: u64) -> Option<i32> {
    match scene.why {
        Why::Resident { gone: Some(_) } => {
            scene.stream(purpose, 9).chance(noticed).then(|| moves::left_on(scene.home.origin))
        }
        Why::Visit(_) if !double(scene.home.origin).1 => Some(AS_AT - 40),
        _ => None,
    }
}

pub(crate) fn tenancies(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let rents = match scene.why {
        Why::Visit(Purpose::Tenancy) => double(scene.home.origin).0 && !scene.home.shared,
        Why::Visit(_) => false,
        _ => scene.home.tenure == SOCIAL,
    };
    if !rents {
        return;
    }
    let end = ended(scene, For::Tenancy, 700);
    for household in &scene.home.households {
        let Some(first) = claimant(household) else { continue };
        let mut random = scene.stream(For::Tenancy, first.slot);
        let start = match scene.why {
            Why::Arrived => moves::left_on(scene.home.origin),
            _ => AS_AT - 760 - random.quantile(&[(0, 0), (500, 2_600), (1000, 11_000)]) as i32,
        };
        let joint = random.chance(350);
        let adults = household.people.iter().filter(|p| p.age >= 18).take(if joint { 2 } else { 1 });
        for person in adults {
            if end.is_none() {
                desk.tally.claimants.push(person.key);
            }
            let written = desk.written(scene, person);
            let values = vec![
                written.given(),
                written.surname(),
                written.born(),
                written.number(Identity::nino),
                scene.uprn(),
                scene.address(),
                scene.postcode(),
                Value::Day(start),
                end.map_or(Value::Null, Value::Day),
            ];
            desk.person(household, person, values);
        }
    }
}

/// A household's award, its income, and the amount that it could claim. In pence a week.
pub(crate) struct Means {
    /// [`NO_AWARD`] if it has none.
    pub(crate) benefit: &'static str,
    pub(crate) amount: u64,
    pub(crate) pension: bool,
    pub(crate) income: u64,
    pub(crate) rent: u64,
    pub(crate) credit: bool,
}

/// The word for a household that was assessed and gets nothing.
pub(crate) const NO_AWARD: &str = "No award";

impl Means {
    /// The amount that it could claim but does not.
    pub(crate) fn unclaimed(&self) -> u64 {
        if self.pension && !self.credit { GUARANTEE.saturating_sub(self.income) } else { 0 }
    }
}

/// The means of each household that has an award or is of pension age.
pub(crate) fn means(home: &Home) -> Vec<Option<Means>> {
    let mut awards = home.place.stream(For::Benefit);
    let mut pensions = home.place.stream(For::Pension);
    let likely = match home.tenure {
        SOCIAL => 470,
        PRIVATE => 210,
        _ => 60,
    };
    let of = |household: &Household| {
        let (mut benefit, mut amount) = (NO_AWARD, 0);
        if awards.chance(likely) {
            benefit = if home.rented() {
                awards.code("Housing Benefit 55|Council Tax Support 38|Discretionary Housing Payment 7")
            } else {
                COUNCIL_TAX
            };
            amount = match benefit {
                HOUSING => awards.quantile(&[(0, 3_000), (500, 15_000), (950, 32_000), (1000, 62_000)]),
                DISCRETIONARY => awards.quantile(&[(0, 500), (500, 3_000), (1000, 12_000)]),
                _ => awards.quantile(&[(0, 200), (500, 1_900), (1000, 4_500)]),
            };
        }
        let pension = household.people.iter().any(|p| p.age >= 66);
        let (mut income, mut rent, mut credit) = (0, 0, false);
        if pension {
            income = pensions.quantile(&[(0, 9_000), (300, 19_000), (700, 31_000), (1000, 92_000)]);
            rent = if home.rented() { pensions.quantile(&[(0, 8_000), (500, 14_500), (1000, 38_000)]) } else { 0 };
            credit = income < GUARANTEE && pensions.chance(650);
        } else if benefit != NO_AWARD {
            let mut own = home.place.stream_of(For::Claim, household.people.len() as u64);
            income = own.quantile(&[(0, 7_000), (500, 21_000), (1000, 60_000)]);
            rent = if home.rented() { own.quantile(&[(0, 9_000), (500, 21_000), (1000, 52_000)]) } else { 0 };
        }
        (pension || benefit != NO_AWARD).then_some(Means { benefit, amount, pension, income, rent, credit })
    };
    home.households.iter().map(of).collect()
}

pub(crate) fn housing_benefit(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let means = match scene.why {
        Why::Visit(Purpose::Tenancy) if !double(scene.home.origin).0 && !scene.home.shared => {
            // A claim for rent alone. The household's other income is not modelled here.
            let claim = |_| {
                let amount = scene.stream(For::Claim, 50).quantile(&[(0, 3_000), (500, 15_000), (1000, 40_000)]);
                Some(Means { benefit: HOUSING, amount, pension: false, income: 0, rent: amount, credit: false })
            };
            scene.home.households.iter().map(claim).collect()
        }
        Why::Visit(_) => return,
        _ => means(scene.home),
    };
    let end = ended(scene, For::Claim, 600);
    for (household, means) in scene.home.households.iter().zip(means) {
        let (Some(means), Some(person)) = (means, claimant(household)) else { continue };
        if means.benefit == HOUSING && end.is_none() {
            desk.tally.claimants.push(person.key);
        }
        if means.unclaimed() > 0 {
            desk.tally.unclaimed.entry(scene.home.ward).or_default().push(means.unclaimed());
        }
        let start = match scene.why {
            Why::Arrived => moves::left_on(scene.home.origin),
            _ => AS_AT - 760 - scene.stream(For::Claim, 60).below(3_000) as i32,
        };
        let written = desk.written(scene, person);
        let values = vec![
            written.given(),
            written.surname(),
            written.born(),
            written.number(Identity::nino),
            scene.uprn(),
            scene.postcode(),
            scene.ward(),
            means.benefit.into(),
            Value::Flag(means.pension),
            Value::Flag(means.credit),
            Value::Hundredths(means.income),
            Value::Hundredths(means.rent),
            Value::Hundredths(means.amount),
            Value::Day(start),
            end.map_or(Value::Null, Value::Day),
        ];
        desk.person(household, person, values);
    }
}

/// Three-year blue badges, some of them expired. A second borough also gives a badge to people with a record there.
pub(crate) fn blue_badges(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if matches!(scene.why, Why::Visit(purpose) if purpose != Purpose::Badge) {
        return;
    }
    for (household, person) in scene.home.people() {
        let likely = match person.age {
            0..18 => 4,
            18..65 => 15,
            65..80 => 110,
            _ => 330,
        };
        let held = scene.home.origin.stream_of(For::Badge, person.slot).chance(likely);
        let mut random = scene.stream(For::Badge, 50 + person.slot + 100 * scene.index as u64);
        // Two in five people who moved ask the new borough for a badge, too.
        let again = scene.why != Why::Arrived || random.chance(400);
        if !held || !again {
            continue;
        }
        let issue = AS_AT - random.below(1_300) as i32;
        let expiry = issue + 1_095;
        if expiry >= AS_AT {
            desk.tally.badges.push(person.key);
        }
        let written = desk.written(scene, person);
        let values = vec![
            written.given(),
            written.surname(),
            written.born(),
            written.number(Identity::nino),
            scene.address(),
            scene.postcode(),
            Value::Day(issue),
            Value::Day(expiry),
        ];
        desk.person(household, person, values);
    }
}

/// Deaths in 2025, at nearly the rates of England by age (Office for National Statistics), rounded.
pub(crate) fn deaths(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.belongs_here() {
        return;
    }
    for (household, person) in scene.home.people() {
        let of_10_000 = match person.age {
            0..45 => 5,
            45..65 => 40,
            65..75 => 150,
            75..85 => 450,
            _ => 1_400,
        };
        let mut random = scene.stream(For::Death, person.slot);
        if random.below(10_000) >= of_10_000 {
            continue;
        }
        desk.tally.deaths.push(person.key);
        let on = Value::Day(AS_AT - random.below(365) as i32);
        let written = desk.written(scene, person);
        let values = vec![written.given(), written.surname(), written.born(), written.number(Identity::nhs_number), on];
        desk.person(household, person, values);
    }
}

/// An adult's care, and its cost in pence a week.
pub(crate) struct Care {
    pub(crate) need: &'static str,
    pub(crate) setting: &'static str,
    pub(crate) cost: u64,
}

/// The adults of a home who receive care. They are more than in the real London, so that a borough has figures that can
/// be released.
pub(crate) fn cared_for(home: &Home) -> Vec<(&Household, &Person, Care)> {
    let mut random = home.place.stream(For::Care);
    let mut clients = Vec::new();
    for (household, person) in home.people() {
        let likely = match person.age {
            0..18 => continue,
            18..65 => 18,
            65..75 => 90,
            75..85 => 220,
            _ => 450,
        };
        if !random.chance(likely) {
            continue;
        }
        let need = random.code(if person.age < 65 { NEEDS_UNDER_65 } else { NEEDS_FROM_65 });
        let (setting, times) = random.pick(&[(("Community", 2), 72), (("Residential", 4), 18), (("Nursing", 5), 10)]);
        let cost = (random.quantile(&WEEKLY_COST) * times / 2).min(980_000);
        clients.push((household, person, Care { need, setting, cost }));
    }
    clients
}

pub(crate) fn social_care(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    for (household, person, Care { need, setting, cost }) in cared_for(scene.home) {
        desk.tally.care(need, cost);
        let written = desk.written(scene, person);
        let values = vec![
            written.given(),
            written.surname(),
            written.born(),
            written.number(Identity::nhs_number),
            scene.postcode(),
            need.into(),
            setting.into(),
            Value::Hundredths(cost),
        ];
        desk.person(household, person, values);
    }
}
