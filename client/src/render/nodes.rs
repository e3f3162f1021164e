//! The boroughs' nodes.

use std::collections::BTreeMap;

use loda_proto::v1::{HeldDataset, NodeEntry, NodesResponse};
use serde_json::{Value, json};

use super::table::grid;
use super::wrap::wrapped;
use loda_answer::plain;

/// One line for each node, and how many can take part. What many nodes hold alike is told once.
pub fn nodes(response: &NodesResponse, width: Option<u16>) -> String {
    let mut lists: BTreeMap<String, usize> = BTreeMap::new();
    for node in response.nodes.iter().filter(|node| !node.datasets.is_empty()) {
        let times = lists.entry(datasets(node)).or_default();
        *times = times.saturating_add(1);
    }
    let common = lists.into_iter().filter(|(_, times)| *times > 1).max_by_key(|(_, times)| *times);
    let common = common.map(|(list, _)| list);
    let names = ["borough", "name", "state", "software", "datasets (as at)"].map(str::to_owned);
    let row = |node: &NodeEntry| {
        vec![
            plain::line(&node.borough),
            plain::line(&node.name),
            state(node),
            plain::line(&node.software),
            match datasets(node) {
                list if common.as_ref() == Some(&list) => format!("{} datasets", node.datasets.len()),
                list => list,
            },
        ]
    };
    let rows: Vec<_> = response.nodes.iter().map(row).collect();
    let able = response.nodes.iter().filter(|node| can_take_part(node)).count();
    let common = common.map(|list| format!("Datasets, where only their number stands: {list}\n"));
    let common = wrapped(&common.unwrap_or_default(), width);
    let ending = format!(
        "{able} of {} nodes can take part; federation {}, version {} of its list of members\n",
        response.nodes.len(),
        plain::line(&response.federation),
        response.manifest_version
    );
    format!("{}{common}{}", grid(&names, &[], &rows, width), wrapped(&ending, width))
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

fn datasets(node: &NodeEntry) -> String {
    let dataset = |held: &HeldDataset| match held.as_at.as_str() {
        "" => plain::line(&held.name),
        day => format!("{} ({})", plain::line(&held.name), plain::line(day)),
    };
    node.datasets.iter().map(dataset).collect::<Vec<_>>().join(", ")
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
        let response = NodesResponse { nodes: vec![ready, faulty.clone(), NodeEntry::default()], ..Default::default() };
        let text = nodes(&response, None);
        for expected in ["ready", "another contract of stop_search", "not reached", "1 of 3 nodes can take part"] {
            assert!(text.contains(expected), "{text}");
        }
        // What many hold alike is told once.
        let held = |name: &str| HeldDataset { name: name.into(), as_at: "2025-12-31".into(), ..Default::default() };
        let both = NodeEntry { datasets: vec![held("repairs"), held("residents")], ..Default::default() };
        let one = NodeEntry { datasets: vec![held("wards")], ..Default::default() };
        let response = NodesResponse { nodes: vec![both.clone(), both, one], ..response };
        let text = nodes(&response, None);
        assert_eq!((text.matches("residents").count(), text.matches("2 datasets").count()), (1, 2), "{text}");
        assert!(text.contains("wards (2025-12-31)"), "{text}");
        let response = NodesResponse { nodes: vec![NodeEntry::default(), faulty], ..response };
        assert_eq!(nodes_json(&response)["nodes"][1]["reachable"], true);
    }
}
