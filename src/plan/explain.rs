use serde::Serialize;

use super::{Cause, Link, LocalTrees, Plan, PlanError, Step, Verdict, input_digests};
use crate::digest::{Change, Digest, Field, changes, fields_of};
use crate::graph::{Action, Graph, Input, Node, NodeId};
use crate::store::{ActionResult, LocalStore};

/// How far back the way to the first change is followed.
const LONGEST_CHAIN: usize = 16;

/// Everything that `forge why` tells of a node.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The node.
    pub node: String,
    /// Its key, once all inputs are known.
    pub key: Option<Digest>,
    /// One word.
    pub verdict: String,
    /// Why it is run, in a line.
    pub cause: Option<String>,
    /// The action as it is hashed, if all inputs are known.
    pub action: Vec<Field>,
    /// The nearest earlier result, if the action's own is not known.
    pub earlier: Option<Digest>,
    /// What differs from it.
    pub changes: Vec<Change>,
    /// From the changed input back to what changed first.
    pub chain: Vec<Link>,
    /// From what it waits for on to what is run first, where inputs are to come.
    pub waits: Vec<Wait>,
    /// What it needs.
    pub needs: Vec<String>,
}

/// A node that another one waits for, and why it is run.
#[derive(Debug, Serialize)]
pub struct Wait {
    /// The node.
    pub node: String,
    /// Why it is run, in a line.
    pub cause: String,
}

/// Explains one node of a plan.
pub fn explain(
    graph: &Graph,
    plan: &Plan,
    store: &LocalStore,
    files: &LocalTrees<'_>,
    id: NodeId,
) -> Result<Explanation, PlanError> {
    let node = graph.node(id);
    let step = plan.step(id);
    let verdict = step.map_or(&Verdict::Hit, |step| &step.verdict);
    let mut explanation = Explanation {
        node: node.name(),
        key: step.and_then(Step::key),
        verdict: verdict.word().to_owned(),
        cause: cause_text(graph, verdict),
        action: Vec::new(),
        earlier: None,
        changes: Vec::new(),
        chain: Vec::new(),
        waits: waits(graph, plan, id),
        needs: graph.needs(id).map(|need| graph.node(need).name()).collect(),
    };
    if explanation.key.is_some() {
        let outputs = |need| plan.step(need).and_then(|step| step.outputs.as_ref());
        let inputs = input_digests(graph.node(id), files, outputs)?;
        explanation.action = fields_of(&Action::new(node, &inputs));
        if !verdict.is_hit()
            && let Some((key, earlier)) = nearest_earlier(store, &node.name(), &explanation.action)
        {
            explanation.earlier = Some(key);
            explanation.changes = difference(store, files, node, &earlier.action, &explanation.action);
            explanation.chain = chain(graph, plan, store, id, &explanation.changes);
        }
    }
    Ok(explanation)
}

/// Each node waits for the first of its inputs that is to come.
fn waits(graph: &Graph, plan: &Plan, id: NodeId) -> Vec<Wait> {
    let mut waits = Vec::new();
    let mut id = id;
    while let Some(Verdict::Unknown(need)) = plan.step(id).map(|step| &step.verdict) {
        let Some(step) = plan.step(*need) else { break };
        let cause = cause_text(graph, &step.verdict).unwrap_or_default();
        waits.push(Wait { node: graph.node(*need).name(), cause });
        id = *need;
    }
    waits
}

/// What follows from each version that is new in this plan: the targets of the nodes that are run because
/// of it, in the order of the build.
pub fn consequences<'g>(graph: &'g Graph, plan: &Plan) -> Vec<(String, Vec<&'g str>)> {
    let mut all: Vec<(String, Vec<NodeId>)> = Vec::new();
    let is_to_do = |id: &NodeId| plan.step(*id).is_some_and(|step| !step.verdict.is_hit());
    for step in &plan.steps {
        let Verdict::Run(cause @ Cause::Version(_)) = &step.verdict else { continue };
        let cause = cause.to_string();
        match all.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, roots)) => roots.push(step.node),
            None => all.push((cause, vec![step.node])),
        }
    }
    all.into_iter()
        .map(|(cause, roots)| {
            let reached = graph.reached(&roots, is_to_do);
            let mut targets: Vec<&str> = Vec::new();
            for id in reached {
                let target = &*graph.node(id).declared.target;
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
            (cause, targets)
        })
        .collect()
}

fn cause_text(graph: &Graph, verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Hit => None,
        Verdict::Run(cause) => Some(cause.to_string()),
        Verdict::Unknown(need) => Some(format!("waits for {}", graph.node(*need).name())),
        Verdict::FailedBefore(error) => Some(error.clone()),
    }
}

/// The remembered result of a node that differs from `fields` in the fewest places; of equals
/// the latest.
pub fn nearest_earlier(store: &LocalStore, node: &str, fields: &[Field]) -> Option<(Digest, ActionResult)> {
    let results = store.earlier(node).map(|earlier| (earlier.key, earlier.result));
    results.min_by_key(|(_, result)| changes(&result.action, fields).len())
}

/// What differs between two actions, the later one of `node`; of two trees also in which paths.
pub fn difference(
    store: &LocalStore,
    files: &LocalTrees<'_>,
    node: &Node,
    before: &[Field],
    after: &[Field],
) -> Vec<Change> {
    // Local files are not in the store yet.
    let local = |digest: Digest| {
        let mut trees = node.inputs.iter().filter_map(|input| files.get(input.files()?).ok());
        Some(trees.find(|local| local.digest == digest)?.tree())
    };
    let tree = |value: &Option<String>| {
        let digest = value.as_deref()?.parse().ok()?;
        local(digest).or_else(|| store.tree(digest).ok())
    };
    let mut changes = changes(before, after);
    for change in &mut changes {
        if let (Some(before), Some(after)) = (tree(&change.before), tree(&change.after)) {
            change.paths = before.differing_paths(&after);
        }
    }
    changes
}

/// Follows a changed input to the node that gave it, and on to what changed first.
pub fn chain(graph: &Graph, plan: &Plan, store: &LocalStore, id: NodeId, first: &[Change]) -> Vec<Link> {
    let mut links = Vec::new();
    let (mut id, mut found) = (id, first.to_vec());
    while links.len() < LONGEST_CHAIN {
        let Some((source, change)) =
            found.iter().find_map(|change| Some((giver(graph, plan, id, change.after.as_deref()?)?, change)))
        else {
            break;
        };
        let Some(next) = changes_behind(graph, plan, store, source, change) else { break };
        let Some(change) = next.first().cloned() else { break };
        links.push(Link { node: graph.node(source).name(), change });
        (id, found) = (source, next);
    }
    links
}

/// The input node that gave the tree `digest`.
fn giver(graph: &Graph, plan: &Plan, id: NodeId, digest: &str) -> Option<NodeId> {
    graph.node(id).inputs.iter().find_map(|input| match input {
        Input::Node { node, output } => {
            let given = plan.step(*node)?.outputs.as_ref()?.get(output)?;
            (given.to_string() == digest).then_some(*node)
        }
        Input::Files(_) => None,
    })
}

/// What differed between the action that gave the earlier tree and the one that gave the later.
fn changes_behind(
    graph: &Graph,
    plan: &Plan,
    store: &LocalStore,
    source: NodeId,
    change: &Change,
) -> Option<Vec<Change>> {
    let before: Digest = change.before.as_deref()?.parse().ok()?;
    let name = graph.node(source).name();
    let gave = |result: &ActionResult| result.outputs.values().any(|tree| *tree == before);
    let earlier = store.earlier(&name).map(|earlier| earlier.result).find(gave)?;
    let later = store.result(plan.step(source)?.key()?)?;
    Some(changes(&earlier.action, &later.action))
}

impl Cause {
    /// The fields that differ, where that is the cause.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Changed(changes) => changes,
            _ => &[],
        }
    }
}
