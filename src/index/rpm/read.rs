//! Reads back what is in a `primary.xml`, for what is published.

use serde::Deserialize;

use crate::index::{IndexCompression, IndexError};
use crate::store::{Kind, LocalStore, StoreError, Tree};

/// A package that a repository's metadata names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRpm {
    /// Its name.
    pub name: String,
    /// `[epoch:]version-release`; an epoch of 0 is left out.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// Its place, as the metadata says it.
    pub href: String,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

/// The text of the `primary.xml` below `repodata/` of an index tree.
pub fn primary_of(tree: &Tree, store: &LocalStore) -> Result<String, IndexError> {
    let absent = || IndexError::Primary("there is none".to_owned());
    let is_primary =
        |path: &str| path.strip_prefix("repodata/").is_some_and(|name| name.contains("-primary.xml."));
    let entry = tree.entries().iter().find(|entry| is_primary(&entry.path)).ok_or_else(absent)?;
    let Kind::File { object, .. } = entry.kind else { return Err(absent()) };
    let extension = entry.path.rsplit('.').next().unwrap_or_default();
    let compression = IndexCompression::of_extension(extension).ok_or_else(absent)?;
    let bytes =
        compression.decompress(&store.get(object)?).map_err(StoreError::io("decompress", &entry.path))?;
    String::from_utf8(bytes).map_err(|error| IndexError::Primary(error.to_string()))
}

/// The packages that a `primary.xml` names, in its order.
pub fn listed(primary: &str) -> Result<Vec<ListedRpm>, IndexError> {
    let metadata: Metadata =
        quick_xml::de::from_str(primary).map_err(|error| IndexError::Primary(error.to_string()))?;
    Ok(metadata.packages.into_iter().map(ListedRpm::from).collect())
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default, rename = "package")]
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    arch: String,
    version: Version,
    checksum: String,
    location: Location,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "@epoch")]
    epoch: String,
    #[serde(rename = "@ver")]
    version: String,
    #[serde(rename = "@rel")]
    release: String,
}

#[derive(Deserialize)]
struct Location {
    #[serde(rename = "@href")]
    href: String,
}

impl From<Package> for ListedRpm {
    fn from(package: Package) -> Self {
        let Version { epoch, version, release } = package.version;
        let epoch = if epoch == "0" { String::new() } else { format!("{epoch}:") };
        Self {
            name: package.name,
            version: format!("{epoch}{version}-{release}"),
            architecture: package.arch,
            href: package.location.href,
            sha256: package.checksum,
        }
    }
}
