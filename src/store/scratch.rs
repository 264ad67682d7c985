//! Directories for work under way, which nothing that is killed leaves for long.

use std::fs::{self, File};
use std::path::Path;

use super::files::{older_than_a_day, open_lock, remove_left, remove_tree};
use super::{LocalStore, StoreError};

impl LocalStore {
    /// A directory for one piece of work. It goes away with the returned value, or, if this
    /// process is killed, at the next [`LocalStore::sweep`].
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        self.scratch_named("work-")
    }

    /// The same for several pieces of work, one after the other.
    pub fn lasting_scratch(&self) -> Result<Scratch, StoreError> {
        self.scratch_named("stage-")
    }

    fn scratch_named(&self, prefix: &str) -> Result<Scratch, StoreError> {
        let room = self.root().join("scratch");
        loop {
            let dir = tempfile::Builder::new()
                .prefix(prefix)
                .tempdir_in(&room)
                .map_err(StoreError::io("create a directory in", &room))?;
            let path = dir.path().join("lock");
            // Another process may sweep between these steps; then there is a new try.
            let lock = match open_lock(&path) {
                Err(_) if !dir.path().exists() => continue,
                lock => lock?,
            };
            lock.lock().map_err(StoreError::io("lock", &path))?;
            if path.exists() {
                return Ok(Scratch { dir, _lock: lock });
            }
        }
    }

    /// The one directory of this process for all its staged objects: to make and remove one for each batch takes longer
    /// than small batches themselves.
    pub(super) fn staging(&self) -> Result<&Path, StoreError> {
        if let Some(scratch) = self.staging.get() {
            return Ok(scratch.path());
        }
        let scratch = self.scratch_named("staging-")?;
        Ok(self.staging.get_or_init(|| scratch).path())
    }

    /// Removes what killed processes left in `scratch/`. To be called before this process writes.
    pub fn sweep(&self) -> Result<(), StoreError> {
        let room = self.root().join("scratch");
        let alone = self.try_own()?;
        let entries = fs::read_dir(&room).map_err(StoreError::io("list", &room))?;
        for entry in entries.flatten() {
            let path = entry.path();
            if !path.is_dir() {
                // A temporary object has no lock, but none is written for a day.
                if alone.is_some() || older_than_a_day(&path) {
                    let _ = fs::remove_file(&path);
                }
                continue;
            }
            match File::open(path.join("lock")) {
                // Held until the directory is gone: its maker may be about to take the lock.
                Ok(lock) if lock.try_lock().is_ok() => remove_left(&path)?,
                Err(_) if alone.is_some() => remove_left(&path)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// A working directory that is removed when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Scratch {
    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next sweep.
        let _ = remove_tree(self.dir.path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::store;

    #[test]
    fn sweep_takes_abandoned_scratch_and_leaves_what_is_held() {
        let (_dir, store) = store();
        let held = store.scratch().unwrap();
        let abandoned = store.root().join("scratch/work-dead");
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join("lock"), "").unwrap();
        store.sweep().unwrap();
        assert!(held.path().exists());
        assert!(!abandoned.exists());
    }

    #[test]
    fn sweep_takes_torn_objects_only_where_no_other_process_may_write_them() {
        let (dir, store) = store();
        let torn = store.root().join("scratch/object-torn");
        fs::write(&torn, "half").unwrap();
        let other = LocalStore::open(dir.path().join("cache")).unwrap();
        store.sweep().unwrap();
        assert!(torn.exists());
        drop(other);
        store.sweep().unwrap();
        assert!(!torn.exists());
    }

    #[test]
    fn scratch_is_never_swept_away_while_it_is_made() {
        let (dir, store) = store();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let sweeper = LocalStore::open(dir.path().join("cache")).unwrap();
                while !stopped() {
                    sweeper.sweep().unwrap();
                }
            });
            for _ in 0..500 {
                let scratch = store.scratch().unwrap();
                fs::write(scratch.path().join("file"), "").unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}
