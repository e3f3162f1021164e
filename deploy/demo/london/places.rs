//! The boroughs' positions: outward postcodes, neighbours by distance, and streets.

use std::sync::LazyLock;

use crate::boroughs::{BOROUGHS, Borough};
use crate::random::Random;

use super::home::{For, Home};

/// The centre of each borough on the National Grid, in kilometres east and north, correct to one or two kilometres.
/// Then the outward codes that lie wholly or mostly in it. Both are general knowledge, not a data set.
const BOROUGH_PLACES: [(i64, i64, &str); 33] = [
    (532, 181, "EC1A EC2A EC2M EC2N EC2V EC2Y EC3A EC3M EC3N EC3R EC3V EC4A EC4M EC4N EC4R EC4V EC4Y"),
    (548, 185, "IG11 RM8 RM9 RM10"),
    (524, 192, "EN4 EN5 HA8 N2 N3 N12 N20 NW4 NW7 NW9 NW11"),
    (549, 175, "DA5 DA6 DA7 DA8 DA14 DA15 DA16 DA17"),
    (520, 185, "HA0 HA9 NW2 NW10"),
    (542, 166, "BR1 BR2 BR3 BR4 BR5 BR6 BR7 SE20"),
    (527, 185, "NW1 NW3 NW5 NW6 WC1B WC1E WC1H WC1N WC1X"),
    (533, 164, "CR0 CR2 CR5 CR7 CR8 SE25"),
    (516, 181, "UB1 UB2 UB5 UB6 W3 W5 W7 W13"),
    (533, 196, "EN1 EN2 EN3 N9 N13 N14 N18 N21"),
    (542, 177, "SE2 SE3 SE7 SE9 SE10 SE18 SE28"),
    (535, 185, "E5 E8 E9 N1 N16"),
    (523, 178, "SW6 W6 W12 W14"),
    (531, 190, "N4 N8 N10 N15 N17 N22"),
    (515, 189, "HA1 HA2 HA3 HA5 HA7"),
    (554, 187, "RM1 RM2 RM3 RM5 RM7 RM11 RM12 RM13 RM14"),
    (507, 183, "HA4 HA6 UB3 UB4 UB7 UB8 UB9 UB10"),
    (513, 175, "TW3 TW4 TW5 TW7 TW8 TW13 TW14 W4"),
    (531, 186, "EC1R EC1V N1 N5 N7 N19"),
    (525, 179, "SW3 SW5 SW7 SW10 W8 W10 W11"),
    (519, 167, "KT1 KT2 KT3 KT5 KT6 KT9"),
    (531, 175, "SE11 SE27 SW2 SW4 SW8 SW9 SW16"),
    (537, 174, "SE4 SE6 SE8 SE12 SE13 SE14 SE23 SE26"),
    (526, 169, "CR4 SM4 SW19 SW20"),
    (541, 183, "E6 E7 E12 E13 E15 E16 E20"),
    (543, 189, "IG1 IG2 IG3 IG4 IG5 IG6 E18 RM6"),
    (517, 173, "SW13 SW14 TW1 TW2 TW9 TW10 TW11 TW12"),
    (533, 177, "SE1 SE5 SE15 SE16 SE17 SE21 SE22"),
    (527, 164, "SM1 SM2 SM3 SM5 SM6"),
    (536, 182, "E1 E1W E2 E3 E14"),
    (537, 190, "E4 E10 E11 E17"),
    (526, 174, "SW11 SW12 SW15 SW17 SW18"),
    (528, 181, "NW8 SW1A SW1E SW1P SW1V SW1W SW1X W1B W1D W1G W1H W1J W1K W1T W1U W2 W9 WC2B WC2E WC2H"),
];

/// Common words of street names, and the words after them. The combinations are invented.
const STREETS: &str = "Acacia Albert Albion Alexandra Alma Arundel Ashley Balfour Beaconsfield Bedford Belmont Beresford \
    Birch Bramley Brook Burnham Cambridge Carlton Cavendish Cedar Chapel Chatsworth Chestnut Church Claremont Clarence \
    Clifton Connaught Coronation Cranbrook Crescent Cromwell Devonshire Dorset Durham Eastfield Elgin Elm Fairfield \
    Forest Garfield George Gladstone Glebe Gordon Grange Granville Green Grosvenor Grove Hamilton Hartington Hawthorn \
    Hazel High Highfield Hill Holly Kensal Kings Kingsley Lansdowne Laurel Lime Linden Lodge Manor Maple Marlborough \
    Meadow Melrose Mill Milton Montague Nelson Norfolk North Oak Oakfield Osborne Oxford Park Parkside Percy Poplar \
    Priory Queens Ravenscroft Rectory Regent Richmond Rosebery Rowan Salisbury School Selborne Somerset South Spencer \
    Springfield Stanley Station Sussex Sycamore Tennyson Trinity Vicarage Victoria Walnut Warwick Waverley Wellington \
    West Westbourne Willow Winchester Windsor Woodland Woodside York";
const STREET_KINDS: &str = "Road 46|Street 14|Avenue 14|Close 8|Gardens 6|Lane 4|Way 3|Court 3|Grove 2";

static STREET_WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| STREETS.split_whitespace().collect());

/// For each borough: all other boroughs, weighted by how often people go there.
static NEIGHBOURS: LazyLock<Vec<Vec<(usize, u64)>>> = LazyLock::new(|| {
    let weight = |from: usize, to: usize| {
        let (Some((x, y, _)), Some((u, v, _))) = (BOROUGH_PLACES.get(from), BOROUGH_PLACES.get(to)) else { return 0 };
        // The City attracts few. Six kilometres count like next door.
        let squared = (x - u).pow(2) + (y - v).pow(2) + 36;
        let people = BOROUGHS.get(to).map_or(0, |b| u64::from(b.population));
        if from == to { 0 } else { people / squared.unsigned_abs() }
    };
    (0..BOROUGHS.len()).map(|from| (0..BOROUGHS.len()).map(|to| (to, weight(from, to))).collect()).collect()
});

/// A random other borough. Near and large boroughs are more likely.
pub(crate) fn another(from: usize, random: &mut Random) -> usize {
    NEIGHBOURS.get(from).map_or(0, |weights| random.pick(weights))
}

/// The address and the postcode of a home. A ward lies in one postcode district.
pub(crate) fn address(home: &Home) -> (String, String) {
    let mut random = home.place.stream(For::Address);
    let street = STREET_WORDS.get(random.below(STREET_WORDS.len() as u64) as usize).copied().unwrap_or("High");
    let kind = random.code(STREET_KINDS);
    let number = random.between(1, 190);
    let address = if home.flat {
        format!("Flat {}, {number} {street} {kind}", random.between(1, 40))
    } else {
        format!("{number} {street} {kind}")
    };
    let outward: Vec<&str> =
        BOROUGH_PLACES.get(home.place.borough as usize).map_or(vec![], |(.., codes)| codes.split(' ').collect());
    let outward = outward.get(home.ward as usize % outward.len().max(1)).copied().unwrap_or("SW1A");
    let mut letter = || random.pick(&"ABDEFGHJLNPQRSTUWXYZ".chars().map(|c| (c, 1)).collect::<Vec<_>>());
    let (first, second) = (letter(), letter());
    (address, format!("{outward} {}{first}{second}", random.below(10)))
}

/// The borough at this position in the list.
pub(crate) fn borough(index: usize) -> Option<&'static Borough> {
    BOROUGHS.get(index)
}

pub(crate) fn gss(index: usize) -> &'static str {
    borough(index).map_or("", |b| b.gss)
}
