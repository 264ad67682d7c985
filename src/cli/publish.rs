use clap::Subcommand;
use time::OffsetDateTime;
use time::macros::format_description;

use super::words::Words;
use super::workspace::{Workspace, tell};
use super::{CommandError, Global, exit};
use crate::graph::{NodeId, Work};
use crate::keys::signing_time;
use crate::plan::Destination;
use crate::publish::{Effect, Outcome, Past, Progress};
use crate::ui::human_bytes;

/// Look at what is published, check it, go back, or make room.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the generations that are retained, newest first, and what each one changed.
    History {
        /// Publish nodes, and selections such as otp=27; all of them by default.
        words: Vec<String>,
    },
    /// Publish an earlier generation again, as a new one. The next `forge run` publishes what the
    /// Buildfile says.
    Rollback {
        /// The generation, as `forge publish history` names it.
        id: String,
        /// Publish nodes, and selections such as otp=27; all of them by default.
        words: Vec<String>,
    },
    /// Remove what killed publishers left and what is past its retention. Packages stay.
    Gc {
        /// Publish nodes, and selections such as otp=27; all of them by default.
        words: Vec<String>,
    },
    /// Read every file of the live generations, and compare its digest.
    Verify {
        /// Publish nodes, and selections such as otp=27; all of them by default.
        words: Vec<String>,
    },
}

pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CommandError> {
    match &arguments.command {
        Command::History { words } => history(&Sites::open(global, words)?),
        Command::Rollback { id, words } => roll_back(&Sites::open(global, words)?, id),
        Command::Gc { words } => gc(&Sites::open(global, words)?),
        Command::Verify { words } => verify(&Sites::open(global, words)?),
    }
}

/// The publish nodes that are meant.
struct Sites {
    workspace: Workspace,
    words: Words,
}

impl Sites {
    fn open(global: &Global, words: &[String]) -> Result<Self, CommandError> {
        let words = Words::parse(words)?;
        Ok(Self { workspace: Workspace::open(global, &words)?, words })
    }

    fn destinations(&self) -> Result<Vec<Destination<'_>>, CommandError> {
        let graph = &self.workspace.graph;
        let nodes: Vec<NodeId> = match self.words.goals.is_empty() {
            true => graph.ids().collect(),
            false => self.words.nodes(graph)?,
        };
        let of_node = |id| match &graph.node(id).work {
            Work::Publish(work) => Some(Destination::new(work)),
            _ => None,
        };
        let all: Vec<_> = nodes.into_iter().filter_map(of_node).collect();
        match all.is_empty() {
            true => {
                Err(CommandError::new("no publish node is meant; name one of the Buildfile, or none for all"))
            }
            false => Ok(all),
        }
    }
}

fn history(sites: &Sites) -> Result<u8, CommandError> {
    for destination in sites.destinations()? {
        for prefix in destination.prefixes() {
            println!("{}", destination.target().place_of(prefix));
            let history = destination.target().history(prefix)?;
            if history.is_empty() {
                println!("    nothing is published");
            }
            history.iter().rev().for_each(|past| println!("    {}", line(past)));
        }
    }
    Ok(exit::OK)
}

/// `20261125T234100Z-0123abcd  live                     1 added, 2 replaced, 0 dropped, 3 kept`
fn line(Past { generation, until, effect }: &Past) -> String {
    let until = until.map_or_else(|| "live".to_owned(), |until| format!("until {}", minute(until)));
    format!("{}  {until:<22}  {}", generation.id, counted(effect))
}

fn counted(effect: &Effect) -> String {
    let [added, replaced, dropped, kept] = effect.counts();
    format!("{added} added, {replaced} replaced, {dropped} dropped, {kept} kept")
}

/// `2026-11-25 23:41`, in UTC.
fn minute(seconds: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let time = i64::try_from(seconds).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| seconds.to_string())
}

fn roll_back(sites: &Sites, id: &str) -> Result<u8, CommandError> {
    let destinations = sites.destinations()?;
    let mut found = Vec::new();
    for destination in &destinations {
        for prefix in destination.prefixes() {
            let history = destination.target().history(prefix)?;
            if history.iter().any(|past| past.generation.id == id) {
                found.push((destination, prefix));
            }
        }
    }
    let [(destination, prefix)] = found[..] else {
        return Err(CommandError::new(match found.is_empty() {
            true => format!("no repository retains a generation '{id}'; `forge publish history` lists them"),
            false => format!("{} repositories have a generation '{id}': name a publish node", found.len()),
        }));
    };
    let place = destination.target().place_of(prefix);
    let mut warn = |progress: Progress<'_>| progress.warning().iter().for_each(|text| tell(text));
    match destination.roll_back(prefix, id, &sites.workspace.store, &mut warn)? {
        Some(Outcome::Committed { generation, effect }) => {
            println!("{place}: generation {} is live: {}", generation.id, counted(&effect));
        }
        Some(Outcome::Unchanged(generation)) => {
            println!("{place}: generation {} is live already", generation.id)
        }
        None => println!("{place}: nothing is published there"),
    }
    Ok(exit::OK)
}

fn gc(sites: &Sites) -> Result<u8, CommandError> {
    for destination in sites.destinations()? {
        for prefix in destination.prefixes() {
            let removed = destination.target().gc(prefix, signing_time())?;
            removed.iter().for_each(|name| println!("removed {name}"));
            println!("{}: {} removed", destination.target().place_of(prefix), removed.len());
        }
    }
    Ok(exit::OK)
}

fn verify(sites: &Sites) -> Result<u8, CommandError> {
    let mut is_whole = true;
    for destination in sites.destinations()? {
        for prefix in destination.prefixes() {
            let place = destination.target().place_of(prefix);
            match destination.target().verify(prefix)? {
                None => println!("{place}: nothing is published"),
                Some(checked) => {
                    checked.faults.iter().for_each(|fault| println!("{fault}"));
                    is_whole &= checked.faults.is_empty();
                    println!("{place}: {} files read, {}", checked.files, human_bytes(checked.bytes));
                }
            }
        }
    }
    Ok(if is_whole { exit::OK } else { exit::ERROR })
}
