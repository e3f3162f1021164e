//! The systems of a borough. A table has a name, columns, and a function that makes a home's rows.

mod children;
mod homeless;
pub(crate) mod homes;
mod landlords;
pub(crate) mod people;

use crate::random::Random;

pub(crate) use landlords::COEFFICIENTS;

use super::answers::Tally;
use super::home::{For, Home, Household, Person};
use super::identity::Identity;
use super::moves::Purpose;
use super::places;
use super::slips::{self, Written};

pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The canonical columns in order, after the record reference.
    pub(crate) columns: &'static str,
    /// How many of 1,000 records have a slip in a person's particulars. The numbers are invented.
    careless: u64,
    rows: fn(&Scene<'_>, &mut Desk<'_>),
}

const fn table(name: &'static str, columns: &'static str, careless: u64, rows: fn(&Scene<'_>, &mut Desk<'_>)) -> Table {
    Table { name, columns, careless, rows }
}

pub(crate) static TABLES: [Table; 21] = [
    table("customers", "given_name surname date_of_birth nino uprn address postcode", 180, people::customers),
    table("properties", "uprn address postcode ward ward_code tenure storeys above_shop", 0, homes::properties),
    table(
        "council_tax",
        "given_name surname uprn address postcode ward ward_code band single_person_discount moves_24m",
        140,
        homes::council_tax,
    ),
    table("electoral_roll", "given_name surname uprn address postcode adult franchise", 110, homes::electoral_roll),
    table(
        "tenancies",
        "given_name surname date_of_birth nino uprn address postcode tenancy_start tenancy_end",
        100,
        people::tenancies,
    ),
    table(
        "housing_benefit",
        "given_name surname date_of_birth nino uprn postcode ward benefit pension_age pension_credit weekly_income \
         weekly_rent weekly_amount claim_start claim_end",
        60,
        people::housing_benefit,
    ),
    table(
        "hmo_licences",
        "holder_name company_number uprn address postcode hmo_status licence_start licence_end",
        0,
        landlords::hmo_licences,
    ),
    table("complaints", "given_name surname uprn address complaint_date about", 280, homes::complaints),
    table("enforcement", "holder_name company_number uprn address enforcement_date action", 0, landlords::enforcement),
    table("children", "given_name surname date_of_birth upn nhs_number uprn postcode", 50, children::children),
    table("school_roll", "given_name surname date_of_birth upn urn absence_pct", 70, children::school_roll),
    table(
        "homelessness_approaches",
        "given_name surname date_of_birth nino approach_date reason",
        160,
        homeless::approaches,
    ),
    table("rough_sleeping_contacts", "given_name surname date_of_birth contact_date", 350, homeless::contacts),
    table("placements", "given_name surname date_of_birth to_borough placement_date", 130, homeless::placements),
    table("s208_notices", "given_name surname from_borough notice_date address postcode", 200, homeless::notices),
    table(
        "blue_badges",
        "given_name surname date_of_birth nino address postcode issue_date expiry_date",
        110,
        people::blue_badges,
    ),
    table("deaths", "given_name surname date_of_birth nhs_number death_date", 20, people::deaths),
    table(
        "social_care",
        "given_name surname date_of_birth nhs_number postcode need setting weekly_cost",
        30,
        people::social_care,
    ),
    table("sensor_readings", "uprn reading hour rh", 0, homes::sensor_readings),
    table("repairs", "uprn job_date job cost", 0, homes::repairs),
    table("epc", "uprn epc_band lodged", 0, homes::epc),
];

/// The value of a cell, before a borough writes it in its own way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    Word(&'static str),
    Day(i32),
    Flag(bool),
    Whole(u64),
    Hundredths(u64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Null } else { Self::Text(text) }
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        if word.is_empty() { Self::Null } else { Self::Word(word) }
    }
}

/// A record: its true person, household and holder, and its cells.
pub(crate) struct Row {
    pub(crate) person: Option<u64>,
    pub(crate) household: Option<u64>,
    pub(crate) holder: Option<u64>,
    pub(crate) values: Vec<Value>,
}

/// The reason why a home's people have records in the borough.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Why {
    /// They belong here, or belonged here until they moved to another borough.
    Resident { gone: Option<usize> },
    /// They moved here from the borough before in the list.
    Arrived,
    /// They live in another borough and have records here for this purpose.
    Visit(Purpose),
}

/// A home as the borough that writes knows it.
pub(crate) struct Scene<'a> {
    pub(crate) seed: u64,
    /// The number of the borough that writes, in the list.
    pub(crate) index: usize,
    pub(crate) home: &'a Home,
    pub(crate) why: Why,
    /// A home of this borough, if a visit needs an address here.
    pub(crate) lodging: Option<&'a Home>,
    pub(crate) wrong_discounts: u64,
}

impl Scene<'_> {
    pub(crate) fn lives_here(&self) -> bool {
        !matches!(self.why, Why::Visit(_))
    }

    /// Whether the home's people were drawn here. People of a household that moved in were drawn elsewhere.
    pub(crate) fn belongs_here(&self) -> bool {
        matches!(self.why, Why::Resident { .. })
    }

    /// The home in this borough: the scene's own home, or the lodging.
    fn address_home(&self) -> &Home {
        self.lodging.unwrap_or(self.home)
    }

    fn address(&self) -> Value {
        places::address(self.address_home()).0.into()
    }

    fn postcode(&self) -> Value {
        places::address(self.address_home()).1.into()
    }

    fn uprn(&self) -> Value {
        Value::Whole(self.address_home().uprn)
    }

    fn ward(&self) -> Value {
        places::borough(self.index).map_or(Value::Null, |b| super::home::ward_name(b, self.address_home().ward).into())
    }

    fn stream(&self, purpose: For, which: u64) -> Random {
        self.home.place.stream_of(purpose, which)
    }
}

/// Collects the rows of a table's function, and the facts for the known answers.
pub(crate) struct Desk<'a> {
    table: u64,
    careless: u64,
    rows: Vec<Row>,
    pub(crate) tally: &'a mut Tally,
}

impl Desk<'_> {
    /// A person's particulars and numbers, as this service wrote them down.
    fn written(&self, scene: &Scene<'_>, person: &Person) -> Particulars {
        let identity = Identity::of(scene.home.origin, person);
        let record = self.rows.len() as u64;
        let mut random =
            Random::at(&[scene.seed, scene.index as u64, self.table, person.key, For::Slip as u64, record]);
        let written = slips::write_down(&identity, self.careless, &mut random);
        Particulars { identity, written }
    }

    fn person(&mut self, household: &Household, person: &Person, values: Vec<Value>) {
        self.rows.push(Row { person: Some(person.key), household: Some(household.key), holder: None, values });
    }

    fn home(&mut self, values: Vec<Value>) {
        self.rows.push(Row { person: None, household: None, holder: None, values });
    }
}

/// A person's particulars in one record.
struct Particulars {
    identity: Identity,
    written: Written,
}

impl Particulars {
    fn given(&self) -> Value {
        self.written.given.clone().into()
    }

    fn surname(&self) -> Value {
        self.written.surname.clone().into()
    }

    fn born(&self) -> Value {
        self.written.born.map_or(Value::Null, Value::Day)
    }

    fn number(&self, of: fn(&Identity) -> String) -> Value {
        if self.written.numbered { of(&self.identity).into() } else { Value::Null }
    }
}

/// The rows of one table that a scene gives.
pub(crate) fn rows(number: usize, table: &Table, scene: &Scene<'_>, tally: &mut Tally) -> Vec<Row> {
    let mut desk = Desk { table: number as u64, careless: table.careless, rows: Vec::new(), tally };
    (table.rows)(scene, &mut desk);
    desk.rows
}
