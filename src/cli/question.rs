//! What a command is asked, and what was answered before: where nothing changed that decided, that is told before anything
//! is read, and where only some sources changed, the rest is known.

use std::path::{Path, PathBuf};

use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global};
use crate::digest::{Describe, Digest, Visitor, key_of};
use crate::graph::NodeId;
use crate::plan::{LocalTrees, Plan, Step};
use crate::store::{Answer, Baseline, Decided, KnownNode, LocalStore, Moment, Sighting, worth};

/// What a command is asked, and what the store looked like before anything was read to answer it.
pub struct Question {
    baseline: Option<Baseline>,
    digest: Digest,
    asked: Moment,
    rooms: Vec<(PathBuf, Sighting)>,
}

impl Question {
    /// Everything that is asked, and who asks.
    pub fn new(global: &Global, words: &Words) -> Result<Self, CommandError> {
        let store = LocalStore::open(&global.store)?;
        let asked = Moment::now();
        let rooms = store.watched();
        let digest = key_of(&Asked { global, words });
        Ok(Self { baseline: store.answer(digest), digest, asked, rooms })
    }

    /// What the last answer says of now.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// How many nodes are known, if that is all there is to say, still.
    pub fn idle(&self) -> Option<usize> {
        self.baseline()?.idle
    }

    /// Keeps what `plan` knows, if files on this machine alone decided it and it is not known nearly so well. Without it, it
    /// is found out once more.
    pub fn keep(self, workspace: &Workspace, files: &mut LocalTrees<'_>, plan: &Plan) {
        if !workspace.is_of_files() || !plan.is_of_files(&workspace.graph) {
            return;
        }
        let idle = (plan.is_idle() && !workspace.has_warned).then_some(plan.steps.len());
        let is_news = match &self.baseline {
            Some(baseline) => {
                let then: Vec<Option<Digest>> = baseline.nodes().map(|node| Some(node?.key)).collect();
                let is_new =
                    |step: &&Step| step.known_key().is_some_and(|key| then[step.node.index()] != Some(key));
                idle != baseline.idle || worth(plan.steps.iter().filter(is_new).count(), plan.steps.len())
            }
            None => plan.steps.iter().any(|step| step.known_key().is_some()),
        };
        if !is_news {
            return;
        }
        let mut decided = self.baseline().map(Baseline::decided).unwrap_or_default();
        if look_again(&mut decided, workspace, files) {
            let answer = Answer { asked: self.asked, idle, rooms: &self.rooms, decided };
            let known = |at| {
                let step = plan.step(NodeId::new(at))?;
                Some(KnownNode::new(step.known_key()?, step.outputs.as_ref()?))
            };
            let nodes = workspace.graph.len();
            if let Err(error) = workspace.store.put_answer(self.digest, answer, nodes, known) {
                eprintln!("the next plan looks at every node again: {error}");
            }
        }
    }
}

/// Adds what was looked at now; false if that is something else already.
fn look_again<'f>(decided: &mut Decided<'f>, workspace: &Workspace, files: &'f mut LocalTrees<'_>) -> bool {
    let read = workspace.looked_at.iter().flat_map(|path| whereabouts(path));
    let holds =
        decided.add_dirs(files.searched()) && decided.look_at(files.witnesses()) && decided.look_at(read);
    decided.add_files(files.sightings());
    holds
}

/// A path, and where it leads if it is a link, with whether something is there.
fn whereabouts(path: &Path) -> Vec<(PathBuf, bool)> {
    let Ok(whole) = std::path::absolute(path) else { return vec![(path.to_owned(), false)] };
    match whole.canonicalize() {
        Ok(target) if target != whole => vec![(whole, true), (target, true)],
        Ok(_) => vec![(whole, true)],
        Err(_) => vec![(whole, false)],
    }
}

/// A question in all that may change its answer beside files that are read for it.
struct Asked<'a> {
    global: &'a Global,
    words: &'a Words,
}

impl Describe for Asked<'_> {
    fn describe(&self, v: &mut dyn Visitor) {
        // Another forge may know better.
        let forge = std::env::current_exe().ok();
        v.field("forge", &format!("{:?}", forge.as_deref().and_then(Sighting::at)));
        v.field("Buildfile", &format!("{:?}", std::path::absolute(&self.global.file)));
        v.field("leads to", &format!("{:?}", self.global.file.canonicalize().ok()));
        v.field("profile", self.global.profile.as_deref().unwrap_or_default());
        v.field("cache access", &format!("{:?}", self.global.cache_access));
        v.field("selection", &self.words.selection_text.join(" "));
        v.field("goals", &self.words.goals.join(" "));
    }
}
