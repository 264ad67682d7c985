use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::explain::{difference, nearest_earlier};
use super::standing::Standing;
use super::{Cause, Destination, LocalTrees, NewVersion, Place, Plan, PlanError, Step, Verdict};
use crate::digest::{Digest, fields_of, key_of};
use crate::graph::{Action, Graph, Input, LocalFiles, Node, NodeId, Work};
use crate::s3;
use crate::store::{Baseline, KnownResult, LocalStore, Outputs, RemoteStore, ResultIndex};

/// Keys nodes and asks the store what it knows. `plan` and `run` both go through this.
pub struct Planner<'a> {
    /// All nodes.
    pub graph: &'a Graph,
    /// What is known.
    pub store: &'a LocalStore,
    /// Local files.
    pub files: &'a LocalTrees<'a>,
    /// A store that others share. What it knows comes into `store` before that is asked.
    pub remote: Option<&'a RemoteStore>,
    /// What results give, if that was read ahead: for the first plan.
    pub results: &'a Mutex<Option<ResultIndex>>,
}

/// How many earlier versions of a node are asked for, where the node itself is new.
const VERSIONS_ASKED: usize = 3;

/// The steps of nodes that were looked at.
type Steps = Vec<Option<Step>>;

/// What a node that was looked at gives, if that is known.
fn outputs_of(node: NodeId, steps: &Steps) -> Option<&Outputs> {
    steps[node.index()].as_ref()?.outputs.as_ref()
}

/// So many nodes are looked at before what was found of them is noted: it does not pile up beside the steps.
const PART: usize = 4096;

/// What was found of a node.
struct Found {
    step: Step,
    /// What is known of its result beside what it gives.
    known: Option<KnownResult>,
    /// Whether it is as it was.
    stands: bool,
}

/// What is known of results beside what they give.
struct Remembered {
    /// Whether all objects of a node's result are known to be here.
    whole: Vec<bool>,
    /// Keys of results that were not used for long.
    old: Vec<Digest>,
}

impl Remembered {
    fn new(nodes: usize) -> Self {
        Self { whole: vec![false; nodes], old: Vec::new() }
    }

    fn add(&mut self, step: &Step, known: Option<KnownResult>) {
        let Some(known) = known else { return };
        self.whole[step.node.index()] = known.is_whole;
        self.old.extend(step.key().filter(|_| known.is_old));
    }

    /// Of what is needed for certain: the goals.
    fn look_for_objects(&mut self, plan: &Plan, results: &mut ResultIndex, store: &LocalStore) {
        let of_goals = plan.goals.iter().filter(|goal| !self.whole[goal.index()]);
        let known = of_goals.filter_map(|goal| Some((*goal, plan.step(*goal)?.known_key()?)));
        let is_whole = |key| results.get(key).is_some_and(|result| result.is_whole);
        let (whole, doubted): (Vec<_>, Vec<_>) = known.partition(|(_, key)| is_whole(*key));
        whole.into_iter().for_each(|(node, _)| self.whole[node.index()] = true);
        let (nodes, keys): (Vec<NodeId>, Vec<Digest>) = doubted.into_iter().unzip();
        for (node, is_whole) in nodes.into_iter().zip(results.look_for_objects(&keys, store)) {
            self.whole[node.index()] = is_whole;
        }
    }
}

/// What is found out of one node whose inputs are known.
pub struct Assessment {
    /// Its key.
    pub key: Digest,
    /// What it gave, if it is a hit.
    pub outputs: Option<Outputs>,
    /// What publishing would change, where that is asked and it would.
    difference: Option<String>,
}

impl Planner<'_> {
    /// Plans `goals` and everything they need.
    pub fn plan(&self, goals: &[NodeId]) -> Result<Plan, PlanError> {
        self.plan_from(goals, None)
    }

    /// The same plan, without a look at what stands as it did for an earlier one.
    pub fn plan_from(&self, goals: &[NodeId], baseline: Option<&Baseline>) -> Result<Plan, PlanError> {
        let mut standing = Standing::new(baseline.filter(|_| self.remote.is_none()), self.graph, self.files);
        let mut steps: Steps = vec![None; self.graph.len()];
        let layers = self.graph.layers(goals);
        let works = layers.iter().flatten().map(|node| &self.graph.node(*node).work);
        works.filter_map(Work::publish).for_each(|publish| publish.target.begin());
        self.read_local_files(&layers, &standing);
        let ahead = self.results.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut results = ahead.unwrap_or_else(|| ResultIndex::load(self.store));
        let mut remembered = Remembered::new(self.graph.len());
        for layer in layers {
            self.ask(&layer, &steps)?;
            layer.iter().for_each(|node| self.bring_catalogs(*node, &mut steps));
            // Nothing in a layer needs another of it. Whether to publish may be asked of a network: not where files are read.
            let is_asked = |node: &NodeId| matches!(self.graph.node(*node).work, Work::Publish(_));
            let (asked, of_files): (Vec<_>, Vec<_>) = layer.into_iter().partition(is_asked);
            for part in of_files.chunks(PART).chain([&asked[..]]) {
                let look = |node: &NodeId| match standing.step(*node, &results) {
                    Some((step, known)) => Ok(Found { step, known, stands: true }),
                    None => self.step(*node, &steps, &results),
                };
                let found: Vec<_> = match part.first().is_some_and(is_asked) {
                    true => part.iter().map(look).collect(),
                    false => part.par_iter().map(look).collect(),
                };
                for found in found {
                    let Found { step, known, stands } = found?;
                    if !stands {
                        standing.fall(step.node, self.graph);
                    }
                    remembered.add(&step, known);
                    let at = step.node.index();
                    steps[at] = Some(step);
                }
            }
        }
        #[expect(
            clippy::filter_map_identity,
            reason = "`flatten` would make another list, and there are many"
        )]
        let steps = steps.into_iter().filter_map(|step| step).collect();
        let mut plan = Plan { goals: goals.to_vec(), steps };
        remembered.look_for_objects(&plan, &mut results, self.store);
        while self.demote_incomplete(&mut plan, &remembered) {}
        self.ask_for_durations(&plan);
        results.touch(&remembered.old, self.store);
        // The next plan looks at more directories without it.
        let _ = results.save(self.store);
        Ok(plan)
    }

    fn read_local_files(&self, layers: &[Vec<NodeId>], standing: &Standing) {
        let fallen = layers.iter().flatten().filter(|id| !standing.holds(**id));
        let inputs = fallen.flat_map(|id| &self.graph.node(*id).inputs);
        let files: Vec<&LocalFiles> = inputs.filter_map(Input::files).collect();
        self.files.prepare(&files);
    }

    /// How long a node takes is told by its history, also while it waits for others.
    fn ask_for_durations(&self, plan: &Plan) {
        let Some(remote) = self.remote.filter(|remote| remote.is_read()) else { return };
        let waiting = plan.steps.iter().filter(|step| matches!(step.verdict, Verdict::Unknown(_)));
        let names = waiting
            .map(|step| self.graph.node(step.node))
            .filter(|node| !matches!(node.work, Work::Publish(_)));
        let names = names.map(|node| node.name.clone()).filter(|name| !self.store.remembers(name));
        self.recall(remote, names.collect());
    }

    /// Asks the remote store for the results of all nodes whose inputs are known and whose result is not, and
    /// for what explains it where there is none: all at the same time, since every answer takes its time.
    fn ask(&self, nodes: &[NodeId], steps: &Steps) -> Result<(), PlanError> {
        let Some(remote) = self.remote.filter(|remote| remote.is_read()) else { return Ok(()) };
        let mut asked = Vec::new();
        for id in nodes {
            let node = self.graph.node(*id);
            let mut inputs = node.inputs.iter().filter_map(Input::node);
            let is_shared = !matches!(node.work, Work::Publish(_)) && !node.work.is_bare();
            if is_shared && inputs.all(|need| outputs_of(need, steps).is_some()) {
                let known = |need| outputs_of(need, steps);
                let key = key_of(&Action::new(node, &input_digests(node, self.files, known)?));
                if self.store.result(key).is_none() {
                    asked.push((key, node));
                }
            }
        }
        self.look_up(remote, asked.iter().map(|(key, _)| *key).collect());
        asked.retain(|(key, _)| self.store.result(*key).is_none());
        let names = asked.iter().map(|(_, node)| node.name.clone());
        self.recall(remote, names.collect());
        let is_new = |node: &&Node| !self.store.remembers(&node.name);
        let new = asked.iter().map(|(_, node)| *node).filter(is_new);
        let mut before: Vec<String> = new
            .flat_map(|node| self.predecessors(node).into_iter().take(VERSIONS_ASKED))
            .map(|(name, _)| name)
            .filter(|name| !self.store.remembers(name))
            .collect();
        before.sort();
        before.dedup();
        self.recall(remote, before);
        Ok(())
    }

    fn look_up(&self, remote: &RemoteStore, keys: Vec<Digest>) {
        let remote = remote.clone();
        if !keys.is_empty() {
            s3::wait(async move { remote.look_up(keys).await });
        }
    }

    fn recall(&self, remote: &RemoteStore, nodes: Vec<String>) {
        let remote = remote.clone();
        if !nodes.is_empty() {
            s3::wait(async move { remote.recall(nodes).await });
        }
    }

    /// Whether something is to be published is found out by reading catalogs: they have to be here. An
    /// index whose catalog is not to be had is run again.
    fn bring_catalogs(&self, node: NodeId, steps: &mut Steps) {
        let node = self.graph.node(node);
        if !matches!(node.work, Work::Publish(_)) {
            return;
        }
        for input in &node.inputs {
            let Input::Node { node: index, output } = input else { continue };
            let Some(step) = &mut steps[index.index()] else { continue };
            let Some(catalog) = step.outputs.as_ref().and_then(|outputs| outputs.get(output)) else {
                continue;
            };
            if self.store.holds_tree(catalog) || step.verdict != Verdict::Hit {
                continue;
            }
            let wanted = [(output.as_str(), catalog)].into_iter().collect();
            if !self.bring(step.key(), wanted) {
                step.verdict = Verdict::Run(Cause::ObjectsGone);
                step.outputs = None;
            }
        }
    }

    /// Brings trees of a result from the remote store; false where that is not possible.
    fn bring(&self, key: Option<Digest>, trees: Outputs) -> bool {
        let (Some(remote), Some(key)) = (self.remote.filter(|remote| remote.is_read()), key) else {
            return false;
        };
        let remote = remote.clone();
        s3::wait(async move { remote.bring(key, trees).await }).is_ok()
    }

    /// Brings what was asked for and is known, and is only elsewhere yet. False where something cannot be had:
    /// another plan says what to do about it.
    pub fn bring_goals(&self, plan: &Plan) -> bool {
        let goals = plan.goals.iter().filter_map(|goal| plan.step(*goal));
        let hits = goals.filter(|step| step.verdict == Verdict::Hit);
        let mut all = true;
        for step in hits {
            let outputs = step.outputs.clone().unwrap_or_default();
            let is_here = outputs.trees().all(|tree| self.store.holds_tree(tree));
            all &= is_here || self.bring(step.key(), outputs);
        }
        all
    }

    /// What is to be done about a node, and what is known of its result beside what it gives.
    fn step(&self, node: NodeId, steps: &Steps, results: &ResultIndex) -> Result<Found, PlanError> {
        // A required test only has to come first; what a node is made of are its inputs.
        let inputs = self.graph.node(node).inputs.iter().filter_map(Input::node);
        if let Some(need) = inputs.filter(|need| outputs_of(*need, steps).is_none()).min() {
            self.check_destination(node)?;
            let outline = self.outline(node, steps)?;
            let verdict = Verdict::Unknown(need);
            let step = Step { node, outline, verdict, outputs: None, place: None };
            return Ok(Found { step, known: None, stands: false });
        }
        let known = |need| outputs_of(need, steps);
        let inputs = input_digests(self.graph.node(node), self.files, known)?;
        let mut remembered = None;
        let known = |key| {
            remembered = results.get(key);
            remembered.as_ref().map(|known| known.outputs.clone()).or_else(|| self.taken(key))
        };
        let found = self.assess_by(self.graph.node(node), &inputs, known)?;
        let verdict = self.verdict(self.graph.node(node), &inputs, &found);
        let Assessment { key, outputs, .. } = found;
        let place = outputs.is_some().then(|| self.place(key));
        let step = Step { node, outline: key, verdict, outputs, place };
        Ok(Found { step, known: remembered, stands: false })
    }

    fn place(&self, key: Digest) -> Place {
        match self.remote.is_some_and(|remote| remote.can_give(key)) {
            true => Place::S3,
            false => Place::Local,
        }
    }

    /// Local files are read now, also for what waits for others: a plan pins them all.
    fn outline(&self, id: NodeId, steps: &Steps) -> Result<Digest, PlanError> {
        let node = self.graph.node(id);
        let inputs = node.inputs.iter().map(|input| match input {
            Input::Files(local) => Ok(self.files.get(local)?.digest),
            Input::Node { node, output } => {
                let known = outputs_of(*node, steps).and_then(|outputs| outputs.get(output));
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

    /// What a result gives that came from the remote store for this plan.
    fn taken(&self, key: Digest) -> Option<Outputs> {
        self.remote.and_then(|_| self.store.result(key)).map(|result| result.outputs.into())
    }

    /// The key of a node and what the store knows under it.
    pub fn assess(&self, node: &Node, inputs: &[Digest]) -> Result<Assessment, PlanError> {
        let known = |key| {
            let result = self.store.result(key)?;
            self.store.touch_result(key);
            Some(result.outputs.into())
        };
        self.assess_by(node, inputs, known)
    }

    fn assess_by(
        &self,
        node: &Node,
        inputs: &[Digest],
        known: impl FnOnce(Digest) -> Option<Outputs>,
    ) -> Result<Assessment, PlanError> {
        let key = key_of(&Action::new(node, inputs));
        let Work::Publish(publish) = &node.work else {
            // Whether its objects are here too matters only to those who need them.
            return Ok(Assessment { key, outputs: known(key), difference: None });
        };
        let failed = |fault| PlanError::Publish { node: node.name.clone(), source: Box::new(fault) };
        let difference = Destination::new(publish).difference(inputs, self.store).map_err(failed)?;
        let outputs = difference.is_none().then(Outputs::default);
        Ok(Assessment { key, outputs, difference })
    }

    /// What is to be done about a node that was found to be so.
    fn verdict(&self, node: &Node, inputs: &[Digest], found: &Assessment) -> Verdict {
        match (&found.outputs, &found.difference) {
            (Some(_), _) => Verdict::Hit,
            (None, Some(difference)) => Verdict::Run(Cause::Destination(difference.clone())),
            (None, None) => match self.store.failure(found.key) {
                Some(failure) => Verdict::FailedBefore(failure.error),
                None => Verdict::Run(self.cause(node, inputs)),
            },
        }
    }

    fn cause(&self, node: &Node, inputs: &[Digest]) -> Cause {
        let fields = fields_of(&Action::new(node, inputs));
        match nearest_earlier(self.store, &node.name, &fields) {
            Some((_, earlier)) => match difference(self.store, self.files, node, &earlier.action, &fields) {
                same if same.is_empty() => Cause::ResultGone,
                changes => Cause::Changed(changes),
            },
            None => self.new_version(node).unwrap_or(Cause::New),
        }
    }

    /// The version that makes a node new, if an earlier one of the same major was built before.
    fn new_version(&self, node: &Node) -> Option<Cause> {
        self.predecessors(node)
            .into_iter()
            .find(|(name, _)| self.store.remembers(name))
            .map(|(_, cause)| cause)
    }

    /// The same node of earlier versions of the same major, the nearest first, each with what makes this
    /// node new if that one is known.
    fn predecessors(&self, node: &Node) -> Vec<(String, Cause)> {
        let mut all = Vec::new();
        for (place, coordinate) in node.cell.coordinates().iter().enumerate() {
            let is_whole = coordinate.dimension.attribute.is_none();
            let Some(lineage) = self.graph.lineage(coordinate.axis).filter(|_| is_whole) else { continue };
            for before in lineage.before(&coordinate.value) {
                let cell = node.cell.with_value(place, before.as_str());
                let version = NewVersion {
                    upstream: lineage.upstream.clone(),
                    before: before.to_string(),
                    after: coordinate.value.to_string(),
                    place: lineage.place.clone(),
                };
                all.push((format!("{}[{cell}]", node.declared.target), Cause::Version(Box::new(version))));
            }
        }
        all
    }

    /// A hit serves only those who need its objects. Where one of them is run and an object is
    /// gone, the hit is a miss: seen from the goals down, since this makes further needs. Gives whether
    /// more is known now than at the start, so that this has to be done again.
    fn demote_incomplete(&self, plan: &mut Plan, remembered: &Remembered) -> bool {
        let mut needed = vec![false; self.graph.len()];
        plan.goals.iter().for_each(|goal| needed[goal.index()] = true);
        let (mut demoted, mut asked) = (Vec::new(), Vec::new());
        let incomplete = |step: &Step| {
            let outputs = step.outputs.as_ref().filter(|_| step.verdict == Verdict::Hit);
            let is_whole = remembered.whole[step.node.index()];
            let is_here = |tree| self.store.holds_tree(tree);
            outputs.is_some_and(|outputs| !is_whole && !outputs.trees().all(is_here))
        };
        for at in (0..plan.steps.len()).rev() {
            let step = &plan.steps[at];
            if needed[step.node.index()] && incomplete(step) {
                let (Some(key), remote) = (step.key(), self.remote.filter(|remote| remote.is_read())) else {
                    continue;
                };
                match remote {
                    Some(remote) if remote.can_give(key) => continue,
                    Some(remote) if !remote.was_asked(key) => asked.push(key),
                    _ => demoted.push(at),
                }
            }
            if plan.steps[at].verdict != Verdict::Hit || demoted.last() == Some(&at) {
                self.graph.needs(plan.steps[at].node).for_each(|need| needed[need.index()] = true);
            }
        }
        for at in demoted {
            (plan.steps[at].verdict, plan.steps[at].place) = (Verdict::Run(Cause::ObjectsGone), None);
        }
        // Objects that are gone here may be there.
        if let Some(remote) = self.remote.filter(|_| !asked.is_empty()) {
            self.look_up(remote, asked.clone());
            let steps =
                plan.steps.iter_mut().filter(|step| step.key().is_some_and(|key| asked.contains(&key)));
            steps.for_each(|step| step.place = step.key().map(|key| self.place(key)));
        }
        !asked.is_empty()
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
                .and_then(|outputs| outputs.get(output))
                .unwrap_or_else(|| unreachable!("a node ends with every declared output, or fails"))),
        })
        .collect()
}
