//! Columns: type, role, and properties in the closed tables about people.

use crate::domain::Domain;
use crate::value::ColumnType;

/// A column of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The name, an SQL identifier in lower case.
    pub name: String,
    /// The type.
    pub kind: ColumnType,
    /// The role, which determines the allowed uses.
    pub role: Role,
    /// Whether a row may have NULL.
    pub nullable: bool,
    /// A description for people to read.
    pub description: String,
    /// The properties in closed tables about people.
    pub attribute: Attribute,
}

/// The role of a column, which determines the allowed uses.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Names a unit of this domain. Allows distinct counts and joins, and nothing else.
    Unit(String),
    /// Identifies a person. Never leaves a node and is never compared with a literal.
    Identifier,
    /// A key into public data of this domain. Allows joins and is never compared with a literal.
    Reference(String),
    /// Allows grouping and filtering.
    Dimension(Domain),
    /// Allows sums and averages between declared bounds, and comparisons at the band edges only. All numbers are in scaled
    /// units. In sums about people a value outside `clamp` counts as its nearest end. A narrow clamp needs little noise.
    Measure {
        /// The least possible value.
        lower: i128,
        /// The greatest possible value.
        upper: i128,
        /// The band edges, in rising order.
        edges: Vec<i128>,
        /// The clamp; `None`: the bounds.
        clamp: Option<(i128, i128)>,
    },
    /// Free text. Allows questions about coverage only.
    Text,
}

/// The properties of a column in closed tables about people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribute {
    /// The domain of the unit that the column describes; `None`: the unit that a row describes.
    pub of: Option<String>,
    /// Whether the column is a place of residence. Its weight is 1 for every unit.
    pub place: bool,
    /// The (dataset, column) that holds the same attribute. Values are taken from there only.
    pub same_as: Option<(String, String)>,
    /// Near-duplicate columns, as (dataset, column). They never share a table with this column.
    pub alternatives: Vec<(String, String)>,
    /// Whether the column is a finer level of another column, and has tables of its own only.
    pub alone: bool,
    /// The (public dataset, column) that lists the values of an open column.
    pub codes_from: Option<(String, String)>,
    /// For a reference key, the column of this dataset that has a class for each of its values. Released cells are joined by it.
    pub stands_for: Option<String>,
}

impl Role {
    /// The word for this role in messages and catalogues.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unit(_) => "unit",
            Self::Identifier => "identifier",
            Self::Reference(_) => "reference key",
            Self::Dimension(_) => "dimension",
            Self::Measure { .. } => "measure",
            Self::Text => "text",
        }
    }
}
