use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use memmap2::{Mmap, MmapOptions};
use rayon::prelude::*;

use super::result_table::{Dirs, Known, Table};
use super::sealed::unsealed;
use super::sighting::{Reader, parts, path_of, write_text};
use super::{LocalStore, Moment, Outputs, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// When a result was used last is known to this.
pub(super) const USE: Duration = Duration::from_secs(3600);

/// Raised when what is written has another form.
const FORM: &[u8] = b"forge results 6";

/// The part of what is remembered that makes it worth to be written, as a reciprocal.
pub(super) const WORTH: usize = 16;

/// Whether so much that is new is worth that all that is `known` is written once more: before, it is sooner looked at again.
pub fn worth(news: usize, known: usize) -> bool {
    news > 0 && news >= known / WORTH
}

/// What results give, without opening each of them: as they were when this was loaded.
///
/// What is written of a directory of results is believed as long as it looks as it did, by the same rule as that of
/// [`StatCache`](super::StatCache): a result that comes or goes changes it. In one that changed, each result is looked at.
/// That all objects of a result are here is believed by the same rule, of the directories that they are in.
pub struct ResultIndex {
    loaded: Moment,
    /// By the first byte of a key.
    shards: Vec<Shard>,
    /// How the directories of objects looked, by the first byte of a digest; none if another change might not show.
    objects: Vec<Option<Sighting>>,
    /// Directories of objects that do not look as they did when results were found to be whole.
    changed: Dirs,
    /// How many results were looked at that the next one would have to look at again.
    news: usize,
}

/// What is known of a result.
pub struct KnownResult {
    /// Its output trees, by name.
    pub outputs: Outputs,
    /// Whether all its objects are known to be here.
    pub is_whole: bool,
    /// Whether it was not used for long.
    pub is_old: bool,
}

/// The results of one directory.
#[derive(Default)]
struct Shard {
    path: PathBuf,
    /// How it looked; none if another change might not show.
    seen: Option<Sighting>,
    /// What is written of it, if that is still so.
    written: Table,
    /// What was found out now, which counts before what is written.
    found: HashMap<Digest, Known>,
}

/// All that is written.
#[derive(Default)]
struct Index {
    objects: Vec<Option<Sighting>>,
    results: Vec<(Option<Sighting>, Table)>,
}

impl ResultIndex {
    /// Reads what is written, and looks at what changed since.
    pub fn load(store: &LocalStore) -> Self {
        let loaded = Moment::now();
        let written = mapped(&file(store)).and_then(Index::read).unwrap_or_default();
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
        results.resize_with(SHARDS, Default::default);
        let paths = shard_paths(store.root().join("results"));
        let look = |(written, path)| Shard::look(store, path, written, changed, loaded);
        let shards = results.into_iter().zip(paths).collect::<Vec<_>>().into_par_iter().map(look);
        let shards: Vec<Shard> = shards.collect();
        let news = shards.iter().map(|shard| shard.found.len()).sum();
        let objects = objects.into_iter().map(|seen| seen.filter(|seen| seen.is_before(loaded))).collect();
        Self { loaded, shards, objects, changed, news }
    }

    fn known(&self, key: Digest) -> Option<Known> {
        self.shards[usize::from(key.as_bytes()[0])].get(key, self.changed)
    }

    /// What is known of the result under `key`.
    pub fn get(&self, key: Digest) -> Option<KnownResult> {
        Some(self.told(self.known(key)?))
    }

    /// The same of many. Where each is written of is found at first: then the memory with what is written is waited for once, and
    /// not by one after the other.
    pub fn get_each(&self, keys: &[Digest]) -> Vec<Option<KnownResult>> {
        let shard = |key: Digest| &self.shards[usize::from(key.as_bytes()[0])];
        let rows: Vec<usize> = keys.iter().map(|key| shard(*key).written.row(*key)).collect();
        let said: Vec<_> =
            keys.iter().zip(rows).map(|(key, row)| shard(*key).written.said_of(*key, row)).collect();
        let known = |(key, said): (&Digest, _)| shard(*key).known(*key, self.changed, || said);
        keys.iter().zip(said).map(|asked| Some(self.told(known(asked)?))).collect()
    }

    fn told(&self, Known { seen, outputs, objects }: Known) -> KnownResult {
        KnownResult { outputs, is_whole: !objects.is_empty(), is_old: self.is_old(seen) }
    }

    fn is_old(&self, seen: Sighting) -> bool {
        seen.is_before(self.loaded.before(USE))
    }

    /// Looks for the objects of these results, and notes it of those that are whole. Gives whether each is.
    pub fn look_for_objects(&mut self, keys: &[Digest], store: &LocalStore) -> Vec<bool> {
        let whole = |key: &Digest| {
            let known = self.known(*key)?;
            Some(Known { objects: store.object_dirs(&known.outputs)?, ..known })
        };
        let found: Vec<Option<Known>> = keys.par_iter().map(whole).collect();
        let is_whole = found.iter().map(Option::is_some).collect();
        keys.iter()
            .zip(found)
            .filter_map(|(key, known)| Some((*key, known?)))
            .for_each(|(key, known)| self.note(key, known));
        is_whole
    }

    fn note(&mut self, key: Digest, known: Known) {
        self.shards[usize::from(key.as_bytes()[0])].found.insert(key, known);
        self.news += 1;
    }

    /// Notes that these results are used now. Losing this costs a rebuild after the next gc, never a wrong result.
    pub fn touch(&mut self, keys: &[Digest], store: &LocalStore) {
        for key in keys {
            let Some(known) = self.known(*key).filter(|known| self.is_old(known.seen)) else { continue };
            store.touch_result(*key);
            if let Some(seen) = Sighting::at(&store.result_path(*key)) {
                self.note(*key, Known { seen, ..known });
            }
        }
    }

    /// Writes it for the next one, if that is worth it.
    pub fn save(&self, store: &LocalStore) -> Result<(), StoreError> {
        let known: usize = self.shards.iter().map(|shard| shard.written.len() + shard.found.len()).sum();
        if !worth(self.news, known) {
            return Ok(());
        }
        let mut bytes = FORM.to_vec();
        let objects: Vec<PathBuf> = shard_paths(store.root().join("objects")).collect();
        let objects =
            objects.iter().zip(&self.objects).filter_map(|(path, seen)| Some((parts(path), (*seen)?, ())));
        let results = self.shards.iter().filter_map(|shard| Some((parts(&shard.path), shard.seen?, ())));
        for dirs in [Sightings::write(objects.collect()), Sightings::write(results.collect())] {
            write_text(&dirs, &mut bytes);
        }
        let table = |shard: &Shard| {
            // A result that is as young as this, as one that was just seen to be used, may be another one soon, and look the same.
            let told = |(key, known): (Digest, Known)| {
                (key, Known { seen: known.seen.if_before(self.loaded), ..known })
            };
            let mut table = Vec::new();
            Table::write(shard.all(self.changed).map(told).collect(), &mut table);
            table
        };
        let tables: Vec<Vec<u8>> = self.shards.par_iter().map(table).collect();
        tables.iter().for_each(|table| write_text(table, &mut bytes));
        store.write_sealed(&file(store), &bytes)
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

impl Index {
    fn read(file: Mmap) -> Option<Self> {
        let file = Arc::new(file);
        let said = unsealed(&file)?.strip_prefix(FORM)?;
        let mut reader = Reader::new(said);
        let objects = seen_shards(reader.text()?)?;
        let seen = seen_shards(reader.text()?)?;
        let table = |seen| {
            let length = reader.text()?.len();
            let end = file.len() - reader.len();
            Some((seen, Table::at(file.clone(), end - length..end)))
        };
        let results = seen.into_iter().map(table).collect::<Option<_>>()?;
        Some(Self { objects, results })
    }
}

/// What is written, where the system has it: memory for as much would have to be had and cleared first.
fn mapped(path: &Path) -> Option<Mmap> {
    let file = File::open(path).ok()?;
    // SAFETY: forge writes it once, under another name, and never again: a new one takes its place. Whoever else cuts it off ends this
    // process, as if it were its program that was cut off.
    unsafe { MmapOptions::new().populate().map(&file).ok() }
}

/// How the directories of a room looked, by their bytes.
fn seen_shards(bytes: &[u8]) -> Option<Vec<Option<Sighting>>> {
    let mut shards = vec![None; SHARDS];
    for (_, said) in Sightings::dirs(bytes).ok()? {
        for (name, seen, ()) in Sightings::read(said).ok()? {
            shards[usize::from(byte(name)?)] = Some(seen);
        }
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
    fn look(
        store: &LocalStore,
        path: PathBuf,
        (then, written): (Option<Sighting>, Table),
        changed: Dirs,
        loaded: Moment,
    ) -> Self {
        let Some(now) = Sighting::at(&path) else {
            return Self { path, ..Self::default() };
        };
        if then == Some(now) {
            return Self { path, seen: then, written, found: HashMap::new() };
        }
        let found = Self::look_at_each(store, &path, &written, changed);
        Self { path, seen: Some(now).filter(|seen| seen.is_before(loaded)), written: Table::default(), found }
    }

    fn get(&self, key: Digest, changed: Dirs) -> Option<Known> {
        self.known(key, changed, || self.written.said_of(key, self.written.row(key)))
    }

    /// What is known of a result, of which `said` is written.
    fn known<'s>(
        &self,
        key: Digest,
        changed: Dirs,
        said: impl FnOnce() -> Option<Reader<'s>>,
    ) -> Option<Known> {
        match self.found.get(&key) {
            Some(known) => Some(known.clone()),
            None => Known::read(&mut said()?).map(|known| known.doubted(changed)),
        }
    }

    fn all(&self, changed: Dirs) -> impl Iterator<Item = (Digest, Known)> {
        let is_as_written = |(key, _): &(Digest, Known)| !self.found.contains_key(key);
        let written = self.written.all().filter(is_as_written);
        let written = written.map(move |(key, known)| (key, known.doubted(changed)));
        written.chain(self.found.iter().map(|(key, known)| (*key, known.clone())))
    }

    fn look_at_each(
        store: &LocalStore,
        path: &Path,
        written: &Table,
        changed: Dirs,
    ) -> HashMap<Digest, Known> {
        let shard = path.file_name().unwrap_or_default().as_bytes();
        let names = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let known = |name: &OsStr| {
            let key = key(shard, name.as_bytes())?;
            let seen = Sighting::at(&path.join(path_of(name.as_bytes())))?;
            let known =
                written.get(key).filter(|known| known.seen == seen).map(|known| known.doubted(changed));
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
        ResultIndex::load(store).get(key)?.outputs.get("root")
    }

    #[test]
    fn what_comes_goes_and_changes_shows() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let keys = [Digest::of(b"a"), Digest::of(b"b")];
        put(&store, keys[0], "one");
        wait_for_tick();
        ResultIndex::load(&store).save(&store).unwrap();
        assert_eq!(ResultIndex::load(&store).news, 0, "it is believed");
        assert_eq!(outputs(&store, keys[0]), Some(Digest::of(b"one")));
        assert_eq!(outputs(&store, keys[1]), None);

        put(&store, keys[1], "two");
        assert_eq!(outputs(&store, keys[1]), Some(Digest::of(b"two")));
        put(&store, keys[0], "other");
        assert_eq!(outputs(&store, keys[0]), Some(Digest::of(b"other")));
        ResultIndex::load(&store).save(&store).unwrap();
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
                index.look_for_objects(&[key], &store);
            }
            index.save(&store).unwrap();
            index.get(key).unwrap().is_whole
        };
        wait_for_tick();
        assert!(!is_whole(false), "nobody looked");
        assert!(is_whole(true));
        assert!(is_whole(false), "it is believed");
        store.lose(object);
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
        ResultIndex::load(&store).touch(&[key], &store);
        assert_eq!(modified(), first, "it was used a moment ago");
        // The time of the last change of its inode cannot be set back: an index of a later time stands for that.
        wait_for_tick();
        let mut index = ResultIndex::load(&store);
        let loaded = index.loaded;
        index.loaded = loaded.after(2 * USE);
        wait_for_tick();
        index.touch(&[key], &store);
        assert!(modified() > first);
        // It is as young as the index then, and still what its directory has.
        index.loaded = loaded;
        index.save(&store).unwrap();
        assert!(ResultIndex::load(&store).get(key).is_some());
    }

    #[test]
    fn each_of_many_is_told_as_it_is_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let keys: Vec<Digest> = (0..300_u32).map(|at| Digest::of(&at.to_le_bytes())).collect();
        keys[..200].iter().for_each(|key| put(&store, *key, &key.to_string()));
        wait_for_tick();
        ResultIndex::load(&store).save(&store).unwrap();
        // What is written is asked, what came since, and what is not there.
        keys[200..220].iter().for_each(|key| put(&store, *key, "new"));
        let index = ResultIndex::load(&store);
        let outputs = |known: Option<KnownResult>| known.map(|known| known.outputs);
        let alone: Vec<_> = keys.iter().map(|key| outputs(index.get(*key))).collect();
        assert_eq!(alone.iter().flatten().count(), 220);
        assert_eq!(index.get_each(&keys).into_iter().map(outputs).collect::<Vec<_>>(), alone);
    }

    #[test]
    fn keys_that_start_alike_are_told_apart() {
        let key = |last: u8| {
            Digest::from_bytes([[7; Digest::LENGTH - 1].as_slice(), &[last]].concat().try_into().unwrap())
        };
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        put(&store, key(1), "one");
        put(&store, key(3), "three");
        wait_for_tick();
        ResultIndex::load(&store).save(&store).unwrap();
        assert_eq!(ResultIndex::load(&store).news, 0, "it is believed");
        assert_eq!(outputs(&store, key(1)), Some(Digest::of(b"one")));
        assert_eq!(outputs(&store, key(2)), None);
        assert_eq!(outputs(&store, key(3)), Some(Digest::of(b"three")));
    }

    #[test]
    fn little_that_is_new_is_looked_at_again_and_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let key = |at: usize| Digest::of(&at.to_le_bytes());
        (0..20 * WORTH).for_each(|at| put(&store, key(at), "old"));
        wait_for_tick();
        ResultIndex::load(&store).save(&store).unwrap();
        let written = || fs::read(file(&store)).unwrap();
        let (first, new) = (written(), 20 * WORTH);
        put(&store, key(new), "new");
        wait_for_tick();
        for _ in 0..2 {
            ResultIndex::load(&store).save(&store).unwrap();
            assert!(written() == first);
            assert_eq!(outputs(&store, key(new)), Some(Digest::of(b"new")));
            assert_eq!(outputs(&store, key(7)), Some(Digest::of(b"old")));
        }
        (0..20 * WORTH).for_each(|at| put(&store, key(new + at), "new"));
        wait_for_tick();
        ResultIndex::load(&store).save(&store).unwrap();
        assert!(written() != first);
        assert_eq!(outputs(&store, key(new + 7)), Some(Digest::of(b"new")));
    }

    #[test]
    fn a_torn_index_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        put(&store, Digest::of(b"a"), "one");
        wait_for_tick();
        ResultIndex::load(&store).save(&store).unwrap();
        let bytes = fs::read(file(&store)).unwrap();
        for length in [0, 31, 40, bytes.len() - 1] {
            fs::write(file(&store), &bytes[..length]).unwrap();
            assert_eq!(outputs(&store, Digest::of(b"a")), Some(Digest::of(b"one")));
        }
    }
}
