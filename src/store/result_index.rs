use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;

use super::local::unsealed;
use super::sighting::{Note, Reader, path_of, write_text};
use super::{LocalStore, Moment, Outputs, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// When a result was used last is known to this.
pub(super) const USE: Duration = Duration::from_secs(3600);

/// Raised when what is written has another form.
const FORM: &[u8] = b"forge results 2";

/// What results give, without opening each of them: as they were when this was loaded.
///
/// What is written of a directory of results is believed as long as it looks as it did, by the same rule as that of
/// [`StatCache`](super::StatCache): a result that comes or goes changes it. In one that changed, each result is looked at.
/// That all objects of a result are here is believed by the same rule, of the directories that they are in.
pub struct ResultIndex<'a> {
    store: &'a LocalStore,
    loaded: Moment,
    /// By the first byte of a key.
    shards: Vec<Shard>,
    /// How the directories of objects looked, by the first byte of a digest; none if another change might not show.
    objects: Vec<Option<Sighting>>,
}

/// Directories of objects, by the first byte of a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dirs([u64; 4]);

impl Dirs {
    fn add(&mut self, at: u8) {
        self.0[usize::from(at / 64)] |= 1 << (at % 64);
    }

    fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    fn meet(self, other: Self) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| own & other != 0)
    }
}

/// The results of one directory.
#[derive(Default)]
struct Shard {
    path: PathBuf,
    /// How it looked; none if another change might not show.
    seen: Option<Sighting>,
    results: HashMap<Digest, Known>,
    /// Whether this is not what is written.
    is_new: bool,
}

/// One result.
struct Known {
    seen: Sighting,
    outputs: Outputs,
    /// Where its objects are, if all of them were found; none if nobody looked.
    objects: Dirs,
}

impl Known {
    fn write(&self, key: Digest, bytes: &mut Vec<u8>) {
        key.write(bytes);
        self.seen.write(bytes);
        self.objects.0.iter().for_each(|part| bytes.extend_from_slice(&part.to_le_bytes()));
        bytes.extend_from_slice(&(self.outputs.iter().len() as u64).to_le_bytes());
        for (name, tree) in self.outputs.iter() {
            write_text(name.as_bytes(), bytes);
            tree.write(bytes);
        }
    }

    fn read(bytes: &mut Reader<'_>) -> Option<(Digest, Self)> {
        let (key, seen) = (Digest::read(bytes)?, Sighting::read(bytes)?);
        let mut part = || bytes.number();
        let objects = Dirs([part()?, part()?, part()?, part()?]);
        let outputs = (0..bytes.number()?).map(|_| {
            let name = std::str::from_utf8(bytes.text()?).ok()?.into();
            Some((name, Digest::read(bytes)?))
        });
        Some((key, Self { seen, outputs: outputs.collect::<Option<_>>()?, objects }))
    }

    /// Of many, one after the other.
    fn read_all(bytes: &[u8]) -> Option<HashMap<Digest, Self>> {
        let mut reader = Reader::new(bytes);
        let mut all = HashMap::with_capacity(bytes.len() / LEAST);
        while !reader.is_empty() {
            let (key, known) = Self::read(&mut reader)?;
            all.insert(key, known);
        }
        Some(all)
    }
}

/// No result takes fewer bytes, if it has an output.
const LEAST: usize = 128;

/// What is written of a directory of results.
#[derive(Default)]
struct Written {
    seen: Option<Sighting>,
    results: HashMap<Digest, Known>,
}

/// All that is written.
#[derive(Default)]
struct Index {
    objects: Vec<Option<Sighting>>,
    results: Vec<Written>,
}

impl<'a> ResultIndex<'a> {
    /// Reads what is written, and looks at what changed since.
    pub fn load(store: &'a LocalStore) -> Self {
        let loaded = Moment::now();
        let read = fs::read(file(store)).ok();
        let written =
            read.and_then(|bytes| written(unsealed(&bytes)?.strip_prefix(FORM)?)).unwrap_or_default();
        let objects: Vec<Option<Sighting>> =
            shard_paths(store.root().join("objects")).map(|dir| Sighting::at(&dir)).collect();
        let mut changed = Dirs::default();
        for at in 0..=u8::MAX {
            let (now, then) =
                (objects[usize::from(at)], written.objects.get(usize::from(at)).copied().flatten());
            if then.is_none() || now != then {
                changed.add(at);
            }
        }
        let mut results = written.results;
        results.resize_with(SHARDS, Written::default);
        let paths = shard_paths(store.root().join("results"));
        let shard = |(written, path): (Written, PathBuf)| {
            let mut shard = Shard::look(store, path, written, loaded);
            shard.doubt(changed);
            shard
        };
        let shards = results.into_iter().zip(paths).collect::<Vec<_>>().into_par_iter().map(shard).collect();
        let objects = objects.into_iter().map(|seen| seen.filter(|seen| seen.is_before(loaded))).collect();
        Self { store, loaded, shards, objects }
    }

    fn known(&self, key: Digest) -> Option<&Known> {
        self.shards[usize::from(key.as_bytes()[0])].results.get(&key)
    }

    /// The output trees of the result under `key`, by name.
    pub fn outputs(&self, key: Digest) -> Option<&Outputs> {
        self.known(key).map(|known| &known.outputs)
    }

    /// Whether all objects of the result under `key` are known to be here.
    pub fn is_whole(&self, key: Digest) -> bool {
        self.known(key).is_some_and(|known| !known.objects.is_empty())
    }

    /// Looks for the objects of these results, of which it is not known, and notes it of those that are whole.
    pub fn look_for_objects(&mut self, keys: &[Digest]) {
        let whole = |key: &Digest| Some((*key, self.store.object_dirs(&self.known(*key)?.outputs)?));
        let doubtful = keys.par_iter().filter(|key| !self.is_whole(**key));
        let found: Vec<(Digest, Dirs)> = doubtful.filter_map(whole).collect();
        for (key, objects) in found {
            let shard = &mut self.shards[usize::from(key.as_bytes()[0])];
            if let Some(known) = shard.results.get_mut(&key) {
                known.objects = objects;
                shard.is_new = true;
            }
        }
    }

    /// Notes that these results are used now. Losing this costs a rebuild after the next gc, never a wrong result.
    pub fn touch(&mut self, keys: &[Digest]) {
        let old = self.loaded.before(USE);
        for key in keys {
            let shard = &mut self.shards[usize::from(key.as_bytes()[0])];
            let Some(known) = shard.results.get_mut(key).filter(|known| known.seen.is_before(old)) else {
                continue;
            };
            self.store.touch_result(*key);
            if let Some(seen) = Sighting::at(&self.store.result_path(*key)) {
                known.seen = seen;
                shard.is_new = true;
            }
        }
    }

    /// Writes it for the next one.
    pub fn save(&self) -> Result<(), StoreError> {
        if self.shards.iter().all(|shard| !shard.is_new) {
            return Ok(());
        }
        let mut bytes = FORM.to_vec();
        let objects: Vec<PathBuf> = shard_paths(self.store.root().join("objects")).collect();
        let objects =
            objects.iter().zip(&self.objects).filter_map(|(path, seen)| Some((path.as_path(), (*seen)?, ())));
        let results = self.shards.iter().filter_map(|shard| Some((shard.path.as_path(), shard.seen?, ())));
        for dirs in [Sightings::write(objects.collect()), Sightings::write(results.collect())] {
            write_text(&dirs, &mut bytes);
        }
        for shard in &self.shards {
            let mut results = Vec::new();
            // A result that is as young as this may be another one soon, and look the same.
            let old = shard.results.iter().filter(|(_, known)| known.seen.is_before(self.loaded));
            old.for_each(|(key, known)| known.write(*key, &mut results));
            write_text(&results, &mut bytes);
        }
        self.store.write_sealed(&file(self.store), &bytes)
    }
}

impl LocalStore {
    /// The directories that all objects of these trees are in, the trees themselves among them; `None` if one is not here.
    fn object_dirs(&self, trees: &Outputs) -> Option<Dirs> {
        let mut dirs = Dirs::default();
        for tree in trees.trees() {
            dirs.add(tree.as_bytes()[0]);
            for (object, _) in self.tree(tree).ok()?.files() {
                self.contains(object).then(|| dirs.add(object.as_bytes()[0]))?;
            }
        }
        Some(dirs)
    }
}

const SHARDS: usize = 1 << u8::BITS;

/// The directories of a room, by their bytes.
fn shard_paths(room: PathBuf) -> impl Iterator<Item = PathBuf> {
    (0..SHARDS).map(move |at| room.join(format!("{at:02x}")))
}

fn file(store: &LocalStore) -> PathBuf {
    store.root().join("result-index")
}

/// What is written of all directories, in their order.
fn written(bytes: &[u8]) -> Option<Index> {
    let mut reader = Reader::new(bytes);
    let objects = seen_shards(reader.text()?)?;
    let seen = seen_shards(reader.text()?)?;
    let blocks = seen.into_iter().map(|seen| Some((seen, reader.text()?))).collect::<Option<Vec<_>>>()?;
    let read = |(seen, block)| Some(Written { seen, results: Known::read_all(block)? });
    Some(Index { objects, results: blocks.into_par_iter().map(read).collect::<Option<_>>()? })
}

/// How the directories of a room looked, by their bytes.
fn seen_shards(bytes: &[u8]) -> Option<Vec<Option<Sighting>>> {
    let mut shards = vec![None; SHARDS];
    for (name, seen, ()) in Sightings::read::<()>(bytes).ok()?.into_iter().flat_map(|(_, dirs)| dirs) {
        shards[usize::from(byte(&name)?)] = Some(seen);
    }
    Some(shards)
}

fn byte(hex: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()
}

fn key(shard: &[u8], name: &[u8]) -> Option<Digest> {
    std::str::from_utf8(&[shard, name].concat()).ok()?.parse().ok()
}

impl Shard {
    fn look(store: &LocalStore, path: PathBuf, written: Written, loaded: Moment) -> Self {
        let Some(seen) = Sighting::at(&path) else {
            return Self { path, is_new: !written.results.is_empty(), ..Self::default() };
        };
        if written.seen == Some(seen) {
            return Self { path, seen: Some(seen), results: written.results, is_new: false };
        }
        let results = Self::look_at_each(store, &path, written.results);
        let seen = Some(seen).filter(|seen| seen.is_before(loaded));
        Self { path, seen, results, is_new: true }
    }

    /// Forgets that results are whole that have objects in these directories.
    fn doubt(&mut self, changed: Dirs) {
        let doubtful = self.results.values_mut().filter(|known| known.objects.meet(changed));
        for known in doubtful {
            known.objects = Dirs::default();
            self.is_new = true;
        }
    }

    fn look_at_each(
        store: &LocalStore,
        path: &Path,
        mut written: HashMap<Digest, Known>,
    ) -> HashMap<Digest, Known> {
        let shard = path.file_name().unwrap_or_default().as_bytes();
        let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let known = |name: &OsStr| {
            let key = key(shard, name.as_bytes())?;
            let seen = Sighting::at(&path.join(path_of(name.as_bytes())))?;
            let known = written.remove(&key).filter(|known| known.seen == seen);
            let read = || {
                let outputs = store.result(key)?.outputs.into();
                Some(Known { seen, outputs, objects: Dirs::default() })
            };
            Some((key, known.or_else(read)?))
        };
        names.collect::<Vec<_>>().iter().map(|name| name.as_os_str()).filter_map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::{put_result, result, wait_for_tick};

    fn put(store: &LocalStore, key: Digest, output: &str) {
        let outputs = [("root".to_owned(), Digest::of(output.as_bytes()))].into();
        store.put_result(key, &result(outputs)).unwrap();
    }

    fn outputs(store: &LocalStore, key: Digest) -> Option<Digest> {
        ResultIndex::load(store).outputs(key)?.get("root")
    }

    #[test]
    fn what_comes_goes_and_changes_shows() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let keys = [Digest::of(b"a"), Digest::of(b"b")];
        put(&store, keys[0], "one");
        wait_for_tick();
        ResultIndex::load(&store).save().unwrap();
        assert!(ResultIndex::load(&store).shards.iter().all(|shard| !shard.is_new), "it is believed");
        assert_eq!(outputs(&store, keys[0]), Some(Digest::of(b"one")));
        assert_eq!(outputs(&store, keys[1]), None);

        put(&store, keys[1], "two");
        assert_eq!(outputs(&store, keys[1]), Some(Digest::of(b"two")));
        put(&store, keys[0], "other");
        assert_eq!(outputs(&store, keys[0]), Some(Digest::of(b"other")));
        ResultIndex::load(&store).save().unwrap();
        fs::remove_file(store.result_path(keys[0])).unwrap();
        assert_eq!(outputs(&store, keys[0]), None);
    }

    #[test]
    fn a_result_is_whole_until_a_directory_of_its_objects_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let (key, object) = put_result(&store, dir.path());
        let is_whole = |look: bool| {
            let mut index = ResultIndex::load(&store);
            if look {
                index.look_for_objects(&[key]);
            }
            index.save().unwrap();
            index.is_whole(key)
        };
        wait_for_tick();
        assert!(!is_whole(false), "nobody looked");
        assert!(is_whole(true));
        assert!(is_whole(false), "it is believed");
        fs::remove_file(store.object_path(object)).unwrap();
        wait_for_tick();
        assert!(!is_whole(false));
        assert!(!is_whole(true));
        store.put(b"bytes").unwrap();
        wait_for_tick();
        assert!(!is_whole(false));
    }

    #[test]
    fn what_was_not_used_for_long_is_used_now() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let key = Digest::of(b"a");
        put(&store, key, "one");
        let path = store.result_path(key);
        let modified = || fs::metadata(&path).unwrap().modified().unwrap();
        let first = modified();
        ResultIndex::load(&store).touch(&[key]);
        assert_eq!(modified(), first, "it was used a moment ago");
        // The time of the last change of its inode cannot be set back: an index of a later time stands for that.
        let mut index = ResultIndex::load(&store);
        index.loaded = index.loaded.after(2 * USE);
        wait_for_tick();
        index.touch(&[key]);
        assert!(modified() > first);
    }

    #[test]
    fn a_torn_index_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        put(&store, Digest::of(b"a"), "one");
        wait_for_tick();
        ResultIndex::load(&store).save().unwrap();
        let bytes = fs::read(file(&store)).unwrap();
        for length in [0, 31, 40, bytes.len() - 1] {
            fs::write(file(&store), &bytes[..length]).unwrap();
            assert_eq!(outputs(&store, Digest::of(b"a")), Some(Digest::of(b"one")));
        }
    }
}
