use std::io::{self, Write};

use super::words::Words;
use super::workspace::Workspace;
use super::{CommandError, Global, exit};
use crate::digest::Digest;
use crate::plan::{LocalTrees, Step};
use crate::s3;
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
    let name = workspace.graph.node(node).name();
    workspace.require_locked(&[node])?;
    let stats = StatCache::of(&workspace.store);
    let files = LocalTrees::new(&stats);
    let planner = workspace.planner(&files);
    let key = planner.plan(&[node])?.step(node).and_then(Step::key);
    let (key, log) = last_log(&workspace.store, &name, key).ok_or_else(|| {
        CommandError::new(format!("{name} has no log: it did not run yet, or runs no script"))
    })?;
    if let Some(remote) = workspace.remote.clone().filter(|_| !workspace.store.contains(log)) {
        s3::wait(async move { remote.bring_log(key, log).await });
    }
    workspace.tell_said();
    io::stdout().write_all(&workspace.store.get(log)?)?;
    Ok(exit::OK)
}

/// Of the failure or the result under the key of now, else of the latest result.
fn last_log(store: &LocalStore, node: &str, key: Option<Digest>) -> Option<(Digest, Digest)> {
    let of_key = key.and_then(|key| {
        let failure = store.failure(key).and_then(|failure| failure.log);
        let log = failure.or_else(|| store.result(key)?.log)?;
        Some((key, log))
    });
    of_key.or_else(|| store.earlier(node).find_map(|earlier| Some((earlier.key, earlier.result.log?))))
}
