use std::time::Duration;

use clap::Subcommand;

use super::{CommandError, Global, exit, remote_cache};
use crate::store::LocalStore;
use crate::ui::human_bytes;

/// Look at the local store or the shared cache, check it, make room, or send and fetch results.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count what is in the store.
    Stats {
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
        /// Of the shared cache that the Buildfile names.
        #[arg(long)]
        remote: bool,
    },
    /// Read and hash every object; remove what is damaged.
    Verify {
        /// Of the shared cache that the Buildfile names.
        #[arg(long)]
        remote: bool,
    },
    /// Remove what was not used lately.
    Gc {
        /// Keep what was used in so many days; 14 by default, 30 in the shared cache.
        #[arg(long, value_name = "N")]
        days: Option<u64>,
        /// Of the shared cache that the Buildfile names.
        #[arg(long)]
        remote: bool,
    },
    /// Send results that are known here to the shared cache.
    Push {
        /// Targets, nodes, and selections; what they need is sent too.
        words: Vec<String>,
    },
    /// Fetch results from the shared cache.
    Pull {
        /// Targets, nodes, and selections.
        words: Vec<String>,
    },
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    match &arguments.command {
        Command::Stats { json, remote: true } => remote_cache::stats(global, *json),
        Command::Verify { remote: true } => remote_cache::verify(global),
        Command::Gc { days, remote: true } => remote_cache::gc(global, days.unwrap_or(30)),
        Command::Push { words } => remote_cache::push(global, words),
        Command::Pull { words } => remote_cache::pull(global, words),
        Command::Stats { json, .. } => stats(&LocalStore::open(&global.store)?, *json),
        Command::Verify { .. } => verify(&LocalStore::open(&global.store)?),
        Command::Gc { days, .. } => gc(&LocalStore::open(&global.store)?, days.unwrap_or(14)),
    }
}

fn stats(store: &LocalStore, json: bool) -> Result<u8, CommandError> {
    let stats = store.stats();
    if json {
        println!("{}", serde_json::to_string_pretty(&stats).map_err(CommandError::new)?);
    } else {
        println!("objects  {:>8}  {}", stats.objects, human_bytes(stats.object_bytes));
        println!("results  {:>8}", stats.results);
        println!("trees    {:>8}  {}", stats.trees, human_bytes(stats.tree_bytes));
    }
    Ok(exit::OK)
}

fn verify(store: &LocalStore) -> Result<u8, CommandError> {
    let report = store.verify()?;
    println!("{} objects read", report.checked);
    report.damaged.iter().for_each(|digest| println!("damaged, removed: {digest}"));
    if report.damaged_checkouts > 0 {
        println!("{} checked-out trees were damaged, and are removed", report.damaged_checkouts);
    }
    if report.incomplete > 0 {
        println!("{} results named objects that are gone, and are removed", report.incomplete);
    }
    let is_whole = report.damaged.is_empty() && report.damaged_checkouts == 0;
    Ok(if is_whole { exit::OK } else { exit::ERROR })
}

fn gc(store: &LocalStore, days: u64) -> Result<u8, CommandError> {
    match store.gc(Duration::from_secs(days * 86_400))? {
        Some(report) => {
            let bytes = human_bytes(report.bytes);
            println!("removed {} results and {} objects: {bytes}", report.results, report.objects);
            Ok(exit::OK)
        }
        None => Err(CommandError::new("another forge uses this store; nothing was removed")),
    }
}
