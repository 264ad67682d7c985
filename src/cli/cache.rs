use std::time::Duration;

use clap::Subcommand;

use super::{CommandError, Global, exit};
use crate::store::LocalStore;
use crate::ui::human_bytes;

/// Look at the local store, check it, or make room.
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
    },
    /// Read and hash every object; remove what is damaged.
    Verify,
    /// Remove what was not used lately.
    Gc {
        /// Keep what was used in so many days.
        #[arg(long, default_value_t = 14, value_name = "N")]
        days: u64,
    },
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    let store = LocalStore::open(&global.store)?;
    match arguments.command {
        Command::Stats { json } => stats(&store, json),
        Command::Verify => verify(&store),
        Command::Gc { days } => gc(&store, days),
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
