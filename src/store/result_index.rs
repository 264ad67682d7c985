use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;

use super::local::unsealed;
use super::sighting::{Note, Reader, path_of, write_text};
use super::{LocalStore, Moment, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// When a result was used last is known to this.
pub(super) const USE: Duration = Duration::from_secs(3600);

/// What results give, without opening each of them: as they were when this was loaded.
///
/// What is written of a directory of results is believed as long as it looks as it did, by the same rule as that of
/// [`StatCache`](super::StatCache): a result that comes or goes changes it. In one that changed, each result is looked at.
pub struct ResultIndex<'a> {
    store: &'a LocalStore,
    loaded: Moment,
    /// By the first byte of a key.
    shards: Vec<Shard>,
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
    outputs: BTreeMap<String, Digest>,
}

impl Note for BTreeMap<String, Digest> {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.len() as u64).to_le_bytes());
        for (name, tree) in self {
            write_text(name.as_bytes(), bytes);
            tree.write(bytes);
        }
    }

    fn read(bytes: &mut Reader<'_>) -> Option<Self> {
        let outputs = (0..bytes.number()?).map(|_| {
            let name = String::from_utf8(bytes.text()?.to_vec()).ok()?;
            Some((name, Digest::read(bytes)?))
        });
        outputs.collect()
    }
}

/// What is written of a directory.
#[derive(Default)]
struct Written {
    seen: Option<Sighting>,
    results: HashMap<Digest, Known>,
}

impl<'a> ResultIndex<'a> {
    /// Reads what is written, and looks at what changed since.
    pub fn load(store: &'a LocalStore) -> Self {
        let loaded = Moment::now();
        let written =
            fs::read(file(store)).ok().and_then(|bytes| written(unsealed(&bytes)?)).unwrap_or_default();
        let mut shards: Vec<(Written, usize)> = written.into_iter().zip(0..).collect();
        shards.extend((shards.len()..=usize::from(u8::MAX)).map(|at| (Written::default(), at)));
        let room = store.root().join("results");
        let shard = |(written, at): (Written, usize)| {
            Shard::look(store, room.join(format!("{at:02x}")), written, loaded)
        };
        let shards = shards.into_par_iter().map(shard).collect();
        Self { store, loaded, shards }
    }

    /// The output trees of the result under `key`, by name.
    pub fn outputs(&self, key: Digest) -> Option<&BTreeMap<String, Digest>> {
        let shard = &self.shards[usize::from(key.as_bytes()[0])];
        shard.results.get(&key).map(|known| &known.outputs)
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
        let dirs = self.shards.iter().filter_map(|shard| Some((shard.path.as_path(), shard.seen?, ())));
        let dirs = Sightings::write(dirs.collect());
        let mut bytes = Vec::new();
        write_text(&dirs, &mut bytes);
        for shard in &self.shards {
            // A result that is as young as this may be another one soon, and look the same.
            let old = shard.results.iter().filter(|(_, known)| known.seen.is_before(self.loaded));
            let paths: Vec<_> = old.map(|(key, known)| (self.store.result_path(*key), known)).collect();
            let results =
                paths.iter().map(|(path, known)| (path.as_path(), known.seen, known.outputs.clone()));
            bytes.extend_from_slice(&Sightings::write(results.collect()));
        }
        self.store.write_sealed(&file(self.store), &bytes)
    }
}

fn file(store: &LocalStore) -> PathBuf {
    store.root().join("result-index")
}

/// What is written of all directories, in their order.
fn written(bytes: &[u8]) -> Option<Vec<Written>> {
    let mut reader = Reader::new(bytes);
    let dirs = Sightings::read::<()>(reader.text()?).ok()?;
    let mut written: Vec<Written> = (0..=u8::MAX).map(|_| Written::default()).collect();
    for (name, seen, ()) in dirs.into_iter().flat_map(|(_, dirs)| dirs) {
        written[usize::from(byte(&name)?)].seen = Some(seen);
    }
    for (dir, results) in Sightings::read::<BTreeMap<String, Digest>>(reader.rest()).ok()? {
        let shard = dir.file_name()?.as_bytes();
        let known = results
            .into_iter()
            .map(|(name, seen, outputs)| Some((key(shard, &name)?, Known { seen, outputs })));
        written[usize::from(byte(shard)?)].results.extend(known.collect::<Option<Vec<_>>>()?);
    }
    Some(written)
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
            let outputs = match written.remove(&key).filter(|known| known.seen == seen) {
                Some(known) => known.outputs,
                None => store.result(key)?.outputs,
            };
            Some((key, Known { seen, outputs }))
        };
        names.collect::<Vec<_>>().iter().map(|name| name.as_os_str()).filter_map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ActionResult;

    fn put(store: &LocalStore, key: Digest, output: &str) {
        let outputs = [("root".to_owned(), Digest::of(output.as_bytes()))].into();
        let (node, runner) = ("node".to_owned(), "sandbox".to_owned());
        let result = ActionResult { node, action: vec![], outputs, log: None, duration_ms: 1, runner };
        store.put_result(key, &result).unwrap();
    }

    fn outputs(store: &LocalStore, key: Digest) -> Option<Digest> {
        Some(ResultIndex::load(store).outputs(key)?["root"])
    }

    fn wait_for_tick() {
        let now = Moment::now();
        while Moment::now() == now {
            std::thread::yield_now();
        }
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
