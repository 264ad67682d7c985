//! Objects: bytes under their digest, those of a file or of a small one.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::small::LONGEST;
use super::{LocalStore, StoreError};
use crate::digest::{Digest, Hashed};

impl LocalStore {
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
        Ok(ObjectWriter { store: self, hashed: Hashed::new(self.temporary(&[])?) })
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
        let (digest, temp) = self.hashed.finish();
        if !self.store.contains(digest) {
            self.store.persist(temp, &self.store.object_path(digest), 0o444)?;
        }
        Ok(digest)
    }

    /// The same for bytes that came from elsewhere: they have to be those of `digest`.
    pub fn finish_as(self, digest: Digest) -> Result<(), StoreError> {
        match self.hashed.digest() == digest {
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
    use crate::store::fixture::store;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
}
