use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, file_name};
use super::{IndexError, Member, Record};
use crate::digest::Digest;
use crate::store::{Entry, Kind, LocalStore, Tree};

/// The name of the list in a catalog's tree.
const LIST: &str = "packages.json";
/// The name of a file of advisories in a catalog's tree.
const UPDATEINFO: &str = "updateinfo.xml";
/// The directory with bundles of records in a catalog's tree.
const RECORDS: &str = "records";

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

/// A package whose record is in a bundle of the store.
#[derive(Clone, Debug)]
pub struct Indexed {
    /// What it is.
    pub entry: CatalogEntry,
    /// Where its record is.
    pub bundle: Bundle,
    /// Its record, if it was read now.
    pub record: Option<Record>,
    /// Where it comes from (a node, a file), for messages; nothing of it is written.
    pub origin: String,
}

impl Indexed {
    /// As an index takes it.
    pub fn member(&self) -> Member<'_> {
        Member { entry: &self.entry, record: self.record.as_ref(), origin: Some(&self.origin) }
    }
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

/// What an index is made of, as a tree: `packages.json`, a list of [`CatalogEntry`], and bundles of their records. With
/// it, the index can be made again together with other packages, and no package file is read.
pub fn catalog(
    packages: &[Indexed],
    updateinfo: Option<&[u8]>,
    store: &LocalStore,
) -> Result<Tree, IndexError> {
    let mut entries: Vec<&CatalogEntry> = packages.iter().map(|package| &package.entry).collect();
    entries.sort_by(|a, b| a.label.cmp(&b.label));
    entries.dedup();
    let list = serde_json::to_vec(&entries).map_err(|error| unreadable(&error))?;
    let bundles: BTreeSet<Bundle> = packages.iter().map(|package| package.bundle).collect();
    let bundle = |Bundle { object, size }| file(format!("{RECORDS}/{}", file_name(object)), object, size);
    let mut files: Vec<Entry> = bundles.into_iter().map(bundle).collect();
    for (name, bytes) in [(LIST, Some(&list[..])), (UPDATEINFO, updateinfo)] {
        if let Some(bytes) = bytes {
            files.push(file(name.to_owned(), store.put(bytes)?, bytes.len() as u64));
        }
    }
    Ok(Tree::new(files))
}

/// The packages of a catalog, sorted.
pub fn read_catalog(tree: &Tree, store: &LocalStore) -> Result<Vec<CatalogEntry>, IndexError> {
    match object_of(tree, LIST) {
        Some(object) => serde_json::from_slice(&store.get(object)?).map_err(|error| unreadable(&error)),
        None => Err(unreadable(&format!("it has no {LIST}"))),
    }
}

/// The bundles with the records of a catalog's packages.
pub fn bundles_of(tree: &Tree) -> Vec<Digest> {
    tree.below(RECORDS).files().map(|(bundle, _)| bundle).collect()
}

/// The file of advisories of a catalog.
pub fn updateinfo_of(tree: &Tree) -> Option<Digest> {
    object_of(tree, UPDATEINFO)
}

fn object_of(tree: &Tree, path: &str) -> Option<Digest> {
    match tree.get(path)?.kind {
        Kind::File { object, .. } => Some(object),
        _ => None,
    }
}

fn file(path: String, object: Digest, size: u64) -> Entry {
    Entry { path, mode: 0o644, kind: Kind::File { object, size } }
}

pub(super) fn unreadable(reason: &dyn fmt::Display) -> IndexError {
    IndexError::Catalog { reason: reason.to_string() }
}
