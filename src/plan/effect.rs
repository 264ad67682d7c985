use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Destination, Plan, PlanError};
use crate::graph::{Graph, Input, Node, NodeId, Work};

/// What a plan would change in one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEffect {
    /// Where the repository is.
    pub repository: String,
    /// Packages that come in, as `suite: name version (architecture)`.
    pub added: Vec<String>,
    /// Packages that go.
    pub dropped: Vec<String>,
    /// Packages that stay, in number.
    pub kept: usize,
}

/// What `plan` would change in every repository that it publishes. It is told before anything
/// is built: names and versions stand in the graph.
pub fn effects(graph: &Graph, plan: &Plan) -> Result<Vec<RepositoryEffect>, PlanError> {
    let mut effects = Vec::new();
    for step in &plan.steps {
        let node = graph.node(step.node);
        let Work::Publish(publish) = &node.work else { continue };
        for (input, prefix) in node.inputs.iter().zip(&publish.prefixes) {
            let Input::Node { node: index, .. } = input else { continue };
            let failed = |fault| PlanError::Publish { node: node.name.clone(), source: Box::new(fault) };
            let now = Destination::new(publish).packages(prefix).map_err(failed)?;
            let wanted = wanted_packages(graph, *index);
            effects.push(RepositoryEffect {
                repository: publish.to.join(prefix).display().to_string(),
                added: wanted.difference(&now).cloned().collect(),
                dropped: now.difference(&wanted).cloned().collect(),
                kept: now.intersection(&wanted).count(),
            });
        }
    }
    Ok(effects)
}

fn wanted_packages(graph: &Graph, index: NodeId) -> BTreeSet<String> {
    let node = graph.node(index);
    let Work::Index(work) = &node.work else { return BTreeSet::new() };
    let packages = node.inputs.iter().zip(&work.suites).filter_map(|(input, suite)| match input {
        Input::Node { node, .. } => match &graph.node(package_behind(graph, *node)).work {
            Work::Package(package) => {
                let deb = &package.deb;
                Some(format!("{suite}: {} {} ({})", deb.name, deb.version, deb.architecture))
            }
            _ => None,
        },
        Input::Files(_) => None,
    });
    packages.collect()
}

/// The package itself, where a step stands before it that only lets it through.
fn package_behind(graph: &Graph, node: NodeId) -> NodeId {
    match graph.node(node) {
        Node { work: Work::Accept, inputs, .. } => inputs.first().and_then(Input::node).unwrap_or(node),
        _ => node,
    }
}
