//! Words in the names of columns, and in code lists. They are of this project's own choosing, from the open data of London's
//! boroughs, of the GLA and of central government.

/// Words in a column's name that point to a person, or to something that names or identifies one: a vehicle, an account, a
/// professional, somebody's place.
const PERSONAL: &str = "name names nm surname surnm forename forenames firstname lastname fname lname initials initial fullname known \
     alias person people tenant tenants resident occupier owner leaseholder landlord applicant appellant claimant \
     complainant client customer cust patient pupil child parent carer guardian payer payee debtor contact email \
     mail emailaddress phone telephone mobile mob tel fax address addr add street house flat property postcode \
     pcode pc uprn usrn easting northing latitude longitude lat lon lng x y note notes comment comments narrative \
     remarks details dob birth birthdate born death nino ni nationalinsurance nhs ssn passport licence license vrm \
     vrn reg registration plate vehicle account acct iban sort card officer worker handler practitioner gp doctor \
     nurse teacher consultant agent";

/// Words that say that a column sorts its rows into kinds.
pub(super) const SORTING: &str = "type types kind category categories cat class classification group grouping status state stage outcome \
     outcomes decision result reason tenure sex gender ethnicity ethnic religion disability band banding bracket \
     range age level grade rating priority severity risk method channel source ward wards locality area zone region \
     directorate department dept service services programme scheme benefit use usage purpose sector phase period \
     quarter season frequency flag indicator measure metric crime offence text major minor size bedrooms material \
     fuel";

/// Words of code lists. A value of such words names a kind, and nobody.
pub(super) const KINDS: &str = "a about abandoned above accepted access accident active adult advice affordable aged all and anti antisocial \
     any application approved asian assault assessment at authority average awaiting award band bedroom bedrooms \
     below benefit bins black board both breach british building bungalow burglary bus business by cancelled car \
     care cash central centre change children chinese civil clean cleared closed code collection commercial \
     community complaint complete completed conditional converted council credit criminal current cycle damage damp \
     day dead declined deferred delegated delivered detached direct disabled discharged dismissed domestic door \
     down drug drugs early east education electric electrical email emergency empty end environmental equal ex \
     exempt existing external face failed family female final fire flat flood fly food for free freehold from full \
     fully furnished gas general good granted green ground half hate health heating high hmo home homeless house \
     household housing immediate in inactive income indoor inner inspection intermediate internal investigation \
     issued item job joint key land large late lease leasehold legal letter light lighting listed live local long \
     lost low main maisonette major male market married mechanical medium minor missed mixed moderate monthly \
     mortgage motor mould moved multiple new no noise non none normal north not notice of office on online open \
     opened other outer outright outside over overdue owned paid parking part pass passed pay pending permanent \
     permit person phone planned plumbing poor possession post primary private property public purpose quarterly \
     received recycling red referred refused registered rejected rent rented repair repairs residential resolved \
     retail road robbery routine rubbish school secondary secure self semi sent shared short single small social \
     south special standard";

const MORE_KINDS: &str = "started street studio submitted support supported suspended team telephone temporary terraced theft this to \
     total traffic transfer transferred travel tree trees under unfurnished unit unknown unlawful up upheld urgent \
     use vacant valid value vehicle verified very violence visit void voluntary waste water web website weekly west \
     white with withdrawn within without women work works year yearly years yes young youth";

/// Words in which people name columns, and which records rarely have as a whole cell.
const HEADINGS: &str = "id ref reference no number code date year month name address postcode ward type status amount value total cost \
     count description category borough area uprn start end period rate percentage score rating band tenure sex age \
     dob surname forename street town email phone quarter outcome decision supplier title notes gss";

/// Whether a list of words has one.
pub(super) fn has(list: &str, word: &str) -> bool {
    list.split(' ').any(|known| known == word)
}

pub(super) fn is_kind(word: &str) -> bool {
    has(KINDS, word) || has(MORE_KINDS, word)
}

/// The words of a name in lower case. It is split at spaces, signs and capitals.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for c in name.chars() {
        let begins = !before.is_alphanumeric() || (before.is_lowercase() && c.is_uppercase());
        if c.is_alphanumeric() {
            if begins || words.is_empty() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(c.to_lowercase());
            }
        }
        before = c;
    }
    words
}

/// Whether people name columns with a word.
pub(crate) fn is_heading(word: &str) -> bool {
    has(HEADINGS, word) || has(SORTING, word) || has(PERSONAL, word)
}

/// Whether a column's name points to a person.
pub(crate) fn is_personal(name: &str) -> bool {
    let words = words(name);
    let joined: String = words.concat();
    // `x` and `y` alone are coordinates, and single letters within a name are nothing.
    let single = words.len() == 1;
    words.iter().any(|word| (word.len() > 1 || single) && has(PERSONAL, word)) || has(PERSONAL, &joined)
}
