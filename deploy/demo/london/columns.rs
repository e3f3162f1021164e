//! All columns that an extract can have: their kinds, and the boroughs' names for them.

/// The content of a column. It decides how the column is written and read back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    /// A word of the code list that has the column's name.
    Code,
    Day,
    /// The hour of the day in the column before it. Extracts write both into one cell.
    Hour,
    Flag,
    Whole,
    /// Two decimals.
    Hundredths,
    /// Pounds and pence.
    Money,
    Uprn,
    Postcode,
    Nhs,
    Nino,
}

/// A column: its canonical name, its kind, and its synonyms in plain words.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) synonyms: &'static str,
}

const fn column(name: &'static str, kind: Kind, synonyms: &'static str) -> Column {
    Column { name, kind, synonyms }
}

/// The synonyms of a table's columns are all different.
static COLUMNS: [Column; 62] = [
    column("record_ref", Kind::Text, "record ref|reference|case no|id"),
    column("given_name", Kind::Text, "given name|forename|first name|forename 1"),
    column("surname", Kind::Text, "surname|last name|family name"),
    column("date_of_birth", Kind::Day, "date of birth|dob|birth dt|birth date"),
    column("nhs_number", Kind::Nhs, "nhs number|nhs no"),
    column("nino", Kind::Nino, "nino|national insurance no|ni number"),
    column("upn", Kind::Text, "upn|unique pupil number|pupil no"),
    column("urn", Kind::Text, "urn|school urn|establishment"),
    column("uprn", Kind::Uprn, "uprn|property ref|unique property ref|blpu uprn"),
    column("address", Kind::Text, "address|address line 1|property address|addr1"),
    column("postcode", Kind::Postcode, "postcode|post code|pcode"),
    column("ward", Kind::Text, "ward|ward name|electoral ward"),
    column("ward_code", Kind::Text, "ward code|ward cd|ward gss"),
    column("tenure", Kind::Code, "tenure|tenure type|occupancy"),
    column("storeys", Kind::Whole, "storeys|no of floors|floors"),
    column("above_shop", Kind::Flag, "above shop|over commercial|shop below"),
    column("band", Kind::Text, "band|ct band|valuation band"),
    column("single_person_discount", Kind::Flag, "single person discount|spd|sole occ disc"),
    column("moves_24m", Kind::Whole, "moves 24m|changes of liability|liable party changes"),
    column("adult", Kind::Flag, "adult|over 18|aged 18"),
    column("franchise", Kind::Code, "franchise|elector type|franchise marker"),
    column("tenancy_start", Kind::Day, "tenancy start|start date|commenced"),
    column("tenancy_end", Kind::Day, "tenancy end|end date|terminated"),
    column("benefit", Kind::Code, "benefit|award type|claim type"),
    column("pension_age", Kind::Flag, "pension age|of pension age|elderly"),
    column("pension_credit", Kind::Flag, "pension credit|pc flag|passported pc"),
    column("weekly_income", Kind::Money, "weekly income|income pw|assessed income"),
    column("weekly_rent", Kind::Money, "weekly rent|rent pw|eligible rent"),
    column("weekly_amount", Kind::Money, "weekly amount|award pw|entitlement"),
    column("claim_start", Kind::Day, "claim start|effective from|date of claim"),
    column("claim_end", Kind::Day, "claim end|effective to|ceased"),
    column("holder_name", Kind::Text, "holder name|landlord|licence holder|proprietor"),
    column("company_number", Kind::Text, "company number|co reg no|companies house no"),
    column("hmo_status", Kind::Code, "hmo status|licence status|scheme"),
    column("licence_start", Kind::Day, "licence start|granted|issued"),
    column("licence_end", Kind::Day, "licence end|expires|valid until"),
    column("complaint_date", Kind::Day, "complaint date|received|logged on"),
    column("about", Kind::Code, "about|category|nature of complaint"),
    column("enforcement_date", Kind::Day, "enforcement date|served on|action date"),
    column("action", Kind::Code, "action|notice type|action taken"),
    column("absence_pct", Kind::Hundredths, "absence pct|absence rate|pc absent"),
    column("approach_date", Kind::Day, "approach date|presented|date of approach"),
    column("reason", Kind::Code, "reason|main reason|loss reason"),
    column("contact_date", Kind::Day, "contact date|seen on|bedded down"),
    column("to_borough", Kind::Text, "to borough|receiving la|placed in"),
    column("from_borough", Kind::Text, "from borough|placing la|notifying authority"),
    column("placement_date", Kind::Day, "placement date|placed on|moved in"),
    column("notice_date", Kind::Day, "notice date|notified|s208 date"),
    column("issue_date", Kind::Day, "issue date|badge start|issued on"),
    column("expiry_date", Kind::Day, "expiry date|badge expiry|valid to"),
    column("death_date", Kind::Day, "death date|date of death|dod"),
    column("need", Kind::Code, "need|primary support reason|psr"),
    column("setting", Kind::Code, "setting|service setting|care setting"),
    column("weekly_cost", Kind::Money, "weekly cost|package cost|cost pw"),
    column("reading", Kind::Day, "reading|timestamp|read at|logged at"),
    column("hour", Kind::Hour, ""),
    column("rh", Kind::Hundredths, "rh|humidity|rel hum pct"),
    column("job_date", Kind::Day, "job date|raised|reported"),
    column("job", Kind::Code, "job|trade|repair type"),
    column("cost", Kind::Money, "cost|invoice total|job cost"),
    column("epc_band", Kind::Text, "epc band|current energy rating|energy band"),
    column("lodged", Kind::Day, "lodged|lodgement date|cert date"),
];

/// The words of a code list: each contract's word, then the other spellings of systems.
type List = (&'static str, &'static [&'static str]);

static LISTS: [List; 10] = [
    (
        "tenure",
        &[
            "Owned outright=OO=Owner occupied (no mortgage)",
            "Owned with a mortgage=OM=Owner occupied - mortgage",
            "Social rented=SR=Council / HA tenant",
            "Private rented=PR=Private tenant",
        ],
    ),
    ("franchise", &["Parliamentary=P=All elections", "Local only=L=Local elections"]),
    (
        "benefit",
        &[
            "Housing Benefit=HB=Hsg Ben",
            "Council Tax Support=CTS=CTR scheme",
            "Discretionary Housing Payment=DHP=Disc. payment",
            "No award=NIL=Assessed, none",
        ],
    ),
    (
        "hmo_status",
        &[
            "Mandatory=MAND=Mandatory licence",
            "Additional=ADD=Additional licence",
            "Found unlicensed=UNL=No licence held",
        ],
    ),
    (
        "about",
        &[
            "Noise=NSE=Noise nuisance",
            "Rubbish=RUB=Refuse accumulation",
            "Disrepair=DIS=Housing disrepair",
            "Overcrowding=OVC=Over-occupied",
        ],
    ),
    (
        "action",
        &[
            "Improvement notice=IN=Improvement Notice (s11/12)",
            "Civil penalty=CP=Financial penalty",
            "Prosecution=PROS=Legal proceedings",
            "Prohibition order=PO=Prohibition Order (s20)",
        ],
    ),
    (
        "reason",
        &[
            "End of private tenancy=EPT=AST ended",
            "Family or friends no longer able=FF=Fam/friends exclusion",
            "Domestic abuse=DA=DV",
            "Relationship breakdown=RB=Relationship ended (non-violent)",
            "Left an institution=INST=Hospital/prison discharge",
            "Other=OTH=Other/not known",
        ],
    ),
    (
        "need",
        &[
            "Learning disability support=LD=Learning Disability",
            "Mental health support=MH=Mental Health",
            "Physical support=PS=Physical: access & mobility / personal care",
            "Social support=SOC=Social isolation / carer",
            "Sensory support=SS=Sensory",
            "Support with memory and cognition=MC=Memory & Cognition",
        ],
    ),
    ("setting", &["Community=COM=Own home", "Residential=RES=Res care", "Nursing=NUR=Nursing home"]),
    (
        "job",
        &[
            "Damp and mould=DAM=Damp/mould treatment",
            "Heating=HTG=Heating & hot water",
            "Plumbing=PLB=Plumber",
            "Roof=RF=Roofing",
            "Electrical=ELE=Electrician",
        ],
    ),
];

/// A column by its canonical name.
pub(crate) fn find(name: &str) -> Option<&'static Column> {
    COLUMNS.iter().find(|column| column.name == name)
}

/// The renderings of each word of a list. The contract's word comes first.
pub(crate) fn renderings(list: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let list = LISTS.iter().find(|(name, _)| *name == list);
    list.into_iter().flat_map(|(_, words)| words.iter().map(|word| word.split('=').collect()))
}
