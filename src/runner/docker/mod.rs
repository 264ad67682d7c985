//! Docker: containers of an engine on this machine.

mod archive;
mod build;
mod container;
mod engine;
mod image;
mod run;

pub use build::DockerfileBuild;
pub use engine::Docker;
