//! The graph of nodes: every target in every one of its cells, with what it takes from others.

mod action;
mod build;
mod fault;
mod fill;
mod images;
mod joins;
mod node;
mod products;
mod render;
mod sources;
mod work;

pub use action::Action;
pub use build::build;
pub use node::{Graph, Input, Lineage, LocalFiles, Node, NodeId};
pub use render::{to_dot, to_json};
pub use work::{
    ArchiveSource, BootstrapImage, CommitSource, DockerImage, IndexWork, PackageWork, Placement, PublishWork,
    RegistryImage, Root, Script, Work, machine_platform,
};
