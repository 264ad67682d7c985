use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize, Serializer};

use super::{Place, Plan, PlanError, RepositoryEffect, Step, Verdict};
use crate::digest::{Change, Digest};
use crate::graph::{Graph, NodeId};

/// Raised when the form of a saved plan, which is also that of `forge plan --json`, changes.
pub const PLAN_VERSION: u32 = 2;

/// A plan as it is written: `forge plan --json` and `--out`. The form is in `docs/plan-json.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedPlan<S = Vec<SavedStep>> {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The Buildfile's profile.
    pub profile: Option<String>,
    /// The selection, as on the command line.
    pub selection: Vec<String>,
    /// The goals, as node names.
    pub goals: Vec<String>,
    /// Every node, needs first.
    pub steps: S,
    /// What changes in every repository that is published.
    pub repositories: Vec<RepositoryEffect>,
}

/// One node of a saved plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedStep {
    /// The node's name.
    pub node: String,
    /// Its target.
    pub target: String,
    /// Its key, if all inputs are known.
    pub key: Option<Digest>,
    /// Its key with a placeholder for each input that is to come.
    pub outline: Digest,
    /// `hit`, `run`, `unknown` or `failed before`.
    pub verdict: String,
    /// Where its result is, if it is a hit.
    #[serde(default)]
    pub place: Option<Place>,
    /// Why it is not a hit, in a line.
    pub cause: Option<String>,
    /// What differs from the nearest earlier action.
    pub changes: Vec<Change>,
}

/// The steps of a plan that is at hand. Each is made when it is written, since there may be many.
#[derive(Clone, Copy, Debug)]
pub struct StepsOf<'a> {
    plan: &'a Plan,
    graph: &'a Graph,
}

impl StepsOf<'_> {
    fn iter(&self) -> impl Iterator<Item = SavedStep> {
        self.plan.steps.iter().map(|step| self.saved(step))
    }

    fn saved(&self, step: &Step) -> SavedStep {
        SavedStep {
            node: self.name(step.node),
            target: self.graph.node(step.node).declared.target.to_string(),
            key: step.key(),
            outline: step.outline,
            verdict: step.verdict.word().to_owned(),
            place: step.place,
            cause: match &step.verdict {
                Verdict::Hit => None,
                Verdict::Run(cause) => Some(cause.to_string()),
                Verdict::Unknown(need) => Some(format!("waits for {}", self.name(*need))),
                Verdict::FailedBefore(error) => Some(error.clone()),
            },
            changes: match &step.verdict {
                Verdict::Run(cause) => cause.changes().to_vec(),
                _ => Vec::new(),
            },
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.graph.node(node).name()
    }
}

impl Serialize for StepsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'a> SavedPlan<StepsOf<'a>> {
    /// The written form of `plan`.
    pub fn new(
        plan: &'a Plan,
        graph: &'a Graph,
        profile: Option<&str>,
        selection: &[String],
        repositories: Vec<RepositoryEffect>,
    ) -> Self {
        let steps = StepsOf { plan, graph };
        Self {
            version: PLAN_VERSION,
            profile: profile.map(str::to_owned),
            selection: selection.to_vec(),
            goals: plan.goals.iter().map(|goal| steps.name(*goal)).collect(),
            steps,
            repositories,
        }
    }
}

impl SavedPlan {
    /// Reads a plan that `--out` wrote.
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        let unreadable = |reason: String| PlanError::Unreadable { path: path.to_owned(), reason };
        let bytes = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let plan: Self = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
        match plan.version {
            PLAN_VERSION => Ok(plan),
            other => Err(unreadable(format!("it has version {other}, and this forge writes {PLAN_VERSION}"))),
        }
    }

    /// Refuses `now`, a plan made from the same question, if it is not this one to the letter.
    pub fn check(&self, now: &SavedPlan<StepsOf<'_>>) -> Result<(), PlanError> {
        let stale = |difference: String| Err(PlanError::Stale { difference });
        let (mut then, mut steps) = (self.steps.iter(), now.steps.iter());
        loop {
            match (then.next(), steps.next()) {
                (Some(then), Some(now)) if then.node == now.node => {
                    if (then.key, &then.verdict, &then.cause) != (now.key, &now.verdict, &now.cause) {
                        return stale(format!("{} was '{}' and is '{}'", now.node, told(then), told(&now)));
                    }
                    if then.outline != now.outline {
                        return stale(format!(
                            "{} is another action: its declaration or its files",
                            now.node
                        ));
                    }
                }
                (_, Some(now)) => return stale(format!("{} was not in it", now.node)),
                (Some(then), None) => return stale(format!("{} is not there any more", then.node)),
                (None, None) => break,
            }
        }
        let moved = now.repositories.iter().find(|now| !self.repositories.contains(now));
        match moved {
            Some(now) => stale(format!("{} would change in another way", now.repository)),
            None => Ok(()),
        }
    }
}

fn told(step: &SavedStep) -> String {
    let key = step.key.map(|key| format!(" under key {}", key.short())).unwrap_or_default();
    let cause = step.cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{}{key}{cause}", step.verdict)
}
