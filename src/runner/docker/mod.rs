//! Docker: containers of an engine on this machine.

mod archive;
mod build;
mod container;
mod credentials;
mod engine;
mod image;
mod registry;
mod run;

pub use build::DockerfileBuild;
pub use engine::Docker;
pub use registry::Published;
