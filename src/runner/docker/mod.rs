//! Docker: containers of an engine on this machine, or on another.

mod address;
mod archive;
mod build;
mod container;
mod credentials;
mod engine;
mod image;
mod registry;
mod run;
mod tunnel;

pub use address::{EngineAddress, PlatformEngine};
pub use build::DockerfileBuild;
pub use engine::Docker;
#[cfg(test)]
pub(super) use engine::store_name;
pub use registry::Published;
