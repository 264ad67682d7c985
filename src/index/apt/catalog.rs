use serde::{Deserialize, Serialize};

use super::package::{Checked, pool_path};
use super::{AptIndex, Holds, IndexedPackage};
use crate::digest::Digest;
use crate::index::IndexError;
use crate::store::{Entry, Kind, LocalStore, StoreError, Tree};

/// The name of the list in a catalog's tree.
const LIST: &str = "packages.json";

/// A package in one suite, without what only the writing of an index asks for: that is in its
/// record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    /// What it is and where.
    #[serde(flatten)]
    pub label: Label,
    /// The file's length in bytes.
    pub size: u64,
    /// The file's SHA256, hexadecimal.
    pub sha256: String,
    /// The file's digest in the store.
    pub object: Digest,
    /// The digest of its record.
    pub record: Digest,
}

/// What names a package to clients: there is one content for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Label {
    /// The suite's codename.
    pub suite: String,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its own architecture, `all` among them.
    pub architecture: String,
}

/// The rest of an [`IndexedPackage`]. Stored as JSON, compressed by Zstandard.
#[derive(Serialize, Deserialize)]
struct Record {
    fields: Vec<(String, String)>,
    paths: Vec<String>,
}

/// What an index of these packages is made of: `packages.json`, a list of [`CatalogEntry`], and
/// `records/<digest>`. With it, the index can be made again together with other packages, and
/// no package file is read.
pub fn catalog(packages: &[IndexedPackage], store: &LocalStore) -> Result<Tree, IndexError> {
    let mut entries = Vec::new();
    let mut files = Vec::new();
    for package in packages {
        let Checked { name, version, architecture, .. } = Checked::new(package)?;
        let bytes = Record { fields: package.fields.clone(), paths: package.paths.clone() }.to_bytes()?;
        let record = store.put(&bytes)?;
        files.push(file(format!("records/{record}"), record, bytes.len()));
        for suite in &package.suites {
            let (name, version) = (name.to_owned(), version.to_owned());
            let label = Label { suite: suite.clone(), name, version, architecture: architecture.to_owned() };
            let (sha256, object) = (package.sha256.clone(), package.object);
            entries.push(CatalogEntry { label, size: package.size, sha256, object, record });
        }
    }
    entries.sort_by(|a, b| a.label.cmp(&b.label));
    entries.dedup();
    let list = serde_json::to_vec(&entries).map_err(|error| unreadable(&error))?;
    files.push(file(LIST.to_owned(), store.put(&list)?, list.len()));
    Ok(Tree::new(files))
}

/// The packages of a catalog, sorted.
pub fn read_catalog(tree: &Tree, store: &LocalStore) -> Result<Vec<CatalogEntry>, IndexError> {
    match tree.get(LIST).map(|entry| &entry.kind) {
        Some(Kind::File { object, .. }) => {
            serde_json::from_slice(&store.get(*object)?).map_err(|error| unreadable(&error))
        }
        _ => Err(unreadable(&format!("it has no {LIST}"))),
    }
}

fn file(path: String, object: Digest, length: usize) -> Entry {
    Entry { path, mode: 0o644, kind: Kind::File { object, size: length as u64 } }
}

fn unreadable(reason: &dyn std::fmt::Display) -> IndexError {
    IndexError::Catalog { reason: reason.to_string() }
}

impl Record {
    fn to_bytes(&self) -> Result<Vec<u8>, IndexError> {
        let json = serde_json::to_vec(self).map_err(|error| unreadable(&error))?;
        Ok(zstd::encode_all(&json[..], 3).map_err(StoreError::io("compress", "the record of a package"))?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let json = zstd::decode_all(bytes).map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&json).map_err(|error| unreadable(&error))
    }
}

impl CatalogEntry {
    /// The package, with what its record says. The record's bytes must be those of its digest.
    pub fn indexed(&self, record: &[u8]) -> Result<IndexedPackage, IndexError> {
        let Record { fields, paths } = Record::from_bytes(record)?;
        Ok(IndexedPackage {
            origin: self.label.to_string(),
            suites: vec![self.label.suite.clone()],
            fields,
            object: self.object,
            size: self.size,
            sha256: self.sha256.clone(),
            paths,
        })
    }
}

/// `bookworm: hello 1.0-1 (amd64)`.
impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { suite, name, version, architecture } = self;
        write!(f, "{suite}: {name} {version} ({architecture})")
    }
}

impl AptIndex {
    /// Where the file of a package is, below the repository's root; none if its suite holds no
    /// packages of its own.
    pub fn pool_path(&self, label: &Label) -> Option<String> {
        let suite = self.suites.iter().find(|suite| suite.codename == label.suite)?;
        match &suite.holds {
            Holds::Packages { component, .. } => {
                let area = self.area(suite, component);
                Some(pool_path(&area, &label.name, &label.version, &label.architecture))
            }
            Holds::AliasOf(_) => None,
        }
    }
}
