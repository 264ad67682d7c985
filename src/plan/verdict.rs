use super::Cause;
use crate::digest::Digest;
use crate::graph::{Graph, NodeId, Work};
use crate::store::Outputs;

/// What is to be done about every node that the goals need.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was asked for.
    pub goals: Vec<NodeId>,
    /// Every needed node once; what is needed comes before what needs it.
    pub steps: Vec<Step>,
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
}

impl Step {
    /// Its key, once all inputs are known.
    pub fn key(&self) -> Option<Digest> {
        match self.verdict {
            Verdict::Unknown(_) => None,
            _ => Some(self.outline),
        }
    }

    /// The key under which its result is known.
    pub fn known_key(&self) -> Option<Digest> {
        self.key().filter(|_| self.verdict == Verdict::Hit)
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
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.steps.iter().all(|step| step.verdict == Verdict::Hit)
    }

    /// Whether a sandbox or an engine may be needed for what is to be done.
    pub fn needs_runner(&self, graph: &Graph) -> bool {
        let mut to_do = self.steps.iter().filter(|step| step.verdict != Verdict::Hit);
        to_do.any(|step| graph.node(step.node).work.needs_runner())
    }

    /// Whether what it says follows from files on this machine alone: nothing of it is in the shared cache, and
    /// neither a repository nor a signing key was asked.
    pub fn is_of_files(&self, graph: &Graph) -> bool {
        let is_of_files = |work: &Work| match work {
            Work::Publish(_) | Work::Key(_) => false,
            Work::Package(package) => package.signer.is_none(),
            _ => true,
        };
        let is_local = |step: &Step| step.place != Some(Place::S3);
        self.steps.iter().all(|step| is_local(step) && is_of_files(&graph.node(step.node).work))
    }

    /// The step of a node.
    pub fn step(&self, node: NodeId) -> Option<&Step> {
        // Steps stand in the order of node ids, since a graph is built needs first.
        self.steps.binary_search_by_key(&node, |step| step.node).ok().map(|at| &self.steps[at])
    }

    /// How many results are in the shared cache.
    pub fn of_s3(&self) -> usize {
        self.steps.iter().filter(|step| step.place == Some(Place::S3)).count()
    }

    /// How many steps have a verdict of that word.
    pub fn count(&self, word: &str) -> usize {
        self.steps.iter().filter(|step| step.verdict.word() == word).count()
    }
}
