use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::explain::{difference, nearest_earlier};
use super::standing::Standing;
use super::verdict::Beside;
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

/// The steps of nodes that were looked at, in the order in which they were.
struct Steps {
    all: Vec<Step>,
    /// The place of each node's behind those before it; none is 0.
    places: Vec<u32>,
}

impl Steps {
    /// None yet, of a graph of so many nodes.
    fn of(nodes: usize) -> Self {
        Self { all: Vec::new(), places: vec![0; nodes] }
    }

    /// Adds the steps of these nodes, in their order.
    fn append(&mut self, nodes: &[NodeId], mut steps: Vec<Step>) {
        let behind = self.all.len() as u32 + 1;
        (behind..).zip(nodes).for_each(|(place, node)| self.places[node.index()] = place);
        match self.all.is_empty() {
            true => self.all = steps,
            false => self.all.append(&mut steps),
        }
    }

    fn at(&self, node: NodeId) -> Option<usize> {
        (self.places[node.index()] as usize).checked_sub(1)
    }

    fn get_mut(&mut self, node: NodeId) -> Option<&mut Step> {
        self.at(node).map(|at| &mut self.all[at])
    }

    /// What a node gives, if that is known.
    fn outputs_of(&self, node: NodeId) -> Option<&Outputs> {
        self.all[self.at(node)?].outputs.as_ref()
    }

    /// All, by their nodes.
    fn sorted(mut self) -> Vec<Step> {
        // They are where nodes need none of each other.
        let places = self.places.iter().filter(|place| **place > 0);
        if !places.is_sorted() {
            self.all.sort_by_key(|step| step.node);
        }
        self.all
    }
}

/// So many nodes are looked at, and their results looked up, at once.
const BATCH: usize = 64;

/// What `find` gives for each batch of nodes, in their order: found on all cores, and written where it stays, as there is much of it.
fn in_batches<T: Send, E: Send>(
    nodes: &[NodeId],
    find: impl Fn(&[NodeId]) -> Result<Vec<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut all = Vec::with_capacity(nodes.len());
    let places = &mut all.spare_capacity_mut()[..nodes.len()];
    places.par_chunks_mut(BATCH).zip(nodes.par_chunks(BATCH)).try_for_each(|(places, nodes)| {
        let found = find(nodes)?;
        assert_eq!(found.len(), places.len(), "something is found of each node");
        for (place, found) in places.iter_mut().zip(found) {
            place.write(found);
        }
        Ok(())
    })?;
    // SAFETY: there is room for as many, and each of them was written, since no batch ended otherwise.
    unsafe { all.set_len(nodes.len()) };
    Ok(all)
}

/// How far a node is looked at.
enum Look {
    /// This is what was found.
    Found(Step),
    /// Its inputs are known, and so is its key. What is known under that is still to be looked up.
    Keyed { node: NodeId, inputs: Vec<Digest>, key: Digest },
}

impl Look {
    fn key(&self) -> Option<Digest> {
        match self {
            Self::Found(_) => None,
            Self::Keyed { key, .. } => Some(*key),
        }
    }
}

/// Steps that are looked at once more: most often there is none.
#[derive(Default)]
struct Marked {
    /// The places of hits of which it is not known that all their objects are here.
    doubted: Vec<usize>,
    /// The keys of results that were not used for long.
    old: Vec<Digest>,
}

impl Marked {
    fn of(steps: &[Step]) -> Self {
        let add = |mut marked: Self, (at, step): (usize, &Step)| {
            marked.doubted.extend(step.is_doubted().then_some(at));
            marked.old.extend(step.key().filter(|_| step.beside.is_old));
            marked
        };
        let all = |mut all: Self, Self { doubted, old }: Self| {
            all.doubted.extend(doubted);
            all.old.extend(old);
            all
        };
        steps.par_iter().enumerate().fold(Self::default, add).reduce(Self::default, all)
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
        let layers = self.graph.layers(goals);
        let mut steps = Steps::of(self.graph.len());
        // Whether to publish may be asked of a network: not where files are read.
        let publication = |node: &NodeId| self.graph.node(*node).work.publish();
        let publishing: Vec<NodeId> =
            self.graph.outward().iter().copied().filter(|node| publication(node).is_some()).collect();
        let is_asked = |node: &NodeId| publishing.binary_search(node).is_ok();
        let asked = layers.iter().flatten().filter(|node| is_asked(node));
        asked.filter_map(publication).for_each(|publish| publish.target.begin());
        self.read_local_files(&layers, &standing);
        let ahead = self.results.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut results = ahead.unwrap_or_else(|| ResultIndex::load(self.store));
        for layer in layers {
            self.ask(&layer, &steps)?;
            // Nothing in a layer needs another of it.
            let (of_files, asked) = match publishing.is_empty() {
                true => (layer, Vec::new()),
                false => layer.into_iter().partition(|node| !is_asked(node)),
            };
            asked.iter().for_each(|node| self.bring_catalogs(*node, &mut steps));
            for (nodes, found) in [
                (&of_files, in_batches(&of_files, |batch| self.look(batch, &standing, &steps, &results))?),
                (&asked, self.look(&asked, &standing, &steps, &results)?),
            ] {
                standing.note(&found, self.graph);
                steps.append(nodes, found);
            }
        }
        let mut steps = steps.sorted();
        let Marked { doubted, old } = Marked::of(&steps);
        self.look_for_objects(goals, &doubted, &mut steps, &mut results);
        while doubted.iter().any(|at| steps[*at].is_doubted()) && self.demote_incomplete(goals, &mut steps) {}
        let plan = Plan::new(goals.to_vec(), steps);
        self.ask_for_durations(&plan);
        results.touch(&old, self.store);
        // The next plan looks at more directories without it.
        let _ = results.save(self.store);
        // To take it apart takes its time, and nobody waits for that.
        rayon::spawn(move || drop(results));
        Ok(plan)
    }

    fn read_local_files(&self, layers: &[Vec<NodeId>], standing: &Standing) {
        if !self.graph.has_files() {
            return;
        }
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
        let names = names.map(|node| node.name()).filter(|name| !self.store.remembers(name));
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
            if is_shared && inputs.all(|need| steps.outputs_of(need).is_some()) {
                let known = |need| steps.outputs_of(need);
                let key = key_of(&Action::new(node, &input_digests(node, self.files, known)?));
                if self.store.result(key).is_none() {
                    asked.push((key, node));
                }
            }
        }
        self.look_up(remote, asked.iter().map(|(key, _)| *key).collect());
        asked.retain(|(key, _)| self.store.result(*key).is_none());
        let names = asked.iter().map(|(_, node)| node.name());
        self.recall(remote, names.collect());
        let is_new = |node: &&Node| !self.store.remembers(&node.name());
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
        for input in &self.graph.node(node).inputs {
            let Input::Node { node: index, output } = input else { continue };
            let Some(step) = steps.get_mut(*index) else { continue };
            let Some(catalog) = step.outputs.as_ref().and_then(|outputs| outputs.get(output)) else {
                continue;
            };
            if self.store.holds_tree(catalog) || !step.verdict.is_hit() {
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
        let hits = goals.filter(|step| step.verdict.is_hit());
        let mut all = true;
        for step in hits {
            let outputs = step.outputs.clone().unwrap_or_default();
            let is_here = outputs.trees().all(|tree| self.store.holds_tree(tree));
            all &= is_here || self.bring(step.key(), outputs);
        }
        all
    }

    /// What is to be done about nodes none of which needs another. Their results are looked up all at once.
    fn look(
        &self,
        nodes: &[NodeId],
        standing: &Standing,
        steps: &Steps,
        results: &ResultIndex,
    ) -> Result<Vec<Step>, PlanError> {
        let look = |node: &NodeId| match standing.step(*node, results) {
            Some(step) => Ok(Look::Found(step)),
            None => self.key(*node, steps),
        };
        let looks: Vec<Look> = nodes.iter().map(look).collect::<Result<_, _>>()?;
        let keys: Vec<Digest> = looks.iter().filter_map(Look::key).collect();
        let mut known = results.get_each(&keys).into_iter();
        let found = |look| match look {
            Look::Found(step) => Ok(step),
            Look::Keyed { node, inputs, key } => self.step(node, &inputs, key, known.next().flatten()),
        };
        looks.into_iter().map(found).collect()
    }

    /// The key of a node, or why it has none yet.
    fn key(&self, node: NodeId, steps: &Steps) -> Result<Look, PlanError> {
        // A required test only has to come first; what a node is made of are its inputs.
        let inputs = self.graph.node(node).inputs.iter().filter_map(Input::node);
        if let Some(need) = inputs.filter(|need| steps.outputs_of(*need).is_none()).min() {
            self.check_destination(node)?;
            let outline = self.outline(node, steps)?;
            let verdict = Verdict::Unknown(need);
            let (outputs, place, beside) = Default::default();
            return Ok(Look::Found(Step { node, outline, verdict, outputs, place, beside }));
        }
        let known = |need| steps.outputs_of(need);
        let inputs = input_digests(self.graph.node(node), self.files, known)?;
        let key = key_of(&Action::new(self.graph.node(node), &inputs));
        Ok(Look::Keyed { node, inputs, key })
    }

    /// What is to be done about a node, with what is known under its key.
    fn step(
        &self,
        id: NodeId,
        inputs: &[Digest],
        key: Digest,
        known: Option<KnownResult>,
    ) -> Result<Step, PlanError> {
        let node = self.graph.node(id);
        let beside = Beside::of(known.as_ref());
        let outputs = known.map(|known| known.outputs);
        let found = self.assess_by(node, inputs, key, || outputs.or_else(|| self.taken(key)))?;
        let verdict = self.verdict(node, inputs, &found);
        let outputs = found.outputs;
        let place = outputs.is_some().then(|| self.place(key));
        Ok(Step { node: id, outline: key, verdict, outputs, place, beside })
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
                let known = steps.outputs_of(*node).and_then(|outputs| outputs.get(output));
                let name = self.graph.node(*node).name();
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
            let failed = |fault| PlanError::Publish { node: node.name(), source: Box::new(fault) };
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
        let key = key_of(&Action::new(node, inputs));
        let known = || {
            let result = self.store.result(key)?;
            self.store.touch_result(key);
            Some(result.outputs.into())
        };
        self.assess_by(node, inputs, key, known)
    }

    fn assess_by(
        &self,
        node: &Node,
        inputs: &[Digest],
        key: Digest,
        known: impl FnOnce() -> Option<Outputs>,
    ) -> Result<Assessment, PlanError> {
        let Work::Publish(publish) = &node.work else {
            // Whether its objects are here too matters only to those who need them.
            return Ok(Assessment { key, outputs: known(), difference: None });
        };
        let failed = |fault| PlanError::Publish { node: node.name(), source: Box::new(fault) };
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
        match nearest_earlier(self.store, &node.name(), &fields) {
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
        for (place, coordinate) in node.cell.coordinates().enumerate() {
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

    /// Looks for the objects of what is needed for certain: the goals.
    fn look_for_objects(
        &self,
        goals: &[NodeId],
        doubted: &[usize],
        steps: &mut [Step],
        results: &mut ResultIndex,
    ) {
        if doubted.is_empty() {
            return;
        }
        let goals: HashSet<NodeId> = goals.iter().copied().collect();
        let of_goals = doubted.iter().copied().filter(|at| goals.contains(&steps[*at].node));
        let is_whole = |at: &usize| results.get(steps[*at].outline).is_some_and(|result| result.is_whole);
        let (whole, doubted): (Vec<usize>, Vec<usize>) = of_goals.partition(is_whole);
        whole.into_iter().for_each(|at| steps[at].beside.is_whole = true);
        let keys: Vec<Digest> = doubted.iter().map(|at| steps[*at].outline).collect();
        for (at, is_whole) in doubted.into_iter().zip(results.look_for_objects(&keys, self.store)) {
            steps[at].beside.is_whole = is_whole;
        }
    }

    /// A hit serves only those who need its objects. Where one of them is run and an object is
    /// gone, the hit is a miss: seen from the goals down, since this makes further needs. Gives whether
    /// more is known now than at the start, so that this has to be done again.
    fn demote_incomplete(&self, goals: &[NodeId], steps: &mut [Step]) -> bool {
        let mut needed = vec![false; self.graph.len()];
        goals.iter().for_each(|goal| needed[goal.index()] = true);
        let (mut demoted, mut asked) = (Vec::new(), Vec::new());
        let incomplete = |step: &Step| {
            let outputs = step.outputs.as_ref().filter(|_| step.is_doubted());
            let is_here = |tree| self.store.holds_tree(tree);
            outputs.is_some_and(|outputs| !outputs.trees().all(is_here))
        };
        for at in (0..steps.len()).rev() {
            let step = &steps[at];
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
            if !steps[at].verdict.is_hit() || demoted.last() == Some(&at) {
                self.graph.needs(steps[at].node).for_each(|need| needed[need.index()] = true);
            }
        }
        for at in demoted {
            (steps[at].verdict, steps[at].place) = (Verdict::Run(Cause::ObjectsGone), None);
        }
        // Objects that are gone here may be there.
        if let Some(remote) = self.remote.filter(|_| !asked.is_empty()) {
            self.look_up(remote, asked.clone());
            let steps = steps.iter_mut().filter(|step| step.key().is_some_and(|key| asked.contains(&key)));
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
