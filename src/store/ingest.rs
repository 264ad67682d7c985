use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::files::FEW;
use super::staging::{Staging, seal};
use super::{Entry, Kind, LocalStore, StoreError, Tree};
use crate::digest::{Digest, Hasher};

/// How files come into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingest {
    /// The directory stays as it is.
    Copy,
    /// The directory is given up: its files become objects without being copied.
    Move,
}

impl LocalStore {
    /// Stores everything below `dir` and gives its tree. Sockets, devices and names that are
    /// not UTF-8 are refused: no package could carry them to every client.
    pub fn ingest(&self, dir: &Path, how: Ingest) -> Result<Tree, StoreError> {
        let found = WalkDir::new(dir)
            .min_depth(1)
            .into_iter()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| StoreError::io("list", dir)(error.into()))?;
        self.ingest_paths(dir, found.into_iter().map(DirEntry::into_path).collect(), how)
    }

    /// The same for chosen paths below `dir`; directories are not walked into.
    pub fn ingest_paths(&self, dir: &Path, paths: Vec<PathBuf>, how: Ingest) -> Result<Tree, StoreError> {
        let batch = Batch { staging: Staging::new(self)?, how };
        let entry = |path: &PathBuf| batch.entry(dir, path);
        let entries: Vec<Entry> = match paths.len() < FEW {
            true => paths.iter().map(entry).collect::<Result<_, _>>()?,
            false => paths.par_iter().map(entry).collect::<Result<_, _>>()?,
        };
        batch.staging.commit()?;
        Ok(Tree::new(entries))
    }
}

/// What comes in together.
struct Batch<'a> {
    staging: Staging<'a>,
    how: Ingest,
}

impl Batch<'_> {
    fn entry(&self, dir: &Path, path: &Path) -> Result<Entry, StoreError> {
        let unsupported = |reason| StoreError::Unsupported { path: path.to_owned(), reason };
        let metadata = fs::symlink_metadata(path).map_err(StoreError::io("read", path))?;
        let relative = path.strip_prefix(dir).unwrap_or(path);
        let name = relative.to_str().ok_or_else(|| unsupported("the name is not UTF-8"))?;
        let kind = if metadata.is_dir() {
            Kind::Dir
        } else if metadata.is_symlink() {
            let target = fs::read_link(path).map_err(StoreError::io("read", path))?;
            let target = target.to_str().ok_or_else(|| unsupported("the link's target is not UTF-8"))?;
            Kind::Symlink { target: target.to_owned() }
        } else if metadata.is_file() {
            let object = self.stage(path, &metadata)?;
            Kind::File { object, size: metadata.len() }
        } else {
            return Err(unsupported("it is a device, a socket or a pipe"));
        };
        let mode = match kind {
            Kind::Symlink { .. } => 0o777,
            _ => metadata.mode() & 0o7777,
        };
        Ok(Entry { path: name.to_owned(), mode, kind })
    }

    fn stage(&self, path: &Path, metadata: &fs::Metadata) -> Result<Digest, StoreError> {
        // A file with a second name could be written through it.
        let is_moved = self.how == Ingest::Move && metadata.nlink() == 1;
        if !is_moved && metadata.len() <= SMALL {
            // What is stored is what was hashed: it is read once.
            return self.staging.put(&fs::read(path).map_err(StoreError::io("read", path))?);
        }
        let digest = hash_file(path)?;
        if is_moved {
            self.staging.take(digest, path)?;
        } else if let Some(staged) = self.staging.place(digest) {
            // Who stages a content that comes twice is settled; the work is done outside any lock.
            copy_checked(path, &staged, digest)?;
            seal(&staged)?;
        }
        Ok(digest)
    }
}

/// So many bytes are held in memory at once.
const SMALL: u64 = 256 << 10;

/// The digest of a file's bytes.
pub fn hash_file(path: &Path) -> Result<Digest, StoreError> {
    let hash = |file: File| {
        // Most files are small.
        let buffer = file.metadata()?.len().min(SMALL) as usize;
        let mut hasher = Hasher::default();
        io::copy(&mut BufReader::with_capacity(buffer, file), &mut hasher)?;
        Ok(hasher.digest())
    };
    File::open(path).and_then(hash).map_err(StoreError::io("read", path))
}

/// The file may be edited while it is copied; what is stored is what was hashed, or nothing.
fn copy_checked(from: &Path, to: &Path, digest: Digest) -> Result<(), StoreError> {
    fs::copy(from, to).map_err(StoreError::io("copy", from))?;
    match hash_file(to)? == digest {
        true => Ok(()),
        false => Err(StoreError::Unsupported {
            path: from.to_owned(),
            reason: "it was edited while it was read; run again",
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_round_trips_through_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("sub/empty")).unwrap();
        fs::write(from.join("sub/a"), "same").unwrap();
        fs::write(from.join("sub/b"), "same").unwrap();
        fs::set_permissions(from.join("sub/b"), Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::symlink("sub/a", from.join("link")).unwrap();

        let copied = store.ingest(&from, Ingest::Copy).unwrap();
        assert!(from.join("sub/a").exists());
        let to = dir.path().join("to");
        store.materialize(&copied, &to, 1_000_000_000).unwrap();
        assert_eq!(fs::metadata(to.join("sub/a")).unwrap().mtime(), 1_000_000_000);
        assert_eq!(store.ingest(&to, Ingest::Move).unwrap(), copied);
        assert!(store.holds_tree(store.put_tree(&copied).unwrap()));
    }

    #[test]
    fn a_socket_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path().join("cache")).unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("sock")).unwrap();
        let error = store.ingest(&from, Ingest::Copy).unwrap_err().to_string();
        assert!(error.contains("sock") && error.contains("socket"), "{error}");
    }
}
