use std::collections::BTreeMap;

use super::explain::{difference, nearest_earlier};
use super::{Cause, Destination, LocalTrees, Plan, PlanError, Step, Verdict};
use crate::buildfile::Version;
use crate::digest::{Digest, fields_of, key_of};
use crate::graph::{Action, Graph, Input, Node, NodeId, Work};
use crate::store::{ActionResult, LocalStore};

/// Outputs of a node by name.
pub type Outputs = BTreeMap<String, Digest>;

/// Keys nodes and asks the store what it knows. `plan` and `run` both go through this.
pub struct Planner<'a> {
    /// All nodes.
    pub graph: &'a Graph,
    /// What is known.
    pub store: &'a LocalStore,
    /// Local files.
    pub files: &'a LocalTrees<'a>,
}

/// What is found out of one node whose inputs are known.
pub struct Assessment {
    /// Its key.
    pub key: Digest,
    /// What is to be done.
    pub verdict: Verdict,
    /// What it gave, if it is a hit.
    pub outputs: Option<Outputs>,
}

impl Planner<'_> {
    /// Plans `goals` and everything they need.
    pub fn plan(&self, goals: &[NodeId]) -> Result<Plan, PlanError> {
        let nodes = self.graph.closure(goals);
        let mut steps = Vec::with_capacity(nodes.len());
        let mut outputs: Vec<Option<Outputs>> = vec![None; self.graph.len()];
        for node in nodes {
            let step = self.step(node, &outputs)?;
            outputs[node.index()].clone_from(&step.outputs);
            steps.push(step);
        }
        let mut plan = Plan { goals: goals.to_vec(), steps };
        self.demote_incomplete(&mut plan);
        Ok(plan)
    }

    fn step(&self, node: NodeId, outputs: &[Option<Outputs>]) -> Result<Step, PlanError> {
        // A required test only has to come first; what a node is made of are its inputs.
        let inputs = self.graph.node(node).inputs.iter().filter_map(Input::node);
        if let Some(need) = inputs.filter(|need| outputs[need.index()].is_none()).min() {
            self.check_destination(node)?;
            let outline = self.outline(node, outputs)?;
            return Ok(Step { node, key: None, outline, verdict: Verdict::Unknown(need), outputs: None });
        }
        let known = |need: NodeId| outputs[need.index()].as_ref();
        let inputs = input_digests(self.graph.node(node), self.files, known)?;
        let Assessment { key, verdict, outputs } = self.assess(self.graph.node(node), &inputs)?;
        Ok(Step { node, key: Some(key), outline: key, verdict, outputs })
    }

    /// Local files are read now, also for what waits for others: a plan pins them all.
    fn outline(&self, id: NodeId, outputs: &[Option<Outputs>]) -> Result<Digest, PlanError> {
        let node = self.graph.node(id);
        let inputs = node.inputs.iter().map(|input| match input {
            Input::Files(local) => Ok(self.files.get(local)?.digest),
            Input::Node { node, output } => {
                let known = outputs[node.index()].as_ref().and_then(|outputs| outputs.get(output).copied());
                let name = &self.graph.node(*node).name;
                Ok(known.unwrap_or_else(|| Digest::of(format!("to come: {output} of {name}").as_bytes())))
            }
        });
        let inputs: Vec<Digest> = inputs.collect::<Result<_, PlanError>>()?;
        Ok(key_of(&Action::new(node, &inputs)))
    }

    /// A key that cannot sign, or a bucket that cannot be read, is told in the plan, not after hours of building.
    fn check_destination(&self, id: NodeId) -> Result<(), PlanError> {
        let node = self.graph.node(id);
        if let Work::Publish(publish) = &node.work {
            let failed = |fault| PlanError::Publish { node: node.name.clone(), source: Box::new(fault) };
            Destination::new(publish).check().map_err(failed)?;
        }
        Ok(())
    }

    /// The key of a node and what the store knows under it.
    pub fn assess(&self, node: &Node, inputs: &[Digest]) -> Result<Assessment, PlanError> {
        let key = key_of(&Action::new(node, inputs));
        let miss = |verdict| Ok(Assessment { key, verdict, outputs: None });
        if let Work::Publish(publish) = &node.work {
            let failed = |fault| PlanError::Publish { node: node.name.clone(), source: Box::new(fault) };
            return match Destination::new(publish).difference(inputs, self.store).map_err(failed)? {
                None => Ok(Assessment { key, verdict: Verdict::Hit, outputs: Some(Outputs::new()) }),
                Some(difference) => miss(Verdict::Run(Cause::Destination(difference))),
            };
        }
        match self.store.result(key) {
            Some(result) if self.has_manifests(&result) => {
                self.store.touch_result(key);
                Ok(Assessment { key, verdict: Verdict::Hit, outputs: Some(result.outputs) })
            }
            Some(_) => miss(Verdict::Run(Cause::ObjectsGone)),
            None => match self.store.failure(key) {
                Some(failure) => miss(Verdict::FailedBefore(failure.error)),
                None => miss(Verdict::Run(self.cause(node, inputs))),
            },
        }
    }

    fn has_manifests(&self, result: &ActionResult) -> bool {
        result.outputs.values().all(|tree| self.store.contains(*tree))
    }

    fn cause(&self, node: &Node, inputs: &[Digest]) -> Cause {
        let fields = fields_of(&Action::new(node, inputs));
        match nearest_earlier(self.store, &node.name, &fields) {
            Some((_, earlier)) => match difference(self.store, self.files, &earlier.action, &fields) {
                same if same.is_empty() => Cause::ResultGone,
                changes => Cause::Changed(changes),
            },
            None => self.new_version(node).unwrap_or(Cause::New),
        }
    }

    /// The version that makes a node new, if an earlier one of the same major was built before.
    fn new_version(&self, node: &Node) -> Option<Cause> {
        node.cell.coordinates().iter().enumerate().find_map(|(place, coordinate)| {
            let is_whole = coordinate.dimension.attribute.is_none();
            let lineage = self.graph.lineage(coordinate.axis).filter(|_| is_whole)?;
            let was_built = |version: &&Version| {
                let cell = node.cell.with_value(place, version.as_str());
                !self.store.history(&format!("{}[{cell}]", node.target)).entries.is_empty()
            };
            let before = lineage.before(&coordinate.value).find(was_built)?.to_string();
            let (upstream, place) = (lineage.upstream.clone(), lineage.place.clone());
            Some(Cause::Version { upstream, before, after: coordinate.value.to_string(), place })
        })
    }

    /// A hit serves only those who need its objects. Where one of them is run and an object is
    /// gone, the hit is a miss: seen from the goals down, since this makes further needs.
    fn demote_incomplete(&self, plan: &mut Plan) {
        let mut needed = vec![false; self.graph.len()];
        plan.goals.iter().for_each(|goal| needed[goal.index()] = true);
        for at in (0..plan.steps.len()).rev() {
            let step = &plan.steps[at];
            let is_needed = needed[step.node.index()];
            let incomplete = |outputs: &Outputs| outputs.values().any(|tree| !self.store.holds_tree(*tree));
            if step.verdict == Verdict::Hit && is_needed && step.outputs.as_ref().is_some_and(incomplete) {
                plan.steps[at].verdict = Verdict::Run(Cause::ObjectsGone);
            }
            if plan.steps[at].verdict != Verdict::Hit {
                self.graph.needs(plan.steps[at].node).for_each(|need| needed[need.index()] = true);
            }
        }
    }
}

/// The trees of a node's inputs, in their order. Every needed node must have given its outputs.
pub fn input_digests<'o>(
    node: &Node,
    files: &LocalTrees<'_>,
    outputs: impl Fn(NodeId) -> Option<&'o Outputs>,
) -> Result<Vec<Digest>, PlanError> {
    let inputs = node.inputs.iter();
    inputs
        .map(|input| match input {
            Input::Files(local) => Ok(files.get(local)?.digest),
            Input::Node { node, output } => Ok(outputs(*node)
                .and_then(|outputs| outputs.get(output).copied())
                .unwrap_or_else(|| unreachable!("a node ends with every declared output, or fails"))),
        })
        .collect()
}
