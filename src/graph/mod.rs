//! The graph of nodes: every target in every one of its cells, with what it takes from others.

mod action;
mod build;
mod dates;
mod fault;
mod fill;
mod generator;
mod images;
mod index;
mod joins;
mod key;
mod node;
mod package;
mod products;
mod render;
mod sources;
mod text;
mod whole;
mod work;

pub use action::Action;
pub use build::build;
pub use node::{Declared, Globs, Graph, Input, Lineage, LocalFiles, Node, NodeId, Terms};
pub use render::{to_dot, to_json};
pub use text::Text;
pub use work::{
    AptIndexWork, ArchiveSource, BootstrapImage, CommitSource, DockerImage, IndexWork, KeyWork, PackageWork,
    Placement, Publication, PublishWork, RegistryImage, Root, RpmIndexWork, Script, Signer, Work,
    machine_platform,
};
