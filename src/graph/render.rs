use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Graph, NodeId};
use crate::matrix::{Cell, Coordinate};

/// The nodes in the form of Graphviz.
pub fn to_dot(graph: &Graph, nodes: &[NodeId]) -> String {
    let mut text = String::from("digraph forge {\n  rankdir=LR;\n  node [shape=box];\n");
    for &id in nodes {
        let name = graph.node(id).name();
        writeln!(text, "  \"{name}\";").expect("a String takes every write");
        for need in graph.needs(id) {
            writeln!(text, "  \"{}\" -> \"{name}\";", graph.node(need).name())
                .expect("a String takes every write");
        }
    }
    text.push_str("}\n");
    text
}

/// The nodes as JSON: `{"version": 1, "nodes": [{"name", "target", "kind", "cell", "attributes",
/// "needs"}]}`. A cell is `{axis: value}`, its attributes are `{axis.attribute: value}`.
pub fn to_json(graph: &Graph, nodes: &[NodeId]) -> Value {
    let nodes: Vec<Value> = nodes.iter().map(|id| node_json(graph, *id)).collect();
    json!({ "version": 1, "nodes": nodes })
}

fn node_json(graph: &Graph, id: NodeId) -> Value {
    let node = graph.node(id);
    let cell: Map<String, Value> = node
        .cell
        .coordinates()
        .map(|coordinate| (coordinate.dimension.text(), Value::from(&*coordinate.value)))
        .collect();
    let needs: Vec<String> = graph.needs(id).map(|need| graph.node(need).name()).collect();
    json!({
        "name": node.name(),
        "target": &*node.declared.target,
        "kind": node.declared.keyword,
        "cell": cell,
        "attributes": attributes(&node.cell),
        "needs": needs,
    })
}

/// What is known of the values on whole axes.
fn attributes(cell: &Cell) -> Map<String, Value> {
    let of = |coordinate: &Coordinate| {
        let axis = coordinate.dimension.axis.clone();
        let known = coordinate.attributes.clone().unwrap_or_default();
        let told =
            |(name, value): (&String, &String)| (format!("{axis}.{name}"), Value::from(value.as_str()));
        known.iter().map(told).collect::<Vec<_>>()
    };
    cell.coordinates().flat_map(of).collect()
}
