//! London's boroughs by GSS code.
//!
//! The names are part of this program, so they need no call and no trust in the other end.

/// The name and the code, as in "Camden (E09000007)". For any other code, the code alone.
pub fn named(gss: &str) -> String {
    let code = crate::plain::line(gss);
    match name(&code) {
        Some(name) => format!("{name} ({code})"),
        None => code,
    }
}

/// The short name, as in "Camden". For any other code, the code.
pub fn short(gss: &str) -> String {
    name(gss).map_or_else(|| crate::plain::line(gss), str::to_owned)
}

fn name(gss: &str) -> Option<&'static str> {
    gss.parse::<loda_federation::Gss>().ok()?.name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        assert_eq!(named("E09000001"), "City of London (E09000001)");
        assert_eq!(named("E09000033"), "Westminster (E09000033)");
        assert_eq!(short("E09000007"), "Camden");
        for other in ["E09000000", "E09000034", "E08000001", "E0900007", "E09000+07", ""] {
            assert_eq!(named(other), other);
        }
    }
}
