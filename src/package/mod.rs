//! Packages, written and read in process, the same bytes on every machine.

mod compress;
mod constraint;
mod deb;
mod describe;
mod either;
mod error;
mod layout;
mod object;
mod rpm;
mod script;
#[cfg(test)]
mod testing;
mod version;
pub(crate) mod xz;

pub use compress::Compression;
pub use deb::{
    Architecture, Deb, DebControl, DebInfo, DebVersion, PackageName, Priority, Relation, Substvars,
};
pub use either::Package;
pub use error::PackageError;
pub use rpm::{
    Comparison, Rpm, RpmArchitecture, RpmChange, RpmDependency, RpmFile, RpmFileKind, RpmGenerated, RpmInfo,
    RpmName, RpmRelation, RpmVersion,
};
pub use script::{MaintainerScript, with_interpreter};
pub use version::packaged_version;
