use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::history::Histories;
use super::small::{LONGEST, SmallObjects};
use super::{StoreError, Tree};
use crate::digest::{Digest, Hasher};

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
    staging: OnceLock<Scratch>,
    pub(super) histories: Mutex<Histories>,
    pub(super) small: SmallObjects,
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
        Ok(Self { root, lease, unflushed, staging, histories, small })
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

    /// Whether the object is here.
    pub fn contains(&self, digest: Digest) -> bool {
        self.knows_small(digest) || self.object_path(digest).exists() || self.has_small(digest)
    }

    /// Stores `bytes` as an object.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        match bytes.len() <= LONGEST {
            true => self.put_small(digest, bytes, self.is_flushed())?,
            false if self.contains(digest) => {}
            false => self.write_atomically(&self.object_path(digest), bytes, 0o444)?,
        }
        Ok(digest)
    }

    /// An object whose bytes come piece by piece.
    pub fn writer(&self) -> Result<ObjectWriter<'_>, StoreError> {
        let scratch = self.root.join("scratch");
        let temp = tempfile::Builder::new()
            .prefix("object-")
            .tempfile_in(&scratch)
            .map_err(StoreError::io("create a file in", &scratch))?;
        Ok(ObjectWriter { store: self, hashed: Hashed { out: temp, hasher: Hasher::default() } })
    }

    /// Opens an object for reading.
    pub fn open_object(&self, digest: Digest) -> Result<Object, StoreError> {
        let small = || self.small(digest).map(|bytes| bytes.map(|bytes| Object::Small(Cursor::new(bytes))));
        if self.knows_small(digest)
            && let Some(small) = small()?
        {
            return Ok(small);
        }
        let path = self.object_path(digest);
        match File::open(&path) {
            Ok(file) => Ok(Object::File(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                small()?.ok_or(StoreError::Missing(digest))
            }
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }

    /// The file of an object, for whoever cannot do without: one that is small gets one now.
    pub fn object_file(&self, digest: Digest) -> Result<PathBuf, StoreError> {
        let path = self.object_path(digest);
        if !path.exists() && self.has_small(digest) {
            self.write_atomically(&path, &self.get(digest)?, 0o444)?;
        }
        Ok(path)
    }

    /// An object's bytes, checked against its digest.
    pub fn get(&self, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.open_object(digest)?
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", self.object_path(digest)))?;
        match Digest::of(&bytes) == digest {
            true => Ok(bytes),
            false => Err(StoreError::Damaged(digest)),
        }
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
        let room = self.root.join("scratch");
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
        let room = self.root.join("scratch");
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

    fn persist(&self, temp: tempfile::NamedTempFile, path: &Path, mode: u32) -> Result<(), StoreError> {
        let file = temp.as_file();
        let flush = || if self.is_flushed() { file.sync_data() } else { Ok(()) };
        file.set_permissions(Permissions::from_mode(mode))
            .and_then(|()| flush())
            .map_err(StoreError::io("write", temp.path()))?;
        put_in_place(temp, path)
    }

    fn temporary(&self, parts: &[&[u8]]) -> Result<tempfile::NamedTempFile, StoreError> {
        let scratch = self.root.join("scratch");
        let mut temp = tempfile::Builder::new()
            .prefix("object-")
            .tempfile_in(&scratch)
            .map_err(StoreError::io("create a file in", &scratch))?;
        parts
            .iter()
            .try_for_each(|part| temp.write_all(part))
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

    /// Writes what can be made again, after its digest: a reader sees all of it or nothing, and is told by [`unsealed`]
    /// what a power cut left of it.
    pub(super) fn write_sealed(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        put_anew(self.temporary(&[Digest::of(bytes).as_bytes(), bytes])?, path)
    }

    /// The same of more bytes than are held at once, which `write` gives piece by piece.
    pub(super) fn write_sealed_by(
        &self,
        path: &Path,
        write: impl FnOnce(&mut SealedPieces) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        // The digest goes where there is room for it.
        let temp = self.temporary(&[&[0; Digest::LENGTH]])?;
        sealed_behind(temp.as_file(), write)
            .and_then(|seal| temp.as_file().write_all_at(seal.as_bytes(), 0))
            .map_err(StoreError::io("write", temp.path()))?;
        put_anew(temp, path)
    }
}

/// Pieces go into the file by another thread, while the next one is made. Gives the digest of all of them.
fn sealed_behind(file: &File, make: impl FnOnce(&mut SealedPieces) -> io::Result<()>) -> io::Result<Digest> {
    let (pieces, made) = mpsc::sync_channel::<Vec<u8>>(1);
    let mut sealed = SealedPieces { pieces, hasher: Hasher::default() };
    thread::scope(|scope| {
        let written = scope.spawn(move || made.iter().try_for_each(|piece| (&*file).write_all(&piece)));
        let made = make(&mut sealed);
        let SealedPieces { pieces, hasher } = sealed;
        drop(pieces);
        // Why it could not be written says more than that nobody took it.
        written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        made.map(|()| hasher.digest())
    })
}

/// What is written piece by piece, and hashed on the way.
pub(super) struct SealedPieces {
    pieces: mpsc::SyncSender<Vec<u8>>,
    hasher: Hasher,
}

impl SealedPieces {
    /// The next piece: best of some hundred KiB.
    pub fn add(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.hasher.update(&piece);
        self.pieces.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The bytes that [`LocalStore::write_sealed`] wrote, if they are whole: torn ones are as good as none.
pub(super) fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (seal, bytes) = bytes.split_first_chunk()?;
    is_whole(*seal, bytes).then_some(bytes)
}

/// Whether bytes are those that were written with this seal.
pub(super) fn is_whole(seal: [u8; Digest::LENGTH], bytes: &[u8]) -> bool {
    *Digest::of(bytes).as_bytes() == seal
}

/// Fewer files than this are not worth to be shared between threads.
pub(super) const FEW: usize = 16;

pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o644)
        .open(path)
        .map_err(StoreError::io("open", path))
}

/// Locks one byte of a file, that of a key, for as long as `file` is open: a file for each key would cost an inode. False while
/// it is locked through another opening of the file. Two keys that begin alike wait for each other.
fn try_lock_byte(file: &File, key: Digest) -> io::Result<bool> {
    let start = key.as_bytes().first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes) & (i64::MAX - 1));
    // SAFETY: it consists of integers.
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (libc::F_WRLCK as _, libc::SEEK_SET as _);
    (lock.l_start, lock.l_len) = (start, 1);
    // SAFETY: the descriptor is open, and the lock is only read.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(true),
        _ => match io::Error::last_os_error() {
            held if matches!(held.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            error => Err(error),
        },
    }
}

/// Puts in its place what can be made again: whoever looks between these steps finds nothing. Some filesystems write out at once
/// what replaces a file by a rename (ext4 does, as `auto_da_alloc`), and nobody needs to wait for that.
fn put_anew(temp: tempfile::NamedTempFile, path: &Path) -> Result<(), StoreError> {
    let _ = fs::remove_file(path);
    put_in_place(temp, path)
}

fn put_in_place(temp: tempfile::NamedTempFile, path: &Path) -> Result<(), StoreError> {
    let refused = |error: tempfile::PersistError| StoreError::io("write", path)(error.error);
    match temp.persist(path) {
        // Its directory is there nearly always.
        Err(error) if error.error.kind() == io::ErrorKind::NotFound => {
            make_parent(path)?;
            error.file.persist(path).map(drop).map_err(refused)
        }
        done => done.map(drop).map_err(refused),
    }
}

/// Moves a file to its place, the same way.
pub(super) fn move_in_place(from: &Path, path: &Path) -> Result<(), StoreError> {
    in_its_directory(path, || fs::rename(from, path)).map_err(StoreError::io("store", path))
}

/// Does what needs the directory that `path` is in, which is there nearly always.
fn in_its_directory<T>(path: &Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match (act(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            act()
        }
        (done, _) => done,
    }
}

/// Opens a file that is only added to, making it where it is absent.
pub(super) fn open_to_add(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true).mode(0o644);
    in_its_directory(path, || options.open(path)).map_err(StoreError::io("open", path))
}

/// What was added to a file behind its first `length` bytes.
pub(super) fn added_since(mut file: &File, length: u64) -> io::Result<Vec<u8>> {
    let now = file.metadata()?.len();
    let mut added = Vec::with_capacity(now.saturating_sub(length) as usize);
    if now > length {
        file.seek(SeekFrom::Start(length))?;
        file.read_to_end(&mut added)?;
    }
    Ok(added)
}

/// Adds to a file by one call: what others add at the same time stands before it or behind it. Gives where it ends.
pub(super) fn add_to(mut file: &File, bytes: &[u8]) -> io::Result<u64> {
    file.write_all(bytes)?;
    file.stream_position()
}

pub(super) fn make_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(StoreError::io("create", parent)),
        None => Ok(()),
    }
}

fn older_than_a_day(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 86_400))
}

/// Removes a directory, also where an action took away its own permissions.
pub(super) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    if fs::remove_dir_all(path).is_ok() {
        return Ok(());
    }
    for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = fs::set_permissions(entry.path(), Permissions::from_mode(0o700));
        }
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The same, unless something still writes into it: a container outlives its forge until its engine is swept. What is left then
/// is for the next sweep.
fn remove_left(path: &Path) -> Result<(), StoreError> {
    match remove_tree(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
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

/// Hashes what is written through it.
struct Hashed<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.write_all(&bytes[..written])?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The bytes of an object, to be read.
#[derive(Debug)]
pub enum Object {
    /// Those of a file.
    File(File),
    /// Those of a small one.
    Small(Cursor<Vec<u8>>),
}

impl Object {
    /// How many there are.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Small(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Small(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Object {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Small(bytes) => bytes.seek(to),
        }
    }
}

/// Hashes what is written to it and stores it under its digest.
pub struct ObjectWriter<'a> {
    store: &'a LocalStore,
    hashed: Hashed<tempfile::NamedTempFile>,
}

impl ObjectWriter<'_> {
    /// Puts the object in its place; before this nobody can see it.
    pub fn finish(self) -> Result<Digest, StoreError> {
        let Hashed { out: temp, hasher } = self.hashed;
        let digest = hasher.digest();
        if !self.store.contains(digest) {
            self.store.persist(temp, &self.store.object_path(digest), 0o444)?;
        }
        Ok(digest)
    }

    /// The same for bytes that came from elsewhere: they have to be those of `digest`.
    pub fn finish_as(self, digest: Digest) -> Result<(), StoreError> {
        match self.hashed.hasher.digest() == digest {
            true => self.finish().map(drop),
            false => Err(StoreError::Damaged(digest)),
        }
    }
}

impl Write for ObjectWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hashed.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hashed.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        (dir, store)
    }

    #[test]
    fn what_was_put_comes_back_and_is_read_only() {
        let (_dir, store) = store();
        let digest = store.put(&[7; 5000]).unwrap();
        assert_eq!(store.get(digest).unwrap(), [7; 5000]);
        let mode = fs::metadata(store.object_path(digest)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
    }

    #[test]
    fn a_writer_stores_under_the_digest_of_all_its_bytes() {
        let (_dir, store) = store();
        let mut writer = store.writer().unwrap();
        writer.write_all(b"by").unwrap();
        writer.write_all(b"tes").unwrap();
        assert_eq!(writer.finish().unwrap(), Digest::of(b"bytes"));
    }

    #[test]
    fn a_small_object_gets_a_file_for_whoever_needs_one() {
        let (dir, store) = store();
        let digest = store.put(b"bytes").unwrap();
        assert!(!store.object_path(digest).exists());
        let other = LocalStore::open(dir.path().join("cache")).unwrap();
        assert_eq!(fs::read(other.object_file(digest).unwrap()).unwrap(), b"bytes");
        assert_eq!(store.get(digest).unwrap(), b"bytes");
        let mut read = Vec::new();
        let mut object = other.open_object(digest).unwrap();
        assert_eq!((object.size().unwrap(), object.read_to_end(&mut read).unwrap()), (5, 5));
        assert!(matches!(other.open_object(Digest::of(b"none")), Err(StoreError::Missing(_))));
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let (_dir, store) = store();
        for bytes in [vec![7; 5], vec![7; 5000]] {
            let digest = store.put(&bytes).unwrap();
            store.damage(digest);
            assert!(matches!(store.get(digest), Err(StoreError::Damaged(_))));
        }
    }

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
