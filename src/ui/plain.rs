use std::io::{self, Write};

use super::Listener;
use super::words::{counted, human_duration, printable};
use crate::execute::{Event, Outcome};

/// Plain lines, for logs and pipes.
#[derive(Default)]
pub struct Plain {
    done: usize,
    to_do: usize,
}

impl Listener for Plain {
    fn hear(&mut self, event: &Event) {
        for line in self.lines(event) {
            // Nobody reads: the run goes on.
            let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
        }
    }
}

impl Plain {
    fn lines(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::RunStarted { nodes, hits, estimate_ms, .. } => {
                self.to_do = nodes - hits;
                let estimate = estimate_ms.map(|ms| format!(", about {}", human_duration(ms)));
                vec![format!(
                    "{}: {hits} known, {} to do{}",
                    counted(*nodes, "node"),
                    self.to_do,
                    estimate.unwrap_or_default()
                )]
            }
            Event::NodeStarted { node, emulated, .. } => {
                vec![format!("start   {}", started(node, *emulated))]
            }
            Event::NodeWaits { node } => {
                vec![format!("wait    {node}: the same action is being run already")]
            }
            Event::NodeRetried { node, error } => vec![format!("again   {node}: {error}")],
            Event::NodeFinished { node, outcome, duration_ms, .. } => {
                self.done += 1;
                vec![finished(node, *outcome, *duration_ms, self.done, self.to_do)]
            }
            Event::NodeFailed { .. } => {
                self.done += 1;
                failed(event)
            }
            Event::Notice { text } => vec![text.clone()],
            Event::NodeSkipped { .. }
            | Event::NodeLine { .. }
            | Event::NodeProgress { .. }
            | Event::ResultSent { .. }
            | Event::CacheTraffic { .. }
            | Event::RunFinished { .. } => Vec::new(),
        }
    }
}

/// A node that runs.
pub fn started(node: &str, emulated: bool) -> String {
    format!("{node}{}", if emulated { ", emulated" } else { "" })
}

/// The line for a node that ended well.
pub fn finished(node: &str, outcome: Outcome, duration_ms: u64, done: usize, to_do: usize) -> String {
    let duration = human_duration(duration_ms);
    match outcome {
        Outcome::Hit => format!("known   {node} [{done}/{to_do}]"),
        Outcome::Built => format!("done    {node} in {duration} [{done}/{to_do}]"),
        Outcome::Unchanged => format!("same    {node} in {duration}, as before [{done}/{to_do}]"),
    }
}

/// What is told of a failure: the error, the end of the log, where the whole log is, and the
/// command that runs the node again.
pub fn failed(event: &Event) -> Vec<String> {
    let Event::NodeFailed { node, error, log, tail, duration_ms } = event else { return Vec::new() };
    let mut lines = vec![format!("FAILED  {node} after {}: {error}", human_duration(*duration_ms))];
    lines.extend(tail.iter().map(|line| format!("      | {}", printable(line))));
    if log.is_some() {
        lines.push(format!("        the whole log: forge log '{node}'"));
    }
    lines.push(format!("        to run it again: forge run '{node}'"));
    lines
}
