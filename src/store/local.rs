use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{OnceLock, RwLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::files::{open_lock, put_in_place, try_lock_byte};
use super::history::Histories;
use super::shards::Shards;
use super::small::SmallObjects;
use super::{Scratch, StoreError, Tree};
use crate::digest::Digest;

/// What a file `CACHEDIR.TAG` begins with, by which backup tools and others tell a cache
/// (<https://bford.info/cachedir/>).
pub const CACHEDIR_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";

/// The directories of a store.
const ROOMS: [&str; 12] = [
    "objects",
    "results",
    "failures",
    "facts",
    "pieces",
    "places",
    "earlier",
    "answers",
    "trees",
    "scratch",
    "locks",
    "unflushed",
];

/// The store on this machine. Several processes may use one at the same time.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    /// Shared while this process runs, so that `gc` never takes what somebody is about to use.
    lease: File,
    /// How many runs of this process flush for all at their end.
    pub(super) unflushed: AtomicUsize,
    /// Where objects wait to be put in their places; made for the first of them.
    pub(super) staging: OnceLock<Scratch>,
    pub(super) histories: RwLock<Histories>,
    pub(super) small: SmallObjects,
    pub(super) failures: Shards,
    /// Of what remote stores told of nodes.
    pub(super) earlier: Shards,
}

/// This process alone uses the store, until this is dropped.
pub(super) struct Exclusive<'a>(&'a File);

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        let _ = self.0.lock_shared();
    }
}

impl LocalStore {
    /// Opens the store below `root`, making it where it is absent.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self::open_unsettled(root)?;
        store.settle()?;
        Ok(store)
    }

    pub(super) fn open_unsettled(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        for room in ROOMS {
            let path = root.join(room);
            fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        }
        let root = root.canonicalize().map_err(StoreError::io("resolve", &root))?;
        let tag = root.join("CACHEDIR.TAG");
        if !tag.exists() {
            let text = "# This directory holds a store of forge; everything in it can be made again.";
            fs::write(&tag, format!("{CACHEDIR_SIGNATURE}\n{text}\n"))
                .map_err(StoreError::io("write", &tag))?;
        }
        let lease = open_lock(&root.join("locks/store"))?;
        lease.lock_shared().map_err(StoreError::io("lock", root.join("locks/store")))?;
        let (unflushed, staging, histories, small) = Default::default();
        let [failures, earlier] = ["failures", "earlier"].map(|room| Shards::of(root.join(room)));
        Ok(Self { root, lease, unflushed, staging, histories, small, failures, earlier })
    }

    /// Makes the shared lease exclusive; `None` while another process holds one.
    pub(super) fn try_own(&self) -> Result<Option<Exclusive<'_>>, StoreError> {
        let path = self.root.join("locks/store");
        self.lease.unlock().map_err(StoreError::io("unlock", &path))?;
        match self.lease.try_lock() {
            Ok(()) => Ok(Some(Exclusive(&self.lease))),
            Err(fs::TryLockError::WouldBlock) => {
                self.lease.lock_shared().map_err(StoreError::io("lock", &path))?;
                Ok(None)
            }
            Err(fs::TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }

    /// The directory the store lives in, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the object `digest` is, or would be, if it has a file of its own.
    pub fn object_path(&self, digest: Digest) -> PathBuf {
        self.sharded("objects", digest)
    }

    pub(super) fn sharded(&self, room: &str, digest: Digest) -> PathBuf {
        let hex = digest.to_string();
        self.root.join(room).join(&hex[..2]).join(&hex[2..])
    }

    /// Stores a tree's manifest. Its objects must have been stored before.
    pub fn put_tree(&self, tree: &Tree) -> Result<Digest, StoreError> {
        self.put(tree.to_text().as_bytes())
    }

    /// Reads a tree's manifest.
    pub fn tree(&self, digest: Digest) -> Result<Tree, StoreError> {
        let text = String::from_utf8(self.get(digest)?).map_err(|_| StoreError::Damaged(digest))?;
        Tree::from_text(&text).map_err(|_| StoreError::Damaged(digest))
    }

    /// Whether the tree and every object it names are here.
    pub fn holds_tree(&self, digest: Digest) -> bool {
        self.tree(digest).is_ok_and(|tree| tree.files().all(|(object, _)| self.contains(object)))
    }

    /// The lock under which `key` is built; `None` while another process holds it.
    pub fn try_lock_key(&self, key: Digest) -> Result<Option<File>, StoreError> {
        let path = self.root.join("locks/keys");
        let lock = open_lock(&path)?;
        let is_locked = try_lock_byte(&lock, key).map_err(StoreError::io("lock", path))?;
        Ok(is_locked.then_some(lock))
    }

    /// Writes `bytes` to `path` so that a reader, or the next process after a crash, sees the
    /// whole of them or nothing.
    pub(super) fn write_atomically(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
        self.persist(self.temporary(&[bytes])?, path, mode)
    }

    pub(super) fn persist(
        &self,
        temp: tempfile::NamedTempFile,
        path: &Path,
        mode: u32,
    ) -> Result<(), StoreError> {
        let file = temp.as_file();
        let flush = || if self.is_flushed() { file.sync_data() } else { Ok(()) };
        file.set_permissions(Permissions::from_mode(mode))
            .and_then(|()| flush())
            .map_err(StoreError::io("write", temp.path()))?;
        put_in_place(temp, path)
    }

    pub(super) fn temporary(&self, parts: &[&[u8]]) -> Result<tempfile::NamedTempFile, StoreError> {
        let scratch = self.root.join("scratch");
        let mut temp = tempfile::Builder::new()
            .prefix("object-")
            .tempfile_in(&scratch)
            .map_err(StoreError::io("create a file in", &scratch))?;
        // For what is written at once, a system may want memory in one block, and wait for it: 8 MiB took 21 ms, in pieces 2 ms.
        const PIECE: usize = 1 << 20;
        parts
            .iter()
            .flat_map(|part| part.chunks(PIECE))
            .try_for_each(|piece| temp.write_all(piece))
            .map_err(StoreError::io("write", temp.path()))?;
        Ok(temp)
    }

    pub(super) fn read_record<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        // A torn or foreign record is as good as none: what it told is found out again.
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    pub(super) fn write_record<T: Serialize>(&self, path: &Path, record: &T) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|error| StoreError::io("encode", path)(error.into()))?;
        self.write_atomically(path, &bytes, 0o644)
    }

    /// The same for what came from elsewhere and can come again: it is not flushed, since a record that
    /// a power cut tore is as good as none.
    pub(super) fn write_lightly<T: Serialize>(&self, path: &Path, record: &T) -> Result<(), StoreError> {
        let bytes =
            serde_json::to_vec(record).map_err(|error| StoreError::io("encode", path)(error.into()))?;
        put_in_place(self.temporary(&[&bytes])?, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::store;

    #[test]
    fn one_key_is_locked_once() {
        let (_dir, store) = store();
        let key = Digest::of(b"key");
        let lock = store.try_lock_key(key).unwrap();
        assert!(lock.is_some());
        assert!(store.try_lock_key(key).unwrap().is_none());
        drop(lock);
        assert!(store.try_lock_key(key).unwrap().is_some());
    }
}
