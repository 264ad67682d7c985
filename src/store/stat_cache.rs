use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use foldhash::fast::RandomState;

use super::ingest::hash_file;
use super::result_index::worth;
use super::sealed::unsealed;
use super::sighting::{Place, Reader, Seen, parts};
use super::{LocalStore, Moment, Sighting, Sightings, StoreError};
use crate::digest::Digest;

/// Digests of local source files, so that an unchanged file is not read again.
///
/// A digest is trusted only if the file looks as it did *and* its times are older than the look at which it was read:
/// a file edited within the same tick as that would look unchanged (git's "racy" rule).
#[derive(Debug)]
pub struct StatCache {
    path: PathBuf,
    /// Read when it is asked for: where nearly everything stands as it did, nobody asks.
    known: RwLock<Option<Known>>,
    /// Before anything was looked at.
    started: Moment,
    /// What was read now.
    read: Mutex<Vec<(PathBuf, Sighting, Digest)>>,
}

/// What is known, as it is written: there may be many files, and not every directory is asked for.
#[derive(Debug, Default)]
struct Known {
    file: Vec<u8>,
    dirs: HashMap<Box<[u8]>, OfDir, RandomState>,
}

/// Where in the file it is written of one directory.
#[derive(Debug, Default)]
struct OfDir {
    said: Vec<Range<usize>>,
    /// Where it is written of each of its files, in the order of their names.
    files: OnceLock<Vec<usize>>,
}

impl Known {
    fn read(file: Vec<u8>) -> Option<Self> {
        let mut dirs = HashMap::<Box<[u8]>, OfDir, RandomState>::default();
        for (dir, said) in Sightings::dirs(unsealed(&file)?).ok()? {
            let from = said.as_ptr().addr() - file.as_ptr().addr();
            dirs.entry(dir.into()).or_default().said.push(from..from + said.len());
        }
        Some(Self { file, dirs })
    }

    /// What is written at a place.
    fn at(&self, place: usize) -> Option<Seen<'_, Digest>> {
        Sightings::next(&mut Reader::new(self.file.get(place..)?))
    }

    fn files<'k>(&self, dir: &'k OfDir) -> &'k [usize] {
        dir.files.get_or_init(|| {
            let mut places = Vec::with_capacity(self.len_of(dir));
            for said in &dir.said {
                let mut reader = Reader::new(&self.file[said.clone()]);
                while !reader.is_empty() {
                    places.push(said.end - reader.len());
                    if Sightings::next::<Digest>(&mut reader).is_none() {
                        break;
                    }
                }
            }
            places
        })
    }

    fn get(&self, dir: &[u8], name: &[u8]) -> Option<(Sighting, Digest)> {
        let files = self.files(self.dirs.get(dir)?);
        let is_before = |place: &usize| self.at(*place).is_some_and(|(own, ..)| own < name);
        let (own, sighting, digest) = self.at(*files.get(files.partition_point(is_before))?)?;
        (own == name).then_some((sighting, digest))
    }

    /// About how many files are known of a directory.
    fn len_of(&self, dir: &OfDir) -> usize {
        dir.said.iter().map(|said| said.len() / ENTRY).sum()
    }

    fn len(&self) -> usize {
        self.dirs.values().map(|dir| self.len_of(dir)).sum()
    }

    fn all(&self) -> impl Iterator<Item = (Place<'_>, Sighting, Digest)> {
        self.dirs.iter().flat_map(move |(dir, of_dir)| {
            let seen = self.files(of_dir).iter().filter_map(|place| self.at(*place));
            seen.map(move |(name, sighting, digest)| ((&**dir, name), sighting, digest))
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
        Self { path, known: RwLock::default(), started: Moment::now(), read: Mutex::default() }
    }

    /// What `of` finds in what is known.
    fn known<T>(&self, of: impl Fn(&Known) -> T) -> T {
        if let Some(known) = &*self.known.read().unwrap_or_else(PoisonError::into_inner) {
            return of(known);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let read = || fs::read(&self.path).ok().and_then(Known::read).unwrap_or_default();
        of(known.get_or_insert_with(read))
    }

    /// Frees the memory of what is known until that is asked for again. Not where it may be written again, with what is new.
    pub fn let_go(&self) {
        if self.read.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// The digest of the file called `name` in `dir`, absolute, which looked like this before.
    pub fn digest(&self, dir: &Path, name: &str, sighting: Sighting) -> Result<Digest, StoreError> {
        if let Some((then, digest)) = self.get(dir, name)
            && then == sighting
        {
            return Ok(digest);
        }
        let path = dir.join(name);
        let digest = hash_file(&path)?;
        // What is younger may look the same after another edit.
        if sighting.is_before(self.started) {
            self.read.lock().unwrap_or_else(PoisonError::into_inner).push((path, sighting, digest));
        }
        Ok(digest)
    }

    fn get(&self, dir: &Path, name: &str) -> Option<(Sighting, Digest)> {
        self.known(|known| known.get(dir.as_os_str().as_bytes(), name.as_bytes()))
    }

    /// Writes what this process read, beside what was known of other files, if that is worth it.
    pub fn save(self, store: &LocalStore) -> Result<(), StoreError> {
        let read = std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner));
        if read.is_empty() {
            return Ok(());
        }
        let bytes: u64 = read.iter().map(|(_, sighting, _)| sighting.size()).sum();
        if !worth(read.len(), self.known(Known::len)) && bytes < MANY {
            return Ok(());
        }
        // What was read now counts.
        let bytes = self.known(|known| {
            let read: HashMap<Place<'_>, (Sighting, Digest)> =
                read.iter().map(|(path, sighting, digest)| (parts(path), (*sighting, *digest))).collect();
            let others = known.all().filter(|(place, ..)| !read.contains_key(place));
            let read = read.iter().map(|(place, (sighting, digest))| (*place, *sighting, *digest));
            Sightings::write(others.chain(read).collect())
        });
        store.write_sealed(&self.path, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::wait_for_tick;
    use crate::store::result_index::WORTH;

    fn store() -> (tempfile::TempDir, LocalStore, PathBuf) {
        let (dir, store) = crate::store::fixture::store();
        let path = dir.path().join("file");
        (dir, store, path)
    }

    fn is_known(cache: &StatCache, path: &Path) -> bool {
        cache.get(path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap()).is_some()
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
        assert!(is_known(&StatCache::of(&store), &path), "it is remembered");

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
        assert!(!is_known(&StatCache::of(&store), &path));
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
        let is_known_of = |length| {
            fs::write(&path, vec![b'x'; length]).unwrap();
            wait_for_tick();
            let cache = StatCache::of(&store);
            digest(&cache, &path);
            cache.save(&store).unwrap();
            let cache = StatCache::of(&store);
            assert!(is_known(&cache, &many.join("7")));
            is_known(&cache, &path)
        };
        assert!(!is_known_of(1));
        assert!(is_known_of(MANY as usize), "it takes long to read");
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
        assert!(!is_known(&StatCache::of(&store), &path));
    }
}
