//! The tables that can be asked, and the boroughs' nodes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{NotLetIn, Problem};
use super::tagged::tagged;
use crate::doors::service::DoorService;
use crate::doors::sign_in::asker::{Asker, Scope};

/// All tables.
#[derive(Serialize, ToSchema)]
pub(crate) struct Catalogue {
    tables: Vec<Table>,
}

/// A table that can be asked.
#[derive(Serialize, ToSchema)]
pub(crate) struct Table {
    name: String,
    title: String,
    /// `public`, `threshold`, `cell-key`, …; `reference` for a table that belongs to the coordinator.
    protection: String,
    /// The units that it counts.
    units: Vec<String>,
    columns: Vec<Column>,
}

/// A column, and how it can be used.
#[derive(Serialize, ToSchema)]
pub(crate) struct Column {
    name: String,
    r#type: String,
    role: String,
    values: String,
    nullable: bool,
    description: String,
}

/// List the tables. The list comes from the contracts: no borough is asked.
#[utoipa::path(get, path = "/v1/catalogue", operation_id = "catalogue", tag = "catalogue",
    security(("bearer" = [])), responses(
    (status = 200, body = Catalogue, description = "The tables, their columns and what protects them"),
    (status = 304, description = "As you have it"),
    NotLetIn,
))]
pub(crate) async fn catalogue(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asker.may(Scope::Read)?;
    let tables = service.catalogue().wire(&|_| Vec::new()).tables.into_iter().map(|table| Table {
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
    /// The reason why it cannot take part; empty if it can.
    fault: String,
    datasets: Vec<Held>,
}

/// A dataset that a node serves.
#[derive(Serialize, ToSchema)]
pub(crate) struct Held {
    name: String,
    /// The number of the snapshot, a counter.
    snapshot: u64,
    /// The day that the data describe.
    as_at: String,
    method: String,
    parameters: String,
    /// For data about people: the largest sum of the weights of a table at this borough.
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
    /// For data about people: "assessed 27 November 2026, d = 2", or "not assessed".
    #[serde(skip_serializing_if = "String::is_empty")]
    assessed: String,
}

/// List the boroughs' nodes. All nodes are asked now.
#[utoipa::path(get, path = "/v1/nodes", operation_id = "nodes", tag = "catalogue",
    security(("bearer" = [])), responses(
    (status = 200, body = Nodes, description = "The boroughs, and whether they answer now"),
    (status = 304, description = "As you have it"),
    NotLetIn,
))]
pub(crate) async fn nodes(
    State(service): State<Arc<DoorService>>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    asker.may(Scope::Read)?;
    let manifest = service.manifest();
    let nodes = service.nodes(&asker).await?.into_iter().map(|node| Node {
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

/// The purposes that you may state.
#[derive(Serialize, ToSchema)]
pub(crate) struct Purposes {
    purposes: Vec<Purpose>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Purpose {
    /// As a question states it.
    purpose: String,
    datasets: Vec<PurposeDataset>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct PurposeDataset {
    dataset: String,
    /// GSS codes of the boroughs that have agreed.
    boroughs: Vec<String>,
    /// The day on which the first of their agreements ends.
    until: String,
}

/// List the purposes that boroughs have agreed to for you.
#[utoipa::path(get, path = "/v1/purposes", operation_id = "purposes", tag = "catalogue",
    security(("bearer" = [])), responses(
    (status = 200, body = Purposes, description = "Each purpose, with its datasets and boroughs"),
    NotLetIn,
))]
pub(crate) async fn purposes(State(service): State<Arc<DoorService>>, asker: Asker) -> Result<Json<Purposes>, Problem> {
    asker.may(Scope::Read)?;
    let dataset = |of: loda_proto::v1::PurposeDataset| PurposeDataset {
        dataset: of.dataset,
        boroughs: of.boroughs,
        until: of.until,
    };
    let purpose = |of: loda_proto::v1::Purpose| Purpose {
        purpose: of.purpose,
        datasets: of.datasets.into_iter().map(dataset).collect(),
    };
    Ok(Json(Purposes { purposes: service.purposes(&asker).into_iter().map(purpose).collect() }))
}
