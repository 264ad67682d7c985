use std::collections::HashMap;

use crate::graph::{Graph, Input, NodeId};
use crate::plan::Plan;

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not part of the plan.
    Absent,
    /// So many of the nodes it needs are not done.
    Waiting(usize),
    /// Everything it needs is done.
    Ready,
    /// It is being run, or its result looked up.
    Running,
    /// It has its outputs.
    Done,
    /// It failed.
    Failed,
    /// Something it needs failed.
    Skipped,
}

/// What a failure does to others.
#[derive(Debug, Default)]
pub struct Fallout {
    /// Nodes that cannot be run.
    pub skipped: Vec<NodeId>,
    /// Nodes that were waiting for it, and go on without it.
    pub ready: Vec<NodeId>,
}

/// The states of all nodes. Every change goes through [`States::set`].
pub struct States {
    states: Vec<State>,
    open: usize,
    /// Nodes that were done and are called back, since their objects are needed, and who waits for them.
    recalled: HashMap<NodeId, Vec<NodeId>>,
}

impl States {
    /// All nodes of the plan, waiting or ready.
    pub fn new(graph: &Graph, plan: &Plan) -> Self {
        let mut states = vec![State::Absent; graph.len()];
        for step in &plan.steps {
            states[step.node.index()] = match graph.needs(step.node).count() {
                0 => State::Ready,
                needs => State::Waiting(needs),
            };
        }
        Self { states, open: plan.steps.len(), recalled: HashMap::new() }
    }

    /// How far `node` is.
    pub fn get(&self, node: NodeId) -> State {
        self.states[node.index()]
    }

    /// How many nodes are not at their end.
    pub fn open(&self) -> usize {
        self.open
    }

    fn set(&mut self, node: NodeId, to: State) {
        use State::*;
        let from = std::mem::replace(&mut self.states[node.index()], to);
        let is_allowed = matches!(
            (from, to),
            (Waiting(_), Waiting(_) | Ready | Skipped)
                | (Ready, Running | Skipped)
                | (Running, Done | Failed | Skipped | Ready | Waiting(_))
                | (Done, Ready)
        );
        debug_assert!(is_allowed, "{from:?} → {to:?}");
        if matches!(to, Done | Failed | Skipped) {
            self.open -= 1;
        }
        if from == Done {
            self.open += 1;
        }
    }

    /// The node is taken up.
    pub fn start(&mut self, node: NodeId) {
        self.set(node, State::Running);
    }

    /// The node has its outputs. Gives the nodes that are ready by this.
    pub fn finish(&mut self, node: NodeId, graph: &Graph) -> Vec<NodeId> {
        self.set(node, State::Done);
        let waiting = self.waiting_for(node, graph);
        self.recalled.remove(&node);
        waiting.into_iter().filter(|user| self.need_settled(*user)).collect()
    }

    /// What is ready as soon as the node has its outputs.
    pub fn waiting_only_for(&self, node: NodeId, graph: &Graph) -> Vec<NodeId> {
        let waits = |user: &NodeId| self.get(*user) == State::Waiting(1);
        self.waiting_for(node, graph).into_iter().filter(waits).collect()
    }

    /// The node was taken up and has to wait once more.
    pub fn put_back(&mut self, node: NodeId) {
        self.set(node, State::Ready);
    }

    /// The node was taken up, and lacks objects of `needs`, which were done. Gives those of them that nobody
    /// has called back yet.
    pub fn recall(&mut self, node: NodeId, needs: &[NodeId]) -> Vec<NodeId> {
        self.set(node, State::Waiting(needs.len()));
        let done: Vec<NodeId> = needs.iter().copied().filter(|need| self.get(*need) == State::Done).collect();
        done.iter().for_each(|need| self.set(*need, State::Ready));
        needs.iter().for_each(|need| self.recalled.entry(*need).or_default().push(node));
        done
    }

    /// Who waits for a node: whoever called it back, or all its users.
    fn waiting_for(&self, node: NodeId, graph: &Graph) -> Vec<NodeId> {
        self.recalled.get(&node).cloned().unwrap_or_else(|| graph.users(node).collect())
    }

    /// The node failed. Tells what cannot be run for this, and what is ready without it.
    pub fn fail(&mut self, node: NodeId, graph: &Graph) -> Fallout {
        self.set(node, State::Failed);
        let mut fallout = Fallout::default();
        let mut lost = vec![node];
        while let Some(node) = lost.pop() {
            let waiting = self.waiting_for(node, graph);
            for user in graph.users(node) {
                if !matches!(self.get(user), State::Waiting(_)) {
                    continue;
                }
                if !self.does_without(user, node, graph) {
                    self.set(user, State::Skipped);
                    fallout.skipped.push(user);
                    lost.push(user);
                } else if waiting.contains(&user) && self.need_settled(user) {
                    fallout.ready.push(user);
                }
            }
        }
        fallout.skipped.sort();
        fallout
    }

    /// One of the needs of `user` is settled. Gives whether it was the last.
    fn need_settled(&mut self, user: NodeId) -> bool {
        match self.get(user) {
            State::Waiting(1) => self.set(user, State::Ready),
            State::Waiting(needs) => self.set(user, State::Waiting(needs - 1)),
            _ => return false,
        }
        self.get(user) == State::Ready
    }

    /// Nothing can be gathered where nothing is left.
    fn does_without(&self, user: NodeId, lost: NodeId, graph: &Graph) -> bool {
        let user = graph.node(user);
        let mut inputs = user.inputs.iter().filter_map(Input::node);
        user.may_lack().contains(&lost) && inputs.any(|input| !self.is_lost(input))
    }

    /// Whether a node will give nothing in this run.
    pub fn is_lost(&self, node: NodeId) -> bool {
        matches!(self.get(node), State::Failed | State::Skipped)
    }

    /// The node was interrupted: it is neither done nor failed.
    pub fn abandon(&mut self, node: NodeId) {
        self.set(node, State::Skipped);
    }
}
