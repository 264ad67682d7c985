//! Debian binary packages, format 2.0 (deb(5)).

mod ar;
mod control;
mod docs;
mod info;
mod name;
mod package;
mod relation;
mod substvars;
mod tarball;
mod version;
mod write;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use info::{DebControl, DebInfo};
pub use name::{Architecture, PackageName};
pub use package::{Deb, Priority};
pub use relation::Relation;
pub use substvars::Substvars;
pub use version::DebVersion;
