//! Values as councils' systems write them, in their proper form.

use loda_identity::Gss;

const CURRENCY: [char; 3] = ['£', '$', '€'];

/// The hyphen, the minus sign, the figure dash and the en dash.
const MINUS: [char; 4] = ['-', '\u{2212}', '\u{2012}', '\u{2013}'];

/// Reads a Unique Property Reference Number: up to twelve digits.
pub(crate) fn uprn(text: &str) -> Option<String> {
    let digits = text.trim().trim_end_matches(".0").trim_start_matches('0');
    let valid = (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| format!("{digits:0>12}"))
}

/// Reads a postcode of the United Kingdom, by its shape.
pub(crate) fn postcode(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    if !bare.is_ascii() || !(5..=7).contains(&bare.len()) {
        return None;
    }
    let (outward, inward) = bare.split_at(bare.len() - 3);
    let shape = |text: &str| -> String {
        text.chars()
            .map(|c| {
                if c.is_ascii_digit() {
                    '9'
                } else if c.is_ascii_alphabetic() {
                    'A'
                } else {
                    '?'
                }
            })
            .collect()
    };
    let known = ["A9", "A99", "AA9", "AA99", "A9A", "AA9A"].contains(&shape(outward).as_str());
    (known && shape(inward) == "9AA").then(|| format!("{outward} {inward}"))
}

/// Reads an NHS number with the right check digit (modulus 11).
pub(crate) fn nhs_number(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) || digits.bytes().all(|b| b == b'0') {
        return None;
    }
    let mut values = digits.bytes().map(|b| u32::from(b - b'0'));
    let sum: u32 = values.clone().take(9).zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    let check = (11 - sum % 11) % 11;
    (values.next_back() == Some(check)).then_some(digits)
}

/// Reads a National Insurance number, by its published shape.
pub(crate) fn nino(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_uppercase();
    let bytes = bare.as_bytes();
    let [first, second, digits @ .., last] = bytes else { return None };
    let prefix = bare.get(..2)?;
    let valid = bytes.len() == 9
        && first.is_ascii_uppercase()
        && second.is_ascii_uppercase()
        && !b"DFIQUV".contains(first)
        && !b"DFIQUVO".contains(second)
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix)
        && digits.iter().all(u8::is_ascii_digit)
        && (b'A'..=b'D').contains(last);
    valid.then_some(bare)
}

pub(super) fn yes_no(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "t" | "1" => Some(true),
        "n" | "no" | "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// An amount as [`money`] reads it. Any other text stays as it is, and is no number for the contract.
pub(super) fn amount(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| money(text).unwrap_or_else(|| text.to_owned()))
}

/// Reads an amount without currency, thousands and a sign for per cent. Brackets mean a minus, as do the minus signs of
/// typesetters.
pub(crate) fn money(text: &str) -> Option<String> {
    let text = text.trim();
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
    let bare: String = inner.unwrap_or(text).chars().filter(|c| !c.is_whitespace() && !CURRENCY.contains(c)).collect();
    let bare = bare.strip_suffix('%').unwrap_or(&bare);
    let (minus, digits) = match bare.strip_prefix(MINUS).or_else(|| bare.strip_suffix(MINUS)) {
        Some(digits) => (true, digits),
        None => (inner.is_some(), bare),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // A comma separates thousands, and nothing else. In 12,34 it may be a decimal comma, which only people can decide.
    let whole = match whole.split(',').collect::<Vec<_>>().as_slice() {
        [alone] => (*alone).to_owned(),
        [first, groups @ ..] if (1..=3).contains(&first.len()) && groups.iter().all(|g| g.len() == 3) => {
            whole.replace(',', "")
        }
        _ => return None,
    };
    let valid = (!whole.is_empty() || !fraction.is_empty()) && number(&whole) && number(fraction);
    let whole = if whole.is_empty() { "0".to_owned() } else { whole };
    let point = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    valid.then(|| format!("{}{whole}{point}", if minus { "-" } else { "" }))
}

/// The code of a London borough.
pub(super) fn borough(text: &str) -> Option<String> {
    borough_in(text).map(|gss| gss.to_string())
}

/// The London borough that a text names or has the code of.
pub(crate) fn borough_in(text: &str) -> Option<Gss> {
    let text = text.trim();
    let code = text.to_uppercase().parse::<Gss>().ok().filter(|gss| gss.name().is_some());
    code.or_else(|| Gss::of_old_code(text)).or_else(|| Gss::named(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_checked() {
        assert_eq!(uprn("100021892955").as_deref(), Some("100021892955"));
        assert_eq!(uprn(" 21892955.0").as_deref(), Some("000021892955"));
        assert_eq!(uprn("1234567890123"), None);
        assert_eq!(postcode("sw21rw").as_deref(), Some("SW2 1RW"));
        assert_eq!(postcode("EC1A 1BB").as_deref(), Some("EC1A 1BB"));
        assert_eq!(postcode("SW2"), None);
        // The example of the NHS Data Dictionary.
        assert_eq!(nhs_number("943 476 5919").as_deref(), Some("9434765919"));
        assert_eq!(nhs_number("943 476 5918"), None);
        assert_eq!(nino("ab 12 34 56 c").as_deref(), Some("AB123456C"));
        assert_eq!(nino("BG123456C"), None);
        assert_eq!(money("£1,234.50").as_deref(), Some("1234.50"));
        assert_eq!(money("(12.00)").as_deref(), Some("-12.00"));
        assert_eq!(money(".5").as_deref(), Some("0.5"));
        assert_eq!(money("\u{2212}1,200.5").as_deref(), Some("-1200.5"));
        assert_eq!(money("\u{2013}£3").as_deref(), Some("-3"));
        assert_eq!(money("12.5 %").as_deref(), Some("12.5"));
        // A decimal comma must not make an amount a hundred times as large.
        for no in ["n/a", "100,50", "1.234,56", "12,34", "1234,5", "1,2,3.00", "", "£", "1e5", "%", "\u{2013}", "1-2"]
        {
            assert_eq!(money(no), None, "{no}");
        }
    }

    #[test]
    fn a_borough_is_known_in_any_spelling() {
        for (name, code) in [
            ("Lambeth ", "E09000022"),
            ("LAMBETH", "E09000022"),
            ("e09000022", "E09000022"),
            ("London Borough of Lambeth", "E09000022"),
            ("LB Lambeth", "E09000022"),
            ("Lambeth London Borough Council", "E09000022"),
            ("Tower_Hamlets", "E09000030"),
            ("tower-hamlets", "E09000030"),
            ("Kensington & Chelsea", "E09000020"),
            ("Royal Borough of Kensington and Chelsea", "E09000020"),
            ("RB Kingston upon Thames", "E09000021"),
            ("Kingston", "E09000021"),
            ("Richmond-upon-Thames", "E09000027"),
            ("City of Westminster", "E09000033"),
            ("Westminster City Council", "E09000033"),
            ("City of London Corporation", "E09000001"),
            ("Hammersmith_and_Fulham", "E09000013"),
            ("00AY", "E09000022"),
        ] {
            assert_eq!(borough(name).as_deref(), Some(code), "{name}");
        }
        for no in
            ["London", "Greater London", "City", "", "Camden Town", "Inner London", "England", "upon", "E12000007"]
        {
            assert_eq!(borough(no), None, "{no}");
        }
    }
}
