use std::collections::BTreeMap;

use crate::buildfile::Diagnostic;
use crate::graph::{Graph, Node, NodeId};
use crate::plan::{Plan, Verdict};
use crate::runner;
use crate::store::{LocalStore, StoreError};

/// What of a plan cannot run here, since this machine runs no program of its platform: a fault
/// for each platform. Found out before the first node is run, as the node that needs it may come
/// after hours.
pub fn unrunnable(graph: &Graph, plan: &Plan, store: &LocalStore) -> Result<Vec<Diagnostic>, StoreError> {
    let mut by_platform: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.verdict != Verdict::Hit) {
        let platform = graph.node(step.node).work.platform();
        if let Some(platform) = platform.filter(|platform| runner::is_foreign(platform)) {
            by_platform.entry(platform).or_default().push(step.node);
        }
    }
    let mut faults = Vec::new();
    for (platform, nodes) in by_platform {
        if let Err(missing) = runner::try_emulation(&platform, store)? {
            faults.push(fault(&nodes.iter().map(|id| graph.node(*id)).collect::<Vec<_>>(), &missing));
        }
    }
    Ok(faults)
}

fn fault(nodes: &[&Node], missing: &runner::NoEmulation) -> Diagnostic {
    let first = nodes[0];
    let message = match nodes.len() - 1 {
        0 => format!("{} cannot run here: {missing}", first.name),
        more => format!("{} and {more} more cannot run here: {missing}", first.name),
    };
    let help = format!("{}; or deselect what needs it", missing.fix);
    Diagnostic::error(&first.span, message, "declared here").help(help)
}
