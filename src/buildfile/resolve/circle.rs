use std::collections::BTreeSet;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use crate::buildfile::{Buildfile, Diagnostic, Reference, Report};

/// Reports targets that use each other in a circle, one circle of each group.
pub fn report(buildfile: &Buildfile, report: &mut Report) {
    let mut graph = DiGraphMap::<&str, &Reference>::new();
    for target in &buildfile.targets {
        for reference in target.body.uses() {
            graph.add_edge(&*target.name, reference.name.as_str(), reference);
        }
    }
    for component in tarjan_scc(&graph) {
        let Some(start) = component.iter().min() else { continue };
        let Some(path) = circle(&graph, start, &component) else { continue };
        let Some(reference) = path.get(..2).and_then(|step| graph.edge_weight(step[0], step[1])) else {
            continue;
        };
        let (message, label) = match path.len() {
            2 => (format!("'{start}' uses itself"), "itself"),
            _ => (format!("'{start}' uses itself through others"), "leads back to it"),
        };
        let diagnostic = Diagnostic::error(&reference.span, message, label);
        report.push(diagnostic.help(format!("one of these must not use the next: {}", path.join(" → "))));
    }
}

/// A way from `start` back to it inside its component.
fn circle<'a>(
    graph: &DiGraphMap<&'a str, &'a Reference>,
    start: &'a str,
    component: &[&'a str],
) -> Option<Vec<&'a str>> {
    let members: BTreeSet<&str> = component.iter().copied().collect();
    let mut path = vec![start];
    let mut seen = BTreeSet::from([start]);
    loop {
        let last = *path.last()?;
        if graph.contains_edge(last, start) {
            path.push(start);
            return Some(path);
        }
        match graph.neighbors(last).find(|next| members.contains(next) && !seen.contains(next)) {
            Some(next) => {
                seen.insert(next);
                path.push(next);
            }
            None => {
                path.pop();
            }
        }
    }
}
