use super::{LocalTrees, Place, Step, Verdict};
use crate::graph::{Graph, Input, NodeId};
use crate::store::{Baseline, KnownNode, KnownResult, ResultIndex};

/// Which nodes stand as they did: they take the same files as for an earlier answer, and the same from other nodes. Since the graph
/// is the same, so are their keys.
pub(super) struct Standing {
    /// What was known of each node; none where something else may be so now.
    nodes: Vec<Option<KnownNode>>,
}

impl Standing {
    /// Those whose files did not change. None stands without a baseline.
    pub fn new(baseline: Option<&Baseline>, graph: &Graph, files: &LocalTrees<'_>) -> Self {
        // It is of this graph, or of no use.
        let Some(baseline) = baseline.filter(|baseline| baseline.len() == graph.len()) else {
            return Self { nodes: vec![None; graph.len()] };
        };
        let mut changed = files.concerned(&baseline.changed);
        let mut stands = |id: NodeId| {
            let mut files = graph.node(id).inputs.iter().filter_map(Input::files);
            !files.any(|files| changed.concerns(files))
        };
        let nodes = graph.ids().zip(baseline.nodes()).map(|(id, known)| known.filter(|_| stands(id)));
        Self { nodes: nodes.collect() }
    }

    /// Whether a node stands, as far as is known yet.
    pub fn holds(&self, node: NodeId) -> bool {
        self.nodes[node.index()].is_some()
    }

    /// What is known of a node that stands and whose result is still what it was.
    pub fn step(&self, node: NodeId, results: &ResultIndex<'_>) -> Option<(Step, KnownResult)> {
        let known = self.nodes[node.index()]?;
        let result = results.get(known.key).filter(|result| known.gives(&result.outputs))?;
        let (outputs, place) = (Some(result.outputs.clone()), Some(Place::Local));
        let step =
            Step { node, key: Some(known.key), outline: known.key, verdict: Verdict::Hit, outputs, place };
        Some((step, result))
    }

    /// A node that was found to be something else, or was looked at anew: what its users are depends on it.
    pub fn fall(&mut self, node: NodeId, graph: &Graph) {
        self.nodes[node.index()] = None;
        graph.users(node).for_each(|user| self.nodes[user.index()] = None);
    }
}
