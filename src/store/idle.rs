//! Remembers that there was nothing to do, and what has to look as it did for that to be so still.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::local::unsealed;
use super::result_index::USE;
use super::sighting::{Reader, path_of, write_text};
use super::{LocalStore, Moment, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// Raised when what is written has another form, or other things decide.
const FORM: &[u8] = b"forge idle 1";

/// The rooms whose directories tell by their times whether a result or an object came or went.
const WATCHED: [&str; 2] = ["results", "objects"];

/// What made a plan that has nothing to do.
#[derive(Debug, Default)]
pub struct Idle {
    /// How many nodes are known.
    pub nodes: usize,
    /// What was looked at, absolute, as it was then.
    pub seen: Vec<(PathBuf, Sighting)>,
    /// What was looked for and was not there, absolute.
    pub absent: Vec<PathBuf>,
}

impl Idle {
    /// Adds paths as they look now. Whether each was there when it was looked at is told with it: what changed its
    /// mind since makes this worthless, and gives false.
    pub fn look_at(&mut self, paths: impl IntoIterator<Item = (PathBuf, bool)>) -> bool {
        for (path, was_there) in paths {
            match Sighting::at(&path) {
                Some(sighting) if was_there => self.seen.push((path, sighting)),
                None if !was_there => self.absent.push(path),
                _ => return false,
            }
        }
        true
    }
}

impl LocalStore {
    /// The directories in which results and objects are, as they look now. A result that comes or goes changes them.
    pub fn watched(&self) -> Vec<(PathBuf, Sighting)> {
        let rooms = WATCHED.iter().map(|room| self.root().join(room));
        let shards = rooms.clone().flat_map(|room| fs::read_dir(room).into_iter().flatten().flatten());
        let paths = rooms.chain(shards.map(|shard| shard.path()));
        paths.filter_map(|path| Some((path.clone(), Sighting::at(&path)?))).collect()
    }

    fn idle_path(&self, question: Digest) -> PathBuf {
        self.sharded("idle", question)
    }

    /// How many nodes are known, if there was nothing to do when this question was asked and everything looks as it
    /// did then.
    pub fn idle(&self, question: Digest) -> Option<usize> {
        let mut file = File::open(self.idle_path(question)).ok()?;
        // So that its results are seen to be used.
        let is_young = file
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|found_out| found_out.elapsed().is_ok_and(|age| age < USE));
        let mut bytes = Vec::new();
        (is_young && file.read_to_end(&mut bytes).is_ok()).then_some(())?;
        still_holds(unsealed(&bytes)?)
    }

    /// Remembers that there was nothing to do. Not if anything that decided is as young as `asked`, when nothing was
    /// looked at yet: another change of it might not show.
    pub fn put_idle(&self, question: Digest, asked: Moment, idle: Idle) -> Result<(), StoreError> {
        if !idle.seen.iter().all(|(_, sighting)| sighting.is_before(asked)) {
            return Ok(());
        }
        let seen = idle.seen.iter().map(|(path, sighting)| (path.as_path(), *sighting, ())).collect();
        let mut bytes = FORM.to_vec();
        bytes.extend_from_slice(&(idle.nodes as u64).to_le_bytes());
        bytes.extend_from_slice(&(idle.absent.len() as u64).to_le_bytes());
        idle.absent.iter().for_each(|path| write_text(path.as_os_str().as_encoded_bytes(), &mut bytes));
        bytes.extend_from_slice(&Sightings::write(seen));
        self.write_sealed(&self.idle_path(question), &bytes)
    }
}

/// How many nodes are known, if everything looks as it did.
fn still_holds(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes.strip_prefix(FORM)?);
    let nodes = usize::try_from(reader.number()?).ok()?;
    let absent = (0..reader.number()?).map(|_| reader.text()).collect::<Option<Vec<_>>>()?;
    let is_absent = |path: &&[u8]| !exists(&path_of(path));
    let holds = absent.par_iter().all(is_absent) && Sightings::hold(reader.rest());
    holds.then_some(nodes)
}

fn exists(path: &Path) -> bool {
    // What cannot be looked at may be there.
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
