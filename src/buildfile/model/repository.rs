//! Repositories: what is gathered, kept and published, and the keys that sign it.

use std::path::{Path, PathBuf};

use super::{Dimension, Reference};
use crate::buildfile::{Span, Template};
use crate::s3::{Distribution, Location};

/// A repository's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// The packages it gathers: of those that agree, the ones of its format.
    pub packages: Vec<Reference>,
    /// Tests that must have succeeded in a package's cell before it is taken.
    pub requires: Vec<Reference>,
    /// What of earlier publishes is dropped; none keeps everything.
    pub keep: Option<Retention>,
    /// A dimension in whose newest value the packages must be, and where it is named.
    pub newest: Option<(Dimension, Span)>,
    /// For which clients.
    pub format: IndexFormat,
}

/// For which clients a repository is.
#[derive(Clone, Debug, PartialEq)]
pub enum IndexFormat {
    /// For apt.
    Apt(AptSettings),
    /// For dnf and its kin.
    Rpm(RpmSettings),
}

/// What the Buildfile says of an rpm repository.
#[derive(Clone, Debug, PartialEq)]
pub struct RpmSettings {
    /// `zstd`, `gz` or `xz`.
    pub compression: String,
    /// A file of advisories, relative to the Buildfile.
    pub updateinfo: Option<Template>,
}

/// What the Buildfile says of an apt repository.
#[derive(Clone, Debug, PartialEq)]
pub struct AptSettings {
    /// In which suite a package is, by the package's cell.
    pub suite: Template,
    /// Component.
    pub component: String,
    /// `Origin:`.
    pub origin: Template,
    /// `Label:`.
    pub label: Template,
    /// `Description:`.
    pub description: Template,
    /// `xz`, `gz`, `zst`.
    pub compressions: Vec<String>,
    /// Whether `Contents-*` is written.
    pub contents: bool,
    /// Suites with the packages of another.
    pub aliases: Vec<Alias>,
}

/// A suite with the packages of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    /// What it is called.
    pub name: String,
    /// The other suite.
    pub of: Reference,
}

/// What stays of the packages that were published before: a package that is among the newest
/// `versions` of its name, or that was first published within so many `days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How many versions of each name, in each suite and for each architecture; at least 1.
    pub versions: usize,
    /// For how many days also an older one stays.
    pub days: u64,
}

/// Puts repositories where clients find them.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Where they go.
    pub to: Site,
    /// Which repositories, and below which prefix (by the index's cell).
    pub repositories: Vec<(Reference, Template)>,
    /// Keys to sign with.
    pub keys: Vec<Reference>,
    /// Tests that must have succeeded.
    pub requires: Vec<Reference>,
    /// For how many days an index that was live stays readable.
    pub retention_days: u64,
    /// Where clients find the site, without a slash at the end.
    pub url: Option<String>,
}

/// Where repositories are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// Below a directory, relative to the Buildfile.
    Directory(PathBuf),
    /// In a part of a bucket.
    Bucket {
        /// Which part of which one.
        location: Location,
        /// What clients ask in place of it.
        distribution: Option<Distribution>,
    },
}

impl Site {
    /// The same, relative files being below `dir`.
    pub fn below(&self, dir: &Path) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(dir.join(path)),
            Self::Bucket { location, distribution } => {
                let mut location = location.clone();
                location.service.ca = location.service.ca.map(|ca| dir.join(ca));
                Self::Bucket { location, distribution: distribution.clone() }
            }
        }
    }
}

/// An OpenPGP key that signs.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The secret key.
    pub source: KeySource,
    /// The environment variable that holds its passphrase, if it is locked.
    pub passphrase_env: Option<String>,
}

/// Where a secret key is read from when it is used.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A file, relative to the Buildfile.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl Key {
    /// The same, a relative file being below `dir`.
    pub fn below(&self, dir: &Path) -> Self {
        let source = match &self.source {
            KeySource::File(path) => KeySource::File(dir.join(path)),
            KeySource::Env(name) => KeySource::Env(name.clone()),
        };
        Self { source, ..self.clone() }
    }
}
