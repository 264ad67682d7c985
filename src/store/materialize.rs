use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use super::files::FEW;
use super::{Entry, Kind, LocalStore, Object, Spares, StoreError, Tree};
use crate::digest::Digest;

/// The time of every file in a shared checkout, in seconds since 1970. Any fixed time does;
/// zero is taken for "unset" by some tools.
const CHECKOUT_TIME: u64 = 1;

impl LocalStore {
    /// Writes `tree` below `to`, every time set to `time` (seconds since 1970). The files are
    /// copies (reflinks where the filesystem has them): writing to one never reaches the store.
    pub fn materialize(&self, tree: &Tree, to: &Path, time: u64) -> Result<(), StoreError> {
        self.materialize_in(tree, to, time, &Spares::default())
    }

    /// The same with files and directories that may have been used before.
    pub fn materialize_in(
        &self,
        tree: &Tree,
        to: &Path,
        time: u64,
        spares: &Spares,
    ) -> Result<(), StoreError> {
        let make = |dir: &Path| spares.dir_all(dir).map_err(StoreError::io("create", dir));
        make(to)?;
        // A tree may name a file without naming the directories above it. Its paths are sorted: those of one directory
        // mostly stand together.
        let mut made = to.to_owned();
        for entry in tree.entries() {
            let path = to.join(&entry.path);
            let dir = if entry.kind == Kind::Dir { Some(path.as_path()) } else { path.parent() };
            if let Some(dir) = dir.filter(|dir| *dir != made) {
                make(dir)?;
                made = dir.to_owned();
            }
        }
        let times = file_times(time);
        let write = |entry: &Entry| self.materialize_entry(entry, to, times, spares);
        match tree.entries().len() < FEW {
            true => tree.entries().iter().try_for_each(write)?,
            false => tree.entries().par_iter().try_for_each(write)?,
        }
        // Last and from the bottom up: a read-only directory takes no files.
        for entry in tree.entries().iter().rev().filter(|entry| entry.kind == Kind::Dir) {
            let path = to.join(&entry.path);
            File::open(&path)
                .and_then(|dir| dir.set_times(times))
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(entry.mode)))
                .map_err(StoreError::io("write", &path))?;
        }
        Ok(())
    }

    fn materialize_entry(
        &self,
        entry: &Entry,
        to: &Path,
        times: FileTimes,
        spares: &Spares,
    ) -> Result<(), StoreError> {
        let path = to.join(&entry.path);
        match &entry.kind {
            Kind::Dir => Ok(()),
            Kind::Symlink { target } => {
                std::os::unix::fs::symlink(target, &path).map_err(StoreError::io("link", &path))
            }
            Kind::File { object, .. } => {
                let from = self.open_object(*object)?;
                spares
                    .file(&path)
                    .and_then(|mut file| {
                        let length = match from {
                            // The kernel copies, or shares what is copied.
                            Object::File(mut from) => io::copy(&mut from, &mut file)?,
                            Object::Small(mut from) => io::copy(&mut from, &mut file)?,
                        };
                        let metadata = file.metadata()?;
                        if metadata.len() != length {
                            file.set_len(length)?;
                        }
                        if metadata.mode() & 0o7777 != entry.mode {
                            file.set_permissions(Permissions::from_mode(entry.mode))?;
                        }
                        file.set_times(times)
                    })
                    .map_err(StoreError::io("write", &path))
            }
        }
    }

    /// A directory that holds the tree `digest`, to be mounted read-only. It is shared by every
    /// action that needs this tree and made when the first one does.
    pub fn checkout(&self, digest: Digest) -> Result<PathBuf, StoreError> {
        let place = self.root().join("trees").join(digest.to_string());
        if place.exists() {
            return Ok(place);
        }
        let scratch = self.scratch()?;
        let made = scratch.path().join("tree");
        self.materialize(&self.tree(digest)?, &made, CHECKOUT_TIME)?;
        // Its name promises its content, also after a power cut.
        self.flush()?;
        match fs::rename(&made, &place) {
            // Another process was quicker; its tree is the same.
            Err(_) if place.exists() => Ok(place),
            Err(error) => Err(StoreError::io("store", place)(error)),
            Ok(()) => Ok(place),
        }
    }
}

fn file_times(seconds: u64) -> FileTimes {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    FileTimes::new().set_modified(time).set_accessed(time)
}
