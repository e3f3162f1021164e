//! What is known of many people, held once for each different value.

use std::collections::HashMap;
use std::sync::Arc;

use crate::normal::{Parts, bare};

/// What is known of somebody in one record of one service, as it was written.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The service that holds the record, from 0.
    pub service: u16,
    pub given: String,
    pub surname: String,
    /// Year, month and day as digits: `19841231`.
    pub born: String,
    /// Of the house; or the property's reference (UPRN), where it is known.
    pub number: String,
    pub street: String,
    pub town: String,
    pub postcode: String,
    /// Checked national numbers; empty where there is none.
    pub nhs: String,
    pub nino: String,
}

/// How many parts a record has.
const PARTS: usize = 9;

/// The national numbers among them, the last.
pub(crate) const NUMBERS: usize = 2;

/// A value that more records share says nothing of a person.
pub(crate) const COMMON: usize = 50;

/// No house has a number of so many digits: it is the property's reference.
const REFERENCE: usize = 8;

/// What systems write where they do not know a date of birth.
const UNKNOWN: &str = "19000101";

/// The place of a text among those that were seen; the empty one is the first.
pub(crate) type Text = u32;

/// Records in the order in which they came, in their comparable form. Two million of one borough fit in little more than
/// a hundred megabytes: most of their names, dates and streets are shared.
#[derive(Debug, Default)]
pub struct Records {
    places: HashMap<Arc<str>, Text>,
    texts: Vec<Arc<str>>,
    parts: Vec<[Text; PARTS]>,
    services: Vec<u16>,
}

impl Records {
    pub fn push(&mut self, record: &Record) {
        if self.texts.is_empty() {
            self.text(String::new());
        }
        let born = Some(bare(&record.born)).filter(|born| born.len() == 8 && born != UNKNOWN).unwrap_or_default();
        let Record { service, given, surname, born: _, number, street, town, postcode, nhs, nino } = record;
        let parts = [bare(given), bare(surname), born, bare(number), bare(street), bare(town), bare(postcode)];
        let parts = [parts.as_slice(), &[bare(nhs), bare(nino)]].concat();
        let mut places = [0; PARTS];
        for (place, text) in places.iter_mut().zip(parts) {
            *place = self.text(text);
        }
        self.parts.push(places);
        self.services.push(*service);
    }

    fn text(&mut self, text: String) -> Text {
        if let Some(place) = self.places.get(text.as_str()) {
            return *place;
        }
        // Four thousand million different texts do not fit in memory: those beyond are as if they were missing.
        let place = Text::try_from(self.texts.len()).unwrap_or(0);
        let text: Arc<str> = text.into();
        self.places.insert(Arc::clone(&text), place);
        self.texts.push(text);
        place
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The places of a record's parts, in the order of [`Parts`].
    pub(crate) fn places(&self, at: usize) -> [Text; PARTS] {
        self.parts.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn parts(&self, at: usize) -> Parts<'_> {
        let [given, surname, born, number, street, town, postcode, nhs, nino] =
            self.places(at).map(|place| self.texts.get(place as usize).map_or("", AsRef::as_ref));
        Parts { given, surname, born, number, street, town, postcode, nhs, nino }
    }

    /// Each record's national numbers by kind, 0 where it has none: what more people have than a number's mistyping explains
    /// stands for "unknown".
    pub(crate) fn numbers(&self) -> Vec<[Text; NUMBERS]> {
        let numbers = |at| {
            let [.., nhs, nino] = self.places(at);
            [nhs, nino]
        };
        let mut holders: HashMap<Text, usize> = HashMap::new();
        (0..self.len()).flat_map(numbers).for_each(|number| *holders.entry(number).or_default() += 1);
        let real = |number: &Text| holders.get(number).is_none_or(|holders| *holders <= COMMON);
        let kept = |numbers: [Text; NUMBERS]| numbers.map(|number| Some(number).filter(real).unwrap_or_default());
        (0..self.len()).map(numbers).map(kept).collect()
    }

    /// Whether a record's number is a reference of the property, which says all of the address.
    pub(crate) fn has_reference(&self, at: usize) -> bool {
        self.parts(at).number.len() >= REFERENCE
    }

    pub(crate) fn services(&self) -> &[u16] {
        &self.services
    }
}

impl<R: std::borrow::Borrow<Record>> FromIterator<R> for Records {
    fn from_iter<I: IntoIterator<Item = R>>(all: I) -> Self {
        let mut records = Self::default();
        all.into_iter().for_each(|record| records.push(record.borrow()));
        records
    }
}
