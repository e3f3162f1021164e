//! What the logs do not agree on.

use std::fmt;

/// Something that the logs do not agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gap {
    /// The party whose log or work it is about: `coordinator`, or a borough's GSS code.
    pub party: String,
    /// The question's id. Empty if it is about no question.
    pub question: String,
    /// The disagreement.
    pub kind: GapKind,
}

/// A kind of disagreement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GapKind {
    /// The party was asked something that the coordinator's log does not hold.
    NotBegun,
    /// The coordinator's log says that the party answered, and the party's log has no such entry.
    NotReleased,
    /// The party's log says that figures left, and the coordinator's says that none came.
    NotReceived,
    /// Figures left the party without an entry that says that it was asked.
    NotAccepted,
    /// The party's log begins the question, and tells no end of it.
    NoEnd,
    /// The party was sent something else than the coordinator's log says.
    OtherFragment,
    /// The party was told another asker or purpose than the coordinator's log says.
    OtherAsker,
    /// The party was shown another signature of the asker than the coordinator's log says, or none.
    OtherSignature,
    /// The party is not among the boroughs that the coordinator's log says were asked.
    OtherTarget,
    /// The party's log begins two questions with this id.
    Twice,
    /// The words that the coordinator keeps of the question are not those of what the party was sent.
    OtherWords,
    /// Words behind entries of the party are gone, and its log does not say that their time was over.
    NoWords {
        /// The number of the first such entry.
        first: u64,
        /// The number of such entries.
        entries: u64,
    },
    /// An entry of the party is dated before an earlier one.
    Backdated {
        /// The entry's number.
        number: u64,
    },
    /// Another party has seen another log than the one that is shown.
    Forked {
        /// Who has seen another one.
        seen_by: String,
        /// The number of entries that were seen.
        at: u64,
    },
    /// Another party has seen more of the log than is shown.
    Shorter {
        /// Who has seen more.
        seen_by: String,
        /// The number of entries that were seen.
        at: u64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let party = &self.party;
        match &self.kind {
            GapKind::NotBegun => write!(f, "{party} was asked, and the coordinator's log does not hold the question"),
            GapKind::NotReleased => {
                write!(f, "the coordinator says that {party} answered, and the log of {party} does not")
            }
            GapKind::NotReceived => write!(
                f,
                "the log of {party} says that figures left, and the coordinator says that none came: a connection may have \
                 been lost"
            ),
            GapKind::NotAccepted => write!(f, "figures left {party}, whose log does not say that it was asked"),
            GapKind::NoEnd => write!(f, "the log of {party} begins the question, and tells no end"),
            GapKind::OtherFragment => {
                write!(f, "{party} was sent something else than the coordinator's log says")
            }
            GapKind::OtherAsker => {
                write!(f, "{party} was told another asker or purpose than the coordinator's log says")
            }
            GapKind::OtherSignature => {
                write!(f, "{party} was shown another signature of the asker than the coordinator's log says, or none")
            }
            GapKind::OtherTarget => {
                write!(f, "{party} was asked, and the coordinator's log does not name it among those asked")
            }
            GapKind::Twice => write!(f, "the log of {party} begins two questions with this id"),
            GapKind::OtherWords => {
                write!(f, "the words that the coordinator keeps are not those of what {party} was sent")
            }
            GapKind::NoWords { first, entries } => write!(
                f,
                "{party} has no words any more behind {entries} entries, entry {first} the first, and no ERASE entry says why"
            ),
            GapKind::Backdated { number } => {
                write!(f, "entry {number} of {party} is dated before the one in front of it")
            }
            GapKind::Forked { seen_by, at } => write!(
                f,
                "{seen_by} has seen another log of {party} than the one that is shown: entry {at} or one before it was \
                 another"
            ),
            GapKind::Shorter { seen_by, at } => {
                write!(f, "{seen_by} has seen {at} entries of the log of {party}, which shows fewer")
            }
        }
    }
}
