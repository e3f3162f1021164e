//! What can be asked, and of whom.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use super::{NotLetIn, tagged};
use crate::doors::Doors;
use crate::doors::sign_in::{Asker, Scope};

/// Every table.
#[derive(Serialize, ToSchema)]
pub(crate) struct Catalogue {
    tables: Vec<Table>,
}

/// A table that can be asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Table {
    name: String,
    title: String,
    /// `public`, `threshold`, `cell-key`; `reference` for a table of the coordinator's own.
    protection: String,
    /// Whom or what it counts.
    units: Vec<String>,
    columns: Vec<Column>,
}

/// A column, and what may be asked of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Column {
    name: String,
    r#type: String,
    role: String,
    values: String,
    nullable: bool,
    description: String,
}

/// Which tables there are. By contract alone: no borough is asked.
#[utoipa::path(get, path = "/v1/catalogue", security(("bearer" = [])), responses(
    (status = 200, body = Catalogue),
    (status = 304, description = "As you have it"),
    NotLetIn,
))]
pub(crate) async fn catalogue(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asker.may(Scope::Read)?;
    let tables = doors.questions.catalogue.wire(&|_| Vec::new()).tables.into_iter().map(|table| Table {
        name: table.name,
        title: table.title,
        protection: table.protection,
        units: table.units,
        columns: table.columns.into_iter().map(column).collect(),
    });
    tagged(&headers, &Catalogue { tables: tables.collect() })
}

fn column(column: loda_proto::v1::TableColumn) -> Column {
    Column {
        name: column.name,
        r#type: column.r#type,
        role: column.role,
        values: column.values,
        nullable: column.nullable,
        description: column.description,
    }
}

/// The boroughs' nodes.
#[derive(Serialize, ToSchema)]
pub(crate) struct Nodes {
    federation: String,
    manifest_version: u64,
    nodes: Vec<Node>,
}

/// A borough's node, as the coordinator sees it now.
#[derive(Serialize, ToSchema)]
pub(crate) struct Node {
    /// GSS code.
    borough: String,
    name: String,
    reachable: bool,
    software: String,
    /// Why it cannot take part; empty if it can.
    fault: String,
    datasets: Vec<Held>,
}

/// What a node serves of one dataset.
#[derive(Serialize, ToSchema)]
pub(crate) struct Held {
    name: String,
    /// A counter.
    snapshot: u64,
    /// The day that the data describe.
    as_at: String,
    method: String,
    parameters: String,
    /// About people: what the weights of a table may come to at this borough.
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    /// About people: "assessed 27 November 2026, d = 2", or "not assessed".
    #[serde(skip_serializing_if = "String::is_empty")]
    assessed: String,
}

/// Who takes part now. Every node is asked.
#[utoipa::path(get, path = "/v1/nodes", security(("bearer" = [])), responses(
    (status = 200, body = Nodes),
    (status = 304, description = "As you have it"),
    NotLetIn,
))]
pub(crate) async fn nodes(
    State(doors): State<Arc<Doors>>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asker.may(Scope::Read)?;
    let _turn = doors.turn(&asker).await?;
    let manifest = doors.questions.manifest();
    let nodes = doors.questions.describe_all().await.into_iter().map(|node| Node {
        borough: node.borough,
        name: node.name,
        reachable: node.reachable,
        software: node.software,
        fault: node.fault,
        datasets: node.datasets.into_iter().map(held).collect(),
    });
    let (federation, manifest_version) = (manifest.federation.clone(), manifest.version);
    tagged(&headers, &Nodes { federation, manifest_version, nodes: nodes.collect() })
}

fn held(held: loda_proto::v1::HeldDataset) -> Held {
    Held {
        name: held.name,
        snapshot: held.snapshot,
        as_at: held.as_at,
        method: held.method,
        parameters: held.parameters,
        dimensions: (held.dimensions > 0).then_some(held.dimensions),
        assessed: held.assessed,
    }
}
