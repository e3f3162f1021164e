//! The boroughs' nodes.

use loda_proto::v1::{HeldDataset, NodeEntry, NodesResponse};
use serde_json::{Value, json};

use super::table::grid;
use loda_answer::plain;

/// One line for each node, and how many can take part.
pub fn nodes(response: &NodesResponse, width: Option<u16>) -> String {
    let names = ["borough", "name", "state", "software", "datasets (as at)"].map(str::to_owned);
    let row = |node: &NodeEntry| {
        vec![
            plain::line(&node.borough),
            plain::line(&node.name),
            state(node),
            plain::line(&node.software),
            node.datasets.iter().map(dataset).collect::<Vec<_>>().join(", "),
        ]
    };
    let rows: Vec<_> = response.nodes.iter().map(row).collect();
    let able = response.nodes.iter().filter(|node| can_take_part(node)).count();
    format!(
        "{}{} of {} nodes can take part; federation {}, manifest version {}\n",
        grid(&names, &[], &rows, width),
        able,
        response.nodes.len(),
        plain::line(&response.federation),
        response.manifest_version
    )
}

/// The nodes with the field names of the wire contract.
pub fn nodes_json(response: &NodesResponse) -> Value {
    let dataset = |held: &HeldDataset| {
        json!({
            "name": held.name,
            "contract_sha256": held.contract_sha256,
            "snapshot": held.snapshot,
            "as_at": held.as_at,
            "method": held.method,
            "parameters": held.parameters,
            "dimensions": held.dimensions,
            "assessed": held.assessed,
        })
    };
    let node = |node: &NodeEntry| {
        json!({
            "borough": node.borough,
            "name": node.name,
            "reachable": node.reachable,
            "software": node.software,
            "fault": node.fault,
            "datasets": node.datasets.iter().map(dataset).collect::<Vec<_>>(),
        })
    };
    json!({
        "federation": response.federation,
        "manifest_version": response.manifest_version,
        "nodes": response.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

fn can_take_part(node: &NodeEntry) -> bool {
    node.reachable && node.fault.is_empty()
}

fn state(node: &NodeEntry) -> String {
    match (node.reachable, node.fault.as_str()) {
        (true, "") => "ready".into(),
        (false, "") => "not reached".into(),
        (_, fault) => plain::line(fault),
    }
}

fn dataset(held: &HeldDataset) -> String {
    let dimensions = (held.dimensions > 0).then(|| format!("d = {}", held.dimensions));
    let day = (!held.as_at.is_empty()).then(|| plain::line(&held.as_at));
    let assessed = (!held.assessed.is_empty()).then(|| plain::line(&held.assessed));
    let said: Vec<String> = day.into_iter().chain(dimensions).chain(assessed).collect();
    let name = plain::line(&held.name);
    if said.is_empty() { name } else { format!("{name} ({})", said.join(", ")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_node_that_cannot_take_part_says_why() {
        let ready = NodeEntry { borough: "E09000007".into(), reachable: true, ..Default::default() };
        let faulty =
            NodeEntry { reachable: true, fault: "another contract of stop_search".into(), ..Default::default() };
        let response = NodesResponse { nodes: vec![ready, faulty, NodeEntry::default()], ..Default::default() };
        let text = nodes(&response, None);
        for expected in ["ready", "another contract of stop_search", "not reached", "1 of 3 nodes can take part"] {
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(nodes_json(&response)["nodes"][1]["reachable"], true);
    }
}
