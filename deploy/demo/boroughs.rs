//! The 33 local authorities of London, and the public reference table `boroughs`.

use std::fmt::Write;

/// A London borough. The City of London is not a borough in law, but counts as one here.
#[derive(Debug)]
pub struct Borough {
    /// The Government Statistical Service code that names the borough everywhere.
    pub gss: &'static str,
    pub name: &'static str,
    pub population: u32,
    pub inner_london: bool,
}

/// The boroughs in the order of their codes. Population: usual residents on Census Day, 21 March 2021 (Office for
/// National Statistics, Census 2021, table TS001, Open Government Licence v3), rounded to hundreds. Inner London as in
/// ONS statistics: with Haringey and Newham and without Greenwich. The London Government Act 1963 has them the other
/// way round.
pub const BOROUGHS: [Borough; 33] = [
    borough("E09000001", "City of London", 8_600, true),
    borough("E09000002", "Barking and Dagenham", 218_900, false),
    borough("E09000003", "Barnet", 389_300, false),
    borough("E09000004", "Bexley", 246_500, false),
    borough("E09000005", "Brent", 339_800, false),
    borough("E09000006", "Bromley", 330_000, false),
    borough("E09000007", "Camden", 210_100, true),
    borough("E09000008", "Croydon", 390_700, false),
    borough("E09000009", "Ealing", 367_100, false),
    borough("E09000010", "Enfield", 330_000, false),
    borough("E09000011", "Greenwich", 289_100, false),
    borough("E09000012", "Hackney", 259_200, true),
    borough("E09000013", "Hammersmith and Fulham", 183_200, true),
    borough("E09000014", "Haringey", 264_200, true),
    borough("E09000015", "Harrow", 261_200, false),
    borough("E09000016", "Havering", 262_100, false),
    borough("E09000017", "Hillingdon", 305_900, false),
    borough("E09000018", "Hounslow", 288_200, false),
    borough("E09000019", "Islington", 216_600, true),
    borough("E09000020", "Kensington and Chelsea", 143_400, true),
    borough("E09000021", "Kingston upon Thames", 168_100, false),
    borough("E09000022", "Lambeth", 317_600, true),
    borough("E09000023", "Lewisham", 300_600, true),
    borough("E09000024", "Merton", 215_200, false),
    borough("E09000025", "Newham", 351_000, true),
    borough("E09000026", "Redbridge", 310_300, false),
    borough("E09000027", "Richmond upon Thames", 195_300, false),
    borough("E09000028", "Southwark", 307_700, true),
    borough("E09000029", "Sutton", 209_600, false),
    borough("E09000030", "Tower Hamlets", 310_300, true),
    borough("E09000031", "Waltham Forest", 278_400, false),
    borough("E09000032", "Wandsworth", 327_500, true),
    borough("E09000033", "Westminster", 204_300, true),
];

/// The table that the coordinator offers as `boroughs`. Its columns: gss text, name text, population integer,
/// inner_london boolean.
pub fn reference_csv() -> String {
    let mut csv = String::from("gss,name,population,inner_london\n");
    for b in &BOROUGHS {
        // Writing to a string cannot fail.
        let _ = writeln!(csv, "{},{},{},{}", b.gss, b.name, b.population, b.inner_london);
    }
    csv
}

/// A borough and its position in the list, by its code.
pub fn find(gss: &str) -> Option<(usize, &'static Borough)> {
    BOROUGHS.iter().enumerate().find(|(_, b)| b.gss == gss)
}

const fn borough(gss: &'static str, name: &'static str, population: u32, inner_london: bool) -> Borough {
    Borough { gss, name, population, inner_london }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_london() {
        let total: u32 = BOROUGHS.iter().map(|b| b.population).sum();
        // ONS gives 8,799,728 for London. Rounding 33 numbers to hundreds moves the sum by a few hundred.
        assert!(total.abs_diff(8_799_728) < 600, "{total}");
        for (place, b) in BOROUGHS.iter().enumerate() {
            assert_eq!(b.gss, format!("E090000{:02}", place + 1));
        }
        assert_eq!(BOROUGHS.iter().filter(|b| b.inner_london).count(), 14);
        assert_eq!(reference_csv().lines().count(), 34);
    }
}
