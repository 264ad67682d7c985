use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;

use super::ingest::hash_file;
use super::local::unsealed;
use super::result_index::worth;
use super::sighting::path_of;
use super::{LocalStore, Moment, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// Digests of local source files, so that an unchanged file is not read again.
///
/// A digest is trusted only if the file looks as it did *and* its times are older than the look at which it was read:
/// a file edited within the same tick as that would look unchanged (git's "racy" rule).
#[derive(Debug)]
pub struct StatCache {
    path: PathBuf,
    /// Read when it is asked for the first time: where nearly everything stands as it did, nobody asks.
    known: OnceLock<Known>,
    /// Before anything was looked at.
    started: Moment,
    /// What was read now.
    read: Mutex<Vec<(PathBuf, Sighting, Digest)>>,
}

/// By directory.
type Known = HashMap<Box<[u8]>, OfDir, RandomState>;

/// What is known of the files of one directory.
#[derive(Debug, Default)]
struct OfDir {
    /// As it is written: not every directory is asked for.
    said: Vec<Box<[u8]>>,
    by_name: OnceLock<ByName>,
}

type ByName = HashMap<Box<[u8]>, (Sighting, Digest), RandomState>;

impl OfDir {
    fn by_name(&self) -> &ByName {
        self.by_name.get_or_init(|| {
            let seen = self.said.iter().flat_map(|said| Sightings::read(said).unwrap_or_default());
            seen.map(|(name, sighting, digest)| (name.into(), (sighting, digest))).collect()
        })
    }
}

/// So many bytes take longer to be read again than all that is known takes to be written.
const MANY: u64 = 8 << 20;

/// About the bytes that are written of a file.
const ENTRY: usize = 80;

impl StatCache {
    /// The cache of `store`; an unreadable one is an empty one.
    pub fn of(store: &LocalStore) -> Self {
        let path = store.root().join("stat-cache");
        Self { path, known: OnceLock::new(), started: Moment::now(), read: Mutex::default() }
    }

    fn all(&self) -> &Known {
        let read = || fs::read(&self.path).ok().and_then(|bytes| Self::known_of(&bytes)).unwrap_or_default();
        self.known.get_or_init(read)
    }

    fn known_of(bytes: &[u8]) -> Option<Known> {
        let mut known = Known::default();
        for (dir, said) in Sightings::dirs(unsealed(bytes)?).ok()? {
            known.entry(dir.into()).or_default().said.push(said.into());
        }
        Some(known)
    }

    /// The digest of the file called `name` in `dir`, absolute, which looked like this before.
    pub fn digest(&self, dir: &Path, name: &str, sighting: Sighting) -> Result<Digest, StoreError> {
        if let Some((then, digest)) = self.known(dir, name)
            && *then == sighting
        {
            return Ok(*digest);
        }
        let path = dir.join(name);
        let digest = hash_file(&path)?;
        // What is younger may look the same after another edit.
        if sighting.is_before(self.started) {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).push((path, sighting, digest));
        }
        Ok(digest)
    }

    fn known(&self, dir: &Path, name: &str) -> Option<&(Sighting, Digest)> {
        self.all().get(dir.as_os_str().as_bytes())?.by_name().get(name.as_bytes())
    }

    /// Writes what this process read, beside what was known of other files, if that is worth it.
    pub fn save(self, store: &LocalStore) -> Result<(), StoreError> {
        let read = std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner));
        if read.is_empty() {
            return Ok(());
        }
        let known: usize = self.all().values().flat_map(|dir| &dir.said).map(|said| said.len() / ENTRY).sum();
        let bytes: u64 = read.iter().map(|(_, sighting, _)| sighting.size()).sum();
        if !worth(read.len(), known) && bytes < MANY {
            return Ok(());
        }
        let paths = self.all().iter().flat_map(|(dir, known)| {
            let path = |name: &[u8]| path_of(dir).join(path_of(name));
            known.by_name().iter().map(move |(name, (sighting, digest))| (path(name), *sighting, *digest))
        });
        // What was read now counts.
        let seen: HashMap<PathBuf, (Sighting, Digest)> =
            paths.chain(read).map(|(path, sighting, digest)| (path, (sighting, digest))).collect();
        let seen =
            seen.iter().map(|(path, (sighting, digest))| (path.as_path(), *sighting, *digest)).collect();
        store.write_sealed(&self.path, &Sightings::write(seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::wait_for_tick;
    use crate::store::result_index::WORTH;

    fn store() -> (tempfile::TempDir, LocalStore, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let path = dir.path().join("file");
        (dir, store, path)
    }

    fn digest(cache: &StatCache, path: &Path) -> Digest {
        cache.digest(path.parent().unwrap(), "file", Sighting::at(path).unwrap()).unwrap()
    }

    #[test]
    fn an_edit_that_keeps_size_and_mtime_is_noticed() {
        let (_dir, store, path) = store();
        fs::write(&path, "one").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        wait_for_tick();
        let cache = StatCache::of(&store);
        assert_eq!(digest(&cache, &path), Digest::of(b"one"));
        cache.save(&store).unwrap();
        assert!(StatCache::of(&store).known(path.parent().unwrap(), "file").is_some(), "it is remembered");

        fs::write(&path, "two").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(digest(&StatCache::of(&store), &path), Digest::of(b"two"));
    }

    #[test]
    fn a_file_as_young_as_the_look_at_it_is_read_again() {
        let (_dir, store, path) = store();
        let cache = StatCache::of(&store);
        fs::write(&path, "one").unwrap();
        assert_eq!(digest(&cache, &path), Digest::of(b"one"));
        cache.save(&store).unwrap();
        assert!(StatCache::of(&store).known(path.parent().unwrap(), "file").is_none());
    }

    #[test]
    fn little_that_is_new_is_read_again_and_not_written() {
        let (dir, store, path) = store();
        let many = dir.path().join("many");
        fs::create_dir(&many).unwrap();
        (0..20 * WORTH).for_each(|at| fs::write(many.join(at.to_string()), "old").unwrap());
        wait_for_tick();
        let cache = StatCache::of(&store);
        for at in 0..20 * WORTH {
            let name = at.to_string();
            cache.digest(&many, &name, Sighting::at(&many.join(&name)).unwrap()).unwrap();
        }
        cache.save(&store).unwrap();
        let is_known = |length| {
            fs::write(&path, vec![b'x'; length]).unwrap();
            wait_for_tick();
            let cache = StatCache::of(&store);
            digest(&cache, &path);
            cache.save(&store).unwrap();
            let cache = StatCache::of(&store);
            assert!(cache.known(&many, "7").is_some());
            cache.known(path.parent().unwrap(), "file").is_some()
        };
        assert!(!is_known(1));
        assert!(is_known(MANY as usize), "it takes long to read");
    }

    #[test]
    fn a_torn_cache_is_an_empty_one() {
        let (_dir, store, path) = store();
        fs::write(&path, "one").unwrap();
        wait_for_tick();
        let cache = StatCache::of(&store);
        digest(&cache, &path);
        let file = cache.path.clone();
        cache.save(&store).unwrap();
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        assert!(StatCache::of(&store).known(path.parent().unwrap(), "file").is_none());
    }
}
