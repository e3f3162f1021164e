//! Plans over contracts alone: the fragments that boroughs would get, without any borough. For fuzzing, tests and
//! tools.

use std::sync::Arc;

use loda_contract::Contract;
use loda_identity::Gss;
use loda_question::Refusal;

use crate::catalogue::Catalogue;
use crate::config::{Limits, Reference};
use crate::plan::planner::Planner;
use crate::plan::split::{Split, bundles};

/// A coordinator's planner without a federation.
pub struct Dry {
    catalogue: Arc<Catalogue>,
    planner: Planner,
    boroughs: Vec<Gss>,
}

impl Dry {
    /// # Errors
    /// If a table cannot be registered.
    pub fn new(contracts: Vec<Contract>, boroughs: Vec<Gss>) -> anyhow::Result<Self> {
        Self::over(Catalogue::of(contracts), boroughs)
    }

    /// A planner that also knows reference tables, each by its name and the text of its CSV file.
    ///
    /// # Errors
    /// An unreadable table, or one that cannot be registered.
    pub fn with_references(
        contracts: Vec<Contract>,
        boroughs: Vec<Gss>,
        references: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut catalogue = Catalogue::of(contracts);
        for (name, text) in references {
            let reference = Reference { name: (*name).to_owned(), title: String::new(), path: name.into() };
            catalogue.add_reference(&reference, text)?;
        }
        Self::over(catalogue, boroughs)
    }

    fn over(catalogue: Catalogue, boroughs: Vec<Gss>) -> anyhow::Result<Self> {
        let catalogue = Arc::new(catalogue);
        let planner = Planner::new(&catalogue, &Limits::default())?;
        Ok(Self { catalogue, planner, boroughs })
    }

    /// The canonical fragments that boroughs would get: tables for data about people, questions for the rest.
    ///
    /// # Errors
    /// The rule that refuses the SQL.
    pub async fn fragments(&self, sql: &str) -> Result<Vec<Vec<u8>>, Refusal> {
        let split = Split::new(Arc::clone(&self.catalogue), self.boroughs.clone());
        let split = self.planner.plan(sql, split).await?;
        Ok(bundles(&split).iter().map(|bundle| bundle.fragment.encode()).collect())
    }
}
