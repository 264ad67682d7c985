//! Remembers what was found out when a question was asked, and what has to look as it did for that to be so still.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::result_index::USE;
use super::sealed::{is_whole, overwrite_sealed};
use super::sighting::{Place, Reader, length_of, parts, path_of, write_text};
use super::{LocalStore, Moment, Outputs, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// Raised when what is written has another form, or other things decide.
const FORM: &[u8] = b"forge answer 1";

/// The rooms whose directories tell by their times whether a result or an object came or went.
const WATCHED: [&str; 2] = ["results", "objects"];

/// What was found out when a question was asked.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Before anything was looked at.
    pub asked: Moment,
    /// How many nodes are known, if these are all and there is nothing to do.
    pub idle: Option<usize>,
    /// The directories of results and objects, as they were when it was asked.
    pub rooms: &'a [(PathBuf, Sighting)],
    /// What else decided it.
    pub decided: Decided<'a>,
}

/// A node whose result was known.
#[derive(Clone, Copy, Debug)]
pub struct KnownNode<'a> {
    /// Its key.
    pub key: Digest,
    /// What its result gave: the keys of its users follow from that.
    outputs: &'a [u8],
}

impl<'a> KnownNode<'a> {
    /// One that gave `outputs`.
    pub fn new(key: Digest, outputs: &'a Outputs) -> Self {
        Self { key, outputs: outputs.as_bytes() }
    }

    /// What its result gave.
    pub fn outputs(&self) -> Outputs {
        Outputs::from_bytes(self.outputs)
    }

    /// Whether its result gave that.
    pub fn gave(&self, outputs: &Outputs) -> bool {
        self.outputs == outputs.as_bytes()
    }
}

/// Paths that decided an answer, absolute.
#[derive(Debug, Default)]
pub struct Decided<'a> {
    /// What decides which nodes there are, or which files count, as it was when it was looked at.
    fixed: HashMap<PathBuf, Sighting>,
    /// What was looked for and was not there.
    absent: HashSet<PathBuf>,
    /// Local files that nodes take. There are many, and one may come several times.
    files: Vec<Seen<'a>>,
    /// Directories in which such files were looked for.
    dirs: HashMap<PathBuf, Sighting>,
}

impl<'a> Decided<'a> {
    /// Adds local files as they were looked at: the directory and the name of each.
    pub fn add_files(&mut self, seen: impl Iterator<Item = (&'a Path, &'a str, Sighting)>) {
        let place = |dir: &'a Path, name: &'a str| (dir.as_os_str().as_bytes(), name.as_bytes());
        self.files.extend(seen.map(|(dir, name, sighting)| (place(dir, name), sighting, ())));
    }

    /// Adds directories in which local files were looked for, as they look now. One that is gone makes all of this
    /// worthless, and gives false.
    pub fn add_dirs(&mut self, dirs: impl IntoIterator<Item = PathBuf>) -> bool {
        for dir in dirs {
            let Some(sighting) = Sighting::at(&dir) else { return false };
            self.dirs.insert(dir, sighting);
        }
        true
    }

    /// Adds what decides more than which bytes a node takes, as it looks now. Whether each was there when it was looked at
    /// is told with it: what changed its mind since makes all of this worthless, and gives false.
    pub fn look_at(&mut self, paths: impl IntoIterator<Item = (PathBuf, bool)>) -> bool {
        for (path, was_there) in paths {
            match Sighting::at(&path) {
                Some(sighting) if was_there => drop(self.fixed.insert(path, sighting)),
                None if !was_there => drop(self.absent.insert(path)),
                _ => return false,
            }
        }
        true
    }
}

/// What an earlier answer says of now: the graph is as it was, and of its nodes those are known that what changed does not touch.
pub struct Baseline {
    /// How many nodes are known, if these are all, still, and there is nothing to do.
    pub idle: Option<usize>,
    /// Sources that do not look as they did.
    pub changed: Vec<PathBuf>,
    /// Directories of results of which it is not certain that they are as they were.
    doubted: HashSet<u8>,
    /// Whether it is so old that its results have to be seen to be used.
    is_old: bool,
    /// The answer as it is written.
    said: Vec<u8>,
}

impl Baseline {
    /// How many nodes the graph had.
    pub fn len(&self) -> usize {
        self.written().count
    }

    /// Whether it had none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was known of each node, in their order.
    pub fn nodes(&self) -> impl Iterator<Item = Option<KnownNode<'_>>> {
        let Written { count, nodes, .. } = self.written();
        let mut reader = Reader::new(nodes);
        (0..count).map(move |_| {
            let (key, outputs) = reader.text()?.split_first_chunk()?;
            Some(KnownNode { key: Digest::from_bytes(*key), outputs })
        })
    }

    /// Whether the result under a key that was known has to be looked at.
    pub fn doubts(&self, key: Digest) -> bool {
        self.is_old || self.doubted.contains(&key.as_bytes()[0])
    }

    /// What decided it, but for what changed.
    pub fn decided(&self) -> Decided<'_> {
        let written = self.written();
        let changed: HashSet<Place<'_>> = self.changed.iter().map(|path| parts(path)).collect();
        Decided {
            fixed: seen(written.head.fixed)
                .map(|((dir, name), seen, ())| (path_of(dir).join(path_of(name)), seen))
                .collect(),
            absent: written.head.absent.iter().map(|path| path_of(path)).collect(),
            files: seen(written.sources).filter(|(place, ..)| !changed.contains(place)).collect(),
            dirs: HashMap::new(),
        }
    }

    fn written(&self) -> Written<'_> {
        Written::read(&self.said).unwrap_or_else(|| unreachable!("it was read before"))
    }
}

/// Where something is, and how it looked.
type Seen<'a> = (Place<'a>, Sighting, ());

/// What is written of paths.
fn seen(bytes: &[u8]) -> impl Iterator<Item = Seen<'_>> {
    Sightings::dirs(bytes).unwrap_or_default().into_iter().flat_map(|(dir, said)| {
        let seen = Sightings::read(said).unwrap_or_default();
        seen.into_iter().map(move |(name, sighting, ())| ((dir, name), sighting, ()))
    })
}

/// An answer as it is written.
struct Written<'a> {
    head: Head<'a>,
    rooms: &'a [u8],
    sources: &'a [u8],
    count: usize,
    nodes: &'a [u8],
}

/// What stands first: whether the rest counts follows from it.
struct Head<'a> {
    idle: Option<usize>,
    absent: Vec<&'a [u8]>,
    fixed: &'a [u8],
}

/// About the bytes that it takes.
const HEAD: u64 = 64 << 10;

impl<'a> Head<'a> {
    /// It, and what follows; `None` where not all of it is there.
    fn read(said: &'a [u8]) -> Option<(Self, Reader<'a>)> {
        let mut reader = Reader::new(said.strip_prefix(FORM)?);
        let idle = usize::try_from(reader.number()?).ok()?.checked_sub(1);
        let absent = (0..reader.number()?).map(|_| reader.text()).collect::<Option<Vec<_>>>()?;
        Some((Self { idle, absent, fixed: reader.text()? }, reader))
    }

    /// Whether all that decides which nodes there are is as it was.
    fn holds(&self) -> bool {
        Sightings::hold(self.fixed) && self.absent.par_iter().all(|path| !exists(&path_of(path)))
    }
}

impl<'a> Written<'a> {
    fn read(said: &'a [u8]) -> Option<Self> {
        let (head, mut reader) = Head::read(said)?;
        let [rooms, sources] = [reader.text()?, reader.text()?];
        let count = usize::try_from(reader.number()?).ok()?;
        Some(Self { head, rooms, sources, count, nodes: reader.rest() })
    }
}

impl LocalStore {
    /// The directories in which results and objects are, as they look now. A result that comes or goes changes them.
    pub fn watched(&self) -> Vec<(PathBuf, Sighting)> {
        let rooms = WATCHED.iter().map(|room| self.root().join(room));
        let shards = rooms.clone().flat_map(|room| fs::read_dir(room).into_iter().flatten().flatten());
        let paths = rooms.chain(shards.map(|shard| shard.path()));
        let paths: Vec<PathBuf> = paths.collect();
        paths.into_par_iter().filter_map(|path| Some((path.clone(), Sighting::at(&path)?))).collect()
    }

    fn answer_path(&self, question: Digest) -> PathBuf {
        self.sharded("answers", question)
    }

    /// What the last answer to this question says of now, if it says anything.
    pub fn answer(&self, question: Digest) -> Option<Baseline> {
        let mut opened = File::open(self.answer_path(question)).ok()?;
        // So that its results are seen to be used.
        let is_young = opened
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|found_out| found_out.elapsed().is_ok_and(|age| age < USE));
        let (mut seal, mut said) = ([0; Digest::LENGTH], Vec::new());
        opened.read_exact(&mut seal).ok()?;
        (&mut opened).take(HEAD).read_to_end(&mut said).ok()?;
        // Most often a Buildfile was edited: then nothing of all the rest counts.
        let holds = Head::read(&said).map(|(head, _)| head.holds());
        if holds == Some(false) {
            return None;
        }
        opened.read_to_end(&mut said).ok()?;
        let Written { head, rooms, sources, .. } =
            Written::read(Some(&said).filter(|said| is_whole(seal, said))?)?;
        let is_of_this_graph = holds.unwrap_or_else(|| head.holds());
        let changed = is_of_this_graph.then(|| Sightings::changed(sources))?.ok()?;
        let rooms = Sightings::changed(rooms).ok()?;
        let idle = head.idle.filter(|_| is_young && changed.is_empty() && rooms.is_empty());
        let doubted = rooms.iter().filter_map(|path| shard_of("results", path)).collect();
        Some(Baseline { idle, changed, doubted, is_old: !is_young, said })
    }

    /// Remembers an answer, with what is known of each of so many nodes of the graph, by its place. Not if anything that decides which nodes
    /// there are is as young as the question: another change of it might not show. Of other paths it is remembered that they have to
    /// be looked at.
    pub fn put_answer<'n>(
        &self,
        question: Digest,
        answer: Answer<'_>,
        nodes: usize,
        known: impl Fn(usize) -> Option<KnownNode<'n>> + Sync,
    ) -> Result<(), StoreError> {
        let Answer { asked, idle, rooms, decided: Decided { fixed, absent, mut files, dirs } } = answer;
        if !fixed.values().all(|sighting| sighting.is_before(asked)) {
            return Ok(());
        }
        let mut head = FORM.to_vec();
        head.extend_from_slice(&idle.map_or(0, |nodes| nodes as u64 + 1).to_le_bytes());
        head.extend_from_slice(&(absent.len() as u64).to_le_bytes());
        absent.iter().for_each(|path| write_text(path.as_os_str().as_encoded_bytes(), &mut head));
        let fixed = fixed.iter().map(|(path, sighting)| (parts(path), *sighting, ())).collect();
        let rooms = rooms.iter().map(|(path, sighting)| (parts(path), *sighting, ())).collect();
        files.extend(dirs.iter().map(|(path, sighting)| (parts(path), *sighting, ())));
        overwrite_sealed(&self.answer_path(question), |out| {
            for mut seen in [fixed, rooms, files] {
                seen.iter_mut().for_each(|(_, sighting, ())| *sighting = sighting.if_before(asked));
                let bytes = Sightings::write(seen);
                head.extend_from_slice(&length_of(&bytes));
                out.add(std::mem::take(&mut head))?;
                out.add(bytes)?;
            }
            out.add((nodes as u64).to_le_bytes().to_vec())?;
            let piece = |from: usize| {
                let mut bytes = Vec::with_capacity(PIECE_OF_NODES * 80);
                (from..nodes.min(from + PIECE_OF_NODES)).for_each(|at| write_node(known(at), &mut bytes));
                bytes
            };
            // The next pieces are made while the last ones are hashed.
            let mut last = Vec::new();
            for group in (0..nodes).step_by(PIECE_OF_NODES).collect::<Vec<_>>().chunks(GROUP) {
                let make = || group.par_iter().map(|from| piece(*from)).collect::<Vec<_>>();
                let add = || std::mem::take(&mut last).into_iter().try_for_each(|piece| out.add(piece));
                let (made, added) = rayon::join(make, add);
                added?;
                last = made;
            }
            last.into_iter().try_for_each(|piece| out.add(piece))
        })
    }
}

/// What is known of so many nodes is made at once, by one thread.
const PIECE_OF_NODES: usize = 1024;

/// So many of these pieces are made while as many are hashed and written.
const GROUP: usize = 8;

/// A node, after the length of what is known of it: none if nothing is.
fn write_node(node: Option<KnownNode<'_>>, bytes: &mut Vec<u8>) {
    let Some(KnownNode { key, outputs }) = node else { return write_text(&[], bytes) };
    bytes.extend_from_slice(&((Digest::LENGTH + outputs.len()) as u32).to_le_bytes());
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend_from_slice(outputs);
}

/// Which digests are in the directory `path`, if it is one of `room`: those that begin with this byte.
fn shard_of(room: &str, path: &Path) -> Option<u8> {
    let is_in_room = path.parent()?.file_name()? == room;
    u8::from_str_radix(path.file_name()?.to_str()?, 16).ok().filter(|_| is_in_room)
}

fn exists(path: &Path) -> bool {
    // What cannot be looked at may be there.
    !fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
