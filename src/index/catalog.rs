use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::IndexError;
use crate::digest::Digest;
use crate::store::{Entry, Kind, LocalStore, StoreError, Tree};

/// The name of the list in a catalog's tree.
const LIST: &str = "packages.json";
/// The name of a file of advisories in a catalog's tree.
const UPDATEINFO: &str = "updateinfo.xml";

/// A package of a repository, without what only the writing of an index asks for: that is in its
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
    /// The suite's codename; empty in an rpm repository, which has none.
    pub suite: String,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its own architecture, `all` or `noarch` among them.
    pub architecture: String,
}

/// `bookworm: hello 1.0-1 (amd64)`.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, name, version, architecture } = self;
        if !suite.is_empty() {
            write!(f, "{suite}: ")?;
        }
        write!(f, "{name} {version} ({architecture})")
    }
}

/// What an index is made of, in the making: `packages.json`, a list of [`CatalogEntry`], and
/// `records/<digest>`. With it, the index can be made again together with other packages, and
/// no package file is read.
pub(super) struct Catalog<'a> {
    store: &'a LocalStore,
    entries: Vec<CatalogEntry>,
    files: Vec<Entry>,
}

impl<'a> Catalog<'a> {
    pub fn new(store: &'a LocalStore) -> Self {
        Self { store, entries: Vec::new(), files: Vec::new() }
    }

    pub fn add(&mut self, entry: CatalogEntry) {
        self.entries.push(entry);
    }

    /// Stores what the writing of an index asks for: as JSON, compressed by Zstandard.
    pub fn record(&mut self, record: &impl Serialize) -> Result<Digest, IndexError> {
        let json = serde_json::to_vec(record).map_err(|error| unreadable(&error))?;
        let bytes =
            zstd::encode_all(&json[..], 3).map_err(StoreError::io("compress", "the record of a package"))?;
        let digest = self.store.put(&bytes)?;
        self.files.push(file(format!("records/{digest}"), digest, bytes.len()));
        Ok(digest)
    }

    pub fn updateinfo(&mut self, text: &[u8]) -> Result<(), IndexError> {
        self.files.push(file(UPDATEINFO.to_owned(), self.store.put(text)?, text.len()));
        Ok(())
    }

    pub fn finish(mut self) -> Result<Tree, IndexError> {
        self.entries.sort_by(|a, b| a.label.cmp(&b.label));
        self.entries.dedup();
        let list = serde_json::to_vec(&self.entries).map_err(|error| unreadable(&error))?;
        self.files.push(file(LIST.to_owned(), self.store.put(&list)?, list.len()));
        Ok(Tree::new(self.files))
    }
}

/// The packages of a catalog, sorted.
pub fn read_catalog(tree: &Tree, store: &LocalStore) -> Result<Vec<CatalogEntry>, IndexError> {
    match object_of(tree, LIST) {
        Some(object) => serde_json::from_slice(&store.get(object)?).map_err(|error| unreadable(&error)),
        None => Err(unreadable(&format!("it has no {LIST}"))),
    }
}

/// The file of advisories of a catalog.
pub fn updateinfo_of(tree: &Tree) -> Option<Digest> {
    object_of(tree, UPDATEINFO)
}

/// What [`Catalog::record`] stored.
pub(super) fn read_record<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    let json = zstd::decode_all(bytes).map_err(|error| unreadable(&error))?;
    serde_json::from_slice(&json).map_err(|error| unreadable(&error))
}

fn object_of(tree: &Tree, path: &str) -> Option<Digest> {
    match tree.get(path)?.kind {
        Kind::File { object, .. } => Some(object),
        _ => None,
    }
}

fn file(path: String, object: Digest, length: usize) -> Entry {
    Entry { path, mode: 0o644, kind: Kind::File { object, size: length as u64 } }
}

fn unreadable(reason: &dyn fmt::Display) -> IndexError {
    IndexError::Catalog { reason: reason.to_string() }
}
