//! The short answer: whoever asks again, with nothing changed that decided, is told so before anything is read.

use std::path::{Path, PathBuf};

use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global};
use crate::digest::{Describe, Digest, Visitor, key_of};
use crate::plan::{LocalTrees, Plan};
use crate::store::{Idle, LocalStore, Moment, Sighting};

/// What a command is asked, and what the store looked like before anything was read to answer it.
pub struct Question {
    /// How many nodes are known, if that is all there is to say, still.
    pub answer: Option<usize>,
    digest: Digest,
    asked: Moment,
    watched: Vec<(PathBuf, Sighting)>,
}

impl Question {
    /// Everything that is asked, and who asks.
    pub fn new(global: &Global, words: &Words) -> Result<Self, CommandError> {
        let store = LocalStore::open(&global.store)?;
        let asked = Moment::now();
        let watched = store.watched();
        let digest = key_of(&Asked { global, words });
        Ok(Self { answer: store.idle(digest), digest, asked, watched })
    }

    /// Keeps the answer that there is nothing to do, if files on this machine alone decided it. Without it, it is found
    /// out once more.
    pub fn keep(self, workspace: &Workspace, files: &LocalTrees<'_>, plan: &Plan) {
        let decided_by_files = workspace.is_of_files() && plan.is_of_files(&workspace.graph);
        if !decided_by_files || workspace.has_warned {
            return;
        }
        let mut idle = Idle { nodes: plan.steps.len(), seen: self.watched, absent: Vec::new() };
        idle.seen.extend(files.sightings());
        let read = workspace.looked_at.iter().flat_map(|path| whereabouts(path));
        let is_kept = idle.look_at(files.witnesses()) && idle.look_at(read);
        if is_kept && let Err(error) = workspace.store.put_idle(self.digest, self.asked, idle) {
            eprintln!("the next plan looks at every node again: {error}");
        }
    }
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
