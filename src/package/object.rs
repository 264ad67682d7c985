use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use sha2::Digest as Sum;

use crate::digest::{Digest, Hasher};
use crate::store::{LocalStore, Object, StoreError};

/// Lets `pack` take the bytes of an object, checks that they are those its digest promises, and
/// gives their sum, hexadecimal. Where `pack` gets fewer bytes than it wants, it says
/// `UnexpectedEof`.
pub(super) fn pack_object<S: Sum>(
    store: &LocalStore,
    digest: Digest,
    pack: impl FnOnce(&mut dyn Read) -> io::Result<()>,
) -> Result<String, StoreError> {
    let mut object = Sums { input: store.open_object(digest)?, sum: S::new(), blake3: Hasher::default() };
    match pack(&mut object) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StoreError::Damaged(digest))?,
        other => other.map_err(StoreError::io("pack", store.object_path(digest)))?,
    }
    match object.blake3.digest() == digest {
        true => Ok(hex(&object.sum.finalize())),
        false => Err(StoreError::Damaged(digest)),
    }
}

/// Sums up what is read through it.
struct Sums<S> {
    input: Object,
    sum: S,
    blake3: Hasher,
}

impl<S: Sum> Read for Sums<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.sum.update(&buffer[..length]);
        self.blake3.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// A part of a package that waits on the disk for what comes before it.
pub(super) struct TempFile {
    pub file: File,
    pub size: u64,
}

impl TempFile {
    /// What was written to `file`, in `room`, from its start.
    pub fn rewound(mut file: File, room: &Path) -> Result<Self, StoreError> {
        let size = file.stream_position().map_err(StoreError::io("write", room))?;
        file.rewind().map_err(StoreError::io("read", room))?;
        Ok(Self { file, size })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
