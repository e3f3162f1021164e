//! How a clerk writes a person down. Most records are correct, some have a slip.

use crate::random::Random;

use super::calendar;
use super::identity::Identity;

/// A person's particulars as a record has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) given: String,
    pub(crate) surname: String,
    pub(crate) born: Option<i32>,
    /// Whether the record has the person's numbers (NHS, National Insurance, pupil).
    pub(crate) numbered: bool,
}

/// How many of 1,000 slips are of each sort. The numbers are invented, like the rates of the services.
const SORTS: [(Slip, u64); 17] = [
    (Slip::Adjacent, 120),
    (Slip::Missing, 100),
    (Slip::Doubled, 60),
    (Slip::Transposed, 90),
    (Slip::Swapped, 50),
    (Slip::Initial, 70),
    (Slip::ShortForm, 100),
    (Slip::Maiden, 40),
    (Slip::DayMonth, 60),
    (Slip::Digit, 60),
    (Slip::Unknown, 30),
    (Slip::NoGiven, 20),
    (Slip::NoBirth, 40),
    (Slip::NoNumbers, 60),
    (Slip::Capitals, 40),
    (Slip::Blanks, 40),
    (Slip::Accents, 20),
];

/// One kind of slip in a person's particulars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Slip {
    #[default]
    None,
    Adjacent,
    Missing,
    Doubled,
    Transposed,
    Swapped,
    Initial,
    ShortForm,
    Maiden,
    DayMonth,
    Digit,
    Unknown,
    NoGiven,
    NoBirth,
    NoNumbers,
    Capitals,
    Blanks,
    Accents,
}

/// Forms of one name that records confuse.
const FORMS: &str = "Mohammed Mohamed Muhammad Mohammad|Katherine Kate Catherine Kathryn Katie|Elizabeth Liz Beth Lizzie|\
    William Bill Will Billy|Robert Rob Bob Bobby|Michael Mike Mick|Christopher Chris|Matthew Matt|Andrew Andy|\
    Stephen Steve Steven|Richard Rick Dick|Thomas Tom Tommy|James Jim Jamie|Daniel Dan Danny|David Dave|Samuel Sam|\
    Benjamin Ben|Joseph Joe|Edward Ed Ted Eddie|Alexander Alex|Anthony Tony|Nicholas Nick|Timothy Tim|Philip Phil|\
    Patricia Pat Trish|Margaret Maggie Peggy|Susan Sue|Jacqueline Jackie|Deborah Debbie|Rebecca Becky|Victoria Vicky|\
    Samantha Sam|Jessica Jess|Charlotte Lottie|Eleanor Ellie|Fatima Fatma Fatimah|Aisha Ayesha Aishah|\
    Maryam Mariam Miriam|Yusuf Yousuf Youssef|Hussein Hussain|Ahmed Ahmad|Hassan Hasan|Abdul Abdal|Ibrahim Ebrahim|\
    Oluwaseun Seun|Oluwafemi Femi|Abimbola Bimbo|Temitope Temi|Funmilayo Funmi|Adebayo Bayo|\
    Alexandra Sasha Alexandra-Maria|Katarzyna Kasia|Agnieszka Aga|Magdalena Magda|Tomasz Tomek|Krzysztof Chris|\
    José Jose|Sofia Sophia|Priya Prya|Harpreet Harprit";

const KEYS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// Writes a person's record. `careless` of 1,000 records have a slip, and one in five of those has a second.
pub(crate) fn write_down(identity: &Identity, careless: u64, random: &mut Random) -> Written {
    let mut written = Written {
        given: identity.given.to_owned(),
        surname: identity.surname.to_owned(),
        born: Some(identity.born),
        numbered: true,
    };
    if random.chance(careless) {
        let slips = if random.chance(200) { 2 } else { 1 };
        for _ in 0..slips {
            random.pick(&SORTS).apply(&mut written, identity, random);
        }
    }
    written
}

impl Slip {
    /// Applies the slip to the record. If the record has no place for it (no maiden name, no accent), a letter is
    /// dropped.
    pub(crate) fn apply(self, written: &mut Written, identity: &Identity, random: &mut Random) {
        let before = written.clone();
        match self {
            Self::None => return,
            Self::Adjacent | Self::Missing | Self::Doubled | Self::Transposed => {
                let name = if random.chance(500) { &mut written.given } else { &mut written.surname };
                *name = self.letters(name, random);
            }
            Self::Swapped => std::mem::swap(&mut written.given, &mut written.surname),
            Self::Initial => written.given = written.given.chars().take(1).collect(),
            Self::ShortForm => {
                let forms = FORMS.split('|').map(|forms| forms.split(' ').collect::<Vec<_>>());
                let forms = forms.into_iter().find(|forms| forms.contains(&written.given.as_str())).unwrap_or_default();
                let others: Vec<_> = forms.into_iter().filter(|form| *form != written.given).map(|f| (f, 1)).collect();
                if !others.is_empty() {
                    random.pick(&others).clone_into(&mut written.given);
                }
            }
            Self::Maiden => identity.maiden.unwrap_or(identity.surname).clone_into(&mut written.surname),
            Self::DayMonth => {
                let (year, month, day) = written.born.map_or((0, 0, 99), calendar::parts);
                if day <= 12 {
                    written.born = Some(calendar::day(year, day, month));
                }
            }
            Self::Digit => written.born = written.born.map(|born| wrong_digit(born, random)),
            Self::Unknown => written.born = Some(calendar::day(1900, 1, 1)),
            Self::NoGiven => written.given.clear(),
            Self::NoBirth => written.born = None,
            Self::NoNumbers => written.numbered = false,
            Self::Capitals => {
                written.given = written.given.to_uppercase();
                written.surname = written.surname.to_uppercase();
            }
            Self::Blanks => written.surname.push_str("  "),
            Self::Accents => {
                written.given = plain(&written.given);
                written.surname = plain(&written.surname);
            }
        }
        if *written == before {
            written.surname = Self::Missing.letters(&written.surname, random);
        }
    }

    fn letters(self, name: &str, random: &mut Random) -> String {
        let mut letters: Vec<char> = name.chars().collect();
        let at = random.below(letters.len().saturating_sub(1) as u64) as usize + 1;
        match (self, letters.get(at).copied(), letters.get(at + 1).copied()) {
            (Self::Adjacent, Some(letter), _) => {
                if let Some(place) = letters.get_mut(at) {
                    *place = neighbour(letter);
                }
            }
            (Self::Doubled, Some(letter), _) => letters.insert(at, letter),
            (Self::Transposed, Some(first), Some(second)) if first != second => letters.swap(at, at + 1),
            // The last letter, if there is no other letter to swap it with.
            (_, Some(_), _) => drop(letters.remove(at)),
            // Only an initial is left.
            _ => letters.push('.'),
        }
        letters.into_iter().collect()
    }
}

/// The key next to a letter on the keyboard.
fn neighbour(letter: char) -> char {
    let beside = |row: &&str| {
        let at = row.find(letter)?;
        row.chars().nth(at + 1).or_else(|| row.chars().nth(at.checked_sub(1)?))
    };
    KEYS.iter().find_map(beside).unwrap_or('x')
}

/// The date with a wrong digit in its day or year. It is still a valid date.
fn wrong_digit(born: i32, random: &mut Random) -> i32 {
    let (year, month, day) = calendar::parts(born);
    if random.chance(500) {
        calendar::day(year - if year % 10 == 0 { -1 } else { 1 }, month, day.min(28))
    } else {
        calendar::day(year, month, if day > 10 { day - 10 } else { day + 10 })
    }
}

/// The name without accents, as simple systems write it.
fn plain(name: &str) -> String {
    let from = "áàãäåéèêëíìîïóòôõöúùûüçñýÿšžÁÉÍÓÚÖÜÇÑŠŽ";
    let to = "aaaaaeeeeiiiiooooouuuucnyyszAEIOUOUCNSZ";
    let letter = |c: char| from.chars().zip(to.chars()).find(|(f, _)| *f == c).map_or(c, |(_, t)| t);
    name.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::london::home::{Person, Place};

    #[test]
    fn each_slip_changes_something() {
        for (slip, _) in SORTS.into_iter().filter(|(slip, _)| *slip != Slip::None) {
            for home in 0..300 {
                let person = Person { key: 1, age: 40, female: true, household: 0, slot: 0 };
                let origin = Place { seed: 5, borough: 2, home };
                let identity = Identity::of(origin, &person);
                let mut random = Random::at(&[home]);
                let right = write_down(&identity, 0, &mut random);
                let mut wrong = right.clone();
                slip.apply(&mut wrong, &identity, &mut random);
                assert_ne!(right, wrong, "{slip:?}");
            }
        }
    }
}
