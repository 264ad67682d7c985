//! Steps on the filesystem, each of which leaves the whole of its work or nothing.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::StoreError;
use crate::digest::Digest;

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
pub(super) fn try_lock_byte(file: &File, key: Digest) -> io::Result<bool> {
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
pub(super) fn put_anew(temp: tempfile::NamedTempFile, path: &Path) -> Result<(), StoreError> {
    let _ = fs::remove_file(path);
    put_in_place(temp, path)
}

pub(super) fn put_in_place(temp: tempfile::NamedTempFile, path: &Path) -> Result<(), StoreError> {
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

/// Opens a file to write over what is in it, making it where it is absent.
pub(super) fn open_to_overwrite(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o644);
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

pub(super) fn older_than_a_day(path: &Path) -> bool {
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
pub(super) fn remove_left(path: &Path) -> Result<(), StoreError> {
    match remove_tree(path) {
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}
