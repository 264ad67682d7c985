//! rpm repositories: `repodata/` and `packages/`, as dnf and its kin read them.

mod build;
mod dependencies;
#[cfg(test)]
pub(crate) mod fixture;
mod metadata;
mod package;
mod repomd;
#[cfg(test)]
mod tests;
mod version;
mod xml;

pub use build::{NEXT, RpmIndex, build, metadata};
pub use package::{IndexedRpm, path};
pub use version::compare_versions;
