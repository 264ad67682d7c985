use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::words::{counted, human_bytes, human_duration};
use crate::execute::RunReport;
use crate::graph::{Graph, NodeId};
use crate::store::RemoteTraffic;

/// The last lines of a run: counts, and where it failed by axis.
pub fn run_summary(graph: &Graph, report: &RunReport, duration_ms: u64) -> String {
    let mut text = String::new();
    let line =
        |text: &mut String, line: String| writeln!(text, "{line}").expect("a String takes every write");
    if !report.failed.is_empty() {
        line(&mut text, format!("{} failed:", counted(report.failed.len(), "node")));
        for (id, error) in &report.failed {
            line(&mut text, format!("  {}: {error}", graph.node(*id).name()));
        }
        for (dimension, values) in by_axis(graph, report) {
            line(&mut text, format!("  by {dimension}: {}", values.join(", ")));
        }
        if let Some(lacking) = lacking(graph, report) {
            line(&mut text, lacking);
        }
        line(&mut text, "  to run these and what waited for them: forge run --failed".to_owned());
    }
    let mut counts = vec![format!("{} run", report.built), format!("{} known", report.hits)];
    if !report.failed.is_empty() {
        counts.push(format!("{} failed", report.failed.len()));
    }
    if !report.skipped.is_empty() {
        counts.push(format!("{} not run for that", report.skipped.len()));
    }
    report.remote.iter().filter_map(traffic_line).for_each(|traffic| line(&mut text, traffic));
    let end = if report.interrupted { "interrupted" } else { "ended" };
    line(&mut text, format!("{end} after {}: {}", human_duration(duration_ms), counts.join(", ")));
    text
}

/// The same where there was nothing to do.
pub fn idle_summary(nodes: usize, remote: Option<&RemoteTraffic>) -> String {
    let traffic = remote.and_then(traffic_line).map(|line| line + "\n").unwrap_or_default();
    format!("{traffic}nothing to do: {} known\n", counted(nodes, "node"))
}

/// What came from the shared cache and went there, and what went wrong; nothing where nothing did.
pub fn traffic_line(traffic: &RemoteTraffic) -> Option<String> {
    let RemoteTraffic { hits, received, results_sent, sent, faults, first_fault, .. } = traffic;
    let mut parts = Vec::new();
    if *hits > 0 {
        parts.push(format!("{}, {} down", counted(*hits as usize, "hit"), human_bytes(*received)));
    }
    if *results_sent > 0 {
        parts.push(format!("{} up, {}", counted(*results_sent as usize, "result"), human_bytes(*sent)));
    }
    if let Some(first) = first_fault {
        let others = if *faults > 1 { ", the first" } else { "" };
        parts.push(format!("{}{others}: {first}", counted(*faults as usize, "fault")));
    }
    (!parts.is_empty()).then(|| format!("s3: {}", parts.join("; ")))
}

/// What comes from the shared cache and goes there: `s3: 12 objects, 340.0 MiB down; 5 objects, 80.0 MiB up, 3 results
/// to go`.
pub(super) fn transfers(traffic: &RemoteTraffic, waiting: usize) -> String {
    let moved = |objects, bytes| format!("{}, {}", counted(objects as usize, "object"), human_bytes(bytes));
    let mut parts = Vec::new();
    if traffic.received > 0 {
        parts.push(format!("{} down", moved(traffic.objects_received, traffic.received)));
    }
    if traffic.sent > 0 || waiting > 0 {
        let to_go =
            if waiting > 0 { format!(", {} to go", counted(waiting, "result")) } else { String::new() };
        parts.push(format!("{} up{to_go}", moved(traffic.objects_sent, traffic.sent)));
    }
    format!("s3: {}", parts.join("; "))
}

/// What others went on without, as the Buildfile's `optional` rules allow.
fn lacking(graph: &Graph, report: &RunReport) -> Option<String> {
    let names: Vec<String> = report.lacking.iter().map(|id| graph.node(*id).name()).collect();
    let end = if report.goal_lost { "" } else { "; all else that was asked for is done" };
    (!names.is_empty()).then(|| format!("  gone without, as it is optional: {}{end}", names.join(", ")))
}

/// For each dimension on which some cells failed and others did not: how many of how many.
fn by_axis(graph: &Graph, report: &RunReport) -> Vec<(String, Vec<String>)> {
    let mut counts: BTreeMap<String, BTreeMap<String, (usize, usize)>> = BTreeMap::new();
    let failed: Vec<NodeId> = report.failed.iter().map(|(id, _)| *id).collect();
    let targets: Vec<&str> = failed.iter().map(|id| &*graph.node(*id).declared.target).collect();
    for id in graph.ids().filter(|id| targets.contains(&&*graph.node(*id).declared.target)) {
        for coordinate in graph.node(id).cell.coordinates() {
            let values = counts.entry(coordinate.dimension.text()).or_default();
            let (bad, all) = values.entry(coordinate.value.to_string()).or_default();
            *all += 1;
            *bad += usize::from(failed.contains(&id));
        }
    }
    let told = counts.into_iter().filter(|(_, values)| values.len() > 1);
    told.map(|(dimension, values)| {
        let bad = values.into_iter().filter(|(_, (bad, _))| *bad > 0);
        (dimension, bad.map(|(value, (bad, all))| format!("{value} {bad} of {all}")).collect())
    })
    .collect()
}
