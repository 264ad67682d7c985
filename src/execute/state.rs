use crate::graph::{Graph, NodeId};
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

/// The states of all nodes. Every change goes through [`States::set`].
pub struct States {
    states: Vec<State>,
    open: usize,
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
        Self { states, open: plan.steps.len() }
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
                | (Running, Done | Failed | Skipped)
        );
        debug_assert!(is_allowed, "{from:?} → {to:?}");
        if matches!(to, Done | Failed | Skipped) {
            self.open -= 1;
        }
    }

    /// The node is taken up.
    pub fn start(&mut self, node: NodeId) {
        self.set(node, State::Running);
    }

    /// The node has its outputs. Gives the nodes that are ready by this.
    pub fn finish(&mut self, node: NodeId, graph: &Graph) -> Vec<NodeId> {
        self.set(node, State::Done);
        let mut ready = Vec::new();
        for user in graph.users(node) {
            match self.get(user) {
                State::Waiting(1) => {
                    self.set(user, State::Ready);
                    ready.push(user);
                }
                State::Waiting(needs) => self.set(user, State::Waiting(needs - 1)),
                _ => {}
            }
        }
        ready
    }

    /// The node failed. Gives everything that cannot be run for this.
    pub fn fail(&mut self, node: NodeId, graph: &Graph) -> Vec<NodeId> {
        self.set(node, State::Failed);
        let mut skipped = Vec::new();
        let mut open: Vec<NodeId> = graph.users(node).collect();
        while let Some(user) = open.pop() {
            if matches!(self.get(user), State::Waiting(_)) {
                self.set(user, State::Skipped);
                skipped.push(user);
                open.extend(graph.users(user));
            }
        }
        skipped.sort();
        skipped
    }

    /// The node was interrupted: it is neither done nor failed.
    pub fn abandon(&mut self, node: NodeId) {
        self.set(node, State::Skipped);
    }
}
