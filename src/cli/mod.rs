//! The command line: one command in a file of its own, its doc comment its help.

mod cache;
mod error;
mod fmt;
mod graph;
mod key;
mod log;
mod lookup;
mod plan;
mod publish;
mod question;
mod remote_cache;
mod run;
mod update;
mod why;
mod words;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};

pub use error::CommandError;

/// Exit codes; documented in `docs/exit-codes.md`, and never changed.
pub mod exit {
    /// Everything that was asked for is done.
    pub const OK: u8 = 0;
    /// Something is wrong before or beside the build: the Buildfile, the lock, the machine.
    pub const ERROR: u8 = 1;
    /// `--exit-code`: there is something to do.
    pub const SOMETHING_TO_DO: u8 = 2;
    /// Nodes failed.
    pub const FAILED: u8 = 3;
    /// The run was interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// Builds packages over a matrix of versions, distributions and architectures, and publishes them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The Buildfile.
    #[arg(long, global = true, default_value = "Buildfile.kdl", value_name = "FILE")]
    file: PathBuf,
    /// Choices and replacements declared in the Buildfile under this name.
    #[arg(long, global = true, value_name = "NAME", env = "FORGE_PROFILE")]
    profile: Option<String>,
    /// The local store.
    #[arg(long, global = true, default_value = "cache", value_name = "DIR", env = "FORGE_STORE")]
    store: PathBuf,
    /// What may be done with the shared cache that the Buildfile names, where it allows that at all.
    #[arg(
        long,
        global = true,
        default_value = "read-write",
        value_name = "ACCESS",
        env = "FORGE_CACHE_ACCESS"
    )]
    cache_access: CacheAccess,
}

/// What a call does with the shared cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum CacheAccess {
    /// Results are looked up there, and sent there.
    ReadWrite,
    /// Results are looked up there.
    Read,
    /// Results are sent there.
    Write,
    /// It is left alone.
    Off,
}

#[derive(Debug, Subcommand)]
enum Command {
    Plan(plan::Arguments),
    Run(run::Arguments),
    Publish(publish::Arguments),
    Update(update::Arguments),
    Why(why::Arguments),
    Graph(graph::Arguments),
    Log(log::Arguments),
    Cache(cache::Arguments),
    Fmt(fmt::Arguments),
    Key(key::Arguments),
}

/// Runs the program. What a person should see goes to standard error, and what a command was
/// asked for to standard output.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { exit::ERROR } else { exit::OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    compute_here();
    let global = &arguments.global;
    let done = match &arguments.command {
        Command::Plan(arguments) => plan::run(global, arguments),
        Command::Run(arguments) => run::run(global, arguments),
        Command::Publish(arguments) => publish::run(global, arguments),
        Command::Update(arguments) => update::run(global, arguments),
        Command::Why(arguments) => why::run(global, arguments),
        Command::Graph(arguments) => graph::run(global, arguments),
        Command::Log(arguments) => log::run(global, arguments),
        Command::Cache(arguments) => cache::run(global, arguments),
        Command::Fmt(arguments) => fmt::run(global, arguments),
        Command::Key(arguments) => key::run(arguments),
    };
    ExitCode::from(done.unwrap_or_else(|error| {
        error.print();
        exit::ERROR
    }))
}

/// Makes this thread one of those that compute: where it plans, it need not wake others to begin, nor be woken when they are done. They
/// are one more than there are cores, as it waits for children and networks at other times.
fn compute_here() {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    // Without it they are others.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(cores + 1).use_current_thread().build_global();
}
