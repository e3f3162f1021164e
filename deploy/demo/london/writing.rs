//! Ways in which systems write names of columns, dates and postcodes.

use super::calendar;

#[derive(Clone, Copy, Default)]
pub(crate) enum Names {
    /// `Date of birth`
    #[default]
    Words,
    /// `date_of_birth`
    Snake,
    /// `DateOfBirth`
    Camel,
    /// `DATE_OF_BIRTH`
    Shouting,
}

#[derive(Clone, Copy, Default)]
pub(crate) enum Dates {
    #[default]
    Slashes,
    Iso,
    Dots,
    ShortMonth,
    LongMonth,
    Midnight,
}

#[derive(Clone, Copy, Default)]
pub(crate) enum Postcodes {
    /// `SW2 1RW`
    #[default]
    Proper,
    /// `SW21RW`
    Closed,
    /// `sw2 1rw`
    Small,
}

impl Names {
    pub(crate) fn name(self, words: &str) -> String {
        let capital = |word: &str| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default()
        };
        match self {
            Self::Words => capital(&words.replace('_', " ")),
            Self::Snake => words.replace(' ', "_"),
            Self::Camel => words.split(' ').map(capital).collect(),
            Self::Shouting => words.replace(' ', "_").to_uppercase(),
        }
    }
}

impl Dates {
    pub(crate) fn write(self, number: i32) -> String {
        let (year, month, day) = calendar::parts(number);
        let name = calendar::month_name(month);
        match self {
            Self::Slashes => format!("{day:02}/{month:02}/{year:04}"),
            Self::Iso => calendar::iso(number),
            Self::Dots => format!("{day}.{month}.{year:04}"),
            Self::ShortMonth => format!("{day:02}-{name}-{year:04}"),
            Self::LongMonth => format!("{day} {name} {year:04}"),
            Self::Midnight => format!("{day:02}/{month:02}/{year:04} 00:00:00"),
        }
    }
}

impl Postcodes {
    pub(crate) fn write(self, postcode: &str) -> String {
        match self {
            Self::Proper => postcode.to_owned(),
            Self::Closed => postcode.replace(' ', ""),
            Self::Small => postcode.to_lowercase(),
        }
    }
}
