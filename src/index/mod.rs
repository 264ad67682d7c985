//! The index room: packages and settings in, an unsigned repository out, as a tree.
//!
//! Everything here is a pure function of its arguments; the publish room signs the result and
//! puts it where clients read it.

pub mod apt;
pub mod bundle;
mod catalog;
mod compress;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod member;
mod pieces;
mod read;
mod record;
pub mod rpm;
mod settings;
mod shelf;

pub use apt::{AptIndex, Holds, IndexedPackage, PoolLayout, Suite};
pub use bundle::{Bundle, Bundles};
pub use catalog::{CatalogEntry, Indexed, Label, bundles_of, catalog, read_catalog, updateinfo_of};
pub use compress::IndexCompression;
pub use error::IndexError;
pub use member::Member;
pub(crate) use pieces::cut;
pub use read::{PackageFile, read_packages};
pub use record::Record;
pub use rpm::{IndexedRpm, RpmIndex};
pub use settings::{Making, Records, RepositoryKind, Settings, VersionOrder};
pub use shelf::{Shelf, ShelfFile};
