//! Statements that a client has prepared or is about to fetch. Each is found by its asker alone, by a random handle,
//! for a while.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use loda_identity::PeerId;
use uuid::Uuid;

use super::parameters::Template;
use crate::plan::split::Prepared;

/// How long a statement is kept.
const KEPT: Duration = Duration::from_secs(600);

/// The most statements of one asker. The oldest goes first.
const MOST: usize = 64;

/// A statement, and how it is answered.
pub(super) struct Statement {
    pub(super) owner: PeerId,
    pub(super) sql: String,
    pub(super) purpose: String,
    pub(super) schema: SchemaRef,
    pub(super) kind: StatementKind,
    /// The query, once the statement runs. A repeated fetch gets the same answer for as long as it is kept, and nothing
    /// runs twice.
    pub(super) query: OnceLock<Uuid>,
    made: Instant,
}

#[derive(Clone)]
pub(super) enum StatementKind {
    /// The coordinator answers it.
    Local,
    /// Boroughs answer it.
    Federated(Arc<Prepared>),
    /// It needs these parameters first.
    Open(Template, SchemaRef),
}

impl Statement {
    pub(super) fn new(owner: PeerId, sql: String, purpose: String, schema: SchemaRef, kind: StatementKind) -> Self {
        Self { owner, sql, purpose, schema, kind, query: OnceLock::new(), made: Instant::now() }
    }
}

#[derive(Default)]
pub(super) struct Statements(Mutex<HashMap<Uuid, Arc<Statement>>>);

impl Statements {
    pub(super) fn add(&self, statement: Statement) -> (Uuid, Arc<Statement>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, other| other.made.elapsed() < KEPT);
        let own = all.iter().filter(|(_, other)| other.owner == statement.owner);
        let own: Vec<(Instant, Uuid)> = own.map(|(id, other)| (other.made, *id)).collect();
        if own.len() >= MOST
            && let Some((_, oldest)) = own.into_iter().min()
        {
            all.remove(&oldest);
        }
        let (id, statement) = (Uuid::new_v4(), Arc::new(statement));
        all.insert(id, Arc::clone(&statement));
        (id, statement)
    }

    /// A statement of this owner. Statements of other owners are not found.
    pub(super) fn get(&self, handle: &[u8], owner: &PeerId) -> Option<Arc<Statement>> {
        let id = Uuid::from_slice(handle).ok()?;
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).filter(|statement| statement.owner == *owner && statement.made.elapsed() < KEPT).cloned()
    }

    pub(super) fn close(&self, handle: &[u8], owner: &PeerId) {
        if let Ok(id) = Uuid::from_slice(handle) {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.get(&id).is_some_and(|statement| statement.owner == *owner) {
                all.remove(&id);
            }
        }
    }
}
