//! Landlords: licences of shared homes, and enforcement. A few of the landlords in the pool have many homes.

use crate::random::Random;

use super::super::calendar::AS_AT;
use super::super::home::{For, PRIVATE, Place};
use super::super::identity::Identity;
use super::{Desk, Row, Scene, Value, homes};

/// The true coefficients for question 2: the odds that a shared home without a licence needs one. In hundredths of a
/// logit: constant, each storey, above a shop, discount, each move, each complaint.
pub(crate) const COEFFICIENTS: [(&str, i64); 6] = [
    ("constant", -260),
    ("storeys", 30),
    ("above_shop", 70),
    ("single_person_discount", 50),
    ("moves_24m", 20),
    ("complaints", 40),
];
/// The logistic function as pairs: hundredths of a logit, per mille. Linear between the pairs.
const LOGISTIC: [(i64, i64); 9] =
    [(-400, 18), (-300, 47), (-200, 119), (-100, 269), (0, 500), (100, 731), (200, 881), (300, 953), (400, 982)];

/// The features of a home that a model can use.
pub(crate) struct Features {
    pub(crate) storeys: u64,
    pub(crate) above_shop: bool,
    pub(crate) discount: bool,
    pub(crate) moves: u64,
    pub(crate) complaints: u64,
}

impl Features {
    /// How many of 1,000 such shared homes without a licence need one.
    fn odds(&self) -> u64 {
        let values =
            [1, self.storeys, u64::from(self.above_shop), u64::from(self.discount), self.moves, self.complaints];
        let logit: i64 = COEFFICIENTS.iter().zip(values).map(|((_, weight), value)| weight * value as i64).sum();
        let logit = logit.clamp(-400, 399);
        let segment = LOGISTIC.iter().zip(LOGISTIC.iter().skip(1)).find(|(_, (to, _))| logit < *to);
        segment.map_or(0, |((from, low), (_, high))| low + (high - low) * (logit - from) / 100).unsigned_abs()
    }
}

/// The person or company that lets a home.
struct Holder {
    key: u64,
    name: String,
    company: Option<String>,
    /// One holder in ten neglects the homes.
    poor: bool,
}

/// The holder of a home. Half of the homes have a holder with this home only. The other holders let in one borough, or
/// all over London.
fn holder(place: Place) -> Holder {
    let mut random = place.stream_of(For::Landlord, 0);
    let (borough, number) = match random.pick(&[(0, 50), (1, 32), (2, 18)]) {
        0 => (place.borough, 1_000_000 + place.home),
        1 => (place.borough, nested(&mut random, 400)),
        _ => (99, nested(&mut random, 1_500)),
    };
    let of = Place { borough: 1000 + borough, home: number, ..place };
    let mut random = of.stream_of(For::Landlord, 1);
    let identity = Identity::of_stranger(of.stream_of(For::Landlord, 2));
    let poor = random.chance(100);
    let trader = random.chance(if number >= 1_000_000 { 850 } else { 300 });
    let company = (!trader).then(|| format!("99{:06}", random.below(1_000_000)));
    let name = if trader {
        format!("{} {}", identity.given, identity.surname)
    } else {
        format!("{} {}", identity.surname, random.code("Lettings Ltd 4|Homes Ltd 3|Property Ltd 3|Estates LLP 1"))
    };
    Holder { key: crate::random::fixed(&[of.seed, of.borough, number, 7]), name, company, poor }
}

/// A random member of a pool. Each draw limits the next, so the first members get the most.
fn nested(random: &mut Random, pool: u64) -> u64 {
    (0..4).fold(pool, |limit, _| random.below(limit) + 1) - 1
}

fn record(scene: &Scene<'_>, desk: &mut Desk<'_>, holder: Holder, rest: Vec<Value>) {
    // One record in eight has the name in capitals, or "Limited" in full.
    let mut random = scene.stream(For::Slip, desk.rows.len() as u64);
    let name = match random.below(16) {
        0 => holder.name.to_uppercase(),
        1 => holder.name.replace("Ltd", "Limited"),
        _ => holder.name,
    };
    let company = holder.company.filter(|_| random.chance(900)).map_or(Value::Null, Value::from);
    let mut values = vec![name.into(), company, scene.uprn(), scene.address()];
    values.extend(rest);
    desk.rows.push(Row { person: None, household: None, holder: Some(holder.key), values });
}

/// Whether a shared home without a licence was found to need one.
fn found(scene: &Scene<'_>) -> bool {
    scene.home.building().licence == "None" && scene.stream(For::Landlord, 3).chance(homes::features(scene).odds())
}

pub(crate) fn hmo_licences(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() || !scene.home.shared {
        return;
    }
    let (licence, found) = (scene.home.building().licence, found(scene));
    if licence == "None" && !found {
        return;
    }
    let from = AS_AT - scene.stream(For::Landlord, 4).below(1_700) as i32;
    let (status, until) = if found { ("Found unlicensed", Value::Null) } else { (licence, Value::Day(from + 1_825)) };
    *desk.tally.hmos.entry(status).or_default() += 1;
    let rest = vec![scene.postcode(), status.into(), Value::Day(from), until];
    record(scene, desk, holder(scene.home.place), rest);
}

/// Actions against landlords of shared and of other private homes in two years.
pub(crate) fn enforcement(scene: &Scene<'_>, desk: &mut Desk<'_>) {
    if !scene.lives_here() || scene.home.tenure != PRIVATE {
        return;
    }
    let holder = holder(scene.home.place);
    let likely = match (scene.home.shared && found(scene), scene.home.shared) {
        (true, _) => 160,
        (_, true) => 40,
        _ => 5,
    };
    let mut random = scene.stream(For::Enforcement, 0);
    if random.chance(likely * if holder.poor { 4 } else { 1 }) {
        desk.tally.enforced.push(holder.key);
        let action = random.code("Improvement notice 60|Civil penalty 25|Prosecution 8|Prohibition order 7");
        let on = Value::Day(AS_AT - random.below(730) as i32);
        record(scene, desk, holder, vec![on, action.into()]);
    }
}
