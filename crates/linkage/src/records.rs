//! The records of many people. Each different value is stored once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::normal::{RecordParts, bare};

/// One record of a person in one service, as it was written. An unknown field is empty.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The service that holds the record, from 0.
    pub service: u16,
    /// The given name.
    pub given: String,
    /// The surname.
    pub surname: String,
    /// The date of birth: year, month and day as digits, such as `19841231`.
    pub born: String,
    /// The house number, or the property's reference (UPRN) if it is known.
    pub number: String,
    /// The street.
    pub street: String,
    /// The town.
    pub town: String,
    /// The postcode.
    pub postcode: String,
    /// The NHS number, already checked.
    pub nhs: String,
    /// The National Insurance number, already checked.
    pub nino: String,
}

/// The number of parts of a record.
const PARTS: usize = 9;

/// The number of national numbers among the parts. They are the last parts.
pub(crate) const NUMBERS: usize = 2;

/// A value that more records than this share does not identify a person.
pub(crate) const COMMON: usize = 50;

/// A number of this many digits or more is the property's reference: house numbers are shorter.
const REFERENCE: usize = 8;

/// The date that systems write for an unknown date of birth.
const UNKNOWN: &str = "19000101";

/// The place of a text in the list of different texts. The empty text has place 0.
pub(crate) type Text = u32;

/// Records in comparable form, in the order in which they were added. Two million records of one borough fit in little more
/// than a hundred megabytes, because they share most of their names, dates and streets.
#[derive(Debug, Default)]
pub struct Records {
    places: HashMap<Arc<str>, Text>,
    texts: Vec<Arc<str>>,
    parts: Vec<[Text; PARTS]>,
    services: Vec<u16>,
}

impl Records {
    /// Adds a record, and normalises its parts.
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
        // Four thousand million different texts do not fit in memory. Texts beyond this number count as missing.
        let place = Text::try_from(self.texts.len()).unwrap_or(0);
        let text: Arc<str> = text.into();
        self.places.insert(Arc::clone(&text), place);
        self.texts.push(text);
        place
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The places of a record's parts, in the order of [`RecordParts`].
    pub(crate) fn places(&self, at: usize) -> [Text; PARTS] {
        self.parts.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn parts(&self, at: usize) -> RecordParts<'_> {
        let [given, surname, born, number, street, town, postcode, nhs, nino] =
            self.places(at).map(|place| self.texts.get(place as usize).map_or("", AsRef::as_ref));
        RecordParts { given, surname, born, number, street, town, postcode, nhs, nino }
    }

    /// Each record's national numbers by kind, 0 if it has none. A number that more records share than typing errors explain
    /// stands for "unknown" and counts as none.
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

    /// Whether a record's number is a property reference, which determines the whole address.
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
