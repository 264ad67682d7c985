//! Packages of rpm, format 4 (the RPM file format: lead, signature header, header, payload).

mod dependency;
mod frame;
mod info;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use dependency::{Comparison, RpmDependency, RpmRelation};
pub use info::{RpmChange, RpmFile, RpmFileKind, RpmInfo};
