use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Sha256;
use crate::store::{LocalStore, StoreError};

/// What has come so far of one download: `<store>/downloads/<sha256>.part`, locked while this
/// value lives. Beside it stands where the bytes are from, so that a later run can go on.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    origin: Option<PartOrigin>,
}

/// Where a part's bytes came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartOrigin {
    url: String,
    /// A strong ETag or a date of last modification (RFC 9110, 13.1.5).
    validator: Option<String>,
}

impl Part {
    /// The part of the file `sha256`; waits while another process writes it.
    pub(super) fn lock(store: &LocalStore, sha256: Sha256) -> Result<Self, StoreError> {
        let room = store.root().join("downloads");
        fs::create_dir_all(&room).map_err(StoreError::io("create", &room))?;
        let path = room.join(format!("{sha256}.part"));
        let file = lock_file(&path).map_err(StoreError::io("lock", &path))?;
        let len = file.metadata().map_err(StoreError::io("read", &path))?.len();
        // A torn note is as good as none: the bytes are checked in the end.
        let origin = fs::read(origin_path(&path)).ok().and_then(|json| serde_json::from_slice(&json).ok());
        Ok(Self { path, file, len, origin })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes are here.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The validator of these bytes, if they came from `url`.
    pub(super) fn validator(&self, url: &str) -> Option<&str> {
        self.origin.as_ref().filter(|origin| origin.url == url)?.validator.as_deref()
    }

    /// Forgets all bytes; the next ones come from `url`.
    pub(super) fn restart(&mut self, url: &str, validator: Option<String>) -> Result<(), StoreError> {
        self.clear()?;
        let origin = PartOrigin { url: url.to_owned(), validator };
        let note = origin_path(&self.path);
        serde_json::to_vec(&origin)
            .map_err(io::Error::from)
            .and_then(|json| fs::write(&note, json))
            .map_err(StoreError::io("write", &note))?;
        self.origin = Some(origin);
        Ok(())
    }

    /// Forgets all bytes and where they came from.
    pub(super) fn clear(&mut self) -> Result<(), StoreError> {
        // The note goes first: bytes without a note are asked for without a validator.
        remove(&origin_path(&self.path))?;
        self.origin = None;
        self.file.set_len(0).map_err(StoreError::io("empty", &self.path))?;
        self.len = 0;
        Ok(())
    }

    /// Adds bytes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .seek(SeekFrom::Start(self.len))
            .and_then(|_| self.file.write_all(bytes))
            .map_err(StoreError::io("write", &self.path))?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.len == 0 {
            // An empty part left behind costs nothing but a name.
            let _ = remove(&origin_path(&self.path));
            let _ = remove(&self.path);
        }
    }
}

/// Whoever holds the lock may remove the file; a waiter that then gets the lock of the removed
/// one would be alone with it.
fn lock_file(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        file.lock()?;
        match fs::metadata(path) {
            Ok(now) if now.ino() == file.metadata()?.ino() => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

fn origin_path(part: &Path) -> PathBuf {
    part.with_extension("part.json")
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_part_is_found_again_with_its_validator() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let sha256 = Sha256::of(b"whole");
        let mut part = Part::lock(&store, sha256).unwrap();
        part.restart("http://one/", Some("\"tag\"".into())).unwrap();
        part.append(b"wh").unwrap();
        drop(part);
        let part = Part::lock(&store, sha256).unwrap();
        assert_eq!((part.len(), part.validator("http://one/")), (2, Some("\"tag\"")));
        assert_eq!(part.validator("http://two/"), None);
    }

    #[test]
    fn who_waits_for_a_part_that_is_then_removed_gets_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).unwrap();
        let sha256 = Sha256::of(b"whole");
        let mut held = Part::lock(&store, sha256).unwrap();
        held.append(b"bytes").unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| Part::lock(&store, sha256).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiter.is_finished());
            held.clear().unwrap();
            drop(held);
            let part = waiter.join().unwrap();
            assert_eq!(part.len(), 0);
            assert!(part.path().exists());
        });
    }
}
