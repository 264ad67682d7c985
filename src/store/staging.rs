use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::files::{FEW, move_in_place};
use super::small::LONGEST;
use super::{LocalStore, StoreError};
use crate::digest::Digest;

/// Objects that wait for one flush of the filesystem instead of one each.
pub struct Staging<'a> {
    store: &'a LocalStore,
    room: &'a Path,
    staged: Mutex<HashMap<Digest, PathBuf>>,
    /// Whether small objects were written, which are seen at once: whole ones are right, flushed or not.
    has_small: AtomicBool,
}

/// So that a content that two batches stage at the same time has two names.
static STAGED: AtomicU64 = AtomicU64::new(0);

impl<'a> Staging<'a> {
    /// None so far.
    pub fn new(store: &'a LocalStore) -> Result<Self, StoreError> {
        Ok(Self {
            store,
            room: store.staging()?,
            staged: Mutex::default(),
            has_small: AtomicBool::new(false),
        })
    }

    /// Stages bytes; they are an object once this is committed.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        self.add(digest, bytes)?;
        Ok(digest)
    }

    /// Where the caller is to put the bytes of `digest`, read-only; `None` where they are stored, or somebody
    /// was told before.
    pub(super) fn place(&self, digest: Digest) -> Option<PathBuf> {
        if self.store.contains(digest) {
            return None;
        }
        let place = self.room.join(STAGED.fetch_add(1, Ordering::Relaxed).to_string());
        match self.staged.lock().ok()?.entry(digest) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => Some(free.insert(place).clone()),
        }
    }

    /// Stages bytes whose digest is known to be this.
    pub(super) fn add(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        if bytes.len() <= LONGEST {
            self.has_small.store(true, Ordering::Relaxed);
            return self.store.put_small(digest, bytes, false);
        }
        let Some(place) = self.place(digest) else { return Ok(()) };
        fs::write(&place, bytes).map_err(StoreError::io("write", &place))?;
        seal(&place)
    }

    /// Takes over a file that has the bytes of `digest`, if they are not stored.
    pub(super) fn take(&self, digest: Digest, file: &Path) -> Result<(), StoreError> {
        if self.store.is_flushed() {
            let Some(place) = self.place(digest) else { return Ok(()) };
            seal(file)?;
            return fs::rename(file, &place).map_err(StoreError::io("move", file));
        }
        // Nobody flushes it here: it can go where it belongs.
        if !self.store.contains(digest) {
            seal(file)?;
            move_in_place(file, &self.store.object_path(digest))?;
        }
        Ok(())
    }

    /// Puts all in their places; before this nobody can rely on them.
    pub fn commit(self) -> Result<(), StoreError> {
        let mut staged = self.staged();
        if staged.is_empty() && !self.has_small.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.store.flush()?;
        let put =
            |(digest, staged): (&Digest, &PathBuf)| move_in_place(staged, &self.store.object_path(*digest));
        match staged.len() < FEW {
            true => staged.iter().try_for_each(put)?,
            false => staged.par_iter().try_for_each(put)?,
        }
        staged.clear();
        Ok(())
    }

    fn staged(&self) -> MutexGuard<'_, HashMap<Digest, PathBuf>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a file one that is not written any more.
pub(super) fn seal(file: &Path) -> Result<(), StoreError> {
    fs::set_permissions(file, Permissions::from_mode(0o444)).map_err(StoreError::io("write", file))
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // What was not put in its place will not be.
        self.staged().values().for_each(|staged| drop(fs::remove_file(staged)));
    }
}
