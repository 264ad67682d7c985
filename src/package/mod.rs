//! Packages, written and read in process, the same bytes on every machine.

mod deb;
mod error;
mod rpm;
#[cfg(test)]
mod testing;

pub use deb::{
    Architecture, Compression, Deb, DebControl, DebInfo, DebVersion, MaintainerScript, PackageName, Priority,
    Relation, Substvars,
};
pub use error::PackageError;
pub use rpm::{Comparison, RpmChange, RpmDependency, RpmFile, RpmFileKind, RpmInfo, RpmRelation};
