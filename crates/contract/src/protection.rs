//! The protection method of a dataset.

use std::fmt;

/// The method that protects figures from a dataset. A dataset has one method for an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protection {
    /// The data are already published: no protection.
    Public,
    /// Exact figures of at least ten units, only for data that are not about people.
    Threshold,
    /// ONS cell-key perturbation, then a threshold on the perturbed count.
    CellKey,
}

impl Protection {
    /// Whether the units may be people. Such data are asked about through closed tables only.
    #[must_use]
    pub const fn may_be_about_people(self) -> bool {
        match self {
            Self::Public | Self::Threshold => false,
            Self::CellKey => true,
        }
    }

    /// Whether the data are already published, so that figures need no protection.
    #[must_use]
    pub const fn is_public(self) -> bool {
        match self {
            Self::Public => true,
            Self::Threshold | Self::CellKey => false,
        }
    }

    /// Whether NULL in a nullable measure is judged as a condition. Exact figures side by side reveal the number of NULLs.
    #[must_use]
    pub const fn judges_nulls(self) -> bool {
        match self {
            Self::Public | Self::CellKey => false,
            Self::Threshold => true,
        }
    }

    /// Whether the contract bounds the contribution of a unit to a figure.
    #[must_use]
    pub const fn bounds_contributions(self) -> bool {
        match self {
            Self::Public | Self::Threshold => false,
            Self::CellKey => true,
        }
    }

    /// Whether a total is the sum of released cells instead of a separate figure.
    #[must_use]
    pub const fn totals_from_cells(self) -> bool {
        match self {
            Self::Public | Self::CellKey => false,
            Self::Threshold => true,
        }
    }

    /// The name that contracts, manifests and statements use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Threshold => "threshold",
            Self::CellKey => "cell-key",
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
