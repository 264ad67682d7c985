use std::io::{self, Write};

use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global, exit};
use crate::digest::Digest;
use crate::plan::{LocalTrees, Planner};
use crate::store::{LocalStore, StatCache};

/// Print what a node printed when it last ran.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node, and selections.
    #[arg(required = true)]
    words: Vec<String>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let words = Words::parse(&arguments.words)?;
    let workspace = Workspace::open(global, &words)?;
    let node = words.one_node(&workspace.graph)?;
    let name = &workspace.graph.node(node).name;
    workspace.require_locked(&[node])?;
    let stats = StatCache::load(&workspace.store);
    let files = LocalTrees::new(&stats);
    let planner = Planner { graph: &workspace.graph, store: &workspace.store, files: &files };
    let key = planner.plan(&[node])?.step(node).and_then(|step| step.key);
    let log = last_log(&workspace.store, name, key).ok_or_else(|| {
        CommandError::new(format!("{name} has no log: it did not run yet, or runs no script"))
    })?;
    io::stdout().write_all(&workspace.store.get(log)?)?;
    Ok(exit::OK)
}

/// Of the failure or the result under the key of now, else of the latest result.
fn last_log(store: &LocalStore, node: &str, key: Option<Digest>) -> Option<Digest> {
    let of_key = key.and_then(|key| {
        store.failure(key).and_then(|failure| failure.log).or_else(|| store.result(key).and_then(|r| r.log))
    });
    let entries = store.history(node).entries;
    of_key.or_else(|| entries.iter().rev().find_map(|entry| store.result(entry.key)?.log))
}
