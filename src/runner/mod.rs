//! Runs one command in an image's tree and takes what it made into the store.
//!
//! Two kinds of runners show a command the same world: `sandbox` (namespaces, no daemon) and `docker`
//! (engines with API 1.41 or later). What each guarantees is told in `docs/runners.md`.

mod bare;
mod choose;
mod collect;
mod command;
mod docker;
mod error;
mod log;
mod paths;
mod platform;
mod runners;
mod sandbox;
mod simple_command;
mod stage;
#[cfg(test)]
mod tests;

pub use bare::Bare;
pub use choose::{Runner, RunnerKind};
pub use command::{Command, Mount, Root, Told, WorkCopy};
pub use docker::{Docker, DockerfileBuild, EngineAddress, PlatformEngine, Published};
pub use error::{Exit, RunError};
pub use platform::{NoEmulation, is_foreign, try_emulation};
pub use runners::Runners;
pub use sandbox::Sandbox;

pub use collect::Outcome;
