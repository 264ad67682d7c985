use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Mutex;

use rayon::prelude::*;

use super::local::{FEW, move_in_place};
use super::{LocalStore, Scratch, StoreError};
use crate::digest::Digest;

/// Objects that wait for one flush of the filesystem instead of one each.
pub struct Staging<'a> {
    store: &'a LocalStore,
    scratch: Scratch,
    staged: Mutex<HashMap<Digest, PathBuf>>,
}

impl<'a> Staging<'a> {
    /// None so far.
    pub fn new(store: &'a LocalStore) -> Result<Self, StoreError> {
        Ok(Self { store, scratch: store.scratch()?, staged: Mutex::default() })
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
        let place = self.scratch.path().join(digest.to_string());
        let mut staged = self.staged.lock().ok()?;
        staged.insert(digest, place.clone()).is_none().then_some(place)
    }

    /// Stages bytes whose digest is known to be this.
    pub(super) fn add(&self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(place) = self.place(digest) else { return Ok(()) };
        fs::write(&place, bytes)
            .and_then(|()| fs::set_permissions(&place, Permissions::from_mode(0o444)))
            .map_err(StoreError::io("write", &place))
    }

    /// Puts all in their places; before this nobody can see them.
    pub fn commit(self) -> Result<(), StoreError> {
        let staged = self.staged.into_inner().unwrap_or_default();
        if staged.is_empty() {
            return Ok(());
        }
        self.store.flush()?;
        let put =
            |(digest, staged): (&Digest, &PathBuf)| move_in_place(staged, &self.store.object_path(*digest));
        match staged.len() < FEW {
            true => staged.iter().try_for_each(put),
            false => staged.par_iter().try_for_each(put),
        }
    }
}
