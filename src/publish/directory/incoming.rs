use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use super::files;
use crate::digest::{Digest, Hashed};
use crate::index::{Shelf, ShelfFile};
use crate::publish::PublishError;
use crate::store::StoreError;

/// Where files wait to be put in their places by one step each. It is removed with all that is left in it.
pub(super) struct Incoming {
    dir: PathBuf,
    /// The time of modification of the files of an index.
    date: SystemTime,
    begun: AtomicUsize,
    /// Files that are on their way to the disk.
    flushes: Mutex<Vec<JoinHandle<Result<(), PublishError>>>>,
}

impl Incoming {
    /// At `dir`, which is made.
    pub fn new(dir: PathBuf, date: SystemTime) -> Result<Self, PublishError> {
        files::create_dirs(&dir)?;
        Ok(Self { dir, date, begun: AtomicUsize::new(0), flushes: Mutex::default() })
    }

    /// Where a file of an index waits.
    pub fn object(&self, object: Digest) -> PathBuf {
        self.dir.join(object.to_string())
    }

    /// Where a package file waits that goes to `path`.
    pub fn package(&self, path: &str) -> PathBuf {
        self.dir.join(format!("{}.package", Digest::of(path.as_bytes())))
    }

    /// A name that nothing has.
    pub fn free(&self) -> PathBuf {
        self.dir.join(format!("{}.new", self.begun.fetch_add(1, Ordering::Relaxed)))
    }

    /// Waits until all that was written to its filesystem is on the disk.
    pub fn flush(&self) -> Result<(), PublishError> {
        let flushes = std::mem::take(&mut *self.flushes.lock().unwrap_or_else(PoisonError::into_inner));
        for flush in flushes {
            flush.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        files::flush_filesystem(&self.dir)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next publish.
        let _ = files::remove_dir(&self.dir);
    }
}

impl Shelf for Incoming {
    fn place(&self) -> &Path {
        &self.dir
    }

    fn create(&self) -> Result<Box<dyn ShelfFile + '_>, StoreError> {
        let path = self.free();
        let file = files::create(&path).map_err(StoreError::io("create", &path))?;
        Ok(Box::new(Arriving { shelf: self, path, hashed: Hashed::new(file) }))
    }

    fn get(&self, object: Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.object(object);
        fs::read(&path).map_err(StoreError::io("read", &path))
    }
}

/// A file of an index on its way.
struct Arriving<'a> {
    shelf: &'a Incoming,
    path: PathBuf,
    hashed: Hashed<File>,
}

impl Write for Arriving<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hashed.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hashed.flush()
    }
}

impl ShelfFile for Arriving<'_> {
    fn finish(self: Box<Self>) -> Result<Digest, StoreError> {
        let Self { shelf, path, hashed } = *self;
        let (object, file) = hashed.finish();
        let finish = || {
            file.set_modified(shelf.date)?;
            // Where the same is there already, one takes the place of the other.
            fs::rename(&path, shelf.object(object))
        };
        finish().map_err(StoreError::io("write", &path))?;
        // It goes to the disk beside what is compressed, so that there is little left to wait for.
        let flush = thread::spawn(move || file.sync_data().map_err(PublishError::io("flush", path)));
        shelf.flushes.lock().unwrap_or_else(PoisonError::into_inner).push(flush);
        Ok(object)
    }
}
