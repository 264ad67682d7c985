use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use petgraph::graph::DiGraph;
use petgraph::visit::EdgeRef;
use petgraph::{Direction, graph::NodeIndex};

use super::build::node_name;
use super::text::texts;
use super::{IndexWork, Work};
use crate::buildfile::{Body, Diagnostic, Resources, Span, Target, Template, Version};
use crate::matrix::Cell;

/// The place of a node in its graph.
pub type NodeId = NodeIndex<u32>;

/// A target in one cell, or a step that forge adds for it.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it has in common with the others of its target.
    pub declared: Arc<Declared>,
    /// The cell.
    pub cell: Cell,
    /// What is done.
    pub work: Work,
    /// What it takes, in the order that the work refers to.
    pub inputs: Box<[Input]>,
    /// Of most nodes there are none.
    terms: Option<Box<Terms>>,
}

/// What else has to hold of others, or may not, for a node to be run.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Tests that must have succeeded before it starts.
    pub requires: Vec<NodeId>,
    /// Nodes among the inputs that it does without if they fail.
    pub may_lack: Vec<NodeId>,
    /// Why it cannot be planned: something that the lock should say is not there.
    pub fault: Option<Diagnostic>,
}

/// What all nodes of a target have in common, or those of a step that forge adds for it.
#[derive(Clone, Debug)]
pub struct Declared {
    /// The target's name; `target.step` for an added step.
    pub target: Arc<str>,
    /// The node name it is declared by.
    pub keyword: &'static str,
    /// What a node takes of the machine.
    pub resources: Resources,
    /// When it is killed.
    pub timeout: Option<Duration>,
    /// Where the target is declared.
    pub span: Span,
}

impl Declared {
    /// That of a target.
    pub fn of(target: &Target) -> Self {
        let step = Self::step(target.name.clone(), target.body.keyword(), target.span.clone());
        match &target.body {
            Body::Command(command) => Self { resources: command.resources, timeout: command.timeout, ..step },
            _ => step,
        }
    }

    /// That of a step which takes little of the machine.
    pub fn step(target: Arc<str>, keyword: &'static str, span: Span) -> Self {
        Self { target, keyword, resources: Resources { cpu: 1, memory: None }, timeout: None, span }
    }
}

impl Node {
    /// One that takes nothing.
    pub fn new(declared: Arc<Declared>, cell: Cell, work: Work) -> Self {
        Self { declared, cell, work, inputs: Box::default(), terms: None }
    }

    /// The same with these inputs, in the order that the work refers to.
    pub fn taking(self, inputs: Vec<Input>) -> Self {
        Self { inputs: inputs.into(), ..self }
    }

    /// The same on these terms.
    pub fn on(self, terms: Terms) -> Self {
        let Terms { requires, may_lack, fault } = &terms;
        let has_none = requires.is_empty() && may_lack.is_empty() && fault.is_none();
        Self { terms: (!has_none).then(|| Box::new(terms)), ..self }
    }

    /// Tests that must have succeeded before it starts.
    pub fn requires(&self) -> &[NodeId] {
        self.terms.as_ref().map_or(&[], |terms| &terms.requires)
    }

    /// Nodes among the inputs that it does without if they fail.
    pub fn may_lack(&self) -> &[NodeId] {
        self.terms.as_ref().map_or(&[], |terms| &terms.may_lack)
    }

    /// Why it cannot be planned, if it cannot.
    pub fn fault(&self) -> Option<&Diagnostic> {
        self.terms.as_ref()?.fault.as_ref()
    }

    /// `target[axis=value,…]`, or the target alone where it spans no axis. It is made when it is asked for: of most nodes nobody
    /// asks.
    pub fn name(&self) -> String {
        node_name(&self.declared.target, &self.cell)
    }

    /// The same work without the inputs from nodes that are `lost`.
    pub fn without(&self, lost: impl Fn(NodeId) -> bool) -> Self {
        let is_kept = |input: &Input| !input.node().is_some_and(&lost);
        let kept: Vec<bool> = self.inputs.iter().map(is_kept).collect();
        let mut node = self.clone();
        let mut inputs = node.inputs.into_vec();
        retain(&mut inputs, &kept);
        node.inputs = inputs.into();
        match &mut node.work {
            Work::Index(index) => match &mut **index {
                IndexWork::Apt(apt) => retain(&mut apt.suites, &kept),
                IndexWork::Rpm(_) => {}
            },
            Work::Publish(publish) => retain(&mut publish.repositories, &kept),
            _ => debug_assert!(kept.iter().all(|kept| *kept), "only what gathers does without"),
        }
        node
    }
}

fn retain<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    items.retain(|_| kept.next().is_some_and(|kept| *kept));
}

/// Something a node takes.
#[derive(Clone, Debug)]
pub enum Input {
    /// An output of another node.
    Node {
        /// The node.
        node: NodeId,
        /// The output's name.
        output: String,
    },
    /// Files on this machine, as they are when the plan is made.
    Files(LocalFiles),
}

impl Input {
    /// The node it comes from, if it is not local.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node { node, .. } => Some(*node),
            Self::Files(_) => None,
        }
    }

    /// The files, if it is local.
    pub fn files(&self) -> Option<&LocalFiles> {
        match self {
            Self::Node { .. } => None,
            Self::Files(files) => Some(files),
        }
    }
}

/// Files by globs; what git ignores is left out.
#[derive(Clone, Debug)]
pub struct LocalFiles {
    /// The directory that the globs and the resulting tree start from.
    pub base: Arc<Path>,
    /// Which files.
    pub globs: Globs,
}

/// Globs of a node, which are filled from its cell when they are read, as a [`Text`] is.
#[derive(Clone, Debug)]
pub enum Globs {
    /// As they are.
    Written(Arc<[String]>),
    /// With holes, each of which has a value in the cell.
    Declared {
        /// As the target declares them.
        templates: Arc<[Template]>,
        /// The node's cell.
        cell: Cell,
    },
}

impl Globs {
    /// Each of them.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Written(globs) => globs.to_vec(),
            Self::Declared { templates, cell } => texts(templates, cell),
        }
    }
}

/// The versions that may stand on an axis, also those that are not selected now.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// The place of the axis in the declared order.
    pub axis: usize,
    /// The upstream.
    pub upstream: String,
    /// Where its versions are written: `forge.lock`.
    pub place: String,
    /// Oldest first.
    pub versions: Vec<Version>,
}

impl Lineage {
    /// The versions of the same major before `version`, the nearest first.
    pub fn before(&self, version: &str) -> impl Iterator<Item = &Version> {
        let version = Version::new(version);
        let major = version.major();
        self.versions.iter().rev().filter(move |known| **known < version && known.major() == major)
    }
}

/// All nodes. An edge goes from what is needed to what needs it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// By their ids.
    nodes: Vec<Node>,
    /// Apart from the nodes, as it is gone through many times, and little beside them.
    edges: DiGraph<(), ()>,
    /// Made when the first node is asked for by its name.
    by_name: OnceLock<HashMap<String, NodeId>>,
    /// The selected nodes of each target.
    targets: Vec<(Arc<str>, Vec<NodeId>)>,
    /// The places of those.
    by_target: HashMap<Arc<str>, usize>,
    lineages: Vec<Lineage>,
    /// Nodes that cannot be planned.
    faulty: Vec<NodeId>,
    /// Nodes whose verdict does not follow from files on this machine alone.
    outward: Vec<NodeId>,
    /// Whether a node takes local files.
    has_files: bool,
}

impl Graph {
    /// `goals` and everything they need, in layers: what a node needs is in a layer before its own.
    pub fn layers(&self, goals: &[NodeId]) -> Vec<Vec<NodeId>> {
        let wanted = self.closure(goals);
        if self.edges.edge_count() == 0 {
            return vec![wanted];
        }
        let mut depths = vec![0; self.len()];
        let mut layers: Vec<Vec<NodeId>> = Vec::new();
        for node in wanted {
            let depth = self.needs(node).map(|need| depths[need.index()] + 1).max().unwrap_or(0);
            depths[node.index()] = depth;
            if layers.len() <= depth {
                layers.resize(depth + 1, Vec::new());
            }
            layers[depth].push(node);
        }
        layers
    }

    /// Makes room for so many more nodes.
    pub fn reserve(&mut self, nodes: usize) {
        self.nodes.reserve(nodes);
        self.edges.reserve_nodes(nodes);
    }

    /// Adds a node whose inputs are in the graph already.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId::new(self.len());
        let place = self.place_of(&node.declared.target);
        self.targets[place].1.push(id);
        self.add_beyond(node)
    }

    /// The place of a target, which most often is that of the node before.
    fn place_of(&mut self, target: &Arc<str>) -> usize {
        if self.targets.last().is_some_and(|(own, _)| Arc::ptr_eq(own, target)) {
            return self.targets.len() - 1;
        }
        *self.by_target.entry(target.clone()).or_insert_with(|| {
            self.targets.push((target.clone(), Vec::new()));
            self.targets.len() - 1
        })
    }

    /// Adds one that is not selected: it is there because another needs it, and none of those
    /// that its target's name stands for.
    pub fn add_beyond(&mut self, node: Node) -> NodeId {
        let of_inputs = node.inputs.iter().filter_map(Input::node);
        let mut needs: Vec<NodeId> = of_inputs.chain(node.requires().iter().copied()).collect();
        needs.sort();
        needs.dedup();
        if let Some(by_name) = self.by_name.get_mut() {
            by_name.insert(node.name(), NodeId::new(self.nodes.len()));
        }
        self.has_files |= node.inputs.iter().any(|input| input.files().is_some());
        let (has_fault, is_outward) = (node.fault().is_some(), node.work.is_outward());
        let id = self.edges.add_node(());
        self.nodes.push(node);
        self.faulty.extend(has_fault.then_some(id));
        self.outward.extend(is_outward.then_some(id));
        for need in needs {
            self.edges.add_edge(need, id, ());
        }
        id
    }

    /// Says which versions an axis may have.
    pub fn add_lineage(&mut self, lineage: Lineage) {
        self.lineages.push(lineage);
    }

    /// The versions that the axis at a place of the declared order may have.
    pub fn lineage(&self, axis: usize) -> Option<&Lineage> {
        self.lineages.iter().find(|lineage| lineage.axis == axis)
    }

    /// The node at a place.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The node that was added last.
    pub fn last(&self) -> Option<&Node> {
        self.nodes.last()
    }

    /// The node called `name`.
    pub fn by_name(&self, name: &str) -> Option<NodeId> {
        let all = || self.ids().map(|id| (self.node(id).name(), id)).collect();
        self.by_name.get_or_init(all).get(name).copied()
    }

    /// Nodes that cannot be planned.
    pub fn faulty(&self) -> &[NodeId] {
        &self.faulty
    }

    /// Whether a node takes local files.
    pub fn has_files(&self) -> bool {
        self.has_files
    }

    /// Nodes whose verdict does not follow from files on this machine alone: a repository or a signing key is asked.
    pub fn outward(&self) -> &[NodeId] {
        &self.outward
    }

    /// The selected nodes of a target.
    pub fn of_target(&self, target: &str) -> &[NodeId] {
        self.by_target.get(target).map_or(&[], |place| &self.targets[*place].1)
    }

    /// All targets that have nodes, sorted.
    pub fn targets(&self) -> Vec<&str> {
        let mut targets: Vec<&str> = self.targets.iter().map(|(name, _)| &**name).collect();
        targets.sort_unstable();
        targets
    }

    /// All nodes; what is needed comes before what needs it.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        self.edges.node_indices()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a node needs: inputs and required tests.
    pub fn needs(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.edges.edges_directed(id, Direction::Incoming).map(|edge| edge.source())
    }

    /// What needs a node.
    pub fn users(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.edges.edges_directed(id, Direction::Outgoing).map(|edge| edge.target())
    }

    /// The roots and everything that needs them by way of nodes for which `is_way` holds, each need
    /// before its user.
    pub fn reached(&self, roots: &[NodeId], is_way: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
        let mut reached = vec![false; self.len()];
        let mut open = roots.to_vec();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut reached[id.index()], true) {
                open.extend(self.users(id).filter(&is_way));
            }
        }
        self.ids().filter(|id| reached[id.index()]).collect()
    }

    /// The goals and everything they need, each need before its user.
    pub fn closure(&self, goals: &[NodeId]) -> Vec<NodeId> {
        // Where none needs another, all are goals.
        if goals.len() == self.len() && goals.is_sorted_by(|a, b| a < b) {
            return self.ids().collect();
        }
        let mut wanted = vec![false; self.len()];
        let mut open = goals.to_vec();
        while let Some(id) = open.pop() {
            if !std::mem::replace(&mut wanted[id.index()], true) {
                open.extend(self.needs(id));
            }
        }
        self.ids().filter(|id| wanted[id.index()]).collect()
    }
}
