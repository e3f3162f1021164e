//! Plans over contracts alone: the fragments that boroughs would get, without any borough. For fuzzing, tests and
//! tools.

use std::sync::Arc;

use loda_contract::Contract;
use loda_identity::Gss;
use loda_question::Refusal;

use crate::catalogue::Catalogue;
use crate::config::Limits;
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
        let catalogue = Arc::new(Catalogue::of(contracts));
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
