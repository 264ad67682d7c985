//! Small steps on the filesystem, each of which leaves the whole of its work or nothing.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::SystemTime;

use crate::digest::{Digest, Hasher};
use crate::publish::PublishError;
use crate::store::{LocalStore, StoreError, hash_file};

pub(super) fn create_dirs(path: &Path) -> Result<(), PublishError> {
    fs::create_dir_all(path).map_err(PublishError::io("create", path))
}

/// A new file, readable by all.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = File::create_new(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    Ok(file)
}

/// The same with these bytes and this time of modification.
pub(super) fn write_file(path: &Path, bytes: &[u8], date: SystemTime) -> Result<(), PublishError> {
    make_parent(path)?;
    let write = || {
        let mut file = create(path)?;
        file.write_all(bytes)?;
        file.set_modified(date)
    };
    write().map_err(PublishError::io("write", path))
}

/// Moves a file to a name that nothing has.
pub(super) fn move_file(from: &Path, to: &Path) -> Result<(), PublishError> {
    make_parent(to)?;
    fs::rename(from, to).map_err(PublishError::io("create", to))
}

/// Copies an object out of the store, and makes sure that it is the one.
pub(super) fn copy_object(store: &LocalStore, object: Digest, to: &Path) -> Result<(), PublishError> {
    make_parent(to)?;
    let mut from = store.open_object(object)?;
    let mut copy = || {
        let mut to = create(to)?;
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match from.read(&mut buffer)? {
                0 => break,
                read => {
                    hasher.write_all(&buffer[..read])?;
                    to.write_all(&buffer[..read])?;
                }
            }
        }
        Ok(hasher.digest())
    };
    match copy().map_err(PublishError::io("write", to))? == object {
        true => Ok(()),
        false => Err(StoreError::Damaged(object).into()),
    }
}

/// Gives a file that never changes a second name; copies it where the filesystem has no links.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<(), PublishError> {
    make_parent(to)?;
    match fs::hard_link(from, to) {
        Err(error) if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::TooManyLinks) => {
            fs::copy(from, to).map(drop).map_err(PublishError::io("copy", from))
        }
        // What a filesystem without hard links says of them.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::copy(from, to).map(drop).map_err(PublishError::io("copy", from))
        }
        linked => linked.map_err(PublishError::io("link", to)),
    }
}

/// Moves a finished file to its place unless one is there; tells whether it did.
pub(super) fn create_only(from: &Path, to: &Path) -> Result<bool, PublishError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    make_parent(to)?;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        // A filesystem that cannot tell; the lock keeps other publishers out.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => match to.exists() {
            true => Ok(false),
            false => fs::rename(from, to).map(|()| true).map_err(PublishError::io("create", to)),
        },
        Err(error) => Err(PublishError::io("create", to)(error.into())),
    }
}

/// Whether the file holds exactly these bytes.
pub(super) fn holds(path: &Path, object: Digest) -> Result<bool, PublishError> {
    Ok(hash_file(path)? == object)
}

/// Makes `link` point to `target` in one step, whatever link is there; `staging` is a free name
/// on the same filesystem.
pub(super) fn replace_link(target: &Path, link: &Path, staging: &Path) -> Result<(), PublishError> {
    symlink(target, staging).map_err(PublishError::io("link", staging))?;
    fs::rename(staging, link).map_err(PublishError::io("replace", link))
}

/// Waits until the file's bytes are on the disk.
pub(super) fn flush_file(path: &Path) -> Result<(), PublishError> {
    File::open(path).and_then(|file| file.sync_data()).map_err(PublishError::io("flush", path))
}

/// Waits until all that was written to the filesystem of `dir` is on the disk.
pub(super) fn flush_filesystem(dir: &Path) -> Result<(), PublishError> {
    File::open(dir)
        .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
        .map_err(PublishError::io("flush the filesystem of", dir))
}

/// Waits until the names in `dir` are on the disk.
pub(super) fn flush_dir(dir: &Path) -> Result<(), PublishError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(PublishError::io("flush", dir))
}

/// Removes a directory with all that is in it; it may be absent.
pub(super) fn remove_dir(path: &Path) -> Result<(), PublishError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PublishError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn make_parent(path: &Path) -> Result<(), PublishError> {
    path.parent().map_or(Ok(()), create_dirs)
}
