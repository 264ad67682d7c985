use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::effect_summary::write_effects;
use super::words::{counted, human_duration};
use crate::execute::Estimates;
use crate::graph::{Graph, NodeId};
use crate::plan::{Cause, Plan, RepositoryEffect, Step, Verdict, consequences};

/// How many nodes of a group are named.
const SHOWN: usize = 3;

/// What `forge plan` prints: nodes by target and cause, never one line for each of a thousand.
pub fn plan_summary(
    graph: &Graph,
    plan: &Plan,
    effects: &[RepositoryEffect],
    estimates: &Estimates,
) -> String {
    let mut text = String::new();
    if plan.is_idle() {
        let of_s3 = of_s3(plan);
        write_line(&mut text, &format!("nothing to do: {} known{of_s3}", counted(plan.steps.len(), "node")));
    } else {
        for (target, groups) in by_target_and_cause(graph, plan) {
            write_target(&mut text, graph, target, &groups);
        }
        text.push('\n');
        for (cause, targets) in consequences(graph, plan) {
            write_line(&mut text, &format!("{cause} → {}", targets.join(" → ")));
        }
        let about = estimates.total().map(|ms| format!(", about {}", human_duration(ms)));
        write_line(
            &mut text,
            &format!(
                "{}: {} known{}, {} to run, {} may follow{}",
                counted(plan.steps.len(), "node"),
                plan.count("hit"),
                of_s3(plan),
                plan.count("run") + plan.count("failed before"),
                plan.count("unknown"),
                about.unwrap_or_default(),
            ),
        );
    }
    write_effects(&mut text, effects);
    text
}

/// How many of what is known the shared cache knows.
fn of_s3(plan: &Plan) -> String {
    match plan.of_s3 {
        0 => String::new(),
        count => format!(" ({count} from s3)"),
    }
}

/// Nodes that are to be done for the same kind of reason: a thousand cells that differ in what
/// exactly changed are one group.
type Groups = BTreeMap<(u8, String), Group>;

struct Group {
    /// Verdict and cause of the first node.
    heading: String,
    /// Whether it is that of all others too.
    is_same: bool,
    nodes: Vec<NodeId>,
}

/// In the order in which targets first come, which is the order of the build.
fn by_target_and_cause<'g>(graph: &'g Graph, plan: &Plan) -> Vec<(&'g str, Groups)> {
    let mut targets: Vec<(&str, Groups)> = Vec::new();
    for step in plan.steps.iter().filter(|step| !step.verdict.is_hit()) {
        let target = &*graph.node(step.node).declared.target;
        let at = targets.iter().position(|(name, _)| *name == target).unwrap_or_else(|| {
            targets.push((target, Groups::new()));
            targets.len() - 1
        });
        let heading = heading(graph, step);
        let group = targets[at].1.entry(kind(graph, step)).or_insert_with(|| Group {
            heading: heading.clone(),
            is_same: true,
            nodes: Vec::new(),
        });
        group.is_same &= group.heading == heading;
        group.nodes.push(step.node);
    }
    targets
}

/// What the nodes of a group have in common.
fn kind(graph: &Graph, step: &Step) -> (u8, String) {
    match &step.verdict {
        Verdict::Hit => (0, String::new()),
        Verdict::Run(Cause::Changed(changes)) => {
            let fields: Vec<&str> = changes.iter().take(SHOWN).map(|change| change.field.as_str()).collect();
            (1, fields.join(" "))
        }
        Verdict::Run(Cause::Destination(_)) => (2, String::new()),
        Verdict::Run(cause) => (2, cause.to_string()),
        Verdict::FailedBefore(_) => (3, String::new()),
        Verdict::Unknown(need) => (4, graph.node(*need).declared.target.to_string()),
    }
}

/// Verdict and cause, without what is each node's own.
fn heading(graph: &Graph, step: &Step) -> String {
    match &step.verdict {
        Verdict::Hit => String::new(),
        Verdict::Run(cause) => format!("run: {cause}"),
        Verdict::FailedBefore(error) => format!("run again: failed before, {error}"),
        Verdict::Unknown(need) => format!("may follow: after {}", graph.node(*need).declared.target),
    }
}

fn write_target(text: &mut String, graph: &Graph, target: &str, groups: &Groups) {
    let nodes = groups.values().map(|group| group.nodes.len()).sum();
    write_line(text, &format!("{target}: {}", counted(nodes, "node")));
    for Group { heading, is_same, nodes } in groups.values() {
        let alike = if *is_same { "" } else { ", and alike" };
        let cells: Vec<String> = nodes.iter().take(SHOWN).map(|id| cell_name(graph, *id)).collect();
        let more = match nodes.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let cells = cells.join(" ");
        let separator = if cells.is_empty() { "" } else { "    " };
        write_line(text, &format!("  {heading}{alike}{separator}{cells}{more}"));
    }
}

fn cell_name(graph: &Graph, id: NodeId) -> String {
    let cell = graph.node(id).cell.to_string();
    if cell.is_empty() { cell } else { format!("[{cell}]") }
}

pub(super) fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end()).expect("a String takes every write");
}
