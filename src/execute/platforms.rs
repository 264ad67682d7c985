use std::collections::BTreeMap;

use crate::buildfile::Diagnostic;
use crate::graph::{Graph, Node, NodeId, Root, Work};
use crate::plan::Plan;
use crate::runner;
use crate::store::{LocalStore, StoreError};

/// The platform of the programs of a node that run on this machine and are not for it.
/// `is_elsewhere` tells whether commands for a platform run on another.
pub fn foreign_platform(node: &Node, is_elsewhere: impl Fn(&str) -> bool) -> Option<String> {
    let may_be_elsewhere = match &node.work {
        // forge makes these itself, by their packages' own scripts.
        Work::Bootstrap(_) => false,
        Work::Script(script) => matches!(script.root, Root::Input(_)),
        Work::Dockerfile(_) => true,
        // No program of these runs.
        _ => return None,
    };
    let platform = node.work.platform().filter(|platform| runner::is_foreign(platform))?;
    (!may_be_elsewhere || !is_elsewhere(&platform)).then_some(platform)
}

/// What of a plan cannot run here, since this machine runs no program of its platform: a fault
/// for each platform. Found out before the first node is run, as the node that needs it may come
/// after hours.
pub fn unrunnable(
    graph: &Graph,
    plan: &Plan,
    store: &LocalStore,
    is_elsewhere: impl Fn(&str) -> bool,
) -> Result<Vec<Diagnostic>, StoreError> {
    let mut by_platform: BTreeMap<String, Vec<NodeId>> = BTreeMap::new();
    for id in &plan.to_do {
        let node = graph.node(*id);
        let needed = foreign_platform(node, &is_elsewhere).into_iter().chain(platforms_of_guests(node));
        for platform in needed {
            by_platform.entry(platform).or_default().push(*id);
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

/// The platforms of packages that an image holds beside its own. Some of these run programs of
/// theirs when they are installed, and make do without where none can be run: what comes of it
/// must not depend on the machine.
fn platforms_of_guests(node: &Node) -> Vec<String> {
    let Work::Bootstrap(image) = &node.work else { return Vec::new() };
    let platforms = image.wanted.foreign.iter().map(|arch| format!("linux/{arch}"));
    platforms.filter(|platform| runner::is_foreign(platform)).collect()
}

fn fault(nodes: &[&Node], missing: &runner::NoEmulation) -> Diagnostic {
    let first = nodes[0];
    let message = match nodes.len() - 1 {
        0 => format!("{} cannot run here: {missing}", first.name()),
        more => format!("{} and {more} more cannot run here: {missing}", first.name()),
    };
    let help =
        format!("{}; or name an engine of that platform (--engine), or deselect what needs it", missing.fix);
    Diagnostic::error(&first.declared.span, message, "declared here").help(help)
}
