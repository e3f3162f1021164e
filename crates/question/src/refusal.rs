//! Why a question has no derivation, and the nearest question that has one.
//!
//! *Attack: the refusal as an answer.* If a refusal depended on a record, an asker could read data from which questions are
//! refused. A [`Refusal`] is made from contract, agreement and question alone, before a record is read.

use std::fmt;

/// A no that rests on the contract, the agreement or the question alone, never on data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (rule: {rule}). {advice}")]
pub struct Refusal {
    /// The rule that failed.
    pub rule: Rule,
    /// The fault, as a sentence.
    pub message: String,
    /// The nearest thing that is.
    pub advice: String,
}

/// The result of a rule, or the refusal.
pub(crate) type Checked<T> = Result<T, Refusal>;

impl Refusal {
    /// A refusal by a rule, with its sentence and the advice.
    #[must_use]
    pub fn new(rule: Rule, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { rule, message: message.into(), advice: advice.into() }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The rules by name. Names are stable: scripts and logs hold them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule { $($(#[$doc])* $variant,)* }

        impl Rule {
            /// Every rule, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, as logs and scripts have it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The rule of a stable name; `None`: no rule has it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|rule| rule.name() == name)
            }
        }
    };
}

rules! {
    /// Rows never leave a node.
    Rows = "rows-stay-home",
    /// Only counts, sums, means, variances, quantiles on declared bins.
    Aggregate = "aggregate-not-allowed",
    /// An identifier is neither compared, grouped nor shown.
    Identifier = "identifier",
    /// A joinable key (unit or reference) is never compared with a literal or grouped.
    Key = "joinable-key",
    /// Free text is neither compared nor grouped.
    Text = "free-text",
    /// A measure is compared at its declared band edges only, and never grouped.
    BandEdge = "band-edge",
    /// A date is compared and grouped at its contract's grain.
    Grain = "date-grain",
    /// A scalar function outside the allow-list.
    Function = "function-not-allowed",
    /// A predicate of a shape that has no rule.
    Predicate = "predicate-not-allowed",
    /// SUM and AVG take one measure, bare.
    MeasureExpression = "measure-expression",
    /// CASE under an aggregate has one branch of the measure and ELSE NULL or 0.
    CaseWeight = "case-weight",
    /// The grid of group keys is too large or not enumerable.
    Grid = "grid-too-large",
    /// More than 16 conditions in one question.
    Conditions = "too-many-conditions",
    /// The figure counts something that cannot be counted there.
    UnitCount = "unit-count",
    /// A sum about people of a measure without declared bounds, or of a value of each unit.
    PersonalSum = "sum-on-personal-data",
    /// Units would have to be recognised in several boroughs.
    Linkage = "linkage-question",
    /// A join on something other than a unit or a reference key.
    Join = "join-not-allowed",
    /// An operator over rows that is not in the algebra.
    Operator = "operator-not-allowed",
    /// Methods of protection do not mix in one question.
    MixedMethods = "mixed-protection",
    /// A figure about people reads more columns than their tables have.
    Dimensions = "too-many-columns",
    /// A figure about people that no table of the contracts gives.
    Table = "closed-table",
    /// A value of each unit that no contract names.
    Derived = "derived-value",
    /// Statements other than one SELECT.
    Statement = "statement-not-allowed",
    /// SQL that does not parse or name known tables and columns.
    Sql = "sql",
    /// A value that the column beside it cannot have.
    Value = "no-such-value",
    /// A dataset or column that no contract has.
    Unknown = "unknown-name",
    /// A query log does not continue the log that another party saw.
    Log = "query-log",
    /// Bytes that are not a canonical fragment within the limits.
    Fragment = "fragment",
    /// The asker's signature is missing where an agreement asks for it, or is not of this question.
    Signature = "signature",
    /// No agreement in force covers asker, purpose and dataset.
    Agreement = "agreement",
    /// The node is not among the query's targets.
    Target = "not-a-target",
    /// No common protocol version.
    Version = "version",
    /// Too many queries at once.
    Busy = "busy",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
