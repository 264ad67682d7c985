//! rpm repositories: `repodata/` and `packages/`, as dnf and its kin read them.

mod build;
mod dependencies;
#[cfg(test)]
pub(crate) mod fixture;
mod metadata;
mod package;
mod read;
mod repomd;
#[cfg(test)]
mod tests;
mod version;
mod xml;

pub use build::{NEXT, RpmIndex, build};
pub use package::IndexedRpm;
pub use read::{ListedRpm, listed, primary_of};
pub use repomd::dated;
pub use version::compare_versions;
