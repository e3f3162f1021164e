//! A synthetic London, borough by borough: nobody in it exists.
//!
//! A home is drawn first, then the households in it, then the people; every table is written from
//! those, so that tables agree where real ones would and disagree where real ones do (discounts
//! claimed wrongly, electors not registered, people whom a borough still holds after they moved).
//! Each home has a random stream of its own: a borough's tables depend on the seed and its code only.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::boroughs::{self, BOROUGHS, Borough};
use crate::datasets::{Held, Source};
use crate::random::{Random, fixed};

const AS_AT: &str = "2025-12-31";

/// Residents of an average borough at scale 1.
const RESIDENTS: f64 = 2000.0;
/// Residents of an average home, empty and shared ones included, as `occupants` fills them.
const RESIDENTS_A_HOME: f64 = 2.25;
/// Of 1,000 households, so many moved to the next borough on the list and are still held by both.
const MOVED: u64 = 25;

/// Every table and its columns; `:TYPE` is the SQL type that the mapping casts the CSV's text to.
const TABLES: [(&str, &str); 11] = [
    ("residents", "person_key household_key age_band sex ward tenure"),
    ("properties", "uprn ward epc_band storeys:BIGINT above_shop:BOOLEAN hmo_licence"),
    ("council_tax", "uprn ward ward_code band single_person_discount:BOOLEAN moves_24m:BIGINT"),
    ("electoral_roll", "person_key uprn adult:BOOLEAN franchise"),
    ("social_care_clients", "person_key age_band need setting weekly_cost:DECIMAL(38,2)"),
    ("benefits", "household_key benefit pension_age:BOOLEAN weekly_amount:DECIMAL(38,2)"),
    ("damp_sensors", "uprn month:DATE room rh_band hours_over_70:BIGINT"),
    ("schools", "urn phase ofsted pupils:BIGINT free_school_meals:BIGINT"),
    (
        "pension_credit",
        "household_key ward pension_credit:BOOLEAN weekly_income:DECIMAL(38,2) weekly_rent:DECIMAL(38,2) \
         unclaimed:DECIMAL(38,2)",
    ),
    ("repairs", "uprn month:DATE code cost:DECIMAL(38,2)"),
    ("wards", "ward_code ward decile:BIGINT population:BIGINT"),
];

const SOCIAL: &str = "Social rented";
const PRIVATE: &str = "Private rented";

const HOUSING: &str = "Housing Benefit";
const COUNCIL_TAX: &str = "Council Tax Support";
const DISCRETIONARY: &str = "Discretionary Housing Payment";

const NEEDS_UNDER_65: &str = "Learning disability support 42|Mental health support 28|Physical support 22|\
    Social support 5|Sensory support 3";
const NEEDS_FROM_65: &str = "Physical support 66|Support with memory and cognition 21|\
    Mental health support 5|Social support 4|Sensory support 4";

/// Pence a week in the community: a few packages cost as much as twenty usual ones.
const WEEKLY_COST: [(u64, u64); 7] =
    [(0, 4_000), (250, 12_000), (500, 24_000), (750, 42_000), (980, 120_000), (990, 420_000), (1000, 980_000)];

/// What a random stream is for; streams of different purposes are independent.
#[derive(Clone, Copy)]
enum For {
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
}

/// Where a home is: what its random streams and its people's keys begin from.
#[derive(Clone, Copy)]
struct Place {
    seed: u64,
    borough: u64,
    home: u64,
}

struct Home {
    place: Place,
    uprn: String,
    ward: String,
    ward_code: String,
    tenure: &'static str,
    flat: bool,
    shared: bool,
    epc: &'static str,
    households: Vec<Household>,
}

struct Household {
    key: String,
    people: Vec<Person>,
}

struct Person {
    key: String,
    age: u64,
    sex: &'static str,
}

impl Place {
    fn stream(self, purpose: For) -> Random {
        Random::at(&[self.seed, self.borough, self.home, purpose as u64])
    }

    /// A pseudonym, the same wherever the household's or the person's records are.
    fn key(self, household: u64, person: u64) -> String {
        format!("{:016x}", fixed(&[self.seed, self.borough, self.home, household, person]))
    }

    /// Whether the household of this home went to the next borough and stands in both boroughs'
    /// records. Fewer go to a small borough, or the City would hold nobody else.
    fn moved(self, homes: u64, homes_there: u64) -> bool {
        self.stream(For::Leaving).below(1000 * homes.max(1)) < MOVED * homes.min(homes_there)
    }
}

impl Home {
    fn adults(&self) -> usize {
        self.people().filter(|(_, p)| p.age >= 18).count()
    }

    fn people(&self) -> impl Iterator<Item = (&Household, &Person)> {
        self.households.iter().flat_map(|h| h.people.iter().map(move |p| (h, p)))
    }

    fn rented(&self) -> bool {
        matches!(self.tenure, SOCIAL | PRIVATE)
    }
}

/// Writes a borough's tables as `out/GSS/TABLE.csv` and says how its node holds them.
///
/// At scale 1 an average borough has about 2,000 residents, and each in proportion to its population. `only`: some of the
/// tables, by name.
///
/// # Errors
/// The code is not a London borough's, or a file cannot be written.
pub fn write(out: &Path, gss: &str, seed: u64, scale: f64, only: &[&str]) -> anyhow::Result<Vec<Held>> {
    let (index, borough) = boroughs::find(gss).with_context(|| format!("'{gss}' is not a London borough"))?;
    let folder = out.join(gss);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let wanted = |(name, _): &&(&'static str, &'static str)| only.is_empty() || only.contains(name);
    let tables: Vec<_> = TABLES.iter().filter(wanted).collect();
    write_tables(&folder, &tables, (index, borough), seed, scale)
        .with_context(|| format!("cannot write the tables in {}", folder.display()))?;
    Ok(tables.iter().map(|(name, columns)| held(&folder, name, columns)).collect())
}

fn write_tables(
    folder: &Path,
    tables: &[&(&'static str, &'static str)],
    (index, borough): (usize, &Borough),
    seed: u64,
    scale: f64,
) -> io::Result<()> {
    let mut tables = Tables::create(folder, tables)?;
    let place = |index: usize, home| Place { seed, borough: index as u64, home };
    // Practice differs between councils: of 1,000 homes with two adults or more, so many have the discount.
    let wrong_discounts = place(index, 0).stream(For::Borough).between(30, 60);
    let homes = count_homes(borough, scale);
    for number in 0..homes {
        let place = place(index, number);
        let (shared, households) = occupants(place);
        tables.home(&dwelling(borough, place, shared, households), wrong_discounts)?;
    }
    // People of the borough before this one in the list who moved here, but were not struck off there.
    let before = (index + BOROUGHS.len() - 1) % BOROUGHS.len();
    let homes_before = BOROUGHS.get(before).map_or(0, |b| count_homes(b, scale));
    for number in (0..homes_before).filter(|&n| place(before, n).moved(homes_before, homes)) {
        let (shared, households) = occupants(place(before, number));
        if !shared && !households.is_empty() {
            let arrived = place(index, homes + number);
            tables.home(&dwelling(borough, arrived, false, households), wrong_discounts)?;
        }
    }
    tables.schools(borough, place(index, 0))?;
    tables.wards(borough, place(index, 0))?;
    tables.finish()
}

fn held(folder: &Path, name: &'static str, columns: &str) -> Held {
    let cast = |column: &str| match column.split_once(':') {
        Some((column, kind)) => format!("CAST({column} AS {kind}) AS {column}"),
        None => column.to_owned(),
    };
    let columns: Vec<String> = columns.split(' ').map(cast).collect();
    let source = Source { name: name.to_owned(), path: folder.join(format!("{name}.csv")), format: "csv" };
    let sql = format!("SELECT {} FROM {name}", columns.join(", "));
    Held { dataset: name, sources: vec![source], sql, as_at: AS_AT.to_owned() }
}

/// At least 10, so that the City of London exists at any scale.
fn count_homes(borough: &Borough, scale: f64) -> u64 {
    let total: u32 = BOROUGHS.iter().map(|b| b.population).sum();
    let share = f64::from(borough.population) * 33.0 / f64::from(total);
    ((RESIDENTS * scale * share / RESIDENTS_A_HOME).round() as u64).max(10)
}

/// Who lives in a home, and whether several households share it: from the place of origin alone, so
/// that another borough can draw the same people.
fn occupants(place: Place) -> (bool, Vec<Household>) {
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
            sex: if random.chance(510) { "Female" } else { "Male" },
        });
        Household { people: people.collect(), key: place.key(number, 0) }
    });
    let households = households.collect();
    (kind == Kind::Shared, households)
}

/// How the people of a home belong together.
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

fn dwelling(borough: &Borough, place: Place, shared: bool, households: Vec<Household>) -> Home {
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
    let number = random.between(1, wards_of(borough));
    let ward = ward_name(borough, number);
    let ward_code = ward_code(place.borough, number);
    // Twelve digits as in a real number; the 99 says that this one is not.
    let uprn = format!("99{:02}{:08}", place.borough + 1, place.home);
    Home { place, uprn, ward, ward_code, tenure, flat, shared, epc, households }
}

/// About one ward for 15,000 residents, as in London.
fn wards_of(borough: &Borough) -> u64 {
    (u64::from(borough.population) / 15_000).clamp(2, 25)
}

fn ward_name(borough: &Borough, number: u64) -> String {
    format!("{} {number:02}", borough.name)
}

/// Of the form of a real code; the 99 says that this one is not.
fn ward_code(borough: u64, number: u64) -> String {
    format!("E0599{:02}{number:02}", borough + 1)
}

/// The open files of a borough, by table. No value holds a comma or a quotation mark, so none is quoted.
struct Tables(BTreeMap<&'static str, BufWriter<File>>);

impl Tables {
    fn create(folder: &Path, tables: &[&(&'static str, &'static str)]) -> io::Result<Self> {
        let open = |&&(name, columns): &&(&'static str, &str)| {
            let mut file = BufWriter::new(File::create(folder.join(format!("{name}.csv")))?);
            let names = columns.split(' ').map(|column| column.split(':').next().unwrap_or_default());
            writeln!(file, "{}", names.collect::<Vec<_>>().join(","))?;
            Ok((name, file))
        };
        tables.iter().map(open).collect::<io::Result<_>>().map(Self)
    }

    fn row(&mut self, table: &str, values: fmt::Arguments<'_>) -> io::Result<()> {
        match self.0.get_mut(table) {
            Some(file) => writeln!(file, "{values}"),
            // Nobody asked for it.
            None => Ok(()),
        }
    }

    /// Flushes, because a buffered writer that is dropped tells nobody of an error.
    fn finish(self) -> io::Result<()> {
        self.0.into_values().try_for_each(|mut file| file.flush())
    }

    fn home(&mut self, home: &Home, wrong_discounts: u64) -> io::Result<()> {
        for (household, person) in home.people() {
            let Person { key, age, sex } = person;
            let band = age_band(*age);
            self.row("residents", format_args!("{key},{},{band},{sex},{},{}", household.key, home.ward, home.tenure))?;
        }
        self.dwelling(home)?;
        self.account(home, wrong_discounts)?;
        self.electors(home)?;
        self.clients(home)?;
        self.awards(home)?;
        self.pensioners(home)?;
        self.readings(home)?;
        self.repairs(home)
    }

    fn dwelling(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Building);
        let storeys = match (home.flat, home.shared) {
            (true, _) => random.quantile(&[(0, 2), (550, 5), (850, 11), (1000, 32)]),
            (_, true) => random.between(2, 4),
            _ => random.pick(&[(1, 5), (2, 75), (3, 20)]),
        };
        let above_shop = random.chance(if home.shared { 210 } else { 60 });
        let licence = match (home.shared && random.chance(550), home.households.len()) {
            (false, _) => "None",
            (true, 5..) => "Mandatory",
            (true, _) => "Additional",
        };
        let Home { uprn, ward, epc, .. } = home;
        self.row("properties", format_args!("{uprn},{ward},{epc},{storeys},{above_shop},{licence}"))
    }

    fn account(&mut self, home: &Home, wrong_discounts: u64) -> io::Result<()> {
        let mut random = home.place.stream(For::Account);
        let band = if home.flat {
            random.code("A 5|B 16|C 31|D 27|E 12|F 5|G 3|H 1")
        } else {
            random.code("B 2|C 12|D 31|E 27|F 16|G 10|H 2")
        };
        let discount = random.chance(match home.adults() {
            0 => 0,
            1 => 880,
            _ => wrong_discounts,
        });
        let moves = match (home.shared, home.tenure) {
            (true, _) => random.quantile(&[(0, 0), (400, 3), (900, 7), (1000, 10)]),
            (_, PRIVATE) => random.pick(&[(0, 50), (1, 35), (2, 11), (3, 4)]),
            _ => random.pick(&[(0, 92), (1, 7), (2, 1)]),
        };
        let Home { uprn, ward, ward_code, .. } = home;
        self.row("council_tax", format_args!("{uprn},{ward},{ward_code},{band},{discount},{moves}"))
    }

    fn electors(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Register);
        let (registered, local_only) = match home.tenure {
            PRIVATE => (680, 250),
            SOCIAL => (860, 100),
            _ => (930, 60),
        };
        for (_, person) in home.people() {
            let franchise = if random.chance(local_only) { "Local only" } else { "Parliamentary" };
            if random.chance(registered) && person.age >= 16 {
                self.row(
                    "electoral_roll",
                    format_args!("{},{},{},{franchise}", person.key, home.uprn, person.age >= 18),
                )?;
            }
        }
        Ok(())
    }

    /// More clients than London has, so that a borough has figures that can be released.
    fn clients(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Care);
        for (_, person) in home.people() {
            let (band, likely) = match person.age {
                0..18 => continue,
                18..65 => ("18-64", 18),
                65..75 => ("65-74", 90),
                75..85 => ("75-84", 220),
                _ => ("85 and over", 450),
            };
            if !random.chance(likely) {
                continue;
            }
            let need = random.code(if person.age < 65 { NEEDS_UNDER_65 } else { NEEDS_FROM_65 });
            let (setting, times) =
                random.pick(&[(("Community", 2), 72), (("Residential", 4), 18), (("Nursing", 5), 10)]);
            let usual = random.quantile(&WEEKLY_COST);
            let pence = (usual * times / 2).min(980_000);
            self.row("social_care_clients", format_args!("{},{band},{need},{setting},{}", person.key, pounds(pence)))?;
        }
        Ok(())
    }

    fn awards(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Benefit);
        let likely = match home.tenure {
            SOCIAL => 470,
            PRIVATE => 210,
            _ => 60,
        };
        for household in &home.households {
            if !random.chance(likely) {
                continue;
            }
            let benefit = if home.rented() {
                random.code("Housing Benefit 55|Council Tax Support 38|Discretionary Housing Payment 7")
            } else {
                COUNCIL_TAX
            };
            let pence = match benefit {
                HOUSING => random.quantile(&[(0, 3_000), (500, 15_000), (950, 32_000), (1000, 62_000)]),
                DISCRETIONARY => random.quantile(&[(0, 500), (500, 3_000), (1000, 12_000)]),
                _ => random.quantile(&[(0, 200), (500, 1_900), (1000, 4_500)]),
            };
            let pension_age = household.people.iter().any(|p| p.age >= 66);
            self.row("benefits", format_args!("{},{benefit},{pension_age},{}", household.key, pounds(pence)))?;
        }
        Ok(())
    }

    /// One sensor in some homes, its months of one year; one reading in twenty never arrived.
    fn readings(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Sensor);
        let fitted = random.chance(if home.tenure == SOCIAL { 300 } else { 120 });
        if !fitted || home.households.is_empty() {
            return Ok(());
        }
        let room = random.code("Bedroom 45|Living room 25|Bathroom 20|Kitchen 10");
        let poor = matches!(home.epc, "D" | "E" | "F" | "G");
        let damp = random.quantile(&[(0, 0), (500, 25), (800, 90), (1000, 320)]) * if poor { 2 } else { 1 };
        for month in 1..=12_u64 {
            let season = match month {
                11 | 12 | 1 | 2 => 4,
                3 | 4 | 10 => 2,
                _ => 1,
            };
            let hours = (damp * season * random.between(60, 140) / 200).min(660);
            let band = match hours {
                0..12 => "Under 50 %",
                12..72 => "50 to 60 %",
                72..220 => "60 to 70 %",
                _ => "70 % and over",
            };
            if !random.chance(50) {
                self.row("damp_sensors", format_args!("{},2025-{month:02}-01,{room},{band},{hours}", home.uprn))?;
            }
        }
        Ok(())
    }

    /// Households of pension age that pay rent: what they live on, and what they could claim and do not.
    fn pensioners(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Pension);
        for household in &home.households {
            if !household.people.iter().any(|p| p.age >= 66) {
                continue;
            }
            let income = random.quantile(&[(0, 9_000), (300, 19_000), (700, 31_000), (1000, 92_000)]);
            let rent = if home.rented() { random.quantile(&[(0, 8_000), (500, 14_500), (1000, 38_000)]) } else { 0 };
            // The guarantee is about £227 a week for one.
            let entitled = 22_700_u64.saturating_sub(income);
            let claims = entitled > 0 && random.chance(650);
            let unclaimed = if claims { 0 } else { entitled };
            self.row(
                "pension_credit",
                format_args!(
                    "{},{},{claims},{},{},{}",
                    household.key,
                    home.ward,
                    pounds(income),
                    pounds(rent),
                    pounds(unclaimed)
                ),
            )?;
        }
        Ok(())
    }

    /// Repairs that tenants asked for in one year.
    fn repairs(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Repair);
        if home.tenure != SOCIAL {
            return Ok(());
        }
        let poor = matches!(home.epc, "D" | "E" | "F" | "G");
        for _ in 0..random.pick(&[(0, 30), (1, 34), (2, 20), (4, 12), (7, 4)]) {
            let code = if poor {
                random.code("Damp and mould 45|Heating 25|Plumbing 20|Roof 5|Electrical 5")
            } else {
                random.code("Damp and mould 15|Heating 30|Plumbing 35|Roof 5|Electrical 15")
            };
            let month = random.between(1, 12);
            let cost = random.quantile(&[(0, 4_000), (600, 14_000), (950, 60_000), (1000, 450_000)]);
            self.row("repairs", format_args!("{},2025-{month:02}-01,{code},{}", home.uprn, pounds(cost)))?;
        }
        Ok(())
    }

    fn wards(&mut self, borough: &Borough, place: Place) -> io::Result<()> {
        let mut random = place.stream(For::Ward);
        for number in 1..=wards_of(borough) {
            let (decile, people) = (random.between(1, 10), random.between(9_000, 17_000));
            let (code, name) = (ward_code(place.borough, number), ward_name(borough, number));
            self.row("wards", format_args!("{code},{name},{decile},{people}"))?;
        }
        Ok(())
    }

    /// As many as in London, about one for 2,900 residents, whatever the scale: they are public.
    fn schools(&mut self, borough: &Borough, place: Place) -> io::Result<()> {
        let mut random = place.stream(For::School);
        let eligible = random.between(120, 420);
        for number in 0..(u64::from(borough.population) / 2_900).max(1) {
            let (phase, low, high) = random.pick(&[
                (("Primary", 180, 680), 68),
                (("Secondary", 600, 1_900), 18),
                (("Special", 40, 220), 9),
                (("Nursery", 40, 140), 5),
            ]);
            let pupils = random.between(low, high);
            let meals = pupils * random.between(eligible / 2, eligible * 3 / 2) / 1000;
            let ofsted = random.code("Outstanding 22|Good 66|Requires improvement 7|Inadequate 1| 4");
            let urn = format!("99{:02}{number:03}", place.borough + 1);
            self.row("schools", format_args!("{urn},{phase},{ofsted},{pupils},{meals}"))?;
        }
        Ok(())
    }
}

fn age_band(age: u64) -> &'static str {
    match age {
        0..5 => "0-4",
        5..16 => "5-15",
        16..18 => "16-17",
        18..25 => "18-24",
        25..35 => "25-34",
        35..45 => "35-44",
        45..55 => "45-54",
        55..65 => "55-64",
        65..75 => "65-74",
        75..85 => "75-84",
        _ => "85 and over",
    }
}

fn pounds(pence: u64) -> String {
    format!("{}.{:02}", pence / 100, pence % 100)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_moved_household_keeps_its_people() {
        let place = Place { seed: 7, borough: 3, home: 11 };
        let keys = |(_, households): (bool, Vec<Household>)| {
            households.into_iter().flat_map(|h| h.people).map(|p| (p.key, p.age)).collect::<Vec<_>>()
        };
        assert_eq!(keys(occupants(place)), keys(occupants(place)));
        assert!(write(Path::new("."), "W06000001", 1, 1.0, &[]).is_err());
    }
}
