use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::ingest::hash_file;
use super::{LocalStore, StoreError};
use crate::digest::Digest;

/// Digests of local source files, so that an unchanged file is not read again.
///
/// A digest is trusted only if size, mtime, ctime and inode agree *and* the file's times are
/// older than the cache's own write: a file edited within the same tick as that write would
/// look unchanged (git's "racy" rule).
#[derive(Debug)]
pub struct StatCache {
    path: PathBuf,
    known: HashMap<PathBuf, Stat>,
    /// When `known` was written, in nanoseconds since 1970.
    written: i128,
    seen: Mutex<HashMap<PathBuf, Stat>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stat {
    size: u64,
    mtime: i128,
    ctime: i128,
    inode: u64,
    digest: Digest,
}

#[derive(Default, Serialize, Deserialize)]
struct Saved {
    written: i128,
    files: Vec<(PathBuf, Stat)>,
}

impl StatCache {
    /// Reads the cache of `store`; an unreadable one is an empty one.
    pub fn load(store: &LocalStore) -> Self {
        let path = store.root().join("stat-cache.json");
        let saved: Saved = store.read_record(&path).unwrap_or_default();
        Self {
            path,
            known: saved.files.into_iter().collect(),
            written: saved.written,
            seen: Mutex::default(),
        }
    }

    /// The digest of the file at `path`, and its size in bytes.
    pub fn digest(&self, path: &Path) -> Result<(Digest, u64), StoreError> {
        let before = fs::metadata(path).map_err(StoreError::io("read", path))?;
        let stat = match self.known.get(path) {
            Some(stat) if stat.agrees(&before) && stat.mtime.max(stat.ctime) < self.written => *stat,
            _ => Stat::new(&before, hash_file(path)?),
        };
        if let Ok(mut seen) = self.seen.lock() {
            seen.insert(path.to_owned(), stat);
        }
        Ok((stat.digest, stat.size))
    }

    /// Writes what this process saw, beside what was known of other files.
    pub fn save(self, store: &LocalStore) -> Result<(), StoreError> {
        let seen = self.seen.into_inner().unwrap_or_default();
        if seen.iter().all(|(path, stat)| self.known.get(path) == Some(stat)) {
            return Ok(());
        }
        let mut files = self.known;
        files.extend(seen);
        let written = nanoseconds(SystemTime::now());
        let saved = Saved { written, files: files.into_iter().collect() };
        store.write_record(&self.path, &saved)
    }
}

impl Stat {
    fn new(metadata: &fs::Metadata, digest: Digest) -> Self {
        Self {
            size: metadata.len(),
            mtime: at(metadata.mtime(), metadata.mtime_nsec()),
            ctime: at(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            digest,
        }
    }

    fn agrees(&self, metadata: &fs::Metadata) -> bool {
        *self == Self::new(metadata, self.digest)
    }
}

fn at(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

fn nanoseconds(time: SystemTime) -> i128 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos() as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_that_keeps_size_and_mtime_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let cache = StatCache::load(&store);
        assert_eq!(cache.digest(&path).unwrap().0, Digest::of(b"one"));
        cache.save(&store).unwrap();

        fs::write(&path, "two").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(StatCache::load(&store).digest(&path).unwrap().0, Digest::of(b"two"));
    }

    #[test]
    fn a_file_as_young_as_the_cache_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut cache = StatCache::load(&store);
        let racy = Stat::new(&fs::metadata(&path).unwrap(), Digest::of(b"stale"));
        cache.known.insert(path.clone(), racy);
        cache.written = racy.mtime;
        assert_eq!(cache.digest(&path).unwrap().0, Digest::of(b"one"));
        cache.written = i128::MAX;
        assert_eq!(cache.digest(&path).unwrap().0, Digest::of(b"stale"));
    }
}
