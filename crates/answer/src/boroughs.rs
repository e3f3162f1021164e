//! London's boroughs by GSS code.
//!
//! The names need no call and no trust in the far end.

/// "Camden (E09000007)"; the code alone where it is not a London borough's.
pub fn named(gss: &str) -> String {
    let code = crate::plain::line(gss);
    match name(&code) {
        Some(name) => format!("{name} ({code})"),
        None => code,
    }
}

/// The short name: "Camden", or the code where there is none.
pub fn short(gss: &str) -> String {
    name(gss).map_or_else(|| crate::plain::line(gss), str::to_owned)
}

fn name(gss: &str) -> Option<&'static str> {
    gss.parse::<loda_identity::Gss>().ok()?.name()
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
