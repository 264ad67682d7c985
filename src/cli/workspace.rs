use std::sync::Arc;

use super::words::Words;
use super::{CommandError, Global, error};
use crate::buildfile::{self, Buildfile, Faults};
use crate::graph::{self, Graph, NodeId};
use crate::matrix::Axes;
use crate::store::{LocalStore, StatCache};
use crate::upstream::Lock;

/// Everything that is read before a plan can be made.
pub struct Workspace {
    /// The values that are selected.
    pub axes: Axes,
    /// All nodes of the selection.
    pub graph: Graph,
    /// The local store.
    pub store: Arc<LocalStore>,
}

impl Workspace {
    /// Reads the Buildfile and the lock, expands the matrix, and opens the store. Warnings are
    /// told.
    pub fn open(global: &Global, words: &Words) -> Result<Self, CommandError> {
        let (buildfile, lock) = read(global)?;
        let axes = Axes::resolve(&buildfile, &lock, &words.selection)?;
        let (graph, warnings) = graph::build(&buildfile, &axes, &lock)?;
        // A rule that a narrow selection does not touch is not idle.
        if words.selection.is_empty() && buildfile.choice.is_empty() {
            warnings.iter().for_each(error::print);
        }
        Ok(Self { axes, graph, store: Arc::new(LocalStore::open(&global.store)?) })
    }

    /// Keeps what this process learnt of local files. Without it they are read once more.
    pub fn remember(&self, stats: StatCache) {
        if let Err(error) = stats.save(&self.store) {
            eprintln!("the next plan reads all local files again: {error}");
        }
    }

    /// Refuses goals that the lock does not say enough about.
    pub fn require_locked(&self, goals: &[NodeId]) -> Result<(), CommandError> {
        let closure = self.graph.closure(goals);
        let faults: Vec<_> = closure.iter().filter_map(|id| self.graph.node(*id).fault.clone()).collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Faults { errors: faults }.into()),
        }
    }
}

/// The Buildfile and its lock; warnings are told.
pub fn read(global: &Global) -> Result<(Buildfile, Lock), CommandError> {
    let (buildfile, warnings) = buildfile::load(&global.file, global.profile.as_deref())?;
    warnings.iter().for_each(error::print);
    let lock = Lock::load(&buildfile.dir.join(&buildfile.lock))?;
    Ok((buildfile, lock))
}
