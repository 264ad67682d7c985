use rayon::prelude::*;

use super::Cause;
use crate::digest::Digest;
use crate::graph::{Graph, NodeId};
use crate::store::{KnownResult, Outputs};

/// What is to be done about every node that the goals need.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was asked for.
    pub goals: Vec<NodeId>,
    /// Every needed node once; what is needed comes before what needs it.
    pub steps: Vec<Step>,
    /// The nodes of those that are no hit.
    pub to_do: Vec<NodeId>,
    /// How many results are in the shared cache.
    pub of_s3: usize,
}

/// One node of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// Its key, with a placeholder for each input that is to come: all of the action that is known.
    pub outline: Digest,
    /// What is to be done.
    pub verdict: Verdict,
    /// What it gives, where that is known already.
    pub outputs: Option<Outputs>,
    /// Where its result is, if it is a hit.
    pub place: Option<Place>,
    /// What else is known of it while the plan is made.
    pub(super) beside: Beside,
}

/// What is found of a node beside what is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    /// Whether all objects of its result are known to be here.
    pub is_whole: bool,
    /// Whether its result was not used for long.
    pub is_old: bool,
    /// Whether it is as it was for an earlier answer.
    pub stands: bool,
}

impl Beside {
    /// What is known of its result.
    pub fn of(known: Option<&KnownResult>) -> Self {
        let is = |of: fn(&KnownResult) -> bool| known.is_some_and(of);
        Self { is_whole: is(|known| known.is_whole), is_old: is(|known| known.is_old), stands: false }
    }
}

impl Step {
    /// Whether it is a hit of which it is not known that all its objects are here.
    pub(super) fn is_doubted(&self) -> bool {
        self.verdict.is_hit() && !self.beside.is_whole
    }

    /// Its key, once all inputs are known.
    pub fn key(&self) -> Option<Digest> {
        match self.verdict {
            Verdict::Unknown(_) => None,
            _ => Some(self.outline),
        }
    }

    /// The key under which its result is known.
    pub fn known_key(&self) -> Option<Digest> {
        self.key().filter(|_| self.verdict.is_hit())
    }
}

/// Where a result is that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the local store.
    Local,
    /// Its objects, or some of them, are in the shared cache.
    S3,
}

/// What is to be done about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The result is known.
    Hit,
    /// It is run, for this reason.
    Run(Cause),
    /// It depends on what this node gives, and may still turn out to be known.
    Unknown(NodeId),
    /// The same action failed last time; it is tried again.
    FailedBefore(String),
}

impl Verdict {
    /// Whether the result is known.
    pub fn is_hit(&self) -> bool {
        matches!(self, Self::Hit)
    }

    /// One word for it, as in `--json`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Run(_) => "run",
            Self::Unknown(_) => "unknown",
            Self::FailedBefore(_) => "failed before",
        }
    }
}

impl Plan {
    /// Of these steps.
    pub(super) fn new(goals: Vec<NodeId>, steps: Vec<Step>) -> Self {
        // There are many, and they are asked for often.
        let to_do = || steps.par_iter().filter(|step| !step.verdict.is_hit()).map(|step| step.node).collect();
        let of_s3 = || steps.par_iter().filter(|step| step.place == Some(Place::S3)).count();
        let (to_do, of_s3) = rayon::join(to_do, of_s3);
        Self { goals, steps, to_do, of_s3 }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.to_do.is_empty()
    }

    /// Whether a sandbox or an engine may be needed for what is to be done.
    pub fn needs_runner(&self, graph: &Graph) -> bool {
        self.to_do.iter().any(|node| graph.node(*node).work.needs_runner())
    }

    /// Whether what it says follows from files on this machine alone: nothing of it is in the shared cache, and
    /// neither a repository nor a signing key was asked.
    pub fn is_of_files(&self, graph: &Graph) -> bool {
        self.of_s3 == 0 && graph.outward().iter().all(|node| self.step(*node).is_none())
    }

    /// The step of a node.
    pub fn step(&self, node: NodeId) -> Option<&Step> {
        step_of(&self.steps, node)
    }

    /// How many steps have a verdict of that word.
    pub fn count(&self, word: &str) -> usize {
        self.steps.iter().filter(|step| step.verdict.word() == word).count()
    }
}

/// The step of a node among `steps`, which stand in the order of node ids. Where all nodes are needed, that is its place.
pub(super) fn step_of(steps: &[Step], node: NodeId) -> Option<&Step> {
    let at_its_place = steps.get(node.index()).filter(|step| step.node == node);
    at_its_place.or_else(|| steps.binary_search_by_key(&node, |step| step.node).ok().map(|at| &steps[at]))
}
