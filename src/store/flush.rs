//! One flush for all that a run writes.
//!
//! What was written and not flushed survives the end of the process, whatever ends it, but no power cut. So a run leaves a
//! marker while it writes without flushing. Whoever opens the store after a restart of the machine and finds one looks at
//! everything that was written since, and removes what is not what its name promises.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::files::{open_lock, remove_tree};
use super::ingest::hash_file;
use super::{LocalStore, StoreError};

/// Clocks of files have ticks.
const TICK: Duration = Duration::from_secs(1);

/// While this lives, what the store writes is flushed by nobody; when it goes, all of it is.
pub struct Unflushed<'a> {
    store: &'a LocalStore,
    marker: PathBuf,
    /// Held, so that nobody takes this process for a dead one.
    _lock: File,
}

impl LocalStore {
    /// From now on objects and results are not flushed one by one.
    pub fn flush_later(&self) -> Result<Unflushed<'_>, StoreError> {
        let room = self.root().join("unflushed");
        let (marker, lock) = loop {
            static COUNT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("{}.{}-{}", boot(), std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
            let marker = room.join(name);
            let lock = open_lock(&marker)?;
            lock.lock().map_err(StoreError::io("lock", &marker))?;
            // Whoever settles may have taken it for one of the dead between these steps.
            if marker.exists() {
                break (marker, lock);
            }
        };
        lock.sync_all().map_err(StoreError::io("write", &marker))?;
        File::open(&room).and_then(|room| room.sync_all()).map_err(StoreError::io("write", &room))?;
        self.unflushed.fetch_add(1, Ordering::SeqCst);
        Ok(Unflushed { store: self, marker, _lock: lock })
    }

    /// Whether whoever writes has to flush.
    pub(super) fn is_flushed(&self) -> bool {
        self.unflushed.load(Ordering::SeqCst) == 0
    }

    /// One flush for many files that were written below the root, unless a run flushes for all.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        if self.is_flushed() { flush_filesystem(self.root()) } else { Ok(()) }
    }

    /// Settles what runs left that ended before their flush.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let room = self.root().join("unflushed");
        let entries = fs::read_dir(&room).map_err(StoreError::io("list", &room))?;
        for entry in entries.flatten() {
            let marker = entry.path();
            let Ok(lock) = File::open(&marker) else { continue };
            if lock.try_lock().is_err() {
                continue;
            }
            if !is_of_this_boot(&marker)
                && let Ok(since) = lock.metadata().and_then(|metadata| metadata.modified())
            {
                self.drop_half_written(since - TICK)?;
            }
            flush_filesystem(self.root())?;
            let _ = fs::remove_file(&marker);
        }
        Ok(())
    }

    /// Objects first: a result that names one that is gone goes with it.
    fn drop_half_written(&self, since: SystemTime) -> Result<(), StoreError> {
        let is_young = |metadata: &fs::Metadata| changed(metadata) >= since;
        for (digest, _) in self.records("objects").filter(|(_, metadata)| is_young(metadata)) {
            let path = self.object_path(digest);
            if hash_file(&path)? != digest {
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        let trees = self.root().join("trees");
        for entry in fs::read_dir(&trees).map_err(StoreError::io("list", &trees))?.flatten() {
            if entry.metadata().is_ok_and(|metadata| is_young(&metadata))
                && !self.is_checkout_whole(&entry.path())
            {
                remove_tree(&entry.path())?;
            }
        }
        for (key, _) in self.records("results").filter(|(_, metadata)| is_young(metadata)) {
            let is_whole =
                self.result(key).is_some_and(|result| self.is_complete(&result) || self.is_elsewhere(key));
            if !is_whole {
                let path = self.result_path(key);
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

impl Drop for Unflushed<'_> {
    fn drop(&mut self) {
        self.store.unflushed.fetch_sub(1, Ordering::SeqCst);
        // The marker stays where it cannot be done: whoever comes next does it.
        if flush_filesystem(self.store.root()).is_ok() {
            let _ = fs::remove_file(&self.marker);
        }
    }
}

/// Writes out all that was written to the filesystem of `path`.
fn flush_filesystem(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| Ok(rustix::fs::syncfs(file)?)).map_err(StoreError::io("flush", path))
}

fn changed(metadata: &fs::Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt;
    SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().max(0) as u64)
}

/// What tells one start of the machine from another.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn is_of_this_boot(marker: &Path) -> bool {
    let own = boot();
    let name = marker.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('.'));
    !own.is_empty() && name.is_some_and(|(boot, _)| boot == own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::store::fixture::put_result;

    /// A run that was cut off after a result of one object, under a key.
    fn cut_off(root: &Path, boot: Option<&str>) -> (Digest, Digest) {
        let store = LocalStore::open(root.join("cache")).unwrap();
        let unflushed = store.flush_later().unwrap();
        let (key, object) = put_result(&store, root);
        let marker = unflushed.marker.clone();
        std::mem::forget(unflushed);
        // This process holds the lock of its own marker for as long as it lives.
        fs::remove_file(&marker).unwrap();
        let own = super::boot();
        fs::write(marker.with_file_name(format!("{}.1", boot.unwrap_or(&own))), "").unwrap();
        (key, object)
    }

    fn markers(store: &LocalStore) -> usize {
        fs::read_dir(store.root().join("unflushed")).unwrap().count()
    }

    #[test]
    fn after_a_power_cut_nothing_half_written_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (key, object) = cut_off(dir.path(), Some("another-boot"));
        let store = LocalStore::open_unsettled(dir.path().join("cache")).unwrap();
        LocalStore::open_unsettled(dir.path().join("cache")).unwrap().damage(object);
        store.settle().unwrap();
        assert!(!store.contains(object) && store.result(key).is_none());
        assert_eq!(markers(&store), 0);
    }

    #[test]
    fn what_is_whole_after_a_power_cut_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (key, object) = cut_off(dir.path(), Some("another-boot"));
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        assert!(store.contains(object) && store.result(key).is_some());
        assert_eq!(markers(&store), 0);
    }

    #[test]
    fn what_a_killed_run_wrote_is_flushed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = cut_off(dir.path(), None);
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        assert!(store.result(key).is_some());
        assert_eq!(markers(&store), 0);
    }

    #[test]
    fn a_run_under_way_keeps_its_marker_and_one_that_ended_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let unflushed = store.flush_later().unwrap();
        let other = LocalStore::open(dir.path().join("cache")).unwrap();
        assert_eq!(markers(&other), 1);
        assert!(!store.is_flushed() && other.is_flushed());
        drop(unflushed);
        assert_eq!(markers(&store), 0);
        assert!(store.is_flushed());
    }
}
