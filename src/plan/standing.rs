use rayon::prelude::*;

use super::verdict::Beside;
use super::{LocalTrees, Place, Step, Verdict};
use crate::graph::{Graph, Input, NodeId};
use crate::store::{Baseline, KnownNode, ResultIndex};

/// Which nodes stand as they did: they take the same files as for an earlier answer, and the same from other nodes. Since the graph
/// is the same, so are their keys.
pub(super) struct Standing<'a> {
    baseline: Option<&'a Baseline>,
    /// What was known of each node; none where something else may be so now. Empty without a baseline.
    nodes: Vec<Option<KnownNode<'a>>>,
}

impl<'a> Standing<'a> {
    /// Those whose files did not change. None stands without a baseline.
    pub fn new(baseline: Option<&'a Baseline>, graph: &Graph, files: &LocalTrees<'_>) -> Self {
        // It is of this graph, or of no use.
        let Some(baseline) = baseline.filter(|baseline| baseline.len() == graph.len()) else {
            return Self { baseline: None, nodes: Vec::new() };
        };
        let mut nodes: Vec<_> = baseline.nodes().collect();
        if !baseline.changed.is_empty() {
            let files_of = |id| graph.node(id).inputs.iter().filter_map(Input::files);
            let changed = files.changed(&baseline.changed, graph.ids().flat_map(files_of));
            let falls = |at: usize| files_of(NodeId::new(at)).any(|files| changed.concerns(files));
            let fallen = nodes.par_iter_mut().enumerate().filter(|(at, node)| node.is_some() && falls(*at));
            fallen.for_each(|(_, node)| *node = None);
        }
        Self { baseline: Some(baseline), nodes }
    }

    /// Whether a node stands, as far as is known yet.
    pub fn holds(&self, node: NodeId) -> bool {
        self.nodes.get(node.index()).is_some_and(Option::is_some)
    }

    /// The step of a node that stands and whose result is still what it was.
    pub fn step(&self, node: NodeId, results: &ResultIndex) -> Option<Step> {
        let known = (*self.nodes.get(node.index())?)?;
        let result = match self.baseline?.doubts(known.key) {
            true => Some(results.get(known.key).filter(|result| known.gave(&result.outputs))?),
            false => None,
        };
        let (outputs, place) = (Some(known.outputs()), Some(Place::Local));
        let beside = Beside { stands: true, ..Beside::of(result.as_ref()) };
        Some(Step { node, outline: known.key, verdict: Verdict::Hit, outputs, place, beside })
    }

    /// What was found of nodes: those that are something else, or were looked at anew, do not stand, nor do their users.
    pub fn note(&mut self, found: &[Step], graph: &Graph) {
        if self.baseline.is_none() {
            return;
        }
        for step in found.iter().filter(|step| !step.beside.stands) {
            self.nodes[step.node.index()] = None;
            graph.users(step.node).for_each(|user| self.nodes[user.index()] = None);
        }
    }
}
