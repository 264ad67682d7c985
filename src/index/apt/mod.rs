//! apt repositories: `dists/` and `pool/`.

mod build;
mod contents;
#[cfg(test)]
pub(crate) mod fixture;
mod package;
mod release;
mod stanza;
#[cfg(test)]
mod tests;
mod version;

pub use build::{AptIndex, Holds, PoolLayout, Suite, build, metadata};
pub use package::{IndexedPackage, PoolPath, Record};
pub use stanza::{Stanza, StanzaError, stanzas};
pub use version::compare_versions;
