use super::{Deb, Rpm};
use crate::digest::{Describe, Visitor};

/// A package of one of the formats, all but its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Package {
    /// For dpkg.
    Deb(Deb),
    /// For rpm.
    Rpm(Rpm),
}

impl Package {
    /// The package's name.
    pub fn name(&self) -> String {
        match self {
            Self::Deb(deb) => deb.name.to_string(),
            Self::Rpm(rpm) => rpm.name.to_string(),
        }
    }

    /// The whole version, as the format has it.
    pub fn version(&self) -> String {
        match self {
            Self::Deb(deb) => deb.version.to_string(),
            Self::Rpm(rpm) => rpm.version.to_string(),
        }
    }

    /// The architecture by the format's own name.
    pub fn architecture(&self) -> String {
        match self {
            Self::Deb(deb) => deb.architecture.to_string(),
            Self::Rpm(rpm) => rpm.architecture.to_string(),
        }
    }

    /// The name of its file.
    pub fn file_name(&self) -> String {
        match self {
            Self::Deb(deb) => deb.file_name(),
            Self::Rpm(rpm) => rpm.file_name(),
        }
    }

    /// Every time in the package, in seconds since 1970.
    pub fn source_date_epoch(&self) -> u64 {
        match self {
            Self::Deb(deb) => deb.source_date_epoch,
            Self::Rpm(rpm) => rpm.source_date_epoch,
        }
    }
}

impl Describe for Package {
    fn describe(&self, visitor: &mut dyn Visitor) {
        match self {
            Self::Deb(deb) => deb.describe(visitor),
            Self::Rpm(rpm) => rpm.describe(visitor),
        }
    }
}
