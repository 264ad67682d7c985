//! What is kept of a generation: its `state.json`, and beside it lists of its packages.
//!
//! A list is named by the digest of its bytes, and generations share those that did not change: packages are cut into lists
//! where they themselves say so, so one package more or less changes the list that it is in and no other.

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
use crate::publish::{Generation, PublishError, PublishedPackage};
use crate::store::Sighting;

/// The file that says all else.
const STATE: &str = "state.json";
/// The directory with lists of packages.
const PACKAGES: &str = "packages";
/// The version of the form of both.
const FORMAT: u32 = 4;
/// Half of how many packages a list has, about.
const REACH: usize = 128;

#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    /// Without its packages.
    generation: Generation,
    /// The lists of them, in order.
    packages: Vec<Digest>,
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
        match serde_json::from_slice(&bytes) {
            Ok(State { format: FORMAT, generation, packages }) => {
                let lists = packages.par_iter().map(|list| read_list(&self.dir, *list));
                let lists = lists.collect::<Result<Vec<_>, _>>()?;
                Ok(generation.with_packages(lists.into_iter().flatten().collect()))
            }
            // An earlier forge wrote all in one file.
            _ => Generation::from_json(&bytes).map_err(fault(&path)),
        }
    }
}

fn list_path(dir: &Path, list: Digest) -> PathBuf {
    dir.join(PACKAGES).join(format!("{list}.json"))
}

fn read_list(dir: &Path, list: Digest) -> Result<Vec<Arc<PublishedPackage>>, PublishError> {
    let path = list_path(dir, list);
    let bytes = fs::read(&path).map_err(|error| fault(&path)(error.to_string()))?;
    match Digest::of(&bytes) == list {
        true => serde_json::from_slice(&bytes).map_err(|error| fault(&path)(error.to_string())),
        false => Err(fault(&path)("it is not what its name says".to_owned())),
    }
}

fn fault(path: &Path) -> impl FnOnce(String) -> PublishError {
    let path = path.display().to_string();
    |reason| PublishError::State { path, reason }
}

/// Writes the lists of these packages for a generation in `dir`. Those that the one in `live` has are the same files.
pub(super) fn write_packages(
    packages: &[Arc<PublishedPackage>],
    dir: &Path,
    live: Option<&Path>,
    date: SystemTime,
) -> Result<Vec<Digest>, PublishError> {
    files::create_dirs(&dir.join(PACKAGES))?;
    let lots: Vec<u32> = packages.iter().map(|package| package.entry.lot()).collect();
    let lists: Vec<_> = cut(&lots, REACH).map(|range| &packages[range]).collect();
    let write = |list: &&[Arc<PublishedPackage>]| {
        let bytes = encode(list, dir)?;
        let name = Digest::of(&bytes);
        let path = list_path(dir, name);
        match live.map(|live| list_path(live, name)).filter(|known| known.exists()) {
            Some(known) => files::link_or_copy(&known, &path)?,
            None => files::write_file(&path, &bytes, date)?,
        }
        Ok(name)
    };
    lists.par_iter().map(write).collect()
}

/// Writes what a generation in `dir` says beside its packages, which are in these lists.
pub(super) fn write_state(
    generation: &Generation,
    packages: Vec<Digest>,
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
