//! The operators of scalars and conditions: whole-number arithmetic, comparisons, parts of a date.
//!
//! Each list is closed. Arithmetic has no modulo, which would pick records by the last digits of a value.

/// The arithmetic between an integer dimension and a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arithmetic {
    /// `value + literal`.
    Add,
    /// `value - literal`.
    Subtract,
    /// `value * literal`.
    Multiply,
    /// `value / literal`, towards zero, as SQL divides integers.
    Divide,
}

/// A comparison of two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `=`.
    Equal,
    /// `<>`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
}

/// A part of a date, as a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DatePart {
    /// The calendar year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
}

impl Arithmetic {
    /// Every operator, for decoders and tests.
    pub const ALL: [Self; 4] = [Self::Add, Self::Subtract, Self::Multiply, Self::Divide];

    /// The operator as SQL writes it.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }

    /// The operator as DataFusion's encoding names it.
    pub(crate) const fn wire(self) -> &'static str {
        match self {
            Self::Add => "Plus",
            Self::Subtract => "Minus",
            Self::Multiply => "Multiply",
            Self::Divide => "Divide",
        }
    }

    /// The result; `None` where it overflows or divides by zero.
    pub(crate) const fn apply(self, value: i64, literal: i64) -> Option<i64> {
        match self {
            Self::Add => value.checked_add(literal),
            Self::Subtract => value.checked_sub(literal),
            Self::Multiply => value.checked_mul(literal),
            Self::Divide => value.checked_div(literal),
        }
    }
}

impl Comparison {
    /// Every operator, for decoders and tests.
    pub const ALL: [Self; 6] =
        [Self::Equal, Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];

    /// The operator as SQL and DataFusion's encoding of operators in SQL write it.
    #[must_use]
    pub const fn sql(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    /// The operator that holds exactly when this one, on known values, does not.
    #[must_use]
    pub const fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The operator with its operands exchanged.
    #[must_use]
    pub const fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

impl DatePart {
    /// Every part, for decoders and tests.
    pub const ALL: [Self; 3] = [Self::Year, Self::Quarter, Self::Month];

    /// The name in SQL and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
        }
    }
}
