use std::collections::HashMap;

use rayon::prelude::*;

use crate::graph::{Graph, NodeId};
use crate::plan::Plan;
use crate::store::LocalStore;

/// What a node is taken to last of which nothing is remembered, in milliseconds.
const UNKNOWN_MS: u64 = 1_000;

/// Remembered durations, and what follows from them.
pub struct Estimates {
    remembered: Vec<Option<u64>>,
    /// From a node's start to the end of everything after it, in milliseconds.
    critical: Vec<u64>,
    total: Option<u64>,
}

impl Estimates {
    /// Reads the histories of all nodes that will or may be run. A node that was never run is
    /// taken to last as long as others of its target.
    pub fn new(graph: &Graph, plan: &Plan, store: &LocalStore, jobs: usize) -> Self {
        let mut remembered = vec![None; graph.len()];
        let mut of_target: HashMap<&str, u64> = HashMap::new();
        let to_do = &plan.to_do;
        let last = |id: &NodeId| Some(store.earlier(&graph.node(*id).name()).next()?.result.duration_ms);
        let last: Vec<Option<u64>> = to_do.par_iter().map(last).collect();
        for (&id, last) in to_do.iter().zip(last) {
            if let Some(lasted) = last {
                remembered[id.index()] = last;
                of_target.insert(&graph.node(id).declared.target, lasted);
            }
        }
        for &id in to_do {
            let similar = of_target.get(&*graph.node(id).declared.target);
            remembered[id.index()] = remembered[id.index()].or(similar.copied());
        }
        let mut estimates = Self { remembered, critical: vec![0; graph.len()], total: None };
        for &id in to_do.iter().rev() {
            let after = graph.users(id).map(|user| estimates.critical[user.index()]).max().unwrap_or(0);
            estimates.critical[id.index()] = after + estimates.of(id).unwrap_or(UNKNOWN_MS);
        }
        estimates.total = estimates.total_of(to_do, jobs);
        estimates
    }

    /// How long the node took last time, in milliseconds.
    pub fn of(&self, node: NodeId) -> Option<u64> {
        self.remembered[node.index()]
    }

    /// The time from a node's start to the end of the last node after it, in milliseconds.
    pub fn critical(&self, node: NodeId) -> u64 {
        self.critical[node.index()]
    }

    /// How long the run will take, in milliseconds: no less than its longest path, and no less
    /// than all work shared by `jobs`. None where some duration is not remembered.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    fn total_of(&self, to_do: &[NodeId], jobs: usize) -> Option<u64> {
        let work = to_do.iter().map(|id| self.of(*id)).sum::<Option<u64>>()?;
        let longest = to_do.iter().map(|id| self.critical(*id)).max().unwrap_or(0);
        Some(longest.max(work / jobs.max(1) as u64))
    }
}
