//! The index room: packages and settings in, an unsigned repository out, as a tree.
//!
//! Everything here is a pure function of its arguments; the publish room signs the result and
//! puts it where clients read it.

pub mod apt;
mod compress;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
pub mod rpm;

pub use apt::{AptIndex, Holds, IndexedPackage, PoolLayout, Suite};
pub use compress::IndexCompression;
pub use error::IndexError;
pub use rpm::{IndexedRpm, RpmIndex};
