//! Systems that know homes: the gazetteer, council tax, the register, complaints, sensors, repairs, EPCs.

use super::super::calendar::{AS_AT, day};
use super::super::home::{For, Home, SOCIAL, ward_code};
use super::landlords;
use super::{Desk, Scene, Value};

/// Bands of hours over 70 % relative humidity in four weeks: the upper limit, and the band's name.
const DAMP_BANDS: [(u64, &str); 4] = [
    (24, "1: under a day"),
    (72, "2: one to three days"),
    (168, "3: three days to a week"),
    (673, "4: a week and more"),
];
/// The days with hourly readings. The last day is `AS_AT`.
const DAYS_READ: i32 = 28;

pub(crate) fn properties(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    let (home, building) = (scene.home, scene.home.building());
    desk.home(vec![
        scene.uprn(),
        scene.address(),
        scene.postcode(),
        scene.ward(),
        ward_code(home.place.borough, home.ward).into(),
        home.tenure.into(),
        Value::Whole(building.storeys),
        Value::Flag(building.above_shop),
    ]);
}

pub(crate) fn council_tax(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    let (home, account) = (scene.home, scene.home.account(scene.wrong_discounts));
    if account.discount {
        let registered = home.electors().iter().filter(|(_, person, _)| person.age >= 18).count();
        desk.tally.discounts += 1;
        desk.tally.wrong_discounts += u64::from(registered >= 2);
    }
    let payer = home.people().next();
    let (given, surname) = payer.map_or((Value::Null, Value::Null), |(_, person)| {
        let written = desk.written(scene, person);
        (written.given(), written.surname())
    });
    let values = vec![
        given,
        surname,
        scene.uprn(),
        scene.address(),
        scene.postcode(),
        scene.ward(),
        ward_code(home.place.borough, home.ward).into(),
        account.band.into(),
        Value::Flag(account.discount),
        Value::Whole(account.moves),
    ];
    match payer {
        Some((household, person)) => desk.person(household, person, values),
        None => desk.home(values),
    }
}

pub(crate) fn electoral_roll(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    for (household, person, franchise) in scene.home.electors() {
        let written = desk.written(scene, person);
        let values = vec![
            written.given(),
            written.surname(),
            scene.uprn(),
            scene.address(),
            scene.postcode(),
            Value::Flag(person.age >= 18),
            franchise.into(),
        ];
        desk.person(household, person, values);
    }
}

/// Complaints of the last year about a home; some name the person who lives there.
pub(crate) fn complaints(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    let mut random = scene.stream(For::Complaint, 1);
    for _ in 0..count_complaints(scene.home) {
        let values = |given, surname, random: &mut crate::random::Random| {
            let about = random.code("Noise 40|Rubbish 30|Disrepair 20|Overcrowding 10");
            let on = AS_AT - random.below(365) as i32;
            vec![given, surname, scene.uprn(), scene.address(), Value::Day(on), about.into()]
        };
        match scene.home.people().next().filter(|_| random.chance(600)) {
            Some((household, person)) => {
                let written = desk.written(scene, person);
                let values = values(written.given(), written.surname(), &mut random);
                desk.person(household, person, values);
            }
            None => {
                let values = values(Value::Null, Value::Null, &mut random);
                desk.home(values);
            }
        }
    }
}

pub(crate) fn count_complaints(home: &Home) -> u64 {
    let mut random = home.place.stream_of(For::Complaint, 0);
    if home.shared {
        random.pick(&[(0, 45), (1, 25), (2, 15), (3, 9), (5, 6)])
    } else {
        random.pick(&[(0, 960), (1, 30), (2, 10)])
    }
}

pub(crate) fn repairs(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() {
        return;
    }
    for (job, month, cost) in jobs(scene.home) {
        let values = vec![scene.uprn(), Value::Day(day(2025, month as i32, 1)), job.into(), Value::Hundredths(cost)];
        desk.home(values);
    }
}

/// A council tenant's repairs in one year: the job, its month, its cost.
pub(crate) fn jobs(home: &Home) -> Vec<(&'static str, u64, u64)> {
    let mut random = home.place.stream(For::Repair);
    if home.tenure != SOCIAL {
        return vec![];
    }
    let count = random.pick(&[(0, 30), (1, 34), (2, 20), (4, 12), (7, 4)]);
    let job = |_| {
        let job = if home.cold() {
            random.code("Damp and mould 45|Heating 25|Plumbing 20|Roof 5|Electrical 5")
        } else {
            random.code("Damp and mould 15|Heating 30|Plumbing 35|Roof 5|Electrical 15")
        };
        let month = random.between(1, 12);
        (job, month, random.quantile(&[(0, 4_000), (600, 14_000), (950, 60_000), (1000, 450_000)]))
    };
    (0..count).map(job).collect()
}

/// The certificates of a home, oldest first. The latest has the home's present band.
pub(crate) fn epc(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() || scene.home.epc.is_empty() {
        return;
    }
    let mut random = scene.stream(For::Certificate, 0);
    let earlier = random.pick(&[(0, 68), (1, 26), (2, 6)]);
    let latest = AS_AT - random.below(2_500) as i32;
    for before in (0..=earlier).rev() {
        // Each certificate is years older than the next, and its band is often worse.
        let band = if before > 0 { random.code("C 20|D 45|E 25|F 8|G 2") } else { scene.home.epc };
        let lodged = latest - 900 * before - random.below(300) as i32 * i32::from(before > 0);
        desk.home(vec![scene.uprn(), band.into(), Value::Day(lodged)]);
    }
}

/// An hourly sensor in a few social homes. Its mean depends on the building, the day and the people at home.
pub(crate) fn sensor_readings(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    let home = scene.home;
    if !scene.belongs_here() || home.tenure != SOCIAL || home.households.is_empty() {
        return;
    }
    let mut random = scene.stream(For::Reading, 0);
    if !random.chance(15) {
        return;
    }
    let mean =
        random.quantile(&[(0, 4_200), (500, 5_700), (850, 6_600), (1000, 7_700)]) + if home.cold() { 350 } else { 0 };
    let away = if random.chance(180) { random.between(3, 12) } else { 0 };
    let away_from = random.below(20);
    let mut over = 0;
    for number in 0..DAYS_READ as u64 * 24 {
        let (date, hour) = (number / 24, number % 24);
        let daily = match hour {
            6..9 => 500,
            17..22 => 700,
            0..6 => 250,
            _ => 0,
        };
        let empty = (away_from..away_from + away).contains(&date);
        let rh =
            (mean + if empty { 0 } else { daily } + random.below(900)).saturating_sub(if empty { 1_500 } else { 450 });
        // One reading in thirty is missing.
        if random.chance(33) {
            continue;
        }
        over += u64::from(rh > 7_000);
        let reading = Value::Day(AS_AT - DAYS_READ + 1 + date as i32);
        desk.home(vec![scene.uprn(), reading, Value::Whole(hour), Value::Hundredths(rh.min(9_900))]);
    }
    let band = DAMP_BANDS.iter().find(|(limit, _)| over < *limit).map_or("", |(_, band)| band);
    let damp = jobs(home).iter().any(|(job, ..)| *job == "Damp and mould");
    *desk.tally.damp.entry((band, if home.epc.is_empty() { "None" } else { home.epc }, damp)).or_default() += 1;
}

/// The features that raise the odds of an unlicensed HMO, with the home's values.
pub(crate) fn features(scene: &Scene<'_>) -> landlords::Features {
    let (building, account) = (scene.home.building(), scene.home.account(scene.wrong_discounts));
    landlords::Features {
        storeys: building.storeys,
        above_shop: building.above_shop,
        discount: account.discount,
        moves: account.moves,
        complaints: count_complaints(scene.home),
    }
}
