//! The demo's tables, in the form of their contracts. They describe the same homes as the extracts of
//! [`crate::london`].
//!
//! Each table is written from a home and its people. So tables agree where real ones agree, and disagree where real
//! ones disagree: wrongly claimed discounts, unregistered electors, and people that a borough still holds after they
//! moved. Each home has its own random stream: a borough's tables depend only on the seed and the borough's code.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Context;

use crate::boroughs::{self, BOROUGHS, Borough};
use crate::datasets::{Covers, Held, Source};
use crate::london::home::{For, Home, Place, SOCIAL, count_homes, ward_code, ward_name, wards_of};
use crate::london::moves;
use crate::london::services::homes::jobs;
use crate::london::services::people::{Care, NO_AWARD, cared_for, means};

const AS_AT: &str = "2025-12-31";

/// The date of data that come by quarter: the last quarter has settled.
const SETTLED: &str = "2026-01-31";

/// Each table and its columns. `:TYPE` is the SQL type to which the mapping casts the CSV's text.
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

/// Writes a borough's tables as `out/GSS/TABLE.csv`, and returns the datasets for its node.
///
/// At scale 1 there are 8.8 million residents, spread over the boroughs in proportion to their populations. `only`: the
/// names of the tables to write.
///
/// # Errors
/// If the code is not a London borough's, or a file cannot be written.
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
    // Practice differs between councils: this many of 1,000 homes with two or more adults wrongly have the discount.
    let wrong_discounts = Place::of(seed, index, 0).stream(For::Borough).between(30, 60);
    for number in 0..count_homes(borough, scale) {
        tables.home(borough, &Home::at(Place::of(seed, index, number), borough), wrong_discounts)?;
    }
    // People who moved here from the borough before this one in the list, and whom that borough still holds.
    let before = BOROUGHS.get((index + BOROUGHS.len() - 1) % BOROUGHS.len());
    for number in 0..before.map_or(0, |before| count_homes(before, scale)) {
        if let Some(home) = moves::arrived(seed, index, borough, scale, number) {
            tables.home(borough, &home, wrong_discounts)?;
        }
    }
    tables.schools(borough, Place::of(seed, index, 0))?;
    tables.wards(borough, Place::of(seed, index, 0))?;
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
    let by_month = ["damp_sensors", "repairs"].contains(&name);
    let as_at = if by_month { SETTLED } else { AS_AT };
    let covers = by_month.then_some(Covers { column: "month", from: "2025-01-01", until: "2025-12-31" });
    Held { dataset: name, sources: vec![source], sql, as_at: as_at.to_owned(), covers }
}

/// The open files of a borough, by table. No value contains a comma or a quotation mark, so no value is quoted.
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
            // The table was not requested.
            None => Ok(()),
        }
    }

    /// Flushes explicitly, because a buffered writer drops errors when it is dropped.
    fn finish(self) -> io::Result<()> {
        self.0.into_values().try_for_each(|mut file| file.flush())
    }

    fn home(&mut self, borough: &Borough, home: &Home, wrong_discounts: u64) -> io::Result<()> {
        let (uprn, ward, epc) = (home.uprn, ward_name(borough, home.ward), home.epc);
        for (household, person) in home.people() {
            let (key, band, sex) = (person.key, age_band(person.age), if person.female { "Female" } else { "Male" });
            let values = format_args!("{key:016x},{:016x},{band},{sex},{ward},{}", household.key, home.tenure);
            self.row("residents", values)?;
        }
        let building = home.building();
        let (storeys, above_shop, licence) = (building.storeys, building.above_shop, building.licence);
        self.row("properties", format_args!("{uprn},{ward},{epc},{storeys},{above_shop},{licence}"))?;
        let account = home.account(wrong_discounts);
        let (code, band) = (ward_code(home.place.borough, home.ward), account.band);
        let values = format_args!("{uprn},{ward},{code},{band},{},{}", account.discount, account.moves);
        self.row("council_tax", values)?;
        for (_, person, franchise) in home.electors() {
            let values = format_args!("{:016x},{uprn},{},{franchise}", person.key, person.age >= 18);
            self.row("electoral_roll", values)?;
        }
        for (_, person, Care { need, setting, cost }) in cared_for(home) {
            let band = match person.age {
                0..65 => "18-64",
                65..75 => "65-74",
                75..85 => "75-84",
                _ => "85 and over",
            };
            let values = format_args!("{:016x},{band},{need},{setting},{}", person.key, pounds(cost));
            self.row("social_care_clients", values)?;
        }
        self.means(home, &ward)?;
        self.readings(home)?;
        for (job, month, cost) in jobs(home) {
            self.row("repairs", format_args!("{uprn},2025-{month:02}-01,{job},{}", pounds(cost)))?;
        }
        Ok(())
    }

    /// A household's award. For households of pension age also the income, and the amount that they could claim but do
    /// not.
    fn means(&mut self, home: &Home, ward: &str) -> io::Result<()> {
        for (household, means) in home.households.iter().zip(means(home)) {
            let Some(means) = means else { continue };
            let key = household.key;
            if means.benefit != NO_AWARD {
                let values = format_args!("{key:016x},{},{},{}", means.benefit, means.pension, pounds(means.amount));
                self.row("benefits", values)?;
            }
            if means.pension {
                let (income, rent, unclaimed) = (pounds(means.income), pounds(means.rent), pounds(means.unclaimed()));
                let values = format_args!("{key:016x},{ward},{},{income},{rent},{unclaimed}", means.credit);
                self.row("pension_credit", values)?;
            }
        }
        Ok(())
    }

    /// One sensor in some homes, with the months of one year. One reading in twenty is missing.
    fn readings(&mut self, home: &Home) -> io::Result<()> {
        let mut random = home.place.stream(For::Sensor);
        let fitted = random.chance(if home.tenure == SOCIAL { 300 } else { 120 });
        if !fitted || home.households.is_empty() {
            return Ok(());
        }
        let room = random.code("Bedroom 45|Living room 25|Bathroom 20|Kitchen 10");
        let poor = home.cold();
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

    fn wards(&mut self, borough: &Borough, place: Place) -> io::Result<()> {
        let mut random = place.stream(For::Ward);
        for number in 1..=wards_of(borough) {
            let (decile, people) = (random.between(1, 10), random.between(9_000, 17_000));
            let (code, name) = (ward_code(place.borough, number), ward_name(borough, number));
            self.row("wards", format_args!("{code},{name},{decile},{people}"))?;
        }
        Ok(())
    }

    /// As many schools as in London at any scale, about one for 2,900 residents, because schools are public.
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
    use super::*;

    #[test]
    fn a_code_that_is_no_boroughs_has_no_tables() {
        assert!(write(Path::new("."), "W06000001", 1, 1.0, &[]).is_err());
    }
}
