use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::IndexError;
use crate::digest::Digest;
use crate::store::{Kind, LocalStore, ObjectWriter, StoreError};

/// Where the files of an index are put, each known by the digest of its bytes: a store, or beside what clients read.
pub trait Shelf: Sync {
    /// Where it is, for messages.
    fn place(&self) -> &Path;

    /// Begins a file, which nobody sees before it is finished.
    fn create(&self) -> Result<Box<dyn ShelfFile + '_>, StoreError>;

    /// The bytes of a file.
    fn get(&self, object: Digest) -> Result<Vec<u8>, StoreError>;

    /// Puts a file whose bytes are at hand.
    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut file = self.create()?;
        file.write_all(bytes).map_err(StoreError::io("write an index to", self.place()))?;
        file.finish()
    }
}

/// A file on its way to a shelf.
pub trait ShelfFile: Write {
    /// Puts it there.
    fn finish(self: Box<Self>) -> Result<Digest, StoreError>;
}

impl Shelf for LocalStore {
    fn place(&self) -> &Path {
        self.root()
    }

    fn create(&self) -> Result<Box<dyn ShelfFile + '_>, StoreError> {
        Ok(Box::new(self.writer()?))
    }

    fn get(&self, object: Digest) -> Result<Vec<u8>, StoreError> {
        LocalStore::get(self, object)
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        LocalStore::put(self, bytes)
    }
}

impl ShelfFile for ObjectWriter<'_> {
    fn finish(self: Box<Self>) -> Result<Digest, StoreError> {
        ObjectWriter::finish(*self)
    }
}

/// A file of an index, as the others name it.
#[derive(Clone, Debug)]
pub(super) struct Summed {
    pub size: u64,
    /// 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Sums up what goes through it.
pub(super) struct Summing<W> {
    out: W,
    size: u64,
    sha256: Sha256,
}

impl<W: Write> Summing<W> {
    pub fn new(out: W) -> Self {
        Self { out, size: 0, sha256: Sha256::new() }
    }

    /// What was written, and where it went.
    pub fn finish(self) -> (Summed, W) {
        let sha256 = self.sha256.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (Summed { size: self.size, sha256 }, self.out)
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Puts the file that `write` writes.
pub(super) fn put<E: From<IndexError>>(
    shelf: &dyn Shelf,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(Summed, Kind), E> {
    let mut file = Summing::new(shelf.create().map_err(IndexError::from)?);
    write(&mut file)?;
    let (summed, file) = file.finish();
    let object = file.finish().map_err(IndexError::from)?;
    let kind = Kind::File { object, size: summed.size };
    Ok((summed, kind))
}
