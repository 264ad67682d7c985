//! Packages of rpm, format 4 (the RPM file format: lead, signature header, header, payload).

mod clause;
mod cpio;
mod dependency;
mod dirs;
mod frame;
mod header;
mod info;
mod name;
mod package;
mod payload;
mod write;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use dependency::{Comparison, RpmDependency, RpmRelation};
pub use info::{RpmChange, RpmFile, RpmFileKind, RpmInfo};
pub use name::{RpmArchitecture, RpmName, RpmVersion};
pub use package::{Rpm, RpmGenerated};
