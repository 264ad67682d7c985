use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{AptIndex, IndexError, Label, Member, RpmIndex, Shelf, apt, rpm};
use crate::digest::{Describe, Digest, Visitor};
use crate::store::{Entry, LocalStore, Tree};

/// The settings of a repository, by which clients it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// For apt.
    Apt(AptIndex),
    /// For dnf and its kin.
    Rpm(RpmIndex),
}

/// Which clients a repository is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepositoryKind {
    /// apt.
    Apt,
    /// dnf and its kin.
    Rpm,
}

/// How versions are ordered.
pub type VersionOrder = fn(&str, &str) -> Ordering;

/// Gives the bytes of a record by its digest.
pub type Records<'a, E> = dyn Fn(Digest) -> Result<Vec<u8>, E> + Sync + 'a;

impl Settings {
    /// Which clients it is for.
    pub fn kind(&self) -> RepositoryKind {
        match self {
            Self::Apt(_) => RepositoryKind::Apt,
            Self::Rpm(_) => RepositoryKind::Rpm,
        }
    }

    /// The order of the versions of its packages.
    pub fn order(&self) -> VersionOrder {
        self.kind().order()
    }

    /// Where the file of a package is, below the repository's root; none if it has no place there.
    pub fn path(&self, label: &Label) -> Option<String> {
        match self {
            Self::Apt(index) => index.pool_path(label).map(|path| path.to_string()),
            Self::Rpm(_) => Some(rpm::path(label)),
        }
    }

    /// Whether the file of a package is at `path`.
    pub fn is_at(&self, label: &Label, path: &str) -> bool {
        match self {
            Self::Apt(index) => index.pool_path(label).is_some_and(|own| own == *path),
            Self::Rpm(_) => rpm::path(label) == path,
        }
    }

    /// The whole unsigned repository, with its metadata in `store`. `record` gives the record of a package, and is asked for those
    /// about which the store remembers nothing. `updateinfo` is for rpm alone; `date` is in seconds since 1970.
    ///
    /// Same packages and settings, in whatever order and whatever is remembered, give the same bytes.
    pub fn build<E: From<IndexError> + Send>(
        &self,
        packages: &[Member<'_>],
        updateinfo: Option<&[u8]>,
        date: u64,
        store: &LocalStore,
        record: &Records<'_, E>,
    ) -> Result<Tree, E> {
        let making = Making { date, memory: store, shelf: store, records: record };
        match self {
            Self::Apt(index) => apt::build(index, packages, &making),
            Self::Rpm(index) => rpm::build(index, packages, updateinfo, &making),
        }
    }

    /// All of it but for the packages' own files.
    pub(crate) fn metadata<E: From<IndexError> + Send>(
        &self,
        packages: &[Member<'_>],
        updateinfo: Option<&[u8]>,
        making: &Making<'_, E>,
    ) -> Result<Vec<Entry>, E> {
        match self {
            Self::Apt(index) => apt::metadata(index, packages, making),
            Self::Rpm(index) => rpm::metadata(index, packages, updateinfo, making),
        }
    }
}

/// With what an index is made.
pub struct Making<'a, E> {
    /// Its date, in seconds since 1970.
    pub date: u64,
    /// What was made of packages before.
    pub memory: &'a LocalStore,
    /// Where its files go.
    pub shelf: &'a dyn Shelf,
    /// Asked for packages about which nothing is remembered.
    pub records: &'a Records<'a, E>,
}

impl RepositoryKind {
    /// The order of the versions of its packages.
    pub fn order(self) -> VersionOrder {
        match self {
            Self::Apt => apt::compare_versions,
            Self::Rpm => rpm::compare_versions,
        }
    }
}

impl Describe for Settings {
    fn describe(&self, visitor: &mut dyn Visitor) {
        match self {
            Self::Apt(index) => index.describe(visitor),
            Self::Rpm(index) => index.describe(visitor),
        }
    }
}

impl std::fmt::Display for RepositoryKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Apt => "apt",
            Self::Rpm => "rpm",
        })
    }
}
