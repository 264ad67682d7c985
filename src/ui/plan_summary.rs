use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::words::{counted, human_duration};
use crate::execute::Estimates;
use crate::graph::{Graph, NodeId};
use crate::plan::{Plan, RepositoryEffect, Step, Verdict};

/// How many nodes of a group are named, and how many lines of an effect are shown.
const SHOWN: usize = 3;
const SHOWN_PACKAGES: usize = 12;

/// What `forge plan` prints: nodes by target and cause, never one line for each of a thousand.
pub fn plan_summary(
    graph: &Graph,
    plan: &Plan,
    effects: &[RepositoryEffect],
    estimates: &Estimates,
) -> String {
    let mut text = String::new();
    let to_do = plan.steps.iter().filter(|step| step.verdict != Verdict::Hit).count();
    if to_do == 0 {
        write_line(&mut text, &format!("nothing to do: {} known", counted(plan.steps.len(), "node")));
    } else {
        for (target, groups) in by_target_and_cause(graph, plan) {
            write_target(&mut text, graph, target, &groups);
        }
        text.push('\n');
        let about = estimates.total().map(|ms| format!(", about {}", human_duration(ms)));
        write_line(
            &mut text,
            &format!(
                "{}: {} known, {} to run, {} may follow{}",
                counted(plan.steps.len(), "node"),
                plan.count("hit"),
                plan.count("run") + plan.count("failed before"),
                plan.count("unknown"),
                about.unwrap_or_default(),
            ),
        );
    }
    effects.iter().for_each(|effect| write_effect(&mut text, effect));
    text
}

type Groups = BTreeMap<(u8, String), Vec<NodeId>>;

/// In the order in which targets first come, which is the order of the build.
fn by_target_and_cause<'g>(graph: &'g Graph, plan: &Plan) -> Vec<(&'g str, Groups)> {
    let mut targets: Vec<(&str, Groups)> = Vec::new();
    for step in plan.steps.iter().filter(|step| step.verdict != Verdict::Hit) {
        let target = graph.node(step.node).target.as_str();
        let at = targets.iter().position(|(name, _)| *name == target).unwrap_or_else(|| {
            targets.push((target, Groups::new()));
            targets.len() - 1
        });
        targets[at].1.entry(heading(graph, step)).or_default().push(step.node);
    }
    targets
}

/// Verdict and cause, without what is each node's own.
fn heading(graph: &Graph, step: &Step) -> (u8, String) {
    match &step.verdict {
        Verdict::Hit => (0, String::new()),
        Verdict::Run(cause) => (1, format!("run: {cause}")),
        Verdict::FailedBefore(error) => (2, format!("run again: failed before, {error}")),
        Verdict::Unknown(need) => (3, format!("may follow: after {}", graph.node(*need).target)),
    }
}

fn write_target(text: &mut String, graph: &Graph, target: &str, groups: &Groups) {
    let nodes = groups.values().map(Vec::len).sum();
    write_line(text, &format!("{target}: {}", counted(nodes, "node")));
    for ((_, heading), nodes) in groups {
        let cells: Vec<String> = nodes.iter().take(SHOWN).map(|id| cell_name(graph, *id)).collect();
        let more = match nodes.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let cells = cells.join(" ");
        let separator = if cells.is_empty() { "" } else { "    " };
        write_line(text, &format!("  {heading}{separator}{cells}{more}"));
    }
}

fn cell_name(graph: &Graph, id: NodeId) -> String {
    let cell = graph.node(id).cell.to_string();
    if cell.is_empty() { cell } else { format!("[{cell}]") }
}

fn write_effect(text: &mut String, effect: &RepositoryEffect) {
    let RepositoryEffect { repository, added, dropped, kept } = effect;
    if added.is_empty() && dropped.is_empty() {
        write_line(text, &format!("{repository}: no package comes or goes, {kept} stay"));
        return;
    }
    let (come, go) = (added.len(), dropped.len());
    write_line(text, &format!("{repository}: {come} added, {go} dropped, {kept} kept"));
    let signed = added.iter().map(|line| ('+', line)).chain(dropped.iter().map(|line| ('-', line)));
    for (sign, line) in signed.clone().take(SHOWN_PACKAGES) {
        write_line(text, &format!("  {sign} {line}"));
    }
    if let more @ 1.. = signed.count().saturating_sub(SHOWN_PACKAGES) {
        write_line(text, &format!("  … and {more} more"));
    }
}

fn write_line(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end()).expect("a String takes every write");
}
