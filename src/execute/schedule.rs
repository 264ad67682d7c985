use std::collections::{BinaryHeap, HashMap};

use super::Estimates;
use crate::buildfile::Resources;
use crate::graph::{Graph, NodeId};

/// What the machine has left, and what is ready to take it: the longest path first.
pub struct Schedule {
    ready: BinaryHeap<(u64, std::cmp::Reverse<NodeId>)>,
    cores: usize,
    memory: u64,
    free_cores: usize,
    free_memory: u64,
    /// The cores and the memory of each node that runs.
    taken: HashMap<NodeId, (usize, u64)>,
    /// Nodes whose work is over, while what they made is stored, and the longest path after what is ready then.
    storing: HashMap<NodeId, u64>,
}

impl Schedule {
    /// `cores` and `memory` (bytes) is what may be taken at the same time.
    pub fn new(cores: usize, memory: u64) -> Self {
        Self {
            ready: BinaryHeap::new(),
            cores,
            memory,
            free_cores: cores,
            free_memory: memory,
            taken: HashMap::new(),
            storing: HashMap::new(),
        }
    }

    /// The node can be started.
    pub fn add(&mut self, node: NodeId, estimates: &Estimates) {
        self.ready.push((estimates.critical(node), std::cmp::Reverse(node)));
    }

    /// Takes the ready node with the longest path after it that there is room for. None where one with a longer path is about
    /// to be ready, or so much is to be stored that it would not be done sooner.
    pub fn take(&mut self, graph: &Graph) -> Option<NodeId> {
        // Every node takes a core: with thousands ready, do not look at each after every line of a log.
        if self.free_cores == 0 || self.storing.len() >= self.cores {
            return None;
        }
        let ahead = self.storing.values().max().copied().unwrap_or(0);
        let mut passed_over = Vec::new();
        let mut taken = None;
        while let Some(entry) = self.pop_from(ahead) {
            let node = entry.1.0;
            let (cores, memory) = self.share(&graph.node(node).declared.resources);
            if cores <= self.free_cores && memory <= self.free_memory {
                self.free_cores -= cores;
                self.free_memory -= memory;
                self.taken.insert(node, (cores, memory));
                taken = Some(node);
                break;
            }
            passed_over.push(entry);
        }
        self.ready.extend(passed_over);
        taken
    }

    /// The first that is ready, if the path after it is as long as `least`.
    fn pop_from(&mut self, least: u64) -> Option<(u64, std::cmp::Reverse<NodeId>)> {
        self.ready.peek().filter(|entry| entry.0 >= least)?;
        self.ready.pop()
    }

    /// The work of the node is over, and others may have what it took. What it made is still to be stored: then `next` are ready.
    pub fn over(&mut self, node: NodeId, next: &[NodeId], estimates: &Estimates) {
        if self.give_back(node) {
            let longest = next.iter().map(|next| estimates.critical(*next)).max();
            self.storing.insert(node, longest.unwrap_or(0));
        }
    }

    /// Nothing of the node is left to be done, if it ever took anything.
    pub fn ended(&mut self, node: NodeId) {
        self.give_back(node);
        self.storing.remove(&node);
    }

    /// Whether it had anything.
    fn give_back(&mut self, node: NodeId) -> bool {
        let Some((cores, memory)) = self.taken.remove(&node) else { return false };
        self.free_cores += cores;
        self.free_memory += memory;
        true
    }

    /// The cores that a node gets.
    pub fn cores_of(&self, resources: &Resources) -> usize {
        self.share(resources).0
    }

    /// A node that wants more than there is takes all there is.
    fn share(&self, resources: &Resources) -> (usize, u64) {
        (resources.cpu.min(self.cores), resources.memory.unwrap_or(0).min(self.memory))
    }
}
