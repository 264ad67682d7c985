use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Destination, Plan, PlanError, Verdict};
use crate::graph::{Graph, IndexWork, Input, Node, NodeId, Publication, Work};
use crate::index::{Holds, Label, Settings};
use crate::package::Package;
use crate::publish::{Effect, SuiteEffect};

/// What a plan would change in one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryEffect {
    /// Where the repository is.
    pub repository: String,
    /// What changes.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What `plan` would change in every repository that it publishes. It is told before anything
/// is built: names and versions stand in the graph.
pub fn effects(graph: &Graph, plan: &Plan) -> Result<Vec<RepositoryEffect>, PlanError> {
    let mut effects = Vec::new();
    for id in graph.outward().iter().filter(|id| plan.step(**id).is_some()) {
        let node = graph.node(*id);
        let Work::Publish(publish) = &node.work else { continue };
        let destination = Destination::new(publish);
        for (input, publication) in node.inputs.iter().zip(&publish.repositories) {
            let Input::Node { node: index, .. } = input else { continue };
            let failed = |fault| PlanError::Publish { node: node.name(), source: Box::new(fault) };
            let packages = packages(graph, *index);
            let wanted = packages.keys().cloned().collect();
            let mut effect = destination.forecast(publication, &wanted).map_err(failed)?;
            let nodes = with_aliases(packages, publication);
            let cause = |label: &Label| {
                let node = *nodes.get(label)?;
                let package = root_cause(graph, plan, package_behind(graph, node));
                package.or_else(|| root_cause(graph, plan, node))
            };
            effect.suites.iter_mut().for_each(|suite| add_causes(suite, &cause));
            let repository = destination.target().place_of(&publication.prefix);
            effects.push(RepositoryEffect { repository, effect });
        }
    }
    Ok(effects)
}

/// The packages that an index gathers, each with its node.
fn packages(graph: &Graph, index: NodeId) -> BTreeMap<Label, NodeId> {
    let node = graph.node(index);
    let Work::Index(work) = &node.work else { return BTreeMap::new() };
    let nodes: Vec<NodeId> = node.inputs.iter().filter_map(Input::node).collect();
    let labels = |suites: &mut dyn Iterator<Item = &str>| {
        let labelled =
            nodes.iter().zip(suites).filter_map(|(id, suite)| Some((label(graph, *id, suite)?, *id)));
        labelled.collect()
    };
    match &**work {
        IndexWork::Apt(apt) => labels(&mut apt.suites.iter().map(String::as_str)),
        IndexWork::Rpm(_) => labels(&mut std::iter::repeat("")),
    }
}

fn label(graph: &Graph, id: NodeId, suite: &str) -> Option<Label> {
    let Work::Package(package) = &graph.node(package_behind(graph, id)).work else { return None };
    let package = &package.package;
    Some(Label {
        suite: suite.to_owned(),
        name: package.name(),
        version: match package {
            Package::Deb(deb) => deb.version.to_string(),
            // An index tells no epoch and an epoch of 0 alike.
            Package::Rpm(rpm) => rpm.version.to_string().trim_start_matches("0:").to_owned(),
        },
        architecture: package.architecture(),
    })
}

/// The package itself, where a step stands before it that only lets it through.
fn package_behind(graph: &Graph, node: NodeId) -> NodeId {
    match graph.node(node) {
        Node { work: Work::Accept, inputs, .. } => inputs.first().and_then(Input::node).unwrap_or(node),
        _ => node,
    }
}

/// The same under the names of aliases, too.
fn with_aliases(packages: BTreeMap<Label, NodeId>, publication: &Publication) -> BTreeMap<Label, NodeId> {
    let Settings::Apt(index) = &publication.index else { return packages };
    let mut all = packages.clone();
    for suite in &index.suites {
        let Holds::AliasOf(target) = &suite.holds else { continue };
        let own = packages.iter().filter(|(label, _)| label.suite == *target);
        all.extend(own.map(|(label, id)| (Label { suite: suite.codename.clone(), ..label.clone() }, *id)));
    }
    all
}

fn add_causes(suite: &mut SuiteEffect, cause: &impl Fn(&Label) -> Option<String>) {
    let SuiteEffect { suite, architecture, added, replaced, .. } = suite;
    let label = |name: &str, version: &str| Label {
        suite: suite.clone(),
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: architecture.clone(),
    };
    added.iter_mut().for_each(|one| one.cause = cause(&label(&one.name, &one.version)));
    replaced.iter_mut().for_each(|one| one.cause = cause(&label(&one.name, &one.to)));
}

/// Why a node is run; of one that waits for others, why the first of these is. None for what is
/// known and only not published yet.
fn root_cause(graph: &Graph, plan: &Plan, id: NodeId) -> Option<String> {
    let cause = match &plan.step(id)?.verdict {
        Verdict::Hit => return None,
        Verdict::Run(cause) => cause.to_string(),
        Verdict::FailedBefore(error) => format!("failed before: {error}"),
        Verdict::Unknown(need) => return root_cause(graph, plan, *need),
    };
    Some(format!("{}: {cause}", graph.node(id).name()))
}
