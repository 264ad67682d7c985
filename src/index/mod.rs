//! The index room: packages and settings in, an unsigned apt repository out, as a tree.
//!
//! Everything here is a pure function of its arguments; the publish room signs the result and
//! puts it where clients read it.

mod apt;
mod compress;
mod contents;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod package;
mod release;
mod stanza;
#[cfg(test)]
mod tests;
mod version;

pub use apt::{AptIndex, Holds, IndexCompression, PoolLayout, Suite, build};
pub use error::IndexError;
pub use package::IndexedPackage;
pub use release::dated;
pub use stanza::{Stanza, StanzaError, stanzas};
pub use version::compare_versions;
