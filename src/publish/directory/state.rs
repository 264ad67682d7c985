//! What is kept of a generation: its `state.json`, and beside it lists of its packages.
//!
//! A list is named by the digest of its bytes, and generations share those that did not change: packages are cut into lists
//! where they themselves say so, so one package more or less changes the list that it is in and no other.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::files;
use crate::digest::Digest;
use crate::index::cut;
use crate::publish::generation::other_format;
use crate::publish::{Generation, PublishError, PublishedPackage};
use crate::store::Sighting;

/// The file that says all else.
const STATE: &str = "state.json";
/// The directory with lists of packages.
const PACKAGES: &str = "packages";
/// The version of the form of both.
const FORMAT: u32 = 4;
/// How many packages a list has, at least.
const REACH: usize = 192;

#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    /// Without its packages.
    generation: Generation,
    /// The lists of them, in order.
    packages: Vec<List>,
}

/// What every state begins with.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// A list of packages.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct List {
    /// Of its bytes.
    digest: Digest,
    /// How many there are in it.
    count: usize,
}

/// A generation that was found.
pub(super) struct Stated {
    dir: PathBuf,
    file: File,
    /// What its file looks like; it never changes.
    pub seen: Sighting,
}

impl Stated {
    /// That in `dir`; `None` if it is gone.
    pub fn open(dir: &Path) -> Result<Option<Self>, PublishError> {
        let path = dir.join(STATE);
        let open = || {
            let file = File::open(&path)?;
            Ok::<_, io::Error>(Self { dir: dir.to_owned(), seen: Sighting::of(&file.metadata()?), file })
        };
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some).map_err(PublishError::io("read", &path)),
        }
    }

    /// What it says. Errors: [`PublishError::State`].
    pub fn read(mut self) -> Result<Generation, PublishError> {
        let path = self.dir.join(STATE);
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map_err(PublishError::io("read", &path))?;
        let unreadable = |error| fault(&path, error);
        let Format { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        match format {
            FORMAT => {
                let State { generation, packages, .. } =
                    serde_json::from_slice(&bytes).map_err(unreadable)?;
                let lists = packages.par_iter().map(|list| list.read(&self.dir));
                let lists = lists.collect::<Result<Vec<_>, _>>()?;
                Ok(generation.with_packages(lists.into_iter().flatten().collect()))
            }
            // An earlier forge wrote all in one file.
            ..FORMAT => Generation::from_json(&bytes).map_err(|reason| fault(&path, reason)),
            _ => Err(fault(&path, other_format(format, FORMAT))),
        }
    }
}

impl List {
    fn path(self, dir: &Path) -> PathBuf {
        dir.join(PACKAGES).join(format!("{}.json", self.digest))
    }

    fn read(self, dir: &Path) -> Result<Packages, PublishError> {
        let path = self.path(dir);
        let bytes = fs::read(&path).map_err(|error| fault(&path, error))?;
        let packages: Packages = serde_json::from_slice(&bytes).map_err(|error| fault(&path, error))?;
        match Digest::of(&bytes) == self.digest && packages.len() == self.count {
            true => Ok(packages),
            false => Err(fault(&path, "it is not what its name says")),
        }
    }

    fn write(packages: &[Arc<PublishedPackage>], dir: &Path, date: SystemTime) -> Result<Self, PublishError> {
        let bytes = encode(&packages, dir)?;
        let list = Self { digest: Digest::of(&bytes), count: packages.len() };
        files::write_file(&list.path(dir), &bytes, date).map(|()| list)
    }
}

type Packages = Vec<Arc<PublishedPackage>>;

fn fault(path: &Path, reason: impl ToString) -> PublishError {
    PublishError::State { path: path.display().to_string(), reason: reason.to_string() }
}

/// Writes the lists of these packages for a generation in `dir`. Those of a live one, with its directory, that did not change are the
/// same files.
pub(super) fn write_packages(
    packages: &[Arc<PublishedPackage>],
    dir: &Path,
    live: Option<(&Generation, &Path)>,
    date: SystemTime,
) -> Result<Vec<List>, PublishError> {
    files::create_dirs(&dir.join(PACKAGES))?;
    let known = live.map(|(live, dir)| lists_of(live, dir)).unwrap_or_default();
    let lots: Vec<u32> = packages.iter().map(|package| package.entry.lot()).collect();
    let lists = cut(&lots, REACH).into_par_iter().map(|range| {
        let packages = &packages[range];
        let begins_so = packages.first().and_then(|first| known.get(&address(first)));
        let is_same = |all: &[Arc<PublishedPackage>]| {
            all.len() == packages.len() && all.iter().zip(packages).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        match (begins_so.filter(|(_, all)| is_same(all)), live) {
            (Some((list, _)), Some((_, live))) => {
                files::link_or_copy(&list.path(live), &list.path(dir)).map(|()| *list)
            }
            _ => List::write(packages, dir, date),
        }
    });
    lists.collect()
}

/// The lists of a generation that was read from `dir`, each by its first package; none where an earlier forge wrote it.
fn lists_of<'a>(
    generation: &'a Generation,
    dir: &Path,
) -> HashMap<usize, (List, &'a [Arc<PublishedPackage>])> {
    let state = fs::read(dir.join(STATE)).ok().and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
    let mut rest = &generation.packages[..];
    let list = |list: List| {
        let (packages, after) = rest.split_at_checked(list.count)?;
        rest = after;
        Some((address(packages.first()?), (list, packages)))
    };
    state.into_iter().flat_map(|state| state.packages).map_while(list).collect()
}

fn address(package: &Arc<PublishedPackage>) -> usize {
    Arc::as_ptr(package).addr()
}

/// Writes what a generation in `dir` says beside its packages, which are in these lists.
pub(super) fn write_state(
    generation: &Generation,
    packages: Vec<List>,
    dir: &Path,
    date: SystemTime,
) -> Result<(), PublishError> {
    let state = State { format: FORMAT, generation: generation.clone().with_packages(Vec::new()), packages };
    files::write_file(&dir.join(STATE), &encode(&state, dir)?, date)
}

/// As JSON.
pub(super) fn encode(value: &impl Serialize, dir: &Path) -> Result<Vec<u8>, PublishError> {
    serde_json::to_vec(value).map_err(|error| PublishError::io("encode the state in", dir)(error.into()))
}
