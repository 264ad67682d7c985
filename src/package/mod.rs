//! Packages, written and read in process, the same bytes on every machine.

mod compress;
mod constraint;
mod deb;
mod describe;
mod error;
mod layout;
mod object;
mod rpm;
mod script;
#[cfg(test)]
mod testing;

pub use compress::Compression;
pub use deb::{
    Architecture, Deb, DebControl, DebInfo, DebVersion, PackageName, Priority, Relation, Substvars,
};
pub use error::PackageError;
pub use rpm::{
    Comparison, Rpm, RpmArchitecture, RpmChange, RpmDependency, RpmFile, RpmFileKind, RpmGenerated, RpmInfo,
    RpmName, RpmRelation, RpmVersion,
};
pub use script::{MaintainerScript, with_interpreter};
